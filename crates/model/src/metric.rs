//! What is known about a metric beyond its samples: kind, help and unit.

use std::{fmt, str::FromStr};

/// What kind of numbers a metric holds. Names as the Prometheus API and the text formats write them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricKind {
    /// Nobody said.
    #[default]
    Unknown,
    /// Only ever grows, or starts again at zero.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations by size, growing.
    Histogram,
    /// Counts of observations by size that go up and down.
    GaugeHistogram,
    /// Quantiles that were computed at the source.
    Summary,
    /// Always 1; its labels are what it says.
    Info,
    /// One series for each state, 1 for those that hold.
    StateSet,
}

impl MetricKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::GaugeHistogram,
        Self::Summary,
        Self::Info,
        Self::StateSet,
    ];

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is the name of no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of metric; one of counter, gauge, histogram, gaugehistogram, summary, info, stateset, unknown")]
pub struct NoMetricKind;

/// Reads the names above, and `untyped`, which the older text format says for unknown.
impl FromStr for MetricKind {
    type Err = NoMetricKind;
    fn from_str(word: &str) -> Result<Self, NoMetricKind> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        known.or((word == "untyped").then_some(Self::Unknown)).ok_or(NoMetricKind)
    }
}

/// Kind, help and unit of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MetricMetadata {
    /// What kind of numbers it holds.
    pub kind: MetricKind,
    /// What it means, for people; empty when nobody said.
    pub help: String,
    /// What it counts in, such as `seconds`; empty when nobody said.
    pub unit: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for kind in MetricKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("untyped".parse(), Ok(MetricKind::Unknown));
        assert_eq!("Counter".parse::<MetricKind>(), Err(NoMetricKind));
    }
}

//! Samples: a value of a series at one instant.

use std::sync::Arc;

use crate::histogram::Histogram;

/// Bits of the `NaN` that marks the end of a series, as Prometheus writes it (`model/value/value.go`).
/// Every other `NaN` is a value like any other.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Milliseconds since 1970 (UTC). Any `i64` is accepted: data from before 1970 is data.
pub type TimeMs = i64;

/// The start of a sample that does not say since when it counts. A counter that began at this very instant cannot say so;
/// Prometheus has it the same way.
pub const START_UNKNOWN: TimeMs = 0;

/// The start of the sample at a place, given the starts beside some samples: [`START_UNKNOWN`] behind the end of the list, for
/// samples that do not say may have none at all.
#[inline]
pub fn start_at(starts: &[TimeMs], at: usize) -> TimeMs {
    starts.get(at).copied().unwrap_or(START_UNKNOWN)
}

/// Appends the starts of the samples at some places of a list to a column beside `len` samples. Either may have none; the
/// column stays empty until the first one is known.
pub fn append_starts(column: &mut Vec<TimeMs>, len: usize, starts: &[TimeMs], places: impl Iterator<Item = usize>) {
    if column.is_empty() && starts.is_empty() {
        return;
    }
    column.resize(len, START_UNKNOWN);
    column.extend(places.map(|at| start_at(starts, at)));
}

/// The marker that ends a series.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Returns true for the marker that ends a series, false for every other value, also for other `NaN`s.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A number; [`is_stale`] says whether it is the marker that ends a series.
    Float(f64),
    /// A native histogram; its sum is the stale marker when it ends a series.
    Histogram(Arc<Histogram>),
}

impl SampleValue {
    /// Returns true for the marker that ends a series.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Float(value) => is_stale(*value),
            Self::Histogram(histogram) => is_stale(histogram.sum),
        }
    }
}

/// A value at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When it was measured.
    pub t_ms: TimeMs,
    /// What was measured.
    pub value: SampleValue,
}

/// A run of samples of one series, of one kind, in order of time without two at the same instant. Columns rather than
/// pairs: decoders fill them and window functions read them without a branch per sample.
///
/// Invariant: times and values have the same length, and so have starts unless they are empty.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleRun {
    /// Numbers.
    Floats {
        /// Times, ascending.
        t_ms: Vec<TimeMs>,
        /// The value at each time.
        values: Vec<f64>,
        /// Since when each counts, [`START_UNKNOWN`] where it is not known; empty when it is of none.
        starts: Vec<TimeMs>,
    },
    /// Native histograms.
    Histograms {
        /// Times, ascending.
        t_ms: Vec<TimeMs>,
        /// The value at each time.
        values: Vec<Arc<Histogram>>,
        /// Since when each counts, [`START_UNKNOWN`] where it is not known; empty when it is of none.
        starts: Vec<TimeMs>,
    },
}

impl SampleRun {
    /// Numbers that do not say since when they count.
    pub fn floats(t_ms: Vec<TimeMs>, values: Vec<f64>) -> Self {
        Self::Floats { t_ms, values, starts: Vec::new() }
    }

    /// Native histograms that do not say since when they count.
    pub fn histograms(t_ms: Vec<TimeMs>, values: Vec<Arc<Histogram>>) -> Self {
        Self::Histograms { t_ms, values, starts: Vec::new() }
    }

    /// The times of all samples, ascending.
    pub fn times(&self) -> &[TimeMs] {
        match self {
            Self::Floats { t_ms, .. } | Self::Histograms { t_ms, .. } => t_ms,
        }
    }

    /// Since when the samples count: as many as times, or none when no sample says.
    pub fn starts(&self) -> &[TimeMs] {
        match self {
            Self::Floats { starts, .. } | Self::Histograms { starts, .. } => starts,
        }
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.times().len()
    }

    /// Returns true for a run without samples.
    pub fn is_empty(&self) -> bool {
        self.times().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_of_starts_stays_empty_until_somebody_says() {
        let mut column = Vec::new();
        append_starts(&mut column, 2, &[], 0..3);
        assert!(column.is_empty());
        append_starts(&mut column, 2, &[7, 8], [1, 2].into_iter());
        assert_eq!(column, [START_UNKNOWN, START_UNKNOWN, 8, START_UNKNOWN]);
        append_starts(&mut column, 4, &[], 0..1);
        assert_eq!(column.len(), 5);
    }
}

//! What functions of histograms tell beside their values, word for word as Prometheus tells it.
//!
//! Source of the texts: `util/annotations/annotations.go` of Prometheus; clients and its acceptance suite compare them.

use std::collections::BTreeMap;

use homeostat_model::{
    TimeMs,
    number_text::{rounded, shortest},
};

use crate::{ast::ByteSpan, eval::date, histogram::FilledUp, note::Notes, quote::quote};

const FILLED_UP: &str = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/\
                         prometheus/latest/querying/functions/#histogram_quantile)";

/// What observations of `NaN` did to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NanNote {
    /// A quantile is one of them.
    QuantileIsNan,
    /// A quantile is higher than without them.
    QuantileIsHigher,
    /// They are in no fraction.
    NotInFraction,
}

impl NanNote {
    pub(super) fn tell(self, metric: &str, place: ByteSpan, notes: &mut Notes) {
        let text = match self {
            Self::QuantileIsNan => "input to histogram_quantile has NaN observations, result is NaN",
            Self::QuantileIsHigher => "input to histogram_quantile has NaN observations, result is skewed higher",
            Self::NotInFraction => {
                "input to histogram_fraction has NaN observations, which are excluded from all fractions"
            }
        };
        notes.info(place, with_metric(text, metric));
    }
}

pub(super) fn invalid_quantile(q: f64, place: ByteSpan, notes: &mut Notes) {
    notes.warn(place, format!("quantile value should be between 0 and 1, got {}", shortest(q)));
}

/// A number that belongs to no bucket, because its label `le` is missing or tells no bound.
pub(super) fn bad_bound(le: &str, metric: &str, place: ByteSpan, notes: &mut Notes) {
    let text = format!("bucket label \"le\" is missing or has a malformed value of {}", quote(le));
    notes.warn(place, with_metric(&text, metric));
}

/// A classic and a native histogram with the same labels at the same step.
pub(super) fn mixed(metric: &str, place: ByteSpan, notes: &mut Notes) {
    notes.warn(place, with_metric("vector contains a mix of classic and native histograms", metric));
}

fn with_metric(text: &str, metric: &str) -> String {
    if metric.is_empty() { text.to_owned() } else { format!("{text} for metric name {}", quote(metric)) }
}

/// Collects where counts of classic histograms fell from bucket to bucket, to tell it once per metric.
#[derive(Debug, Default)]
pub(super) struct FilledUpNotes {
    by_metric: BTreeMap<String, Extent>,
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    filled_up: FilledUp,
    samples: u64,
    first_ms: TimeMs,
    last_ms: TimeMs,
}

impl FilledUpNotes {
    pub(super) fn add(&mut self, metric: &str, t_ms: TimeMs, filled_up: FilledUp) {
        if let Some(extent) = self.by_metric.get_mut(metric) {
            extent.filled_up = extent.filled_up.and(filled_up);
            extent.samples += 1;
            extent.first_ms = extent.first_ms.min(t_ms);
            extent.last_ms = extent.last_ms.max(t_ms);
        } else {
            let extent = Extent { filled_up, samples: 1, first_ms: t_ms, last_ms: t_ms };
            self.by_metric.insert(metric.to_owned(), extent);
        }
    }

    pub(super) fn tell(self, place: ByteSpan, notes: &mut Notes) {
        for (metric, Extent { filled_up, samples, first_ms, last_ms }) in self.by_metric {
            let FilledUp { lowest, highest, most } = filled_up;
            let text = format!(
                "{}, from buckets {} to {}, with a max diff of {}, over {samples} samples from {} to {}",
                with_metric(FILLED_UP, &metric),
                shortest(lowest),
                shortest(highest),
                rounded(most, 2),
                date::rfc3339(first_ms),
                date::rfc3339(last_ms),
            );
            notes.info(place, text);
        }
    }
}

//! Samples: a value of a series at one instant.

use std::sync::Arc;

use crate::histogram::Histogram;

/// Bits of the `NaN` that marks the end of a series, as Prometheus writes it (`model/value/value.go`).
/// Every other `NaN` is a value like any other.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Milliseconds since 1970 (UTC). Any `i64` is accepted: data from before 1970 is data.
pub type TimeMs = i64;

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
/// Invariant: times and values have the same length.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleRun {
    /// Numbers.
    Floats {
        /// Times, ascending.
        t_ms: Vec<TimeMs>,
        /// The value at each time.
        values: Vec<f64>,
    },
    /// Native histograms.
    Histograms {
        /// Times, ascending.
        t_ms: Vec<TimeMs>,
        /// The value at each time.
        values: Vec<Arc<Histogram>>,
    },
}

impl SampleRun {
    /// The times of all samples, ascending.
    pub fn times(&self) -> &[TimeMs] {
        match self {
            Self::Floats { t_ms, .. } | Self::Histograms { t_ms, .. } => t_ms,
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

//! How much one request may bring.

/// Bytes of a request after unpacking. Prometheus reads remote read requests up to the same 32 MiB, VictoriaMetrics
/// takes remote write requests up to it; Prometheus itself sends 2,000 samples at once, less than 1 MiB.
pub const DECODED_BYTES_MAX: usize = 32 << 20;

/// Series in a request. One with a label and a sample takes at least 20 bytes of remote write 1.0, so that the limit on
/// bytes is met first by honest ones; hostile ones of two bytes each would be 16 million.
pub const SERIES_MAX: usize = 1_000_000;

/// Samples in a request. One takes at least 18 bytes (value and a time of today): 32 MiB hold 1.9 million. In memory one
/// takes 32 bytes, so a series that has all of them costs a scratch of 64 MB.
pub const SAMPLES_MAX: usize = 2_000_000;

/// Native histograms in a request. One has at least some 30 bytes, with its two dozen buckets more like 150:
/// 32 MiB hold 200,000 of those.
pub const HISTOGRAMS_MAX: usize = 250_000;

/// Exemplars in a request: one for every tenth sample.
pub const EXEMPLARS_MAX: usize = 200_000;

/// Metadata entries in a request; Prometheus sends 2,000 at once.
pub const METADATA_MAX: usize = 100_000;

/// Labels of a series. Kubernetes' richest have about 60.
pub const LABELS_MAX: usize = 256;

/// Bytes of a label's name; Mimir has the same limit.
pub const LABEL_NAME_BYTES_MAX: usize = 1_024;

/// Bytes of a label's value. Mimir takes 2 KiB by default, but OTLP's attributes carry command lines.
pub const LABEL_VALUE_BYTES_MAX: usize = 16 << 10;

/// Bytes of all labels of a series together.
pub const SERIES_BYTES_MAX: usize = 64 << 10;

const _: () = assert!(LABEL_NAME_BYTES_MAX + LABEL_VALUE_BYTES_MAX < SERIES_BYTES_MAX);
const _: () = assert!(SERIES_BYTES_MAX < DECODED_BYTES_MAX);

/// How much one request may bring; the defaults are this module's constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntakeLimits {
    /// Bytes of a request after unpacking.
    pub decoded_bytes_max: usize,
    /// Series in a request.
    pub series_max: usize,
    /// Samples in a request.
    pub samples_max: usize,
    /// Native histograms in a request.
    pub histograms_max: usize,
    /// Exemplars in a request.
    pub exemplars_max: usize,
    /// Metadata entries in a request.
    pub metadata_max: usize,
    /// Labels of a series.
    pub labels_max: usize,
    /// Bytes of a label's name.
    pub label_name_bytes_max: usize,
    /// Bytes of a label's value.
    pub label_value_bytes_max: usize,
    /// Bytes of all labels of a series together.
    pub series_bytes_max: usize,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        Self {
            decoded_bytes_max: DECODED_BYTES_MAX,
            series_max: SERIES_MAX,
            samples_max: SAMPLES_MAX,
            histograms_max: HISTOGRAMS_MAX,
            exemplars_max: EXEMPLARS_MAX,
            metadata_max: METADATA_MAX,
            labels_max: LABELS_MAX,
            label_name_bytes_max: LABEL_NAME_BYTES_MAX,
            label_value_bytes_max: LABEL_VALUE_BYTES_MAX,
            series_bytes_max: SERIES_BYTES_MAX,
        }
    }
}

/// A request that brings more than is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has more than {limit} {what}; send it in several")]
pub struct TooMany {
    /// What there is too much of.
    pub what: &'static str,
    /// What is taken.
    pub limit: usize,
}

/// Counts one more of something that a request may have `limit` of.
pub(crate) fn count(so_far: &mut usize, limit: usize, what: &'static str) -> Result<(), TooMany> {
    *so_far += 1;
    if limit < *so_far { Err(TooMany { what, limit }) } else { Ok(()) }
}

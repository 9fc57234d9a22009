//! Prometheus remote write, both ways: `prometheus.WriteRequest` (1.0) and `io.prometheus.write.v2.Request` (2.0).
//!
//! The two differ in how texts travel: 1.0 spells each label out, 2.0 refers to a table of symbols at the beginning.
//! Samples, histograms and exemplars have the same fields in both, up to start timestamps, which only 2.0 has (in its
//! final form with each sample, in an earlier one once per series: both are read).
//!
//! A decoder refuses a request as a whole only when the bytes are no such message or exceed a limit; a bad series or
//! sample is told to the sink and the rest goes on. Whether a metric name is needed, is up to the sink.
//!
//! Not here: HTTP, content types, retries (`sense-receive`), order of samples (`store-series`).
//! Sources: prometheus.io/docs/specs/remote_write_spec (1.0 and 2.0); `prometheus/prometheus` `prompb/types.proto` and
//! `prompb/io/prometheus/write/v2/types.proto`.

mod encode;
mod histogram;
mod v1;
mod v2;

use crate::{
    intake::{IntakeLimits, TooMany},
    protobuf::ProtobufError,
    snappy::{self, SnappyError},
};

pub use encode::{EncoderV1, EncoderV2};
pub use v1::decode_v1;
pub use v2::decode_v2;

/// Why a request cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The compression is damaged, or its content too long.
    #[error("the body cannot be unpacked")]
    Snappy(#[from] SnappyError),
    /// The bytes are not the message.
    #[error("the body is no `{message}` message; check the sender's protocol version and content type")]
    Malformed {
        /// What was expected.
        message: &'static str,
        /// Where and why it is not.
        source: ProtobufError,
    },
    /// More than one request may bring.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// Unpacks a request's body into `out`, whose content is replaced.
pub fn unpack(body: &[u8], limits: &IntakeLimits, out: &mut Vec<u8>) -> Result<(), WriteError> {
    Ok(snappy::decompress(body, limits.decoded_bytes_max, out)?)
}

/// Something in the way of the decoder, before it is known which message it reads.
#[derive(Debug)]
enum Stop {
    Malformed(ProtobufError),
    TooMany(TooMany),
}

impl Stop {
    fn into_error(self, message: &'static str) -> WriteError {
        match self {
            Self::Malformed(source) => WriteError::Malformed { message, source },
            Self::TooMany(error) => WriteError::TooMany(error),
        }
    }
}

impl From<ProtobufError> for Stop {
    fn from(error: ProtobufError) -> Self {
        Self::Malformed(error)
    }
}

impl From<TooMany> for Stop {
    fn from(error: TooMany) -> Self {
        Self::TooMany(error)
    }
}

/// Kinds of metrics have the same numbers in both versions.
fn kind_of(number: u64) -> homeostat_model::MetricKind {
    let kinds = homeostat_model::MetricKind::ALL;
    usize::try_from(number).ok().and_then(|at| kinds.get(at).copied()).unwrap_or_default()
}

/// Zero stands for "not set".
fn set_time(t_ms: i64) -> Option<i64> {
    (t_ms != 0).then_some(t_ms)
}

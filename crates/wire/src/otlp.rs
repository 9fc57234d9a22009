//! OpenTelemetry's metrics as Prometheus' series.
//!
//! A request is a tree: resources, their scopes, their metrics, their data points. It is walked once; each point becomes
//! the series that Prometheus 3 makes of it, and goes to the same [`SeriesSink`] as remote write. What describes a
//! resource becomes `job`, `instance`, chosen labels and the series `target_info`; a scope becomes labels if wanted.
//! JSON is rewritten as protobuf while it is read, so that there is one way through.
//!
//! A bad point is refused by itself and counted for the answer (`partial_success`); the others go on.
//!
//! Not here: transport, compression, answers' headers (`sense-receive`).
//! Sources: `open-telemetry/opentelemetry-proto` `metrics/v1/metrics.proto`; opentelemetry.io, "OTLP Specification" and
//! "Prometheus and OpenMetrics compatibility"; `prometheus/prometheus` `storage/remote/otlptranslator`.

mod delta;
mod exemplar;
mod json;
mod name;
mod point;
pub mod profiles;
mod resource;
mod response;
mod temporality;
mod translate;
mod value;

use homeostat_model::TimeMs;

use crate::{
    intake::{IntakeLimits, SeriesSink, TooMany},
    protobuf::ProtobufError,
};

pub use delta::{DELTA_BUCKETS_MAX, DELTA_SERIES_MAX, DELTA_SILENCE_MS_MAX, DeltaLimits, DeltaToCumulative};
pub use json::protobuf_of_json;
pub use name::{LabelNaming, Strategy};
pub use response::{response, response_json};
pub use temporality::has_deltas;

/// Half of five minutes, how far Prometheus looks back: so close together lie the samples of `target_info`.
pub const TARGET_INFO_INTERVAL_MS: i64 = 150_000;

/// What becomes of histograms with explicit bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExplicitHistograms {
    /// Series `_bucket`, `_sum` and `_count`.
    #[default]
    Classic,
    /// Native histograms with custom bounds (`convert_histograms_to_nhcb`).
    CustomBounds,
}

/// Which attributes of a resource become labels of all its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promote {
    /// These.
    Listed(Vec<String>),
    /// All but these.
    AllExcept(Vec<String>),
}

impl Promote {
    fn includes(&self, key: &str) -> bool {
        let among = |keys: &[String]| keys.iter().any(|k| k == key);
        match self {
            Self::Listed(keys) => among(keys),
            Self::AllExcept(keys) => !among(keys),
        }
    }
}

/// How metrics are translated; the defaults are Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpOptions {
    /// How much a request may bring.
    pub limits: IntakeLimits,
    /// What happens to names.
    pub strategy: Strategy,
    /// How attribute keys become label names, where names are escaped.
    pub label_naming: LabelNaming,
    /// Which attributes of a resource become labels.
    pub promote: Promote,
    /// `target_info` also keeps the attributes that `job` and `instance` are made of.
    pub keep_identifying: bool,
    /// A scope's name, version, schema and attributes become labels `otel_scope_…`.
    pub promote_scope: bool,
    /// What becomes of histograms with explicit bounds.
    pub explicit_histograms: ExplicitHistograms,
    /// How close together samples of `target_info` lie; at least 1.
    pub target_info_interval_ms: TimeMs,
}

impl Default for OtlpOptions {
    fn default() -> Self {
        Self {
            limits: IntakeLimits::default(),
            strategy: Strategy::default(),
            label_naming: LabelNaming::default(),
            promote: Promote::Listed(Vec::new()),
            keep_identifying: false,
            promote_scope: false,
            explicit_histograms: ExplicitHistograms::default(),
            target_info_interval_ms: TARGET_INFO_INTERVAL_MS,
        }
    }
}

/// Why a request cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The bytes are not the message.
    #[error("the body is no `ExportMetricsServiceRequest` message; check the sender's content type")]
    Malformed {
        /// Where and why it is not.
        #[from]
        source: ProtobufError,
    },
    /// The text is not the message in JSON.
    #[error("the body is no `ExportMetricsServiceRequest` in JSON")]
    Json {
        /// Where and why it is not.
        #[from]
        source: serde_json::Error,
    },
    /// More bytes than are taken.
    #[error("the request has {len} bytes, more than the {limit} that are taken; send fewer points at once")]
    TooLong {
        /// What it has.
        len: usize,
        /// What is taken.
        limit: usize,
    },
    /// More than one request may bring.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtlpOutcome {
    /// Data points that it had.
    pub data_points: u64,
    /// Those that were refused.
    pub rejected: u64,
    /// Why the first of them was; empty when none was.
    pub message: String,
}

/// Reads an unpacked `ExportMetricsServiceRequest` in protobuf and hands its series to `sink`. Without `delta`, points of
/// delta temporality are refused.
pub fn decode_metrics<S: SeriesSink>(
    body: &[u8],
    options: &OtlpOptions,
    delta: Option<&mut DeltaToCumulative>,
    sink: &mut S,
) -> Result<OtlpOutcome, OtlpError> {
    let (len, limit) = (body.len(), options.limits.decoded_bytes_max);
    if limit < len {
        return Err(OtlpError::TooLong { len, limit });
    }
    translate::request(body, options, delta, sink)
}

/// Reads an unpacked `ExportMetricsServiceRequest` in JSON, otherwise as [`decode_metrics`].
pub fn decode_metrics_json<S: SeriesSink>(
    body: &[u8],
    options: &OtlpOptions,
    delta: Option<&mut DeltaToCumulative>,
    sink: &mut S,
) -> Result<OtlpOutcome, OtlpError> {
    let (len, limit) = (body.len(), options.limits.decoded_bytes_max);
    if limit < len {
        return Err(OtlpError::TooLong { len, limit });
    }
    translate::request(&protobuf_of_json(body)?, options, delta, sink)
}

//! What a scraped target answers: text 0.0.4, OpenMetrics 1.0 and Prometheus' protobuf, read into one stream of samples.
//!
//! A parser walks the body once and gives a [`ScrapeSink`] one sample after another, labels borrowed from the body. Each
//! series is first shown as the bytes that it stands in: a sink that scrapes the same target every few seconds remembers
//! them, and then labels are neither read nor sorted again. Unlike remote write, the first fault ends it: half an answer
//! of a target is no measurement.
//!
//! Not here: fetching, relabelling, `honor_labels`, staleness (`sense-scrape`); writing (`exposition`).
//! Invariants: labels that reach a sink are UTF-8, sorted by name, unique, with neither name nor value empty, and have a
//! metric name. Without escapes in labels, no sample allocates.
//! Sources: Prometheus, "Exposition formats"; OpenMetrics 1.0; `prometheus/client_model` `metrics.proto`;
//! `prometheus/prometheus` `model/textparse` for what is taken in practice.

mod cursor;
mod format;
mod labels;
mod number;
mod openmetrics;
mod protobuf;
mod text;

use std::sync::Arc;

use homeostat_model::{Histogram, MetricKind, TimeMs};

pub use crate::intake::{ExemplarView, SeriesKey};
use crate::{
    intake::{Fault, IntakeLimits, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, SERIES_BYTES_MAX, TooMany},
    protobuf::ProtobufError,
};
pub use format::{ACCEPT, Format};

/// Bytes of a body. Large clusters' `kube-state-metrics` answer about 100 MB.
pub const BODY_BYTES_MAX: usize = 256 << 20;
/// Samples in a body. A sample of text takes about 100 bytes: 256 MiB hold 2.7 million.
pub const SAMPLES_MAX: usize = 5_000_000;

/// How much a target may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeLimits {
    /// Bytes of the unpacked body.
    pub body_bytes_max: usize,
    /// Samples in it.
    pub samples_max: usize,
    /// Labels of a series.
    pub labels_max: usize,
    /// Bytes of a label's name.
    pub label_name_bytes_max: usize,
    /// Bytes of a label's value.
    pub label_value_bytes_max: usize,
}

impl Default for ScrapeLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: BODY_BYTES_MAX,
            samples_max: SAMPLES_MAX,
            labels_max: LABELS_MAX,
            label_name_bytes_max: LABEL_NAME_BYTES_MAX,
            label_value_bytes_max: LABEL_VALUE_BYTES_MAX,
        }
    }
}

impl ScrapeLimits {
    /// The part that concerns labels, as the common check wants it.
    fn of_labels(&self) -> IntakeLimits {
        IntakeLimits {
            labels_max: self.labels_max,
            label_name_bytes_max: self.label_name_bytes_max,
            label_value_bytes_max: self.label_value_bytes_max,
            series_bytes_max: SERIES_BYTES_MAX.max(self.label_name_bytes_max + self.label_value_bytes_max),
            ..IntakeLimits::default()
        }
    }
}

/// What to read, beyond what the format leaves no choice about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrapeOptions {
    /// How much.
    pub limits: ScrapeLimits,
    /// Classic buckets that come beside a native histogram (protobuf only).
    pub classic: ClassicBuckets,
}

/// What happens to classic buckets that come beside a native histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassicBuckets {
    /// They are left out.
    #[default]
    WithoutNative,
    /// Both are read (`always_scrape_classic_histograms`).
    Always,
}

/// A value that was scraped.
#[derive(Clone, Debug, PartialEq)]
pub enum ScrapedValue {
    /// A number; never the bits of the stale marker.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// What a sample is within its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleRole {
    /// A measurement.
    Value,
    /// The time since when the other samples of its metric count (`_created` of OpenMetrics), in seconds since 1970.
    /// Those have it as their start as well; Prometheus stores this one like any other series unless told otherwise.
    Created,
}

/// A sample that was scraped.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapedSample<'a> {
    /// What was measured.
    pub value: ScrapedValue,
    /// When, where the target says so: mostly it does not.
    pub t_ms: Option<TimeMs>,
    /// Since when the target counts, where it says so.
    pub start_ms: Option<TimeMs>,
    /// What it is.
    pub role: SampleRole,
    /// Examples; at most one but for native histograms.
    pub exemplars: &'a [ExemplarView<'a>],
}

/// Something about a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyFact<'a> {
    /// What kind of numbers it holds.
    Kind(MetricKind),
    /// What it means.
    Help(&'a str),
    /// What it counts in.
    Unit(&'a str),
}

/// Takes what a parser finds.
pub trait ScrapeSink {
    /// How the sink names a series that it has seen before; `Infallible` for sinks that do not remember.
    type Known;

    /// Gets what is probably a series as it stands in the body, before its labels are read. Equal bytes of one target in
    /// one format are the same series.
    fn recognise(&mut self, bytes: &[u8]) -> Option<Self::Known> {
        let _ = bytes;
        None
    }

    /// Takes a sample.
    fn sample(&mut self, key: SeriesKey<'_, Self::Known>, sample: ScrapedSample<'_>);

    /// Learns of an exemplar that cannot be taken. Its sample comes without it.
    fn refused_exemplar(&mut self, fault: &Fault) {
        let _ = fault;
    }

    /// Learns something about a family.
    fn family(&mut self, name: &str, fact: FamilyFact<'_>) {
        let _ = (name, fact);
    }
}

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScrapeError {
    /// A line of text.
    #[error("line {line}, column {column}: {fault}")]
    Text {
        /// From 1.
        line: usize,
        /// Character within the line, from 1.
        column: usize,
        /// What is wrong there.
        fault: ScrapeFault,
    },
    /// Not the message.
    #[error("the body is no sequence of `io.prometheus.client.MetricFamily` messages")]
    Protobuf {
        /// Where and why it is not.
        #[from]
        source: ProtobufError,
    },
    /// A family of the protobuf format.
    #[error("family {name:?}: {fault}")]
    Family {
        /// Its name as far as it could be read.
        name: String,
        /// What is wrong with it.
        fault: ScrapeFault,
    },
    /// More bytes than are taken.
    #[error("the target answers {len} bytes, more than the {limit} that are taken")]
    TooLong {
        /// What it answers.
        len: usize,
        /// What is taken.
        limit: usize,
    },
    /// More samples than are taken.
    #[error("the target answers more than {limit} samples")]
    TooManySamples {
        /// What is taken.
        limit: usize,
    },
}

/// What is wrong with a line or a family.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScrapeFault {
    /// Something else was to come.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What was to come.
        expected: &'static str,
        /// What came; the beginning of it.
        found: String,
    },
    /// Bytes in another encoding.
    #[error("this is not UTF-8")]
    Encoding,
    /// A quote that is never closed.
    #[error("the quote that begins here is not closed")]
    OpenQuote,
    /// Neither before nor within the braces.
    #[error("the series has no metric name")]
    NoName,
    /// Before and within the braces, or twice within.
    #[error("the series has two metric names")]
    TwoNames,
    /// A unit that does not end the family's name.
    #[error("the family's name must end in `_` and its unit {unit:?}")]
    Unit {
        /// The unit.
        unit: String,
    },
    /// OpenMetrics without its last line.
    #[error("the body does not end with `# EOF`: it was cut short, or is not OpenMetrics")]
    NoEof,
    /// A kind of metric beyond the format.
    #[error("there is no metric type {number}")]
    Kind {
        /// As read.
        number: u64,
    },
    /// Labels that cannot be, or a native histogram that contradicts itself.
    #[error("{0}")]
    Series(Fault),
}

impl From<TooMany> for ScrapeError {
    fn from(TooMany { limit, .. }: TooMany) -> Self {
        Self::TooManySamples { limit }
    }
}

/// Reads a body and hands what it holds to `sink`, in the order of the body.
pub fn parse<S: ScrapeSink>(
    format: Format,
    body: &[u8],
    options: &ScrapeOptions,
    sink: &mut S,
) -> Result<(), ScrapeError> {
    let (len, limit) = (body.len(), options.limits.body_bytes_max);
    if limit < len {
        return Err(ScrapeError::TooLong { len, limit });
    }
    match format {
        Format::Text => text::parse(cursor::text_of(body)?, options, sink),
        Format::OpenMetrics => openmetrics::parse(cursor::text_of(body)?, options, sink),
        Format::Protobuf => protobuf::parse(body, options, sink),
    }
}

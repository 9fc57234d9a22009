//! Series as they come in, whatever the protocol: the door that every push decoder hands them through.
//!
//! A decoder walks a request once and gives the [`SeriesSink`] one series after another. Labels and texts are borrowed
//! from the request, samples from a scratch that is used again, so that the cost per sample is its own bytes. What makes
//! a whole request unreadable is the decoder's error; what concerns one series or sample is a [`Refusal`], and the rest
//! goes on, as Prometheus has it.
//!
//! Not here: who may write what (`sense-receive`), order and age of samples (`store-series`).
//! Invariant: labels that reach a sink are UTF-8, sorted by name, unique, with neither name nor value empty.

mod builder;
mod collect;
mod limits;

use std::sync::Arc;

use homeostat_model::{
    Histogram, MetricKind, TimeMs,
    histogram::HistogramError,
    labels::{LabelsBuilder, METRIC_NAME},
};

pub(crate) use builder::{ExemplarRow, SeriesBuilder, normalise, recycled};
pub use collect::{Collected, CollectedSeries, Exemplar};
pub(crate) use limits::count;
pub use limits::{
    DECODED_BYTES_MAX, EXEMPLARS_MAX, HISTOGRAMS_MAX, IntakeLimits, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX,
    LABELS_MAX, METADATA_MAX, SAMPLES_MAX, SERIES_BYTES_MAX, SERIES_MAX, TooMany,
};

/// A label: name and value.
pub type Label<'a> = (&'a str, &'a str);

/// A number at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloatSample {
    /// When it was measured.
    pub t_ms: TimeMs,
    /// What was measured.
    pub value: f64,
    /// Since when the source counts, where it says so.
    pub start_ms: Option<TimeMs>,
}

/// A native histogram at an instant; it has passed [`Histogram::check`], except that fractional counts may add up to more
/// than the total, because sums of fractions round.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSample {
    /// When it was measured.
    pub t_ms: TimeMs,
    /// What was measured.
    pub histogram: Arc<Histogram>,
    /// Since when the source counts, where it says so.
    pub start_ms: Option<TimeMs>,
}

/// An example of what a series counts, mostly with a trace's id among its labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExemplarView<'a> {
    /// Sorted by name, unique.
    pub labels: &'a [Label<'a>],
    /// The value that was observed.
    pub value: f64,
    /// When, where the source says so.
    pub t_ms: Option<TimeMs>,
}

/// What is known about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataView<'a> {
    /// The metric's name: a family's in remote write 1.0 and OTLP, a series' own in remote write 2.0.
    pub family: &'a str,
    /// What kind of numbers it holds.
    pub kind: MetricKind,
    /// For people; may be empty.
    pub help: &'a str,
    /// May be empty.
    pub unit: &'a str,
}

/// Which series samples belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesKey<'a, K> {
    /// The one that the sink has recognised.
    Known(K),
    /// The one with these labels.
    Labels {
        /// Sorted by name; not empty. A metric name may be missing.
        labels: &'a [Label<'a>],
        /// What [`SeriesSink::recognise`] gets when they come again, where the protocol allows it.
        bytes: Option<&'a [u8]>,
    },
}

/// A series with what came for it. All lists may be empty: then there is nothing to store.
#[derive(Clone, Copy, Debug)]
pub struct SeriesView<'a> {
    /// In the order of the request; most senders send them in order of time.
    pub samples: &'a [FloatSample],
    /// In the order of the request.
    pub histograms: &'a [HistogramSample],
    pub(crate) exemplars: ExemplarsView<'a>,
}

/// Exemplars of a series, in either form that decoders have them in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ExemplarsView<'a> {
    /// Rows with ranges of a common list of labels.
    Rows(&'a [ExemplarRow], &'a [Label<'a>]),
    /// One by one.
    Ready(&'a [ExemplarView<'a>]),
}

impl<'a> SeriesView<'a> {
    /// A series of samples that do not come from a push decoder.
    pub const fn new(
        samples: &'a [FloatSample],
        histograms: &'a [HistogramSample],
        exemplars: &'a [ExemplarView<'a>],
    ) -> Self {
        Self { samples, histograms, exemplars: ExemplarsView::Ready(exemplars) }
    }

    /// The exemplars, in the order of the request.
    pub fn exemplars(&self) -> impl Iterator<Item = ExemplarView<'a>> + use<'a> {
        let (rows, all, ready) = match self.exemplars {
            ExemplarsView::Rows(rows, all) => (rows, all, &[][..]),
            ExemplarsView::Ready(ready) => (&[][..], &[][..], ready),
        };
        let rows = rows.iter().map(move |row| ExemplarView {
            labels: all.get(row.labels.clone()).unwrap_or_default(),
            value: row.value,
            t_ms: row.t_ms,
        });
        rows.chain(ready.iter().copied())
    }
}

/// Takes what a decoder finds.
///
/// A decoder may fail behind a series that the sink already has: whoever wants all or nothing collects, and stores when
/// the decoder is done.
pub trait SeriesSink {
    /// How the sink names a series that it has seen before; `Infallible` for sinks that do not remember.
    type Known;

    /// Gets a series' labels as they stand on the wire, before they are read. Equal bytes are equal labels, so that a
    /// sink that remembers what it got with [`SeriesKey::Labels`] can save reading, checking and sorting them.
    fn recognise(&mut self, bytes: &[u8]) -> Option<Self::Known> {
        let _ = bytes;
        None
    }

    /// Takes a series.
    fn series(&mut self, key: SeriesKey<'_, Self::Known>, series: SeriesView<'_>);

    /// Learns what a metric is.
    fn metadata(&mut self, metadata: MetadataView<'_>) {
        let _ = metadata;
    }

    /// Learns what could not be taken, and why. Called in the order of the request.
    fn refused(&mut self, refusal: Refusal<'_>);
}

/// Part of a request that cannot be taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal<'a> {
    /// Which series of the request, from 0.
    pub series: usize,
    /// Its metric's name as far as it could be read; may be empty.
    pub metric: &'a str,
    /// Samples and histograms that are lost.
    pub samples: usize,
    /// Exemplars that are lost.
    pub exemplars: usize,
    /// Why.
    pub fault: Fault,
}

impl std::fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "series {}", self.series)?;
        if !self.metric.is_empty() {
            write!(f, " ({})", self.metric.escape_debug())?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// What is wrong with a series, a sample or an exemplar, and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// There is nothing to know it by.
    #[error("it has no labels; give it at least `{METRIC_NAME}`")]
    NoLabels,
    /// A label without name.
    #[error("a label has an empty name; give it a name or leave it out")]
    EmptyName,
    /// One name twice.
    #[error("label {name:?} is given twice; give it once")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A name or a value in another encoding.
    #[error("label {index} is not UTF-8; convert it or leave it out")]
    Encoding {
        /// Which label, from 0.
        index: usize,
    },
    /// More labels than are taken.
    #[error("it has more than {limit} labels; drop some")]
    TooManyLabels {
        /// What is taken.
        limit: usize,
    },
    /// A label's name that is longer than what is taken.
    #[error("the name of label {index} has {len} bytes; the limit is {limit}")]
    LongName {
        /// Which label, from 0.
        index: usize,
        /// Its length in bytes.
        len: usize,
        /// What is taken.
        limit: usize,
    },
    /// A label's value that is longer than what is taken.
    #[error("the value of label {name:?} has {len} bytes, more than the {limit} that are taken; shorten it")]
    LongValue {
        /// The label.
        name: String,
        /// Its length in bytes.
        len: usize,
        /// What is taken.
        limit: usize,
    },
    /// All labels together are longer than what is taken.
    #[error("its labels have {len} bytes, more than the {limit} that are taken; shorten or drop some")]
    LongLabels {
        /// Their length in bytes.
        len: usize,
        /// What is taken.
        limit: usize,
    },
    /// A reference beyond the table of symbols.
    #[error("it refers to symbol {reference}, but there are only {symbols}")]
    Reference {
        /// As read.
        reference: u64,
        /// How many there are.
        symbols: usize,
    },
    /// A symbol in another encoding.
    #[error("it refers to symbol {reference}, which is not UTF-8; convert it or leave it out")]
    SymbolEncoding {
        /// Which, from 0.
        reference: u64,
    },
    /// A name without value.
    #[error("its label references are odd in number; they come in pairs of name and value")]
    OddReferences,
    /// Counts of a native histogram that leave the range of 64 bits.
    #[error("the counts of the histogram at {t_ms} ms leave the range of 64 bits")]
    HistogramRange {
        /// When it was measured.
        t_ms: TimeMs,
    },
    /// A native histogram that contradicts itself.
    #[error("the histogram at {t_ms} ms is wrong: {error}")]
    Histogram {
        /// When it was measured.
        t_ms: TimeMs,
        /// What is wrong with it.
        error: HistogramError,
    },
    /// A metric's name of which nothing is left when it is spelled as Prometheus can.
    #[error("nothing of the name {name:?} is left in letters and digits; rename it, or keep UTF-8 names")]
    Name {
        /// The name.
        name: String,
    },
    /// An exponential histogram that is coarser than any that is stored.
    #[error("scale {scale} is below -4, the coarsest that native histograms have; record it finer")]
    Scale {
        /// Its scale.
        scale: i64,
    },
    /// A delta that does not lie behind the one before.
    #[error("the delta at {t_ms} ms is not later than one before; send each once and in order, or cumulative sums")]
    DeltaOrder {
        /// When it ends.
        t_ms: TimeMs,
    },
    /// More series of deltas than are kept.
    #[error("{limit} series of deltas are kept already; send cumulative sums")]
    DeltaSeries {
        /// What is kept.
        limit: usize,
    },
    /// A shape of data that cannot be stored; OTLP has several.
    #[error("{what}")]
    Unsupported {
        /// What it is, and what to do.
        what: &'static str,
    },
}

/// The metric's name among labels; empty when there is none.
pub fn metric_name<'a>(labels: &[Label<'a>]) -> &'a str {
    labels.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| value)
}

/// Labels of any order into a builder, for callers that want the model's set.
pub fn labels_builder(labels: &[Label<'_>]) -> LabelsBuilder {
    let mut builder = LabelsBuilder::default();
    for (name, value) in labels {
        builder.set(name, value);
    }
    builder
}

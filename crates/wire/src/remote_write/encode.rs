//! Requests out: for sending on to other stores, and for the tests.
//!
//! An encoder collects series until its caller finds the request long enough, and gives the unpacked message.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use homeostat_model::MetricKind;

use super::histogram;
use crate::{
    intake::{ExemplarView, FloatSample, HistogramSample, Label, MetadataView},
    protobuf::{put_double, put_int, put_message, put_packed_uints, put_text, put_uint},
};

/// Writes a `prometheus.WriteRequest`. Start times have no place in it: those that are given travel in the fields that 2.0 has for
/// them, which only our own decoder reads, so that a queue of such messages keeps them.
#[derive(Clone, Debug, Default)]
pub struct EncoderV1 {
    out: Vec<u8>,
}

impl EncoderV1 {
    /// Appends a series; labels sorted by name, as the protocol wants them.
    pub fn series<'a>(
        &mut self,
        labels: impl IntoIterator<Item = Label<'a>>,
        samples: &[FloatSample],
        histograms: &[HistogramSample],
        exemplars: &[ExemplarView<'_>],
    ) {
        put_message(1, &mut self.out, |out| {
            put_labels(labels, out);
            for sample in samples {
                put_message(2, out, |out| {
                    put_double(1, sample.value, out);
                    put_int(2, sample.t_ms, out);
                    if let Some(start_ms) = sample.start_ms {
                        put_int(3, start_ms, out);
                    }
                });
            }
            for exemplar in exemplars {
                put_message(3, out, |out| {
                    put_labels(exemplar.labels.iter().copied(), out);
                    put_double(2, exemplar.value, out);
                    put_int(3, exemplar.t_ms.unwrap_or(0), out);
                });
            }
            for sample in histograms {
                put_message(4, out, |out| {
                    histogram::put(sample, out);
                    if let Some(start_ms) = sample.start_ms {
                        put_int(17, start_ms, out);
                    }
                });
            }
        });
    }

    /// Appends what is known about a metric.
    pub fn metadata(&mut self, metadata: MetadataView<'_>) {
        put_message(3, &mut self.out, |out| {
            put_uint(1, number_of(metadata.kind), out);
            put_text(2, metadata.family, out);
            put_text(4, metadata.help, out);
            put_text(5, metadata.unit, out);
        });
    }

    /// The request as it stands, not packed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// Begins a new request in the same memory.
    pub fn clear(&mut self) {
        self.out.clear();
    }
}

fn put_labels<'a>(labels: impl IntoIterator<Item = Label<'a>>, out: &mut Vec<u8>) {
    for (name, value) in labels {
        put_message(1, out, |out| {
            put_text(1, name, out);
            put_text(2, value, out);
        });
    }
}

/// Writes an `io.prometheus.write.v2.Request`.
#[derive(Clone, Debug)]
pub struct EncoderV2 {
    symbols: Symbols,
    series: Vec<u8>,
}

/// Texts by their number, and as the fields that the request begins with.
#[derive(Clone, Debug, Default)]
struct Symbols {
    numbers: HashMap<String, u64, FixedState>,
    out: Vec<u8>,
}

impl Symbols {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.numbers.len() as u64;
        self.numbers.insert(text.to_owned(), number);
        put_text(4, text, &mut self.out);
        number
    }

    fn numbers<'a>(&mut self, labels: impl IntoIterator<Item = Label<'a>>) -> Vec<u64> {
        labels.into_iter().flat_map(|(name, value)| [self.number(name), self.number(value)]).collect()
    }
}

impl Default for EncoderV2 {
    fn default() -> Self {
        let mut symbols = Symbols::default();
        // The protocol wants the empty text first, so that zero can stand for "not set".
        symbols.number("");
        Self { symbols, series: Vec::new() }
    }
}

impl EncoderV2 {
    /// Appends a series; labels sorted by name, as the protocol wants them. The family's name in the metadata is not
    /// sent: it is the series' own.
    pub fn series<'a>(
        &mut self,
        labels: impl IntoIterator<Item = Label<'a>>,
        samples: &[FloatSample],
        histograms: &[HistogramSample],
        exemplars: &[ExemplarView<'_>],
        metadata: Option<MetadataView<'_>>,
    ) {
        let symbols = &mut self.symbols;
        put_message(5, &mut self.series, |out| {
            put_packed_uints(1, symbols.numbers(labels), out);
            for sample in samples {
                put_message(2, out, |out| {
                    put_double(1, sample.value, out);
                    put_int(2, sample.t_ms, out);
                    if let Some(start_ms) = sample.start_ms {
                        put_int(3, start_ms, out);
                    }
                });
            }
            for sample in histograms {
                put_message(3, out, |out| {
                    histogram::put(sample, out);
                    if let Some(start_ms) = sample.start_ms {
                        put_int(17, start_ms, out);
                    }
                });
            }
            for exemplar in exemplars {
                let numbers = symbols.numbers(exemplar.labels.iter().copied());
                put_message(4, out, |out| {
                    put_packed_uints(1, numbers, out);
                    put_double(2, exemplar.value, out);
                    put_int(3, exemplar.t_ms.unwrap_or(0), out);
                });
            }
            if let Some(metadata) = metadata {
                let (help, unit) = (symbols.number(metadata.help), symbols.number(metadata.unit));
                put_message(5, out, |out| {
                    put_uint(1, number_of(metadata.kind), out);
                    put_uint(3, help, out);
                    put_uint(4, unit, out);
                });
            }
        });
    }

    /// Bytes of the request as it stands, not packed.
    pub fn len(&self) -> usize {
        self.symbols.out.len() + self.series.len()
    }

    /// Returns true as long as no series was appended.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The request, not packed.
    pub fn finish(self) -> Vec<u8> {
        let mut out = self.symbols.out;
        out.extend_from_slice(&self.series);
        out
    }
}

fn number_of(kind: MetricKind) -> u64 {
    MetricKind::ALL.iter().position(|k| *k == kind).unwrap_or(0) as u64
}

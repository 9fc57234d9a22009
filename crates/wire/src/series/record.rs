//! The record of one batch in the log of the metrics store: new series, then samples in columns.
//!
//! ```text
//! kind u8 = 1, or 2 with starts
//! definitions  n, n × (reference, length, packed labels)
//! floats       n, references as runs, times as runs, n numbers
//! histograms   n, references as runs, times as runs, n histograms
//! exemplars    n, n × (reference, time zigzag, number, length, packed labels)
//! metadata     n, n × (kind u8, length, family, length, help, length, unit)
//! starts       kind 2 only: those of the floats as runs, those of the histograms as runs; 0 is unknown
//! ```
//!
//! Counts, lengths and references are varints, numbers as in [`super::histogram::put_number`]. A column of runs is a
//! sequence of (difference to the value before, zigzag; how often it repeats), from 0 on: the references of a scrape
//! count up and its times are all the same, so both columns take a few bytes.
//!
//! A record stands for itself: its values are not differences to those of earlier records, so damage to one record
//! makes no other one unreadable. A reference means the latest definition before it in the log.
//!
//! Not here: who checks what the samples mean (`store-series`). `docs/format/series-wal.md` has every byte.
//! Invariant: decoding allocates no more than a small multiple of the bytes it is given.

use std::sync::Arc;

use homeostat_model::{Histogram, MetricKind, TimeMs, sample::START_UNKNOWN};

use super::{
    histogram,
    reader::{Malformed, Reader},
};
use crate::varint;

/// First byte of a record of a batch.
const KIND_BATCH: u8 = 1;
/// First byte of a record of a batch of which some sample says since when it counts.
const KIND_STARTS: u8 = 2;

/// What is known about a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataRef<'a> {
    /// Name of the family.
    pub family: &'a str,
    /// Its kind.
    pub kind: MetricKind,
    /// Text for people.
    pub help: &'a str,
    /// Unit, as OpenMetrics has it; may be empty.
    pub unit: &'a str,
}

/// An exemplar of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExemplarRef<'a> {
    /// The series.
    pub series: u64,
    /// When it was observed.
    pub t_ms: TimeMs,
    /// What was observed.
    pub value: f64,
    /// Its own labels, packed.
    pub labels: &'a str,
}

/// Collects a batch; keeps its memory for the next one.
#[derive(Debug, Default)]
pub struct RecordBuilder {
    definitions: Counted,
    floats: Counted,
    float_refs: Runs,
    float_times: Runs,
    float_starts: Starts,
    histograms: Counted,
    histogram_refs: Runs,
    histogram_times: Runs,
    histogram_starts: Starts,
    exemplars: Counted,
    metadata: Counted,
    out: Vec<u8>,
}

#[derive(Debug, Default)]
struct Counted {
    count: u64,
    bytes: Vec<u8>,
}

impl Counted {
    fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
    }
}

impl RecordBuilder {
    /// Forgets everything.
    pub fn clear(&mut self) {
        for part in
            [&mut self.definitions, &mut self.floats, &mut self.histograms, &mut self.exemplars, &mut self.metadata]
        {
            part.clear();
        }
        for runs in [&mut self.float_refs, &mut self.float_times, &mut self.histogram_refs, &mut self.histogram_times] {
            runs.clear();
        }
        self.float_starts.clear();
        self.histogram_starts.clear();
        self.out.clear();
    }

    /// Returns true when nothing was added.
    pub fn is_empty(&self) -> bool {
        [&self.definitions, &self.floats, &self.histograms, &self.exemplars, &self.metadata]
            .iter()
            .all(|part| part.count == 0)
    }

    /// Says what a reference means from this record on.
    pub fn define(&mut self, series: u64, packed_labels: &str) {
        self.definitions.count += 1;
        varint::put(series, &mut self.definitions.bytes);
        put_text(packed_labels, &mut self.definitions.bytes);
    }

    /// Adds a float.
    #[inline]
    pub fn float(&mut self, series: u64, t_ms: TimeMs, value: f64) {
        self.floats.count += 1;
        self.float_refs.push(series as i64);
        self.float_times.push(t_ms);
        histogram::put_number(value, &mut self.floats.bytes);
    }

    /// Says since when the float that was added last counts; 0 says nothing.
    #[inline]
    pub fn float_start(&mut self, start_ms: TimeMs) {
        if start_ms != START_UNKNOWN {
            self.float_starts.set(self.floats.count, start_ms);
        }
    }

    /// Says since when the histogram that was added last counts; 0 says nothing.
    pub fn histogram_start(&mut self, start_ms: TimeMs) {
        if start_ms != START_UNKNOWN {
            self.histogram_starts.set(self.histograms.count, start_ms);
        }
    }

    /// Adds a histogram.
    pub fn histogram(&mut self, series: u64, t_ms: TimeMs, value: &Histogram) {
        self.histograms.count += 1;
        self.histogram_refs.push(series as i64);
        self.histogram_times.push(t_ms);
        histogram::put(value, &mut self.histograms.bytes);
    }

    /// Adds an exemplar.
    pub fn exemplar(&mut self, exemplar: ExemplarRef<'_>) {
        let out = &mut self.exemplars;
        out.count += 1;
        varint::put(exemplar.series, &mut out.bytes);
        varint::put(varint::zigzag(exemplar.t_ms), &mut out.bytes);
        histogram::put_number(exemplar.value, &mut out.bytes);
        put_text(exemplar.labels, &mut out.bytes);
    }

    /// Adds what is known about a family.
    pub fn metadata(&mut self, metadata: MetadataRef<'_>) {
        let out = &mut self.metadata;
        out.count += 1;
        out.bytes.push(kind_byte(metadata.kind));
        for text in [metadata.family, metadata.help, metadata.unit] {
            put_text(text, &mut out.bytes);
        }
    }

    /// Bytes of the record so far, about.
    pub fn len_estimate(&self) -> usize {
        let parts = [&self.definitions, &self.floats, &self.histograms, &self.exemplars, &self.metadata];
        let runs = [&self.float_refs, &self.float_times, &self.histogram_refs, &self.histogram_times];
        parts.iter().map(|part| part.bytes.len()).sum::<usize>()
            + runs.iter().map(|runs| runs.bytes.len()).sum::<usize>()
            + self.float_starts.runs.bytes.len()
            + self.histogram_starts.runs.bytes.len()
            + 64
    }

    /// The record's bytes.
    pub fn finish(&mut self) -> &[u8] {
        let out = &mut self.out;
        let has_starts = !self.float_starts.is_empty() || !self.histogram_starts.is_empty();
        out.clear();
        out.push(if has_starts { KIND_STARTS } else { KIND_BATCH });
        varint::put(self.definitions.count, out);
        out.extend_from_slice(&self.definitions.bytes);
        for (part, refs, times) in [
            (&self.floats, &mut self.float_refs, &mut self.float_times),
            (&self.histograms, &mut self.histogram_refs, &mut self.histogram_times),
        ] {
            varint::put(part.count, out);
            out.extend_from_slice(refs.finish());
            out.extend_from_slice(times.finish());
            out.extend_from_slice(&part.bytes);
        }
        for part in [&self.exemplars, &self.metadata] {
            varint::put(part.count, out);
            out.extend_from_slice(&part.bytes);
        }
        if has_starts {
            out.extend_from_slice(self.float_starts.finish(self.floats.count));
            out.extend_from_slice(self.histogram_starts.finish(self.histograms.count));
        }
        out
    }
}

/// A column of starts that is empty until a sample has one.
#[derive(Debug, Default)]
struct Starts {
    runs: Runs,
    /// Samples that it covers.
    count: u64,
}

impl Starts {
    fn clear(&mut self) {
        self.runs.clear();
        self.count = 0;
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The start of the last of so many samples; those before it that were not said have none.
    fn set(&mut self, samples: u64, start_ms: TimeMs) {
        self.pad(samples.saturating_sub(1));
        self.runs.push(start_ms);
        self.count = samples;
    }

    fn pad(&mut self, samples: u64) {
        for _ in self.count..samples {
            self.runs.push(START_UNKNOWN);
        }
        self.count = self.count.max(samples);
    }

    fn finish(&mut self, samples: u64) -> &[u8] {
        self.pad(samples);
        self.runs.finish()
    }
}

/// A column of numbers as differences and how often each repeats.
#[derive(Debug, Default)]
struct Runs {
    bytes: Vec<u8>,
    last: i64,
    delta: i64,
    run: u64,
}

impl Runs {
    fn clear(&mut self) {
        self.bytes.clear();
        (self.last, self.delta, self.run) = (0, 0, 0);
    }

    #[inline]
    fn push(&mut self, value: i64) {
        let delta = value.wrapping_sub(self.last);
        self.last = value;
        if self.run > 0 && delta == self.delta {
            self.run += 1;
            return;
        }
        self.flush();
        (self.delta, self.run) = (delta, 1);
    }

    fn flush(&mut self) {
        if self.run > 0 {
            varint::put(varint::zigzag(self.delta), &mut self.bytes);
            varint::put(self.run, &mut self.bytes);
        }
        self.run = 0;
    }

    fn finish(&mut self) -> &[u8] {
        self.flush();
        &self.bytes
    }
}

/// The kinds by their bytes, which stand on disk: new ones come at the end.
const KINDS: [MetricKind; 8] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::GaugeHistogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::StateSet,
];

fn kind_byte(kind: MetricKind) -> u8 {
    KINDS.iter().position(|known| *known == kind).unwrap_or(0) as u8
}

fn kind_of(byte: u8) -> Option<MetricKind> {
    KINDS.get(usize::from(byte)).copied()
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    varint::put(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// A record as read.
#[derive(Debug, Default)]
pub struct Record<'a> {
    /// What references mean from here on: (reference, packed labels).
    pub definitions: Vec<(u64, &'a str)>,
    /// Floats.
    pub floats: Column<f64>,
    /// Histograms.
    pub histograms: Column<Arc<Histogram>>,
    /// Exemplars.
    pub exemplars: Vec<ExemplarRef<'a>>,
    /// Metadata.
    pub metadata: Vec<MetadataRef<'a>>,
}

/// Samples of one kind; all columns have the same length, but of starts there may be none.
#[derive(Clone, Debug, PartialEq)]
pub struct Column<V> {
    /// Series.
    pub series: Vec<u64>,
    /// Times.
    pub t_ms: Vec<TimeMs>,
    /// Values.
    pub values: Vec<V>,
    /// Since when they count, 0 where it is not known; empty when no sample of the record says.
    pub starts: Vec<TimeMs>,
}

impl<V> Default for Column<V> {
    fn default() -> Self {
        Self { series: Vec::new(), t_ms: Vec::new(), values: Vec::new(), starts: Vec::new() }
    }
}

impl<V> Column<V> {
    /// Iterates over (series, time, value).
    pub fn iter(&self) -> impl Iterator<Item = (u64, TimeMs, &V)> {
        self.series.iter().zip(&self.t_ms).zip(&self.values).map(|((series, t_ms), value)| (*series, *t_ms, value))
    }

    /// Iterates over what [`iter`](Self::iter) gives with the start of each sample, or 0.
    pub fn with_starts(&self) -> impl Iterator<Item = ((u64, TimeMs, &V), TimeMs)> {
        self.iter().zip(self.starts.iter().copied().chain(std::iter::repeat(START_UNKNOWN)))
    }
}

/// Reads a record.
pub fn decode(payload: &[u8]) -> Result<Record<'_>, Malformed> {
    let mut reader = Reader::new(payload);
    let kind = reader.byte()?;
    if !matches!(kind, KIND_BATCH | KIND_STARTS) {
        return Err(Malformed { at: 0, what: "an unknown kind" });
    }
    let mut record = Record::default();
    for _ in 0..reader.count()? {
        record.definitions.push((reader.number()?, reader.text()?));
    }
    record.floats = reader.column(histogram::take_number, "a float")?;
    record.histograms = reader.column(|rest| histogram::take(rest).map(Arc::new), "a histogram")?;
    for _ in 0..reader.count()? {
        let (series, t_ms) = (reader.number()?, varint::unzigzag(reader.number()?));
        let value = histogram::take_number(&mut reader.rest).ok_or(reader.error("a float"))?;
        record.exemplars.push(ExemplarRef { series, t_ms, value, labels: reader.text()? });
    }
    for _ in 0..reader.count()? {
        let kind = kind_of(reader.byte()?).ok_or(reader.error("an unknown kind of metric"))?;
        record.metadata.push(MetadataRef { kind, family: reader.text()?, help: reader.text()?, unit: reader.text()? });
    }
    if kind == KIND_STARTS {
        record.floats.starts = reader.runs(record.floats.t_ms.len())?;
        record.histograms.starts = reader.runs(record.histograms.t_ms.len())?;
    }
    reader.end()?;
    Ok(record)
}

impl<'a> Reader<'a> {
    fn runs(&mut self, count: usize) -> Result<Vec<i64>, Malformed> {
        let mut values = Vec::with_capacity(count);
        let mut last = 0_i64;
        while values.len() < count {
            let delta = varint::unzigzag(self.number()?);
            let run = self.number()?;
            if run == 0 || run > (count - values.len()) as u64 {
                return Err(self.error("a run that does not fit"));
            }
            for _ in 0..run {
                last = last.wrapping_add(delta);
                values.push(last);
            }
        }
        Ok(values)
    }

    fn column<V>(
        &mut self,
        take: impl Fn(&mut &'a [u8]) -> Option<V>,
        what: &'static str,
    ) -> Result<Column<V>, Malformed> {
        let count = self.count()?;
        let series = self.runs(count)?.into_iter().map(|series| series as u64).collect();
        let t_ms = self.runs(count)?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(take(&mut self.rest).ok_or(self.error(what))?);
        }
        Ok(Column { series, t_ms, values, starts: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample_record() -> Vec<u8> {
        let mut builder = RecordBuilder::default();
        builder.define(7, "\u{1}a\u{1}b");
        builder.define(8, "");
        builder.float(7, i64::MIN, f64::NAN);
        builder.float(8, i64::MAX, -0.0);
        builder.float(9, i64::MAX, 12.5);
        builder.histogram(7, 5, &Histogram { count: 1.0, zero_count: 1.0, ..Histogram::default() });
        builder.exemplar(ExemplarRef { series: 8, t_ms: -1, value: 0.1, labels: "\u{1}t\u{1}x" });
        builder.metadata(MetadataRef { family: "up", kind: MetricKind::Gauge, help: "Says hello.", unit: "" });
        builder.finish().to_vec()
    }

    #[test]
    fn a_record_comes_back_and_every_cut_is_noticed() {
        let bytes = sample_record();
        let record = decode(&bytes).unwrap();
        assert_eq!(record.definitions, [(7, "\u{1}a\u{1}b"), (8, "")]);
        let floats: Vec<_> = record.floats.iter().map(|(s, t, v)| (s, t, v.to_bits())).collect();
        let expected = [(7, i64::MIN, f64::NAN), (8, i64::MAX, -0.0), (9, i64::MAX, 12.5)];
        assert_eq!(floats, expected.map(|(s, t, v)| (s, t, v.to_bits())));
        assert_eq!(record.histograms.values.len(), 1);
        assert_eq!(record.exemplars.len(), 1);
        assert_eq!(record.metadata[0].help, "Says hello.");
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn starts_come_back_and_every_cut_is_noticed() {
        let mut builder = RecordBuilder::default();
        for at in 0..6 {
            builder.float(at, 1_700_000_000_000, 1.0);
            builder.float_start(if at % 3 == 2 { 1_600_000_000_000 + at as i64 } else { START_UNKNOWN });
        }
        builder.histogram(7, 5, &Histogram::default());
        let bytes = builder.finish().to_vec();
        assert_eq!(bytes, builder.finish());
        let record = decode(&bytes).unwrap();
        assert_eq!(record.floats.starts, [0, 0, 1_600_000_000_002, 0, 0, 1_600_000_000_005]);
        assert_eq!(record.histograms.starts, [0]);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        // The next record of the same builder says nothing of starts.
        builder.clear();
        builder.float(1, 2, 3.0);
        assert_eq!(builder.finish().first(), Some(&KIND_BATCH));
    }

    #[test]
    fn a_scrape_takes_little_more_than_its_values() {
        let mut builder = RecordBuilder::default();
        for series in 100..1100 {
            builder.float(series, 1_700_000_000_000, 0.0);
        }
        assert!(builder.finish().len() < 1000 + 30);
    }

    proptest! {
        #[test]
        fn arbitrary_samples_come_back(
            samples in proptest::collection::vec((any::<u64>(), any::<i64>(), any::<u64>()), 0..50),
            starts in proptest::collection::vec(prop_oneof![2 => Just(0_i64), 1 => any::<i64>()], 50),
        ) {
            let mut builder = RecordBuilder::default();
            for ((series, t_ms, bits), start_ms) in samples.iter().zip(&starts) {
                builder.float(*series, *t_ms, f64::from_bits(*bits));
                builder.float_start(*start_ms);
            }
            let record = decode(builder.finish()).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let back: Vec<_> = record.floats.with_starts().map(|((s, t, v), at)| ((s, t, v.to_bits()), at)).collect();
            prop_assert_eq!(back, samples.into_iter().zip(starts).collect::<Vec<_>>());
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            decode(&bytes).ok();
            decode(&[&[KIND_BATCH], bytes.as_slice()].concat()).ok();
            decode(&[&[KIND_STARTS], bytes.as_slice()].concat()).ok();
        }
    }
}

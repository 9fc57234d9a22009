//! What one request brings: series with their samples, packed so that a series that is known already costs no allocation.
//!
//! A batch keeps its memory when it is cleared; whoever serves requests keeps one and fills it again and again.
//!
//! Not here: which samples are accepted (`head`).
//! Invariant: the labels of every series in a batch are sorted, unique, and not empty.

use std::{ops::Range, sync::Arc};

use homeostat_model::{
    Histogram, Labels, MetricKind, TimeMs,
    labels::{LABEL_TEXT_BYTES_MAX, LabelsIter, pack_label},
    sample::{START_UNKNOWN, append_starts, start_at},
};
use homeostat_wire::series::record::RecordBuilder;
use thiserror::Error;

/// Labels of one series at most: Prometheus has no limit, its users stay below 60. Every label costs an entry in the
/// index, so a few giants must not fill it.
pub const LABELS_MAX: usize = 512;
/// Bytes of all names and values of one series at most.
pub const LABELS_BYTES_MAX: usize = 64 << 10;
const _: () = assert!(LABELS_BYTES_MAX < LABEL_TEXT_BYTES_MAX);

/// Why the labels of a series are refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// None at all.
    #[error("a series without labels")]
    None,
    /// A name that stands twice.
    #[error("label name {name:?} is not unique")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A label without a name.
    #[error("a label with an empty name")]
    EmptyName,
    /// More than [`LABELS_MAX`].
    #[error("the series has more than {LABELS_MAX} labels")]
    TooMany,
    /// More than [`LABELS_BYTES_MAX`].
    #[error("the labels of the series have more than {LABELS_BYTES_MAX} bytes")]
    TooLong,
}

/// Series with samples, exemplars and metadata on their way into the store.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) text: String,
    pub(crate) series: Vec<BatchSeries>,
    pub(crate) floats: Vec<(TimeMs, f64)>,
    pub(crate) histograms: Vec<(TimeMs, Arc<Histogram>)>,
    /// Since when the floats count: empty until one says so, and shorter than their list when the last ones do not.
    pub(crate) float_starts: Vec<TimeMs>,
    /// Likewise for histograms.
    pub(crate) histogram_starts: Vec<TimeMs>,
    pub(crate) exemplars: Vec<BatchExemplar>,
    pub(crate) metadata: Vec<BatchMetadata>,
    pub(crate) scratch: Scratch,
}

/// Memory that appending works in.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) ids: Vec<u32>,
    pub(crate) record: RecordBuilder,
    /// Samples that were rejected, or repeat one that is not the newest.
    pub(crate) passed_over: PassedOver,
    /// The head has seen the batch.
    pub(crate) appended: bool,
}

/// Samples by their places in the batch's lists, ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct PassedOver {
    pub(crate) floats: Vec<usize>,
    pub(crate) histograms: Vec<usize>,
}

impl PassedOver {
    pub(crate) fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }
}

/// What the store has taken of a series, in order of the request.
#[derive(Debug)]
pub struct TakenSeries<'a> {
    /// Sorted by name.
    pub labels: LabelsIter<'a>,
    /// Numbers.
    pub floats: Vec<(TimeMs, f64)>,
    /// Native histograms.
    pub histograms: Vec<(TimeMs, Arc<Histogram>)>,
    /// Since when the floats count, [`START_UNKNOWN`] where they do not say: as many, or none when none says.
    pub float_starts: Vec<TimeMs>,
    /// Likewise for histograms.
    pub histogram_starts: Vec<TimeMs>,
}

#[derive(Clone, Debug)]
pub(crate) struct BatchSeries {
    pub(crate) labels: Range<usize>,
    pub(crate) floats: Range<usize>,
    pub(crate) histograms: Range<usize>,
    pub(crate) exemplars: Range<usize>,
    pub(crate) hash: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct BatchExemplar {
    pub(crate) labels: Range<usize>,
    pub(crate) t_ms: TimeMs,
    pub(crate) value: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct BatchMetadata {
    pub(crate) family: Range<usize>,
    pub(crate) help: Range<usize>,
    pub(crate) unit: Range<usize>,
    pub(crate) kind: MetricKind,
}

impl Batch {
    /// Forgets its contents and keeps its memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.series.clear();
        self.floats.clear();
        self.histograms.clear();
        self.float_starts.clear();
        self.histogram_starts.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.scratch.ids.clear();
        self.scratch.record.clear();
        self.scratch.passed_over.clear();
        self.scratch.appended = false;
    }

    /// Returns true when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.metadata.is_empty()
    }

    /// The number of series; one that was begun twice counts twice.
    pub fn series_len(&self) -> usize {
        self.series.len()
    }

    /// The number of floats and histograms.
    pub fn samples_len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Begins a series; samples and exemplars that follow belong to it. Pairs are best sorted by name; those with an
    /// empty value are left out. After an error the batch is as before.
    pub fn series<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<&mut Self, LabelError> {
        let labels = self.pack(pairs)?;
        if labels.is_empty() {
            return Err(LabelError::None);
        }
        Ok(self.begin(labels))
    }

    /// Bytes of its record in the log, estimated from above: texts as they are packed here, 20 for the columns of a float, 8
    /// for a start that differs from the one before, histograms as large as they are in memory, 28 for reference, time, number and
    /// length of an exemplar, and 12 for the reference and length of a series' labels or of metadata.
    pub(crate) fn log_bytes(&self) -> usize {
        let starts = self.float_starts.len() + self.histogram_starts.len();
        let histograms: usize = self.histograms.iter().map(|(_, value)| histogram_bytes(value)).sum();
        let described = self.series.len() + self.metadata.len();
        self.text.len() + 20 * self.samples_len() + 8 * starts + histograms + 28 * self.exemplars.len() + 12 * described
    }

    /// Begins a series whose labels are at hand.
    pub fn series_of(&mut self, labels: &Labels) -> &mut Self {
        let start = self.text.len();
        self.text.push_str(labels.as_packed());
        let labels = start..self.text.len();
        self.begin(labels)
    }

    fn begin(&mut self, labels: Range<usize>) -> &mut Self {
        let (floats, histograms, exemplars) = (self.floats.len(), self.histograms.len(), self.exemplars.len());
        self.series.push(BatchSeries {
            labels,
            floats: floats..floats,
            histograms: histograms..histograms,
            exemplars: exemplars..exemplars,
            hash: 0,
        });
        self
    }

    /// Adds a float to the series at hand; without one it is ignored.
    #[inline]
    pub fn float(&mut self, t_ms: TimeMs, value: f64) -> &mut Self {
        if let Some(series) = self.series.last_mut() {
            self.floats.push((t_ms, value));
            series.floats.end = self.floats.len();
        }
        self
    }

    /// As [`float`](Self::float), of a sample that may say since when it counts; [`START_UNKNOWN`] says nothing.
    #[inline]
    pub fn float_since(&mut self, t_ms: TimeMs, value: f64, start_ms: TimeMs) -> &mut Self {
        if start_ms != START_UNKNOWN && !self.series.is_empty() {
            append_starts(&mut self.float_starts, self.floats.len(), &[start_ms], 0..1);
        }
        self.float(t_ms, value)
    }

    /// As [`histogram`](Self::histogram), of a sample that may say since when it counts.
    pub fn histogram_since(&mut self, t_ms: TimeMs, value: impl Into<Arc<Histogram>>, start_ms: TimeMs) -> &mut Self {
        if start_ms != START_UNKNOWN && !self.series.is_empty() {
            append_starts(&mut self.histogram_starts, self.histograms.len(), &[start_ms], 0..1);
        }
        self.histogram(t_ms, value)
    }

    /// Adds a native histogram to the series at hand.
    pub fn histogram(&mut self, t_ms: TimeMs, value: impl Into<Arc<Histogram>>) -> &mut Self {
        if let Some(series) = self.series.last_mut() {
            self.histograms.push((t_ms, value.into()));
            series.histograms.end = self.histograms.len();
        }
        self
    }

    /// Adds an exemplar to the series at hand.
    pub fn exemplar<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        pairs: impl IntoIterator<Item = (N, V)>,
        t_ms: TimeMs,
        value: f64,
    ) -> Result<&mut Self, LabelError> {
        let labels = self.pack(pairs)?;
        if let Some(series) = self.series.last_mut() {
            self.exemplars.push(BatchExemplar { labels, t_ms, value });
            series.exemplars.end = self.exemplars.len();
        }
        Ok(self)
    }

    /// Adds what is known about a metric family.
    pub fn metadata(&mut self, family: &str, kind: MetricKind, help: &str, unit: &str) -> &mut Self {
        let [family, help, unit] = [family, help, unit].map(|text| {
            let start = self.text.len();
            self.text.push_str(text);
            start..self.text.len()
        });
        self.metadata.push(BatchMetadata { family, help, unit, kind });
        self
    }

    /// After an append: the series with the samples that the store has taken, for whoever sends them on. A sample that
    /// was stored before is among them only when it is the newest of its series, so that order is kept. Nothing before
    /// the append, or when the store had no room for it.
    pub fn taken(&self) -> impl Iterator<Item = TakenSeries<'_>> {
        let series = if self.scratch.appended { self.series.as_slice() } else { &[] };
        series.iter().filter_map(|entry| {
            let passed = &self.scratch.passed_over;
            let floats = entry.floats.clone().filter(|at| passed.floats.binary_search(at).is_err());
            let histograms = entry.histograms.clone().filter(|at| passed.histograms.binary_search(at).is_err());
            let float_starts = starts_at(&self.float_starts, floats.clone());
            let histogram_starts = starts_at(&self.histogram_starts, histograms.clone());
            let floats: Vec<_> = floats.filter_map(|at| self.floats.get(at).copied()).collect();
            let histograms: Vec<_> = histograms.filter_map(|at| self.histograms.get(at).cloned()).collect();
            let labels = LabelsIter::over(self.text(&entry.labels));
            let taken = TakenSeries { labels, floats, histograms, float_starts, histogram_starts };
            (!taken.floats.is_empty() || !taken.histograms.is_empty()).then_some(taken)
        })
    }

    pub(crate) fn text(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// Packs labels at the end of the text.
    fn pack<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Range<usize>, LabelError> {
        let start = self.text.len();
        let packed = self.pack_or_fail(start, pairs);
        if packed.is_err() {
            self.text.truncate(start);
        }
        packed
    }

    fn pack_or_fail<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        start: usize,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Range<usize>, LabelError> {
        let (mut count, mut sorted, mut before) = (0, true, 0..0);
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name.is_empty() {
                return Err(LabelError::EmptyName);
            }
            if LABELS_BYTES_MAX < self.text.len() - start + name.len() + value.len() {
                return Err(LabelError::TooLong);
            }
            if value.is_empty() {
                continue;
            }
            count += 1;
            if LABELS_MAX < count {
                return Err(LabelError::TooMany);
            }
            sorted &= self.text(&before) < name;
            pack_label(&mut self.text, name, value);
            // The value stands at the end, its length and the name before it.
            let value_head = if value.len() < 127 { 1 } else { 5 };
            let end = self.text.len() - value.len() - value_head;
            before = end - name.len()..end;
        }
        if !sorted {
            self.sort(start)?;
        }
        Ok(start..self.text.len())
    }

    /// Sorts the labels that begin at `start`: the slow path of senders that do not.
    fn sort(&mut self, start: usize) -> Result<(), LabelError> {
        let packed = self.text.split_off(start);
        let mut pairs: Vec<(&str, &str)> = LabelsIter::over(&packed).collect();
        pairs.sort_unstable();
        if let Some(pair) = pairs.array_windows().find(|[(a, _), (b, _)]| a == b) {
            let [(name, _), _] = pair;
            return Err(LabelError::Duplicate { name: (*name).to_owned() });
        }
        for (name, value) in pairs {
            pack_label(&mut self.text, name, value);
        }
        Ok(())
    }
}

/// The starts at some places; none when none of them is known, whatever other series of the batch say.
fn starts_at(starts: &[TimeMs], places: impl Iterator<Item = usize> + Clone) -> Vec<TimeMs> {
    if starts.is_empty() || places.clone().all(|at| start_at(starts, at) == START_UNKNOWN) {
        return Vec::new();
    }
    places.map(|at| start_at(starts, at)).collect()
}

/// Bytes that a histogram takes in memory, about; in the log it takes fewer.
pub(crate) fn histogram_bytes(value: &Histogram) -> usize {
    let sides = [&value.positive, &value.negative];
    let lists: usize = sides.iter().map(|side| side.spans.len() + side.counts.len()).sum();
    size_of::<Histogram>() + 48 + 8 * (lists + value.custom_bounds.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels_of(batch: &Batch) -> Vec<Labels> {
        batch.series.iter().map(|series| Labels::from_packed(batch.text(&series.labels)).unwrap()).collect()
    }

    #[test]
    fn labels_are_sorted_and_those_without_value_left_out() {
        let mut batch = Batch::default();
        let long = "x".repeat(300);
        batch.series([("b", "1"), ("a", long.as_str()), ("c", "")]).unwrap().float(1, 2.0);
        batch.series([("a", long.as_str()), ("b", "1")]).unwrap();
        let expected = Labels::new([("a", long.as_str()), ("b", "1")]);
        assert_eq!(labels_of(&batch), [expected.clone(), expected]);
    }

    #[test]
    fn starts_of_one_series_cost_another_nothing() {
        let mut batch = Batch::default();
        batch.series([("a", "1")]).unwrap().float(10, 1.0);
        batch.series([("a", "2")]).unwrap().float_since(10, 1.0, 5).float(20, 2.0);
        batch.series([("a", "3")]).unwrap().float(10, 1.0);
        batch.scratch.appended = true;
        let starts: Vec<_> = batch.taken().map(|series| series.float_starts).collect();
        assert_eq!(starts, [vec![], vec![5, START_UNKNOWN], vec![]]);
    }

    #[test]
    fn wrong_labels_leave_the_batch_as_it_was() {
        let mut batch = Batch::default();
        batch.series([("a", "1")]).unwrap();
        let text = batch.text.clone();
        let many: Vec<(String, String)> = (0..=LABELS_MAX).map(|i| (format!("l{i}"), "v".to_owned())).collect();
        let long = "x".repeat(LABELS_BYTES_MAX);
        assert_eq!(batch.series([("b", "1"), ("b", "2")]).err(), Some(LabelError::Duplicate { name: "b".to_owned() }));
        assert_eq!(batch.series([("", "1")]).err(), Some(LabelError::EmptyName));
        assert_eq!(batch.series([("a", "")]).err(), Some(LabelError::None));
        assert_eq!(batch.series(many).err(), Some(LabelError::TooMany));
        assert_eq!(batch.series([("a", long.as_str())]).err(), Some(LabelError::TooLong));
        assert_eq!((batch.series_len(), batch.text), (1, text));
    }
}

//! A series with its values at the steps of an evaluation.
//!
//! Numbers lie in one column, one cell per step from the first step with a value to the last, so that operators run over
//! slices and a series that lived for an hour of a month costs an hour. A cell without a number holds the stale marker:
//! no computation yields its bits, and a comparison of bits is all a reader needs. Histograms are rare and lie in a
//! second column that exists only where there is one.
//!
//! Invariants: a step has a number, or a histogram, or nothing; the second column is empty or as long as the first; the
//! first and the last cell are not empty after [`Series::trim`], which every producer of a series has seen to.

use std::sync::Arc;

use homeostat_model::{
    Histogram, Labels, SampleValue,
    labels::is_plain_label_name,
    sample::{STALE_NAN_BITS, stale_marker},
};

/// Returns true for the labels that go with the metric's name: itself, its type and its unit.
pub(super) fn is_metadata(name: &str) -> bool {
    matches!(name, "__name__" | "__type__" | "__unit__")
}

/// The content of a cell without a number.
pub(super) fn absent() -> f64 {
    stale_marker()
}

/// Returns true for the content of a cell without a number.
#[inline]
pub(super) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// A series with its values at the steps of an evaluation.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    /// Its labels, still with a name that is to go when `drop_name` is set.
    pub labels: Labels,
    /// The name (and type and unit) goes at the end of the query ("delayed name removal").
    pub drop_name: bool,
    first: usize,
    floats: Vec<f64>,
    histograms: Vec<Option<Arc<Histogram>>>,
}

impl Series {
    /// A series without values.
    pub(super) fn new(labels: Labels, drop_name: bool) -> Self {
        Self { labels, drop_name, ..Self::default() }
    }

    /// A series with the same number at every step.
    pub(super) fn constant(labels: Labels, value: f64, steps: usize) -> Self {
        Self { labels, floats: vec![value; steps], ..Self::default() }
    }

    /// A series of a column of numbers that begins at a step; cells may be absent.
    pub(super) fn from_column(labels: Labels, drop_name: bool, first: usize, floats: Vec<f64>) -> Self {
        let mut series = Self { labels, drop_name, first, floats, histograms: Vec::new() };
        series.trim();
        series
    }

    /// The first step with a value; 0 when there is none.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// The step behind the last one with a value.
    pub(super) fn end(&self) -> usize {
        self.first + self.floats.len()
    }

    /// Returns true when there is no value at any step.
    pub(super) fn is_empty(&self) -> bool {
        self.floats.is_empty()
    }

    /// The cells of numbers from [`Series::first`] on.
    pub(super) fn floats(&self) -> &[f64] {
        &self.floats
    }

    /// The cells of numbers, to be changed. Absent cells must stay as they are, unless [`Series::trim`] follows.
    pub(super) fn floats_mut(&mut self) -> &mut [f64] {
        &mut self.floats
    }

    /// The cells of histograms from [`Series::first`] on; empty when there is none at any step.
    pub(super) fn histograms(&self) -> &[Option<Arc<Histogram>>] {
        &self.histograms
    }

    /// The cells of histograms, to be changed; as [`Series::floats_mut`].
    pub(super) fn histograms_mut(&mut self) -> &mut [Option<Arc<Histogram>>] {
        &mut self.histograms
    }

    /// Returns true when a step has a histogram.
    pub(super) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The number at a step.
    #[inline]
    pub(super) fn float(&self, step: usize) -> Option<f64> {
        let value = *self.floats.get(step.checked_sub(self.first)?)?;
        (!is_absent(value)).then_some(value)
    }

    /// The histogram at a step.
    #[inline]
    pub(super) fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        self.histograms.get(step.checked_sub(self.first)?)?.as_ref()
    }

    /// The value at a step.
    pub(super) fn value(&self, step: usize) -> Option<SampleValue> {
        match self.float(step) {
            Some(value) => Some(SampleValue::Float(value)),
            None => self.histogram(step).map(|histogram| SampleValue::Histogram(Arc::clone(histogram))),
        }
    }

    /// Returns true when there is a value at a step.
    #[inline]
    pub(super) fn has(&self, step: usize) -> bool {
        self.float(step).is_some() || self.histogram(step).is_some()
    }

    /// Iterates over the steps with a value.
    pub(super) fn present(&self) -> impl Iterator<Item = usize> + '_ {
        (self.first..self.end()).filter(|step| self.has(*step))
    }

    /// Adds a number behind the last value; steps ascend.
    #[inline]
    pub(super) fn push_float(&mut self, step: usize, value: f64) {
        self.reach(step);
        self.floats.push(value);
        if !self.histograms.is_empty() {
            self.histograms.push(None);
        }
    }

    /// Adds a histogram behind the last value; steps ascend.
    pub(super) fn push_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        self.reach(step);
        self.histograms.resize(self.floats.len(), None);
        self.floats.push(absent());
        self.histograms.push(Some(histogram));
    }

    /// Adds a value behind the last one; steps ascend.
    pub(super) fn push(&mut self, step: usize, value: SampleValue) {
        match value {
            SampleValue::Float(value) => self.push_float(step, value),
            SampleValue::Histogram(histogram) => self.push_histogram(step, histogram),
        }
    }

    /// Fills up with empty cells so that the next one is that of `step`.
    #[inline]
    fn reach(&mut self, step: usize) {
        if self.floats.is_empty() {
            self.first = step;
            return;
        }
        let len = step.saturating_sub(self.first);
        if self.floats.len() < len {
            self.floats.resize(len, absent());
            if !self.histograms.is_empty() {
                self.histograms.resize(len, None);
            }
        }
    }

    /// Takes the name away if it was to go at the end.
    pub(super) fn finish_name(&mut self) {
        if self.drop_name {
            self.labels = self.labels.filtered(|name| !is_metadata(name));
            self.drop_name = false;
        }
    }

    /// Repeats the value of the first step at all others.
    pub(super) fn repeat(&mut self, steps: usize) {
        self.floats.resize(steps, self.floats.first().copied().unwrap_or_else(absent));
        if let Some(histogram) = self.histograms.first().cloned() {
            self.histograms.resize(steps, histogram);
        }
    }

    /// Takes the series out. A buffer that fits goes with it; one with slack is copied, and stays for the next series.
    pub(super) fn take(&mut self) -> Self {
        if self.floats.len() < self.floats.capacity() {
            return self.clone();
        }
        std::mem::take(self)
    }

    /// Takes the cells of histograms out.
    pub(super) fn take_histograms(&mut self) -> Vec<Option<Arc<Histogram>>> {
        std::mem::take(&mut self.histograms)
    }

    /// Becomes another series, whose cells are as those of [`Series::first`], [`Series::floats`] and
    /// [`Series::histograms`]; memory is kept.
    pub(super) fn refill(&mut self, first: usize, floats: &[f64], histograms: Vec<Option<Arc<Histogram>>>) {
        self.first = first;
        self.floats.clear();
        self.floats.extend_from_slice(floats);
        self.histograms = histograms;
    }

    /// Takes all values away; memory is kept for the next ones.
    pub(super) fn clear(&mut self) {
        self.first = 0;
        self.floats.clear();
        self.histograms.clear();
    }

    /// Keeps the values of steps that `keep` says yes to.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        for (at, cell) in self.floats.iter_mut().enumerate() {
            if keep(self.first + at) {
                continue;
            }
            *cell = absent();
            if let Some(histogram) = self.histograms.get_mut(at) {
                *histogram = None;
            }
        }
        self.trim();
    }

    /// Takes all histograms away.
    pub(super) fn drop_histograms(&mut self) {
        if !self.histograms.is_empty() {
            self.histograms.clear();
            self.trim();
        }
    }

    /// Takes empty cells away at both ends.
    pub(super) fn trim(&mut self) {
        if self.histograms.iter().all(Option::is_none) {
            self.histograms.clear();
        }
        let filled = |at: usize, cell: &f64| !is_absent(*cell) || self.histograms.get(at).is_some_and(Option::is_some);
        let Some(last) = self.floats.iter().enumerate().rposition(|(at, cell)| filled(at, cell)) else {
            return self.clear();
        };
        let head = self.floats.iter().enumerate().position(|(at, cell)| filled(at, cell)).unwrap_or(0);
        self.floats.truncate(last + 1);
        self.histograms.truncate(last + 1);
        if head > 0 {
            self.floats.drain(..head);
            self.histograms.drain(..head.min(self.histograms.len()));
            self.first += head;
        }
    }

    /// Takes over the values of a series with the same labels. Returns false when both have a value at the same step.
    #[must_use]
    pub(super) fn absorb(&mut self, other: &Self) -> bool {
        if (other.first..other.end()).any(|step| other.has(step) && self.has(step)) {
            return false;
        }
        let (first, end) = (self.first.min(other.first), self.end().max(other.end()));
        let mut merged = Self::new(self.labels.clone(), self.drop_name);
        for step in first..end {
            if let Some(value) = self.value(step).or_else(|| other.value(step)) {
                merged.push(step, value);
            }
        }
        *self = merged;
        true
    }

    /// The number of samples that are held, as Prometheus counts them: one for a number, more for a histogram.
    pub(super) fn samples(&self) -> u64 {
        let floats = self.floats.iter().filter(|cell| !is_absent(**cell)).count() as u64;
        floats + self.histograms.iter().flatten().map(|histogram| histogram_samples(histogram)).sum::<u64>()
    }

    /// Bytes that are held on the heap, labels not counted.
    pub(super) fn heap_bytes(&self) -> u64 {
        let cells = self.floats.capacity() * size_of::<f64>();
        (cells + self.histograms.capacity() * size_of::<Option<Arc<Histogram>>>()) as u64
    }
}

/// Labels as errors of Prometheus show them: all in braces, the name among them.
pub(super) fn braced(labels: &Labels) -> String {
    let pairs = labels.iter().map(|(name, value)| {
        if is_plain_label_name(name) { format!("{name}={value:?}") } else { format!("{name:?}={value:?}") }
    });
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

/// How many samples a histogram counts for: its size in units of 16 bytes, that of a number with its time.
pub(super) fn histogram_samples(histogram: &Histogram) -> u64 {
    let side = |side: &homeostat_model::histogram::Buckets| side.spans.len() * 8 + side.counts.len() * 8;
    let bytes = 160 + side(&histogram.positive) + side(&histogram.negative) + histogram.custom_bounds.len() * 8;
    (bytes as u64 + 8) / 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(series: &Series) -> Vec<(usize, f64)> {
        series.present().filter_map(|step| Some((step, series.float(step)?))).collect()
    }

    #[test]
    fn cells_reach_from_the_first_value_to_the_last() {
        let mut series = Series::new(Labels::empty(), false);
        series.push_float(3, 1.0);
        series.push_float(6, f64::NAN);
        series.push_histogram(7, Arc::new(Histogram::default()));
        assert_eq!((series.first(), series.end(), series.floats().len()), (3, 8, 5));
        assert!(series.float(4).is_none() && series.float(2).is_none() && series.float(9).is_none());
        assert!(series.float(6).is_some_and(f64::is_nan) && series.histogram(7).is_some());
        series.drop_histograms();
        series.retain(|step| step != 3);
        assert_eq!((series.first(), series.end()), (6, 7));
        series.retain(|_| false);
        assert!(series.is_empty());
    }

    #[test]
    fn series_with_the_same_labels_become_one_unless_they_meet() {
        let mut a = Series::from_column(Labels::empty(), false, 0, vec![1.0, absent(), 3.0]);
        let b = Series::from_column(Labels::empty(), false, 1, vec![2.0, absent(), 4.0]);
        assert!(a.absorb(&b));
        assert_eq!(floats(&a), [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]);
        assert!(!a.absorb(&b));
    }
}

//! Sums and means of many histograms, with compensated arithmetic in every number of theirs.
//!
//! A mean is a sum divided at the end. Only when the sum would overflow it goes on as a running mean, which cannot.

use homeostat_model::histogram::{Buckets, Histogram, ResetHint};

use super::{
    arithmetic::{Combined, IncompatibleSchemas, Parts, all_counts, divide},
    compensated::Compensated,
    layout::{Side, compact},
};

/// A total above which a sum of histograms may overflow: a tenth of the largest number, which is room for rounding.
const TOTAL_SAFE_MAX: f64 = f64::MAX / 10.0;

/// A finished sum or mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Summed {
    /// The result, compacted.
    pub histogram: Histogram,
    /// What the reader should know: of all histograms, not of neighbours only.
    pub combined: Combined,
}

/// What the hints of many histograms say together.
#[derive(Clone, Copy, Debug, Default)]
struct HintsSeen {
    reset: bool,
    not_reset: bool,
}

impl HintsSeen {
    fn see(&mut self, hint: ResetHint) {
        self.reset |= hint == ResetHint::Reset;
        self.not_reset |= hint == ResetHint::NotReset;
    }
}

/// The sum of histograms, added one by one.
#[derive(Clone, Debug)]
pub struct HistogramSum {
    parts: Parts<Compensated>,
    hints: HintsSeen,
    bounds_reconciled: bool,
}

impl HistogramSum {
    /// Begins with the first histogram.
    pub fn new(first: &Histogram) -> Self {
        let mut hints = HintsSeen::default();
        hints.see(first.reset_hint);
        Self { parts: compensated_parts(first), hints, bounds_reconciled: false }
    }

    /// Adds one more. After an error the sum is what it was before.
    pub fn add(&mut self, histogram: &Histogram) -> Result<(), IncompatibleSchemas> {
        let combined = self.parts.add(histogram, 1.0)?;
        self.bounds_reconciled |= combined.bounds_reconciled;
        self.hints.see(histogram.reset_hint);
        Ok(())
    }

    /// The sum of all that were added.
    pub fn finish(self) -> Summed {
        self.finish_with(Compensated::value)
    }

    fn finish_with(self, value: impl Fn(Compensated) -> f64) -> Summed {
        let mut histogram = self.parts.map(value).into_plain();
        compact(&mut histogram);
        let resets_conflict = self.hints.reset && self.hints.not_reset;
        Summed { histogram, combined: Combined { bounds_reconciled: self.bounds_reconciled, resets_conflict } }
    }

    fn has_overflow(&self) -> bool {
        let Parts { positive, negative, zero, count, sum, .. } = &self.parts;
        let buckets = positive.cells.iter().chain(&negative.cells);
        buckets.chain([zero, count, sum]).any(|cell| cell.rough().is_infinite())
    }

    fn change(&mut self, change: impl Fn(Compensated) -> Compensated) {
        let Parts { positive, negative, zero, count, sum, .. } = &mut self.parts;
        let buckets = positive.cells.iter_mut().chain(&mut negative.cells);
        buckets.chain([zero, count, sum]).for_each(|cell| *cell = change(*cell));
    }
}

/// The arithmetic mean of histograms, added one by one.
#[derive(Clone, Debug)]
pub struct HistogramMean {
    /// The sum, or the mean so far when `running`.
    sum: HistogramSum,
    /// How many were added.
    len: f64,
    /// Whether the sum became too large, so that `sum` is a mean.
    running: bool,
    /// No number of the sum is larger than this; at or above [`TOTAL_SAFE_MAX`] it says nothing.
    total: f64,
}

impl HistogramMean {
    /// Begins with the first histogram.
    pub fn new(first: &Histogram) -> Self {
        Self { sum: HistogramSum::new(first), len: 1.0, running: false, total: total(first) }
    }

    /// Adds one more. After an error the mean is what it was before.
    pub fn add(&mut self, histogram: &Histogram) -> Result<(), IncompatibleSchemas> {
        let len = self.len + 1.0;
        if self.running {
            self.add_running(histogram, len)?;
        } else {
            self.total += total(histogram);
            if self.total < TOTAL_SAFE_MAX {
                self.sum.add(histogram)?;
            } else {
                self.add_carefully(histogram, len)?;
            }
        }
        self.len = len;
        Ok(())
    }

    /// Adds, and turns the sum into a running mean when it does not fit.
    fn add_carefully(&mut self, histogram: &Histogram, len: f64) -> Result<(), IncompatibleSchemas> {
        let mut sum = self.sum.clone();
        sum.add(histogram)?;
        if !sum.has_overflow() {
            self.sum = sum;
            return Ok(());
        }
        self.running = true;
        let before = self.len;
        self.sum.change(|cell| cell.divided(before));
        self.add_running(histogram, len)
    }

    fn add_running(&mut self, histogram: &Histogram, len: f64) -> Result<(), IncompatibleSchemas> {
        let mut share = histogram.clone();
        divide(&mut share, len);
        let mut sum = self.sum.clone();
        sum.change(|cell| cell.scaled((len - 1.0) / len));
        sum.add(&share)?;
        self.sum = sum;
        Ok(())
    }

    /// The mean of all that were added.
    pub fn finish(self) -> Summed {
        let len = if self.running { 1.0 } else { self.len };
        self.sum.finish_with(|cell| cell.divided(len).value())
    }
}

/// An upper bound for every number that a histogram can add to a sum, however its buckets are put together.
fn total(histogram: &Histogram) -> f64 {
    all_counts(histogram).map(f64::abs).sum()
}

fn compensated_parts(histogram: &Histogram) -> Parts<Compensated> {
    let side = |side: &Buckets| Side {
        spans: side.spans.clone(),
        cells: side.counts.iter().copied().map(Compensated::new).collect(),
    };
    Parts {
        reset_hint: histogram.reset_hint,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero: Compensated::new(histogram.zero_count),
        count: Compensated::new(histogram.count),
        sum: Compensated::new(histogram.sum),
        positive: side(&histogram.positive),
        negative: side(&histogram.negative),
        bounds: histogram.custom_bounds.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sum(count: f64, sum: f64) -> Histogram {
        Histogram { count, sum, ..Histogram::default() }
    }

    fn sum(all: &[Histogram]) -> Summed {
        let mut sum = HistogramSum::new(&all[0]);
        all[1..].iter().for_each(|histogram| assert_eq!(sum.add(histogram), Ok(())));
        sum.finish()
    }

    fn mean(all: &[Histogram]) -> Summed {
        let mut mean = HistogramMean::new(&all[0]);
        all[1..].iter().for_each(|histogram| assert_eq!(mean.add(histogram), Ok(())));
        mean.finish()
    }

    #[test]
    fn small_numbers_beside_large_ones_are_not_lost() {
        let all = [with_sum(1.0, 1.0), with_sum(2.0, 1e100), with_sum(3.0, 1.0), with_sum(4.0, -1e100)];
        assert_eq!(sum(&all).histogram, with_sum(10.0, 2.0));
        assert_eq!(mean(&all).histogram, with_sum(2.5, 0.5));
        let bucket = |count| Histogram { positive: Buckets::from_sorted([(1, count)]), ..with_sum(0.0, 0.0) };
        let cells = sum(&[bucket(1.0), bucket(1e100), bucket(1.0), bucket(-1e100)]).histogram.positive;
        assert_eq!(cells.iter().collect::<Vec<_>>(), [(1, 2.0)]);
    }

    #[test]
    fn a_mean_goes_on_where_the_sum_overflows() {
        let all = [with_sum(f64::MAX, 5.3), with_sum(1e308, 1e100), with_sum(1e-6, 1.0), with_sum(1e-6, -1e100)];
        assert!(sum(&all).histogram.count > f64::MAX);
        let mean = mean(&all).histogram;
        assert!((mean.count / 6.994_232_837_155_79e307 - 1.0).abs() < 1e-12, "{mean:?}");
        assert!((mean.sum - 1.575).abs() < 1e-12, "{mean:?}");
    }

    #[test]
    fn the_result_is_compact_and_tells_what_happened() {
        let counter = |hint, offset, count| Histogram {
            reset_hint: hint,
            positive: Buckets::from_sorted([(offset, count), (offset + 1, 0.0)]),
            ..with_sum(count, count)
        };
        let all = [counter(ResetHint::NotReset, 0, 1.0), counter(ResetHint::Reset, 5, 2.0)];
        let summed = sum(&all);
        assert_eq!(summed.combined, Combined { bounds_reconciled: false, resets_conflict: true });
        assert_eq!(summed.histogram.reset_hint, ResetHint::Unknown);
        assert_eq!(summed.histogram.positive, Buckets::from_sorted([(0, 1.0), (5, 2.0)]));
        let gauge = sum(&[all[0].clone(), counter(ResetHint::Gauge, 0, 1.0), all[1].clone()]);
        assert!(gauge.combined.resets_conflict && gauge.histogram.reset_hint == ResetHint::Gauge);
        let alone = mean(&all[..1]);
        assert_eq!((alone.histogram.reset_hint, alone.combined), (ResetHint::NotReset, Combined::default()));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let custom = Histogram { schema: homeostat_model::histogram::CUSTOM_BOUNDS_SCHEMA, ..Histogram::default() };
        let mut mean = HistogramMean::new(&with_sum(1.0, 1.0));
        assert_eq!(mean.add(&custom), Err(IncompatibleSchemas));
        assert_eq!(mean.add(&with_sum(3.0, 3.0)), Ok(()));
        assert_eq!(mean.finish().histogram, with_sum(2.0, 2.0));
    }
}

//! Adding, subtracting and scaling.

use std::{borrow::Cow, mem, sync::Arc};

use homeostat_model::histogram::{BucketSpan, Buckets, CUSTOM_BOUNDS_SCHEMA, Histogram, ResetHint};

use super::{
    bounds::coarser_index,
    custom_bounds::{mapped, shared_bounds},
    layout::{Cell, Side, indexed},
    zero_bucket::{is_inside, swallow, uncut_threshold},
};

/// One histogram has custom bounds and the other has not: there is no common layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("histograms with exponential buckets and with custom bounds cannot be combined")]
pub struct IncompatibleSchemas;

/// What the reader of a sum or difference should know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Combined {
    /// The custom bounds differed; only those that both have are left.
    pub bounds_reconciled: bool,
    /// One side is known to have been reset, the other known not to: nothing is known of the result.
    pub resets_conflict: bool,
}

impl Combined {
    /// Both at once, for several steps of one operation.
    pub fn or(self, other: Self) -> Self {
        Self {
            bounds_reconciled: self.bounds_reconciled || other.bounds_reconciled,
            resets_conflict: self.resets_conflict || other.resets_conflict,
        }
    }
}

/// Adds `b` to `a`: counts, sums and buckets. Schemas, zero buckets and custom bounds are made to fit first.
pub fn add(a: &mut Histogram, b: &Histogram) -> Result<Combined, IncompatibleSchemas> {
    combine(a, b, 1.0)
}

/// Subtracts `b` from `a`, otherwise as [`add`], also in what it does to the reset hint. What `-` gives is a gauge
/// whatever its sides were: that is set by who evaluates it.
pub fn sub(a: &mut Histogram, b: &Histogram) -> Result<Combined, IncompatibleSchemas> {
    combine(a, b, -1.0)
}

fn combine(a: &mut Histogram, b: &Histogram, sign: f64) -> Result<Combined, IncompatibleSchemas> {
    let mut parts = Parts::from_plain(mem::take(a));
    let combined = parts.add(b, sign);
    *a = parts.into_plain();
    combined
}

/// What is known about resets of a combination, and whether its sides contradict each other.
pub fn combine_hints(a: ResetHint, b: ResetHint) -> (ResetHint, bool) {
    match (a, b) {
        _ if a == b => (a, false),
        (ResetHint::Gauge, _) | (_, ResetHint::Gauge) => (ResetHint::Gauge, false),
        (ResetHint::Unknown, _) | (_, ResetHint::Unknown) => (ResetHint::Unknown, false),
        _ => (ResetHint::Unknown, true),
    }
}

/// Multiplies counts and sum by a number. A negative one makes a gauge of it.
pub fn scale(histogram: &mut Histogram, factor: f64) {
    change_counts(histogram, |count| count * factor);
    if factor < 0.0 {
        histogram.reset_hint = ResetHint::Gauge;
    }
}

/// Divides counts and sum by a number. A negative one makes a gauge of it; zero leaves no bucket but the zero bucket,
/// since no empty bucket could tell how many times nothing goes into nothing.
pub fn divide(histogram: &mut Histogram, by: f64) {
    if by == 0.0 {
        histogram.positive = Buckets::default();
        histogram.negative = Buckets::default();
    }
    change_counts(histogram, |count| count / by);
    if by < 0.0 {
        histogram.reset_hint = ResetHint::Gauge;
    }
}

fn change_counts(histogram: &mut Histogram, change: impl Fn(f64) -> f64) {
    let buckets = histogram.positive.counts.iter_mut().chain(&mut histogram.negative.counts);
    let all = buckets.chain([&mut histogram.zero_count, &mut histogram.count, &mut histogram.sum]);
    all.for_each(|count| *count = change(*count));
}

/// Returns true when a count or the sum is infinite.
pub fn has_overflow(histogram: &Histogram) -> bool {
    all_counts(histogram).any(f64::is_infinite)
}

/// Count, sum and all buckets.
pub(super) fn all_counts(histogram: &Histogram) -> impl Iterator<Item = f64> {
    let buckets = histogram.positive.counts.iter().chain(&histogram.negative.counts);
    buckets.copied().chain([histogram.zero_count, histogram.count, histogram.sum])
}

/// A histogram with any kind of cells, so that plain and compensated sums share one algorithm.
#[derive(Clone, Debug)]
pub(super) struct Parts<T> {
    pub(super) reset_hint: ResetHint,
    pub(super) schema: i8,
    pub(super) zero_threshold: f64,
    pub(super) zero: T,
    pub(super) count: T,
    pub(super) sum: T,
    pub(super) positive: Side<T>,
    pub(super) negative: Side<T>,
    pub(super) bounds: Arc<[f64]>,
}

impl Parts<f64> {
    fn from_plain(plain: Histogram) -> Self {
        Self {
            reset_hint: plain.reset_hint,
            schema: plain.schema,
            zero_threshold: plain.zero_threshold,
            zero: plain.zero_count,
            count: plain.count,
            sum: plain.sum,
            positive: plain.positive.into(),
            negative: plain.negative.into(),
            bounds: plain.custom_bounds,
        }
    }

    pub(super) fn into_plain(self) -> Histogram {
        Histogram {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero,
            count: self.count,
            sum: self.sum,
            positive: self.positive.into(),
            negative: self.negative.into(),
            custom_bounds: self.bounds,
        }
    }
}

impl<T: Cell> Parts<T> {
    /// The same histogram with each cell turned into another kind.
    pub(super) fn map<U>(self, change: impl Fn(T) -> U) -> Parts<U> {
        let side = |side: Side<T>| Side { spans: side.spans, cells: side.cells.into_iter().map(&change).collect() };
        Parts {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero: change(self.zero),
            count: change(self.count),
            sum: change(self.sum),
            positive: side(self.positive),
            negative: side(self.negative),
            bounds: self.bounds,
        }
    }

    /// Adds a histogram times `sign`, which is 1 or -1. Nothing changes when they do not fit.
    pub(super) fn add(&mut self, other: &Histogram, sign: f64) -> Result<Combined, IncompatibleSchemas> {
        if other.has_custom_bounds() != (self.schema == CUSTOM_BOUNDS_SCHEMA) {
            return Err(IncompatibleSchemas);
        }
        let (reset_hint, resets_conflict) = combine_hints(self.reset_hint, other.reset_hint);
        self.reset_hint = reset_hint;
        self.count.add(sign * other.count);
        self.sum.add(sign * other.sum);
        let bounds_reconciled =
            if other.has_custom_bounds() { self.add_custom(other, sign) } else { self.add_exponential(other, sign) };
        Ok(Combined { bounds_reconciled, resets_conflict })
    }

    /// Adds the buckets of a histogram with custom bounds; returns whether bounds were dropped.
    fn add_custom(&mut self, other: &Histogram, sign: f64) -> bool {
        let same = Arc::ptr_eq(&self.bounds, &other.custom_bounds) || self.bounds == other.custom_bounds;
        if same {
            self.positive.add(&other.positive.spans, &other.positive.counts, sign);
            return false;
        }
        let shared = shared_bounds(&self.bounds, &other.custom_bounds);
        self.positive.reduce_bounds(&self.bounds, &shared);
        let theirs = &other.positive;
        let theirs = Side::collect(mapped(&theirs.spans, &theirs.counts, &other.custom_bounds, &shared));
        self.positive.add(&theirs.spans, &theirs.cells, sign);
        self.positive.compact();
        self.bounds = shared;
        true
    }

    /// Adds the buckets of an exponential histogram; returns false: nothing worth telling can happen.
    fn add_exponential(&mut self, other: &Histogram, sign: f64) -> bool {
        let zero_count = self.widen_zero_bucket(other);
        self.zero.add(sign * zero_count);
        self.reduce_resolution(other.schema);
        for (mine, theirs) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            let (spans, counts) = fitted(theirs, other, self.schema, self.zero_threshold);
            mine.add(&spans, &counts, sign);
        }
        false
    }

    /// Makes the zero bucket at least as wide as the other's, so that it cuts no populated bucket of the one that grows.
    /// Returns the zero count that the other one would have then.
    fn widen_zero_bucket(&mut self, other: &Histogram) -> f64 {
        let threshold = self.common_threshold(other);
        if self.zero_threshold < threshold {
            self.zero_threshold = threshold;
            swallow(&mut self.zero, &mut self.positive, self.schema, threshold);
            swallow(&mut self.zero, &mut self.negative, self.schema, threshold);
        }
        zero_count_within(other, threshold)
    }

    /// The smallest width of the zero bucket that both can have. Each grows to the other's, or beyond it to the end of
    /// the bucket that would be cut; since ends of buckets are finitely many, they meet.
    fn common_threshold(&self, other: &Histogram) -> f64 {
        let (mut mine, mut theirs) = (self.zero_threshold, other.zero_threshold);
        while mine < theirs || theirs < mine {
            if theirs < mine {
                theirs = mine;
                for side in [&other.positive, &other.negative] {
                    theirs = uncut_threshold(&side.spans, &side.counts, other.schema, theirs);
                }
            } else {
                mine = theirs;
                for side in [&self.positive, &self.negative] {
                    mine = uncut_threshold(&side.spans, &side.cells, self.schema, mine);
                }
            }
        }
        mine
    }

    fn reduce_resolution(&mut self, schema: i8) {
        if schema < self.schema {
            self.positive.reduce_resolution(self.schema, schema);
            self.negative.reduce_resolution(self.schema, schema);
            self.schema = schema;
        }
    }
}

/// What a histogram's zero bucket holds when it is as wide as `threshold`, which cuts none of its buckets.
pub(super) fn zero_count_within(histogram: &Histogram, threshold: f64) -> f64 {
    let mut zero = histogram.zero_count;
    if histogram.zero_threshold < threshold {
        for side in [&histogram.positive, &histogram.negative] {
            let inside = indexed(&side.spans, &side.counts);
            let inside = inside.take_while(|(index, _)| is_inside(*index, histogram.schema, threshold));
            zero = inside.fold(zero, |zero, (_, count)| zero + count);
        }
    }
    zero
}

/// One side's buckets as a histogram with a coarser schema and a wider zero bucket has them.
pub(super) fn fitted<'a>(
    side: &'a Buckets,
    histogram: &Histogram,
    schema: i8,
    threshold: f64,
) -> (Cow<'a, [BucketSpan]>, Cow<'a, [f64]>) {
    let wider = histogram.zero_threshold < threshold;
    if !wider && histogram.schema <= schema {
        return (Cow::Borrowed(&side.spans), Cow::Borrowed(&side.counts));
    }
    let outside = indexed(&side.spans, &side.counts)
        .skip_while(|(index, _)| wider && is_inside(*index, histogram.schema, threshold))
        .map(|(index, count)| (coarser_index(index, histogram.schema, schema), *count));
    let side = Side::collect(outside);
    (Cow::Owned(side.spans), Cow::Owned(side.cells))
}

#[cfg(test)]
mod tests {
    use super::super::{compact, reduce_resolution};
    use super::*;

    /// Buckets of one run from `offset` on.
    fn run(offset: i32, counts: &[f64]) -> Buckets {
        Buckets { spans: vec![BucketSpan { offset, len: counts.len() as u32 }], counts: counts.to_vec() }
    }

    fn exponential(schema: i8, count: f64, sum: f64, positive: Buckets) -> Histogram {
        Histogram { schema, count, sum, positive, ..Histogram::default() }
    }

    fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
        let count = counts.iter().sum();
        Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            custom_bounds: bounds.into(),
            ..exponential(0, count, count, run(0, counts))
        }
    }

    fn cells(buckets: &Buckets) -> Vec<(i64, f64)> {
        indexed(&buckets.spans, &buckets.counts).map(|(index, count)| (index, *count)).collect()
    }

    #[test]
    fn buckets_that_one_side_lacks_are_made() {
        let mut a = exponential(0, 4.0, 5.0, run(0, &[1.0, 2.0, 1.0]));
        let b = exponential(0, 5.0, 50.0, Buckets::from_sorted([(-2, 1.0), (1, 1.0), (3, 2.0), (9, 1.0)]));
        assert_eq!(add(&mut a, &b), Ok(Combined::default()));
        let expected = [(-2, 1.0), (0, 1.0), (1, 3.0), (2, 1.0), (3, 2.0), (9, 1.0)];
        assert_eq!((a.count, a.sum, cells(&a.positive)), (9.0, 55.0, expected.to_vec()));
        assert_eq!(sub(&mut a, &b), Ok(Combined::default()));
        compact(&mut a);
        assert_eq!(a, exponential(0, 4.0, 5.0, run(0, &[1.0, 2.0, 1.0])));
    }

    #[test]
    fn the_finer_schema_becomes_as_coarse_as_the_other() {
        let fine = exponential(1, 10.0, 1.0, run(-1, &[1.0, 2.0, 3.0, 4.0]));
        let coarse = exponential(0, 1.0, 1.0, run(1, &[1.0]));
        let expected = exponential(0, 11.0, 2.0, run(0, &[3.0, 8.0]));
        for (a, b) in [(&fine, &coarse), (&coarse, &fine)] {
            let mut sum = a.clone();
            assert_eq!(add(&mut sum, b), Ok(Combined::default()));
            assert_eq!(sum, expected);
        }
        let mut reduced = fine;
        reduce_resolution(&mut reduced, 0);
        assert_eq!(reduced, exponential(0, 10.0, 1.0, run(0, &[3.0, 7.0])));
    }

    #[test]
    fn the_narrower_zero_bucket_grows_and_cuts_no_bucket() {
        // 0.3 lies in the middle of the bucket (0.25, 0.5], so both zero buckets end at 0.5.
        let wide = Histogram { zero_threshold: 0.3, zero_count: 1.0, ..exponential(0, 3.0, 1.0, run(0, &[2.0])) };
        let narrow = Histogram {
            zero_threshold: 0.001,
            zero_count: 1.0,
            negative: run(-3, &[1.0]),
            ..exponential(0, 7.0, 1.0, run(-2, &[1.0, 2.0, 3.0]))
        };
        for (a, b) in [(&wide, &narrow), (&narrow, &wide)] {
            let mut sum = a.clone();
            assert_eq!(add(&mut sum, b), Ok(Combined::default()));
            compact(&mut sum);
            assert_eq!((sum.zero_threshold, sum.zero_count, sum.count), (0.5, 6.0, 10.0));
            assert_eq!((cells(&sum.positive), cells(&sum.negative)), (vec![(0, 5.0)], vec![]));
        }
    }

    #[test]
    fn custom_bounds_that_both_have_remain() {
        let mut a = custom(&[2.0, 4.0, 6.0], &[1.0, 2.0, 5.0, 7.0]);
        let b = custom(&[2.0, 3.0, 6.0, 8.0], &[1.0, 0.0, 1.0, 5.0, 8.0]);
        assert_eq!(add(&mut a, &b), Ok(Combined { bounds_reconciled: true, resets_conflict: false }));
        assert_eq!((&*a.custom_bounds, cells(&a.positive)), (&[2.0, 6.0][..], vec![(0, 2.0), (1, 8.0), (2, 20.0)]));
        let other = custom(&[1.0], &[1.0, 2.0]);
        assert!(add(&mut a, &other).is_ok_and(|combined| combined.bounds_reconciled));
        assert_eq!((&*a.custom_bounds, cells(&a.positive)), (&[][..], vec![(0, 33.0)]));
    }

    #[test]
    fn the_two_kinds_do_not_fit_and_nothing_changes() {
        let mut a = custom(&[2.0], &[1.0, 2.0]);
        let before = a.clone();
        assert_eq!(add(&mut a, &Histogram::default()), Err(IncompatibleSchemas));
        assert_eq!(a, before);
    }

    #[test]
    fn hints_are_combined_with_care() {
        use ResetHint::{Gauge, NotReset, Reset, Unknown};
        for (a, b, expected) in [
            (Reset, Reset, (Reset, false)),
            (Gauge, Reset, (Gauge, false)),
            (NotReset, Gauge, (Gauge, false)),
            (Unknown, NotReset, (Unknown, false)),
            (Reset, Unknown, (Unknown, false)),
            (Reset, NotReset, (Unknown, true)),
        ] {
            assert_eq!(combine_hints(a, b), expected);
            assert_eq!(combine_hints(b, a), expected);
        }
    }

    #[test]
    fn scaling_keeps_the_layout_and_nothing_divides_by_zero() {
        let mut h = Histogram { zero_count: 2.0, ..exponential(0, 5.0, 6.0, run(0, &[3.0])) };
        scale(&mut h, -2.0);
        assert_eq!((h.reset_hint, h.count, h.sum, h.zero_count), (ResetHint::Gauge, -10.0, -12.0, -4.0));
        divide(&mut h, -2.0);
        assert_eq!((h.count, cells(&h.positive)), (5.0, vec![(0, 3.0)]));
        divide(&mut h, 0.0);
        assert_eq!(
            (h.count, h.sum, h.zero_count, h.positive),
            (f64::INFINITY, f64::INFINITY, f64::INFINITY, Buckets::default())
        );
    }
}

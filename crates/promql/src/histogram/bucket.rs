//! Buckets with their bounds, in the order of the values they hold.

use homeostat_model::histogram::Histogram;

use super::{
    bounds::upper_bound,
    layout::{indexed, indexed_reversed},
};

/// A bucket as readers see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound, not less than the lower one.
    pub upper: f64,
    /// Whether the lower bound itself counts here.
    pub lower_inclusive: bool,
    /// Whether the upper bound itself counts here.
    pub upper_inclusive: bool,
    /// Observations; may be negative, infinite or `NaN` after arithmetic.
    pub count: f64,
}

impl Bucket {
    /// The number that stands for the kind of its bounds in answers of the query API: 0 without the lower bound, 1
    /// without the upper one, 2 without both, 3 with both.
    pub fn boundary_rule(&self) -> u8 {
        match (self.lower_inclusive, self.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }

    /// Returns true when zero lies inside or on a bound: a zero bucket, or one with custom bounds.
    pub(super) fn touches_zero(&self) -> bool {
        self.lower <= 0.0 && self.upper >= 0.0
    }

    /// Ends at zero where the histogram has no buckets on the other side of it.
    pub(super) fn end_at_zero(&mut self, histogram: &Histogram) {
        match (histogram.negative.counts.is_empty(), histogram.positive.counts.is_empty()) {
            (true, false) => self.lower = 0.0,
            (false, true) => self.upper = 0.0,
            _ => {}
        }
    }
}

/// Where a bucket lies; its bounds are computed when they are needed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Among the negative ones.
    Negative(i64),
    /// The zero bucket.
    Zero,
    /// Among the positive ones, or those with custom bounds.
    Positive(i64),
}

impl Place {
    /// The bucket that lies here.
    pub(super) fn bucket(self, histogram: &Histogram, count: f64) -> Bucket {
        match self {
            Self::Negative(index) => beside_zero(histogram, negative_bucket(histogram, index, count)),
            Self::Zero => zero_bucket(histogram),
            Self::Positive(index) => beside_zero(histogram, positive_bucket(histogram, index, count)),
        }
    }
}

/// All buckets in ascending order, empty ones included; the zero bucket only when it holds something. Where the zero
/// bucket covers a part of another one, that other one begins at its end.
pub fn buckets(histogram: &Histogram) -> impl Iterator<Item = Bucket> {
    places(histogram).map(|(place, count)| place.bucket(histogram, count))
}

/// As [`buckets`], in descending order.
pub fn buckets_reversed(histogram: &Histogram) -> impl Iterator<Item = Bucket> {
    places_reversed(histogram).map(|(place, count)| place.bucket(histogram, count))
}

/// The places of [`buckets`] with their counts.
pub(super) fn places(histogram: &Histogram) -> impl Iterator<Item = (Place, f64)> {
    let Histogram { negative, positive, .. } = histogram;
    let negative = indexed_reversed(&negative.spans, &negative.counts).map(|(i, count)| (Place::Negative(i), *count));
    let positive = indexed(&positive.spans, &positive.counts).map(|(i, count)| (Place::Positive(i), *count));
    negative.chain(zero_if_populated(histogram)).chain(positive)
}

/// The places of [`buckets_reversed`] with their counts.
pub(super) fn places_reversed(histogram: &Histogram) -> impl Iterator<Item = (Place, f64)> {
    let Histogram { negative, positive, .. } = histogram;
    let positive = indexed_reversed(&positive.spans, &positive.counts).map(|(i, count)| (Place::Positive(i), *count));
    let negative = indexed(&negative.spans, &negative.counts).map(|(i, count)| (Place::Negative(i), *count));
    positive.chain(zero_if_populated(histogram)).chain(negative)
}

fn zero_if_populated(histogram: &Histogram) -> Option<(Place, f64)> {
    (histogram.zero_count > 0.0).then_some((Place::Zero, histogram.zero_count))
}

/// The positive buckets as the schema has them, whatever the zero bucket covers.
pub(super) fn positive_ascending(histogram: &Histogram) -> impl Iterator<Item = Bucket> {
    let side = &histogram.positive;
    indexed(&side.spans, &side.counts).map(|(index, count)| positive_bucket(histogram, index, *count))
}

/// The negative buckets as the schema has them.
pub(super) fn negative_ascending(histogram: &Histogram) -> impl Iterator<Item = Bucket> {
    let side = &histogram.negative;
    indexed_reversed(&side.spans, &side.counts).map(|(index, count)| negative_bucket(histogram, index, *count))
}

/// From zero downwards, which is the order in which they are stored.
pub(super) fn negative_descending(histogram: &Histogram) -> impl Iterator<Item = Bucket> {
    let side = &histogram.negative;
    indexed(&side.spans, &side.counts).map(|(index, count)| negative_bucket(histogram, index, *count))
}

/// The zero bucket, populated or not.
pub(super) fn zero_bucket(histogram: &Histogram) -> Bucket {
    Bucket {
        lower: -histogram.zero_threshold,
        upper: histogram.zero_threshold,
        lower_inclusive: true,
        upper_inclusive: true,
        count: histogram.zero_count,
    }
}

fn positive_bucket(histogram: &Histogram, index: i64, count: f64) -> Bucket {
    let (lower, upper) = (upper_bound(histogram, index.saturating_sub(1)), upper_bound(histogram, index));
    let (lower_inclusive, upper_inclusive) =
        if histogram.has_custom_bounds() { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
    Bucket { lower, upper, lower_inclusive, upper_inclusive, count }
}

fn negative_bucket(histogram: &Histogram, index: i64, count: f64) -> Bucket {
    let (lower, upper) = (-upper_bound(histogram, index), -upper_bound(histogram, index.saturating_sub(1)));
    Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count }
}

fn beside_zero(histogram: &Histogram, mut bucket: Bucket) -> Bucket {
    let threshold = histogram.zero_threshold;
    if bucket.upper < 0.0 && bucket.upper > -threshold {
        bucket.upper = -threshold;
    } else if bucket.lower > 0.0 && bucket.lower < threshold {
        bucket.lower = threshold;
    }
    bucket
}

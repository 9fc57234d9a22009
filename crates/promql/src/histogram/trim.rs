//! The part of a histogram below or above a value: the operators `</` and `>/`.
//!
//! A bucket that is cut keeps a share of its count by interpolation. A bucket that reaches to infinity is not known well
//! enough for that: below its finite end it counts as empty, beyond it as if everything lay at the cut. Only the first
//! bucket of custom bounds is taken to begin at zero when it ends above, as classic histograms have it.
//! What is left has no exact sum: it becomes the middles of the kept parts times their counts. Nothing is estimated
//! while nothing is cut off.
//! Source: prometheus.io/docs/specs/native_histograms, "Trim operators"; `TrimBuckets` of Prometheus 3.11.

use homeostat_model::{Histogram, histogram::Buckets};

use super::{
    bucket::{Bucket, negative_descending, positive_ascending, zero_bucket},
    interpolation::{Spread, geometric_mean},
    layout::compact,
};

/// The observations at or below a value: `histogram </ limit`.
pub fn trim_upper(histogram: &Histogram, limit: f64) -> Histogram {
    trim(histogram, Cut { limit, kept: Kept::Below })
}

/// The observations above a value: `histogram >/ limit`.
pub fn trim_lower(histogram: &Histogram, limit: f64) -> Histogram {
    trim(histogram, Cut { limit, kept: Kept::Above })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Below,
    Above,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    limit: f64,
    kept: Kept,
}

/// What is left of a bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    count: f64,
    /// Where its observations lie on average.
    middle: f64,
}

/// What is left so far.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: f64,
    sum: f64,
    /// Whether anything was taken away.
    changed: bool,
}

impl Total {
    /// Takes a bucket's rest in; returns its count.
    fn take(&mut self, bucket: &Bucket, rest: Rest) -> f64 {
        self.count += rest.count;
        self.sum += rest.middle * rest.count;
        self.changed |= bucket.count.to_bits() != rest.count.to_bits();
        rest.count
    }
}

fn trim(histogram: &Histogram, cut: Cut) -> Histogram {
    let mut trimmed = histogram.clone();
    let mut total = Total::default();
    trim_side(positive_ascending(histogram), &mut trimmed.positive, |bucket| cut.rest(histogram, bucket), &mut total);
    trim_side(negative_descending(histogram), &mut trimmed.negative, |bucket| cut.rest(histogram, bucket), &mut total);
    if histogram.zero_count > 0.0 {
        let zero = zero_bucket(histogram);
        trimmed.zero_count = total.take(&zero, cut.rest_of_zero(histogram, zero));
    }
    if total.changed {
        trimmed.count = total.count;
        trimmed.sum = total.sum;
        compact(&mut trimmed);
    }
    trimmed
}

fn trim_side(
    buckets: impl Iterator<Item = Bucket>,
    side: &mut Buckets,
    rest: impl Fn(&Bucket) -> Rest,
    total: &mut Total,
) {
    for (bucket, count) in buckets.zip(&mut side.counts) {
        if bucket.count != 0.0 {
            *count = total.take(&bucket, rest(&bucket));
        }
    }
}

impl Cut {
    fn rest(self, histogram: &Histogram, bucket: &Bucket) -> Rest {
        let linear = histogram.has_custom_bounds();
        let (limit, lower, upper) = (self.limit, bucket.lower, bucket.upper);
        let whole = match self.kept {
            Kept::Below => upper <= limit,
            Kept::Above => lower >= limit,
        };
        if whole {
            Rest { count: bucket.count, middle: middle(lower, upper, linear) }
        } else if !(lower < limit && limit < upper) {
            Rest::default()
        } else if lower.is_infinite() {
            self.rest_from_infinity(bucket)
        } else if upper.is_infinite() {
            self.rest_to_infinity(bucket)
        } else {
            let spread = if linear { Spread::Linear } else { Spread::Exponential };
            let below = bucket.count * spread.share_below(bucket, limit);
            match self.kept {
                Kept::Below => Rest { count: below, middle: middle(lower, limit, linear) },
                Kept::Above => Rest { count: bucket.count - below, middle: middle(limit, upper, linear) },
            }
        }
    }

    /// What is left of a bucket that begins at -∞ and ends above the limit.
    fn rest_from_infinity(self, bucket: &Bucket) -> Rest {
        let (limit, upper, count) = (self.limit, bucket.upper, bucket.count);
        match self.kept {
            Kept::Below if upper <= 0.0 => Rest { count, middle: limit },
            Kept::Below if limit > 0.0 && upper.is_finite() => {
                Rest { count: count * limit / upper, middle: limit / 2.0 }
            }
            Kept::Above if limit >= 0.0 && upper.is_finite() => {
                Rest { count: count * (1.0 - limit / upper), middle: f64::midpoint(limit, upper) }
            }
            _ => Rest::default(),
        }
    }

    /// What is left of a bucket that begins below the limit and ends at ∞.
    fn rest_to_infinity(self, bucket: &Bucket) -> Rest {
        match self.kept {
            Kept::Below => Rest::default(),
            Kept::Above => Rest { count: bucket.count, middle: self.limit },
        }
    }

    /// What is left of the zero bucket, which ends at zero where nothing is on the other side of it.
    fn rest_of_zero(self, histogram: &Histogram, zero: Bucket) -> Rest {
        let populated = |side: &Buckets| side.counts.iter().any(|count| *count != 0.0);
        let (mut lower, mut upper) = (zero.lower, zero.upper);
        match (populated(&histogram.negative), populated(&histogram.positive)) {
            (true, false) => upper = 0.0,
            (false, true) => lower = 0.0,
            _ => {}
        }
        let whole = Rest { count: zero.count, middle: f64::midpoint(lower, upper) };
        let part = |from: f64, to: f64| Rest {
            count: zero.count * ((to - from) / (upper - lower)),
            middle: f64::midpoint(from, to),
        };
        match self.kept {
            Kept::Below if self.limit <= lower => Rest::default(),
            Kept::Below if self.limit >= upper => whole,
            Kept::Below => part(lower, self.limit),
            Kept::Above if self.limit <= lower => whole,
            Kept::Above if self.limit >= upper => Rest::default(),
            Kept::Above => part(self.limit, upper),
        }
    }
}

/// Where observations between two values lie on average. Those that reach to infinity are taken to lie at the finite end,
/// or between zero and it where it is positive and the other one -∞.
fn middle(lower: f64, upper: f64, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => f64::midpoint(lower, upper),
        (false, false) => geometric_mean(lower, upper),
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::histogram::CUSTOM_BOUNDS_SCHEMA;

    use super::*;

    fn custom(bounds: &[f64], counts: &[(i32, f64)], sum: f64) -> Histogram {
        Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: counts.iter().map(|(_, count)| count).sum(),
            sum,
            positive: Buckets::from_sorted(counts.iter().copied()),
            custom_bounds: bounds.into(),
            ..Histogram::default()
        }
    }

    fn both_sides() -> Histogram {
        Histogram {
            count: 12.0,
            sum: 20.0,
            zero_threshold: 0.5,
            zero_count: 2.0,
            positive: Buckets::from_sorted([(1, 2.0), (3, 6.0)]),
            negative: Buckets::from_sorted([(1, 2.0)]),
            ..Histogram::default()
        }
    }

    /// Compares count, sum and buckets with what is expected, up to rounding.
    #[track_caller]
    fn check(trimmed: &Histogram, count: f64, sum: f64, zero: f64, positive: &[(i32, f64)], negative: &[(i32, f64)]) {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(trimmed.count, count) && near(trimmed.sum, sum) && near(trimmed.zero_count, zero), "{trimmed:?}");
        for (side, expected) in [(&trimmed.positive, positive), (&trimmed.negative, negative)] {
            let cells: Vec<_> = side.iter().collect();
            let same = cells.iter().zip(expected).all(|(a, b)| a.0 == b.0 && near(a.1, b.1));
            assert!(cells.len() == expected.len() && same, "{trimmed:?}");
        }
    }

    #[test]
    fn nothing_changes_while_nothing_is_cut_off() {
        let histogram = both_sides();
        assert_eq!(trim_upper(&histogram, f64::INFINITY), histogram);
        assert_eq!(trim_upper(&histogram, 8.0), histogram);
        assert_eq!(trim_lower(&histogram, -2.0), histogram);
        assert_eq!(trim_lower(&histogram, f64::NEG_INFINITY), histogram);
        check(&trim_upper(&histogram, f64::NEG_INFINITY), 0.0, 0.0, 0.0, &[], &[]);
        check(&trim_lower(&histogram, f64::INFINITY), 0.0, 0.0, 0.0, &[], &[]);
    }

    #[test]
    fn an_exponential_bucket_is_cut_along_the_logarithm() {
        let histogram = both_sides();
        let root = 2_f64.sqrt();
        // The kept half of (1, 2] has its middle at 2^¼; the negative bucket has its own at -√2.
        let sum = 2_f64.powf(0.25) - 2.0 * root;
        check(&trim_upper(&histogram, root), 5.0, sum, 2.0, &[(1, 1.0)], &[(1, 2.0)]);
        let sum = 2_f64.powf(0.75) + 6.0 * 32_f64.sqrt();
        check(&trim_lower(&histogram, root), 7.0, sum, 0.0, &[(1, 1.0), (3, 6.0)], &[]);
        check(&trim_upper(&histogram, -root), 1.0, -(2_f64.powf(0.75)), 0.0, &[], &[(1, 1.0)]);
    }

    #[test]
    fn the_zero_bucket_is_cut_evenly_and_leans_to_the_populated_side() {
        let histogram = both_sides();
        check(&trim_upper(&histogram, 0.25), 3.5, -2.0 * 2_f64.sqrt() - 0.1875, 1.5, &[], &[(1, 2.0)]);
        let above = Histogram { negative: Buckets::default(), ..histogram };
        check(&trim_upper(&above, 0.25), 1.0, 0.125, 1.0, &[], &[]);
        check(&trim_upper(&above, 0.0), 0.0, 0.0, 0.0, &[], &[]);
    }

    #[test]
    fn custom_buckets_are_cut_evenly() {
        let histogram = custom(&[5.0, 10.0], &[(0, 2.0), (1, 4.0)], 50.0);
        check(&trim_upper(&histogram, 7.5), 4.0, 5.0 + 12.5, 0.0, &[(0, 2.0), (1, 2.0)], &[]);
        check(&trim_upper(&histogram, 2.5), 1.0, 1.25, 0.0, &[(0, 1.0)], &[]);
        check(&trim_lower(&histogram, 2.5), 5.0, 3.75 + 30.0, 0.0, &[(0, 1.0), (1, 4.0)], &[]);
    }

    #[test]
    fn buckets_that_reach_to_infinity_are_kept_or_dropped_as_a_whole() {
        let histogram = custom(&[-5.0], &[(0, 1.0), (1, 100.0)], 33.0);
        check(&trim_upper(&histogram, 10.0), 1.0, -5.0, 0.0, &[(0, 1.0)], &[]);
        check(&trim_upper(&histogram, -10.0), 1.0, -10.0, 0.0, &[(0, 1.0)], &[]);
        check(&trim_lower(&histogram, -10.0), 100.0, -500.0, 0.0, &[(1, 100.0)], &[]);
        check(&trim_lower(&histogram, 10.0), 100.0, 1000.0, 0.0, &[(1, 100.0)], &[]);
        let single = custom(&[], &[(0, 3.0)], 9.0);
        check(&trim_upper(&single, 1.0), 0.0, 0.0, 0.0, &[], &[]);
        check(&trim_lower(&single, 1.0), 0.0, 0.0, 0.0, &[], &[]);
    }
}

//! The share of a native histogram's observations between two values: quantiles the other way round.

use homeostat_model::Histogram;

use super::{
    bucket::{buckets, places},
    interpolation::Spread,
};

/// A share of observations.
#[derive(Clone, Copy, Debug)]
pub struct Fraction {
    /// 0 to 1; `NaN` without observations or between values that are none.
    pub value: f64,
    /// There are observations of `NaN`: they are in the whole, but between no two values.
    pub has_nan: bool,
}

/// The share of observations between two values, with interpolation inside the buckets in which they lie. Where a value
/// is a bucket's bound, what lies exactly on it counts where the bucket counts it.
pub fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> Fraction {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return Fraction { value: f64::NAN, has_nan: false };
    }
    if lower >= upper {
        return Fraction { value: 0.0, has_nan: false };
    }
    // A NaN sum means observations of NaN, or infinite ones of both signs; only the former are missing in the buckets.
    let in_buckets =
        if histogram.sum.is_nan() { places(histogram).map(|(_, count)| count).sum() } else { histogram.count };
    let below = |value| match count_below(value, histogram) {
        Some(count) if count <= in_buckets => count,
        _ => in_buckets,
    };
    Fraction {
        value: (below(upper) - below(lower)) / histogram.count,
        has_nan: histogram.sum.is_nan() && in_buckets < histogram.count,
    }
}

/// How many observations lie below a value; `None` when all buckets do.
fn count_below(value: f64, histogram: &Histogram) -> Option<f64> {
    let mut below = 0.0;
    for mut bucket in buckets(histogram) {
        let spread = Spread::of(histogram, &bucket);
        // One with custom bounds that ends at zero holds what lies below, like that of a classic histogram.
        if bucket.touches_zero() && (bucket.upper > 0.0 || !histogram.has_custom_bounds()) {
            bucket.end_at_zero(histogram);
        }
        if bucket.lower >= value {
            return Some(below);
        }
        if bucket.upper > value {
            // Nobody knows where between -∞ and its end the observations of such a bucket lie: all below.
            let inside = if bucket.lower == f64::NEG_INFINITY { 1.0 } else { spread.share_below(&bucket, value) };
            return Some(below + bucket.count * inside);
        }
        below += bucket.count;
    }
    None
}

#[cfg(test)]
mod tests {
    use homeostat_model::histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA};

    use super::*;

    #[track_caller]
    fn check(lower: f64, upper: f64, histogram: &Histogram, expected: f64) {
        let Fraction { value, has_nan } = fraction(lower, upper, histogram);
        assert!((value - expected).abs() < 1e-12, "fraction from {lower} to {upper} is {value}, not {expected}");
        assert!(!has_nan);
    }

    #[test]
    fn shares_of_exponential_buckets_follow_the_logarithm() {
        let positive = Buckets::from_sorted([(0, 1.0), (1, 2.0), (2, 1.0)]);
        let negative = Buckets::from_sorted([(1, 4.0)]);
        let histogram = Histogram { count: 8.0, sum: 1.0, positive, negative, ..Histogram::default() };
        check(f64::NEG_INFINITY, f64::INFINITY, &histogram, 1.0);
        check(1.0, 2.0, &histogram, 0.25);
        check(1.0, 2_f64.sqrt(), &histogram, 0.125);
        check(-(2_f64.sqrt()), 0.0, &histogram, 0.25);
        check(5.0, 7.0, &histogram, 0.0);
        check(2.0, 1.0, &histogram, 0.0);
        assert!(fraction(f64::NAN, 1.0, &histogram).value.is_nan());
        assert!(fraction(0.0, 1.0, &Histogram::default()).value.is_nan());
    }

    #[test]
    fn buckets_that_begin_at_infinity_count_as_a_whole_and_those_that_end_there_not_at_all() {
        let histogram = Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 10.0,
            positive: Buckets::from_sorted([(0, 2.0), (1, 4.0), (2, 4.0)]),
            custom_bounds: [-2.0, 6.0].into(),
            ..Histogram::default()
        };
        check(f64::NEG_INFINITY, -5.0, &histogram, 0.2);
        check(f64::NEG_INFINITY, 100.0, &histogram, 0.6);
        check(f64::NEG_INFINITY, f64::INFINITY, &histogram, 1.0);
        // The bucket around zero is taken to begin at zero, as the first one of a classic histogram is.
        check(f64::NEG_INFINITY, 3.0, &histogram, 0.4);
    }

    #[test]
    fn observations_of_nan_are_in_the_whole_only() {
        let positive = Buckets::from_sorted([(0, 12.0)]);
        let histogram = Histogram { count: 15.0, sum: f64::NAN, positive, ..Histogram::default() };
        let all = fraction(f64::NEG_INFINITY, f64::INFINITY, &histogram);
        assert!((all.value - 0.8).abs() < 1e-12 && all.has_nan);
    }
}

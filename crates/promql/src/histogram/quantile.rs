//! Quantiles of native histograms.

use homeostat_model::Histogram;

use super::{
    bucket::{Bucket, Place, places, places_reversed},
    interpolation::Spread,
};

/// A quantile, and how observations of `NaN` changed it.
#[derive(Clone, Copy, Debug)]
pub struct Quantile {
    /// The value; `NaN` without observations.
    pub value: f64,
    /// What the reader should know.
    pub nan: NanEffect,
}

/// What observations of `NaN` did to a quantile. They are in no bucket and count as larger than everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanEffect {
    /// Nothing; there are none, as far as is known.
    None,
    /// The quantile is one of them.
    IsNan,
    /// The quantile is higher than it would be without them.
    Higher,
}

/// The quantile `q` of a native histogram: the value with the share `q` of all observations at or below it, by
/// interpolation inside the bucket in which it lies. Below 0 it is -∞, above 1 it is ∞, and `NaN` gives `NaN`.
pub fn quantile(q: f64, histogram: &Histogram) -> Quantile {
    let plain = |value| Quantile { value, nan: NanEffect::None };
    if q < 0.0 {
        return plain(f64::NEG_INFINITY);
    }
    if q > 1.0 {
        return plain(f64::INFINITY);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return plain(f64::NAN);
    }
    // Observations of NaN are in the count but in no bucket, and stand at the upper end: then only the way from below is
    // right. Otherwise the shorter way is more exact.
    if histogram.sum.is_nan() || q < 0.5 {
        let rank = q * histogram.count;
        let mut all = places(histogram);
        let reached = Reached::new(rank, &mut all);
        let in_buckets = reached.count + all.map(|(_, count)| count).sum::<f64>();
        let some_nan = histogram.sum.is_nan() && in_buckets < histogram.count;
        reached.quantile(histogram, |count| rank - (count - reached.bucket_count), some_nan)
    } else {
        let rank = (1.0 - q) * histogram.count;
        let reached = Reached::new(rank, &mut places_reversed(histogram));
        reached.quantile(histogram, |count| count - rank, false)
    }
}

/// The bucket in which a rank was reached.
#[derive(Clone, Copy)]
struct Reached {
    /// The rank that was asked for.
    rank: f64,
    /// Where the bucket lies, or the last one when the rank was not reached; none in a histogram without buckets.
    place: Option<Place>,
    /// Observations in this bucket.
    bucket_count: f64,
    /// Observations up to its end.
    count: f64,
}

impl Reached {
    fn new(rank: f64, all: &mut impl Iterator<Item = (Place, f64)>) -> Self {
        let mut reached = Self { rank, place: None, bucket_count: 0.0, count: 0.0 };
        for (place, count) in all {
            reached.place = Some(place);
            reached.bucket_count = count;
            reached.count += count;
            if count != 0.0 && reached.count >= rank {
                break;
            }
        }
        reached
    }

    /// The quantile; `rank_inside` says how many observations of the bucket lie below it, given the count up to the
    /// bucket's end.
    fn quantile(self, histogram: &Histogram, rank_inside: impl Fn(f64) -> f64, some_nan: bool) -> Quantile {
        let nothing = Bucket { lower: 0.0, upper: 0.0, lower_inclusive: true, upper_inclusive: true, count: 0.0 };
        let bucket = self.place.map_or(nothing, |place| place.bucket(histogram, self.bucket_count));
        let bucket = match bounded(histogram, bucket) {
            Ok(bucket) => bucket,
            Err(value) => return Quantile { value, nan: NanEffect::None },
        };
        // Rounding may have added up to more than there is.
        let count = if self.count > histogram.count { histogram.count } else { self.count };
        if count < self.rank {
            let is_nan = histogram.sum.is_nan();
            let (value, nan) = if is_nan { (f64::NAN, NanEffect::IsNan) } else { (bucket.upper, NanEffect::None) };
            return Quantile { value, nan };
        }
        let share = rank_inside(count) / bucket.count;
        let nan = if some_nan { NanEffect::Higher } else { NanEffect::None };
        Quantile { value: Spread::of(histogram, &bucket).value_at(&bucket, share), nan }
    }
}

/// The bucket with bounds that can be interpolated between: a zero bucket ends at zero when there is nothing on the other
/// side of it, and buckets that begin or end at infinity do as those of classic histograms. An error is the quantile
/// itself.
fn bounded(histogram: &Histogram, mut bucket: Bucket) -> Result<Bucket, f64> {
    if histogram.has_custom_bounds() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Err(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return Err(bucket.lower);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        bucket.end_at_zero(histogram);
    }
    Ok(bucket)
}

#[cfg(test)]
mod tests {
    use homeostat_model::histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA};

    use super::*;

    #[track_caller]
    fn check(q: f64, histogram: &Histogram, expected: f64) {
        let Quantile { value, nan } = quantile(q, histogram);
        assert!((value - expected).abs() <= 1e-12 * expected.abs(), "quantile {q} is {value}, not {expected}");
        assert_eq!(nan, NanEffect::None);
    }

    #[test]
    fn exponential_buckets_are_filled_along_the_logarithm() {
        let positive = Buckets::from_sorted([(0, 1.0), (1, 2.0), (2, 1.0)]);
        let histogram = Histogram { count: 4.0, sum: 5.0, positive: positive.clone(), ..Histogram::default() };
        for (q, log2) in [(0.0, -1.0), (0.125, -0.5), (0.25, 0.0), (0.5, 0.5), (0.75, 1.0), (0.875, 1.5), (1.0, 2.0)] {
            check(q, &histogram, 2_f64.powf(log2));
        }
        let mirrored = Histogram { positive: Buckets::default(), negative: positive, ..histogram };
        for (q, log2) in [(0.0, 2.0), (0.125, 1.5), (0.5, 0.5), (1.0, -1.0)] {
            check(q, &mirrored, -2_f64.powf(log2));
        }
    }

    #[test]
    fn a_zero_bucket_is_filled_evenly_and_leans_to_the_populated_side() {
        let zero = Histogram { count: 4.0, zero_threshold: 0.5, zero_count: 4.0, ..Histogram::default() };
        check(0.25, &zero, -0.25);
        let side = Buckets::from_sorted([(3, 4.0)]);
        let above = Histogram { count: 8.0, positive: side.clone(), ..zero.clone() };
        check(0.25, &above, 0.25);
        let below = Histogram { count: 8.0, negative: side, ..zero };
        check(0.75, &below, -0.25);
    }

    #[test]
    fn custom_buckets_are_filled_evenly_and_end_where_their_bounds_end() {
        let histogram = Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 4.0,
            positive: Buckets::from_sorted([(0, 1.0), (1, 2.0), (2, 1.0)]),
            custom_bounds: [5.0, 10.0].into(),
            ..Histogram::default()
        };
        for (q, expected) in [(0.0, 0.0), (0.125, 2.5), (0.5, 7.5), (0.75, 10.0), (0.9, 10.0), (1.0, 10.0)] {
            check(q, &histogram, expected);
        }
        check(0.1, &Histogram { custom_bounds: [-5.0, 10.0].into(), ..histogram }, -5.0);
    }

    #[test]
    fn observations_of_nan_stand_at_the_upper_end() {
        let positive = Buckets::from_sorted([(0, 12.0)]);
        let histogram = Histogram { count: 15.0, sum: f64::NAN, positive, ..Histogram::default() };
        let higher = quantile(0.4, &histogram);
        assert!((higher.value - 0.5_f64.sqrt()).abs() < 1e-12 && higher.nan == NanEffect::Higher);
        let nan = quantile(0.81, &histogram);
        assert!(nan.value.is_nan() && nan.nan == NanEffect::IsNan);
        let other = Histogram { count: 12.0, ..histogram };
        assert_eq!(quantile(0.9, &other).nan, NanEffect::None);
    }

    #[test]
    fn quantiles_outside_of_0_and_1_are_infinite() {
        let some = Histogram { count: 1.0, positive: Buckets::from_sorted([(0, 1.0)]), ..Histogram::default() };
        assert!(quantile(-0.1, &some).value < f64::MIN);
        assert!(quantile(1.1, &some).value > f64::MAX);
        assert!(quantile(f64::NAN, &some).value.is_nan());
        assert!(quantile(0.5, &Histogram::default()).value.is_nan());
    }
}

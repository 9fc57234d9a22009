//! How far a native histogram's observations lie from their mean.

use homeostat_model::Histogram;

use super::{
    bucket::{Bucket, buckets},
    compensated::Compensated,
    interpolation::geometric_mean,
    layout::Cell,
};

/// The estimated population variance: every observation is taken to lie in the middle of its bucket, which is the
/// geometric mean of the bounds of an exponential bucket, zero for the zero bucket, and the arithmetic mean with custom
/// bounds. The mean is exact, as sum and count are. `NaN` without observations.
pub fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = Compensated::ZERO;
    for bucket in buckets(histogram).filter(|bucket| bucket.count != 0.0) {
        let distance = middle(histogram, &bucket) - mean;
        squares.add(bucket.count * distance * distance);
    }
    squares.value() / histogram.count
}

fn middle(histogram: &Histogram, bucket: &Bucket) -> f64 {
    if histogram.has_custom_bounds() {
        f64::midpoint(bucket.lower, bucket.upper)
    } else if bucket.touches_zero() {
        0.0
    } else {
        geometric_mean(bucket.lower, bucket.upper)
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA};

    use super::*;

    #[test]
    fn observations_lie_in_the_middle_of_their_buckets() {
        // Two at √2, two at -√8, one at 0; the mean is told to be 1.
        let histogram = Histogram {
            count: 5.0,
            sum: 5.0,
            zero_count: 1.0,
            positive: Buckets::from_sorted([(1, 2.0)]),
            negative: Buckets::from_sorted([(2, 2.0)]),
            ..Histogram::default()
        };
        let expected = (2.0 * (2_f64.sqrt() - 1.0).powi(2) + 2.0 * (8_f64.sqrt() + 1.0).powi(2) + 1.0) / 5.0;
        assert!((variance(&histogram) - expected).abs() < 1e-12);
        let custom = Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 2.0,
            sum: 5.0,
            positive: Buckets::from_sorted([(1, 2.0)]),
            custom_bounds: [1.0, 3.0].into(),
            ..Histogram::default()
        };
        assert!((variance(&custom) - 0.25).abs() < 1e-12);
        assert!(variance(&Histogram::default()).is_nan());
    }
}

//! Where in a bucket its observations lie.
//!
//! Buckets with custom bounds and the zero bucket are taken to be filled evenly. In an exponential bucket the density
//! falls with the value as the buckets' width grows: observations are evenly spread over the logarithm, as they would be
//! over the buckets of a finer schema.
//! Source: prometheus.io/docs/specs/native_histograms, "Interpolation within a bucket".

use homeostat_model::Histogram;

use super::bucket::Bucket;

/// How observations are spread inside a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// Evenly.
    Linear,
    /// Evenly over the logarithm of the absolute value; the bucket does not touch zero.
    Exponential,
}

impl Spread {
    /// How a bucket of a histogram is filled.
    pub(super) fn of(histogram: &Histogram, bucket: &Bucket) -> Self {
        if histogram.has_custom_bounds() || bucket.touches_zero() { Self::Linear } else { Self::Exponential }
    }

    /// The share of a bucket's observations at or below a value inside it. Bounds are finite.
    pub(super) fn share_below(self, bucket: &Bucket, value: f64) -> f64 {
        let (lower, upper) = (bucket.lower, bucket.upper);
        if self == Self::Linear {
            return (value - lower) / (upper - lower);
        }
        let (log_lower, log_upper, log_value) = (lower.abs().log2(), upper.abs().log2(), value.abs().log2());
        if value > 0.0 {
            (log_value - log_lower) / (log_upper - log_lower)
        } else {
            1.0 - (log_value - log_upper) / (log_lower - log_upper)
        }
    }

    /// The value with this share of the bucket's observations at or below it: the other way round.
    pub(super) fn value_at(self, bucket: &Bucket, share: f64) -> f64 {
        let (lower, upper) = (bucket.lower, bucket.upper);
        if self == Self::Linear {
            return lower + (upper - lower) * share;
        }
        let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
        if lower > 0.0 {
            (log_lower + (log_upper - log_lower) * share).exp2()
        } else {
            -(log_upper + (log_lower - log_upper) * (1.0 - share)).exp2()
        }
    }
}

/// The middle of two bounds of the same sign on a logarithmic scale; it cannot overflow.
pub(super) fn geometric_mean(lower: f64, upper: f64) -> f64 {
    (lower.abs().sqrt() * upper.abs().sqrt()).copysign(lower + upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_shares_are_each_others_inverse() {
        for (lower, upper, spread) in [
            (1.0, 2.0, Spread::Exponential),
            (-16.0, -4.0, Spread::Exponential),
            (1e-300, 1e300, Spread::Exponential),
            (-3.0, 5.0, Spread::Linear),
        ] {
            let bucket = Bucket { lower, upper, lower_inclusive: false, upper_inclusive: true, count: 1.0 };
            for share in [0.0, 0.125, 0.5, 0.9, 1.0] {
                let value = spread.value_at(&bucket, share);
                assert!((spread.share_below(&bucket, value) - share).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn middles_of_huge_and_tiny_bounds_are_finite() {
        assert!((geometric_mean(1e300, 1e308) / 1e304 - 1.0).abs() < 1e-12);
        assert!((geometric_mean(-4.0, -1.0) + 2.0).abs() < 1e-12);
        assert!((geometric_mean(1e-300, 1e-308) / 1e-304 - 1.0).abs() < 1e-12);
    }
}

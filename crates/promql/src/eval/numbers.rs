//! Small calculations on numbers that must give what Go's `math` gives.

/// The smaller of two numbers. -Inf wins over NaN, NaN over every other number.
#[inline]
pub(super) fn smaller(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}

/// The larger of two numbers. +Inf wins over NaN, NaN over every other number.
#[inline]
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_yields_to_the_infinity_that_wins_anyway() {
        assert!(smaller(1.0, f64::NAN).is_nan() && larger(f64::NAN, 1.0).is_nan());
        assert!(smaller(f64::NEG_INFINITY, f64::NAN).is_infinite() && larger(f64::NAN, f64::INFINITY).is_infinite());
        assert!(smaller(f64::INFINITY, f64::NAN).is_nan());
    }
}

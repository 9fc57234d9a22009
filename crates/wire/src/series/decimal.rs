//! Floats as whole numbers with a decimal exponent, where that gives back every bit.
//!
//! Most measured values have been written in decimal once: 12.75, 0.001, 340. As 1275 hundredths their differences are
//! small whole numbers, which pack far better than the bits of the floats. A value qualifies only when dividing gives the
//! very same float; `-0.0`, infinities and `NaN`s never do.

/// Largest exponent: a picosecond as seconds.
pub const EXPONENT_MAX: u8 = 12;
const POWERS: [f64; EXPONENT_MAX as usize + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];
/// Below this, adding and taking away [`ROUNDER`] rounds to a whole number.
const SCALED_MAX: f64 = (1_u64 << 50) as f64;
/// 1.5 × 2^52.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Whole numbers stay below this, so that differences of differences still fit.
const WHOLE_MAX: u64 = 1 << 61;

/// The value times ten to the exponent, when that is a whole number from which [`unscale`] makes the same float again.
#[inline]
pub fn scale(value: f64, exponent: u8) -> Option<i64> {
    if exponent == 0 {
        // Beyond 2^53 not every whole number is a float, but every such float is a whole number.
        let whole = value as i64;
        return ((whole as f64).to_bits() == value.to_bits() && whole.unsigned_abs() < WHOLE_MAX).then_some(whole);
    }
    let power = power(exponent);
    let scaled = value * power;
    let whole = (scaled + ROUNDER) - ROUNDER;
    (scaled.abs() < SCALED_MAX && (whole / power).to_bits() == value.to_bits()).then_some(whole as i64)
}

/// The inverse of [`scale`].
#[inline]
pub fn unscale(scaled: i64, exponent: u8) -> f64 {
    if exponent == 0 { scaled as f64 } else { scaled as f64 / power(exponent) }
}

#[inline]
fn power(exponent: u8) -> f64 {
    POWERS.get(usize::from(exponent)).copied().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_comes_back_qualifies() {
        assert_eq!(scale(12.75, 2), Some(1275));
        assert_eq!(scale(12.75, 1), None);
        assert_eq!(scale(1e18, 0), Some(1_000_000_000_000_000_000));
        for odd in [-0.0, f64::NAN, f64::INFINITY, 1e300, 0.1 + 0.2, 5e-324] {
            assert!((0..=EXPONENT_MAX).all(|exponent| scale(odd, exponent).is_none()), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn what_qualifies_comes_back(bits: u64, whole in -1_000_000_i64..1_000_000, exponent in 0..=EXPONENT_MAX) {
            for value in [f64::from_bits(bits), whole as f64 / 1000.0, whole as f64] {
                if let Some(scaled) = scale(value, exponent) {
                    prop_assert_eq!(unscale(scaled, exponent).to_bits(), value.to_bits());
                }
            }
        }
    }
}

//! Summation that keeps what ordinary addition rounds away (Kahan's, in Neumaier's form).
//!
//! Intuition: every addition of floats drops some low digits; a second number collects them and is added at the end.
//!
//! Invariant: a sum that has reached infinity stays what ordinary addition makes of it, without a correction.
//! Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.

/// A running sum with its correction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct KahanSum {
    /// The sum as ordinary addition has it.
    pub(crate) sum: f64,
    /// What ordinary addition dropped.
    pub(crate) correction: f64,
}

impl KahanSum {
    /// A sum that begins with one number.
    pub(crate) fn new(first: f64) -> Self {
        Self { sum: first, correction: 0.0 }
    }

    /// Returns the sum with one number more.
    #[inline]
    pub(crate) fn plus(self, value: f64) -> Self {
        let sum = self.sum + value;
        let (larger, smaller) = if self.sum.abs() >= value.abs() { (self.sum, value) } else { (value, self.sum) };
        let correction = if sum.is_infinite() { 0.0 } else { self.correction + ((larger - sum) + smaller) };
        Self { sum, correction }
    }

    /// As [`plus`](Self::plus) at half the cost, bit for bit, as long as the sum is finite. Once it is not, it never is
    /// again, and the correction means nothing: the caller looks at the end and begins again with `plus`.
    #[inline]
    pub(crate) fn plus_finite(self, value: f64) -> Self {
        let sum = self.sum + value;
        // What was dropped, found without asking which of the two is larger (Knuth's two-sum): both ways it is exact.
        let added = sum - self.sum;
        let dropped = (self.sum - (sum - added)) + (value - added);
        Self { sum, correction: self.correction + dropped }
    }

    /// The corrected sum.
    #[inline]
    pub(crate) fn total(self) -> f64 {
        self.sum + self.correction
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these calculations are exact")]
mod tests {
    use super::*;

    fn total(values: &[f64]) -> f64 {
        values.iter().copied().fold(KahanSum::default(), KahanSum::plus).total()
    }

    #[test]
    fn both_ways_agree_while_sums_are_finite() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let exponent = (state >> 59) as i32 * 3 - 48;
            ((state >> 11) as f64 - (1_u64 << 52) as f64) * 2.0_f64.powi(exponent)
        };
        let (mut careful, mut quick) = (KahanSum::default(), KahanSum::default());
        for _ in 0..10_000 {
            let value = next();
            careful = careful.plus(value);
            quick = quick.plus_finite(value);
            assert_eq!((quick.sum, quick.correction), (careful.sum, careful.correction));
        }
        assert!(!quick.plus_finite(f64::INFINITY).plus_finite(f64::NEG_INFINITY).sum.is_finite());
    }

    #[test]
    fn small_numbers_survive_large_ones() {
        assert_eq!(total(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(total(&[0.1; 10]), 1.0);
    }

    #[test]
    fn infinities_stay_and_cancel_to_nan() {
        assert_eq!(total(&[1.0, f64::INFINITY, 1.0]), f64::INFINITY);
        assert_eq!(total(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert!(total(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(total(&[1.0, f64::NAN]).is_nan());
    }
}

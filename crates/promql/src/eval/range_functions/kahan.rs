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

    /// Adds one number.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        *self = self.plus(value);
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
        let mut sum = KahanSum::default();
        for value in values {
            sum.add(*value);
        }
        sum.total()
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

//! Sums that remember what rounding took from them.
//!
//! A large and a small number added lose the small one's last digits. Neumaier's variant of Kahan's summation keeps what
//! was lost in a second number and adds it at the end: `1 + 1e100 + 1 - 1e100` is 2.
//! Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen" (1974).

use super::layout::Cell;

/// A sum and what rounding took from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    pub(super) fn new(value: f64) -> Self {
        Self { sum: value, lost: 0.0 }
    }

    /// The sum as the arithmetic without memory has it.
    pub(super) fn rough(self) -> f64 {
        self.sum
    }

    /// The sum with what was lost.
    pub(super) fn value(self) -> f64 {
        self.sum + self.lost
    }

    pub(super) fn scaled(self, factor: f64) -> Self {
        Self { sum: self.sum * factor, lost: self.lost * factor }
    }

    pub(super) fn divided(self, by: f64) -> Self {
        Self { sum: self.sum / by, lost: self.lost / by }
    }
}

impl Cell for Compensated {
    const ZERO: Self = Self { sum: 0.0, lost: 0.0 };

    fn add(&mut self, count: f64) {
        let total = self.sum + count;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= count.abs() {
            self.lost += (self.sum - total) + count;
        } else {
            self.lost += (count - total) + self.sum;
        }
        self.sum = total;
    }

    fn absorb(&mut self, other: Self) {
        self.add(other.sum);
        self.add(other.lost);
    }

    fn is_empty(&self) -> bool {
        self.sum == 0.0 && self.lost == 0.0
    }
}

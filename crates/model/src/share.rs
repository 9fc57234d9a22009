//! Shares of traffic in steps of 0.01 %.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A share of a service's traffic in units of 0.01 %: 0 is none, 10,000 is all. Also a number of hash buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u16", into = "u16")]
#[schemars(with = "u16")]
pub struct Weight(u16);

/// A share outside 0 to 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a share of traffic lies between 0 and 100 % in steps of 0.01 %, {basis_points} hundredths of a percent do not"
)]
pub struct WeightError {
    /// What was asked for, in units of 0.01 %.
    pub basis_points: u64,
}

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All traffic.
    pub const FULL: Self = Self(10_000);

    /// From units of 0.01 %, at most 10,000.
    pub const fn from_basis_points(basis_points: u16) -> Result<Self, WeightError> {
        if basis_points <= 10_000 {
            Ok(Self(basis_points))
        } else {
            Err(WeightError { basis_points: basis_points as u64 })
        }
    }

    /// From percent, rounded to the nearest 0.01 %; refuses what is not within 0 to 100.
    pub fn from_percent(percent: f64) -> Result<Self, WeightError> {
        let basis_points = (percent * 100.0).round();
        if (0.0..=10_000.0).contains(&basis_points) {
            Ok(Self(basis_points as u16))
        } else {
            Err(WeightError { basis_points: basis_points.abs() as u64 })
        }
    }

    /// Units of 0.01 %, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// Percent, 0 to 100.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// What is left of the whole.
    pub const fn complement(self) -> Self {
        Self(10_000 - self.0)
    }

    /// The sum, capped at the whole.
    pub const fn saturating_add(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        if sum > 10_000 { Self::FULL } else { Self(sum) }
    }

    /// The difference, not below nothing.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl TryFrom<u16> for Weight {
    type Error = WeightError;
    fn try_from(basis_points: u16) -> Result<Self, WeightError> {
        Self::from_basis_points(basis_points)
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

impl fmt::Display for Weight {
    /// `5%`, `0.25%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_rounded_to_the_hundredth_and_bounded() {
        assert_eq!(Weight::from_percent(0.014).map(Weight::basis_points), Ok(1));
        assert_eq!(Weight::from_percent(5.0).map(|w| w.to_string()), Ok("5%".to_owned()));
        for bad in [-1.0, 100.01, f64::NAN, f64::INFINITY] {
            assert!(Weight::from_percent(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Weight>("10001").is_err());
    }
}

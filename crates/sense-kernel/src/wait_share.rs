//! How many of the waits are looked at.

use std::str::FromStr;

/// Share of all waits that is sampled, by chance: 0.1 % to 100 %.
///
/// A wait costs some microseconds when it is sampled. All of them are right for one service on demand; where threads wait more than
/// ten thousand times a second, a few percent are. Below a thousandth, ten seconds tell little.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct WaitShare(f64);

/// A share that is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no share of waits: give 0.1 to 100 percent")]
pub struct BadShare(String);

impl WaitShare {
    /// Every wait.
    pub const ALL: Self = Self(1.0);

    /// A share within the range, in percent.
    pub fn percent(percent: f64) -> Result<Self, BadShare> {
        if (0.1..=100.0).contains(&percent) { Ok(Self(percent / 100.0)) } else { Err(BadShare(percent.to_string())) }
    }

    /// What a sum of the sample is of all, at best guess.
    #[cfg(feature = "bpf")]
    pub(crate) fn whole(self, sampled: u64) -> i64 {
        (sampled as f64 / self.0) as i64
    }

    /// Hashes of 32 bits up to this one are in the sample.
    #[cfg(feature = "bpf")]
    pub(crate) fn limit(self) -> u32 {
        (self.0 * f64::from(u32::MAX)) as u32
    }
}

/// In percent, as people write it: `5` and `5%` are the same.
impl FromStr for WaitShare {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Self, BadShare> {
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        number.parse().map_err(|_| BadShare(text.to_owned())).and_then(Self::percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_a_range() {
        assert_eq!("100".parse(), Ok(WaitShare::ALL));
        assert_eq!("5%".parse::<WaitShare>(), WaitShare::percent(5.0));
        for bad in ["0", "0.01", "101", "-1", "NaN", "all", ""] {
            assert!(bad.parse::<WaitShare>().is_err(), "{bad}");
        }
    }

    #[cfg(feature = "bpf")]
    #[test]
    fn a_part_stands_for_the_whole() {
        let some = WaitShare::percent(5.0).unwrap();
        assert_eq!((some.whole(10), WaitShare::ALL.whole(10)), (200, 10));
        assert_eq!((some.limit(), WaitShare::ALL.limit()), (u32::MAX / 20, u32::MAX));
    }
}

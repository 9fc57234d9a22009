//! How often a CPU is looked at.

use std::str::FromStr;

/// Samples per second and CPU: 19 to 2000.
///
/// Below 19 a minute tells little (1140 samples of a busy CPU); above 2000 the cost, which `./dev bench profiler` measures at 99
/// and which grows with the rate, becomes some percent of a CPU. Odd numbers do not beat with timers of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampleRate(u32);

/// A rate that is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate of samples: give 19 to 2000 per second")]
pub struct BadRate(String);

impl SampleRate {
    /// Enough for a profile of ten seconds, too seldom to be felt.
    pub const DEFAULT: Self = Self(99);

    /// A rate within the range.
    pub fn new(hz: u32) -> Result<Self, BadRate> {
        if (19..=2000).contains(&hz) { Ok(Self(hz)) } else { Err(BadRate(hz.to_string())) }
    }

    /// Half as often, for who has to do with less than it asked for; it may be below what one can ask for.
    pub const fn halved(self) -> Self {
        Self(if self.0 < 2 { 1 } else { self.0 / 2 })
    }

    /// Samples per second.
    pub const fn hz(self) -> u32 {
        self.0
    }

    /// Time that one sample stands for.
    pub const fn period_ns(self) -> i64 {
        1_000_000_000 / self.0 as i64
    }
}

impl FromStr for SampleRate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        text.parse().map_err(|_| BadRate(text.to_owned())).and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_range() {
        assert_eq!("99".parse(), Ok(SampleRate::DEFAULT));
        assert_eq!(SampleRate::DEFAULT.period_ns(), 10_101_010);
        assert_eq!(SampleRate::new(19).unwrap().halved().hz(), 9);
        for bad in ["18", "2001", "-1", "often", ""] {
            assert_eq!(bad.parse::<SampleRate>(), Err(BadRate(bad.to_owned())));
        }
    }
}

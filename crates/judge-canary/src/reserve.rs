//! The part of a stake that is kept back, and when it enters the game.
//!
//! Part of the stake is bet at once, because most bad releases are bad at once. The rest enters bit by bit for as long
//! as the test lasts: each bit is a bet of its own that begins then and knows nothing of what was lost before. A fault
//! that begins after an hour is found with a few tens of extra requests (`ln` of what enters within a second then),
//! instead of having to outweigh an hour of good behaviour first.
//!
//! Invariant: what entered and what is kept make 1 together, and time alone decides; so the whole stays a test
//! martingale, a weighted mean over when to begin.

use homeostat_model::Span;
use serde::{Deserialize, Serialize};

/// Part that is bet from the very beginning.
const AT_ONCE: f64 = 0.85;
/// What is kept falls as `1 / (1 + ln(1 + t / SCALE))`: slowly enough to last for years.
const SCALE: Span = Span::from_secs(1);

/// What is still kept, 1 at the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Reserve(f64);

impl Reserve {
    /// All of the stake.
    pub(crate) fn full() -> Self {
        Self(1.0)
    }

    /// Takes out what enters by the time `elapsed` since the start.
    pub(crate) fn enter(&mut self, elapsed: Span) -> f64 {
        let kept = (1.0 - AT_ONCE) / (1.0 + (elapsed.secs_f64() / SCALE.secs_f64()).ln_1p());
        let entering = (self.0 - kept).max(0.0);
        self.0 -= entering;
        entering
    }

    /// What is still kept.
    pub(crate) fn kept(&self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_much_at_once_and_something_for_years() {
        let mut reserve = Reserve::full();
        assert!((reserve.enter(Span::ZERO) - AT_ONCE).abs() < 1e-12);
        let mut entered = AT_ONCE;
        for day in 1..=3_650 {
            let bit = reserve.enter(Span::from_days(day));
            assert!(bit > 1e-9, "nothing on day {day}");
            entered += bit;
        }
        assert!((entered + reserve.kept() - 1.0).abs() < 1e-9 && reserve.kept() > 0.005);
        assert!(reserve.enter(Span::ZERO).abs() < f64::MIN_POSITIVE, "time that runs backwards gives nothing");
    }
}

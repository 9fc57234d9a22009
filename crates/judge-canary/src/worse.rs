//! Evidence that the canary is worse than the baseline by more than the tolerance.
//!
//! Nobody knows beforehand how bad a bad canary is, nor when it turns bad. So the stake is spread, and everything is a
//! weighted mean of test martingales, hence one itself:
//! - **over how bad**: a few fixed alternatives, from twice the baseline's share to total failure, need no learning and
//!   settle large faults within a handful of requests; one that is guessed from the canary's past finds the rest;
//! - **over when**: part of the stake is bet at once, the rest is kept and enters bit by bit for as long as the test
//!   lasts. Without that, an hour of good behaviour would have to be outweighed first; with it, a leak that begins after
//!   an hour costs a few tens of extra requests (`ln` of the stake that enters each second then).
//!
//! Invariant: stakes that entered, plus the reserve, never exceed 1; they depend on time alone.

use homeostat_model::Span;
use serde::{Deserialize, Serialize};

use crate::{block::Block, projection::Rates};

/// Shares of the way from the null's border to "everything fails", with their weights in the stake.
const OUTRIGHT: [(f64, f64); 4] = [(0.05, 0.2), (0.15, 0.2), (0.4, 0.25), (0.9, 0.1)];
/// Multiples of the border's share, with their weights: for canaries that are a few times worse than a good baseline.
const MULTIPLES: [(f64, f64); 2] = [(2.5, 0.05), (8.0, 0.1)];
/// Weight of the alternative that is guessed from the canary's past.
const GUESSED: f64 = 0.1;
/// Alternatives in all.
pub(crate) const ALTERNATIVES: usize = OUTRIGHT.len() + MULTIPLES.len() + 1;
const _: () = {
    let sum = OUTRIGHT[0].1 + OUTRIGHT[1].1 + OUTRIGHT[2].1 + OUTRIGHT[3].1 + MULTIPLES[0].1 + MULTIPLES[1].1 + GUESSED;
    assert!((sum - 1.0).abs() < 1e-12, "the weights share one stake");
};

/// Part of the stake that is bet from the very beginning: most bad releases are bad at once.
const AT_ONCE: f64 = 0.7;
/// Time scale of the reserve: it falls as `1 / (1 + ln(1 + t / RESERVE_SCALE))`, slowly enough to last for years.
const RESERVE_SCALE: Span = Span::from_secs(1);

/// Beyond this share there is no room left for a worse canary, and nothing is bet.
const BORDER_MAX: f64 = 0.99;
/// Alternatives end here, so that no single outcome is held impossible.
const SHARE_MAX: f64 = 0.999;

/// The wealth of each alternative, and what has not been staked yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorseTest {
    /// Natural logarithms.
    ln_wealth: [f64; ALTERNATIVES],
    /// Part of the stake that is still kept, 1 at the start.
    reserve: f64,
}

impl WorseTest {
    pub(crate) fn new() -> Self {
        Self { ln_wealth: [f64::MIN; ALTERNATIVES], reserve: 1.0 }
    }

    /// Bets on a block that ends `elapsed` after the start. `guess` was made before its outcomes were known.
    pub(crate) fn bet(&mut self, elapsed: Span, block: &Block, guess: Rates, tolerance: f64) {
        let kept = self.reserve.min(reserve_after(elapsed));
        let ln_entering = (self.reserve - kept).ln().max(f64::MIN);
        self.reserve = kept;
        let border = guess.baseline + tolerance;
        for (ln_wealth, (share, weight)) in self.ln_wealth.iter_mut().zip(alternatives(border, guess.canary)) {
            *ln_wealth = ln_add(*ln_wealth, ln_entering + weight.ln());
            if border < share && border < BORDER_MAX {
                let alternative = Rates { baseline: guess.baseline, canary: share };
                *ln_wealth = (*ln_wealth + block.ln_payout(alternative, tolerance)).max(f64::MIN);
            }
        }
    }

    /// Natural logarithm of the e-value.
    pub(crate) fn ln_e(&self) -> f64 {
        self.ln_wealth.iter().fold(self.reserve.ln(), |sum, ln_wealth| ln_add(sum, *ln_wealth))
    }
}

/// The canary's shares that are bet on, with their weights, for a null that ends at the share `border`.
fn alternatives(border: f64, guessed: f64) -> impl Iterator<Item = (f64, f64)> {
    let outright = OUTRIGHT.into_iter().map(move |(way, weight)| (border + (1.0 - border) * way, weight));
    let multiples = MULTIPLES.into_iter().map(move |(factor, weight)| (border * factor, weight));
    let all = outright.chain(multiples).chain([(guessed, GUESSED)]);
    all.map(|(share, weight)| (share.min(SHARE_MAX), weight))
}

fn reserve_after(elapsed: Span) -> f64 {
    (1.0 - AT_ONCE) / (1.0 + (elapsed.secs_f64() / RESERVE_SCALE.secs_f64()).ln_1p())
}

/// `ln(e^a + e^b)` without leaving the range of numbers.
pub(crate) fn ln_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    high + (low - high).exp().ln_1p()
}

//! Evidence that the canary is worse than the baseline by more than the tolerance.
//!
//! Nobody knows beforehand how bad a bad canary is, nor when it turns bad. So the stake is spread, and everything is a
//! weighted mean of test martingales, hence one itself:
//! - **over how bad**: a few fixed alternatives, from twice the baseline's share to total failure, need no learning and
//!   settle large faults within a handful of requests; one that is guessed from the canary's past finds the rest;
//! - **over when**: part of the stake is kept back and enters bit by bit ([`crate::reserve`]).

use homeostat_model::Span;
use serde::{Deserialize, Serialize};

use crate::{block::Block, projection::Rates, reserve::Reserve};

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

/// Beyond this share there is no room left for a worse canary, and nothing is bet.
const BORDER_MAX: f64 = 0.99;
/// Alternatives end here, so that no single outcome is held impossible.
const SHARE_MAX: f64 = 0.999;

/// Wealth beyond this is thrown away; it is far above what any `alpha` needs.
const WEALTH_MAX: f64 = 1e200;

/// The wealth of each alternative, and what has not been staked yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorseTest {
    wealth: [f64; ALTERNATIVES],
    reserve: Reserve,
}

impl WorseTest {
    pub(crate) fn new() -> Self {
        Self { wealth: [0.0; ALTERNATIVES], reserve: Reserve::full() }
    }

    /// Bets on a block that ends `elapsed` after the start. `guess` was made before its outcomes were known.
    pub(crate) fn bet(&mut self, elapsed: Span, block: &Block, guess: Rates, tolerance: f64) {
        let entering = self.reserve.enter(elapsed);
        let border = guess.baseline + tolerance;
        for (wealth, (share, weight)) in self.wealth.iter_mut().zip(alternatives(border, guess.canary)) {
            *wealth += entering * weight;
            if border < share && border < BORDER_MAX {
                let alternative = Rates { baseline: guess.baseline, canary: share };
                *wealth = (*wealth * block.payout(alternative, tolerance)).min(WEALTH_MAX);
            }
        }
    }

    /// The e-value.
    pub(crate) fn e_value(&self) -> f64 {
        self.wealth.iter().sum::<f64>() + self.reserve.kept()
    }
}

/// The canary's shares that are bet on, with their weights, for a null that ends at the share `border`.
fn alternatives(border: f64, guessed: f64) -> impl Iterator<Item = (f64, f64)> {
    let outright = OUTRIGHT.into_iter().map(move |(way, weight)| (border + (1.0 - border) * way, weight));
    let multiples = MULTIPLES.into_iter().map(move |(factor, weight)| (border * factor, weight));
    let all = outright.chain(multiples).chain([(guessed, GUESSED)]);
    all.map(|(share, weight)| (share.min(SHARE_MAX), weight))
}

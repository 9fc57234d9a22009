//! Evidence that the canary is worse than the baseline by more than the tolerance.
//!
//! Nobody knows beforehand how bad a bad canary is, nor when it turns bad. So the stake is spread, and everything is a
//! weighted mean of test martingales, hence one itself:
//! - **over how bad**: a few fixed alternatives, from twice the baseline's share to total failure, need no learning and
//!   settle large faults within a handful of requests; one that is guessed from the canary's past finds the rest;
//! - **over when**: part of the stake is kept back and enters bit by bit ([`crate::reserve`]).

use serde::{Deserialize, Serialize};

use crate::{block::Block, projection::Rates};

/// Shares of the way from the null's border to "everything fails", with their weights in the stake. Few are enough:
/// a bet on 30 % wins on a total failure almost as fast as a bet on that would. Simulated at 30 % and 5 % errors, the
/// mean time to the verdict is 6 % and 8 % above that of a bettor who knows the share beforehand.
const OUTRIGHT: [(f64, f64); 2] = [(0.045, 0.3), (0.3, 0.5)];
/// Multiples of the border's share, with their weights: for canaries that are a few times worse than a good baseline.
const MULTIPLES: [(f64, f64); 2] = [(2.5, 0.05), (8.0, 0.1)];
/// Weight of the alternative that is guessed from the canary's past.
const GUESSED: f64 = 0.05;
/// Alternatives in all.
const ALTERNATIVES: usize = OUTRIGHT.len() + MULTIPLES.len() + 1;
const _: () = {
    let sum = OUTRIGHT[0].1 + OUTRIGHT[1].1 + MULTIPLES[0].1 + MULTIPLES[1].1 + GUESSED;
    assert!((sum - 1.0).abs() < 1e-12, "the weights share one stake");
};

/// Beyond this share there is no room left for a worse canary, and nothing is bet.
const BORDER_MAX: f64 = 0.99;
/// Alternatives end here, so that no single outcome is held impossible.
const SHARE_MAX: f64 = 0.999;

/// Wealth beyond this is thrown away; it is far above what any `alpha` needs.
const WEALTH_MAX: f64 = 1e200;

/// The wealth of each alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorseTest {
    wealth: [f64; ALTERNATIVES],
}

impl WorseTest {
    pub(crate) fn new() -> Self {
        Self { wealth: [0.0; ALTERNATIVES] }
    }

    /// Bets on a block, after `entering` came out of the reserve. `guess` was made before its outcomes were known.
    pub(crate) fn bet(&mut self, entering: f64, block: &Block, guess: Rates, tolerance: f64) {
        let border = guess.baseline + tolerance;
        for (wealth, (share, weight)) in self.wealth.iter_mut().zip(alternatives(border, guess.canary)) {
            *wealth += entering * weight;
            if border < share && border < BORDER_MAX {
                let alternative = Rates { baseline: guess.baseline, canary: share };
                *wealth = (*wealth * block.payout(alternative, tolerance)).min(WEALTH_MAX);
            }
        }
    }

    /// The e-value, if `kept` is what has not entered yet.
    pub(crate) fn e_value(&self, kept: f64) -> f64 {
        self.wealth.iter().sum::<f64>() + kept
    }
}

/// The canary's shares that are bet on, with their weights, for a null that ends at the share `border`.
fn alternatives(border: f64, guessed: f64) -> impl Iterator<Item = (f64, f64)> {
    let outright = OUTRIGHT.into_iter().map(move |(way, weight)| (border + (1.0 - border) * way, weight));
    let multiples = MULTIPLES.into_iter().map(move |(factor, weight)| (border * factor, weight));
    let all = outright.chain(multiples).chain([(guessed, GUESSED)]);
    all.map(|(share, weight)| (share.min(SHARE_MAX), weight))
}

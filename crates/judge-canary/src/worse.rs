//! Evidence that the canary is worse than the baseline by more than the tolerance.
//!
//! Nobody knows beforehand how bad a bad canary is, nor when it turns bad. So the stake is spread, and everything is a
//! weighted mean of test martingales, hence one itself:
//! - **over how bad**: a few fixed alternatives, from twice the baseline's share to total failure, need no learning and
//!   settle large faults within a handful of requests; one that is guessed from the canary's past finds the rest;
//! - **over when**: part of the stake is kept back and enters bit by bit ([`crate::reserve`]).

use serde::{Deserialize, Serialize};

use crate::{block::Block, projection::Rates};

/// Shares of the way from the null's border to "everything fails". Few are enough: a bet on 30 % wins on a total failure
/// almost as fast as a bet on that would. Simulated at 30 % and 5 % errors, the mean time to the verdict is 6 % and 8 %
/// above that of a bettor who knows the share beforehand.
const OUTRIGHT: [f64; 2] = [0.045, 0.3];
/// Multiples of the border's share: for canaries that are a few times worse than a good baseline.
const MULTIPLES: [f64; 2] = [2.5, 8.0];
/// Alternatives: those, and the one that is guessed from the canary's past.
const ALTERNATIVES: usize = OUTRIGHT.len() + MULTIPLES.len() + 1;
/// How the stake is spread over them, in this order.
const WEIGHTS: [f64; ALTERNATIVES] = [0.3, 0.5, 0.05, 0.1, 0.05];
const _: () = assert!((WEIGHTS[0] + WEIGHTS[1] + WEIGHTS[2] + WEIGHTS[3] + WEIGHTS[4] - 1.0).abs() < 1e-12);

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
        let shares = shares(border, guess.canary);
        let payouts = block.payouts(guess.baseline, shares, tolerance);
        for ((wealth, weight), (share, payout)) in
            self.wealth.iter_mut().zip(WEIGHTS).zip(shares.into_iter().zip(payouts))
        {
            *wealth += entering * weight;
            if border < share && border < BORDER_MAX {
                *wealth = (*wealth * payout).min(WEALTH_MAX);
            }
        }
    }

    /// The e-value, if `kept` is what has not entered yet.
    pub(crate) fn e_value(&self, kept: f64) -> f64 {
        self.wealth.iter().sum::<f64>() + kept
    }
}

/// The canary's shares that are bet on, for a null that ends at the share `border`.
fn shares(border: f64, guessed: f64) -> [f64; ALTERNATIVES] {
    let outright = |way: f64| border + (1.0 - border) * way;
    let [a, b] = OUTRIGHT;
    let [c, d] = MULTIPLES;
    [outright(a), outright(b), border * c, border * d, guessed].map(|share| share.min(SHARE_MAX))
}

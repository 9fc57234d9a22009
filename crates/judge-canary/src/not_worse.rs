//! Evidence that the canary is *not* worse than the baseline by more than a margin.
//!
//! The mirror of [`crate::worse`]: the null is "worse by at least the margin", and the bets are on a canary that behaves
//! like the baseline, or as it was seen to behave. A canary passes a gate only while this evidence stands.
//!
//! Wealth above a cap is thrown away (that keeps it a test supermartingale): an hour of good behaviour at 1 % must not
//! outweigh trouble that begins at 50 %.

use serde::{Deserialize, Serialize};

use crate::{block::Block, projection::Rates, worse::ln_add};

/// Smallest margin that can be shown: with a margin of zero, two equal versions could never be told apart from a canary
/// that is a hair worse. Half a percentage point takes about a thousand canary requests beside a good baseline.
pub const MARGIN_MIN: f64 = 0.005;

/// How far wealth may rise above what is needed, as a natural logarithm: about twenty-fold.
const LN_SPARE: f64 = 3.0;

/// Alternatives: as the baseline, and as guessed.
const BETS: usize = 2;

/// The wealth of each alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NotWorseTest {
    /// Natural logarithms.
    ln_wealth: [f64; BETS],
}

impl NotWorseTest {
    pub(crate) fn new() -> Self {
        Self { ln_wealth: [-(BETS as f64).ln(); BETS] }
    }

    /// Bets on a block. `guess` was made before its outcomes were known; `ln_needed` is what the e-value has to reach.
    pub(crate) fn bet(&mut self, block: &Block, guess: Rates, margin: f64, ln_needed: f64) {
        let border = guess.baseline + margin;
        if 1.0 <= border {
            return;
        }
        // Half-way to the border at most: a bet on the border itself wins nothing.
        let seen = guess.canary.min(guess.baseline + margin / 2.0);
        for (ln_wealth, canary) in self.ln_wealth.iter_mut().zip([guess.baseline, seen]) {
            let payout = block.ln_payout(Rates { baseline: guess.baseline, canary }, margin);
            *ln_wealth = (*ln_wealth + payout).clamp(f64::MIN, ln_needed + LN_SPARE);
        }
    }

    /// Natural logarithm of the e-value.
    pub(crate) fn ln_e(&self) -> f64 {
        self.ln_wealth.iter().fold(f64::MIN, |sum, ln_wealth| ln_add(sum, *ln_wealth))
    }
}

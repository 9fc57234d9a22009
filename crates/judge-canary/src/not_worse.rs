//! Evidence that the canary is *not* worse than the baseline by more than a margin.
//!
//! The mirror of [`crate::worse`]: the null is "worse by at least the margin", and the bet is on a canary that behaves
//! like the baseline, and more and more as it was seen to behave. A canary passes a gate only while this evidence stands.
//!
//! Two things keep it about the present. Wealth above a cap is thrown away (that keeps it a test supermartingale): an
//! hour of good behaviour at 1 % must not outweigh trouble that begins at 50 %. And part of the stake enters later
//! ([`crate::reserve`]): a hiccup in the first seconds must not bar the gate for hours.

use serde::{Deserialize, Serialize};

use crate::{block::Block, projection::Rates};

/// Smallest margin that can be shown: with a margin of zero, two equal versions could never be told apart from a canary
/// that is a hair worse. Half a percentage point takes about 600 canary requests (median) beside a baseline of 0.1 %,
/// 3,600 beside one of 1 %.
pub const MARGIN_MIN: f64 = 0.005;

/// How far wealth may rise above what is needed.
const SPARE: f64 = 20.0;

/// The wealth of the bet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NotWorseTest {
    wealth: f64,
}

impl NotWorseTest {
    /// Bets on a block, after `entering` came out of the reserve. `guess` was made before its outcomes were known;
    /// `needed` is what the e-value has to reach.
    pub(crate) fn bet(&mut self, entering: f64, block: &Block, guess: Rates, margin: f64, needed: f64) {
        // With hardly anything good left in the baseline nothing can be worse by the margin, nor be shown not to be.
        let hopeless = 1.0 <= guess.baseline + margin;
        // Half-way to the border at most: a bet on the border itself wins nothing.
        let seen = guess.canary.min(guess.baseline + margin / 2.0);
        self.wealth += entering;
        if !hopeless {
            let payout = block.payout(Rates { baseline: guess.baseline, canary: seen }, margin);
            self.wealth = (self.wealth * payout).min(needed * SPARE);
        }
    }

    /// The e-value, if `kept` is what has not entered yet.
    pub(crate) fn e_value(&self, kept: f64) -> f64 {
        self.wealth + kept
    }
}

//! One block of the sequential test: what both groups saw in the same short time, and the bet on it.
//!
//! Intuition: before the block is looked at, one unit of money is staked on an alternative ("baseline 0.1 % bad, canary
//! 30 %"). The pay-out is how much more likely the alternative makes the block than the null's best explanation of that
//! alternative does. Whoever bets against a true null does not gain on average, whatever the true rates are: that is
//! what makes the pay-out an *E-variable*, and the product over blocks a test martingale.
//!
//! Why it cannot gain. With `p` the projection of the alternative `a` onto the border of the null, the expected pay-out
//! under rates `theta` is `f_b^n_b · f_c^n_c`, where `f_g = 1 + (theta_g − p_g)(a_g − p_g) / (p_g (1 − p_g))`. By the
//! inequality of weighted means that is at most `((n_b f_b + n_c f_c) / n)^n`; the sum is `n` minus the derivative of the
//! projected divergence towards `theta`, which is not negative for any `theta` in the null, because `p` minimises a
//! convex function over a convex set. If rates differ from request to request, the same holds for their group means.
//! So it is enough that in every block the canary's mean rate is within the null beside the baseline's mean rate: the
//! common rate may drift from block to block as it likes.
//!
//! Invariant: the sizes of a block, and the alternative bet on it, are fixed without looking at its outcomes.

use std::ops::RangeInclusive;

use homeostat_model::evidence::EventCounts;
use serde::{Deserialize, Serialize};

use crate::projection::{Rates, onto_border};

/// What baseline and canary counted over the same ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// The baseline's events.
    pub(crate) baseline: EventCounts,
    /// The canary's events.
    pub(crate) canary: EventCounts,
}

impl Block {
    /// Whether both groups have events, so that there is something to compare.
    pub(crate) fn is_two_sided(&self) -> bool {
        self.baseline.total() > 0 && self.canary.total() > 0
    }

    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.baseline.total() == 0 && self.canary.total() == 0
    }

    /// Pay-outs of bets of 1 on alternatives that share the baseline's rate and differ in the canary's, against a null
    /// bordered by `canary = baseline + margin`. Each is an E-variable if its alternative lies on the other side of that
    /// border than the null. Finite, not negative.
    ///
    /// All at once, because the counts are the same for all: twice as fast as one by one.
    pub(crate) fn payouts<const N: usize>(&self, baseline: f64, canary: [f64; N], margin: f64) -> [f64; N] {
        let (n_baseline, n_canary) = (self.baseline.total() as f64, self.canary.total() as f64);
        let bets = canary.map(|canary| {
            let alternative = Rates { baseline, canary };
            Bet { alternative, null: onto_border(alternative, n_baseline, n_canary, margin) }
        });
        let factors = [
            powers(bets.map(|bet| bet.alternative.baseline / bet.null.baseline), self.baseline.bad),
            powers(bets.map(|bet| (1.0 - bet.alternative.baseline) / (1.0 - bet.null.baseline)), self.baseline.good),
            powers(bets.map(|bet| bet.alternative.canary / bet.null.canary), self.canary.bad),
            powers(bets.map(|bet| (1.0 - bet.alternative.canary) / (1.0 - bet.null.canary)), self.canary.good),
        ];
        let mut payouts = [1.0; N];
        for factor in &factors {
            for (payout, factor) in payouts.iter_mut().zip(factor) {
                // Not a number sticks, whatever it is multiplied by.
                *payout *= if FACTORS.contains(factor) { *factor } else { f64::NAN };
            }
        }
        for (payout, bet) in payouts.iter_mut().zip(&bets) {
            if payout.is_nan() {
                *payout = self.payout_in_logarithms(bet);
            }
        }
        payouts
    }

    /// The same for one alternative.
    pub(crate) fn payout(&self, alternative: Rates, margin: f64) -> f64 {
        let [payout] = self.payouts(alternative.baseline, [alternative.canary], margin);
        payout
    }

    fn payout_in_logarithms(&self, bet: &Bet) -> f64 {
        let ln_payout = ln_ratio(self.baseline, bet.alternative.baseline, bet.null.baseline)
            + ln_ratio(self.canary, bet.alternative.canary, bet.null.canary);
        ln_payout.min(LN_PAYOUT_MAX).exp()
    }
}

/// What is bet on, and what it is measured against.
#[derive(Clone, Copy, Debug)]
struct Bet {
    alternative: Rates,
    null: Rates,
}

/// Factors whose product of four stays within the range of numbers; blocks beyond are reckoned in logarithms.
const FACTORS: RangeInclusive<f64> = 1e-70..=1e70;
/// Whoever wins more than `e^600` in one block has won.
const LN_PAYOUT_MAX: f64 = 600.0;

impl std::ops::AddAssign for Block {
    fn add_assign(&mut self, other: Self) {
        self.baseline += other.baseline;
        self.canary += other.canary;
    }
}

/// `bases` to the power `exponent` by squaring: a few multiplications for the counts of a tick, and the same bits on
/// every machine.
fn powers<const N: usize>(mut bases: [f64; N], mut exponent: u64) -> [f64; N] {
    let mut results = [1.0; N];
    while exponent > 0 {
        // A choice of factors, not a jump: counts are random, and a processor cannot guess their bits.
        let odd = exponent & 1 == 1;
        for (result, base) in results.iter_mut().zip(&mut bases) {
            *result *= if odd { *base } else { 1.0 };
            *base *= *base;
        }
        exponent >>= 1;
    }
    results
}

/// How much likelier `counts` are at the bad share `a` than at `p`, as a natural logarithm.
fn ln_ratio(counts: EventCounts, a: f64, p: f64) -> f64 {
    let bad = if counts.bad == 0 { 0.0 } else { counts.bad as f64 * (a / p).ln() };
    // Near 1 the ratio of the good shares loses digits; its distance from 1 does not.
    bad + counts.good as f64 * ((p - a) / (1.0 - p)).ln_1p()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(total: u64, bad: u64) -> EventCounts {
        EventCounts { good: total - bad, bad }
    }

    fn choose(n: u64, k: u64) -> f64 {
        (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product()
    }

    fn binomial(n: u64, k: u64, p: f64) -> f64 {
        choose(n, k) * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)
    }

    /// Mean pay-out over all outcomes of a block, exactly.
    fn mean_payout(n_b: u64, n_c: u64, theta: Rates, alternative: Rates, margin: f64) -> f64 {
        let outcomes = (0..=n_b).flat_map(|k_b| (0..=n_c).map(move |k_c| (k_b, k_c)));
        outcomes
            .map(|(k_b, k_c)| {
                let block = Block { baseline: counts(n_b, k_b), canary: counts(n_c, k_c) };
                let chance = binomial(n_b, k_b, theta.baseline) * binomial(n_c, k_c, theta.canary);
                chance * block.payout(alternative, margin)
            })
            .sum()
    }

    fn rate() -> impl Strategy<Value = f64> {
        prop_oneof![1e-5..1e-2_f64, 0.01..0.99_f64]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// "Canary not worse by more than the margin" is true: betting on "worse" does not gain on average.
        #[test]
        fn betting_on_worse_against_a_true_null_does_not_gain(
            n_b in 1..12_u64, n_c in 1..6_u64, margin in prop_oneof![Just(0.0), 1e-4..0.2_f64],
            theta_b in 0.0..1.0_f64, below in 0.0..=1.0_f64, a_b in rate(), above in 0.001..0.999_f64,
        ) {
            let theta = Rates { baseline: theta_b, canary: (theta_b + margin).min(1.0) * below };
            prop_assume!(a_b + margin < 0.99);
            let alternative = Rates { baseline: a_b, canary: a_b + margin + (1.0 - a_b - margin) * above };
            let mean = mean_payout(n_b, n_c, theta, alternative, margin);
            prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
        }

        /// "Canary worse by at least the margin" is true: betting on "not worse" does not gain on average.
        #[test]
        fn betting_on_not_worse_against_a_true_null_does_not_gain(
            n_b in 1..12_u64, n_c in 1..6_u64, margin in 1e-4..0.2_f64,
            theta_b in 0.0..1.0_f64, excess in 0.0..=1.0_f64, a_b in rate(), below in 0.001..0.999_f64,
        ) {
            prop_assume!(theta_b + margin <= 1.0);
            let theta = Rates { baseline: theta_b, canary: theta_b + margin + (1.0 - theta_b - margin) * excess };
            let alternative = Rates { baseline: a_b, canary: (a_b + margin).min(1.0) * below };
            let mean = mean_payout(n_b, n_c, theta, alternative, margin);
            prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
        }
    }

    /// Under the projection itself the mean is exactly 1: nothing is given away.
    #[test]
    fn on_the_projection_itself_the_bet_is_fair() {
        let alternative = Rates { baseline: 0.01, canary: 0.3 };
        for margin in [0.0, 0.02] {
            let theta = onto_border(alternative, 4.0, 2.0, margin);
            let mean = mean_payout(4, 2, theta, alternative, margin);
            assert!((mean - 1.0).abs() < 1e-12, "{mean}");
        }
    }

    #[test]
    fn large_counts_neither_overflow_nor_lose_their_digits() {
        let alternative = Rates { baseline: 0.001, canary: 0.3 };
        for (baseline, canary) in [
            (counts(1_000_000, 1_000_000), counts(1_000_000, 0)),
            (counts(1_000_000, 0), counts(1_000_000, 1_000_000)),
            (counts(u64::MAX, 0), counts(u64::MAX, 0)),
            (counts(u64::MAX, u64::MAX), counts(u64::MAX, u64::MAX)),
        ] {
            let payout = Block { baseline, canary }.payout(alternative, 0.0);
            assert!(payout.is_finite() && payout >= 0.0, "{payout} for {baseline:?} {canary:?}");
        }
        let block = Block { baseline: counts(190, 1), canary: counts(10, 2) };
        let null = onto_border(alternative, 190.0, 10.0, 0.0);
        let in_logarithms = ln_ratio(block.baseline, 0.001, null.baseline) + ln_ratio(block.canary, 0.3, null.canary);
        assert!((block.payout(alternative, 0.0).ln() - in_logarithms).abs() < 1e-12);
    }
}

//! The member of the null hypothesis that explains an alternative best.
//!
//! Both nulls of the canary test have the same border, `theta_canary = theta_baseline + margin`; they lie on either side
//! of it. An alternative outside a null is explained best by a point on that border: the one that minimises
//! `n_b KL(a_b ‖ s) + n_c KL(a_c ‖ s + margin)`, the reverse information projection. With a margin of zero that is the
//! pooled mean; otherwise it is the one root of a cubic between the two groups, found here by Newton's method inside a
//! bracket that always shrinks.
//!
//! Not here: what the projection is good for ([`crate::block`]).
//! Source: Turner, Ly, Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
//! stopping" (arXiv 2106.02693), section on convex nulls.

/// Bad shares of the two groups, both strictly between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    /// Bad share of the baseline.
    pub(crate) baseline: f64,
    /// Bad share of the canary.
    pub(crate) canary: f64,
}

/// Newton steps and bisections at most. Newton needs 3 to 8; bisection alone would reach the last bit of a number
/// above 1e-9 within 83.
const STEPS_MAX: usize = 96;

/// Relative step that is the last one. Each step squares the relative error, so what is left after this one is below the
/// resolution of the numbers.
const SETTLED: f64 = 1e-8;

/// Projects `alternative` onto the border `canary = baseline + margin` for groups of `n_baseline` and `n_canary` events.
///
/// Needs `0 <= margin < 1`, positive counts and rates strictly inside (0, 1). The result lies strictly inside as well.
pub(crate) fn onto_border(alternative: Rates, n_baseline: f64, n_canary: f64, margin: f64) -> Rates {
    let (first, second) = (alternative.baseline, alternative.canary - margin);
    let pooled = (n_baseline * first + n_canary * second) / (n_baseline + n_canary);
    if margin <= 0.0 {
        return Rates { baseline: pooled, canary: pooled };
    }
    let mut low = first.min(second).max(0.0);
    let mut high = first.max(second).min(1.0 - margin);
    // A multiple of the derivative that has no poles: below 0 left of the minimum, above 0 right of it.
    let slope = |s: f64| {
        let shifted = s + margin;
        n_baseline * (s - first) * shifted * (1.0 - shifted) + n_canary * (s - second) * s * (1.0 - s)
    };
    let slope_change = |s: f64| {
        let shifted = s + margin;
        n_baseline * (shifted * (1.0 - shifted) + (s - first) * (1.0 - 2.0 * shifted))
            + n_canary * (s * (1.0 - s) + (s - second) * (1.0 - 2.0 * s))
    };
    let mut at = pooled.clamp(low, high);
    for _ in 0..STEPS_MAX {
        let value = slope(at);
        if value > 0.0 {
            high = at;
        } else {
            low = at;
        }
        let newton = at - value / slope_change(at);
        if (newton - at).abs() <= SETTLED * at {
            at = newton.clamp(low, high);
            break;
        }
        at = if low < newton && newton < high { newton } else { f64::midpoint(low, high) };
    }
    Rates { baseline: at, canary: at + margin }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kl(a: f64, p: f64) -> f64 {
        a * (a / p).ln() + (1.0 - a) * ((1.0 - a) / (1.0 - p)).ln()
    }

    #[test]
    fn without_margin_it_is_the_pooled_mean() {
        let found = onto_border(Rates { baseline: 0.1, canary: 0.4 }, 3.0, 1.0, 0.0);
        assert!((found.baseline - 0.175).abs() < 1e-15 && found.baseline.total_cmp(&found.canary).is_eq(), "{found:?}");
    }

    proptest! {
        /// The derivative vanishes, and no other point of a fine grid on the border explains the alternative better.
        #[test]
        fn nothing_on_the_border_is_closer(
            a_b in 1e-6..0.999_f64, a_c in 1e-6..0.999_f64, n_b in 1..5_000_u32, n_c in 1..5_000_u32, margin in 1e-4..0.5_f64,
        ) {
            let (n_b, n_c) = (f64::from(n_b), f64::from(n_c));
            let found = onto_border(Rates { baseline: a_b, canary: a_c }, n_b, n_c, margin);
            let (s, q) = (found.baseline, found.canary);
            prop_assert!(0.0 < s && q < 1.0, "{found:?}");
            let cost = |s: f64| n_b * kl(a_b, s) + n_c * kl(a_c, s + margin);
            let best = cost(s);
            for i in 1..1_000 {
                let other = (1.0 - margin) * f64::from(i) / 1_000.0;
                prop_assert!(best <= cost(other) + 1e-9 * (1.0 + best), "{found:?} loses to {other}");
            }
            let pull = n_b * (s - a_b) / (s * (1.0 - s)) + n_c * (q - a_c) / (q * (1.0 - q));
            prop_assert!(pull.abs() < 1e-6 * (n_b + n_c), "derivative {pull} at {found:?}");
        }
    }
}

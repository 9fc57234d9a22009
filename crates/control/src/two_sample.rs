//! Comparing bad shares when verifying: two textbook formulas, used once per verification and not per tick.
//!
//! Not here: the test that rolls back; that one may be asked at every instant and is `judge-canary`'s.

use homeostat_model::evidence::EventCounts;

/// Standard normal quantile for one-sided 0.1 %: a verification decides about traffic, so it has to be sure.
const Z_SURE: f64 = 3.09;

/// Upper end of the bad share behind `counts`, one-sided at 0.1 %; 1 when there were no events.
/// Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
pub(crate) fn bad_share_upper(counts: EventCounts) -> f64 {
    let n = counts.total() as f64;
    let Some(share) = counts.bad_share() else { return 1.0 };
    let z2 = Z_SURE * Z_SURE;
    let centre = share + z2 / (2.0 * n);
    let spread = Z_SURE * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre + spread) / (1.0 + z2 / n)).min(1.0)
}

/// Whether `a` is bad more often than `b`, surely: pooled two-proportion z-test, one-sided at 0.1 %. No events, no proof.
pub(crate) fn surely_worse(a: EventCounts, b: EventCounts) -> bool {
    let (Some(share_a), Some(share_b)) = (a.bad_share(), b.bad_share()) else { return false };
    let (n_a, n_b) = (a.total() as f64, b.total() as f64);
    let pooled = (a.bad as f64 + b.bad as f64) / (n_a + n_b);
    let spread = (pooled * (1.0 - pooled) * (1.0 / n_a + 1.0 / n_b)).sqrt();
    spread > 0.0 && Z_SURE < (share_a - share_b) / spread
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(bad: u64, total: u64) -> EventCounts {
        EventCounts { good: total - bad, bad }
    }

    #[test]
    fn few_events_leave_room() {
        // Checked against the closed form for zero successes: z² / (n + z²).
        assert!((bad_share_upper(counts(0, 100)) - 0.087_16).abs() < 1e-4);
        assert!(bad_share_upper(counts(0, 100_000)) < 0.000_1);
        assert!((bad_share_upper(counts(0, 0)) - 1.0).abs() < f64::EPSILON);
        assert!((0.45..0.46).contains(&bad_share_upper(counts(30, 100))));
    }

    #[test]
    fn only_clear_differences_count() {
        assert!(surely_worse(counts(30, 100), counts(1, 1_000)));
        assert!(!surely_worse(counts(30, 100), counts(290, 1_000)));
        assert!(!surely_worse(counts(1, 1_000), counts(30, 100)));
        assert!(!surely_worse(counts(1, 1), counts(0, 3)));
        assert!(!surely_worse(counts(0, 0), counts(0, 3)));
        assert!(!surely_worse(counts(5, 5), counts(5, 5)));
    }
}

//! From what was counted between the first and the last sample of a window to what the whole window counts.
//!
//! Intuition: samples seldom lie on the window's ends. Where an end is about as far from the nearest sample as samples are
//! from each other, the series is taken to go on until there; where it is farther, the series is taken to begin or end
//! half a distance outside of its samples. A counter is never carried back to before it was zero.
//!
//! Source: prometheus.io/docs/prometheus/latest/querying/functions (`rate`), and `extrapolatedRate` of Prometheus.

use homeostat_model::TimeMs;

/// An end is near when it is at most so many mean distances away: a tenth of tolerance for jitter.
const NEAR: f64 = 1.1;

/// Where a window and the samples in it lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coverage {
    /// Left end of the window, not in it.
    pub(super) start_ms: TimeMs,
    /// Right end of the window.
    pub(super) end_ms: TimeMs,
    /// The first sample.
    pub(super) first_ms: TimeMs,
    /// The last sample, later than the first.
    pub(super) last_ms: TimeMs,
    /// How many samples, at least 2.
    pub(super) samples: usize,
}

/// What keeps a counter from being carried back to below zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct CounterStart {
    /// Value of the first sample.
    pub(super) first: f64,
    /// What was counted between the first and the last sample.
    pub(super) counted: f64,
}

impl Coverage {
    /// The factor from what was counted between the samples to the whole window; `counter` limits how far back a counter
    /// is carried.
    pub(super) fn factor(self, counter: Option<CounterStart>) -> f64 {
        let sampled_s = seconds(self.first_ms, self.last_ms);
        let distance_s = sampled_s / (self.samples - 1) as f64;
        let mut before_s = to_end(seconds(self.start_ms, self.first_ms), distance_s);
        if let Some(CounterStart { first, counted }) = counter
            && counted > 0.0
            && first >= 0.0
        {
            let to_zero_s = sampled_s * (first / counted);
            if to_zero_s < before_s {
                before_s = to_zero_s;
            }
        }
        let after_s = to_end(seconds(self.last_ms, self.end_ms), distance_s);
        (sampled_s + before_s + after_s) / sampled_s
    }
}

/// Where the samples of a counter lie that began within the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    /// When it began, at zero; before its first sample.
    pub(super) zero_ms: TimeMs,
    /// Right end of the window.
    pub(super) end_ms: TimeMs,
    /// The first sample.
    pub(super) first_ms: TimeMs,
    /// The last sample; may be the first one.
    pub(super) last_ms: TimeMs,
    /// How many samples, at least 1.
    pub(super) samples: usize,
}

impl Beginning {
    /// The factor from what was counted until the last sample to the whole window: nothing was counted before the
    /// beginning. With a single sample it is not known how far apart samples are, and nothing is added behind it.
    pub(super) fn factor(self) -> f64 {
        let counted_s = seconds(self.zero_ms, self.last_ms);
        let distances = self.samples.saturating_sub(1).max(1) as f64;
        let distance_s = seconds(self.first_ms, self.last_ms) / distances;
        let after_s = to_end(seconds(self.last_ms, self.end_ms), distance_s);
        (counted_s + after_s) / counted_s
    }
}

/// How far to go from a sample towards an end.
fn to_end(gap_s: f64, distance_s: f64) -> f64 {
    if gap_s >= distance_s * NEAR { distance_s / 2.0 } else { gap_s }
}

fn seconds(from_ms: TimeMs, to_ms: TimeMs) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1000.0
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these calculations are exact")]
mod tests {
    use super::*;

    fn coverage(start_ms: TimeMs, times: &[TimeMs], end_ms: TimeMs) -> Coverage {
        Coverage { start_ms, end_ms, first_ms: times[0], last_ms: times[times.len() - 1], samples: times.len() }
    }

    #[test]
    fn near_ends_are_reached() {
        // 10 s apart, 4 s and 6 s to the ends: 30 s stand for 40 s.
        let window = coverage(0, &[4_000, 14_000, 24_000, 34_000], 40_000);
        assert_eq!(window.factor(None), 40.0 / 30.0);
    }

    #[test]
    fn far_ends_are_half_a_distance_away() {
        // 25 s to the left end is farther than 11 s, so 5 s; 11 s to the right end is not nearer than 11 s, so 5 s.
        let window = coverage(0, &[25_000, 35_000, 45_000], 56_000);
        assert_eq!(window.factor(None), 30.0 / 20.0);
        let window = coverage(0, &[25_000, 35_000, 45_000], 55_999);
        assert_eq!(window.factor(None), (20.0 + 5.0 + 10.999) / 20.0);
    }

    #[test]
    fn counters_do_not_begin_below_zero() {
        // 1 at the first sample, 100 counted in 100 s: it was zero 1 s before.
        let window = coverage(0, &[5_000, 105_000], 105_000);
        let limit = |first, counted| Some(CounterStart { first, counted });
        assert_eq!(window.factor(limit(1.0, 100.0)), 101.0 / 100.0);
        assert_eq!(window.factor(limit(50.0, 100.0)), 105.0 / 100.0);
        assert_eq!(window.factor(limit(0.0, 100.0)), 1.0);
        // A counter below zero, one that stands still and one that is NaN are not limited.
        for unlimited in [limit(-1.0, 100.0), limit(1.0, 0.0), limit(f64::NAN, f64::NAN), None] {
            assert_eq!(window.factor(unlimited), 105.0 / 100.0);
        }
    }
}

//! Which samples of a series a query looks at, when its windows leave gaps.
//!
//! A month at one-hour steps looks at five minutes of every hour. What lies in between is walked over, because packed
//! samples build on those before them, but it is neither turned into floats nor handed on.
//!
//! Invariant: asked in order of time, it lets through what lies in a window, all of it and nothing else.

use homeostat_model::TimeMs;
use homeostat_promql::Windows;

/// Lets samples through that lie in one of some windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sieve {
    windows: Windows,
    /// The window at hand: begins behind `from_ms`, ends with `to_ms`.
    from_ms: TimeMs,
    to_ms: TimeMs,
}

impl Sieve {
    pub(crate) fn new(windows: Windows) -> Self {
        let mut sieve = Self { windows, from_ms: TimeMs::MAX, to_ms: TimeMs::MIN };
        sieve.go_to(windows.first_ms);
        sieve
    }

    /// Returns true for a sample within a window; times must not go back.
    #[inline]
    pub(crate) fn has(&mut self, t_ms: TimeMs) -> bool {
        if self.to_ms < t_ms {
            self.go_to(t_ms);
        }
        self.from_ms < t_ms
    }

    /// Goes to the first window that ends at `t_ms` or later.
    fn go_to(&mut self, t_ms: TimeMs) {
        let Windows { first_ms, step_ms, width_ms } = self.windows;
        let step = i128::from(step_ms.max(1));
        let steps = ((i128::from(t_ms) - i128::from(first_ms) + step - 1) / step).max(0);
        let end = i128::from(first_ms) + steps * step;
        self.to_ms = end.min(TimeMs::MAX.into()) as TimeMs;
        self.from_ms = (end - i128::from(width_ms)).clamp(TimeMs::MIN.into(), TimeMs::MAX.into()) as TimeMs;
    }

    /// Returns false when nothing from `from_ms` to `to_ms`, both inclusive, is let through; true is a guess for a
    /// time as long as a gap.
    pub(crate) fn reaches(&self, from_ms: TimeMs, to_ms: TimeMs) -> bool {
        // Longer than a gap: the arithmetic is spared.
        self.windows.step_ms - self.windows.width_ms <= to_ms.saturating_sub(from_ms)
            || self.windows.reach(from_ms, to_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_lies_in_a_window_passes(
            mut times in proptest::collection::vec(-500_i64..500, 0..100),
            first_ms in -300_i64..300,
            step_ms in 1_i64..60,
            width_ms in 1_i64..60,
        ) {
            times.sort_unstable();
            let mut sieve = Sieve::new(Windows { first_ms, step_ms, width_ms });
            for t in times {
                let within = (0..1000).map(|step| first_ms + step * step_ms).any(|end| end - width_ms < t && t <= end);
                prop_assert_eq!(sieve.has(t), within, "{}", t);
            }
        }
    }

    #[test]
    fn the_ends_of_time_are_no_exception() {
        let mut sieve = Sieve::new(Windows { first_ms: i64::MAX - 5, step_ms: 10, width_ms: 3 });
        assert!(!sieve.has(i64::MIN) && !sieve.has(i64::MAX - 8) && sieve.has(i64::MAX - 7));
        assert!(!sieve.has(i64::MAX));
        assert!(sieve.reaches(i64::MIN, i64::MAX) && sieve.reaches(i64::MAX - 9, i64::MAX - 7));
        assert!(!sieve.reaches(i64::MAX - 9, i64::MAX - 8) && !sieve.reaches(i64::MAX - 4, i64::MAX));
    }
}

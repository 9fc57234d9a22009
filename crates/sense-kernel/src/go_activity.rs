//! What Go's runtime does to a program: how long it stops the world, how often it collects, and when that is too much.

use std::time::Duration;

use crate::{activity::WAIT_UNIT_NS, histogram::Histogram};

/// Stops and collections of one process since it is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoActivity {
    /// Times in which no goroutine ran because the runtime had stopped all of them, in units of 1024 ns. From when it begins to
    /// stop them: goroutines that take long to stop count.
    pub pauses: Histogram,
    /// All of them together, in nanoseconds.
    pub stopped_ns: u64,
    /// The longest of all since the process is watched, in nanoseconds.
    pub longest_ns: u64,
    /// Collections that were begun; now and then two goroutines begin the same one.
    pub collections_begun: u64,
    /// Collections that marked everything.
    pub collections: u64,
    /// When the last pauses ended that were long by [`PAUSED_THE_WORLD`], ascending, in nanoseconds of a clock that never goes
    /// back. Eight are kept.
    pub long_at_ns: Vec<u64>,
}

impl GoActivity {
    /// The pause that a share `q` of all does not exceed, in milliseconds: wrong by less than a factor of two, and never above
    /// the longest.
    pub fn pause_quantile_ms(&self, q: f64) -> Option<f64> {
        self.pauses.quantile(q).map(|units| (units * WAIT_UNIT_NS / 1e6).min(self.longest_ns as f64 / 1e6))
    }

    /// What came since an earlier reading. The longest pause stays that of all the time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            pauses: self.pauses.since(&earlier.pauses),
            stopped_ns: less(self.stopped_ns, earlier.stopped_ns),
            longest_ns: self.longest_ns,
            collections_begun: less(self.collections_begun, earlier.collections_begun),
            collections: less(self.collections, earlier.collections),
            long_at_ns: self.long_at_ns.iter().filter(|at| !earlier.long_at_ns.contains(at)).copied().collect(),
        }
    }

    /// Adds that of another process. Pauses of different processes are not told together.
    pub fn add(&mut self, other: &Self) {
        self.pauses.add(&other.pauses);
        self.stopped_ns = self.stopped_ns.saturating_add(other.stopped_ns);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        self.collections_begun = self.collections_begun.saturating_add(other.collections_begun);
        self.collections = self.collections.saturating_add(other.collections);
        self.long_at_ns.clear();
    }
}

/// When pauses are worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseRule {
    /// In a few words, what happened.
    pub name: &'static str,
    /// Pauses of at least so long count.
    pub longer_than: Duration,
    /// So many of them.
    pub times: usize,
    /// From the first to the last.
    pub within: Duration,
    /// Why so.
    pub because: &'static str,
}

/// The rule that is told.
pub const PAUSED_THE_WORLD: PauseRule = PauseRule {
    name: "paused the world",
    longer_than: Duration::from_millis(5),
    times: 3,
    within: Duration::from_secs(10),
    because: "the runtime aims at pauses below a millisecond; one longer than 5 ms may be the machine's fault, three in 10 s \
              are in the requests' slowest percent at any rate of requests",
};

impl PauseRule {
    /// Whether pauses that were long and ended at these times, ascending, are too many.
    pub fn is_met(&self, long_at_ns: &[u64]) -> bool {
        let is_close = |some: &[u64]| {
            let ends = some.first().zip(some.last());
            ends.is_some_and(|(first, last)| u128::from(last.saturating_sub(*first)) <= self.within.as_nanos())
        };
        long_at_ns.windows(self.times.max(1)).any(is_close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn three_long_pauses_in_ten_seconds_are_told() {
        let met = |seconds: &[u64]| {
            let at: Vec<u64> = seconds.iter().map(|at| at * SECOND_NS).collect();
            PAUSED_THE_WORLD.is_met(&at)
        };
        assert!(met(&[100, 105, 110]) && met(&[3, 50, 52, 53]));
        assert!(!met(&[]) && !met(&[1, 2]) && !met(&[100, 105, 111]) && !met(&[1, 2, 20, 21, 40]));
    }

    fn activity(pauses: &[u64], longest_ns: u64, long_at_ns: &[u64]) -> GoActivity {
        GoActivity {
            pauses: pauses.iter().copied().collect(),
            stopped_ns: 1024 * pauses.iter().sum::<u64>(),
            longest_ns,
            collections_begun: pauses.len() as u64,
            collections: pauses.len() as u64 / 2,
            long_at_ns: long_at_ns.to_vec(),
        }
    }

    #[test]
    fn readings_are_subtracted_and_those_of_processes_added() {
        let (early, late) = (activity(&[10], 7, &[1]), activity(&[10, 9000, 50], 9_500_000, &[1, 8]));
        let between = late.since(&early);
        assert_eq!(
            between,
            GoActivity { collections_begun: 2, collections: 1, ..activity(&[9000, 50], 9_500_000, &[8]) }
        );
        assert_eq!(late.since(&GoActivity::default()), late);
        let mut sum = early.clone();
        sum.add(&between);
        assert_eq!(sum, GoActivity { long_at_ns: Vec::new(), ..late });
    }

    #[test]
    fn no_share_of_pauses_is_longer_than_the_longest() {
        let all = activity(&[9000], 9_216_000, &[]);
        assert_eq!(all.pause_quantile_ms(1.0), Some(9.216));
        assert_eq!(GoActivity::default().pause_quantile_ms(0.5), None);
    }
}

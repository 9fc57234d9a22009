//! Which time was measured: what is unmeasured is not uptime.
//!
//! Measured is all time since the judge began, whether or not there were requests: an idle service was watched. Not
//! measured are the time before, and the gaps that somebody reports because nobody counted (the process was down).
//! Coverage is exact in time, not rounded to slots: two minutes of restart are two minutes in every window.
//!
//! Invariant: gaps ascend and neither touch nor overlap; coverage is never overstated.

use homeostat_model::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Gaps kept per objective: one restart a day for a month, twice. Beyond that the two with the least measured time
/// between them become one.
pub const GAPS_MAX: usize = 64;

/// Unmeasured times, the first of them everything before the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Coverage {
    gaps: Vec<(Timestamp, Timestamp)>,
}

impl Coverage {
    /// Measured from `start` on.
    pub(crate) fn since(start: Timestamp) -> Self {
        Self { gaps: vec![(Timestamp::MIN, start)] }
    }

    /// Marks `from..to` as unmeasured. Gaps that touch or overlap are joined.
    pub(crate) fn add_gap(&mut self, from: Timestamp, to: Timestamp) {
        if to <= from {
            return;
        }
        let (mut from, mut to) = (from, to);
        self.gaps.retain(|(begin, end)| {
            let apart = to < *begin || *end < from;
            if !apart {
                (from, to) = (from.min(*begin), to.max(*end));
            }
            apart
        });
        let at = self.gaps.partition_point(|(begin, _)| *begin < from);
        self.gaps.insert(at, (from, to));
        if GAPS_MAX < self.gaps.len() {
            self.join_nearest();
        }
    }

    /// Forgets gaps that ended before `horizon`.
    pub(crate) fn forget_before(&mut self, horizon: Timestamp) {
        self.gaps.retain(|(_, end)| horizon < *end);
    }

    /// Returns the share of the last `window` up to `now` that was measured, 0 to 1.
    pub(crate) fn share(&self, now: Timestamp, window: Span) -> f64 {
        self.measured(now, window).ns() as f64 / window.ns().max(1) as f64
    }

    /// Returns how much of the last `window` up to `now` was measured.
    pub(crate) fn measured(&self, now: Timestamp, window: Span) -> Span {
        let begin = now - window;
        let unmeasured = self
            .gaps
            .iter()
            .fold(0, |sum: u64, (from, to)| sum.saturating_add((*to).min(now).since((*from).max(begin)).ns()));
        Span::from_ns(window.ns().saturating_sub(unmeasured))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.gaps.capacity() * size_of::<(Timestamp, Timestamp)>()
    }

    /// Whether the gaps are as the invariant says.
    pub(crate) fn is_sound(&self) -> bool {
        self.gaps.len() <= GAPS_MAX
            && self.gaps.iter().all(|(from, to)| from < to)
            && self.gaps.is_sorted_by(|(_, end), (begin, _)| end < begin)
    }

    fn join_nearest(&mut self) {
        let between = |pair: &[(Timestamp, Timestamp)]| match pair {
            [(_, end), (begin, _)] => begin.since(*end),
            _ => Span::from_ns(u64::MAX),
        };
        let nearest = self.gaps.windows(2).enumerate().min_by_key(|(_, pair)| between(pair)).map(|(at, _)| at);
        if let Some(at) = nearest
            && at + 1 < self.gaps.len()
        {
            let (_, end) = self.gaps.remove(at + 1);
            if let Some(first) = self.gaps.get_mut(at) {
                first.1 = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_ms(secs * 1_000)
    }

    /// The share in whole percent, which all expectations here are.
    fn percent(coverage: &Coverage, now_secs: i64) -> u64 {
        (coverage.share(at(now_secs), Span::from_secs(100)) * 100.0).round() as u64
    }

    #[test]
    fn time_before_the_start_and_gaps_are_not_covered() {
        let mut coverage = Coverage::since(at(100));
        assert_eq!([100, 150, 300].map(|at| percent(&coverage, at)), [0, 50, 100]);
        coverage.add_gap(at(210), at(220));
        coverage.add_gap(at(240), at(260));
        coverage.add_gap(at(220), at(230));
        coverage.add_gap(at(999), at(999));
        assert_eq!(coverage.gaps.len(), 3);
        assert_eq!([300, 250, 325].map(|at| percent(&coverage, at)), [60, 70, 75]);
        coverage.forget_before(at(230));
        assert_eq!(coverage.gaps, [(at(240), at(260))]);
    }

    #[test]
    fn many_gaps_are_joined_without_overstating_coverage() {
        let mut coverage = Coverage::since(at(0));
        let mut exact = Coverage::since(at(0));
        for gap in 0..1_000 {
            let begin = 10 * gap + gap % 7;
            coverage.add_gap(at(begin), at(begin + 2));
            exact.gaps.push((at(begin), at(begin + 2)));
            assert!(coverage.is_sound());
        }
        for now in (0..10_000).step_by(97) {
            for window in [1, 60, 3_600] {
                let window = Span::from_secs(window);
                assert!(coverage.share(at(now), window) <= exact.share(at(now), window) + 1e-12);
            }
        }
    }
}

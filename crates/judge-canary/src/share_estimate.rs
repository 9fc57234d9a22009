//! A running guess of a group's bad share, made before the outcomes it is used on.
//!
//! The guess is the mean of a Beta distribution that begins with a few imagined events and forgets: beyond `memory`
//! events old ones fade, so that it follows a drifting rate. It only decides what is bet on; a wrong guess costs speed,
//! never validity.

use homeostat_model::evidence::EventCounts;
use serde::{Deserialize, Serialize};

/// How a guess begins and how long it remembers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prior {
    /// Bad events imagined at the start.
    pub(crate) bad: f64,
    /// Events imagined at the start; more than `bad`.
    pub(crate) total: f64,
    /// Events after which old ones fade.
    pub(crate) memory: f64,
}

/// Observed events, faded, without the imagined ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShareEstimate {
    bad: f64,
    total: f64,
}

impl ShareEstimate {
    /// The guess, strictly between 0 and 1.
    pub(crate) fn mean(&self, prior: Prior) -> f64 {
        (self.bad + prior.bad) / (self.total + prior.total)
    }

    /// Learns from outcomes, after they were bet on.
    pub(crate) fn learn(&mut self, events: EventCounts, prior: Prior) {
        let count = events.total() as f64;
        let room = self.total + count <= prior.memory;
        let kept = if room { 1.0 } else { (1.0 - count / prior.memory).max(0.0) };
        self.bad = self.bad * kept + events.bad as f64;
        self.total = self.total * kept + count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIOR: Prior = Prior { bad: 0.5, total: 100.0, memory: 1_000.0 };

    #[test]
    fn it_follows_a_drifting_share() {
        let mut estimate = ShareEstimate::default();
        assert!((estimate.mean(PRIOR) - 0.005).abs() < 1e-12);
        for _ in 0..10_000 {
            estimate.learn(EventCounts { good: 9, bad: 1 }, PRIOR);
        }
        assert!((estimate.mean(PRIOR) - 0.1).abs() < 0.02, "{estimate:?}");
        for _ in 0..1_000 {
            estimate.learn(EventCounts { good: 10, bad: 0 }, PRIOR);
        }
        assert!(estimate.mean(PRIOR) < 0.01, "{estimate:?}");
    }

    #[test]
    fn it_stays_inside_the_unit_interval_whatever_it_sees() {
        for events in [EventCounts { good: 0, bad: u64::MAX }, EventCounts { good: u64::MAX, bad: 0 }] {
            let mut estimate = ShareEstimate::default();
            for _ in 0..100 {
                estimate.learn(events, PRIOR);
            }
            let mean = estimate.mean(PRIOR);
            assert!((0.0..=1.0).contains(&mean), "{mean}");
        }
    }
}

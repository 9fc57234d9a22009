//! When did it turn bad? The stretch of a canary's outcomes that led to the verdict.
//!
//! Intuition: a canary that served well for ten minutes and fails for 200 ms still looks fine on average since its
//! start. A cumulative sum goes up with every bad response and down by what is usual with every request; whenever it
//! reaches the ground, nothing is wrong and the stretch starts anew. What has gathered since it last left the ground
//! is the stretch that matters: its first bad response, its counts.
//!
//! Not here: the decision itself; the sequential test (`judge-canary`) makes it with a proven bound, this has none.
//! Source: Page, "Continuous inspection schemes", Biometrika 41 (1954): the CUSUM chart.

use homeostat_model::{Timestamp, evidence::EventCounts};
use serde::{Deserialize, Serialize};

/// The stretch since the sum last left the ground.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BadRun {
    sum: f64,
    /// First bad response of the stretch.
    began: Option<Timestamp>,
    /// The canary's events in it.
    canary: EventCounts,
    /// All requests of the service in it.
    service_total: u64,
    /// Once a verdict fell the stretch only grows.
    held: bool,
}

impl BadRun {
    /// Counts a tick. `usual` is the bad share that is not worth noticing.
    pub(crate) fn record(&mut self, now: Timestamp, canary: EventCounts, service_total: u64, usual: f64) {
        if self.began.is_none() && canary.bad == 0 {
            return;
        }
        self.began.get_or_insert(now);
        self.canary += canary;
        self.service_total = self.service_total.saturating_add(service_total);
        self.sum += canary.bad as f64 - usual * canary.total() as f64;
        if self.sum <= 0.0 && !self.held {
            *self = Self::default();
        }
    }

    /// From here on the stretch only grows: the verdict fell.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// First bad response of the stretch, if one is under way.
    pub(crate) fn began(&self) -> Option<Timestamp> {
        self.began
    }

    /// The canary's events in the stretch.
    pub(crate) fn canary(&self) -> EventCounts {
        self.canary
    }

    /// All requests of the service in the stretch.
    pub(crate) fn service_total(&self) -> u64 {
        self.service_total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stretch_begins_where_it_turned_bad() {
        let at = |tick: i64| Timestamp::from_unix_ms(tick * 10);
        let mut run = BadRun::default();
        // An occasional error is forgotten within 100 requests at 1 % …
        run.record(at(1), EventCounts { good: 9, bad: 1 }, 200, 0.01);
        assert_eq!(run.began(), Some(at(1)));
        for tick in 2..20 {
            run.record(at(tick), EventCounts { good: 10, bad: 0 }, 200, 0.01);
        }
        assert_eq!(run, BadRun::default());
        // … a fault is not.
        for tick in 20..40 {
            run.record(at(tick), EventCounts { good: 7, bad: 3 }, 200, 0.01);
        }
        assert_eq!((run.began(), run.canary()), (Some(at(20)), EventCounts { good: 140, bad: 60 }));
        // After the verdict it only grows, however good things are.
        run.hold();
        for tick in 40..2_000 {
            run.record(at(tick), EventCounts { good: 10, bad: 0 }, 200, 0.01);
        }
        assert_eq!((run.began(), run.service_total()), (Some(at(20)), 1_980 * 200));
    }
}

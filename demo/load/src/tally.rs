//! What became of the requests, counted per label while the load runs.
//!
//! A label is what a response header says (the shop names its version), so versions are told apart by the client's own
//! eyes and not by asking whoever routed the request.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;

use crate::histogram::{Histogram, Latency};

/// Labels at most; more count as `other`. A canary test has two.
const LABELS_MAX: usize = 16;

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Answered completely, with this status.
    Status(u16),
    /// Failed without a complete answer.
    Failure(Failure),
}

/// Why there was no complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No connection.
    Connect,
    /// The connection or the framing broke.
    Reset,
    /// Not answered in time.
    Timeout,
}

impl Ending {
    /// Whether the server failed the customer: 5xx, or no complete answer.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Status(500..) | Self::Failure(_))
    }
}

/// An instant on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For differences.
    pub instant: Instant,
    /// For comparison with what other processes on the same machine write down.
    pub wall: SystemTime,
}

impl Moment {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }
}

/// Everything about the answers with one label.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LabelReport {
    /// Complete answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a complete answer.
    pub failures: BTreeMap<Failure, u64>,
    /// Complete answers below 500 that came later than the slow limit.
    pub slow: u64,
    /// Time from the instant a request was due to the end of its answer, for complete answers.
    pub latency: Latency,
    /// First bad answer since the start or since it was last forgotten.
    #[serde(skip)]
    pub first_bad: Option<Moment>,
    /// First bad or slow answer, likewise.
    #[serde(skip)]
    pub first_harmed: Option<Moment>,
}

impl LabelReport {
    /// Requests that ended, well or badly.
    pub fn total(&self) -> u64 {
        self.statuses.values().chain(self.failures.values()).sum()
    }

    /// Requests that the server failed: 5xx and failures.
    pub fn bad(&self) -> u64 {
        let statuses = self.statuses.range(500..).map(|(_, count)| count);
        statuses.chain(self.failures.values()).sum()
    }
}

/// All that is known about a load, now or at its end.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Requests that were due.
    pub due: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that were due but not sent, because as many as allowed were in flight: the server's fault or the
    /// limit's, and in no latency figure.
    pub dropped_at_client: u64,
    /// Longest delay between a due instant and its sending: what the generator itself added to a latency.
    pub late_us_max: u64,
    /// By label; requests without an answer or without the header are under the empty label.
    pub labels: BTreeMap<String, LabelReport>,
}

impl Report {
    /// Requests that ended.
    pub fn total(&self) -> u64 {
        self.labels.values().map(LabelReport::total).sum()
    }

    /// Requests that the server failed.
    pub fn bad(&self) -> u64 {
        self.labels.values().map(LabelReport::bad).sum()
    }

    /// Answers that came later than the slow limit.
    pub fn slow(&self) -> u64 {
        self.labels.values().map(|label| label.slow).sum()
    }
}

#[derive(Debug, Default)]
struct Counts {
    report: Report,
    latencies: BTreeMap<String, Histogram>,
}

/// The counters of a running load; clones share them. One short lock a request, taken by one thread: uncontended
/// unless somebody looks.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<Counts>>);

impl Tally {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn due(&self, late: Duration) {
        let mut counts = self.counts();
        counts.report.due += 1;
        counts.report.sent += 1;
        counts.report.late_us_max = counts.report.late_us_max.max(late.as_micros() as u64);
    }

    pub(crate) fn dropped(&self) {
        let mut counts = self.counts();
        counts.report.due += 1;
        counts.report.dropped_at_client += 1;
    }

    pub(crate) fn ended(&self, label: &str, ending: Ending, latency: Duration, slow_after: Duration, at: Moment) {
        let mut counts = self.counts();
        let label = if counts.report.labels.contains_key(label) || counts.report.labels.len() < LABELS_MAX {
            label
        } else {
            "other"
        };
        let slow = !ending.is_bad() && slow_after < latency;
        // Looked up first: a label is new once and then there for millions of requests.
        if !counts.report.labels.contains_key(label) {
            counts.report.labels.insert(label.to_owned(), LabelReport::default());
            counts.latencies.insert(label.to_owned(), Histogram::default());
        }
        if let Some(report) = counts.report.labels.get_mut(label) {
            match ending {
                Ending::Status(status) => *report.statuses.entry(status).or_default() += 1,
                Ending::Failure(failure) => *report.failures.entry(failure).or_default() += 1,
            }
            report.slow += u64::from(slow);
            if ending.is_bad() {
                report.first_bad.get_or_insert(at);
            }
            if ending.is_bad() || slow {
                report.first_harmed.get_or_insert(at);
            }
        }
        if let (Ending::Status(_), Some(histogram)) = (ending, counts.latencies.get_mut(label)) {
            histogram.record(latency);
        }
    }

    /// Everything so far, with percentiles.
    pub fn report(&self) -> Report {
        let counts = self.counts();
        let mut report = counts.report.clone();
        for (label, histogram) in &counts.latencies {
            if let Some(label) = report.labels.get_mut(label) {
                label.latency = histogram.latency();
            }
        }
        report
    }

    /// First bad answer of a label since [`Tally::forget_first`].
    pub fn first_bad(&self, label: &str) -> Option<Moment> {
        self.counts().report.labels.get(label)?.first_bad
    }

    /// Forgets the first bad and slow answers of all labels: the next ones count as the first.
    pub fn forget_first(&self) {
        for label in self.counts().report.labels.values_mut() {
            label.first_bad = None;
            label.first_harmed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(1);
    const LIMIT: Duration = Duration::from_millis(50);

    #[test]
    fn endings_are_sorted_into_good_bad_and_slow() {
        let tally = Tally::default();
        let (early, late) = (Moment::now(), Moment::now());
        tally.ended("v1", Ending::Status(200), FAST, LIMIT, early);
        tally.ended("v2", Ending::Status(404), FAST, LIMIT, early);
        tally.ended("v2", Ending::Status(200), LIMIT * 2, LIMIT, early);
        tally.ended("v2", Ending::Status(503), LIMIT * 2, LIMIT, late);
        tally.ended("", Ending::Failure(Failure::Timeout), LIMIT * 9, LIMIT, late);
        let report = tally.report();
        assert_eq!((report.total(), report.bad(), report.slow()), (5, 2, 1));
        let v2 = &report.labels["v2"];
        assert_eq!((v2.total(), v2.bad(), v2.slow, v2.latency.count), (3, 1, 1, 3));
        assert_eq!((v2.first_bad, v2.first_harmed), (Some(late), Some(early)));
        assert_eq!(report.labels[""].latency.count, 0);
    }

    #[test]
    fn the_first_can_be_forgotten_and_counts_stay() {
        let tally = Tally::default();
        tally.ended("v2", Ending::Status(500), FAST, LIMIT, Moment::now());
        tally.forget_first();
        assert_eq!((tally.first_bad("v2"), tally.report().bad()), (None, 1));
        let again = Moment::now();
        tally.ended("v2", Ending::Status(500), FAST, LIMIT, again);
        assert_eq!(tally.first_bad("v2"), Some(again));
    }

    #[test]
    fn labels_are_bounded() {
        let tally = Tally::default();
        (0..40).for_each(|n| tally.ended(&n.to_string(), Ending::Status(200), FAST, LIMIT, Moment::now()));
        let labels = tally.report().labels;
        assert_eq!((labels.len(), labels["other"].total()), (LABELS_MAX + 1, 24));
    }
}

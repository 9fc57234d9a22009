//! What the API counts of itself.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use homeostat_wire::exposition::{Exposition, FamilyKind};

use super::turns::Turns;

/// Requests and the time they took by (operation, status): both come from our own tables, so the map is bounded.
type Answered = BTreeMap<(&'static str, u16), (u64, Duration)>;

/// Counters of the API.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    answered: Mutex<Answered>,
}

impl Counters {
    /// One answered request, and how long it took until its answer began.
    pub(crate) fn answered(&self, operation: &'static str, status: u16, took: Duration) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, total) = answered.entry((operation, status)).or_default();
        *count += 1;
        *total += took;
    }

    /// Appends all families.
    pub(crate) fn write(&self, turns: &Turns, out: &mut String) {
        let mut exposition = Exposition::new(out);
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut requests = exposition.family(
            "homeostat_prometheus_api_requests_total",
            FamilyKind::Counter,
            "Requests answered by the Prometheus API.",
        );
        for ((operation, status), (count, _)) in &answered {
            requests.count(&[("operation", operation), ("code", &status.to_string())], *count);
        }
        let mut seconds = exposition.family(
            "homeostat_prometheus_api_request_seconds_total",
            FamilyKind::Counter,
            "Time until answers of the Prometheus API began.",
        );
        for ((operation, status), (_, took)) in &answered {
            seconds.sample(&[("operation", operation), ("code", &status.to_string())], took.as_secs_f64());
        }
        let mut one = |name: &str, kind, help: &str, value: &AtomicU64| {
            exposition.family(name, kind, help).count(&[], value.load(Ordering::Relaxed));
        };
        one("homeostat_queries_running", FamilyKind::Gauge, "Queries that run.", &turns.running);
        one("homeostat_queries_waiting", FamilyKind::Gauge, "Queries that wait for their turn.", &turns.waiting);
        one(
            "homeostat_queries_refused_total",
            FamilyKind::Counter,
            "Queries refused because too many were waiting.",
            &turns.refused,
        );
        one("homeostat_queries_timed_out_total", FamilyKind::Counter, "Queries that took too long.", &turns.late);
        one(
            "homeostat_queries_abandoned_total",
            FamilyKind::Counter,
            "Queries whose client went away before the end of the answer.",
            &turns.given_up,
        );
    }
}

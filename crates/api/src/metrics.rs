//! The API's own counters.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use homeostat_wire::exposition::{Exposition, FamilyKind};

use crate::listen::ConnectionCounters;

/// What the API counts of itself. Requests per (operation, status): both come from our own tables, so the map is bounded
/// by operations × the statuses they can answer, a few hundred entries.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    pub(crate) subscribers: AtomicU64,
    pub(crate) subscribers_refused: AtomicU64,
    pub(crate) items_missed: AtomicU64,
}

impl Counters {
    /// One answered request.
    pub(crate) fn answered(&self, operation: &'static str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((operation, status)).or_default() += 1;
    }

    /// Appends all families.
    pub(crate) fn write(&self, connections: &ConnectionCounters, out: &mut String) {
        let mut exposition = Exposition::new(out);
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut family =
            exposition.family("homeostat_api_requests_total", FamilyKind::Counter, "Requests answered by the API.");
        for ((operation, status), count) in &requests {
            family.count(&[("operation", operation), ("code", &status.to_string())], *count);
        }
        let mut one = |name: &str, kind, help: &str, value: &AtomicU64| {
            exposition.family(name, kind, help).count(&[], value.load(Ordering::Relaxed));
        };
        one("homeostat_api_connections", FamilyKind::Gauge, "Open connections.", &connections.open);
        one(
            "homeostat_api_connections_refused_total",
            FamilyKind::Counter,
            "Connections refused because the limit was reached.",
            &connections.refused,
        );
        one("homeostat_api_subscribers", FamilyKind::Gauge, "Open event streams.", &self.subscribers);
        one(
            "homeostat_api_subscribers_refused_total",
            FamilyKind::Counter,
            "Event streams refused because the limit was reached.",
            &self.subscribers_refused,
        );
        one(
            "homeostat_api_stream_items_missed_total",
            FamilyKind::Counter,
            "Items that slow readers of event streams missed.",
            &self.items_missed,
        );
    }
}

//! What became of requests, counted: the one type through which every source of outcomes reaches the judges.

use std::ops::AddAssign;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{RouteName, ServiceName, Span, VersionName};

/// How often the counters' differences are taken: the resolution of everything that is judged.
pub const TICK: Span = Span::from_ms(10);

/// How one request ended, as the client's side of the gateway saw it. Recorded at the end of body or trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum OutcomeClass {
    /// Answered, status below 400 (gRPC: status 0), body complete.
    Ok = 0,
    /// Answered with 4xx, or the client broke the request off: the client's doing.
    ClientError = 1,
    /// Answered with 5xx (gRPC: unknown, internal, unavailable, data loss, unimplemented, deadline exceeded).
    ServerError = 2,
    /// The upstream broke the connection or the framing before the answer was complete.
    Reset = 3,
    /// A time-out of the gateway ended it: connect, first byte, idle or total.
    Timeout = 4,
    /// No upstream accepted it: connection refused, no endpoint, limit reached.
    Refused = 5,
}

impl OutcomeClass {
    /// Number of classes; the discriminants are `0..COUNT`.
    pub const COUNT: usize = 6;
    /// All classes in the order of their discriminants.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Ok, Self::ClientError, Self::ServerError, Self::Reset, Self::Timeout, Self::Refused];

    /// The label value used in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
        }
    }

    /// Whether the service is to blame: everything but `Ok` and `ClientError`.
    pub const fn is_bad(self) -> bool {
        !matches!(self, Self::Ok | Self::ClientError)
    }
}

/// Index of a (route, service, version) cell in the gateway's counters and in the journal.
///
/// Ids are dense from 0, never reused within a process for another key, and bound to keys by the configuration that
/// introduces them; after a restart the same key may have another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CellId(pub u16);

/// Cells at most: 4,096 at about 1.3 KiB a worker is 5.3 MiB a worker; 1,000 routes of two versions fit twice.
pub const CELLS_MAX: usize = 4_096;

/// What a cell counts: requests of one route that one version of one service answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct CellKey {
    /// The matched route.
    pub route: RouteName,
    /// The service the route leads to.
    pub service: ServiceName,
    /// The version that was chosen.
    pub version: VersionName,
}

/// Latency thresholds per cell at most: one counter each, bumped per request; four objectives on one route are many.
pub const THRESHOLDS_MAX: usize = 4;

/// Requests by outcome class, and how many of the answered ones (`Ok`, `ClientError`) were slower than each latency
/// threshold of their cell. Adding never overflows: it saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeCounts {
    /// Requests per class, indexed by discriminant.
    pub by_class: [u64; OutcomeClass::COUNT],
    /// Answered requests slower than threshold `i` of the cell; thresholds ascend, so the counts descend.
    pub slow: [u64; THRESHOLDS_MAX],
}

impl OutcomeCounts {
    /// Counts of one class alone.
    pub fn of(class: OutcomeClass, count: u64) -> Self {
        let mut counts = Self::default();
        if let Some(slot) = counts.by_class.get_mut(class as usize) {
            *slot = count;
        }
        counts
    }

    /// Requests of one class.
    pub fn class(&self, class: OutcomeClass) -> u64 {
        self.by_class.get(class as usize).copied().unwrap_or(0)
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.by_class.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Requests that the service failed ([`OutcomeClass::is_bad`]).
    pub fn bad(&self) -> u64 {
        OutcomeClass::ALL.iter().filter(|c| c.is_bad()).fold(0, |sum, c| sum.saturating_add(self.class(*c)))
    }

    /// Requests that the service answered in good order (`Ok` and `ClientError`).
    pub fn answered(&self) -> u64 {
        self.total().saturating_sub(self.bad())
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for OutcomeCounts {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in self.by_class.iter_mut().zip(other.by_class) {
            *sum = sum.saturating_add(more);
        }
        for (sum, more) in self.slow.iter_mut().zip(other.slow) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What one cell counted since the previous tick. A tick lists changed cells only, ascending by cell, one entry each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeDelta {
    /// Whose counts.
    pub cell: CellId,
    /// How many since the previous tick.
    pub counts: OutcomeCounts,
}

/// Adds `more` into `deltas`, both ascending by cell; the result is ascending and has one entry a cell.
/// This is how ticks are merged when a queue is full: counts add up, nothing is dropped.
pub fn merge_deltas(deltas: &mut Vec<OutcomeDelta>, more: &[OutcomeDelta]) {
    for delta in more {
        match deltas.binary_search_by_key(&delta.cell, |d| d.cell) {
            Ok(at) => {
                if let Some(found) = deltas.get_mut(at) {
                    found.counts += delta.counts;
                }
            }
            Err(at) => deltas.insert(at, *delta),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds_up_and_keeps_order() {
        let delta = |cell, ok| OutcomeDelta { cell: CellId(cell), counts: OutcomeCounts::of(OutcomeClass::Ok, ok) };
        let mut merged = vec![delta(1, 2), delta(5, 1)];
        merge_deltas(&mut merged, &[delta(0, 7), delta(5, 3)]);
        assert_eq!(merged, vec![delta(0, 7), delta(1, 2), delta(5, 4)]);
    }

    #[test]
    fn blame_excludes_the_clients_own_errors() {
        let mut counts = OutcomeCounts::of(OutcomeClass::ClientError, 5);
        counts += OutcomeCounts::of(OutcomeClass::Timeout, 2);
        assert_eq!((counts.total(), counts.bad(), counts.answered()), (7, 2, 5));
    }
}

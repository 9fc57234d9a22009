//! Traffic of the last ten seconds, per version: what the views show.

use homeostat_model::{ServiceName, Span, Timestamp, VersionName, evidence::EventCounts};
use serde::{Deserialize, Serialize};

use crate::ControlledService;

const SLOT: Span = Span::from_secs(1);
/// Ten whole seconds and the one that has begun.
const SLOTS: usize = 11;

/// A ring of one-second counts. 200 bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    slots: [EventCounts; SLOTS],
    head: i64,
}

impl Traffic {
    pub(crate) fn record(&mut self, now: Timestamp, counts: EventCounts) {
        self.advance(now);
        if let Some(slot) = self.slots.get_mut(self.head.rem_euclid(SLOTS as i64) as usize) {
            *slot += counts;
        }
    }

    /// Counts of the last 10 to 11 s.
    pub(crate) fn last_10s(&self, now: Timestamp) -> EventCounts {
        let mut shown = self.clone();
        shown.advance(now);
        shown.slots.iter().fold(EventCounts::default(), |mut sum, slot| {
            sum += *slot;
            sum
        })
    }

    fn advance(&mut self, now: Timestamp) {
        let head = now.slot(SLOT).max(self.head);
        for stale in (self.head.saturating_add(1)..=head).rev().take(SLOTS) {
            if let Some(slot) = self.slots.get_mut(stale.rem_euclid(SLOTS as i64) as usize) {
                *slot = EventCounts::default();
            }
        }
        self.head = head;
    }
}

/// The traffic of a service's versions, in the order of their declaration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServiceTraffic {
    pub(crate) name: ServiceName,
    versions: Vec<(VersionName, Traffic)>,
}

impl ServiceTraffic {
    /// The counters of a service; versions that were there before keep theirs.
    pub(crate) fn new(declared: &ControlledService, old: Option<Self>) -> Self {
        let mut old = old.map(|t| t.versions).unwrap_or_default();
        let mut keep = |name: &VersionName| {
            let known = old.iter().position(|(n, _)| n == name);
            known.map(|at| old.swap_remove(at).1).unwrap_or_default()
        };
        let versions = declared.versions.iter().map(|name| (name.clone(), keep(name))).collect();
        Self { name: declared.name.clone(), versions }
    }

    /// The counters of a version by its place in the declaration.
    pub(crate) fn version(&mut self, at: usize) -> Option<&mut Traffic> {
        self.versions.get_mut(at).map(|(_, traffic)| traffic)
    }

    /// Versions with what they saw.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&VersionName, &Traffic)> {
        self.versions.iter().map(|(name, traffic)| (name, traffic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_seconds_fall_out_and_long_silence_empties_it() {
        let at = |ms| Timestamp::from_unix_ms(ms);
        let mut traffic = Traffic::default();
        traffic.record(at(1_000), EventCounts { good: 5, bad: 1 });
        traffic.record(at(9_000), EventCounts { good: 7, bad: 0 });
        assert_eq!(traffic.last_10s(at(11_999)), EventCounts { good: 12, bad: 1 });
        assert_eq!(traffic.last_10s(at(12_000)), EventCounts { good: 7, bad: 0 });
        assert_eq!(traffic.last_10s(at(99_000_000)), EventCounts::default());
    }
}

//! Traffic of the last ten seconds, per version: what the views show.

use homeostat_model::{Span, Timestamp, evidence::EventCounts};
use serde::{Deserialize, Serialize};

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

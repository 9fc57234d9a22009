//! The monotone time line that control runs on.
//!
//! Anchored once at the wall clock, then advanced by the monotonic clock: a wall clock that is stepped (NTP, an
//! operator, a resumed machine) moves nothing here. It also never lies before the last instant in the journal, so that a
//! machine whose clock was set back over a restart does not write history before its own past.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use homeostat_model::{Span, Timestamp};

/// Reads "now" for everything that ends up in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    anchor_wall: Timestamp,
    anchor: Instant,
}

/// A wall clock that disagrees with the time line by more than this has been stepped; smaller drifts are slewing.
pub(super) const STEP_MIN: Span = Span::from_ms(500);

impl Clock {
    /// Anchors at the wall clock, or at `not_before` when the wall clock lies before it.
    pub(super) fn start(not_before: Option<Timestamp>) -> Self {
        Self::anchored_at(wall_now(), not_before)
    }

    fn anchored_at(wall: Timestamp, not_before: Option<Timestamp>) -> Self {
        Self { anchor_wall: not_before.map_or(wall, |floor| wall.max(floor)), anchor: Instant::now() }
    }

    /// Now, never before an earlier answer.
    pub(super) fn now(&self) -> Timestamp {
        self.anchor_wall + Span::from(self.anchor.elapsed())
    }

    /// What this time line reads at an instant of the monotonic clock.
    pub(crate) fn at(&self, instant: Instant) -> Timestamp {
        self.anchor_wall + Span::from(instant.saturating_duration_since(self.anchor))
    }

    /// The instant on the monotonic clock at which this time line reads `at`; now when that is past.
    pub(super) fn instant_of(&self, at: Timestamp) -> Instant {
        self.anchor + at.since(self.anchor_wall).into()
    }

    /// How far the wall clock has moved away from the time line, in nanoseconds: positive when it is ahead.
    pub(super) fn wall_offset_ns(&self) -> i64 {
        wall_now().unix_ns().saturating_sub(self.now().unix_ns())
    }
}

/// The wall clock; saturates outside the representable years.
pub(super) fn wall_now() -> Timestamp {
    let ns = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    };
    Timestamp::from_unix_ns(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_over_a_restart_does_not_go_before_the_journal() {
        let last = Timestamp::from_unix_ms(5_000);
        let clock = Clock::anchored_at(Timestamp::from_unix_ms(1_000), Some(last));
        assert!(clock.now() >= last);
    }

    #[test]
    fn a_wall_clock_ahead_of_the_journal_leads() {
        let wall = Timestamp::from_unix_ms(9_000);
        let clock = Clock::anchored_at(wall, Some(Timestamp::from_unix_ms(5_000)));
        assert!(clock.now() >= wall);
        assert!(clock.instant_of(Timestamp::MIN) <= Instant::now());
    }
}

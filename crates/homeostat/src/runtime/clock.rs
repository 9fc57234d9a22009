//! The monotone time line that control runs on.
//!
//! Anchored once at the wall clock, then advanced by the monotonic clock: a wall clock that is stepped (NTP, an
//! operator, a resumed machine) moves nothing here. It also never lies before the last instant in the journal, so that a
//! machine whose clock was set back over a restart does not write history before its own past.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use homeostat_model::{Span, Timestamp};

/// Reads "now" for everything that ends up in the journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    anchor_wall: Timestamp,
    anchor: Instant,
}

/// A wall clock that moves against the time line by this much from one look to the next has been stepped; what moves
/// slower is slewing, which people need not hear of.
const STEP_MIN: Span = Span::from_ms(500);

/// What both clocks read at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readings {
    /// The time line.
    pub(super) line: Timestamp,
    /// The wall clock.
    pub(super) wall: Timestamp,
}

impl Readings {
    /// How far the wall clock is ahead, in nanoseconds.
    fn offset_ns(self) -> i64 {
        self.wall.unix_ns().saturating_sub(self.line.unix_ns())
    }
}

/// A step of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stepped {
    /// Forward, by so much.
    Ahead(Span),
    /// Back, by so much.
    Back(Span),
}

/// Notices steps of the wall clock: both clocks' readings go in, a notice comes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepWatch {
    offset_ns: i64,
}

impl StepWatch {
    /// A watch that begins with these readings.
    pub(super) fn new(first: Readings) -> Self {
        Self { offset_ns: first.offset_ns() }
    }

    /// Compares with the readings before.
    pub(super) fn look(&mut self, now: Readings) -> Option<Stepped> {
        let before = std::mem::replace(&mut self.offset_ns, now.offset_ns());
        let by = Span::from_ns(self.offset_ns.abs_diff(before));
        let stepped = if before <= self.offset_ns { Stepped::Ahead(by) } else { Stepped::Back(by) };
        (STEP_MIN <= by).then_some(stepped)
    }
}

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
        self.anchor + Duration::from(at.since(self.anchor_wall))
    }

    /// What both clocks read now.
    pub(super) fn readings(&self) -> Readings {
        Readings { line: self.now(), wall: wall_now() }
    }

    /// How far the wall clock has moved away from the time line, in nanoseconds: positive when it is ahead.
    pub(super) fn wall_offset_ns(&self) -> i64 {
        self.readings().offset_ns()
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

    /// Looks at pairs of readings in milliseconds, the time line's first.
    fn looks(pairs: &[(i64, i64)]) -> Vec<Option<Stepped>> {
        let at = |(line, wall): &(i64, i64)| Readings {
            line: Timestamp::from_unix_ms(*line),
            wall: Timestamp::from_unix_ms(*wall),
        };
        let mut watch = StepWatch::new(at(&pairs[0]));
        pairs[1..].iter().map(|pair| watch.look(at(pair))).collect()
    }

    #[test]
    fn a_stepped_wall_clock_is_noticed_once_and_in_both_directions() {
        assert_eq!(
            looks(&[(0, 0), (100, 100), (200, 700), (300, 800), (400, -200), (500, -100)]),
            [None, Some(Stepped::Ahead(Span::from_ms(500))), None, Some(Stepped::Back(Span::from_ms(1_100))), None]
        );
    }

    #[test]
    fn a_wall_clock_that_is_slewed_or_jitters_is_left_alone() {
        // 500 ppm over an hour, looked at every half second: 1.8 s in the end, and never half a second at once.
        let slewed: Vec<(i64, i64)> = (0..7_200).map(|n| (500 * n, 500 * n + n / 4)).collect();
        assert_eq!(looks(&slewed).into_iter().flatten().count(), 0);
        assert_eq!(looks(&[(0, 0), (10, 400), (20, -50), (30, 440)]), [None, None, None]);
    }

    #[test]
    fn readings_at_the_ends_of_time_do_not_overflow() {
        assert_eq!(
            looks(&[(i64::MAX, i64::MIN), (i64::MIN, i64::MAX)]),
            [Some(Stepped::Ahead(Span::from_ns(u64::MAX)))]
        );
    }
}

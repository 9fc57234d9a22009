//! A judge as text: settings, gaps, and the non-empty slots of each ring.
//!
//! Slots are `[steps, good, bad]`, oldest first; `steps` counts slots since the one before, for the first one since the
//! oldest slot that the ring could hold. Sums are not written: they follow from the slots. A busy objective takes about
//! ten bytes a slot.

use homeostat_model::{Timestamp, evidence::EventCounts};
use serde::{Deserialize, Serialize};

use crate::{
    coverage::Coverage,
    judge::{ObjectiveJudge, Settings},
    ring::{Count, Ring},
    rings::Rings,
};

/// Why a serialised judge is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Slots out of order, empty, or older than the ring.
    #[error("the slots of an objective's history are not in order; restore an older snapshot")]
    Slots,
    /// Gaps out of order or too many.
    #[error("the gaps of an objective's history are not in order; restore an older snapshot")]
    Gaps,
    /// As many firing flags as rules were expected.
    #[error("an objective's history has {flags} firing flags for {rules} rules; restore an older snapshot")]
    Rules {
        /// Flags found.
        flags: usize,
        /// Rules found.
        rules: usize,
    },
}

/// See [`ObjectiveJudge`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JudgeState {
    settings: Settings,
    firing: Box<[bool]>,
    gaps: Coverage,
    now: Timestamp,
    ticks: RingState,
    seconds: RingState,
    minutes: RingState,
    hours: RingState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RingState {
    head: i64,
    slots: Vec<(u32, u64, u64)>,
}

impl RingState {
    fn of<C: Count, const WIDTH_NS: u64, const SLOTS: u32>(ring: &Ring<C, WIDTH_NS, SLOTS>) -> Self {
        let mut before = SLOTS;
        let steps = |(age, counts): (u32, EventCounts)| {
            let steps = before - age;
            before = age;
            (steps, counts.good, counts.bad)
        };
        Self { head: ring.head(), slots: ring.iter().map(steps).collect() }
    }

    fn restore<C: Count, const WIDTH_NS: u64, const SLOTS: u32>(self) -> Result<Ring<C, WIDTH_NS, SLOTS>, StateError> {
        let mut before = SLOTS;
        let mut slots = Vec::with_capacity(self.slots.len());
        for (steps, good, bad) in self.slots {
            before = before.checked_sub(steps).ok_or(StateError::Slots)?;
            slots.push((before, EventCounts { good, bad }));
        }
        Ring::restore(self.head, slots).ok_or(StateError::Slots)
    }
}

impl From<ObjectiveJudge> for JudgeState {
    fn from(judge: ObjectiveJudge) -> Self {
        Self {
            ticks: RingState::of(&judge.rings.ticks),
            seconds: RingState::of(&judge.rings.seconds),
            minutes: RingState::of(&judge.rings.minutes),
            hours: RingState::of(&judge.rings.hours),
            settings: judge.settings,
            firing: judge.firing,
            gaps: judge.coverage,
            now: judge.now,
        }
    }
}

impl JudgeState {
    pub(crate) fn restore(self) -> Result<ObjectiveJudge, StateError> {
        let (flags, rules) = (self.firing.len(), self.settings.rules.len());
        if flags != rules {
            return Err(StateError::Rules { flags, rules });
        }
        if !self.gaps.is_sound() {
            return Err(StateError::Gaps);
        }
        let mut rings = Rings {
            ticks: self.ticks.restore()?,
            seconds: self.seconds.restore()?,
            minutes: self.minutes.restore()?,
            hours: self.hours.restore()?,
        };
        rings.set_windows(&self.settings.windows());
        let Self { settings, firing, gaps: coverage, now, .. } = self;
        Ok(ObjectiveJudge { settings, firing, coverage, now, rings, stale: true })
    }
}

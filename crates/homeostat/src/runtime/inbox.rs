//! Control's only entrance: a bounded queue with two lanes.
//!
//! Ticks never wait and never get lost: when control lags, they are merged (counts add up). Messages are few, and a
//! full lane refuses them, so that whoever asked hears about it at once. One mutex, held for a push or a swap; requests
//! of the gateway never come here, only its collector does, 100 times a second.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use homeostat_model::{OutcomeDelta, outcome::merge_deltas};

/// Ticks that wait apart from each other. 640 ms of 10 ms ticks: rides out a slow fsync or a reload without losing
/// resolution; a control thread that is slower than that sees merged ticks.
pub(super) const TICKS_MAX: usize = 64;

/// Messages that wait. People and pipelines send a few a minute; 256 is a burst of a broken script.
pub(super) const MESSAGES_MAX: usize = 256;

/// What control finds when it looks.
#[derive(Debug)]
pub(super) struct Batch<M> {
    /// Waiting ticks, oldest first: when they were read, and the changed cells, ascending.
    pub ticks: Vec<(Instant, Vec<OutcomeDelta>)>,
    /// Waiting messages, oldest first.
    pub messages: Vec<M>,
    /// Whether the inbox was closed; nothing comes after this batch.
    pub closed: bool,
}

#[derive(Debug)]
struct Lanes<M> {
    ticks: VecDeque<(Instant, Vec<OutcomeDelta>)>,
    messages: VecDeque<M>,
    merged: u64,
    closed: bool,
}

/// The queue in front of control.
#[derive(Debug)]
pub(super) struct Inbox<M> {
    lanes: Mutex<Lanes<M>>,
    arrived: Condvar,
}

impl<M> Default for Inbox<M> {
    fn default() -> Self {
        let lanes = Lanes { ticks: VecDeque::new(), messages: VecDeque::new(), merged: 0, closed: false };
        Self { lanes: Mutex::new(lanes), arrived: Condvar::new() }
    }
}

impl<M> Inbox<M> {
    fn lanes(&self) -> MutexGuard<'_, Lanes<M>> {
        // A panic elsewhere cannot leave the lanes half changed: every critical section is a push or a swap.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a tick over. Full means merged into the newest waiting one; empty ticks are not queued.
    pub(super) fn push_tick(&self, at: Instant, deltas: Vec<OutcomeDelta>) {
        if deltas.is_empty() {
            return;
        }
        let mut lanes = self.lanes();
        if lanes.ticks.len() < TICKS_MAX {
            lanes.ticks.push_back((at, deltas));
        } else if let Some((newest_at, newest)) = lanes.ticks.back_mut() {
            *newest_at = at;
            merge_deltas(newest, &deltas);
            lanes.merged += 1;
        }
        drop(lanes);
        self.arrived.notify_all();
    }

    /// Hands a message over; gives it back when the lane is full or closed.
    pub(super) fn push(&self, message: M) -> Result<(), M> {
        let mut lanes = self.lanes();
        if lanes.closed || lanes.messages.len() >= MESSAGES_MAX {
            return Err(message);
        }
        lanes.messages.push_back(message);
        drop(lanes);
        self.arrived.notify_all();
        Ok(())
    }

    /// Takes everything that waits; blocks until something does, the inbox is closed, or `until` has come.
    pub(super) fn take(&self, until: Instant) -> Batch<M> {
        let mut lanes = self.lanes();
        while lanes.ticks.is_empty() && lanes.messages.is_empty() && !lanes.closed {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            lanes = self.arrived.wait_timeout(lanes, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Batch {
            ticks: lanes.ticks.drain(..).collect(),
            messages: lanes.messages.drain(..).collect(),
            closed: lanes.closed,
        }
    }

    /// Waits until the inbox is closed, at most that long; says whether it is. What arrives meanwhile stays in it.
    pub(super) fn wait_closed(&self, timeout: Duration) -> bool {
        let waited = self.arrived.wait_timeout_while(self.lanes(), timeout, |lanes| !lanes.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Ends it: what waits is still delivered, nothing new is taken.
    pub(super) fn close(&self) {
        self.lanes().closed = true;
        self.arrived.notify_all();
    }

    /// How many ticks were merged because control lagged.
    pub(super) fn merged_ticks(&self) -> u64 {
        self.lanes().merged
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::{CellId, OutcomeClass, OutcomeCounts};

    use super::*;

    fn tick(ok: u64) -> Vec<OutcomeDelta> {
        vec![OutcomeDelta { cell: CellId(0), counts: OutcomeCounts::of(OutcomeClass::Ok, ok) }]
    }

    #[test]
    fn a_control_thread_that_is_stuck_costs_resolution_but_no_counts() {
        let inbox = Inbox::<()>::default();
        for _ in 0..1_000 {
            inbox.push_tick(Instant::now(), tick(3));
        }
        let batch = inbox.take(Instant::now());
        assert_eq!(batch.ticks.len(), TICKS_MAX);
        let total: u64 = batch.ticks.iter().flat_map(|(_, deltas)| deltas).map(|delta| delta.counts.total()).sum();
        assert_eq!(total, 3_000);
        assert_eq!(inbox.merged_ticks(), 1_000 - TICKS_MAX as u64);
    }

    #[test]
    fn a_full_or_closed_lane_gives_the_message_back() {
        let inbox = Inbox::default();
        for message in 0..MESSAGES_MAX {
            assert_eq!(inbox.push(message), Ok(()));
        }
        assert_eq!(inbox.push(999), Err(999));
        assert_eq!(inbox.take(Instant::now()).messages.len(), MESSAGES_MAX);
        inbox.close();
        assert_eq!(inbox.push(7), Err(7));
        assert!(inbox.take(Instant::now()).closed);
    }

    #[test]
    fn empty_ticks_do_not_wake_control() {
        let inbox = Inbox::<()>::default();
        inbox.push_tick(Instant::now(), Vec::new());
        assert!(inbox.take(Instant::now()).ticks.is_empty());
    }
}

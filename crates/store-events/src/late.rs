//! What waits in memory while the log's queue is full: hours after the disk has gone.
//!
//! Steps wait in order. Ticks between two steps are merged into one, so their counts survive but their times do not;
//! the journal says so with a gap entry, and asks for a snapshot, from which exact replay starts again.
//!
//! Not here: the log's own queue, which rides out shorter outages without any loss (`store-wal`).
//! Invariant: order is kept, and memory stays below [`LATE_BYTES_MAX`].

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use homeostat_model::{OutcomeDelta, Timestamp, outcome::merge_deltas};
use homeostat_store_wal::{Durable, Flush, Ticket, WaitError, Wal};
use homeostat_wire::journal::{Entry, Recorded, Tick, mark_late, put_gap_entry};

/// Bytes of late entries at most: 8 MiB are 8,000 steps of 1 KiB, a day of decisions.
pub(crate) const LATE_BYTES_MAX: usize = 8 << 20;

/// A step on its way to the disk: queued, or waiting for room in the queue.
#[derive(Clone, Debug)]
pub struct StepTicket(Way);

#[derive(Clone, Debug)]
enum Way {
    Queued(Ticket),
    Late(Arc<Slot>),
}

/// Where a late step's ticket appears once there is one.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    ticket: Mutex<Option<Ticket>>,
    filled: Condvar,
}

impl StepTicket {
    pub(crate) fn queued(ticket: Ticket) -> Self {
        Self(Way::Queued(ticket))
    }

    /// Waits until the step is durable, `timeout` at most. Returns early when the disk refuses it.
    pub fn wait(&self, timeout: Duration) -> Result<(), WaitError> {
        match &self.0 {
            Way::Queued(ticket) => ticket.wait(timeout).map(|Durable { .. }| ()),
            Way::Late(slot) => slot.wait(timeout),
        }
    }

    /// Whether the step still waits for room in the queue.
    pub fn is_late(&self) -> bool {
        match &self.0 {
            Way::Queued(_) => false,
            Way::Late(slot) => slot.ticket.lock().unwrap_or_else(PoisonError::into_inner).is_none(),
        }
    }
}

impl Slot {
    fn wait(&self, timeout: Duration) -> Result<(), WaitError> {
        let begun = Instant::now();
        let ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.filled.wait_timeout_while(ticket, timeout, |ticket| ticket.is_none());
        let ticket = waited.unwrap_or_else(PoisonError::into_inner).0.clone().ok_or(WaitError::NotYet)?;
        ticket.wait(timeout.saturating_sub(begun.elapsed())).map(|Durable { .. }| ())
    }

    fn fill(&self, ticket: Ticket) {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket);
        self.filled.notify_all();
    }
}

#[derive(Debug)]
enum Item {
    Step { bytes: Vec<u8>, flush: Flush, slot: Arc<Slot> },
    Ticks(Tick),
}

/// The late list.
#[derive(Debug, Default)]
pub(crate) struct LateList {
    items: VecDeque<Item>,
    bytes: usize,
    gap: Option<Gap>,
}

/// What the journal will not be able to replay.
#[derive(Clone, Copy, Debug)]
struct Gap {
    from: Timestamp,
    now: Timestamp,
    ticks_merged: u64,
    steps_lost: u64,
}

impl LateList {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.gap.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Keeps a step; `None` when there is no room, which leaves a gap.
    pub(crate) fn push_step(&mut self, now: Timestamp, mut bytes: Vec<u8>, flush: Flush) -> Option<StepTicket> {
        if LATE_BYTES_MAX < self.bytes + bytes.len() {
            self.gap_at(now).steps_lost += 1;
            return None;
        }
        mark_late(&mut bytes);
        self.bytes += bytes.len();
        let slot = Arc::new(Slot::default());
        self.items.push_back(Item::Step { bytes, flush, slot: Arc::clone(&slot) });
        Some(StepTicket(Way::Late(slot)))
    }

    /// Keeps a tick's counts, in one tick with those since the last step.
    pub(crate) fn push_tick(&mut self, now: Timestamp, deltas: &[OutcomeDelta]) {
        if let Some(Item::Ticks(tick)) = self.items.back_mut() {
            let before = tick.deltas.len();
            merge_deltas(&mut tick.deltas, deltas);
            self.bytes += (tick.deltas.len() - before) * size_of::<OutcomeDelta>();
            let from = std::mem::replace(&mut tick.now, now);
            self.gap_at(from).ticks_merged += 1;
            self.gap_at(now);
            return;
        }
        // One per step at most, so the steps' limit bounds their number.
        self.bytes += size_of_val(deltas);
        self.items.push_back(Item::Ticks(Tick { now, deltas: deltas.to_vec() }));
    }

    fn gap_at(&mut self, now: Timestamp) -> &mut Gap {
        let gap = self.gap.get_or_insert(Gap { from: now, now, ticks_merged: 0, steps_lost: 0 });
        gap.now = gap.now.max(now);
        gap
    }

    /// Hands over as much as the log takes, a gap first.
    pub(crate) fn drain(&mut self, wal: &Wal) -> Drained {
        let mut drained = Drained::default();
        if let Some(gap) = self.gap {
            let mut bytes = Vec::new();
            put_gap_entry(gap.now, gap.from, gap.ticks_merged, gap.steps_lost, &mut bytes);
            if wal.append(&bytes, Flush::Grouped).is_err() {
                return drained;
            }
            self.gap = None;
            drained.gap = true;
        }
        while let Some(item) = self.items.pop_front() {
            let (bytes, flush, size) = match &item {
                Item::Step { bytes, flush, .. } => (bytes.clone(), *flush, bytes.len()),
                Item::Ticks(tick) => (encode_tick(tick), Flush::Grouped, size_of_val(tick.deltas.as_slice())),
            };
            let Ok(ticket) = wal.append(&bytes, flush) else {
                self.items.push_front(item);
                return drained;
            };
            self.bytes = self.bytes.saturating_sub(size);
            drained.bytes += bytes.len();
            if let Item::Step { slot, .. } = item {
                slot.fill(ticket);
            }
        }
        drained
    }
}

/// What a drain achieved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drained {
    /// Whether a gap entry was written: replay needs a snapshot behind it.
    pub(crate) gap: bool,
    /// Bytes handed over.
    pub(crate) bytes: usize,
}

/// A tick as an entry; as a JSON step when its cells are not in the order that the compact form needs.
pub(crate) fn encode_tick(tick: &Tick) -> Vec<u8> {
    let entry = Entry::Ticks(vec![tick.clone()]);
    entry.encode().unwrap_or_else(|_| encode_tick_as_step(tick.now, &tick.deltas))
}

/// The long form of a tick. Field names are those of control's event.
pub(crate) fn encode_tick_as_step(now: Timestamp, deltas: &[OutcomeDelta]) -> Vec<u8> {
    let event = serde_json::json!({ "event": "tick", "deltas": deltas }).to_string();
    let step = Entry::Step { now, recorded: Recorded::InTime, event: event.as_bytes(), commands: b"[]" };
    // A step has no order to violate.
    step.encode().unwrap_or_default()
}

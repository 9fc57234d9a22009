//! Profiles on their way in.
//!
//! Reading, taking out what must not be kept and packing need no lock. Under it all profiles of a request are checked before
//! the first one is taken: a request that is refused has left no trace, so it may come again.
//!
//! Not here: what a shard does with a profile (`head`).

use std::{collections::BTreeSet, time::Duration};

use homeostat_model::{Labels, profile::Profile};
use homeostat_store_wal::{Flush, Ticket};
use homeostat_wire::{
    profiles::{Subject, WindowId, encode_record_of, symbols_bytes_max},
    wal_record::PAYLOAD_BYTES_MAX,
};

use crate::{
    error::NotStored,
    head::{Shard, shard_of_profile},
    limits::{FUTURE_MAX_MS, LABELS_BYTES_MAX, LATE_MAX_MS, SENDERS_MAX, SERIES_MAX, SYMBOLS_BYTES_MAX},
    store::{ProfileStore, State, millis},
};

/// A profile that only needs room.
struct Ready {
    start_ms: i64,
    subject: Subject,
    profile: Profile,
    symbols_bytes: usize,
    record: Vec<u8>,
    window: Option<WindowId>,
}

/// What became of a sender's window.
#[derive(Debug)]
pub enum Pushed {
    /// It was taken, and is durable when the ticket says so.
    Taken(Ticket),
    /// It had been taken before, and is durable when the ticket says so, or already.
    Repeated(Option<Ticket>),
}

impl ProfileStore {
    /// Takes a profile that came at `now_ms`; one that does not say when it began, began then. It can be asked for at once,
    /// and is durable when the ticket says so. Blocks for as long as others push, never for the disk.
    pub fn push(&self, labels: &Labels, profile: &Profile, now_ms: i64) -> Result<Ticket, NotStored> {
        let ready = self.ready(None, labels, profile, now_ms)?;
        let mut tickets = self.take(vec![ready], now_ms)?;
        // As many tickets as profiles.
        tickets.pop().ok_or_else(|| self.busy())
    }

    /// Takes all of these profiles as [`Self::push`] does, or none of them.
    pub fn push_all(&self, profiles: &[(Labels, Profile)], now_ms: i64) -> Result<Vec<Ticket>, NotStored> {
        let ready = profiles.iter().map(|(labels, profile)| self.ready(None, labels, profile, now_ms));
        let ready: Vec<Ready> = ready.collect::<Result<_, _>>()?;
        self.take(ready, now_ms)
    }

    /// Takes a sender's window as [`Self::push`] does, unless it has taken it, or a later one of the same sender, before.
    pub fn push_once(
        &self,
        window: WindowId,
        labels: &Labels,
        profile: &Profile,
        now_ms: i64,
    ) -> Result<Pushed, NotStored> {
        // A repetition is told as one, though it may be too old by now, before any work.
        if let Some(before) = self.read().senders.repeated(window) {
            self.count_repeated();
            return Ok(Pushed::Repeated(before.ticket));
        }
        let ready = self.ready(Some(window), labels, profile, now_ms)?;
        let mut tickets = self.take(vec![ready], now_ms)?;
        if let Some(ticket) = tickets.pop() {
            return Ok(Pushed::Taken(ticket));
        }
        // Somebody else brought it meanwhile.
        self.count_repeated();
        Ok(Pushed::Repeated(self.read().senders.repeated(window).and_then(|before| before.ticket)))
    }

    fn ready(
        &self,
        window: Option<WindowId>,
        labels: &Labels,
        profile: &Profile,
        now_ms: i64,
    ) -> Result<Ready, NotStored> {
        if profile.types().is_empty() {
            return Err(NotStored::NoTypes);
        }
        let check = |bytes| match bytes {
            0..=LABELS_BYTES_MAX => Ok(()),
            bytes => Err(NotStored::Labels { bytes, limit: LABELS_BYTES_MAX }),
        };
        // Before any work, and again as they are kept.
        check(labels.as_packed().len())?;
        let redaction = &self.options().redaction;
        let (labels, mut profile) = (redaction.labels(labels), redaction.profile(profile));
        let subject = Subject::of(labels.clone(), &profile);
        check(subject.bytes())?;
        if profile.started_ns == 0 {
            profile.started_ns = now_ms.saturating_mul(1_000_000);
        }
        self.check_time(profile.started_ns / 1_000_000, now_ms)?;
        let symbols_bytes = symbols_bytes_max(&profile);
        if SYMBOLS_BYTES_MAX < symbols_bytes {
            return Err(NotStored::TooLarge { bytes: symbols_bytes });
        }
        let record = encode_record_of(window, &labels, &profile);
        let record = record.map_err(|_| NotStored::TooLarge { bytes: symbols_bytes })?;
        if PAYLOAD_BYTES_MAX < record.len() {
            return Err(NotStored::TooLarge { bytes: record.len() });
        }
        Ok(Ready { start_ms: shard_of_profile(&profile), subject, profile, symbols_bytes, record, window })
    }

    fn check_time(&self, started_ms: i64, now_ms: i64) -> Result<(), NotStored> {
        let late_ms = self.options().retention.map_or(LATE_MAX_MS, |kept: Duration| millis(kept).min(LATE_MAX_MS));
        if now_ms.saturating_add(FUTURE_MAX_MS) < started_ms {
            return Err(NotStored::Ahead { started_ms });
        }
        if started_ms < now_ms.saturating_sub(late_ms) {
            return Err(NotStored::Late { started_ms });
        }
        Ok(())
    }

    /// Takes all but windows that were taken before.
    fn take(&self, mut ready: Vec<Ready>, now_ms: i64) -> Result<Vec<Ticket>, NotStored> {
        let mut state = self.write();
        ready.retain(|ready| ready.window.is_none_or(|window| state.senders.repeated(window).is_none()));
        let record_bytes = ready.iter().map(|ready| ready.record.len()).sum();
        if self.options().head_bytes_max.saturating_mul(2) < state.bytes() {
            drop(state);
            return Err(self.busy());
        }
        check_series(&state, &ready)?;
        for window in ready.iter().filter_map(|ready| ready.window) {
            if !state.senders.room_for(window.sender, now_ms) {
                return Err(NotStored::Senders { limit: SENDERS_MAX });
            }
        }
        // Nobody else appends while we hold the lock.
        self.wal().room(record_bytes).map_err(|_| self.busy())?;
        let mut tickets = Vec::with_capacity(ready.len());
        for Ready { start_ms, subject, profile, symbols_bytes, record, window } in ready {
            let shard = state.shard_for(start_ms, &subject, symbols_bytes, now_ms);
            // Refused only from the moment on at which the log is being closed.
            let ticket = self.wal().append_granted(&record, Flush::Grouped).map_err(|_| self.busy())?;
            shard.add(ticket.seq(), subject, &profile);
            shard.ticket = Some(ticket.clone());
            if let Some(window) = window {
                state.senders.took(window, now_ms, Some(ticket.clone()));
            }
            tickets.push(ticket);
        }
        drop(state);
        self.count_pushed(tickets.len());
        Ok(tickets)
    }
}

/// Says whether there is room for the series of all profiles.
fn check_series(state: &State, ready: &[Ready]) -> Result<(), NotStored> {
    for start_ms in ready.iter().map(|ready| ready.start_ms).collect::<BTreeSet<_>>() {
        let shard = state.open.get(&start_ms);
        let of_shard = ready.iter().filter(|ready| ready.start_ms == start_ms);
        let new = of_shard.filter(|ready| shard.is_none_or(|shard| !shard.has(&ready.subject)));
        // Two profiles of one new series count twice here, which refuses a little early.
        if shard.map_or(0, Shard::series) + new.count() > SERIES_MAX {
            return Err(NotStored::Series { limit: SERIES_MAX });
        }
    }
    Ok(())
}

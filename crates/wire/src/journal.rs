//! Entries of the journal: every event and command of control, with ticks as few bytes.
//!
//! An entry is one record of the log. Its first byte says what it is:
//!
//! ```text
//! 1  ticks      time, then per tick: time step, changed cells, per cell: id step, bitmap of counters, counters
//! 2  step       time, flags, length of the event, event (JSON), commands (JSON)
//! 3  tick step  time, flags, changed cells as in a tick, commands (JSON)
//! 4  snapshot   time, control's state (compressed by the store)
//! 5  gap        time, time of its begin, merged ticks, lost steps
//! ```
//!
//! Intuition of a tick: nearly every tick lies 10 ms after the one before it and touches the same few cells with
//! small counts. So only differences are written, as varints, and counters that are zero are not written at all.
//! An event and its commands share one record: after a crash both are there or neither is.
//!
//! Not here: what events and commands mean (`control`; to this codec they are opaque bytes), compression, the log.
//! Invariants: decoding is strict (one value has one encoding, no bytes are left over) and bounded by the limits
//! below, whatever the input. `docs/format/journal.md` has every byte.

use homeostat_model::{
    CellId, OutcomeClass, OutcomeCounts, OutcomeDelta, Timestamp,
    outcome::{CELLS_MAX, THRESHOLDS_MAX, TICK},
};
use thiserror::Error;

use crate::varint::{put, take, unzigzag, zigzag};

/// Ticks in one entry at most: ten seconds of them, ten times what the store gathers.
pub const TICKS_MAX: usize = 1_000;

const KIND_TICKS: u8 = 1;
const KIND_STEP: u8 = 2;
const KIND_TICK_STEP: u8 = 3;
const KIND_SNAPSHOT: u8 = 4;
const KIND_GAP: u8 = 5;
const FLAG_LATE: u8 = 1;
/// One bit per counter: classes first, then thresholds, so that a cell without slow requests has a one-byte bitmap.
const COUNTERS: usize = OutcomeClass::COUNT + THRESHOLDS_MAX;
const _: () = assert!(COUNTERS <= 16);

/// Outcomes of one tick, with the time at which control saw them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Control's `now`.
    pub now: Timestamp,
    /// Changed cells only, ascending, one entry each.
    pub deltas: Vec<OutcomeDelta>,
}

/// When a step's record was written, in relation to its effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recorded {
    /// Before its commands took effect.
    #[default]
    InTime,
    /// Afterwards: the disk did not take it in time.
    Late,
}

/// One entry. JSON parts are borrowed from the record and not looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Ticks that gave no commands, oldest first, 1 to [`TICKS_MAX`].
    Ticks(Vec<Tick>),
    /// An event and the commands it gave.
    Step {
        /// Control's `now`.
        now: Timestamp,
        /// Whether the record is late.
        recorded: Recorded,
        /// The event as JSON.
        event: &'a [u8],
        /// The commands as a JSON array.
        commands: &'a [u8],
    },
    /// A tick that gave commands.
    TickStep {
        /// The tick.
        tick: Tick,
        /// Whether the record is late.
        recorded: Recorded,
        /// The commands as a JSON array.
        commands: &'a [u8],
    },
    /// Control's whole state after all entries before this one.
    Snapshot {
        /// Control's `now` at the latest of them.
        now: Timestamp,
        /// The state, as the store compressed it.
        state: &'a [u8],
    },
    /// The disk was out for so long that memory ran out: from `from` to `now` the journal is not exact.
    Gap {
        /// Time of the newest entry that is missing or merged.
        now: Timestamp,
        /// Time of the oldest.
        from: Timestamp,
        /// Ticks that were merged with others; their counts are kept.
        ticks_merged: u64,
        /// Steps that are lost.
        steps_lost: u64,
    },
}

/// Why ticks cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// Cells are not ascending, occur twice, or are beyond [`CELLS_MAX`].
    #[error("cells of a tick have to ascend and stay below {CELLS_MAX}; cell {cell} does not")]
    Cells {
        /// The offending cell.
        cell: u16,
    },
}

/// Why bytes are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The first byte is none of the known kinds.
    #[error("unknown kind of entry {kind}; a newer program has written it")]
    Kind {
        /// The byte; `None` stands for an empty record.
        kind: u8,
    },
    /// It ends too early, or a number is overlong.
    #[error("the entry is cut short or holds an overlong number")]
    Short,
    /// A value that no encoder writes: unknown flags, cells out of order, zero counters, bytes left over.
    #[error("the entry holds a value that is never written: {what}")]
    Value {
        /// Which.
        what: &'static str,
    },
    /// More ticks or cells than the limits allow.
    #[error("the entry has {count} {what}, the limit is {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
        /// The limit.
        limit: usize,
    },
}

/// Gathers ticks into one entry without keeping them in decoded form.
#[derive(Clone, Debug, Default)]
pub struct TicksWriter {
    body: Vec<u8>,
    count: usize,
    first: Timestamp,
    last: Timestamp,
}

impl TicksWriter {
    /// Adds a tick. On error nothing is added.
    pub fn push(&mut self, now: Timestamp, deltas: &[OutcomeDelta]) -> Result<(), EncodeError> {
        let restore = self.body.len();
        if self.count > 0 {
            put_step(now, self.last, &mut self.body);
        }
        if let Err(error) = put_deltas(deltas, &mut self.body) {
            self.body.truncate(restore);
            return Err(error);
        }
        if self.count == 0 {
            self.first = now;
        }
        self.last = now;
        self.count += 1;
        Ok(())
    }

    /// Ticks gathered.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes gathered.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Time of the oldest tick; meaningless when there are none.
    pub const fn first(&self) -> Timestamp {
        self.first
    }

    /// Takes the entry out, leaving nothing; `None` when no tick was gathered.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        if self.count == 0 {
            return None;
        }
        let mut out = Vec::with_capacity(self.body.len() + 12);
        out.push(KIND_TICKS);
        put_time(self.first, &mut out);
        put(self.count as u64, &mut out);
        out.append(&mut self.body);
        self.count = 0;
        Some(out)
    }
}

/// Appends a step's entry to `out`.
pub fn put_step_entry(now: Timestamp, recorded: Recorded, event: &[u8], commands: &[u8], out: &mut Vec<u8>) {
    out.push(KIND_STEP);
    put_time(now, out);
    out.push(flags(recorded));
    put(event.len() as u64, out);
    out.extend_from_slice(event);
    out.extend_from_slice(commands);
}

/// Appends a tick with commands to `out`; on error `out` is as before.
pub fn put_tick_step_entry(
    now: Timestamp,
    recorded: Recorded,
    deltas: &[OutcomeDelta],
    commands: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let restore = out.len();
    out.push(KIND_TICK_STEP);
    put_time(now, out);
    out.push(flags(recorded));
    put_deltas(deltas, out).inspect_err(|_| out.truncate(restore))?;
    out.extend_from_slice(commands);
    Ok(())
}

/// Appends a snapshot's entry to `out`.
pub fn put_snapshot_entry(now: Timestamp, state: &[u8], out: &mut Vec<u8>) {
    out.push(KIND_SNAPSHOT);
    put_time(now, out);
    out.extend_from_slice(state);
}

/// Appends a gap's entry to `out`.
pub fn put_gap_entry(now: Timestamp, from: Timestamp, ticks_merged: u64, steps_lost: u64, out: &mut Vec<u8>) {
    out.push(KIND_GAP);
    put_time(now, out);
    put_time(from, out);
    put(ticks_merged, out);
    put(steps_lost, out);
}

impl Entry<'_> {
    /// The record of this entry.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        match self {
            Self::Ticks(ticks) => {
                let mut writer = TicksWriter::default();
                for tick in ticks {
                    writer.push(tick.now, &tick.deltas)?;
                }
                out = writer.finish().unwrap_or_default();
            }
            Self::Step { now, recorded, event, commands } => {
                put_step_entry(*now, *recorded, event, commands, &mut out);
            }
            Self::TickStep { tick, recorded, commands } => {
                put_tick_step_entry(tick.now, *recorded, &tick.deltas, commands, &mut out)?;
            }
            Self::Snapshot { now, state } => put_snapshot_entry(*now, state, &mut out),
            Self::Gap { now, from, ticks_merged, steps_lost } => {
                put_gap_entry(*now, *from, *ticks_merged, *steps_lost, &mut out);
            }
        }
        Ok(out)
    }

    /// Time of the newest thing in this entry.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Ticks(ticks) => ticks.last().map_or(Timestamp::MIN, |tick| tick.now),
            Self::TickStep { tick, .. } => tick.now,
            Self::Step { now, .. } | Self::Snapshot { now, .. } | Self::Gap { now, .. } => *now,
        }
    }
}

/// Marks an encoded step as late in place; other entries stay as they are.
pub fn mark_late(entry: &mut [u8]) {
    if let [KIND_STEP | KIND_TICK_STEP, _, _, _, _, _, _, _, _, flags, ..] = entry {
        *flags |= FLAG_LATE;
    }
}

/// Reads one record.
pub fn decode(record: &[u8]) -> Result<Entry<'_>, DecodeError> {
    let (&kind, mut body) = record.split_first().ok_or(DecodeError::Short)?;
    let body = &mut body;
    match kind {
        KIND_TICKS => decode_ticks(body).map(Entry::Ticks),
        KIND_STEP => {
            let (now, recorded) = (take_time(body)?, take_flags(body)?);
            let len = usize::try_from(number(body)?).map_err(|_| DecodeError::Short)?;
            let (event, commands) = body.split_at_checked(len).ok_or(DecodeError::Short)?;
            Ok(Entry::Step { now, recorded, event, commands })
        }
        KIND_TICK_STEP => {
            let (now, recorded) = (take_time(body)?, take_flags(body)?);
            let tick = Tick { now, deltas: take_deltas(body)? };
            Ok(Entry::TickStep { tick, recorded, commands: body })
        }
        KIND_SNAPSHOT => Ok(Entry::Snapshot { now: take_time(body)?, state: body }),
        KIND_GAP => {
            let (now, from) = (take_time(body)?, take_time(body)?);
            let gap = Entry::Gap { now, from, ticks_merged: number(body)?, steps_lost: number(body)? };
            if body.is_empty() { Ok(gap) } else { Err(DecodeError::Value { what: "bytes after the end" }) }
        }
        kind => Err(DecodeError::Kind { kind }),
    }
}

/// Time of the newest thing in a record, without decoding the rest of it unless it holds ticks.
pub fn peek_now(record: &[u8]) -> Result<Timestamp, DecodeError> {
    match record.split_first() {
        Some((&KIND_TICKS, _)) => decode(record).map(|entry| entry.now()),
        Some((_, mut body)) => take_time(&mut body),
        None => Err(DecodeError::Short),
    }
}

fn decode_ticks(body: &mut &[u8]) -> Result<Vec<Tick>, DecodeError> {
    let mut now = take_time(body)?;
    let count = number(body)?;
    if count == 0 {
        return Err(DecodeError::Value { what: "no ticks" });
    }
    if TICKS_MAX as u64 <= count.saturating_sub(1) {
        return Err(DecodeError::Limit { what: "ticks", count, limit: TICKS_MAX });
    }
    let mut ticks = Vec::with_capacity(count as usize);
    for index in 0..count {
        if index > 0 {
            now = take_step(now, body)?;
        }
        ticks.push(Tick { now, deltas: take_deltas(body)? });
    }
    if body.is_empty() { Ok(ticks) } else { Err(DecodeError::Value { what: "bytes after the end" }) }
}

fn flags(recorded: Recorded) -> u8 {
    match recorded {
        Recorded::InTime => 0,
        Recorded::Late => FLAG_LATE,
    }
}

fn take_flags(body: &mut &[u8]) -> Result<Recorded, DecodeError> {
    let (&flags, rest) = body.split_first().ok_or(DecodeError::Short)?;
    *body = rest;
    match flags {
        0 => Ok(Recorded::InTime),
        FLAG_LATE => Ok(Recorded::Late),
        _ => Err(DecodeError::Value { what: "unknown flags" }),
    }
}

fn number(body: &mut &[u8]) -> Result<u64, DecodeError> {
    take(body).ok_or(DecodeError::Short)
}

fn put_time(time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(&time.unix_ns().to_le_bytes());
}

fn take_time(body: &mut &[u8]) -> Result<Timestamp, DecodeError> {
    let (bytes, rest) = body.split_first_chunk::<8>().ok_or(DecodeError::Short)?;
    *body = rest;
    Ok(Timestamp::from_unix_ns(i64::from_le_bytes(*bytes)))
}

/// A tick's distance from the expected 10 ms: in microseconds when it is whole (lowest bit 0), else in nanoseconds.
fn put_step(now: Timestamp, last: Timestamp, out: &mut Vec<u8>) {
    let off_ns = now.unix_ns().wrapping_sub(last.unix_ns()).wrapping_sub(TICK.ns() as i64);
    if off_ns % 1_000 == 0 {
        put(zigzag(off_ns / 1_000) << 1, out);
    } else {
        // Shifting would lose the highest bit of distances beyond 146 years; those are written in full.
        let steps = zigzag(off_ns);
        if steps < 1 << 62 {
            put(steps << 1 | 1, out);
        } else {
            put(FAR, out);
            put(steps, out);
        }
    }
}

/// Announces a distance of more than 146 years; no other distance is written like this.
const FAR: u64 = u64::MAX;

fn take_step(last: Timestamp, body: &mut &[u8]) -> Result<Timestamp, DecodeError> {
    let value = number(body)?;
    let off_ns = if value == FAR {
        let steps = number(body)?;
        if steps < 1 << 62 {
            return Err(DecodeError::Value { what: "a long distance that is short" });
        }
        unzigzag(steps)
    } else if value & 1 == 0 {
        unzigzag(value >> 1).checked_mul(1_000).ok_or(DecodeError::Value { what: "a distance beyond time" })?
    } else {
        if 1 << 63 <= value {
            return Err(DecodeError::Value { what: "a distance with a needless bit" });
        }
        unzigzag(value >> 1)
    };
    if (value == FAR || value & 1 == 1) && off_ns % 1_000 == 0 {
        return Err(DecodeError::Value { what: "whole microseconds written as nanoseconds" });
    }
    Ok(Timestamp::from_unix_ns(last.unix_ns().wrapping_add(TICK.ns() as i64).wrapping_add(off_ns)))
}

fn put_deltas(deltas: &[OutcomeDelta], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    put(deltas.len() as u64, out);
    let mut next = 0;
    for delta in deltas {
        let cell = usize::from(delta.cell.0);
        let gap = cell.checked_sub(next).filter(|_| cell < CELLS_MAX);
        let gap = gap.ok_or(EncodeError::Cells { cell: delta.cell.0 })?;
        next = cell + 1;
        put(gap as u64, out);
        put_counts(&delta.counts, out);
    }
    Ok(())
}

fn put_counts(counts: &OutcomeCounts, out: &mut Vec<u8>) {
    let counters = || counts.by_class.iter().chain(&counts.slow);
    let bitmap = counters().enumerate().fold(0, |bits, (at, count)| bits | u64::from(*count != 0) << at);
    put(bitmap, out);
    for count in counters().filter(|count| **count != 0) {
        put(*count, out);
    }
}

fn take_deltas(body: &mut &[u8]) -> Result<Vec<OutcomeDelta>, DecodeError> {
    let count = number(body)?;
    if CELLS_MAX as u64 <= count.saturating_sub(1) {
        return Err(DecodeError::Limit { what: "cells", count, limit: CELLS_MAX });
    }
    // A cell takes two bytes at least: a short record cannot make us reserve much.
    let mut deltas = Vec::with_capacity((count as usize).min(body.len() / 2));
    let mut next = 0_u64;
    for _ in 0..count {
        let cell = next.saturating_add(number(body)?);
        if CELLS_MAX as u64 <= cell {
            return Err(DecodeError::Value { what: "a cell beyond the limit" });
        }
        next = cell + 1;
        deltas.push(OutcomeDelta { cell: CellId(cell as u16), counts: take_counts(body)? });
    }
    Ok(deltas)
}

fn take_counts(body: &mut &[u8]) -> Result<OutcomeCounts, DecodeError> {
    let bitmap = number(body)?;
    if 1 << COUNTERS <= bitmap {
        return Err(DecodeError::Value { what: "an unknown counter" });
    }
    let mut counts = OutcomeCounts::default();
    for (at, slot) in counts.by_class.iter_mut().chain(&mut counts.slow).enumerate() {
        if bitmap >> at & 1 == 1 {
            *slot = number(body)?;
            if *slot == 0 {
                return Err(DecodeError::Value { what: "a counter of zero" });
            }
        }
    }
    Ok(counts)
}

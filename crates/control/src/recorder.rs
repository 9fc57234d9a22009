//! The black box: the last minutes at tick resolution, kept in memory so that an incident can show how it began.
//!
//! The binary owns one, feeds it what it feeds control (and the gateway's histograms and example requests), and asks for
//! a frozen copy when control says so. Ticks are packed as they come: cell ids as differences, then only the counters
//! that are not zero, all as varints; a typical changed cell takes 5 to 8 bytes instead of 88.
//!
//! Not here: when to freeze (`control`), keeping the copy (`store-events`), redaction (the gateway, before it records).
//! Invariant: memory is bounded by the named limits whatever is fed; what is forgotten early makes a copy `incomplete`.
//!
//! Layout of a packed tick: count of cells, then per cell: difference to the previous cell id, mask of the non-zero
//! counters (bits 0–5 the classes, 6–9 the slow ones), the counters. Every number is an LEB128 varint.

use std::collections::{BTreeMap, VecDeque};

use homeostat_model::{
    CellId, CellKey, ChangeEvent, OutcomeClass, OutcomeCounts, OutcomeDelta, Span, Timestamp,
    incident::{BlackBox, CellLatency, Exemplar, LatencySecond, TickCounts},
    outcome::THRESHOLDS_MAX,
};

/// How far back the recording reaches: the minute before an incident, and the default verification with ample room.
pub const RECORDED: Span = Span::from_mins(5);

/// Packed ticks at most. 5 min of 100 ticks/s with 100 changed cells of 7 bytes are 21 MiB; 1,000 changed cells still
/// leave 95 s, more than the minute before an incident.
pub const TICK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Latency intervals kept: one a second over [`RECORDED`].
const LATENCY_INTERVALS_MAX: usize = 300;
/// Buckets of all kept intervals at most: 300 intervals of 100 cells with 16 non-empty buckets each are 480,000;
/// 16 bytes a bucket make 16 MiB.
const LATENCY_BUCKETS_MAX: usize = 1024 * 1024;
/// Example requests kept per cell, newest win: enough to see a pattern.
const EXEMPLARS_PER_CELL_MAX: usize = 16;
/// Example requests kept in all: 4,096 at no more than 1 KiB are 4 MiB.
const EXEMPLARS_MAX: usize = 4_096;
/// Example requests in one frozen copy.
const EXEMPLARS_FROZEN_MAX: usize = 64;
/// Changes kept; as many as control keeps.
const CHANGES_MAX: usize = 100;
/// Changes this long before the recording are still suspects.
const SUSPECTS_WITHIN: Span = Span::from_mins(10);

/// The recorder.
#[derive(Debug)]
pub struct Recorder {
    /// When it began to listen.
    start: Timestamp,
    /// Oldest first.
    ticks: VecDeque<(Timestamp, Box<[u8]>)>,
    tick_bytes: usize,
    /// Everything up to here was forgotten: it was older than [`RECORDED`], or there was no room.
    lost_until: Option<Timestamp>,
    latencies: VecDeque<(Timestamp, Vec<CellLatency>)>,
    latency_buckets: usize,
    exemplars: BTreeMap<CellId, VecDeque<Exemplar>>,
    exemplar_count: usize,
    changes: VecDeque<ChangeEvent>,
    packing: Vec<u8>,
}

impl Recorder {
    /// An empty recorder that listens from `start` on.
    pub fn new(start: Timestamp) -> Self {
        Self {
            start,
            ticks: VecDeque::new(),
            tick_bytes: 0,
            lost_until: None,
            latencies: VecDeque::new(),
            latency_buckets: 0,
            exemplars: BTreeMap::new(),
            exemplar_count: 0,
            changes: VecDeque::new(),
            packing: Vec::new(),
        }
    }

    /// Bytes of packed ticks held, for the process's own metrics.
    pub fn tick_bytes(&self) -> usize {
        self.tick_bytes
    }

    /// Records a tick: changed cells, ascending, one entry each. Empty ticks take no room.
    pub fn tick(&mut self, at: Timestamp, deltas: &[OutcomeDelta]) {
        if !deltas.is_empty() {
            self.packing.clear();
            pack(deltas, &mut self.packing);
            self.tick_bytes += self.packing.len();
            self.ticks.push_back((at, self.packing.as_slice().into()));
        }
        self.forget_old(at);
    }

    /// Records the latency histograms of an interval, about one a second: non-empty buckets of changed cells.
    pub fn latencies(&mut self, at: Timestamp, cells: Vec<CellLatency>) {
        self.latency_buckets += cells.iter().map(|c| c.buckets.len()).sum::<usize>();
        self.latencies.push_back((at, cells));
        while LATENCY_INTERVALS_MAX < self.latencies.len() || LATENCY_BUCKETS_MAX < self.latency_buckets {
            let Some((_, gone)) = self.latencies.pop_front() else { break };
            self.latency_buckets -= gone.iter().map(|c| c.buckets.len()).sum::<usize>();
        }
    }

    /// Records an example request; the cell's oldest gives way.
    pub fn exemplar(&mut self, exemplar: Exemplar) {
        let kept = self.exemplars.entry(exemplar.cell).or_default();
        if EXEMPLARS_PER_CELL_MAX <= kept.len() {
            kept.pop_front();
            self.exemplar_count -= 1;
        }
        kept.push_back(exemplar);
        self.exemplar_count += 1;
        if EXEMPLARS_MAX < self.exemplar_count {
            self.forget_oldest_exemplar();
        }
    }

    /// Records a change in the world.
    pub fn change(&mut self, change: ChangeEvent) {
        if CHANGES_MAX <= self.changes.len() {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    /// A copy of what is known about `cells` (ascending) from `from` to `to`, both included. `names` says what the cell
    /// ids mean; cells it does not name are shown by number alone.
    pub fn freeze(
        &self,
        cells: &[CellId],
        from: Timestamp,
        to: Timestamp,
        names: &BTreeMap<CellId, CellKey>,
    ) -> BlackBox {
        let within = |at: Timestamp| from <= at && at <= to;
        let wanted = |cell: CellId| cells.binary_search(&cell).is_ok();
        let ticks = self.ticks.iter().filter(|(at, _)| within(*at)).filter_map(|(at, packed)| {
            let mut deltas = unpack(packed);
            deltas.retain(|d| wanted(d.cell));
            (!deltas.is_empty()).then_some(TickCounts { at: *at, deltas })
        });
        let services: Vec<_> = cells.iter().filter_map(|c| names.get(c)).map(|key| &key.service).collect();
        let reaches = |c: &&ChangeEvent| {
            from - SUSPECTS_WITHIN <= c.at && c.at <= to && c.service.as_ref().is_none_or(|s| services.contains(&s))
        };
        BlackBox {
            from,
            to,
            cells: cells.iter().filter_map(|c| Some((*c, names.get(c)?.clone()))).collect(),
            ticks: ticks.collect(),
            latencies: self.merged_latencies(cells, from, to),
            latency_seconds: self.latency_seconds(cells, from, to),
            exemplars: self.chosen_exemplars(cells, from, to),
            changes: self.changes.iter().filter(reaches).cloned().collect(),
            profiles: Vec::new(),
            kernel: Vec::new(),
            incomplete: from < self.start || self.lost_until.is_some_and(|lost| from <= lost),
        }
    }

    fn merged_latencies(&self, cells: &[CellId], from: Timestamp, to: Timestamp) -> Vec<CellLatency> {
        let mut merged: BTreeMap<CellId, BTreeMap<u64, u64>> = BTreeMap::new();
        let intervals = self.latencies.iter().filter(|(at, _)| from <= *at && *at <= to);
        for latency in intervals.flat_map(|(_, cells)| cells).filter(|l| cells.binary_search(&l.cell).is_ok()) {
            let sums = merged.entry(latency.cell).or_default();
            for (bound, count) in &latency.buckets {
                let sum = sums.entry(*bound).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        merged.into_iter().map(|(cell, sums)| CellLatency { cell, buckets: sums.into_iter().collect() }).collect()
    }

    fn latency_seconds(&self, cells: &[CellId], from: Timestamp, to: Timestamp) -> Vec<LatencySecond> {
        let wanted = |latency: &&CellLatency| cells.binary_search(&latency.cell).is_ok();
        let intervals = self.latencies.iter().filter(|(at, _)| from <= *at && *at <= to);
        intervals
            .map(|(at, of)| LatencySecond { at: *at, cells: of.iter().filter(wanted).cloned().collect() })
            .collect()
    }

    /// The newest of the time and cells wanted, newest last; bad ones go before good ones when there are too many.
    fn chosen_exemplars(&self, cells: &[CellId], from: Timestamp, to: Timestamp) -> Vec<Exemplar> {
        let wanted = cells.iter().filter_map(|cell| self.exemplars.get(cell)).flatten();
        let mut chosen: Vec<Exemplar> = wanted.filter(|e| from <= e.at && e.at <= to).cloned().collect();
        chosen.sort_by_key(|e| (!e.class.is_bad(), std::cmp::Reverse(e.at)));
        chosen.truncate(EXEMPLARS_FROZEN_MAX);
        chosen.sort_by_key(|e| e.at);
        chosen
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((at, packed)) = self.ticks.front() {
            let crowded = TICK_BYTES_MAX < self.tick_bytes;
            if !crowded && now.since(*at) <= RECORDED {
                return;
            }
            self.lost_until = Some(*at);
            self.tick_bytes -= packed.len();
            self.ticks.pop_front();
        }
    }

    fn forget_oldest_exemplar(&mut self) {
        let oldest = self.exemplars.iter().filter_map(|(cell, kept)| Some((kept.front()?.at, *cell))).min();
        if let Some((_, cell)) = oldest
            && let Some(kept) = self.exemplars.get_mut(&cell)
        {
            kept.pop_front();
            self.exemplar_count -= 1;
            if kept.is_empty() {
                self.exemplars.remove(&cell);
            }
        }
    }
}

const COUNTERS: usize = OutcomeClass::COUNT + THRESHOLDS_MAX;

fn pack(deltas: &[OutcomeDelta], out: &mut Vec<u8>) {
    put(out, deltas.len() as u64);
    let mut previous = 0_u16;
    for delta in deltas {
        put(out, u64::from(delta.cell.0.wrapping_sub(previous)));
        previous = delta.cell.0;
        let counters = || delta.counts.by_class.iter().chain(&delta.counts.slow).copied();
        let mask = counters().enumerate().filter(|(_, n)| *n > 0).fold(0_u64, |mask, (bit, _)| mask | 1 << bit);
        put(out, mask);
        for count in counters().filter(|n| *n > 0) {
            put(out, count);
        }
    }
}

/// Reads what [`pack`] wrote; our own memory, so an end where none should be simply ends the list.
fn unpack(mut packed: &[u8]) -> Vec<OutcomeDelta> {
    let mut deltas = Vec::new();
    let mut previous = 0_u16;
    let Some(count) = take(&mut packed) else { return deltas };
    for _ in 0..count {
        let (Some(step), Some(mask)) = (take(&mut packed), take(&mut packed)) else { return deltas };
        previous = previous.wrapping_add(step as u16);
        let mut counts = OutcomeCounts::default();
        for bit in (0..COUNTERS).filter(|bit| mask >> bit & 1 == 1) {
            let Some(count) = take(&mut packed) else { return deltas };
            let slot = match bit.checked_sub(OutcomeClass::COUNT) {
                None => counts.by_class.get_mut(bit),
                Some(slow) => counts.slow.get_mut(slow),
            };
            if let Some(slot) = slot {
                *slot = count;
            }
        }
        deltas.push(OutcomeDelta { cell: CellId(previous), counts });
    }
    deltas
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take(packed: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = packed.split_first()?;
        *packed = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests;

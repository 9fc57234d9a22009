//! Outcome counters of one worker: the cost of sensing, paid once per request.
//!
//! A worker is the only writer of its shard, so a count is a load, an addition and a store; no atomic read-modify-write,
//! no lock, no allocation, no channel. Readers on other threads see whole requests: each cell carries a sequence number
//! that is odd while the cell is being written (a seqlock whose reader never makes the writer wait). A reader that meets
//! an odd or changed number leaves the cell for its next visit; totals only grow, so nothing is lost.
//!
//! Cells live in blocks of [`CELLS_PER_BLOCK`], made at the first request of one of them (or by whoever swaps in a table
//! that has it), so that memory follows the number of cells in use: 1.2 KiB each.
//!
//! Invariant: within one reading of a cell, the slow counts never exceed the answered requests.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use homeostat_model::{
    CellId, OutcomeClass, OutcomeCounts,
    outcome::{CELLS_MAX, THRESHOLDS_MAX},
};

use crate::histogram::{self, BUCKETS};

/// Cells made together: 64 cells are 75 KiB, and a block's counter of writes saves the reader 64 looks when idle.
pub(crate) const CELLS_PER_BLOCK: usize = 64;
const BLOCKS: usize = CELLS_MAX / CELLS_PER_BLOCK;
const _: () = assert!(BLOCKS * CELLS_PER_BLOCK == CELLS_MAX);

/// The end of one request, as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Whose.
    pub cell: CellId,
    /// How it ended.
    pub class: OutcomeClass,
    /// From the request head to the end of the answer, in microseconds.
    pub latency_us: u64,
    /// The cell's latency thresholds in microseconds, ascending; `u64::MAX` where there is none.
    pub thresholds_us: [u64; THRESHOLDS_MAX],
}

/// Counters of one cell, alone on their cache lines.
#[repr(align(64))]
#[derive(Debug)]
struct Cell {
    sequence: AtomicU32,
    by_class: [AtomicU64; OutcomeClass::COUNT],
    slow: [AtomicU64; THRESHOLDS_MAX],
    latency: [AtomicU32; BUCKETS],
}

#[derive(Debug)]
struct Block {
    /// Outcomes recorded in this block.
    writes: AtomicU64,
    cells: Box<[Cell]>,
}

/// All cells of one worker. Shared between the worker, which writes, and one collector, which reads.
#[derive(Debug)]
pub struct CellShard {
    blocks: Box<[OnceLock<Block>]>,
}

/// What a reader knows of one block from before.
#[derive(Debug, Default)]
pub(crate) struct BlockMemory {
    writes: u64,
    cells: Vec<CellMemory>,
}

#[derive(Clone, Debug, Default)]
struct CellMemory {
    sequence: u32,
    counts: OutcomeCounts,
}

impl CellShard {
    /// An empty shard; no cell has memory yet.
    pub fn new() -> Self {
        Self { blocks: (0..BLOCKS).map(|_| OnceLock::new()).collect() }
    }

    /// Makes the memory of a cell, so that its first request does not have to.
    pub fn prepare(&self, cell: CellId) {
        if let Some(block) = self.blocks.get(usize::from(cell.0) / CELLS_PER_BLOCK) {
            block.get_or_init(Block::new);
        }
    }

    /// Counts one outcome. Must only be called by the shard's worker. Ids beyond [`CELLS_MAX`] are ignored.
    pub fn record(&self, outcome: &Outcome) {
        let index = usize::from(outcome.cell.0);
        let Some(block) = self.blocks.get(index / CELLS_PER_BLOCK) else { return };
        let block = block.get_or_init(Block::new);
        let Some(cell) = block.cells.get(index % CELLS_PER_BLOCK) else { return };
        cell.record(outcome);
        block.writes.store(block.writes.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    /// Calls `changed` with the cells whose counts grew since `memory`, ascending, and with how much they grew.
    pub(crate) fn read_changes(&self, memory: &mut Vec<BlockMemory>, mut changed: impl FnMut(CellId, OutcomeCounts)) {
        memory.resize_with(BLOCKS, BlockMemory::default);
        for (block_index, (block, memory)) in self.blocks.iter().zip(memory).enumerate() {
            let Some(block) = block.get() else { continue };
            let writes = block.writes.load(Ordering::Acquire);
            if writes == memory.writes {
                continue;
            }
            memory.cells.resize_with(CELLS_PER_BLOCK, CellMemory::default);
            let mut complete = true;
            for (cell_index, (cell, memory)) in block.cells.iter().zip(&mut memory.cells).enumerate() {
                match cell.read(memory.sequence) {
                    Reading::Same => {}
                    Reading::Busy => complete = false,
                    Reading::New { sequence, counts } => {
                        let id = CellId((block_index * CELLS_PER_BLOCK + cell_index) as u16);
                        changed(id, difference(&counts, &memory.counts));
                        *memory = CellMemory { sequence, counts };
                    }
                }
            }
            // A cell that was busy is visited again even if nothing else happens in its block.
            memory.writes = if complete { writes } else { writes.wrapping_sub(1) };
        }
    }

    /// Calls `found` with every cell that has counted a latency, ascending, and its histogram since the start.
    /// A bucket wraps at 2^32; differences of two readings are right as long as fewer requests lie between them.
    pub(crate) fn read_latencies(&self, mut found: impl FnMut(CellId, &[AtomicU32; BUCKETS])) {
        for (block_index, block) in self.blocks.iter().enumerate() {
            let Some(block) = block.get() else { continue };
            for (cell_index, cell) in block.cells.iter().enumerate() {
                if cell.sequence.load(Ordering::Relaxed) != 0 {
                    found(CellId((block_index * CELLS_PER_BLOCK + cell_index) as u16), &cell.latency);
                }
            }
        }
    }
}

impl Default for CellShard {
    fn default() -> Self {
        Self::new()
    }
}

enum Reading {
    Same,
    Busy,
    New { sequence: u32, counts: OutcomeCounts },
}

impl Block {
    fn new() -> Self {
        Self { writes: AtomicU64::new(0), cells: (0..CELLS_PER_BLOCK).map(|_| Cell::new()).collect() }
    }
}

impl Cell {
    fn new() -> Self {
        Self {
            sequence: AtomicU32::new(0),
            by_class: [const { AtomicU64::new(0) }; OutcomeClass::COUNT],
            slow: [const { AtomicU64::new(0) }; THRESHOLDS_MAX],
            latency: [const { AtomicU32::new(0) }; BUCKETS],
        }
    }

    fn record(&self, outcome: &Outcome) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        if let Some(count) = self.by_class.get(outcome.class as usize) {
            bump(count);
        }
        if !outcome.class.is_bad() {
            for (count, threshold_us) in self.slow.iter().zip(outcome.thresholds_us) {
                if outcome.latency_us <= threshold_us {
                    break;
                }
                bump(count);
            }
        }
        if let Some(count) = self.latency.get(histogram::bucket(outcome.latency_us)) {
            count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        // Zero means "never written"; skipping it once in 2^31 outcomes keeps that true.
        let next = if sequence == u32::MAX - 1 { 2 } else { sequence.wrapping_add(2) };
        self.sequence.store(next, Ordering::Release);
    }

    fn read(&self, known: u32) -> Reading {
        let before = self.sequence.load(Ordering::Acquire);
        if before == known {
            return Reading::Same;
        }
        if before % 2 == 1 {
            return Reading::Busy;
        }
        let mut counts = OutcomeCounts::default();
        for (to, from) in counts.by_class.iter_mut().zip(&self.by_class) {
            *to = from.load(Ordering::Relaxed);
        }
        for (to, from) in counts.slow.iter_mut().zip(&self.slow) {
            *to = from.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        if self.sequence.load(Ordering::Relaxed) == before {
            Reading::New { sequence: before, counts }
        } else {
            Reading::Busy
        }
    }
}

fn bump(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
}

fn difference(now: &OutcomeCounts, before: &OutcomeCounts) -> OutcomeCounts {
    let mut grown = *now;
    for (to, from) in grown.by_class.iter_mut().zip(before.by_class) {
        *to = to.saturating_sub(from);
    }
    for (to, from) in grown.slow.iter_mut().zip(before.slow) {
        *to = to.saturating_sub(from);
    }
    grown
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    const THRESHOLDS_US: [u64; THRESHOLDS_MAX] = [100, 1_000, u64::MAX, u64::MAX];

    fn outcome(cell: u16, class: OutcomeClass, latency_us: u64) -> Outcome {
        Outcome { cell: CellId(cell), class, latency_us, thresholds_us: THRESHOLDS_US }
    }

    fn changes(shard: &CellShard, memory: &mut Vec<BlockMemory>) -> Vec<(u16, [u64; 6], [u64; 4])> {
        let mut found = Vec::new();
        shard.read_changes(memory, |cell, counts| found.push((cell.0, counts.by_class, counts.slow)));
        found
    }

    #[test]
    fn only_what_changed_is_read_and_slow_means_answered_and_slow() {
        let (shard, mut memory) = (CellShard::new(), Vec::new());
        shard.record(&outcome(70, OutcomeClass::Ok, 101));
        shard.record(&outcome(3, OutcomeClass::ClientError, 5_000));
        shard.record(&outcome(3, OutcomeClass::ServerError, 5_000));
        shard.record(&outcome(3, OutcomeClass::Ok, 100));
        assert_eq!(
            changes(&shard, &mut memory),
            [(3, [1, 1, 1, 0, 0, 0], [1, 1, 0, 0]), (70, [1, 0, 0, 0, 0, 0], [1, 0, 0, 0])]
        );
        shard.record(&outcome(70, OutcomeClass::Reset, 1));
        assert_eq!(changes(&shard, &mut memory), [(70, [0, 0, 0, 1, 0, 0], [0; 4])]);
        assert_eq!(changes(&shard, &mut memory), []);
    }

    #[test]
    fn the_last_cell_exists_and_those_beyond_are_ignored() {
        let (shard, mut memory) = (CellShard::new(), Vec::new());
        shard.record(&outcome(CELLS_MAX as u16 - 1, OutcomeClass::Ok, 0));
        shard.record(&outcome(CELLS_MAX as u16, OutcomeClass::Ok, 0));
        assert_eq!(changes(&shard, &mut memory).len(), 1);
    }

    /// A reader that races the writer sees whole requests only, and in the end all of them.
    #[test]
    fn racing_reader_sees_whole_requests_and_loses_none() {
        const REQUESTS: u64 = 200_000;
        let (shard, done) = (Arc::new(CellShard::new()), Arc::new(AtomicBool::new(false)));
        let writer = std::thread::spawn({
            let (shard, done) = (shard.clone(), done.clone());
            move || {
                for _ in 0..REQUESTS {
                    shard.record(&outcome(1, OutcomeClass::Ok, 500));
                }
                done.store(true, Ordering::Release);
            }
        });
        let (mut memory, mut total) = (Vec::new(), OutcomeCounts::default());
        loop {
            let last = done.load(Ordering::Acquire);
            shard.read_changes(&mut memory, |_, counts| {
                assert_eq!(counts.slow[0], counts.by_class[0], "a request was seen in part");
                total += counts;
            });
            if last {
                break;
            }
        }
        writer.join().expect("writer");
        assert_eq!((total.by_class[0], total.slow), (REQUESTS, [REQUESTS, 0, 0, 0]));
    }
}

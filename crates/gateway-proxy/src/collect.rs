//! Differences between two readings of all workers' counters.
//!
//! The collector alone remembers what it has seen; the workers only count up. Nothing is lost when it comes late.

use std::sync::atomic::{AtomicU32, Ordering};

use homeostat_model::{CellId, OutcomeDelta, incident::CellLatency, outcome::merge_deltas};

use crate::{
    cells::{BlockMemory, CellShard},
    histogram::{self, BUCKETS},
};

/// What was seen at the previous reading, per worker.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    outcomes: Vec<Vec<BlockMemory>>,
    latencies: Vec<Vec<Option<Box<[u32; BUCKETS]>>>>,
    scratch: Vec<OutcomeDelta>,
}

impl Collector {
    /// Replaces `into` by what was counted since the previous call, ascending by cell.
    pub(crate) fn outcomes<'a>(&mut self, shards: impl Iterator<Item = &'a CellShard>, into: &mut Vec<OutcomeDelta>) {
        into.clear();
        for (index, shard) in shards.enumerate() {
            if self.outcomes.len() <= index {
                self.outcomes.push(Vec::new());
            }
            let Some(memory) = self.outcomes.get_mut(index) else { continue };
            self.scratch.clear();
            shard.read_changes(memory, |cell, counts| self.scratch.push(OutcomeDelta { cell, counts }));
            if into.is_empty() {
                std::mem::swap(into, &mut self.scratch);
            } else {
                merge_deltas(into, &self.scratch);
            }
        }
    }

    /// Replaces `into` by the latencies counted since the previous call, ascending by cell.
    pub(crate) fn latencies<'a>(&mut self, shards: impl Iterator<Item = &'a CellShard>, into: &mut Vec<CellLatency>) {
        let mut sums: std::collections::BTreeMap<CellId, [u64; BUCKETS]> = std::collections::BTreeMap::new();
        for (index, shard) in shards.enumerate() {
            if self.latencies.len() <= index {
                self.latencies.push(Vec::new());
            }
            let Some(memory) = self.latencies.get_mut(index) else { continue };
            shard.read_latencies(|cell, buckets| {
                if memory.len() <= usize::from(cell.0) {
                    memory.resize_with(usize::from(cell.0) + 1, || None);
                }
                let Some(before) = memory.get_mut(usize::from(cell.0)) else { return };
                let before = before.get_or_insert_with(|| Box::new([0; BUCKETS]));
                let sum = sums.entry(cell).or_insert([0; BUCKETS]);
                add_growth(buckets, before, sum);
            });
        }
        into.clear();
        into.extend(sums.into_iter().map(|(cell, sum)| CellLatency { cell, buckets: filled(&sum) }));
        into.retain(|latency| !latency.buckets.is_empty());
    }
}

fn add_growth(buckets: &[AtomicU32; BUCKETS], before: &mut [u32; BUCKETS], sum: &mut [u64; BUCKETS]) {
    for ((now, before), sum) in buckets.iter().zip(before).zip(sum) {
        let now = now.load(Ordering::Relaxed);
        *sum += u64::from(now.wrapping_sub(*before));
        *before = now;
    }
}

fn filled(counts: &[u64; BUCKETS]) -> Vec<(u64, u64)> {
    let buckets = counts.iter().enumerate().filter(|(_, count)| 0 < **count);
    buckets.map(|(bucket, count)| (histogram::upper_bound_us(bucket), *count)).collect()
}

#[cfg(test)]
mod tests {
    use homeostat_model::{OutcomeClass, OutcomeCounts};

    use super::*;
    use crate::cells::Outcome;

    fn record(shard: &CellShard, cell: u16, latency_us: u64) {
        let thresholds_us = [u64::MAX; 4];
        shard.record(&Outcome { cell: CellId(cell), class: OutcomeClass::Ok, latency_us, thresholds_us });
    }

    #[test]
    fn workers_add_up_and_nothing_is_told_twice() {
        let shards = [CellShard::new(), CellShard::new()];
        record(&shards[0], 5, 10);
        record(&shards[1], 5, 10);
        record(&shards[1], 2, 1_000);
        let (mut collector, mut deltas, mut latencies) = (Collector::default(), Vec::new(), Vec::new());
        collector.outcomes(shards.iter(), &mut deltas);
        collector.latencies(shards.iter(), &mut latencies);
        let delta =
            |cell, count| OutcomeDelta { cell: CellId(cell), counts: OutcomeCounts::of(OutcomeClass::Ok, count) };
        assert_eq!(deltas, [delta(2, 1), delta(5, 2)]);
        assert_eq!(
            latencies,
            [
                CellLatency { cell: CellId(2), buckets: vec![(1_023, 1)] },
                CellLatency { cell: CellId(5), buckets: vec![(10, 2)] }
            ]
        );
        record(&shards[0], 5, 3);
        collector.outcomes(shards.iter(), &mut deltas);
        collector.latencies(shards.iter(), &mut latencies);
        assert_eq!(deltas, [delta(5, 1)]);
        assert_eq!(latencies, [CellLatency { cell: CellId(5), buckets: vec![(3, 1)] }]);
        collector.outcomes(shards.iter(), &mut deltas);
        collector.latencies(shards.iter(), &mut latencies);
        assert_eq!((deltas.len(), latencies.len()), (0, 0));
    }
}

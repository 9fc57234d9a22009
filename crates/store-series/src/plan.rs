//! Which blocks to merge, to cut and to drop: a pure decision over what the manifest says about them.
//!
//! Blocks of similar size are merged, several at a time, so that every sample is rewritten a few times at most in its
//! life. A block never covers more time than the cap, so that what is too old can go as whole files.
//!
//! Age is the distance to the time that half of the series of some block have reached: one series with a time in the far
//! future must not make everything else look old. No clock is asked.

use std::ops::Range;

use homeostat_model::TimeMs;
use homeostat_wire::series::manifest::BlockEntry;

/// Blocks that are merged at once at most: each costs a page of every kind in memory.
const MERGED_MAX: usize = 16;
/// A merge is worth it when all together are this many times the largest. With 3.5 a sample is rewritten
/// log(n) / log(3.5) times: four times on the way from 16 MiB to 2 GiB.
const GAIN_MIN: f64 = 3.5;
/// A block is cut when so much of its time is too old; below it waits for the rest.
const EXPIRED_SHARE_MIN: f64 = 0.25;

/// How long samples are kept and how blocks are shaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Age beyond which samples go; `None` keeps them.
    pub(crate) retention_ms: Option<u64>,
    /// Bytes of all blocks beyond which the oldest ones go.
    pub(crate) retention_bytes: Option<u64>,
    /// Time that a merged block covers at most.
    pub(crate) block_span_ms: u64,
}

/// The instant before which samples are too old.
pub(crate) fn cutoff(blocks: &[BlockEntry], rules: Rules) -> Option<TimeMs> {
    let settled = blocks.iter().map(|block| block.settled_ms).max()?;
    Some(settled.saturating_sub_unsigned(rules.retention_ms?)).filter(|cutoff| *cutoff > TimeMs::MIN)
}

/// Blocks that hold nothing worth keeping: all too old, or too much for the space.
pub(crate) fn to_drop(blocks: &[BlockEntry], rules: Rules) -> Vec<u64> {
    let cutoff = cutoff(blocks, rules);
    let (mut dropped, mut kept): (Vec<_>, Vec<_>) =
        blocks.iter().copied().partition(|block| cutoff.is_some_and(|cutoff| block.max_ms < cutoff));
    if let Some(bytes_max) = rules.retention_bytes {
        kept.sort_by_key(|block| (block.settled_ms, block.number));
        let mut bytes: u64 = kept.iter().map(|block| block.bytes).sum();
        for block in kept {
            if bytes <= bytes_max {
                break;
            }
            bytes -= block.bytes;
            dropped.push(block);
        }
    }
    dropped.iter().map(|block| block.number).collect()
}

/// Neighbours to merge next, or a single block to cut; `None` when all is well.
pub(crate) fn to_merge(blocks: &[BlockEntry], rules: Rules) -> Option<Range<usize>> {
    to_cut(blocks, rules).or_else(|| similar(blocks, rules))
}

/// Neighbours that are merged when everything shall be as small as it gets.
pub(crate) fn to_merge_fully(blocks: &[BlockEntry], rules: Rules) -> Option<Range<usize>> {
    let start = (0..blocks.len()).find(|start| longest_within_span(blocks, *start, rules) > 1)?;
    Some(start..start + longest_within_span(blocks, start, rules).min(MERGED_MAX)).or_else(|| to_cut(blocks, rules))
}

fn to_cut(blocks: &[BlockEntry], rules: Rules) -> Option<Range<usize>> {
    let cutoff = cutoff(blocks, rules)?;
    let expired = |block: &BlockEntry| {
        let (old, whole) = (cutoff.saturating_sub(block.min_ms), block.max_ms.abs_diff(block.min_ms));
        old > 0 && cutoff <= block.max_ms && EXPIRED_SHARE_MIN * whole as f64 <= old as f64
    };
    let at = blocks.iter().position(expired)?;
    Some(at..at + 1)
}

fn similar(blocks: &[BlockEntry], rules: Rules) -> Option<Range<usize>> {
    let mut best: Option<(f64, Range<usize>)> = None;
    for start in 0..blocks.len() {
        let longest = longest_within_span(blocks, start, rules).min(MERGED_MAX);
        for len in 2..=longest {
            let Some(window) = blocks.get(start..start + len) else { break };
            let largest = window.iter().map(|block| block.bytes).max().unwrap_or(1).max(1);
            let gain = window.iter().map(|block| block.bytes).sum::<u64>() as f64 / largest as f64;
            if GAIN_MIN <= gain && best.as_ref().is_none_or(|(most, _)| *most < gain) {
                best = Some((gain, start..start + len));
            }
        }
    }
    best.map(|(_, range)| range)
}

/// Blocks from `start` on that together cover no more time than allowed; one at least.
fn longest_within_span(blocks: &[BlockEntry], start: usize, rules: Rules) -> usize {
    let mut span: Option<(TimeMs, TimeMs)> = None;
    let fits = |block: &&BlockEntry| {
        let (min, max) = span.map_or((block.min_ms, block.max_ms), |(a, b)| (a.min(block.min_ms), b.max(block.max_ms)));
        span = Some((min, max));
        max.abs_diff(min) <= rules.block_span_ms
    };
    blocks.iter().skip(start).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { retention_ms: Some(1_000), retention_bytes: None, block_span_ms: 100 };

    fn block(number: u64, bytes: u64, min_ms: TimeMs, max_ms: TimeMs) -> BlockEntry {
        BlockEntry { number, bytes, min_ms, max_ms, settled_ms: max_ms, series: 1, samples: 1 }
    }

    /// `(bytes, first time, last time)` of blocks in a row.
    fn blocks(all: &[(u64, TimeMs, TimeMs)]) -> Vec<BlockEntry> {
        all.iter().zip(1..).map(|((bytes, min, max), number)| block(number, *bytes, *min, *max)).collect()
    }

    #[test]
    fn similar_neighbours_are_merged_and_large_ones_left_alone() {
        let small = |n: i64| (10, n * 10, n * 10 + 9);
        assert_eq!(to_merge(&blocks(&[small(0), small(1), small(2)]), RULES), None);
        assert_eq!(to_merge(&blocks(&[small(0), small(1), small(2), small(3)]), RULES), Some(0..4));
        assert_eq!(to_merge(&blocks(&[(400, 0, 9), small(1), small(2), small(3), small(4)]), RULES), Some(1..5));
        assert_eq!(
            to_merge(&blocks(&[(10, 0, 50), (10, 51, 99), (10, 100, 150), (10, 151, 199)]), RULES),
            None,
            "span"
        );
    }

    #[test]
    fn merging_fully_leaves_nothing_to_merge_within_the_span() {
        let all = blocks(&[(1000, 0, 50), (1, 51, 80), (5, 90, 140), (7, 141, 150)]);
        assert_eq!(to_merge_fully(&all, RULES), Some(0..2));
        assert_eq!(to_merge_fully(&blocks(&[(1, 0, 80), (5, 90, 140)]), RULES), None);
    }

    #[test]
    fn age_counts_from_what_half_of_the_series_have_reached() {
        let mut all = blocks(&[(1, 0, 50), (1, 100, 1_000), (1, 1_500, 2_000)]);
        assert_eq!(to_drop(&all, RULES), [1]);
        assert_eq!(to_merge(&all, RULES), Some(1..2), "most of it is too old");
        all[2].max_ms = i64::MAX;
        assert_eq!(cutoff(&all, RULES), Some(1_000), "one series far ahead changes nothing");
        assert_eq!(to_drop(&all, Rules { retention_ms: None, retention_bytes: Some(2), ..RULES }), [1]);
        assert!(to_drop(&all, Rules { retention_ms: None, ..RULES }).is_empty());
    }
}

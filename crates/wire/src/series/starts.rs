//! Columns of starts: since when each sample of a chunk counts. A chunk without any has no bytes for it.
//!
//! ```text
//! u8 128  one for the whole chunk: the chunk's first time minus it, zigzag
//!    129  runs: n, n × (length, start minus the start before it, zigzag; the first one minus the chunk's first time)
//!    130  distances: each time minus its start, a column of whole numbers (`ints`)
//! ```
//!
//! The column stands before a chunk's values. Columns of floats begin with a smaller byte; one of native histograms may
//! begin with any but 0, so there a 0 comes first. Counters keep their start for days: that is 128, five bytes with the
//! distance. Deltas count from the sample before or a little later: their distances are all the same.
//!
//! Not here: values (`values`, `histograms`), times (`chunk_page`).
//! Invariants: what is encoded comes back; all arithmetic wraps, so that every start fits.

use super::{chunk_page::ChunkKind, ints};
use crate::varint::{put, take, unzigzag, zigzag};

const ONE: u8 = 128;
const RUNS: u8 = 129;
const DISTANCES: u8 = 130;
/// Before the column of a chunk of histograms: no segment of them is empty.
const ESCAPE: u8 = 0;
/// Samples of a run, on average, from which on runs are tried: shorter ones are no better than distances.
const SAMPLES_PER_RUN_MIN: usize = 4;

/// Memory that encoding works in.
#[derive(Debug, Default)]
pub struct Scratch {
    ints: ints::Scratch,
    distances: Vec<i64>,
    runs: Vec<u8>,
    column: Vec<u8>,
}

/// The starts of a chunk as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Starts {
    /// No sample has one.
    #[default]
    None,
    /// All have this one.
    One(i64),
    /// One for each.
    Each(Vec<i64>),
    /// For each the time from it to the sample.
    Distances(Vec<i64>),
}

/// Appends the starts of a chunk's samples, 0 for those that have none; nothing when none has.
pub fn encode(starts: &[i64], t_ms: &[i64], kind: ChunkKind, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Some((first, first_ms)) = starts.first().zip(t_ms.first()) else { return };
    if starts.iter().all(|start| *start == 0) {
        return;
    }
    if kind == ChunkKind::Histograms {
        out.push(ESCAPE);
    }
    if starts.iter().all(|start| start == first) {
        out.push(ONE);
        put(zigzag(first_ms.wrapping_sub(*first)), out);
        return;
    }
    let Scratch { ints, distances, runs, column } = scratch;
    distances.clear();
    distances.extend(t_ms.iter().zip(starts).map(|(t_ms, start)| t_ms.wrapping_sub(*start)));
    column.clear();
    ints::encode(distances, ints, column);
    runs.clear();
    let counted = starts.chunk_by(|a, b| a == b).count();
    if counted * SAMPLES_PER_RUN_MIN <= starts.len() {
        put(counted as u64, runs);
        let mut before = *first_ms;
        for run in starts.chunk_by(|a, b| a == b) {
            let start = run.first().copied().unwrap_or(0);
            put(run.len() as u64, runs);
            put(zigzag(start.wrapping_sub(before)), runs);
            before = start;
        }
    }
    let (kind, bytes) = if runs.is_empty() || column.len() < runs.len() { (DISTANCES, column) } else { (RUNS, runs) };
    out.push(kind);
    out.extend_from_slice(bytes);
}

/// Takes the starts of `count` samples off the beginning of a chunk's bytes; `first_ms` is the time of its first sample.
/// `None` when the bytes are no column.
pub fn decode(bytes: &mut &[u8], count: usize, first_ms: i64, kind: ChunkKind) -> Option<Starts> {
    let mode = match (kind, *bytes) {
        (ChunkKind::Floats, &[mode @ ONE..=u8::MAX, ref rest @ ..])
        | (ChunkKind::Histograms, &[ESCAPE, mode, ref rest @ ..]) => {
            *bytes = rest;
            mode
        }
        _ => return Some(Starts::None),
    };
    match mode {
        ONE => Some(Starts::One(first_ms.wrapping_sub(unzigzag(take(bytes)?)))),
        RUNS => {
            let (mut starts, mut before) = (Vec::with_capacity(count), first_ms);
            for _ in 0..take(bytes)? {
                let len = usize::try_from(take(bytes)?).ok().filter(|len| (1..=count - starts.len()).contains(len))?;
                before = before.wrapping_add(unzigzag(take(bytes)?));
                starts.resize(starts.len() + len, before);
            }
            (starts.len() == count).then_some(Starts::Each(starts))
        }
        DISTANCES => {
            let mut distances = Vec::with_capacity(count);
            ints::decode(bytes, count, &mut distances)?;
            Some(Starts::Distances(distances))
        }
        _ => None,
    }
}

impl Starts {
    /// The starts of samples at some times, which are those at some places of the chunk, or all: as many as times, or
    /// none at all.
    pub fn of(&self, t_ms: &[i64], places: Option<&[u32]>) -> Vec<i64> {
        let picked = |column: &[i64]| -> Vec<i64> {
            match places {
                Some(places) => places.iter().filter_map(|at| column.get(*at as usize).copied()).collect(),
                None => column.to_vec(),
            }
        };
        match self {
            Self::None => Vec::new(),
            Self::One(start) => vec![*start; t_ms.len()],
            Self::Each(starts) => picked(starts),
            Self::Distances(distances) => {
                let distances = picked(distances);
                t_ms.iter().zip(distances).map(|(t_ms, distance)| t_ms.wrapping_sub(distance)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Encodes and reads; gives the bytes of the column.
    fn check(starts: &[i64], t_ms: &[i64]) -> usize {
        let mut scratch = Scratch::default();
        let mut len = 0;
        for (kind, values) in [(ChunkKind::Floats, &[64_u8, 1, 2][..]), (ChunkKind::Histograms, &[5, 0, 128])] {
            let mut bytes = Vec::new();
            encode(starts, t_ms, kind, &mut scratch, &mut bytes);
            len = len.max(bytes.len());
            let column = bytes.len();
            bytes.extend_from_slice(values);
            let mut rest = bytes.as_slice();
            let first_ms = t_ms.first().copied().unwrap_or(0);
            let read = decode(&mut rest, starts.len(), first_ms, kind).unwrap();
            assert_eq!(rest, values);
            let expected = if starts.iter().all(|start| *start == 0) { &[] } else { starts };
            assert_eq!(read.of(t_ms, None), expected);
            let places: Vec<u32> = (0..t_ms.len() as u32).step_by(3).collect();
            let some = |column: &[i64]| column.iter().copied().step_by(3).collect::<Vec<_>>();
            assert_eq!(read.of(&some(t_ms), Some(&places)), some(expected));
            for cut in 1..column {
                let read = decode(&mut &bytes[..cut], starts.len(), first_ms, kind);
                assert!(read.is_none_or(|read| read == Starts::None), "cut at {cut}");
            }
        }
        len
    }

    const FIRST_MS: i64 = 1_700_000_000_000;

    fn times(count: i64) -> Vec<i64> {
        (0..count).map(|i| FIRST_MS + 15_000 * i).collect()
    }

    #[test]
    fn usual_columns_take_little() {
        let t_ms = times(480);
        assert_eq!(check(&[0; 480], &t_ms), 0);
        let month_ms = 30 * 86_400_000;
        assert!(check(&[FIRST_MS - month_ms; 480], &t_ms) <= 7, "a counter");
        let reset: Vec<_> = (0..480).map(|i| FIRST_MS + if i < 200 { -month_ms } else { 200 * 15_000 - 77 }).collect();
        assert!(check(&reset, &t_ms) <= 20, "a counter that was reset");
        let deltas: Vec<_> = t_ms.iter().map(|t| t - 14_999).collect();
        assert!(check(&deltas, &t_ms) <= 10, "deltas");
        let late: Vec<_> = (0..480).map(|i| if i < 100 { 0 } else { FIRST_MS - month_ms }).collect();
        assert!(check(&late, &t_ms) <= 22, "a sender that learned to say so");
    }

    #[test]
    fn lies_about_lengths_are_refused() {
        for bytes in [&[RUNS, 1, 4, 0][..], &[RUNS, 1, 2, 0], &[RUNS, 2, 3, 0, 0, 0], &[RUNS, 0], &[131, 0], &[255]] {
            assert_eq!(decode(&mut &*bytes, 3, 0, ChunkKind::Floats), None, "{bytes:?}");
        }
        assert_eq!(decode(&mut &[RUNS, 1, 3, 1][..], 3, 0, ChunkKind::Floats), Some(Starts::Each(vec![-1; 3])));
        assert_eq!(decode(&mut &[][..], 3, 0, ChunkKind::Floats), Some(Starts::None));
    }

    proptest! {
        #[test]
        fn arbitrary_starts_come_back(
            starts in proptest::collection::vec(
                prop_oneof![4 => Just(7_i64), 2 => Just(0), 2 => -100_i64..100, 1 => any::<i64>()], 0..300),
            steps in proptest::collection::vec(prop_oneof![3 => Just(15_000_i64), 1 => 1_i64..1 << 50], 300),
            runs in 1_usize..20,
        ) {
            let mut at = -1 << 40;
            let t_ms: Vec<i64> = steps.iter().take(starts.len()).map(|step| { at += step; at }).collect();
            check(&starts, &t_ms);
            let long: Vec<i64> = starts.iter().flat_map(|start| vec![*start; runs]).take(starts.len()).collect();
            check(&long, &t_ms);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60), count in 0_usize..2000) {
            for kind in [ChunkKind::Floats, ChunkKind::Histograms] {
                for head in [ONE, RUNS, DISTANCES] {
                    let bytes = [&[ESCAPE, head], bytes.as_slice()].concat();
                    let from = usize::from(kind == ChunkKind::Floats);
                    let read = decode(&mut &bytes[from..], count, 5, kind);
                    if let Some(Starts::Each(column) | Starts::Distances(column)) = read {
                        prop_assert_eq!(column.len(), count);
                    }
                }
            }
        }
    }
}

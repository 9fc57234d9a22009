//! Series of a block: which labels each has, when about it has samples, and how many chunks.
//!
//! ```text
//! page      number of its first chunk, then the series up to the end
//! series    chunks << 2 | same times << 1 | same names
//!           same names: bits of the labels that differ from the series before, for each the difference of its pair
//!           (zigzag); else: n, n × pair minus the pair before
//!           unless same times: first slot u8, last slot u8
//! ```
//!
//! All numbers but slots are varints. Pairs are those of `dictionary`; neighbours differ in a label or two. A slot is a
//! 256th of the block's time, rounded outward: enough to leave out series that ended long ago.
//!
//! Not here: samples (`chunk_page`).

use super::reader::{Malformed, Reader};
use crate::varint::{put, zigzag};

/// Series of one page; the last one of a block may have fewer.
pub const SERIES_PER_PAGE: usize = 64;
/// Labels of one series at most, for readers: well above what a store takes in.
pub const LABELS_MAX: usize = 4096;

/// One series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// Its labels, ascending.
    pub pairs: Vec<u32>,
    /// The slots of its first and its last sample.
    pub slots: (u8, u8),
    /// The number of its first chunk.
    pub first_chunk: u64,
    /// The number of its chunks, which follow one another.
    pub chunks: u32,
}

/// The 256 slots of a block's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    min_ms: i64,
    width_ms: u64,
}

impl Slots {
    /// The slots of a block from its first to its last sample.
    pub const fn new(min_ms: i64, max_ms: i64) -> Self {
        Self { min_ms, width_ms: max_ms.abs_diff(min_ms) / 256 + 1 }
    }

    /// The slot of an instant; of one outside the block the nearest.
    pub fn of(self, t_ms: i64) -> u8 {
        let since = if t_ms <= self.min_ms { 0 } else { t_ms.abs_diff(self.min_ms) };
        (since / self.width_ms).min(255) as u8
    }

    /// The first instant of a slot.
    pub const fn start_ms(self, slot: u8) -> i64 {
        self.min_ms.saturating_add_unsigned(self.width_ms.saturating_mul(slot as u64))
    }

    /// The last instant of a slot.
    pub const fn end_ms(self, slot: u8) -> i64 {
        self.start_ms(slot).saturating_add_unsigned(self.width_ms - 1)
    }
}

/// Collects a page.
#[derive(Debug, Default)]
pub struct SeriesPageBuilder {
    first_chunk: u64,
    next_chunk: u64,
    count: usize,
    before: SeriesEntry,
    bytes: Vec<u8>,
}

impl SeriesPageBuilder {
    /// Adds a series with as many chunks as there are.
    pub fn add(&mut self, pairs: &[u32], slots: (u8, u8), chunks: u32) {
        let fresh = self.count == 0;
        let same_times = !fresh && self.before.slots == slots;
        let same_names = !fresh && self.before.pairs.len() == pairs.len() && pairs.len() <= 64;
        put(u64::from(chunks) << 2 | u64::from(same_times) << 1 | u64::from(same_names), &mut self.bytes);
        if same_names {
            let differ = self.before.pairs.iter().zip(pairs).enumerate().filter(|(_, (a, b))| a != b);
            put(differ.clone().fold(0, |bits, (at, _)| bits | 1_u64 << at), &mut self.bytes);
            for (_, (a, b)) in differ {
                put(zigzag(i64::from(*b) - i64::from(*a)), &mut self.bytes);
            }
        } else {
            put(pairs.len() as u64, &mut self.bytes);
            let mut before = 0;
            for pair in pairs {
                put(u64::from(pair - before), &mut self.bytes);
                before = *pair;
            }
        }
        if !same_times {
            self.bytes.extend([slots.0, slots.1]);
        }
        self.before.pairs.clear();
        self.before.pairs.extend_from_slice(pairs);
        self.before.slots = slots;
        self.count += 1;
        self.next_chunk += u64::from(chunks);
    }

    /// Series so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns true when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends the page and begins a new one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        put(self.first_chunk, out);
        out.extend_from_slice(&self.bytes);
        self.bytes.clear();
        self.first_chunk = self.next_chunk;
        self.count = 0;
    }
}

/// Walks over the series of a page.
#[derive(Clone, Debug)]
pub struct SeriesReader<'a> {
    reader: Reader<'a>,
    entry: SeriesEntry,
    pairs: u32,
}

impl<'a> SeriesReader<'a> {
    /// Begins a page of a block with so many pairs.
    pub fn new(page: &'a [u8], pairs: u32) -> Result<Self, Malformed> {
        let mut reader = Reader::new(page);
        let entry = SeriesEntry { first_chunk: reader.number()?, ..SeriesEntry::default() };
        Ok(Self { reader, entry, pairs })
    }

    /// The next series; `None` behind the last one.
    pub fn read(&mut self) -> Result<Option<&SeriesEntry>, Malformed> {
        let Self { reader, entry, pairs } = self;
        if reader.rest.is_empty() {
            return Ok(None);
        }
        entry.first_chunk =
            entry.first_chunk.checked_add(entry.chunks.into()).ok_or(reader.error("too many chunks"))?;
        let head = reader.number()?;
        entry.chunks = u32::try_from(head >> 2).map_err(|_| reader.error("too many chunks"))?;
        if head & 1 == 1 {
            let differ = reader.number()?;
            if entry.pairs.len() < 64 && differ >> entry.pairs.len() != 0 {
                return Err(reader.error("more labels differ than there are"));
            }
            for (at, pair) in entry.pairs.iter_mut().enumerate().take(64) {
                if differ >> at & 1 == 1 {
                    *pair = (*pair).wrapping_add(reader.signed()? as u32);
                }
            }
        } else {
            let count = reader.count()?;
            if LABELS_MAX < count {
                return Err(reader.error("more labels than a series may have"));
            }
            entry.pairs.clear();
            let mut before = 0_u32;
            for _ in 0..count {
                before = before.wrapping_add(reader.small()?);
                entry.pairs.push(before);
            }
        }
        if !entry.pairs.is_sorted_by(|a, b| a < b) || entry.pairs.last().is_some_and(|last| *pairs <= *last) {
            return Err(reader.error("labels that do not ascend or do not exist"));
        }
        if head & 2 == 0 {
            entry.slots = (reader.byte()?, reader.byte()?);
        }
        Ok(Some(entry))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arb_series() -> impl Strategy<Value = (Vec<u32>, (u8, u8), u32)> {
        let pairs = proptest::collection::btree_set(0_u32..40, 1..6).prop_map(|pairs| pairs.into_iter().collect());
        (pairs, (0_u8..3, 3_u8..5), 0_u32..4)
    }

    proptest! {
        #[test]
        fn series_come_back(all in proptest::collection::vec(arb_series(), 1..SERIES_PER_PAGE)) {
            let mut builder = SeriesPageBuilder { first_chunk: 9, next_chunk: 9, ..SeriesPageBuilder::default() };
            for (pairs, slots, chunks) in &all {
                builder.add(pairs, *slots, *chunks);
            }
            let mut page = Vec::new();
            builder.finish(&mut page);
            let mut reader = SeriesReader::new(&page, 40).unwrap();
            let mut first_chunk = 9;
            for (pairs, slots, chunks) in all {
                let expected = SeriesEntry { pairs, slots, first_chunk, chunks };
                prop_assert_eq!(reader.read().unwrap(), Some(&expected));
                first_chunk += u64::from(chunks);
            }
            prop_assert_eq!(reader.read(), Ok(None));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(mut reader) = SeriesReader::new(&bytes, 1000) {
                while let Ok(Some(entry)) = reader.read() {
                    prop_assert!(entry.pairs.is_sorted_by(|a, b| a < b));
                }
            }
        }
    }

    #[test]
    fn slots_cover_the_block() {
        let slots = Slots::new(0, 2_560);
        assert_eq!([-1, 0, 10, 11, 2_560, i64::MAX].map(|t| slots.of(t)), [0, 0, 0, 1, 232, 255]);
        let all = Slots::new(i64::MIN, i64::MAX);
        assert_eq!([i64::MIN, -1, i64::MAX].map(|t| all.of(t)), [0, 127, 255]);
    }
}

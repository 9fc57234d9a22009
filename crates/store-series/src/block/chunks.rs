//! Samples of a block's series, chunk by chunk.

use std::{collections::HashMap, sync::Arc};

use homeostat_model::{SampleRun, TimeMs};
use homeostat_wire::series::{
    chunk_page::{ChunkKind, decode_times},
    histograms, starts, values,
};

use super::{Block, BlockError, BlockFault, page::Page};
use crate::{
    merge::{floats_within, histograms_within},
    sieve::Sieve,
};

/// The chunks of one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeriesChunks {
    pub(crate) first: u64,
    pub(crate) count: u32,
}

/// Reads chunks; keeps its memory and the page at hand.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    block: Arc<Block>,
    sieve: Option<Sieve>,
    chunk_page: Option<(u64, Arc<Page>)>,
    times: Columns,
    values: values::Scratch,
}

/// Columns of times in memory at most, over all of a reader: sixty columns of 1,024 times. Series of one metric go through
/// all targets, and chunks of one series through all time, before the same columns come again.
const TIMES_KEPT_BYTES_MAX: usize = 512 << 10;
/// What a column takes beside its times and places: itself, and its place among those that are kept.
const COLUMN_BYTES: usize = size_of::<Times>() + 2 * size_of::<(u32, Arc<Times>)>();

/// Columns of times that were read: the next series of the same target has the same.
#[derive(Debug, Default)]
struct Columns {
    by_number: HashMap<u32, Arc<Times>, foldhash::fast::RandomState>,
    last: Option<(u32, Arc<Times>)>,
    kept_bytes: usize,
    bytes_max: usize,
}

/// A column of times, as far as anybody looks at it.
#[derive(Debug)]
struct Times {
    count: usize,
    first: TimeMs,
    last: TimeMs,
    /// Those that the sieve lets through; without one all.
    t_ms: Vec<TimeMs>,
    /// Places of those, when the sieve leaves some out.
    places: Option<Vec<u32>>,
}

impl ChunkReader {
    /// With a sieve, samples that it does not let through may be left out.
    pub(crate) fn new(block: Arc<Block>, sieve: Option<Sieve>) -> Self {
        let times = Columns { bytes_max: TIMES_KEPT_BYTES_MAX, ..Columns::default() };
        Self { block, sieve, chunk_page: None, times, values: values::Scratch::default() }
    }

    /// Keeps other columns of times than [`TIMES_KEPT_BYTES_MAX`] allows.
    pub(crate) fn keeping(mut self, times_bytes_max: usize) -> Self {
        self.times.bytes_max = times_bytes_max;
        self
    }

    /// The samples of a chunk between two instants; `None` when there are none.
    pub(crate) fn read(
        &mut self,
        number: u64,
        start_ms: TimeMs,
        end_ms: TimeMs,
    ) -> Result<Option<SampleRun>, BlockError> {
        let block = Arc::clone(&self.block);
        let (at, place) = block.numbered(&block.footer.chunk_pages, number, "chunk")?;
        let page = match &self.chunk_page {
            Some((offset, page)) if *offset == at.offset => Arc::clone(page),
            _ => {
                let page = block.page(at, Page::chunks)?;
                self.chunk_page = Some((at.offset, Arc::clone(&page)));
                page
            }
        };
        let missing = || block.error(at.offset, BlockFault::Missing { what: "chunk" });
        let (chunk, bytes) = page.chunk(place).ok_or_else(missing)?;
        let times = self.times(&block, chunk.times)?;
        let Times { count, first, last, ref t_ms, ref places } = *times;
        if end_ms < first || last < start_ms || t_ms.is_empty() {
            return Ok(None);
        }
        let mut rest = bytes;
        let since = starts::decode(&mut rest, count, first, chunk.kind).ok_or_else(missing)?;
        let since = since.of(t_ms, places.as_deref());
        match (chunk.kind, places) {
            (ChunkKind::Floats, Some(places)) => {
                let mut values = Vec::with_capacity(places.len());
                let read = values::decode_some(&mut rest, count, places, &mut self.values, &mut values);
                read.filter(|()| rest.is_empty()).ok_or_else(missing)?;
                Ok(floats_within(t_ms.clone(), values, since, start_ms, end_ms))
            }
            (ChunkKind::Floats, None) => {
                let mut values = Vec::with_capacity(count);
                let read = values::decode(&mut rest, count, &mut self.values, &mut values);
                read.filter(|()| rest.is_empty()).ok_or_else(missing)?;
                Ok(floats_within(t_ms.clone(), values, since, start_ms, end_ms))
            }
            (ChunkKind::Histograms, places) => {
                let mut values = Vec::with_capacity(count);
                histograms::decode(rest, count, &mut self.values, &mut values).ok_or_else(missing)?;
                if let Some(places) = places {
                    values = places.iter().filter_map(|at| values.get(*at as usize).cloned()).collect();
                }
                Ok(histograms_within(t_ms.clone(), values, since, start_ms, end_ms))
            }
        }
    }

    /// A column of times.
    fn times(&mut self, block: &Block, number: u32) -> Result<Arc<Times>, BlockError> {
        if let Some((last, times)) = &self.times.last
            && *last == number
        {
            return Ok(Arc::clone(times));
        }
        let times = if let Some(times) = self.times.by_number.get(&number) {
            Arc::clone(times)
        } else {
            let times = Arc::new(self.read_times(block, number)?);
            self.times.keep(number, &times);
            times
        };
        self.times.last = Some((number, Arc::clone(&times)));
        Ok(times)
    }

    fn read_times(&self, block: &Block, number: u32) -> Result<Times, BlockError> {
        let (at, place) = block.numbered(&block.footer.time_pages, number.into(), "column of times")?;
        let page = block.page(at, Page::times)?;
        let missing = || block.error(at.offset, BlockFault::Missing { what: "column of times" });
        let column = page.column(place).ok_or_else(missing)?;
        let mut t_ms = Vec::new();
        decode_times(column, &mut t_ms).map_err(|error| block.error(at.offset, error))?;
        // A column without times has no samples: nothing is within any time.
        let (first, last) = (t_ms.first().copied().unwrap_or(TimeMs::MAX), t_ms.last().copied().unwrap_or(TimeMs::MIN));
        let count = t_ms.len();
        let mut places = None;
        if let Some(mut sieve) = self.sieve {
            let all = (0_u32..).zip(&t_ms).filter(|(_, t_ms)| sieve.has(**t_ms)).map(|(at, _)| at);
            let kept: Vec<u32> = all.collect();
            if kept.len() < count {
                t_ms = kept.iter().filter_map(|at| t_ms.get(*at as usize).copied()).collect();
                places = Some(kept);
            }
        }
        Ok(Times { count, first, last, t_ms, places })
    }
}

impl Columns {
    fn keep(&mut self, number: u32, times: &Arc<Times>) {
        let bytes = times.memory_bytes();
        if self.bytes_max < self.kept_bytes + bytes {
            self.by_number.clear();
            self.kept_bytes = 0;
        }
        self.kept_bytes += bytes;
        self.by_number.insert(number, Arc::clone(times));
    }
}

impl Times {
    /// Bytes that it takes in memory, about.
    fn memory_bytes(&self) -> usize {
        let places = self.places.as_ref().map_or(0, |places| places.capacity() * size_of::<u32>());
        COLUMN_BYTES + self.t_ms.capacity() * size_of::<TimeMs>() + places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_columns_count_with_all_that_they_hold() {
        let mut columns = Columns { bytes_max: TIMES_KEPT_BYTES_MAX, ..Columns::default() };
        for number in 0..100_000 {
            let (t_ms, places) = (vec![0; 3], Some(vec![0; 500]));
            columns.keep(number, &Arc::new(Times { count: 1000, first: 0, last: 0, t_ms, places }));
            let held: usize = columns.by_number.values().map(|times| times.memory_bytes()).sum();
            assert!(held == columns.kept_bytes && held <= TIMES_KEPT_BYTES_MAX, "{held}");
        }
        // Each holds 2,000 bytes of places: not as many fit as three times each would allow.
        assert!(columns.by_number.len() <= TIMES_KEPT_BYTES_MAX / 2000);
    }
}

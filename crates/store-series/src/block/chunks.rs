//! Samples of a block's series, chunk by chunk.

use std::sync::Arc;

use homeostat_model::{SampleRun, TimeMs};
use homeostat_wire::series::{
    chunk_page::{ChunkKind, decode_times},
    histograms, values,
};

use super::{Block, BlockError, BlockFault, page::Page};
use crate::merge::{floats_within, histograms_within};

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
    chunk_page: Option<(u64, Arc<Page>)>,
    /// The column of times at hand: the next series of the same target has the same.
    times: Option<(u32, Vec<TimeMs>)>,
    values: values::Scratch,
}

impl ChunkReader {
    pub(crate) fn new(block: Arc<Block>) -> Self {
        Self { block, chunk_page: None, times: None, values: values::Scratch::default() }
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
        let (first, last) = (times.first().copied(), times.last().copied());
        if first.is_none_or(|first| end_ms < first) || last.is_none_or(|last| last < start_ms) {
            return Ok(None);
        }
        let (count, t_ms) = (times.len(), times.to_vec());
        match chunk.kind {
            ChunkKind::Floats => {
                let (mut rest, mut values) = (bytes, Vec::with_capacity(count));
                let read = values::decode(&mut rest, count, &mut self.values, &mut values);
                read.filter(|()| rest.is_empty()).ok_or_else(missing)?;
                Ok(floats_within(t_ms, values, start_ms, end_ms))
            }
            ChunkKind::Histograms => {
                let mut values = Vec::with_capacity(count);
                histograms::decode(bytes, count, &mut self.values, &mut values).ok_or_else(missing)?;
                Ok(histograms_within(t_ms, values, start_ms, end_ms))
            }
        }
    }

    fn times(&mut self, block: &Block, number: u32) -> Result<&[TimeMs], BlockError> {
        let mut t_ms = match self.times.take() {
            Some((known, t_ms)) if known == number => return Ok(&self.times.insert((known, t_ms)).1),
            other => other.map(|(_, t_ms)| t_ms).unwrap_or_default(),
        };
        t_ms.clear();
        let (at, place) = block.numbered(&block.footer.time_pages, number.into(), "column of times")?;
        let page = block.page(at, Page::times)?;
        let missing = || block.error(at.offset, BlockFault::Missing { what: "column of times" });
        let column = page.column(place).ok_or_else(missing)?;
        decode_times(column, &mut t_ms).map_err(|error| block.error(at.offset, error))?;
        Ok(&self.times.insert((number, t_ms)).1)
    }
}

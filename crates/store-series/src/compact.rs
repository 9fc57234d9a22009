//! Several neighbouring blocks become one: smaller, without what was deleted or is too old, each sample once.
//!
//! All inputs are read in the order of their labels at the same time; pages of each input in memory, never a whole one.
//!
//! Not here: which blocks (`plan`), when (`worker`).

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use homeostat_model::TimeMs;
use homeostat_promql::SourceError;
use homeostat_wire::series::{manifest::BlockEntry, series_page::SERIES_PER_PAGE};

use crate::{
    block::{Block, BlockError, BlockWriter, ChunkReader, Dictionary, PageCache, SeriesChunks},
    catalog::{Catalog, LiveBlock},
    error::CompactError,
    merge::{Merge, Runs, without},
};

/// Pages of one merge in memory, beside those of queries.
const CACHE_BYTES: usize = 8 << 20;

/// Merges neighbours into one block and puts it in their place. Samples before `cutoff` are left out. Gives up when
/// `stop` is set.
pub(crate) fn compact(
    catalog: &Catalog,
    inputs: &[LiveBlock],
    cutoff: Option<TimeMs>,
    stop: &AtomicBool,
) -> Result<Option<BlockEntry>, CompactError> {
    let start_ms = cutoff.unwrap_or(TimeMs::MIN);
    let min_ms = inputs.iter().map(|input| input.entry.min_ms).min().unwrap_or(0).max(start_ms);
    let max_ms = inputs.iter().map(|input| input.entry.max_ms).max().unwrap_or(0).max(min_ms);
    let cache = Arc::new(PageCache::new(CACHE_BYTES));
    let (disk, dir) = (catalog.disk(), catalog.blocks_dir());
    let open = |input: &LiveBlock| Block::open(&**disk, &dir, input.entry.number, Arc::clone(&cache)).map(Arc::new);
    let blocks = inputs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let (dictionary, mappings) = merged_dictionary(&blocks)?;
    let number = catalog.next_number();
    let version = blocks.iter().map(|block| block.version()).max().unwrap_or_default();
    let mut writer = BlockWriter::new(Arc::clone(disk), &dir, number, dictionary, (min_ms, max_ms), version)?;
    let mut streams = Vec::with_capacity(inputs.len());
    for ((live, block), mapping) in inputs.iter().zip(&blocks).zip(mappings) {
        streams.push(Stream::new(live.clone(), Arc::clone(block), mapping)?);
    }
    if let Err(error) = copy(&mut writer, &mut streams, start_ms, stop) {
        writer.abandon();
        return Err(error);
    }
    let entry = writer.finish()?;
    catalog.replace(inputs, entry)?;
    Ok(entry)
}

fn copy(
    writer: &mut BlockWriter,
    streams: &mut [Stream],
    start_ms: TimeMs,
    stop: &AtomicBool,
) -> Result<(), CompactError> {
    let mut pairs = Vec::new();
    while let Some(next) = streams.iter().filter_map(|stream| stream.pairs()).min() {
        pairs.clear();
        pairs.extend_from_slice(next);
        let mut sequences = Vec::new();
        for stream in streams.iter_mut() {
            if stream.pairs() == Some(&pairs) {
                sequences.push(stream.runs(start_ms));
                stream.advance()?;
            }
        }
        writer.add::<CompactError>(&pairs, Merge::runs(sequences).map(|run| run.map_err(CompactError::Read)))?;
        if stop.load(Ordering::Relaxed) {
            return Err(CompactError::Stopped);
        }
    }
    Ok(())
}

/// All names and values that any input's series have, and for every input what its pairs are called there.
fn merged_dictionary(blocks: &[Arc<Block>]) -> Result<(Dictionary, Vec<Vec<u32>>), BlockError> {
    let mut names: Vec<&str> = blocks.iter().flat_map(|block| block.names()).map(|name| name.text.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut dictionary = Dictionary::default();
    let mut mappings: Vec<Vec<u32>> =
        blocks.iter().map(|block| vec![u32::MAX; block.footer().pairs as usize]).collect();
    let mut first_pair = 0;
    for name in names {
        let mut values: Vec<String> = Vec::new();
        for block in blocks {
            block.for_each_value(name, |value| values.push(value.to_owned()))?;
        }
        values.sort_unstable();
        values.dedup();
        for (block, mapping) in blocks.iter().zip(&mut mappings) {
            // Both are sorted: the place of a value is at or behind that of the one before.
            let mut place = 0;
            block.for_each_numbered_value(name, |pair, value| {
                place += values.get(place..).unwrap_or_default().partition_point(|text| text.as_str() < value);
                if let Some(slot) = mapping.get_mut(pair as usize)
                    && values.get(place).is_some_and(|text| text == value)
                {
                    *slot = first_pair + place as u32;
                }
            })?;
        }
        if !values.is_empty() {
            first_pair += values.len() as u32;
            dictionary.names.push((name.to_owned(), values));
        }
    }
    Ok((dictionary, mappings))
}

/// The series of one input, one after the other.
struct Stream {
    live: LiveBlock,
    block: Arc<Block>,
    mapping: Vec<u32>,
    /// Series of the page at hand, last one first.
    page: Vec<(u32, Vec<u32>, SeriesChunks)>,
    next: u32,
    reader: Arc<std::sync::Mutex<ChunkReader>>,
}

impl Stream {
    fn new(live: LiveBlock, block: Arc<Block>, mapping: Vec<u32>) -> Result<Self, BlockError> {
        let reader = Arc::new(std::sync::Mutex::new(ChunkReader::new(Arc::clone(&block), None)));
        let mut stream = Self { live, block, mapping, page: Vec::new(), next: 0, reader };
        stream.fill()?;
        Ok(stream)
    }

    /// Pairs of the series at hand; `None` at the end.
    fn pairs(&self) -> Option<&[u32]> {
        self.page.last().map(|(_, pairs, _)| pairs.as_slice())
    }

    fn advance(&mut self) -> Result<(), BlockError> {
        self.page.pop();
        if self.page.is_empty() { self.fill() } else { Ok(()) }
    }

    fn fill(&mut self) -> Result<(), BlockError> {
        let end = self.block.footer().series.min(self.next + SERIES_PER_PAGE as u32);
        let (mapping, page) = (&self.mapping, &mut self.page);
        self.block.for_each_series(self.next..end, |number, entry| {
            let pairs =
                entry.pairs.iter().map(|pair| mapping.get(*pair as usize).copied().unwrap_or(u32::MAX)).collect();
            page.push((number, pairs, SeriesChunks { first: entry.first_chunk, count: entry.chunks }));
            Ok(())
        })?;
        page.reverse();
        self.next = end;
        Ok(())
    }

    /// Samples of the series at hand.
    fn runs(&self, start_ms: TimeMs) -> Runs<'static> {
        let Some((number, _, chunks)) = self.page.last() else { return Box::new(std::iter::empty()) };
        let reader = Arc::clone(&self.reader);
        let gone = self.live.gone_of(*number);
        let (first, count) = (chunks.first, u64::from(chunks.count));
        let read = move |chunk| {
            let mut reader = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            reader.read(chunk, start_ms, TimeMs::MAX).map_err(SourceError::from).transpose()
        };
        let runs = (first..first + count).filter_map(read);
        if gone.is_empty() { Box::new(runs) } else { Box::new(without(runs, gone)) }
    }
}

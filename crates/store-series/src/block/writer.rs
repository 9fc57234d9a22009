//! Writes a block: series in the order of their labels, samples in order of time, each page as soon as it is full.
//!
//! The file appears under its name only when everything in it is durable. Memory holds the dictionary, the lists of
//! series and the columns of times, all packed: about thirty bytes a series.
//!
//! Not here: where the samples come from (`flush`, `compact`), which blocks count (`catalog`).
//! Invariant: equal input gives equal bytes.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use homeostat_model::{
    Histogram, SampleRun, TimeMs,
    sample::{START_UNKNOWN, append_starts},
};
use homeostat_store_wal::{Disk, disk::DiskFile};
use homeostat_wire::series::{
    chunk_page::{CHUNK_SAMPLES_MAX, ChunkKind, ChunkPageBuilder, TimePageBuilder, encode_times},
    dictionary::{List, ValuesBuilder, encode_names},
    footer::{BlockVersion, Footer, encode_header, encode_trailer},
    frame::{PageRef, put_frame},
    histograms, ints,
    manifest::BlockEntry,
    postings,
    series_page::{SERIES_PER_PAGE, SeriesPageBuilder, Slots},
    starts, values,
};

use super::file_name;

/// Size at which a page of chunks ends: about four hundred chunks of two hours. A query for one series reads so much.
const CHUNK_PAGE_BYTES: usize = 32 << 10;
/// Size at which pages of times and of label values end.
const SMALL_PAGE_BYTES: usize = 16 << 10;
/// Longest list of series that stands beside its value.
const LIST_INLINE_BYTES_MAX: usize = 64;
/// Bytes gathered for one write.
const BUFFER_BYTES: usize = 256 << 10;
/// Columns of times that are remembered to be shared; beyond it a few are stored twice.
const TIMES_REMEMBERED_MAX: usize = 1 << 18;

/// Label names with their values, both sorted; a pair's number is its place among all pairs.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    pub(crate) names: Vec<(String, Vec<String>)>,
}

impl Dictionary {
    /// The number of pairs.
    pub(crate) fn pairs(&self) -> usize {
        self.names.iter().map(|(_, values)| values.len()).sum()
    }
}

/// A block under construction.
#[derive(Debug)]
pub(crate) struct BlockWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    number: u64,
    version: BlockVersion,
    out: Out,
    dictionary: Dictionary,
    slots: Slots,
    footer: Footer,
    chunk_page: ChunkPageBuilder,
    series_page: SeriesPageBuilder,
    time_page: TimePageBuilder,
    /// The first entries of the pages at hand.
    page_first_chunk: u64,
    page_first_times: u64,
    /// Numbers of columns of times by their bytes.
    times: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    /// The column used last, unpacked: often the next one's too.
    last_times: (Vec<TimeMs>, u32),
    lists: Vec<postings::Builder>,
    /// Times of the last samples of all series.
    lasts: Vec<TimeMs>,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    values: values::Scratch,
    starts: starts::Scratch,
    ints: ints::Scratch,
    column: Vec<u8>,
    page: Vec<u8>,
    pending: Pending,
}

/// Samples of the series at hand that wait for their chunk.
#[derive(Debug, Default)]
struct Pending {
    t_ms: Vec<TimeMs>,
    floats: Vec<f64>,
    histograms: Vec<Arc<Histogram>>,
    /// Empty until a sample has one.
    starts: Vec<TimeMs>,
}

impl Pending {
    fn forget(&mut self, count: usize) {
        self.t_ms.drain(..count.min(self.t_ms.len()));
        self.floats.drain(..count.min(self.floats.len()));
        self.histograms.drain(..count.min(self.histograms.len()));
        self.starts.drain(..count.min(self.starts.len()));
    }
}

/// The file, and how far it has come.
#[derive(Debug)]
struct Out {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    offset: u64,
}

impl Out {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
        self.spill(BUFFER_BYTES)
    }

    fn page(&mut self, payload: &[u8]) -> io::Result<PageRef> {
        let offset = self.offset;
        let len = put_frame(payload, &mut self.buffer);
        self.offset += u64::from(len);
        self.spill(BUFFER_BYTES)?;
        Ok(PageRef { offset, len })
    }

    fn spill(&mut self, limit: usize) -> io::Result<()> {
        if limit <= self.buffer.len() {
            self.file.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl BlockWriter {
    /// Begins a block whose samples lie from `min_ms` to `max_ms`, and have starts only when its version can hold them.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        number: u64,
        dictionary: Dictionary,
        (min_ms, max_ms): (TimeMs, TimeMs),
        version: BlockVersion,
    ) -> io::Result<Self> {
        let file = disk.create(&fresh_path(dir, number))?;
        let mut out = Out { file, buffer: Vec::with_capacity(BUFFER_BYTES + CHUNK_PAGE_BYTES), offset: 0 };
        out.bytes(&encode_header(version))?;
        let pairs = dictionary.pairs();
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            number,
            version,
            out,
            slots: Slots::new(min_ms, max_ms),
            footer: Footer { min_ms, max_ms, pairs: pairs as u32, ..Footer::default() },
            chunk_page: ChunkPageBuilder::default(),
            series_page: SeriesPageBuilder::default(),
            time_page: TimePageBuilder::default(),
            page_first_chunk: 0,
            page_first_times: 0,
            times: HashMap::default(),
            last_times: (Vec::new(), 0),
            lists: vec![postings::Builder::default(); pairs],
            dictionary,
            lasts: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    /// Adds a series with its samples in order of time; one without samples is left out. Series come in the order of
    /// their pairs.
    pub(crate) fn add<E: From<io::Error>>(
        &mut self,
        pairs: &[u32],
        runs: impl Iterator<Item = Result<SampleRun, E>>,
    ) -> Result<(), E> {
        let mut pending = std::mem::take(&mut self.scratch.pending);
        let (mut chunks, mut first, mut last) = (0, None, 0);
        for run in runs {
            let run = run?;
            if let (Some(begin), Some(end)) = (run.times().first(), run.times().last()) {
                first.get_or_insert(*begin);
                last = *end;
            }
            chunks += self.run(&mut pending, &run)?;
        }
        chunks += self.drain(&mut pending)?;
        self.scratch.pending = pending;
        let Some(first) = first else { return Ok(()) };
        let series = self.footer.series;
        for pair in pairs {
            if let Some(list) = self.lists.get_mut(*pair as usize) {
                list.push(series);
            }
        }
        self.lasts.push(last);
        self.series_page.add(pairs, (self.slots.of(first), self.slots.of(last)), chunks);
        self.footer.series += 1;
        if self.series_page.len() == SERIES_PER_PAGE {
            self.end_series_page()?;
        }
        Ok(())
    }

    fn run(&mut self, pending: &mut Pending, run: &SampleRun) -> io::Result<u32> {
        let mut chunks = 0;
        match run {
            SampleRun::Floats { t_ms, values, starts } => {
                if !pending.histograms.is_empty() {
                    chunks += self.drain(pending)?;
                }
                append_starts(&mut pending.starts, pending.t_ms.len(), starts, 0..t_ms.len());
                pending.t_ms.extend_from_slice(t_ms);
                pending.floats.extend_from_slice(values);
            }
            SampleRun::Histograms { t_ms, values, starts } => {
                if !pending.floats.is_empty() {
                    chunks += self.drain(pending)?;
                }
                append_starts(&mut pending.starts, pending.t_ms.len(), starts, 0..t_ms.len());
                pending.t_ms.extend_from_slice(t_ms);
                pending.histograms.extend(values.iter().cloned());
            }
        }
        // Enough stays behind for the last chunk of a series not to be tiny.
        let mut from = 0;
        while 2 * CHUNK_SAMPLES_MAX <= pending.t_ms.len() - from {
            self.chunk(pending, from..from + CHUNK_SAMPLES_MAX)?;
            chunks += 1;
            from += CHUNK_SAMPLES_MAX;
        }
        pending.forget(from);
        Ok(chunks)
    }

    /// Writes what waits as chunks of equal length; gives their number.
    fn drain(&mut self, pending: &mut Pending) -> io::Result<u32> {
        let count = pending.t_ms.len();
        let chunks = count.div_ceil(CHUNK_SAMPLES_MAX);
        for at in 0..chunks {
            self.chunk(pending, at * count / chunks..(at + 1) * count / chunks)?;
        }
        pending.forget(count);
        Ok(chunks as u32)
    }

    fn chunk(&mut self, pending: &Pending, range: std::ops::Range<usize>) -> io::Result<()> {
        let t_ms = pending.t_ms.get(range.clone()).unwrap_or_default();
        let since = pending.starts.get(range.clone()).unwrap_or_default();
        if self.version == BlockVersion::Plain && since.iter().any(|start_ms| *start_ms != START_UNKNOWN) {
            return Err(io::Error::other("samples with starts in a block that cannot hold any"));
        }
        let times = self.times_of(t_ms)?;
        let Scratch { values: scratch, starts, .. } = &mut self.scratch;
        if pending.histograms.is_empty() {
            let (kind, values) = (ChunkKind::Floats, pending.floats.get(range).unwrap_or_default());
            self.footer.floats += values.len() as u64;
            self.chunk_page.add(times, kind, |out| {
                starts::encode(since, t_ms, kind, starts, out);
                values::encode(values, scratch, out);
            });
        } else {
            let (kind, values) = (ChunkKind::Histograms, pending.histograms.get(range).unwrap_or_default());
            self.footer.histograms += values.len() as u64;
            self.chunk_page.add(times, kind, |out| {
                starts::encode(since, t_ms, kind, starts, out);
                histograms::encode(values, scratch, out);
            });
        }
        self.footer.chunks += 1;
        if CHUNK_PAGE_BYTES <= self.chunk_page.len() { self.end_chunk_page() } else { Ok(()) }
    }

    /// The number of a column of times, which is stored if nobody had the same before.
    fn times_of(&mut self, t_ms: &[TimeMs]) -> io::Result<u32> {
        let (last, number) = &mut self.last_times;
        if self.footer.times > 0 && last == t_ms {
            return Ok(*number);
        }
        last.clear();
        last.extend_from_slice(t_ms);
        let column = &mut self.scratch.column;
        column.clear();
        encode_times(t_ms, &mut self.scratch.ints, column);
        if let Some(known) = self.times.get(column.as_slice()) {
            *number = *known;
            return Ok(*number);
        }
        *number = self.footer.times;
        self.footer.times += 1;
        let number = *number;
        if self.times.len() < TIMES_REMEMBERED_MAX {
            self.times.insert(column.as_slice().into(), number);
        }
        self.time_page.add(column);
        if SMALL_PAGE_BYTES <= self.time_page.len() {
            self.end_time_page()?;
        }
        Ok(number)
    }

    fn end_chunk_page(&mut self) -> io::Result<()> {
        let page = &mut self.scratch.page;
        page.clear();
        self.chunk_page.finish(page);
        let at = self.out.page(page)?;
        self.footer.chunk_pages.push((at, self.page_first_chunk));
        self.page_first_chunk = self.footer.chunks;
        Ok(())
    }

    fn end_time_page(&mut self) -> io::Result<()> {
        let page = &mut self.scratch.page;
        page.clear();
        self.time_page.finish(page);
        let at = self.out.page(page)?;
        self.footer.time_pages.push((at, self.page_first_times));
        self.page_first_times = self.footer.times.into();
        Ok(())
    }

    fn end_series_page(&mut self) -> io::Result<()> {
        let page = &mut self.scratch.page;
        page.clear();
        self.series_page.finish(page);
        self.footer.series_pages.push(self.out.page(page)?);
        Ok(())
    }

    /// Samples so far.
    pub(crate) fn samples(&self) -> u64 {
        self.footer.floats + self.footer.histograms
    }

    /// Ends the block and makes it durable under its name. `None` when no series had a sample: then there is no file.
    pub(crate) fn finish(mut self) -> io::Result<Option<BlockEntry>> {
        if self.footer.series == 0 {
            self.abandon();
            return Ok(None);
        }
        if !self.chunk_page.is_empty() {
            self.end_chunk_page()?;
        }
        if !self.time_page.is_empty() {
            self.end_time_page()?;
        }
        if !self.series_page.is_empty() {
            self.end_series_page()?;
        }
        self.write_dictionary()?;
        self.footer.settled_ms = self.settled_ms();
        let page = &mut self.scratch.page;
        page.clear();
        self.footer.encode(page);
        let footer = self.out.page(page)?;
        self.out.bytes(&encode_trailer(footer, self.version))?;
        self.out.spill(0)?;
        self.out.file.sync()?;
        self.disk.rename(&fresh_path(&self.dir, self.number), &self.dir.join(file_name(self.number)))?;
        self.disk.sync_dir(&self.dir)?;
        Ok(Some(BlockEntry {
            number: self.number,
            bytes: self.out.offset,
            min_ms: self.footer.min_ms,
            max_ms: self.footer.max_ms,
            settled_ms: self.footer.settled_ms,
            series: self.footer.series.into(),
            samples: self.samples(),
        }))
    }

    fn settled_ms(&mut self) -> TimeMs {
        let middle = self.lasts.len() / 2;
        let median = if self.lasts.is_empty() { 0 } else { *self.lasts.select_nth_unstable(middle).1 };
        median.clamp(self.footer.min_ms, self.footer.max_ms)
    }

    /// Gives the block up. Best effort: what stays is removed when the store is opened.
    pub(crate) fn abandon(self) {
        self.disk.remove(&fresh_path(&self.dir, self.number)).ok();
    }

    fn write_dictionary(&mut self) -> io::Result<()> {
        let dictionary = std::mem::take(&mut self.dictionary);
        let lists = std::mem::take(&mut self.lists);
        let mut lists = lists.into_iter();
        let mut values = ValuesBuilder::default();
        // Label values that always come together have the same series.
        let mut known: HashMap<Vec<u8>, PageRef, foldhash::fast::RandomState> = HashMap::default();
        let (mut pair, mut page_first) = (0, 0);
        for (_, texts) in &dictionary.names {
            for (at, text) in texts.iter().enumerate() {
                let mut list = Vec::new();
                lists.next().unwrap_or_default().finish(&mut list);
                if list.len() <= LIST_INLINE_BYTES_MAX {
                    values.add(text, at == 0, List::Inline(&list));
                } else {
                    let page = if let Some(page) = known.get(&list) {
                        *page
                    } else {
                        let page = self.out.page(&list)?;
                        known.insert(list, page);
                        page
                    };
                    values.add(text, at == 0, List::At(page));
                }
                pair += 1;
                if SMALL_PAGE_BYTES <= values.len() {
                    self.end_values_page(&mut values, page_first)?;
                    page_first = pair;
                }
            }
        }
        if !values.is_empty() {
            self.end_values_page(&mut values, page_first)?;
        }
        let page = &mut self.scratch.page;
        page.clear();
        encode_names(dictionary.names.iter().map(|(name, values)| (name.as_str(), values.len() as u32)), page);
        self.footer.names = self.out.page(page)?;
        Ok(())
    }

    fn end_values_page(&mut self, values: &mut ValuesBuilder, first_pair: u64) -> io::Result<()> {
        let page = &mut self.scratch.page;
        page.clear();
        values.finish(page);
        let at = self.out.page(page)?;
        self.footer.values.push((at, first_pair));
        Ok(())
    }
}

/// Where a block is written before it has its name.
fn fresh_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{}.new", file_name(number)))
}

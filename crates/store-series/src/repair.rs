//! Mends a store whose files are damaged: what can be read is kept, what cannot is set aside, nothing is destroyed.
//!
//! A damaged block goes to `damaged/` as it is; in its place comes a new one with every chunk that can be read. A
//! damaged manifest goes there too and is made anew from the ends of the blocks; then nothing is known of deletions,
//! and the log is read from its beginning: samples that are in a block as well are the same samples.
//!
//! Not here: finding damage (`files`), frames of the log (`store-wal`'s repair).
//! Invariants: a file is under its second name durably before the manifest forgets it; the manifest changes once.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use homeostat_model::Labels;
use homeostat_store_wal::{
    DamageKind, Disk,
    disk::{DirLock, replace},
    repair::{Repaired, repair_held},
    survey::survey,
};
use homeostat_wire::series::{
    footer::{BlockEndError, TRAILER_BYTES, decode_trailer},
    manifest::{BlockEntry, Gone, Manifest, ManifestError},
    postings,
    series_page::{SERIES_PER_PAGE, Slots},
};
use homeostat_wire::wal_record::HeaderError;
use thiserror::Error;

use crate::{
    block::{
        Block, BlockError, BlockFault, BlockWriter, ChunkReader, Dictionary, LabelReader, PageCache, SeriesChunks,
        file_name, parse_name,
    },
    catalog::{BLOCKS_DIR, MANIFEST, read_manifest},
    error::OpenError,
    files::{Progress, block_names, check_block, hold},
    merge::{Runs, without},
    store::LOG_DIR,
};

/// Directory of what was set aside, within the store's.
const DAMAGED_DIR: &str = "damaged";
/// Pages of a damaged block in memory.
const CACHE_BYTES: usize = 8 << 20;

/// Samples that are gone, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The block that held them.
    pub block: u64,
    /// The series; `None` when not even its labels can be read.
    pub labels: Option<Labels>,
    /// How many series, where their labels are not known; else 1.
    pub series: u64,
    /// No earlier than this, in Unix milliseconds.
    pub from_ms: i64,
    /// No later than this, in Unix milliseconds.
    pub to_ms: i64,
}

/// What a repair has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Files that were set aside, under the names that they have now.
    pub set_aside: Vec<PathBuf>,
    /// Blocks that were damaged, each with the one that now holds what could be read of it, if there was anything.
    pub blocks: Vec<(u64, Option<BlockEntry>)>,
    /// The manifest was made anew.
    pub manifest: bool,
    /// Segments of the log that were cut off.
    pub segments: Vec<Repaired>,
    /// What is lost of blocks.
    pub lost: Vec<Lost>,
}

impl Mended {
    /// Returns true when there was nothing to mend.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a store was not mended.
#[derive(Debug, Error)]
pub enum RepairError {
    /// The store cannot be taken or read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A segment of the log cannot be repaired.
    #[error(transparent)]
    Log(#[from] homeostat_store_wal::RepairError),
    /// A newer program has written it: what is unknown here is not damage.
    #[error(
        "{path} has format version {found}, which a newer program has written; use that one, nothing was set aside"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
    },
    /// The file system refused something.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Mends the store in `dir`; when all is well nothing changes. Fails when a process uses the store.
pub fn repair(disk: Arc<dyn Disk>, dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Mended, RepairError> {
    let held = hold(&*disk, dir)?;
    refuse_newer(&*disk, dir)?;
    let mut mended = Mended { segments: mended_log(&*disk, dir, held.as_deref())?, ..Mended::default() };
    let mender = Mender { disk, dir };
    let before = match read_manifest(&*mender.disk, dir) {
        Ok(manifest) => manifest.unwrap_or_default(),
        Err(OpenError::Manifest { .. } | OpenError::NoManifest { .. }) => {
            mended.manifest = true;
            mender.fresh_manifest(&mut mended)?
        }
        Err(error) => return Err(error.into()),
    };
    let mut after = before.clone();
    let mut at = Progress { done: 0, all: before.blocks.iter().map(|entry| entry.bytes).sum() };
    for entry in &before.blocks {
        let mut faults = 0;
        let mut read = |bytes| {
            at.done += bytes;
            progress(at);
        };
        check_block(&*mender.disk, dir, entry, &before.gone, &mut read, &mut |_| faults += 1);
        if faults > 0 {
            let salvaged = mender.salvage(entry, &before.gone, &mut after, &mut mended)?;
            mended.blocks.push((entry.number, salvaged));
            after.gone.retain(|gone| gone.block != entry.number);
            replace_entry(&mut after.blocks, entry.number, salvaged);
        }
    }
    if after != before || mended.manifest {
        replace(&*mender.disk, dir, MANIFEST, &after.encode()).map_err(io_error("write", &dir.join(MANIFEST)))?;
        for (number, _) in &mended.blocks {
            let path = dir.join(BLOCKS_DIR).join(file_name(*number));
            mender.disk.remove(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(mended)
}

/// Repairs all damaged segments of the log.
fn mended_log(disk: &dyn Disk, dir: &Path, held: Option<&dyn DirLock>) -> Result<Vec<Repaired>, RepairError> {
    // Without a log there was nothing to take.
    let Some(held) = held else { return Ok(Vec::new()) };
    let log = dir.join(LOG_DIR);
    let damage = survey(disk, &log, &mut |_, _| {}).map_err(OpenError::Log)?.damage;
    let each = damage.iter().map(|damage| repair_held(disk, &log, held, damage.segment));
    each.collect::<Result<_, _>>().map_err(RepairError::Log)
}

/// Refuses a store with files of a format that is not known here, before anything of it is changed.
fn refuse_newer(disk: &dyn Disk, dir: &Path) -> Result<(), RepairError> {
    if let Err(OpenError::Manifest { source: ManifestError::Header(BlockEndError::Version { found }), path }) =
        read_manifest(disk, dir)
    {
        return Err(RepairError::Newer { path, found });
    }
    for damage in survey(disk, &dir.join(LOG_DIR), &mut |_, _| {}).map_err(OpenError::Log)?.damage {
        if let DamageKind::Header(HeaderError::Version { .. }) = damage.kind {
            return Err(homeostat_store_wal::RepairError::Newer { segment: damage.segment }.into());
        }
    }
    let cache = Arc::new(PageCache::new(CACHE_BYTES));
    for name in block_names(disk, dir)? {
        let Some(number) = parse_name(&name).filter(|number| file_name(*number) == name) else { continue };
        let opened = Block::open(disk, &dir.join(BLOCKS_DIR), number, Arc::clone(&cache));
        if let Err(BlockError { path, fault: BlockFault::End(BlockEndError::Version { found }), .. }) = opened
            && !ends_as_ours(disk, &path)
        {
            return Err(RepairError::Newer { path, found });
        }
    }
    Ok(())
}

/// Returns true for a block whose end, which has a checksum, is of the format known here: then it is the beginning, which
/// has none, that is damaged.
fn ends_as_ours(disk: &dyn Disk, path: &Path) -> bool {
    let read = || {
        let file = disk.open(path)?;
        let mut trailer = [0; TRAILER_BYTES];
        let at = file.len()?.checked_sub(TRAILER_BYTES as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        file.read_at(at, &mut trailer).map(|()| trailer)
    };
    read().is_ok_and(|trailer| decode_trailer(&trailer).is_ok())
}

fn replace_entry(blocks: &mut Vec<BlockEntry>, number: u64, by: Option<BlockEntry>) {
    if let Some(at) = blocks.iter().position(|block| block.number == number) {
        blocks.splice(at..=at, by);
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RepairError + use<> {
    let path = path.to_owned();
    move |source| RepairError::Io { what, path, source }
}

struct Mender<'a> {
    disk: Arc<dyn Disk>,
    dir: &'a Path,
}

impl Mender<'_> {
    /// Gives a file a second name among what was set aside, durably.
    fn set_aside(&self, path: &Path, mended: &mut Mended) -> Result<(), RepairError> {
        let aside = self.dir.join(DAMAGED_DIR);
        self.disk.make_dir(&aside).map_err(io_error("create", &aside))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(MANIFEST);
        let names = self.disk.list(&aside).map_err(io_error("list", &aside))?;
        let candidates = (1_u32..).map(|turn| if turn == 1 { name.to_owned() } else { format!("{name}-{turn}") });
        // One of so many names is free.
        let free = candidates.take(names.len() + 1).find(|name| !names.contains(name));
        let to = aside.join(free.unwrap_or_else(|| name.to_owned()));
        match self.disk.link(path, &to) {
            // There is nothing to keep of a file that is missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(io_error("set aside", path))?,
        }
        self.disk.sync_dir(&aside).map_err(io_error("write into", &aside))?;
        mended.set_aside.push(to);
        Ok(())
    }

    /// A manifest made of the blocks that are there.
    fn fresh_manifest(&self, mended: &mut Mended) -> Result<Manifest, RepairError> {
        self.set_aside(&self.dir.join(MANIFEST), mended)?;
        let blocks_dir = self.dir.join(BLOCKS_DIR);
        let cache = Arc::new(PageCache::new(CACHE_BYTES));
        let mut manifest = Manifest { next_block: 1, ..Manifest::default() };
        for name in block_names(&*self.disk, self.dir)? {
            let Some(number) = parse_name(&name).filter(|number| file_name(*number) == name) else { continue };
            manifest.next_block = manifest.next_block.max(number + 1);
            match Block::open(&*self.disk, &blocks_dir, number, Arc::clone(&cache)) {
                Ok(block) => manifest.blocks.push(entry_of(number, &block)),
                // Nobody knows whether it was in use, nor what is in it; it is kept, and out of the way.
                Err(error) => {
                    self.set_aside(&error.path, mended)?;
                    mended.lost.push(Lost {
                        block: number,
                        labels: None,
                        series: 0,
                        from_ms: i64::MIN,
                        to_ms: i64::MAX,
                    });
                    mended.blocks.push((number, None));
                }
            }
        }
        manifest.blocks.sort_by_key(|block| (block.settled_ms, block.number));
        Ok(manifest)
    }

    /// Sets a block aside and writes a new one with what can be read of it.
    fn salvage(
        &self,
        entry: &BlockEntry,
        gone: &[Gone],
        after: &mut Manifest,
        mended: &mut Mended,
    ) -> Result<Option<BlockEntry>, RepairError> {
        let blocks_dir = self.dir.join(BLOCKS_DIR);
        self.set_aside(&blocks_dir.join(file_name(entry.number)), mended)?;
        let cache = Arc::new(PageCache::new(CACHE_BYTES));
        let Ok(block) = Block::open(&*self.disk, &blocks_dir, entry.number, cache) else {
            mended.lost.push(Lost {
                block: entry.number,
                labels: None,
                series: entry.series,
                from_ms: entry.min_ms,
                to_ms: entry.max_ms,
            });
            return Ok(None);
        };
        let number = after.next_block;
        after.next_block += 1;
        let salvage = Salvage::new(Arc::new(block), entry.number, gone, mended);
        let written = salvage.write(Arc::clone(&self.disk), &blocks_dir, number, mended);
        written.map_err(io_error("write", &blocks_dir.join(file_name(number))))
    }
}

fn entry_of(number: u64, block: &Block) -> BlockEntry {
    let footer = block.footer();
    BlockEntry {
        number,
        bytes: block.bytes(),
        min_ms: footer.min_ms,
        max_ms: footer.max_ms,
        settled_ms: footer.settled_ms,
        series: footer.series.into(),
        samples: footer.floats + footer.histograms,
    }
}

/// A damaged block on its way into a new one.
struct Salvage {
    block: Arc<Block>,
    number: u64,
    /// Series whose labels can be read, in the order of their labels: number, labels, slots, chunks.
    series: Vec<(u32, Labels, (u8, u8), SeriesChunks)>,
    /// What was deleted: first and last instant, and series.
    gone: Vec<(i64, i64, BTreeSet<u32>)>,
}

impl Salvage {
    /// Reads which series there are. Their labels are in memory for the time of the repair.
    fn new(block: Arc<Block>, number: u64, gone: &[Gone], mended: &mut Mended) -> Self {
        let footer = block.footer();
        let (min_ms, max_ms) = (footer.min_ms, footer.max_ms);
        let lost = |series| Lost { block: number, labels: None, series, from_ms: min_ms, to_ms: max_ms };
        let mut series = Vec::new();
        let mut labels = LabelReader::new(&block);
        for first in (0..footer.series).step_by(SERIES_PER_PAGE) {
            let end = footer.series.min(first + SERIES_PER_PAGE as u32);
            let mut seen = first;
            let mut nameless = 0;
            // A page that breaks off in its middle gives what comes before.
            let walked = block.for_each_series(first..end, |number, entry| {
                seen = number + 1;
                let chunks = SeriesChunks { first: entry.first_chunk, count: entry.chunks };
                match labels.labels(&entry.pairs) {
                    Ok(labels) => series.push((number, labels, entry.slots, chunks)),
                    Err(_) => nameless += 1,
                }
                Ok(())
            });
            let missing = if walked.is_err() { u64::from(end - seen) } else { 0 };
            if nameless + missing > 0 {
                mended.lost.push(lost(nameless + missing));
            }
        }
        let gone = gone.iter().filter(|gone| gone.block == number).map(|gone| {
            let mut numbers = Vec::new();
            // A list that cannot be read deletes nothing.
            if postings::decode(&gone.series, footer.series, &mut numbers).is_err() {
                numbers.clear();
            }
            (gone.min_ms, gone.max_ms, numbers.into_iter().collect())
        });
        let gone = gone.collect();
        // Damage that no checksum has noticed may have put them out of order; the writer needs it.
        series.sort_by(|a, b| a.1.cmp(&b.1));
        series.dedup_by(|a, b| a.1 == b.1);
        Self { block, number, series, gone }
    }

    fn write(
        self,
        disk: Arc<dyn Disk>,
        dir: &Path,
        number: u64,
        mended: &mut Mended,
    ) -> io::Result<Option<BlockEntry>> {
        let (dictionary, places) = dictionary(self.series.iter().map(|(_, labels, ..)| labels));
        let footer = self.block.footer();
        let span = (footer.min_ms, footer.max_ms);
        let mut writer = BlockWriter::new(disk, dir, number, dictionary, span, self.block.version())?;
        let reader = Mutex::new(ChunkReader::new(Arc::clone(&self.block), None));
        let mut pairs = Vec::new();
        for (series, labels, slots, chunks) in &self.series {
            pairs.clear();
            pairs.extend(labels.iter().filter_map(|(name, value)| places.get(name)?.get(value)).copied());
            let mut broken = Broken::default();
            let runs = self.runs(&reader, *series, *chunks, &mut broken);
            writer.add::<io::Error>(&pairs, runs.into_iter().map(Ok))?;
            if broken.is_broken {
                let slots_of = Slots::new(span.0, span.1);
                let (from_ms, to_ms) = (slots_of.start_ms(slots.0), slots_of.end_ms(slots.1).min(span.1));
                mended.lost.push(Lost {
                    block: self.number,
                    labels: Some(labels.clone()),
                    series: 1,
                    from_ms: broken.after_ms.map_or(from_ms, |t| t.saturating_add(1)).max(from_ms),
                    to_ms: broken.before_ms.map_or(to_ms, |t| t.saturating_sub(1)).min(to_ms),
                });
            }
        }
        writer.finish()
    }

    /// What can be read of a series, as runs in order of time.
    fn runs(
        &self,
        reader: &Mutex<ChunkReader>,
        series: u32,
        chunks: SeriesChunks,
        broken: &mut Broken,
    ) -> Vec<homeostat_model::SampleRun> {
        let mut runs: Vec<homeostat_model::SampleRun> = Vec::new();
        let mut newest = None;
        for chunk in chunks.first..chunks.first.saturating_add(chunks.count.into()) {
            let read = reader.lock().unwrap_or_else(PoisonError::into_inner).read(chunk, i64::MIN, i64::MAX);
            match read {
                Ok(Some(run)) if run.times().first().copied() > newest => {
                    newest = run.times().last().copied();
                    broken.goes_on(run.times().first().copied());
                    runs.push(run);
                }
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => broken.begin(newest),
            }
        }
        let deleted: Vec<(i64, i64)> = self
            .gone
            .iter()
            .filter(|(_, _, numbers)| numbers.contains(&series))
            .map(|(min, max, _)| (*min, *max))
            .collect();
        if deleted.is_empty() {
            return runs;
        }
        let all: Runs<'_> = Box::new(runs.into_iter().map(Ok));
        without(all, deleted).filter_map(Result::ok).collect()
    }
}

/// The stretch of a series that cannot be read, between what can.
#[derive(Debug, Default)]
struct Broken {
    is_broken: bool,
    after_ms: Option<i64>,
    before_ms: Option<i64>,
}

impl Broken {
    fn begin(&mut self, after_ms: Option<i64>) {
        if !self.is_broken {
            (self.is_broken, self.after_ms) = (true, after_ms);
        }
        // A second stretch makes one of both.
        self.before_ms = None;
    }

    fn goes_on(&mut self, t_ms: Option<i64>) {
        if self.is_broken && self.before_ms.is_none() {
            self.before_ms = t_ms;
        }
    }
}

/// Names and values of some series, and the number of each pair.
fn dictionary<'l>(series: impl Iterator<Item = &'l Labels>) -> (Dictionary, BTreeMap<&'l str, BTreeMap<&'l str, u32>>) {
    let mut places: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    for (name, value) in series.flat_map(Labels::iter) {
        places.entry(name).or_default().insert(value, 0);
    }
    let mut next = 0;
    let mut names = Vec::with_capacity(places.len());
    for (name, values) in &mut places {
        for place in values.values_mut() {
            *place = next;
            next += 1;
        }
        names.push(((*name).to_owned(), values.keys().map(|value| (*value).to_owned()).collect()));
    }
    (Dictionary { names }, places)
}

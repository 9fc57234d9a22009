//! Which blocks there are: the manifest on disk, and the open blocks in memory.
//!
//! Every change is one replacement of the manifest. A change that fails leaves the old set in force; because nobody can
//! tell whether the disk has the old or the new manifest then, no file that either names is removed before a later
//! change has succeeded or the store is opened again.
//!
//! Not here: what goes into blocks (`flush`, `compact`).
//! Invariant: a set is never changed in place; readers keep the one they have.

use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use homeostat_model::TimeMs;
use homeostat_store_wal::{Disk, disk::replace};
use homeostat_wire::series::{
    manifest::{BlockEntry, Gone, Manifest},
    postings,
};

use crate::{
    block::{Block, PageCache, parse_name},
    error::{CatalogError, OpenError},
    files::block_names,
};

/// Name of the manifest.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// Directory of the blocks.
pub(crate) const BLOCKS_DIR: &str = "blocks";
/// Longest manifest that is read: tens of thousands of blocks, or deletions of millions of series.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// A block in use.
#[derive(Clone, Debug)]
pub(crate) struct LiveBlock {
    pub(crate) block: Arc<Block>,
    pub(crate) entry: BlockEntry,
    /// What was deleted from it, in the order of deletion.
    pub(crate) gone: Arc<Vec<GoneSeries>>,
}

/// Samples of some series of a block that were deleted.
#[derive(Clone, Debug)]
pub(crate) struct GoneSeries {
    pub(crate) min_ms: TimeMs,
    pub(crate) max_ms: TimeMs,
    /// Ascending.
    series: Vec<u32>,
}

impl LiveBlock {
    /// The ranges of time that were deleted from a series.
    pub(crate) fn gone_of(&self, series: u32) -> Vec<(TimeMs, TimeMs)> {
        let gone = self.gone.iter().filter(|gone| gone.series.binary_search(&series).is_ok());
        gone.map(|gone| (gone.min_ms, gone.max_ms)).collect()
    }
}

/// The blocks of a store.
#[derive(Debug)]
pub(crate) struct Catalog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    cache: Arc<PageCache>,
    state: Mutex<State>,
    live: RwLock<Arc<Vec<LiveBlock>>>,
}

#[derive(Debug)]
struct State {
    manifest: Manifest,
    next_block: u64,
    /// Files that a successful change may remove.
    doomed: BTreeSet<u64>,
}

impl Catalog {
    /// Reads the manifest and opens the blocks that it names; other files are removed.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, cache: Arc<PageCache>) -> Result<Self, OpenError> {
        let blocks_dir = dir.join(BLOCKS_DIR);
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { what, path, source }
        };
        disk.make_dir(&blocks_dir).map_err(io("create", &blocks_dir))?;
        let known = read_manifest(&*disk, dir)?;
        if known.is_none() {
            // Written before the first block can be: from now on a store without a manifest has lost it.
            let fresh = Manifest::default().encode();
            replace(&*disk, dir, MANIFEST, &fresh).map_err(io("write", &dir.join(MANIFEST)))?;
        }
        let manifest = known.unwrap_or_default();
        let names = disk.list(&blocks_dir).map_err(io("list", &blocks_dir))?;
        let highest = names.iter().filter_map(|name| parse_name(name)).max();
        let next_block = manifest.next_block.max(highest.map_or(0, |highest| highest + 1)).max(1);
        let mut live = Vec::with_capacity(manifest.blocks.len());
        for entry in &manifest.blocks {
            let block = Block::open(&*disk, &blocks_dir, entry.number, Arc::clone(&cache))?;
            live.push(LiveBlock { block: Arc::new(block), entry: *entry, gone: Arc::default() });
        }
        attach_gone(&mut live, &manifest.gone)?;
        let named: BTreeSet<u64> = manifest.blocks.iter().map(|block| block.number).collect();
        for name in names {
            let unfinished = Path::new(&name).extension().is_some_and(|extension| extension == "new");
            if parse_name(&name).is_some_and(|number| unfinished || !named.contains(&number)) {
                // Best effort: it takes space, nothing else.
                disk.remove(&blocks_dir.join(name)).ok();
            }
        }
        let state = Mutex::new(State { manifest, next_block, doomed: BTreeSet::new() });
        Ok(Self { disk, dir: dir.to_owned(), cache, state, live: RwLock::new(Arc::new(live)) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn blocks_dir(&self) -> PathBuf {
        self.dir.join(BLOCKS_DIR)
    }

    pub(crate) fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// The blocks now, in the order in which their samples were written.
    pub(crate) fn live(&self) -> Arc<Vec<LiveBlock>> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first record of the log that is not in a block.
    pub(crate) fn log_from(&self) -> u64 {
        self.lock().manifest.log_from
    }

    /// A number that no block ever had.
    pub(crate) fn next_number(&self) -> u64 {
        let mut state = self.lock();
        state.next_block += 1;
        state.next_block - 1
    }

    /// Adds the block of a flush, if there is one: records of the log before `log_from` are in blocks now.
    pub(crate) fn add(&self, entry: Option<BlockEntry>, log_from: u64) -> Result<(), CatalogError> {
        self.change(|manifest| {
            manifest.blocks.extend(entry);
            manifest.log_from = log_from;
            Ok(())
        })
    }

    /// Puts `entry`, if there is one, in the place of neighbours that were merged into it. Fails when one of them has
    /// gone or has had something deleted since.
    pub(crate) fn replace(&self, inputs: &[LiveBlock], entry: Option<BlockEntry>) -> Result<(), CatalogError> {
        self.change(|manifest| {
            let range = range_of(&manifest.blocks, inputs).ok_or(CatalogError::Overtaken)?;
            let gone = |block: &LiveBlock| manifest.gone.iter().filter(|gone| gone.block == block.entry.number).count();
            if inputs.iter().any(|block| gone(block) != block.gone.len()) {
                return Err(CatalogError::Overtaken);
            }
            manifest.blocks.splice(range, entry);
            Ok(())
        })
    }

    /// Removes blocks.
    pub(crate) fn remove(&self, numbers: &[u64]) -> Result<(), CatalogError> {
        self.change(|manifest| {
            manifest.blocks.retain(|block| !numbers.contains(&block.number));
            Ok(())
        })
    }

    /// Notes what was deleted from blocks; those that have gone in the meantime are an error.
    pub(crate) fn delete(&self, gone: Vec<Gone>) -> Result<(), CatalogError> {
        self.change(|manifest| {
            let known = |gone: &Gone| manifest.blocks.iter().any(|block| block.number == gone.block);
            if !gone.iter().all(known) {
                return Err(CatalogError::Overtaken);
            }
            manifest.gone.extend(gone);
            Ok(())
        })
    }

    /// The one way to change anything: the manifest on disk first, then the set in memory, then files.
    fn change(&self, change: impl FnOnce(&mut Manifest) -> Result<(), CatalogError>) -> Result<(), CatalogError> {
        let mut state = self.lock();
        let mut manifest = state.manifest.clone();
        change(&mut manifest)?;
        manifest.next_block = state.next_block;
        let named: BTreeSet<u64> = manifest.blocks.iter().map(|block| block.number).collect();
        manifest.gone.retain(|gone| named.contains(&gone.block));
        let live = self.opened(&manifest)?;
        replace(&*self.disk, &self.dir, MANIFEST, &manifest.encode()).map_err(CatalogError::Manifest)?;
        let before = std::mem::replace(&mut state.manifest, manifest);
        state.doomed.extend(before.blocks.iter().map(|block| block.number).filter(|number| !named.contains(number)));
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        let dir = self.blocks_dir();
        // Readers that have a file open keep it. What cannot be removed now is tried with the next change.
        state.doomed.retain(|number| self.disk.remove(&dir.join(crate::block::file_name(*number))).is_err());
        Ok(())
    }

    fn opened(&self, manifest: &Manifest) -> Result<Vec<LiveBlock>, CatalogError> {
        let open = self.live();
        let mut live = Vec::with_capacity(manifest.blocks.len());
        for entry in &manifest.blocks {
            let block = match open.iter().find(|live| live.entry.number == entry.number) {
                Some(known) => Arc::clone(&known.block),
                None => Arc::new(Block::open(&*self.disk, &self.blocks_dir(), entry.number, Arc::clone(&self.cache))?),
            };
            live.push(LiveBlock { block, entry: *entry, gone: Arc::default() });
        }
        attach_gone(&mut live, &manifest.gone)?;
        Ok(live)
    }

    /// Gives the manifest and every file that it names a second name under `to`, without anything changing meanwhile.
    pub(crate) fn link_into(&self, to: &Path) -> io::Result<()> {
        let state = self.lock();
        let (from, blocks) = (self.blocks_dir(), to.join(BLOCKS_DIR));
        self.disk.make_dir(&blocks)?;
        for block in &state.manifest.blocks {
            let name = crate::block::file_name(block.number);
            self.disk.link(&from.join(&name), &blocks.join(&name))?;
        }
        self.disk.sync_dir(&blocks)?;
        // The copy has no log: whatever was in it is in blocks already, or belongs to later.
        let manifest = Manifest { log_from: 0, ..state.manifest.clone() };
        replace(&*self.disk, to, MANIFEST, &manifest.encode())
    }
}

/// Reads a store's manifest; `None` when there is none and no block either. Blocks without a manifest are an error: taken
/// for strays, all of them would be removed.
pub(crate) fn read_manifest(disk: &dyn Disk, dir: &Path) -> Result<Option<Manifest>, OpenError> {
    let path = dir.join(MANIFEST);
    let file = match disk.read(&path, MANIFEST_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_block =
                |name: &String| parse_name(name).is_some_and(|number| crate::block::file_name(number) == *name);
            let any = block_names(disk, dir)?.iter().any(is_block);
            return if any { Err(OpenError::NoManifest { path }) } else { Ok(None) };
        }
        Err(source) => return Err(OpenError::Io { what: "read", path, source }),
        Ok(file) => file,
    };
    Manifest::decode(&file).map(Some).map_err(|source| OpenError::Manifest { path, source })
}

fn attach_gone(live: &mut [LiveBlock], gone: &[Gone]) -> Result<(), crate::block::BlockError> {
    for live in live {
        let mut of_block = Vec::new();
        for gone in gone.iter().filter(|gone| gone.block == live.entry.number) {
            let mut series = Vec::new();
            postings::decode(&gone.series, live.block.footer().series, &mut series)
                .map_err(|error| live.block.malformed(error))?;
            of_block.push(GoneSeries { min_ms: gone.min_ms, max_ms: gone.max_ms, series });
        }
        live.gone = Arc::new(of_block);
    }
    Ok(())
}

/// Where neighbours lie in the list; `None` when they are no neighbours any more.
fn range_of(blocks: &[BlockEntry], inputs: &[LiveBlock]) -> Option<Range<usize>> {
    let first = inputs.first()?.entry.number;
    let start = blocks.iter().position(|block| block.number == first)?;
    let range = start..start + inputs.len();
    let same = blocks.get(range.clone())?.iter().zip(inputs).all(|(block, input)| block.number == input.entry.number);
    same.then_some(range)
}

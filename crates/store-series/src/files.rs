//! The files of a store that is not running: what there is, and whether all of it can be read.
//!
//! Not here: mending (`repair`), moving them elsewhere (`archive`).
//! Invariant: looking changes nothing.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use homeostat_store_wal::{
    Disk, Survey,
    disk::DirLock,
    segment::{End, file_name as segment_name},
    survey::survey,
};
use homeostat_wire::series::{
    footer::HEADER_BYTES,
    manifest::{BlockEntry, Gone, Manifest},
    postings, record,
};

use homeostat_model::error_chain::chain;

use crate::{
    block::{Block, BlockError, PageCache, Parts, file_name, parse_name},
    catalog::{BLOCKS_DIR, MANIFEST, read_manifest},
    error::OpenError,
    store::LOG_DIR,
};

/// Blocks are looked at page by page, each page once.
const CACHE_BYTES: usize = 1 << 20;

/// What the directory of a store holds.
#[derive(Debug)]
pub struct Inventory {
    /// Blocks, in the order in which their samples were written.
    pub blocks: Vec<BlockFiles>,
    /// What was deleted and is still in the files of blocks.
    pub deletions: Vec<Deletion>,
    /// The first record of the log that is not in a block.
    pub log_from: u64,
    /// Segments of the log.
    pub log: Survey,
    /// Files in the directory of blocks that belong to no block; the next start removes those that are its own.
    pub strays: Vec<String>,
    /// Nobody could be kept from writing meanwhile.
    pub unguarded: bool,
}

/// A block as the manifest and its own end describe it.
#[derive(Debug)]
pub struct BlockFiles {
    /// Its file.
    pub path: PathBuf,
    /// What the manifest says.
    pub entry: BlockEntry,
    /// Bytes of its parts, or why they are not known.
    pub parts: Result<Parts, BlockError>,
}

/// Samples that were deleted and still take space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The block's number.
    pub block: u64,
    /// First instant, inclusive, in Unix milliseconds.
    pub min_ms: i64,
    /// Last instant, inclusive, in Unix milliseconds.
    pub max_ms: i64,
    /// The number of series.
    pub series: u64,
}

/// How far [`verify`] has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes that there are.
    pub all: u64,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// The block whose file it is, if it is one.
    pub block: Option<u64>,
    /// What is wrong there.
    pub what: String,
}

/// What [`verify`] has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Everything that is wrong, file by file; empty when all is well.
    pub faults: Vec<Fault>,
    /// Blocks that were read.
    pub blocks: u64,
    /// Records of the log that were read.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Nobody could be kept from writing meanwhile: what looks like damage may be a file that was being written.
    pub unguarded: bool,
}

/// Takes a store's directory, so that no process begins to use it; an error when one does. A copy without a log has
/// nobody who writes, and is not locked.
pub(crate) fn hold(disk: &dyn Disk, dir: &Path) -> Result<Option<Box<dyn DirLock>>, OpenError> {
    held(disk.lock(&dir.join(LOG_DIR)).map(Some), dir)
}

/// Keeps processes from beginning to use a store, without changing anything in its directory; an error when one uses it.
/// Gives the guard, and whether a process may begin to write nevertheless.
fn guard(disk: &dyn Disk, dir: &Path) -> Result<(Option<Box<dyn DirLock>>, bool), OpenError> {
    let log = dir.join(LOG_DIR);
    let guard = held(disk.guard(&log), dir)?;
    let unguarded = guard.is_none() && disk.list(&log).is_ok();
    Ok((guard, unguarded))
}

fn held(taken: io::Result<Option<Box<dyn DirLock>>>, dir: &Path) -> Result<Option<Box<dyn DirLock>>, OpenError> {
    let path = || dir.join(LOG_DIR);
    taken.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        io::ErrorKind::WouldBlock => Err(OpenError::Log(homeostat_store_wal::OpenError::Locked { dir: path() })),
        _ => Err(OpenError::Io { what: "lock", path: path(), source: error }),
    })
}

/// Lists what the store in `dir` consists of. Reads the ends of files only. Fails when a process uses the store, or when
/// its manifest is damaged.
pub fn inspect(disk: &dyn Disk, dir: &Path) -> Result<Inventory, OpenError> {
    let (_guard, unguarded) = guard(disk, dir)?;
    let manifest = read_manifest(disk, dir)?.unwrap_or_default();
    let blocks_dir = dir.join(BLOCKS_DIR);
    let cache = Arc::new(PageCache::new(CACHE_BYTES));
    let mut deletions = Vec::new();
    let blocks = manifest.blocks.iter().map(|entry| {
        let opened = Block::open(disk, &blocks_dir, entry.number, Arc::clone(&cache));
        let of_block = manifest.gone.iter().filter(|gone| gone.block == entry.number);
        deletions.extend(of_block.map(deletion));
        let parts = opened.map(|block| block.parts());
        BlockFiles { path: blocks_dir.join(file_name(entry.number)), entry: *entry, parts }
    });
    let blocks = blocks.collect();
    let log = survey(disk, &dir.join(LOG_DIR), &mut |_, _| {})?;
    Ok(Inventory {
        blocks,
        deletions,
        log_from: manifest.log_from,
        log,
        strays: strays(disk, dir, &manifest)?,
        unguarded,
    })
}

fn deletion(gone: &Gone) -> Deletion {
    // The number of series is for people: a list that cannot be read is told by `verify`.
    let series = postings::count(&gone.series, u32::MAX).unwrap_or(0);
    Deletion { block: gone.block, min_ms: gone.min_ms, max_ms: gone.max_ms, series }
}

/// Names in the directory of blocks that the manifest does not know.
fn strays(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<Vec<String>, OpenError> {
    let mut names = block_names(disk, dir)?;
    names.retain(|name| {
        let number = parse_name(name).filter(|number| file_name(*number) == *name);
        number.is_none_or(|number| manifest.blocks.iter().all(|block| block.number != number))
    });
    Ok(names)
}

/// Names in the directory of blocks, sorted; none when there is no such directory.
pub(crate) fn block_names(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, OpenError> {
    let path = dir.join(BLOCKS_DIR);
    match disk.list(&path) {
        Ok(mut names) => {
            names.sort_unstable();
            Ok(names)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(OpenError::Io { what: "list", path, source }),
    }
}

/// Reads everything that the store in `dir` consists of: all checksums, all chunks, all lists, all records of the log.
/// `progress` is told how far it is. Fails only when a process uses the store or the file system refuses; damage is a
/// result.
pub fn verify(disk: &dyn Disk, dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Verified, OpenError> {
    let (_guard, unguarded) = guard(disk, dir)?;
    let mut found = Verified { unguarded, ..Verified::default() };
    let manifest = match read_manifest(disk, dir) {
        Ok(manifest) => manifest.unwrap_or_default(),
        Err(error @ OpenError::NoManifest { .. }) => {
            let path = dir.join(MANIFEST);
            found.faults.push(Fault { path, offset: 0, block: None, what: error.to_string() });
            Manifest::default()
        }
        Err(OpenError::Manifest { path, source }) => {
            found.faults.push(Fault { path, offset: HEADER_BYTES as u64, block: None, what: chain(&source) });
            Manifest::default()
        }
        Err(error) => return Err(error),
    };
    let mut at = Progress { done: 0, all: manifest.blocks.iter().map(|entry| entry.bytes).sum() };
    for entry in &manifest.blocks {
        let mut read = |bytes| {
            at.done += bytes;
            progress(at);
        };
        check_block(disk, dir, entry, &manifest.gone, &mut read, &mut |error| found.faults.push(fault(&error, entry)));
        found.blocks += 1;
    }
    found.bytes = at.done;
    check_log(disk, &dir.join(LOG_DIR), &mut found)?;
    Ok(found)
}

pub(crate) fn check_block(
    disk: &dyn Disk,
    dir: &Path,
    entry: &BlockEntry,
    gone: &[Gone],
    read: &mut dyn FnMut(u64),
    report: &mut dyn FnMut(BlockError),
) {
    let block = match Block::open(disk, &dir.join(BLOCKS_DIR), entry.number, Arc::new(PageCache::new(CACHE_BYTES))) {
        Ok(block) => block,
        Err(error) => return report(error),
    };
    for gone in gone.iter().filter(|gone| gone.block == entry.number) {
        if let Err(error) = postings::count(&gone.series, block.footer().series) {
            report(block.malformed(error));
        }
    }
    block.check(read, report);
}

fn fault(error: &BlockError, entry: &BlockEntry) -> Fault {
    Fault { path: error.path.clone(), offset: error.offset, block: Some(entry.number), what: chain(&error.fault) }
}

fn check_log(disk: &dyn Disk, log: &Path, found: &mut Verified) -> Result<(), OpenError> {
    let mut unreadable = Vec::new();
    let survey = survey(disk, log, &mut |seq, payload| {
        found.records += 1;
        found.bytes += payload.len() as u64;
        if let Err(error) = record::decode(payload) {
            unreadable.push((seq, error));
        }
    })?;
    for damage in &survey.damage {
        let path = log.join(segment_name(damage.segment));
        found.faults.push(Fault { path, offset: damage.offset, block: None, what: chain(&damage.kind) });
    }
    for (seq, error) in unreadable {
        let holds = |segment: &&homeostat_store_wal::survey::SurveyedSegment| {
            !matches!(segment.walk.end, End::Damaged(_)) && segment.first_seq.is_some_and(|first| first <= seq)
        };
        let number = survey.segments.iter().rfind(holds).map_or(0, |segment| segment.number);
        let what = format!("record {seq} is intact and cannot be read: {error}; a newer program may have written it");
        found.faults.push(Fault { path: log.join(segment_name(number)), offset: 0, block: None, what });
    }
    Ok(())
}

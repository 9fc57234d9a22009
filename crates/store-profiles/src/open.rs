//! Opening: which objects there are, which records of the log are in none of them, and what a crash left.
//!
//! Not here: what the log itself holds to be intact (`store-wal`).
//! Invariant: nothing is changed before the log's directory is ours, and of the objects only what this log has written.

use std::{
    collections::BTreeMap,
    fs,
    hash::BuildHasher as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use homeostat_model::error_chain::chain;
use homeostat_store_objects::Place;
use homeostat_store_wal::{RealDisk, TornTail, Wal, WalOptions};
use homeostat_wire::profiles::{
    Footer, RecordError, Subject, WindowId, decode_record, symbols_bytes_max, window_of_record,
};

use crate::{
    block::{Block, Blocks},
    error::{DamageKind, OpenError, QueryError},
    head::shard_of_profile,
    limits::{LOG_SEGMENT_BYTES, SHARD_MS},
    names::{BlockName, SHARDS},
    options::StoreOptions,
    senders::{self, Senders},
    store::{Parts, ProfileStore, State, millis},
};

/// The file with the log's number, in the log's directory.
const LOG_ID: &str = "ID";

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Profiles that were read from the log.
    pub profiles: u64,
    /// Profiles of the log that are in objects already.
    pub rolled: u64,
    /// Objects.
    pub blocks: usize,
    /// Records of the log whose checksum fits and that cannot be read all the same; each was copied to a file
    /// `unreadable-NUMBER` beside the log.
    pub unreadable: u64,
    /// What the last run left unfinished in the log, never acknowledged.
    pub torn_tail: Option<TornTail>,
}

impl ProfileStore {
    /// Opens the store: its log in `dir` (made if need be, used by one process at a time), its objects in `place`, which other
    /// stores may share. Reads the log on the calling thread, which must be one that may wait within the runtime `runtime`.
    /// Fails where objects cannot be asked, rather than counting their profiles twice; it may be tried again.
    pub fn open(
        dir: &Path,
        place: Place,
        options: StoreOptions,
        runtime: tokio::runtime::Handle,
        now_ms: i64,
    ) -> Result<(Self, Recovery), OpenError> {
        fs::create_dir_all(dir).map_err(io_error(dir))?;
        // A log without a number is a new one: no object holds its records.
        let known = known_id(dir)?;
        let log = known.unwrap_or_else(new_id);
        let blocks = Blocks::new(place, runtime);
        let listed = blocks.list()?;
        let senders = Senders::read(dir, now_ms).map_err(io_error(&dir.join(senders::FILE)))?;
        let senders = senders.ok_or_else(|| OpenError::Senders { path: dir.join(senders::FILE) })?;
        let oldest_ms = options.retention.map_or(i64::MIN, |retention| now_ms.saturating_sub(millis(retention)));
        let mut replay = Replay {
            dir,
            log,
            now_ms,
            oldest_ms: oldest_ms.saturating_sub(SHARD_MS),
            footers: if known.is_some() { own_footers(&blocks, &listed, log)? } else { Vec::new() },
            recovery: Recovery { blocks: listed.len(), ..Recovery::default() },
            state: State { blocks: listed, listed_ms: now_ms, senders, ..State::default() },
            failed: None,
        };
        let log_options = WalOptions { segment_bytes: LOG_SEGMENT_BYTES, ..WalOptions::default() };
        let mut visit = |record: u64, payload: &[u8]| replay.take(record, payload);
        let (wal, found) = Wal::open_visiting(dir, log_options, Arc::new(RealDisk), &mut visit)?;
        let Replay { mut recovery, state, failed, .. } = replay;
        if let Some(error) = failed {
            return Err(error);
        }
        // The log's directory is ours from here on.
        if known.is_none() {
            keep_id(dir, log)?;
        }
        recovery.torn_tail = found.torn_tail;
        remove_leftovers(&blocks.place, log);
        Ok((Self::new(Parts { dir: dir.to_owned(), options, wal, log, blocks }, state), recovery))
    }
}

/// Takes the records of the log.
struct Replay<'a> {
    dir: &'a Path,
    log: u64,
    now_ms: i64,
    /// Shards from before are not kept any more.
    oldest_ms: i64,
    footers: Vec<Arc<Footer>>,
    recovery: Recovery,
    state: State,
    failed: Option<OpenError>,
}

impl Replay<'_> {
    fn take(&mut self, record: u64, payload: &[u8]) {
        if self.footers.iter().any(|footer| footer.has_record(self.log, record)) {
            // What an object holds was taken as well.
            self.heard_of(window_of_record(payload));
            self.recovery.rolled += 1;
            return;
        }
        let (window, labels, profile) = match decode_record(payload) {
            Ok(read) => read,
            Err(error) => {
                self.heard_of(window_of_record(payload));
                return self.unreadable(record, payload, error);
            }
        };
        self.heard_of(Ok(window));
        let start_ms = shard_of_profile(&profile);
        if start_ms < self.oldest_ms {
            return;
        }
        self.recovery.profiles += 1;
        let subject = Subject::of(labels, &profile);
        let shard = self.state.shard_for(start_ms, &subject, symbols_bytes_max(&profile), self.now_ms);
        shard.add(record, subject, &profile);
    }

    /// Notes that a window was taken. A record that does not even say whose it is, is told as unreadable, if it is asked for.
    fn heard_of(&mut self, window: Result<Option<WindowId>, RecordError>) {
        if let Ok(Some(window)) = window {
            self.state.senders.took(window, self.now_ms, None);
        }
    }

    /// The log forgets the record some day; its bytes stay beside it.
    fn unreadable(&mut self, record: u64, payload: &[u8], error: RecordError) {
        let what = format!("record {record} of the log {}: {}", self.dir.display(), chain(&error));
        if matches!(error, RecordError::Version { .. }) {
            self.failed.get_or_insert(OpenError::Newer { what });
            return;
        }
        self.recovery.unreadable += 1;
        let path = self.dir.join(format!("unreadable-{record:016x}"));
        tracing::error!("{what}; its bytes are kept in {}", path.display());
        if let Err(source) = fs::write(&path, payload) {
            self.failed.get_or_insert(OpenError::Io { path, source });
        }
    }
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// The number of the log, if it has one: objects say with it whose records they hold.
fn known_id(dir: &Path) -> Result<Option<u64>, OpenError> {
    let path = dir.join(LOG_ID);
    match fs::read_to_string(&path) {
        Ok(text) => u64::from_str_radix(text.trim(), 16).map(Some).map_err(|_| OpenError::LogId { path }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(&path)(error)),
    }
}

/// A number for a log: the standard library's random state makes it.
fn new_id() -> u64 {
    std::hash::RandomState::new().hash_one(0)
}

/// Writes the number of a log that is ours and has none. Fails where another process was here between looking for a number and
/// taking the directory: opening it again finds that one's.
fn keep_id(dir: &Path, log: u64) -> Result<(), OpenError> {
    let (path, fresh) = (dir.join(LOG_ID), dir.join("ID.new"));
    let written = fs::File::create(&fresh).and_then(|mut file| {
        file.write_all(format!("{log:016x}\n").as_bytes())?;
        file.sync_all()?;
        if path.try_exists()? {
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, "another process made it; try again"));
        }
        fs::rename(&fresh, &path)?;
        fs::File::open(dir)?.sync_all()
    });
    written.map_err(io_error(&path))
}

/// Footers of the objects that this log has written. A damaged one holds nothing that could be shown: its records are taken
/// from the log again, if they are still there. One that does not answer, or that a newer program has written, may hold them.
fn own_footers(blocks: &Blocks, listed: &BTreeMap<BlockName, u64>, log: u64) -> Result<Vec<Arc<Footer>>, OpenError> {
    let mut footers = Vec::new();
    for (name, bytes) in listed.iter().filter(|(name, _)| name.log == log) {
        match blocks.footer(Block { name: *name, bytes: *bytes }) {
            Ok(Some(Ok(footer))) => footers.push(footer),
            Ok(Some(Err(damage))) if damage.kind == DamageKind::Newer => {
                return Err(OpenError::Newer { what: damage.object });
            }
            Err(QueryError::Remote { object, source }) => return Err(OpenError::Footer { object, source }),
            Ok(_) | Err(QueryError::TooMuch { .. } | QueryError::GivenUp) => {}
        }
    }
    Ok(footers)
}

/// What a crash left of objects that this log was writing into a directory. Best effort: they are never listed.
fn remove_leftovers(place: &Place, log: u64) {
    let Some(dir) = place.dir() else { return };
    let folders = fs::read_dir(dir.join(SHARDS)).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    let ours = format!("{log:016x}-");
    let is_left_over = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&ours) && name.contains(".profiles#")
    };
    for path in files.map(|file| file.path()).filter(is_left_over) {
        fs::remove_file(path).ok();
    }
}

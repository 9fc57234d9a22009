//! The store as others see it: open, push, ask, close.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::BuildHasher as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use homeostat_model::{Labels, profile::Profile};
use homeostat_store_objects::Place;
use homeostat_store_wal::{Flush, Full, RealDisk, Ticket, TornTail, Wal, WalOptions};
use homeostat_wire::profiles::{decode_record, encode_record};

use crate::{
    block::{Block, Blocks},
    error::{Damage, NotStored, OpenError},
    head::{Shard, shard_of_profile, subject_of},
    limits::{FUTURE_MAX_MS, LABELS_BYTES_MAX, LATE_MAX_MS, LOG_SEGMENT_BYTES},
    names::BlockName,
    options::StoreOptions,
};

/// The file with the log's number, in the log's directory.
const LOG_ID: &str = "ID";

/// Profiles kept. A clone is the same store.
#[derive(Clone, Debug)]
pub struct ProfileStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: StoreOptions,
    wal: Wal,
    log: u64,
    blocks: Blocks,
    state: RwLock<State>,
    counters: Counters,
    /// Damage that was told already.
    told: Mutex<BTreeSet<Damage>>,
    /// One at a time writes, lists and removes objects.
    maintaining: Mutex<()>,
}

/// What there is. Each profile is in exactly one of the three.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Shards that take profiles, by when they begin.
    pub(crate) open: BTreeMap<i64, Shard>,
    /// Shards that are on their way into an object.
    pub(crate) rolling: Vec<Arc<Shard>>,
    pub(crate) blocks: BTreeMap<BlockName, u64>,
    /// When the objects were last listed.
    pub(crate) listed_ms: i64,
}

#[derive(Debug, Default)]
struct Counters {
    pushed: AtomicU64,
    busy: AtomicU64,
    rolled: AtomicU64,
    expired: AtomicU64,
    damaged: AtomicU64,
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Profiles that were read from the log.
    pub profiles: u64,
    /// Profiles of the log that are in objects already.
    pub rolled: u64,
    /// Objects.
    pub blocks: usize,
    /// Records of the log whose checksum fits and that cannot be read all the same.
    pub unreadable: u64,
    /// What the last run left unfinished in the log, never acknowledged.
    pub torn_tail: Option<TornTail>,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Profiles taken since the start.
    pub pushed: u64,
    /// Profiles refused because there was no room.
    pub busy: u64,
    /// Objects written since the start.
    pub rolled: u64,
    /// Objects removed because they were too old.
    pub expired: u64,
    /// Damaged parts found since the start, each once.
    pub damaged: u64,
    /// Shards in memory.
    pub shards: usize,
    /// Their memory, roughly.
    pub head_bytes: usize,
    /// Objects.
    pub blocks: usize,
    /// Their bytes.
    pub block_bytes: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// What the disk says about the log, if it refuses it.
    pub log_error: Option<String>,
}

impl State {
    /// All shards that are in memory.
    pub(crate) fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.open.values().chain(self.rolling.iter().map(AsRef::as_ref))
    }

    pub(crate) fn blocks_in(&self, wanted: impl Fn(i64) -> bool) -> Vec<Block> {
        let blocks = self.blocks.iter().filter(|(name, _)| wanted(name.start_ms));
        blocks.map(|(name, bytes)| Block { name: *name, bytes: *bytes }).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.shards().map(Shard::bytes).sum()
    }
}

impl ProfileStore {
    /// Opens the store: its log in `dir` (made if need be, used by one process at a time), its objects in `place`, which other
    /// stores may share. Reads the log on the calling thread, which must be one that may wait within the runtime `runtime`.
    pub fn open(
        dir: &Path,
        place: Place,
        options: StoreOptions,
        runtime: tokio::runtime::Handle,
        now_ms: i64,
    ) -> Result<(Self, Recovery), OpenError> {
        fs::create_dir_all(dir).map_err(io_error(dir))?;
        let log = log_id(dir)?;
        let blocks = Blocks::new(place, runtime);
        remove_leftovers(&blocks.place);
        let listed = blocks.list()?;
        let mut recovery = Recovery { blocks: listed.len(), ..Recovery::default() };
        let footers = own_footers(&blocks, &listed, log);
        let mut open = BTreeMap::new();
        let oldest_ms = options.retention.map_or(i64::MIN, |retention| now_ms.saturating_sub(millis(retention)));
        let mut take = |record: u64, payload: &[u8]| {
            if footers.iter().any(|footer| footer.has_record(log, record)) {
                recovery.rolled += 1;
                return;
            }
            let Ok((labels, profile)) = decode_record(payload) else {
                recovery.unreadable += 1;
                return;
            };
            let shard = shard_of_profile(&profile);
            if shard < oldest_ms.saturating_sub(crate::limits::SHARD_MS) {
                return;
            }
            recovery.profiles += 1;
            let shard = open.entry(shard).or_insert_with(|| Shard::new(shard, now_ms));
            shard.add(record, subject_of(labels, &profile), &profile);
        };
        let log_options = WalOptions { segment_bytes: LOG_SEGMENT_BYTES, ..WalOptions::default() };
        let (wal, found) = Wal::open_visiting(dir, log_options, Arc::new(RealDisk), &mut take)?;
        recovery.torn_tail = found.torn_tail;
        let state = State { open, rolling: Vec::new(), blocks: listed, listed_ms: now_ms };
        let inner = Inner {
            options,
            wal,
            log,
            blocks,
            state: RwLock::new(state),
            counters: Counters::default(),
            told: Mutex::default(),
            maintaining: Mutex::default(),
        };
        Ok((Self(Arc::new(inner)), recovery))
    }

    /// Takes a profile that came at `now_ms`; one that does not say when it began, began then. It can be asked for at once,
    /// and is durable when the ticket says so. Blocks for as long as a query adds up what is in memory, never for the disk.
    pub fn push(&self, labels: &Labels, profile: &Profile, now_ms: i64) -> Result<Ticket, NotStored> {
        let options = &self.0.options;
        if profile.types().is_empty() {
            return Err(NotStored::NoTypes);
        }
        let bytes = labels.as_packed().len();
        if LABELS_BYTES_MAX < bytes {
            return Err(NotStored::Labels { bytes, limit: LABELS_BYTES_MAX });
        }
        let (labels, mut profile) = (options.redaction.labels(labels), options.redaction.profile(profile));
        if profile.started_ns == 0 {
            profile.started_ns = now_ms.saturating_mul(1_000_000);
        }
        self.check_time(profile.started_ns / 1_000_000, now_ms)?;
        let record = encode_record(&labels, &profile);
        let subject = subject_of(labels, &profile);
        let mut state = self.write();
        if options.head_bytes_max.saturating_mul(2) < state.bytes() {
            drop(state);
            return Err(self.busy());
        }
        let start_ms = shard_of_profile(&profile);
        let shard = state.open.entry(start_ms).or_insert_with(|| Shard::new(start_ms, now_ms));
        shard.check(&subject)?;
        let ticket = match self.0.wal.append(&record, Flush::Grouped) {
            Ok(ticket) => ticket,
            Err(Full::Length(_)) => return Err(NotStored::TooLarge { bytes: record.len() }),
            Err(_) => return Err(self.busy()),
        };
        shard.add(ticket.seq(), subject, &profile);
        shard.ticket = Some(ticket.clone());
        drop(state);
        self.0.counters.pushed.fetch_add(1, Ordering::Relaxed);
        Ok(ticket)
    }

    fn busy(&self) -> NotStored {
        self.0.counters.busy.fetch_add(1, Ordering::Relaxed);
        NotStored::Busy
    }

    fn check_time(&self, started_ms: i64, now_ms: i64) -> Result<(), NotStored> {
        let late_ms = self.0.options.retention.map_or(LATE_MAX_MS, |kept| millis(kept).min(LATE_MAX_MS));
        let what = if now_ms.saturating_add(FUTURE_MAX_MS) < started_ms {
            "more than ten minutes ahead of our clock"
        } else if started_ms < now_ms.saturating_sub(late_ms) {
            "longer ago than profiles are taken: seven days, or as long as they are kept"
        } else {
            return Ok(());
        };
        Err(NotStored::Time { started_ms, what })
    }

    /// How the store is now.
    pub fn stats(&self) -> Stats {
        let health = self.0.wal.health();
        let state = self.read();
        let counters = &self.0.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            pushed: load(&counters.pushed),
            busy: load(&counters.busy),
            rolled: load(&counters.rolled),
            expired: load(&counters.expired),
            damaged: load(&counters.damaged),
            shards: state.shards().count(),
            head_bytes: state.bytes(),
            blocks: state.blocks.len(),
            block_bytes: state.blocks.values().sum(),
            log_bytes: health.bytes,
            log_error: health.trouble.map(|trouble| trouble.error),
        }
    }

    /// Writes what waits for the disk and refuses what comes; gives the number of profiles that did not reach it in time.
    /// What is not in objects yet stays in the log.
    pub fn close(&self, timeout: Duration) -> Result<(), usize> {
        self.0.wal.finish(timeout)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn maintaining(&self) -> std::sync::MutexGuard<'_, ()> {
        self.0.maintaining.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn blocks(&self) -> &Blocks {
        &self.0.blocks
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.0.options
    }

    pub(crate) fn wal(&self) -> &Wal {
        &self.0.wal
    }

    pub(crate) fn log(&self) -> u64 {
        self.0.log
    }

    pub(crate) fn count_rolled(&self) {
        self.0.counters.rolled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_expired(&self) {
        self.0.counters.expired.fetch_add(1, Ordering::Relaxed);
    }

    /// Logs and counts damage when it is found for the first time.
    pub(crate) fn tell(&self, damage: &Damage) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(damage.clone()) {
            tracing::error!("{damage}");
            self.0.counters.damaged.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// The number of the log, made when there is none yet: objects say with it whose records they hold.
fn log_id(dir: &Path) -> Result<u64, OpenError> {
    let path = dir.join(LOG_ID);
    match fs::read_to_string(&path) {
        Ok(text) => u64::from_str_radix(text.trim(), 16).map_err(|_| OpenError::LogId { path }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // The standard library's random state makes the number.
            let log = std::hash::RandomState::new().hash_one(0);
            let fresh = dir.join("ID.new");
            let written = fs::File::create(&fresh).and_then(|mut file| {
                file.write_all(format!("{log:016x}\n").as_bytes())?;
                file.sync_all()?;
                fs::rename(&fresh, &path)?;
                fs::File::open(dir)?.sync_all()
            });
            written.map_err(io_error(&path))?;
            Ok(log)
        }
        Err(error) => Err(io_error(&path)(error)),
    }
}

/// Footers of the objects that this log has written. One that cannot be read holds nothing that could be shown: its records
/// are taken from the log again, if they are still there.
fn own_footers(
    blocks: &Blocks,
    listed: &BTreeMap<BlockName, u64>,
    log: u64,
) -> Vec<Arc<homeostat_wire::profiles::Footer>> {
    let own = listed.iter().filter(|(name, _)| name.log == log);
    own.filter_map(|(name, bytes)| blocks.footer(Block { name: *name, bytes: *bytes }).ok()??.ok()).collect()
}

/// What a crash left of objects that were being written into a directory. Best effort: they are never listed.
fn remove_leftovers(place: &Place) {
    let Some(dir) = place.dir() else { return };
    let folders = fs::read_dir(dir.join(crate::names::SHARDS)).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    let is_left_over = |path: &PathBuf| path.to_string_lossy().contains(".profiles#");
    for path in files.map(|file| file.path()).filter(is_left_over) {
        fs::remove_file(path).ok();
    }
}

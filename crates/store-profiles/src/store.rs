//! The store: what there is, who may change it, how it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use homeostat_store_wal::Wal;
use homeostat_wire::profiles::Subject;

use crate::{
    block::{Block, Blocks},
    error::{Damage, NotStored},
    head::Shard,
    names::BlockName,
    options::StoreOptions,
    senders::Senders,
};

/// Profiles kept. A clone is the same store.
#[derive(Clone, Debug)]
pub struct ProfileStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
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

/// What a store consists of beside its profiles.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Of the log.
    pub(crate) dir: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) wal: Wal,
    pub(crate) log: u64,
    pub(crate) blocks: Blocks,
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
    /// Who sends windows, and how far they have come.
    pub(crate) senders: Senders,
}

#[derive(Debug, Default)]
struct Counters {
    pushed: AtomicU64,
    repeated: AtomicU64,
    busy: AtomicU64,
    rolled: AtomicU64,
    expired: AtomicU64,
    damaged: AtomicU64,
}

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Profiles taken since the start.
    pub pushed: u64,
    /// Windows that had been taken before and did not count again, since the start.
    pub repeated: u64,
    /// Senders of windows that are known.
    pub senders: usize,
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

    /// The shard that takes a profile of this series, with so many bytes of symbols, which came at `now_ms`. One that would
    /// become an object too large to be read again goes on its way into an object first.
    pub(crate) fn shard_for(
        &mut self,
        start_ms: i64,
        subject: &Subject,
        symbols_bytes: usize,
        now_ms: i64,
    ) -> &mut Shard {
        if self.open.get(&start_ms).is_some_and(|shard| !shard.fits(subject, symbols_bytes)) {
            self.rolling.extend(self.open.remove(&start_ms).map(Arc::new));
        }
        self.open.entry(start_ms).or_insert_with(|| Shard::new(start_ms, now_ms))
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
    pub(crate) fn new(parts: Parts, state: State) -> Self {
        let Parts { dir, options, wal, log, blocks } = parts;
        Self(Arc::new(Inner {
            dir,
            options,
            wal,
            log,
            blocks,
            state: RwLock::new(state),
            counters: Counters::default(),
            told: Mutex::default(),
            maintaining: Mutex::default(),
        }))
    }

    /// How the store is now.
    pub fn stats(&self) -> Stats {
        let health = self.0.wal.health();
        let state = self.read();
        let counters = &self.0.counters;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            pushed: load(&counters.pushed),
            repeated: load(&counters.repeated),
            senders: state.senders.len(),
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

    /// Of the log.
    pub(crate) fn dir(&self) -> &Path {
        &self.0.dir
    }

    pub(crate) fn wal(&self) -> &Wal {
        &self.0.wal
    }

    pub(crate) fn log(&self) -> u64 {
        self.0.log
    }

    pub(crate) fn count_pushed(&self, profiles: usize) {
        self.0.counters.pushed.fetch_add(profiles as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_repeated(&self) {
        self.0.counters.repeated.fetch_add(1, Ordering::Relaxed);
    }

    /// There is no room.
    pub(crate) fn busy(&self) -> NotStored {
        self.0.counters.busy.fetch_add(1, Ordering::Relaxed);
        NotStored::Busy
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

//! The store as its owner sees it: open, append, read, look at, close.
//!
//! An append holds the head's lock while it looks series up, writes their pages and hands the record to the log's queue;
//! the log is written by its own thread. So the order of the log is the order of the head, and nobody waits for the disk
//! but those who wait for their ticket.
//!
//! Not here: what is accepted (`head::append`), files (`store-wal`).

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::Ordering},
    time::{Duration, Instant},
};

use homeostat_model::{Labels, TimeMs};
use homeostat_store_wal::{Commit, Disk, Flush, Full, RealDisk, TornTail, Wal, WalOptions};
use homeostat_wire::series::record::{ExemplarRef, MetadataRef, Record, decode};

use crate::{
    batch::Batch,
    error::{AppendError, OpenError},
    exemplar::{Offered, Ring},
    head::{Head, LabelHasher, Limits},
    metadata::{Families, Metadata},
    options::{Durability, StoreOptions},
    report::{Accepted, AppendReport, Reason, Rejection, Rejections, Ticket},
    snapshot::Snapshot,
    stats::{Counters, Stats, TopEntry, top},
};

/// Directory of the log within the store's.
const LOG_DIR: &str = "log";
/// When a client that was refused should come again: several group commits, and not all clients at once a second later.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An open store. Clones share it; all methods take `&self`.
#[derive(Clone, Debug)]
pub struct SeriesStore {
    shared: Arc<Shared>,
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records read from the log.
    pub records: u64,
    /// Samples found in them.
    pub samples: u64,
    /// Series in memory.
    pub series: u64,
    /// What the last run left unfinished in the log, if anything: never acknowledged.
    pub torn_tail: Option<TornTail>,
    /// How long it took.
    pub took: Duration,
}

/// What clones and snapshots share.
#[derive(Debug)]
pub(crate) struct Shared {
    options: StoreOptions,
    hasher: LabelHasher,
    head: RwLock<Head>,
    log: Wal,
    /// The ticket of the latest record: a repeated sample is durable when this is.
    latest: Mutex<Option<homeostat_store_wal::Ticket>>,
    exemplars: Mutex<Ring>,
    families: Mutex<Families>,
    counters: Counters,
}

impl Shared {
    pub(crate) fn head(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn head_mut(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn exemplars(&self) -> MutexGuard<'_, Ring> {
        self.exemplars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn families(&self) -> MutexGuard<'_, Families> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> MutexGuard<'_, Option<homeostat_store_wal::Ticket>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> Limits {
        let window_ms = i64::try_from(self.options.out_of_order_window.as_millis()).unwrap_or(i64::MAX);
        Limits { series_max: self.options.series_max, window_ms }
    }
}

impl SeriesStore {
    /// Opens the store in `dir`, creating it if need be. Fails when something that was acknowledged is damaged.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(Arc::new(RealDisk), dir, options)
    }

    /// As [`Self::open`], on a disk of the caller's choice.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: StoreOptions) -> Result<(Self, Recovery), OpenError> {
        let began = Instant::now();
        let log_dir = dir.join(LOG_DIR);
        let mut replay = Replay::new(options.exemplars_max);
        let (log, found) = Wal::open_visiting(&log_dir, log_options(&options), disk, &mut |seq, payload| {
            replay.record(seq, payload);
        })?;
        if let Some((seq, source)) = replay.failed {
            return Err(OpenError::Record { seq, dir: log_dir, source });
        }
        let Replay { mut head, exemplars, families, records, hasher, .. } = replay;
        head.begin_generation();
        let recovery = Recovery {
            records,
            samples: head.samples(),
            series: head.len() as u64,
            torn_tail: found.torn_tail,
            took: began.elapsed(),
        };
        let shared = Shared {
            options,
            hasher,
            head: RwLock::new(head),
            log,
            latest: Mutex::new(None),
            exemplars: Mutex::new(exemplars),
            families: Mutex::new(families),
            counters: Counters::default(),
        };
        Ok((Self { shared: Arc::new(shared) }, recovery))
    }

    /// Takes a batch in, or refuses it as a whole when the disk does not keep up. What is accepted is visible at once
    /// and durable when the report's ticket says so. The batch stays filled; the caller clears it.
    pub fn append(&self, batch: &mut Batch) -> Result<AppendReport, AppendError> {
        let shared = &*self.shared;
        // Asked beforehand, so that nothing enters the head that the log would not take.
        shared.log.room(batch.text.len() + 20 * batch.samples_len()).map_err(|full| self.refused(full))?;
        batch.hash(&shared.hasher);
        let mut head = shared.head_mut();
        let (mut accepted, mut rejected) = head.append(batch, shared.limits());
        if !batch.exemplars.is_empty() {
            self.append_exemplars(&mut head, batch, &mut accepted, &mut rejected);
        }
        if !batch.metadata.is_empty() {
            self.append_metadata(batch);
        }
        let ticket = self.log(batch)?;
        drop(head);
        shared.counters.add(accepted, &rejected);
        Ok(AppendReport { accepted, rejected, ticket })
    }

    /// Hands the batch's record to the log. The head's lock is held: records stand in the order of the head's changes.
    fn log(&self, batch: &mut Batch) -> Result<Ticket, AppendError> {
        let shared = &*self.shared;
        let record = &mut batch.scratch.record;
        let mut latest = shared.latest();
        if !record.is_empty() {
            // Room was asked for, so this fails only when others filled the queue or closed the log in the meantime; the
            // client comes again and finds its samples stored already.
            *latest = Some(shared.log.append(record.finish(), Flush::Grouped).map_err(|full| self.refused(full))?);
            record.clear();
        }
        match shared.options.durability {
            Durability::Durable => Ok(Ticket(latest.clone())),
            Durability::Relaxed => Ok(Ticket(None)),
        }
    }

    fn refused(&self, full: Full) -> AppendError {
        match full {
            Full::Closed => AppendError::Closed,
            source => {
                self.shared.counters.busy.fetch_add(1, Ordering::Relaxed);
                AppendError::Busy { retry_after: RETRY_AFTER, source }
            }
        }
    }

    fn append_exemplars(&self, head: &mut Head, batch: &mut Batch, accepted: &mut Accepted, rejected: &mut Rejections) {
        let mut scratch = std::mem::take(&mut batch.scratch);
        let mut ring = self.shared.exemplars();
        for (entry, id) in batch.series.iter().zip(&scratch.ids) {
            for exemplar in batch.exemplars.get(entry.exemplars.clone()).unwrap_or_default() {
                let labels = head.get(*id).map(|series| series.labels.clone());
                let (t_ms, value, packed) = (exemplar.t_ms, exemplar.value, batch.text(&exemplar.labels));
                let offered = labels.as_ref().map_or(Offered::Refused, |l| ring.offer(l, packed, t_ms, value));
                match offered {
                    Offered::Kept => {
                        accepted.exemplars += 1;
                        let series = head.logged(*id, &mut scratch.record);
                        scratch.record.exemplar(ExemplarRef { series, t_ms, value, labels: packed });
                    }
                    Offered::Repeated => accepted.exemplars += 1,
                    Offered::Refused => {
                        let labels = labels.unwrap_or_default();
                        rejected.add(Reason::Exemplar, 1, || Rejection {
                            reason: Reason::Exemplar,
                            labels,
                            t_ms,
                            detail: None,
                        });
                    }
                }
            }
        }
        batch.scratch = scratch;
    }

    fn append_metadata(&self, batch: &mut Batch) {
        let mut scratch = std::mem::take(&mut batch.scratch);
        let mut families = self.shared.families();
        for said in &batch.metadata {
            let said = MetadataRef {
                family: batch.text(&said.family),
                kind: said.kind,
                help: batch.text(&said.help),
                unit: batch.text(&said.unit),
            };
            if families.learn(said) {
                scratch.record.metadata(said);
            }
        }
        batch.scratch = scratch;
    }

    /// The store as one query sees it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(Arc::clone(&self.shared))
    }

    /// What is known about a metric family, the newest statement first; empty when nothing is.
    pub fn metadata(&self, family: &str) -> Vec<Metadata> {
        self.shared.families().get(family)
    }

    /// What is known about all families, `limit` of them at most, by name.
    pub fn all_metadata(&self, limit: usize) -> Vec<(String, Vec<Metadata>)> {
        self.shared.families().all(limit)
    }

    /// Time of the newest sample; `None` for an empty store.
    pub fn newest_ms(&self) -> Option<TimeMs> {
        self.shared.head().newest_t()
    }

    /// The state of the store now.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let log = shared.log.health();
        let exemplars = shared.exemplars().len() as u64;
        let head = shared.head();
        Stats {
            head_series: head.len() as u64,
            head_samples: head.samples(),
            head_bytes: head.page_bytes() as u64,
            series_created: head.created(),
            newest_ms: head.newest_t(),
            accepted: shared.counters.accepted(),
            rejected: shared.counters.rejected(),
            busy: shared.counters.busy.load(Ordering::Relaxed),
            log_bytes: log.bytes,
            log_queue_bytes: log.queue_bytes as u64,
            log_error: log.trouble.map(|trouble| trouble.error),
            exemplars,
        }
    }

    /// The values of a label that most series have, with the number of series; `__name__` gives the largest metrics.
    pub fn top_values(&self, name: &str, limit: usize) -> Vec<TopEntry> {
        let head = self.shared.head();
        let values = head.index().name(name).map(crate::head::Name::values).unwrap_or_default();
        let entry =
            |value: &crate::head::Value| TopEntry { text: value.text.to_string(), count: value.series.len() as u64 };
        top(values.iter().map(entry).collect(), limit)
    }

    /// The labels with most different values, with the number of values.
    pub fn top_labels(&self, limit: usize) -> Vec<TopEntry> {
        let head = self.shared.head();
        let entry =
            |name: &crate::head::Name| TopEntry { text: name.text.to_string(), count: name.values().len() as u64 };
        top(head.index().names().iter().map(entry).collect(), limit)
    }

    /// Writes what waits for the disk and ends the log; gives the number of batches that did not reach the disk in
    /// time. Appends are refused from now on; clones may still read.
    pub fn close(&self, timeout: Duration) -> Result<(), usize> {
        self.shared.log.finish(timeout)
    }
}

fn log_options(options: &StoreOptions) -> WalOptions {
    WalOptions {
        commit: Commit::Group { interval: options.commit_interval, bytes: options.commit_bytes },
        segment_bytes: options.segment_bytes,
        queue_bytes_max: options.queue_bytes_max,
        ..WalOptions::default()
    }
}

/// Reads the log into a head.
struct Replay {
    head: Head,
    hasher: LabelHasher,
    exemplars: Ring,
    families: Families,
    /// What references of the log mean.
    refs: HashMap<u64, u32, foldhash::fast::RandomState>,
    records: u64,
    failed: Option<(u64, homeostat_wire::series::Malformed)>,
}

impl Replay {
    fn new(exemplars_max: usize) -> Self {
        Self {
            head: Head::default(),
            hasher: LabelHasher::default(),
            exemplars: Ring::new(exemplars_max),
            families: Families::default(),
            refs: HashMap::default(),
            records: 0,
            failed: None,
        }
    }

    fn record(&mut self, seq: u64, payload: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.records += 1;
        match decode(payload) {
            Ok(record) => self.apply(record),
            Err(error) => self.failed = Some((seq, error)),
        }
    }

    fn apply(&mut self, record: Record<'_>) {
        for (reference, packed) in &record.definitions {
            if let Some(id) = self.head.restore(self.hasher.hash(packed), packed, *reference) {
                self.refs.insert(*reference, id);
            }
        }
        for (reference, t_ms, value) in record.floats.iter() {
            if let Some(id) = self.refs.get(&reference) {
                self.head.restore_float(*id, t_ms, *value);
            }
        }
        for (reference, t_ms, value) in record.histograms.iter() {
            if let Some(id) = self.refs.get(&reference) {
                self.head.restore_histogram(*id, t_ms, value);
            }
        }
        for exemplar in &record.exemplars {
            let series = self.refs.get(&exemplar.series).and_then(|id| self.head.get(*id));
            let labels: Option<Labels> = series.map(|series| series.labels.clone());
            if let Some(labels) = labels {
                self.exemplars.offer(&labels, exemplar.labels, exemplar.t_ms, exemplar.value);
            }
        }
        for said in &record.metadata {
            self.families.learn(*said);
        }
    }
}

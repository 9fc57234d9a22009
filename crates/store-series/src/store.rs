//! The store as its owner sees it: open, append, read, look at, close.
//!
//! An append holds the head's lock while it looks series up, writes their pages and hands the record to the log's queue;
//! the log is written by its own thread. So the order of the log is the order of the head, and nobody waits for the disk
//! but those who wait for their ticket.
//!
//! Not here: what is accepted (`head::append`), files (`store-wal`), what goes on by itself (`worker`).

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use homeostat_model::TimeMs;
use homeostat_store_wal::{Commit, Disk, Flush, Full, RealDisk, Wal, WalOptions};
use homeostat_wire::series::{
    manifest::BlockEntry,
    record::{ExemplarRef, MetadataRef, RecordBuilder},
};

use crate::{
    batch::Batch,
    block::PageCache,
    catalog::{Catalog, read_manifest},
    error::{AppendError, Busy, OpenError},
    exemplar::{Offered, Ring},
    head::{Head, LabelHasher, Limits},
    metadata::{Families, Metadata},
    options::{Durability, StoreOptions},
    plan::Rules,
    recovery::{Recovery, Replay},
    report::{Accepted, AppendReport, Reason, Rejection, Rejections, Ticket},
    snapshot::Snapshot,
    stats::{Counters, Stats},
    worker::{Orders, Workers},
};

/// Directory of the log within the store's.
pub(crate) const LOG_DIR: &str = "log";
/// When a client that was refused should come again: several group commits, and not all clients at once a second later.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Samples in memory may grow to this many times the size at which they are moved: the time of a slow flush.
const HEAD_FULL_FACTOR: usize = 4;
/// Log beyond which closing moves samples into a block: below it reading the log is as quick.
const CLOSE_LOG_BYTES: u64 = 4 << 20;
/// Bytes of one record of what is carried over into a new segment.
const CARRY_RECORD_BYTES: usize = 1 << 20;

/// An open store. Clones share it; all methods take `&self`. When the last clone is dropped its threads end.
#[derive(Clone, Debug)]
pub struct SeriesStore {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
}

/// What clones, snapshots and threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    options: StoreOptions,
    hasher: LabelHasher,
    head: RwLock<Head>,
    pub(crate) log: Wal,
    /// Bytes given to the log since the last freeze.
    pub(crate) log_since_flush: AtomicU64,
    /// The ticket of the latest record: a repeated sample is durable when this is.
    latest: Mutex<Option<homeostat_store_wal::Ticket>>,
    pub(crate) catalog: Catalog,
    exemplars: Mutex<Ring>,
    families: Mutex<Families>,
    pub(crate) counters: Counters,
    pub(crate) orders: Orders,
    troubles: Mutex<Troubles>,
    /// One flush at a time, one merge at a time.
    flushing: Mutex<()>,
    merging: Mutex<()>,
}

/// What goes wrong at present.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) flush: Option<String>,
    pub(crate) merge: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn head(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn head_mut(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn exemplars(&self) -> MutexGuard<'_, Ring> {
        locked(&self.exemplars)
    }

    pub(crate) fn troubles(&self) -> MutexGuard<'_, Troubles> {
        locked(&self.troubles)
    }

    pub(crate) fn flushing(&self) -> MutexGuard<'_, ()> {
        locked(&self.flushing)
    }

    pub(crate) fn merging(&self) -> MutexGuard<'_, ()> {
        locked(&self.merging)
    }

    pub(crate) fn rules(&self) -> Rules {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Rules {
            retention_ms: self.options.retention.map(ms),
            retention_bytes: self.options.retention_bytes,
            block_span_ms: ms(self.options.block_span()),
        }
    }

    /// What the manifest says about all blocks.
    pub(crate) fn entries(&self) -> Vec<BlockEntry> {
        self.catalog.live().iter().map(|live| live.entry).collect()
    }

    fn limits(&self) -> Limits {
        let window_ms = i64::try_from(self.options.out_of_order_window.as_millis()).unwrap_or(i64::MAX);
        Limits { series_max: self.options.series_max, window_ms }
    }

    /// Records with what must not be lost when old segments of the log go: metadata and exemplars. The first one may be
    /// empty; it begins the new segment.
    pub(crate) fn carry_over(&self, head: &mut Head) -> Vec<Vec<u8>> {
        let mut record = RecordBuilder::default();
        for said in locked(&self.families).iter() {
            record.metadata(said);
        }
        let mut records = Vec::new();
        for (series, labels, t_ms, value) in self.exemplars().iter() {
            if CARRY_RECORD_BYTES < record.len_estimate() {
                records.push(record.finish().to_vec());
                record.clear();
            }
            let packed = series.as_packed();
            if let Some(id) = head.find(self.hasher.hash(packed), packed) {
                let series = head.logged(id, &mut record);
                record.exemplar(ExemplarRef { series, t_ms, value, labels: labels.as_packed() });
            }
        }
        records.push(record.finish().to_vec());
        records
    }

    /// Refuses when samples cannot leave memory fast enough.
    fn check_head(&self, head: &Head) -> Result<(), AppendError> {
        let (bytes, most) = (head.sample_bytes(), HEAD_FULL_FACTOR * self.options.head_bytes_for(head.len()));
        if bytes < most {
            return Ok(());
        }
        self.counters.busy.fetch_add(1, Ordering::Relaxed);
        let source = Busy::Head { bytes, trouble: self.troubles().flush.clone() };
        Err(AppendError::Busy { retry_after: RETRY_AFTER, source })
    }

    fn refused(&self, full: Full) -> AppendError {
        match full {
            Full::Closed => AppendError::Closed,
            full => {
                self.counters.busy.fetch_add(1, Ordering::Relaxed);
                AppendError::Busy { retry_after: RETRY_AFTER, source: full.into() }
            }
        }
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
        // Before there is a log: a restore that has not ended goes on only where there is none.
        if let Err(error @ OpenError::NoManifest { .. }) = read_manifest(&*disk, dir) {
            return Err(error);
        }
        let mut replay = Replay::new(options.exemplars_max);
        let visited = Arc::clone(&disk);
        // Who has the log has the store: the manifest is read when the log's directory is locked.
        let mut log_from = None;
        let mut visit = |seq: u64, payload: &[u8]| {
            let read = || read_manifest(&*visited, dir).ok().flatten().map_or(0, |manifest| manifest.log_from);
            if *log_from.get_or_insert_with(read) <= seq {
                replay.record(seq, payload);
            }
        };
        let (log, found) = Wal::open_visiting(&log_dir, log_options(&options), Arc::clone(&disk), &mut visit)?;
        let cache = Arc::new(PageCache::new(options.cache_bytes));
        let catalog = Catalog::open(disk, dir, cache)?;
        let replayed = replay.finish(&log_dir)?;
        if log.next_seq() < catalog.log_from() {
            // Somebody took the log away: its numbers begin anew, and so does what is needed of it.
            catalog.add(None, log.next_seq()).map_err(OpenError::Catalog)?;
        }
        let recovery = Recovery {
            records: replayed.records,
            samples: replayed.head.samples(),
            series: replayed.head.len() as u64,
            blocks: catalog.live().len() as u64,
            block_samples: catalog.live().iter().map(|live| live.entry.samples).sum(),
            torn_tail: found.torn_tail,
            took: began.elapsed(),
        };
        let shared = Arc::new(Shared {
            options,
            hasher: replayed.hasher,
            head: RwLock::new(replayed.head),
            log,
            log_since_flush: AtomicU64::new(replayed.bytes),
            latest: Mutex::new(None),
            catalog,
            exemplars: Mutex::new(replayed.exemplars),
            families: Mutex::new(replayed.families),
            counters: Counters::default(),
            orders: Orders::default(),
            troubles: Mutex::default(),
            flushing: Mutex::default(),
            merging: Mutex::default(),
        });
        let workers = Arc::new(Workers::start(&shared).map_err(OpenError::Thread)?);
        let store = Self { shared, workers };
        store.shared.orders.want_merge();
        store.want_flush_if_large(&store.shared.head());
        Ok((store, recovery))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes a batch in, or refuses it as a whole when the disk does not keep up. What is accepted is visible at once
    /// and durable when the report's ticket says so. The batch stays filled; the caller clears it.
    pub fn append(&self, batch: &mut Batch) -> Result<AppendReport, AppendError> {
        let shared = &*self.shared;
        let batch_bytes = batch.log_bytes();
        let room = || shared.log.room(batch_bytes).map_err(|full| shared.refused(full));
        // Who waits for the head need not wait for a refusal.
        room()?;
        batch.hash(&shared.hasher);
        let mut head = shared.head_mut();
        shared.check_head(&head)?;
        // Asked with the head's lock held, so that nothing enters the head that the log does not take: a client who is
        // told to come again must not find its samples there already, and out of order.
        room()?;
        let (mut accepted, mut rejected) = head.append(batch, shared.limits());
        if !batch.exemplars.is_empty() {
            self.append_exemplars(&mut head, batch, &mut accepted, &mut rejected);
        }
        if !batch.metadata.is_empty() {
            self.append_metadata(batch);
        }
        let ticket = self.log(batch)?;
        self.want_flush_if_large(&head);
        drop(head);
        shared.counters.add(accepted, &rejected);
        Ok(AppendReport { accepted, rejected, ticket })
    }

    /// Hands the batch's record to the log. The head's lock is held: records stand in the order of the head's changes.
    fn log(&self, batch: &mut Batch) -> Result<Ticket, AppendError> {
        let shared = &*self.shared;
        let record = &mut batch.scratch.record;
        let mut latest = locked(&shared.latest);
        if !record.is_empty() {
            let bytes = record.finish();
            // Room was asked for, so this fails only when the log is being closed.
            let ticket = shared.log.append_granted(bytes, Flush::Grouped).map_err(|full| shared.refused(full))?;
            shared.log_since_flush.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            *latest = Some(ticket);
            record.clear();
        }
        match shared.options.durability {
            Durability::Durable => Ok(Ticket(latest.clone())),
            Durability::Relaxed => Ok(Ticket(None)),
        }
    }

    fn want_flush_if_large(&self, head: &Head) {
        let options = &self.shared.options;
        let log_bytes = self.shared.log_since_flush.load(Ordering::Relaxed);
        if options.head_bytes_for(head.len()) <= head.sample_bytes() || options.log_bytes_for(head.len()) <= log_bytes {
            self.shared.orders.want_flush();
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
        let mut families = locked(&self.shared.families);
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
        locked(&self.shared.families).get(family)
    }

    /// What is known about all families, `limit` of them at most, by name.
    pub fn all_metadata(&self, limit: usize) -> Vec<(String, Vec<Metadata>)> {
        locked(&self.shared.families).all(limit)
    }

    /// Time of the newest sample; `None` for an empty store.
    pub fn newest_ms(&self) -> Option<TimeMs> {
        let in_blocks = self.shared.entries().iter().map(|entry| entry.max_ms).max();
        self.shared.head().newest_t().max(in_blocks)
    }

    /// The state of the store now.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let log = shared.log.health();
        let (exemplars, troubles) = (shared.exemplars().len() as u64, shared.troubles().clone());
        let entries = shared.entries();
        let sum = |of: fn(&BlockEntry) -> u64| entries.iter().map(of).sum();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let newest_ms = self.newest_ms();
        let head = shared.head();
        Stats {
            head_series: head.len() as u64,
            head_samples: head.samples(),
            head_bytes: head.sample_bytes() as u64,
            series_created: head.created(),
            newest_ms,
            accepted: shared.counters.accepted(),
            rejected: shared.counters.rejected(),
            busy: count(&shared.counters.busy),
            log_bytes: log.bytes,
            log_queue_bytes: log.queue_bytes as u64,
            log_error: log.trouble.map(|trouble| trouble.error),
            exemplars,
            blocks: entries.len() as u64,
            block_bytes: sum(|entry| entry.bytes),
            block_series: sum(|entry| entry.series),
            block_samples: sum(|entry| entry.samples),
            cache_bytes: shared.catalog.cache_bytes() as u64,
            flushes: count(&shared.counters.flushes),
            merges: count(&shared.counters.merges),
            dropped: count(&shared.counters.dropped),
            flush_error: troubles.flush,
            merge_error: troubles.merge,
        }
    }

    /// Ends the threads, writes what waits for the disk and ends the log; gives the number of batches that did not
    /// reach the disk in time. Appends are refused from now on; clones may still read.
    pub fn close(&self, timeout: Duration) -> Result<(), usize> {
        self.workers.stop();
        if CLOSE_LOG_BYTES <= self.shared.log_since_flush.load(Ordering::Relaxed) {
            // Best effort: what is not in a block is in the log.
            self.flush().ok();
        }
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

#[cfg(test)]
mod tests {
    use homeostat_model::MetricKind;

    use super::*;

    #[test]
    fn room_is_asked_for_exemplars_and_metadata_too() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = SeriesStore::open(dir.path(), StoreOptions::default()).unwrap();
        let mut batch = Batch::default();
        for series in 0..50_i64 {
            let name = format!("s{series}");
            batch.series([("__name__", name.as_str())]).unwrap();
            for at in 0..100 {
                let trace = ["1", "2", "3"][at as usize % 3];
                let t_ms = 1_700_000_000_000 + 997_331 * at + series;
                batch.exemplar([("t", trace)], t_ms, 0.1 * at as f64).unwrap();
            }
            batch.metadata(&name, MetricKind::Counter, "", "");
        }
        let said = batch.log_bytes() as u64;
        let report = store.append(&mut batch).unwrap();
        assert_eq!(report.accepted.exemplars, 5000, "{report:?}");
        let taken = store.shared.log_since_flush.load(Ordering::Relaxed);
        assert!(0 < taken && taken <= said && said < 3 * taken, "{taken} bytes, {said} said");
        store.close(Duration::from_mins(1)).unwrap();
    }
}

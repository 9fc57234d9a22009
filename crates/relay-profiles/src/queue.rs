//! The queue: a log whose records are windows, and up to which of them the server has answered.
//!
//! ```text
//! ID        the sender's number, 16 hexadecimal digits, made once
//! shipped   `shipped N`: everything up to record N was answered or given up
//! 00000001.wal …
//! ```

use std::{
    hash::BuildHasher as _,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use homeostat_model::{Labels, TimeMs, error_chain::chain, profile::Profile};
use homeostat_store_wal::{Commit, Disk, Flush, Full, ReadError, Ticket, Wal, WalHealth, WalOptions, disk::replace};
use homeostat_wire::profiles::WindowId;
use tokio::sync::Notify;

use crate::{
    counters::{Counters, Dropped, Tally},
    entry::Entry,
    limits::{
        AGE_DEFAULT, BATCH_BYTES, QUEUE_BYTES_DEFAULT, QUEUE_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
        SEGMENTS_MIN, UNWRITTEN_BYTES_MAX, WINDOW_BYTES_MAX,
    },
};

const ID: &str = "ID";
const SHIPPED: &str = "shipped";
/// Bytes of the largest of these files.
const FILE_BYTES_MAX: u64 = 64;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Bytes of the log, at least [`QUEUE_BYTES_MIN`].
    pub bytes_max: u64,
    /// Age beyond which a window is not shipped.
    pub age_max: Duration,
    /// Bytes of a window, packed.
    pub window_bytes_max: usize,
    /// Bytes that wait in memory for a disk that does not take them.
    pub unwritten_bytes_max: usize,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self {
            bytes_max: QUEUE_BYTES_DEFAULT,
            age_max: AGE_DEFAULT,
            window_bytes_max: WINDOW_BYTES_MAX,
            unwritten_bytes_max: UNWRITTEN_BYTES_MAX,
        }
    }
}

/// Why the queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log.
    #[error(transparent)]
    Log(#[from] homeostat_store_wal::OpenError),
    /// A file beside it.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that holds something else.
    #[error("{path} holds {text:?}, which is not {expected}; restore it, or move the whole folder away to begin anew")]
    Nonsense {
        /// Which.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// Numbers would be given twice, and the server would take new windows for old ones.
    #[error(
        "{path} says that {shipped} windows were shipped, but the log ends at {last}; it is not the log that belongs to it: \
         restore it, or move the whole folder away to begin anew"
    )]
    Ahead {
        /// The file.
        path: PathBuf,
        /// What it says.
        shipped: u64,
        /// The last record.
        last: u64,
    },
}

/// Why a window was not queued. It is counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotQueued {
    /// It is too large.
    #[error("a window has {bytes} bytes, more than the {limit} that are sent at once; it is dropped")]
    TooLarge {
        /// How large.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// The disk does not take it.
    #[error("the disk does not take windows, and memory for those that wait is full; a window is dropped: {0}")]
    Disk(Full),
}

/// Windows that wait to be shipped.
#[derive(Debug)]
pub struct WindowQueue {
    log: Wal,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    spec: QueueSpec,
    sender: u64,
    pub(crate) counters: Counters,
    state: Mutex<State>,
    /// Held while the oldest part is removed.
    trimming: Mutex<()>,
    /// Told when something was queued.
    pub(crate) news: Notify,
    /// Told when nothing waits any more.
    pub(crate) empty: Notify,
}

/// Held for moments only, never while the disk is asked.
#[derive(Debug, Default)]
struct State {
    /// Everything up to here was answered or given up.
    shipped: u64,
    /// The window that is on its way, or the last that was.
    taken: u64,
    /// The last window, and when it is durable.
    newest: (u64, Option<Ticket>),
    /// Whether a full disk was told already.
    disk_told: bool,
}

/// What is to be shipped next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Windows, in order. A record that cannot be read is `None`.
    Batch(Vec<(u64, Option<Entry>)>),
    /// They are not on disk yet.
    NotDurable(Ticket),
    /// There is nothing.
    Nothing,
}

impl WindowQueue {
    /// Opens the queue in `dir`, made if need be, used by one process at a time. Blocks for the disk.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>, spec: QueueSpec) -> Result<Self, OpenError> {
        let bytes_max = spec.bytes_max.max(QUEUE_BYTES_MIN);
        let options = WalOptions {
            commit: Commit::Group { interval: Duration::from_millis(5), bytes: 256 * 1024 },
            segment_bytes: (bytes_max / SEGMENTS_MIN).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            queue_bytes_max: spec.unwritten_bytes_max,
            ..WalOptions::default()
        };
        let (log, recovered) = Wal::open(dir, options, Arc::clone(&disk))?;
        let sender = sender_of(&*disk, dir)?;
        let shipped = read_shipped(&*disk, dir)?;
        let last = recovered.next_seq - 1;
        if last < shipped {
            return Err(OpenError::Ahead { path: dir.join(SHIPPED), shipped, last });
        }
        // Segments that went were given up, whatever the file says.
        let shipped = shipped.max(recovered.first_seq.saturating_sub(1));
        let state = State { shipped, taken: shipped, newest: (last, None), disk_told: false };
        Ok(Self {
            log,
            dir: dir.to_owned(),
            disk,
            spec: QueueSpec { bytes_max, ..spec },
            sender,
            counters: Counters::default(),
            state: Mutex::new(state),
            trimming: Mutex::default(),
            news: Notify::new(),
            empty: Notify::new(),
        })
    }

    /// The sender's number.
    pub fn sender(&self) -> u64 {
        self.sender
    }

    /// How much is kept.
    pub fn spec(&self) -> QueueSpec {
        self.spec
    }

    /// Windows that wait, the one on its way included.
    pub fn waiting(&self) -> u64 {
        let state = self.state();
        state.newest.0.saturating_sub(state.shipped)
    }

    /// Counts since the start.
    pub fn tally(&self) -> Tally {
        self.counters.tally()
    }

    /// How the log is.
    pub fn health(&self) -> WalHealth {
        self.log.health()
    }

    /// Ends the log; gives the number of windows that did not reach the disk in time. Blocks for as long.
    pub fn close(&self, timeout: Duration) -> Result<(), usize> {
        self.log.finish(timeout)
    }

    /// Waits until nothing waits to be shipped.
    pub async fn until_empty(&self) {
        loop {
            let told = self.empty.notified();
            if self.waiting() == 0 {
                return;
            }
            told.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a window, which must have been redacted; it is durable when the ticket says so. When the queue is full the
    /// oldest part goes. Never waits for the disk to write, but may while the oldest part is removed.
    pub fn push(&self, labels: &Labels, profile: &Profile, now_ms: TimeMs) -> Result<Ticket, NotQueued> {
        let record = Entry::of(labels, profile, now_ms).encode();
        let limit = self.spec.window_bytes_max;
        if limit < record.len() {
            self.counters.dropped(Dropped::TooLarge, 1);
            return Err(NotQueued::TooLarge { bytes: record.len(), limit });
        }
        let ticket = {
            let mut state = self.state();
            let ticket = self.log.append(&record, Flush::Grouped).map_err(|full| {
                self.counters.dropped(Dropped::DiskFull, 1);
                NotQueued::Disk(full)
            })?;
            state.newest = (ticket.seq(), Some(ticket.clone()));
            ticket
        };
        self.counters.queued();
        self.news.notify_one();
        self.trim();
        Ok(ticket)
    }

    /// Drops the oldest segments while the log is too large.
    fn trim(&self) {
        let _trimming = match self.trimming.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody is about it.
            Err(TryLockError::WouldBlock) => return,
        };
        while self.spec.bytes_max < self.log.health().bytes && self.drop_oldest() {}
    }

    /// Drops the oldest segment; false when there is only one, or it cannot be removed.
    fn drop_oldest(&self) -> bool {
        let Some(&second) = self.log.segment_starts().get(1) else { return false };
        let lost = {
            let mut state = self.state();
            let lost = second.saturating_sub(1).saturating_sub(state.taken.max(state.shipped));
            state.shipped = state.shipped.max(second - 1);
            lost
        };
        if lost > 0 {
            self.counters.dropped(Dropped::QueueFull, lost);
            let limit = self.spec.bytes_max;
            tracing::warn!(lost, limit, "the queue is full; its oldest windows are dropped");
        }
        match self.log.truncate_before(second) {
            Ok(freed) => freed > 0,
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "the oldest part of a full queue cannot be removed");
                false
            }
        }
    }

    /// What comes next, as far as it is durable. Blocks for the disk.
    pub(crate) fn next(&self) -> Result<Next, ReadError> {
        loop {
            let (from, newest) = {
                let state = self.state();
                (state.shipped + 1, state.newest.clone())
            };
            if newest.0 < from {
                return Ok(Next::Nothing);
            }
            match self.batch(from) {
                Ok(batch) if !batch.is_empty() => return Ok(Next::Batch(batch)),
                // What was kept by an earlier run is durable; a log that lost its records gives none.
                Ok(_) => return Ok(newest.1.map_or(Next::Nothing, Next::NotDurable)),
                // The queue was full meanwhile, and its oldest part has gone: it goes on behind that.
                Err(error) if is_gone(&error) && from <= self.state().shipped => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Windows from a number on, as far as they can be read.
    fn batch(&self, from: u64) -> Result<Vec<(u64, Option<Entry>)>, ReadError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for record in self.log.read(from) {
            let record = match record {
                Ok(record) => record,
                // What could be read is shipped first; then it comes again, and is told.
                Err(_) if !batch.is_empty() => break,
                Err(error) => return Err(error),
            };
            bytes += record.payload.len();
            let entry = Entry::decode(&record.payload);
            if let Err(error) = &entry {
                tracing::error!(number = record.seq, %error, "a window of the queue cannot be read and is left out");
            }
            batch.push((record.seq, entry.ok()));
            if BATCH_BYTES <= bytes {
                break;
            }
        }
        Ok(batch)
    }

    /// A window is about to be sent, perhaps again; `None` when it was given up before the first time.
    pub(crate) fn take(&self, number: u64) -> Option<WindowId> {
        let mut state = self.state();
        // One that is on its way is in memory, and not counted among those that a full queue drops.
        let is_wanted = state.shipped < number || state.taken == number;
        if is_wanted {
            state.taken = number;
        }
        is_wanted.then_some(WindowId { sender: self.sender, number })
    }

    /// A window was answered or given up: notes that on disk and forgets what is not needed. Blocks for the disk.
    pub(crate) fn done(&self, number: u64) {
        let shipped = {
            let mut state = self.state();
            state.shipped = state.shipped.max(number);
            state.shipped
        };
        let text = format!("shipped {shipped}\n");
        // Best effort: the server knows repetitions.
        let noted = replace(&*self.disk, &self.dir, SHIPPED, text.as_bytes());
        let forgotten = {
            let _trimming = self.trimming.lock().unwrap_or_else(PoisonError::into_inner);
            let goes = self.log.segment_starts().get(1).is_some_and(|second| *second <= shipped + 1);
            if goes { self.log.truncate_before(shipped + 1).map(drop) } else { Ok(()) }
        };
        let failed = noted.and(forgotten).err();
        let news = std::mem::replace(&mut self.state().disk_told, failed.is_some()) != failed.is_some();
        if let Some(error) = failed.filter(|_| news) {
            let dir = self.dir.display();
            tracing::warn!(error = chain(&error), %dir, "how far windows were shipped cannot be noted; they may be sent again");
        }
        if self.waiting() == 0 {
            self.empty.notify_waiters();
        }
    }
}

fn is_gone(error: &ReadError) -> bool {
    matches!(error, ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// A small file as text; `None` when there is none.
fn read_text(disk: &dyn Disk, path: &Path) -> Result<Option<String>, OpenError> {
    match disk.read(path, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::File { path: path.to_owned(), source }),
    }
}

/// The sender's number, made when there is none yet.
fn sender_of(disk: &dyn Disk, dir: &Path) -> Result<u64, OpenError> {
    let path = dir.join(ID);
    if let Some(text) = read_text(disk, &path)? {
        let sender = u64::from_str_radix(&text, 16).ok().filter(|_| text.len() == 16);
        let expected = "a sender's number, 16 hexadecimal digits";
        return sender.ok_or(OpenError::Nonsense { path, text, expected });
    }
    // The standard library's random state makes the number.
    let sender = std::hash::RandomState::new().hash_one(0);
    let text = format!("{sender:016x}\n");
    replace(disk, dir, ID, text.as_bytes()).map_err(|source| OpenError::File { path, source })?;
    Ok(sender)
}

fn read_shipped(disk: &dyn Disk, dir: &Path) -> Result<u64, OpenError> {
    let path = dir.join(SHIPPED);
    let Some(text) = read_text(disk, &path)? else { return Ok(0) };
    let number = text.strip_prefix("shipped ").and_then(|number| number.parse().ok());
    number.ok_or(OpenError::Nonsense { path, text, expected: "`shipped` and a number" })
}

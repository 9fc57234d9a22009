//! The bounded queue between callers and the writer thread, and what both know of its fate.
//!
//! A record stays in the queue until it is durable, so a disk that fails and comes back loses nothing, and the memory
//! in use is what the limits say. Full means refused: the caller decides what it can do without the disk.
//!
//! Not here: files (`writer`).
//! Invariants: numbers are given in order of arrival; `durable_next` only grows.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use homeostat_wire::wal_record::{PAYLOAD_BYTES_MAX, PayloadLength};

use crate::{
    error::{Full, WaitError},
    wal::{Commit, WalOptions},
};

/// Bytes written before one `fdatasync` at most: 1 MiB takes a few milliseconds on a slow disk; larger commits would
/// make the records at their end wait for nothing.
pub(crate) const COMMIT_BYTES_MAX: usize = 1 << 20;

/// How soon a record should be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// With its group.
    Grouped,
    /// At once, together with all that waits before it: something protective waits for it.
    Now,
}

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into the segment at hand.
    Here,
    /// Into a new segment, as its first record.
    NewSegment,
}

/// Whether a full queue refuses a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It does.
    IfRoom,
    /// Its caller was told that there is room, and cannot go back any more.
    Granted,
}

/// Proof that a record is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Durable {
    /// Its number.
    pub seq: u64,
}

/// A record on its way. Dropping it is fine; the record is written all the same.
///
/// Also a future, ready as soon as the record is durable or the disk has refused it; it needs no runtime and has no
/// time limit of its own. After a refusal it may be awaited again.
#[derive(Clone, Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    seq: u64,
}

impl Ticket {
    /// Number of the record.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Waits until the record is durable, `timeout` at most. Returns early when the disk refuses it.
    pub fn wait(&self, timeout: Duration) -> Result<Durable, WaitError> {
        self.shared.wait(self.seq, timeout)
    }
}

impl Future for Ticket {
    type Output = Result<Durable, WaitError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.lock();
        if let Some(fate) = state.fate(self.seq) {
            return Poll::Ready(fate);
        }
        let waits = |(seq, waker): &(u64, Waker)| *seq == self.seq && waker.will_wake(context.waker());
        if !state.wakers.iter().any(waits) {
            state.wakers.push((self.seq, context.waker().clone()));
        }
        Poll::Pending
    }
}

/// What the disk has been saying since it last worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Instant,
    /// Attempts since then.
    pub attempts: u64,
    /// The latest error, with its causes.
    pub error: String,
}

/// State of a log at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalHealth {
    /// `None` while the disk takes what it is given.
    pub trouble: Option<Trouble>,
    /// How long the disk has not answered the present write; `None` when none is under way.
    pub writing_for: Option<Duration>,
    /// Records waiting.
    pub queue_records: usize,
    /// Their bytes.
    pub queue_bytes: usize,
    /// Records refused because the queue was full.
    pub refused: u64,
    /// Number of the next record to be made durable; all below are on disk.
    pub durable_next: u64,
    /// Bytes of all segments.
    pub bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// The writer waits here for records.
    work: Condvar,
    /// Ticket holders and `close` wait here.
    done: Condvar,
    options: WalOptions,
}

#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) payload: Arc<[u8]>,
    pub(crate) place: Place,
}

/// A segment that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownSegment {
    pub(crate) number: u32,
    pub(crate) first_seq: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Pending>,
    queue_bytes: usize,
    oldest_at: Option<Instant>,
    flush: Flush,
    next_seq: u64,
    durable_next: u64,
    /// All records below this number were part of a failed attempt, or before one.
    failed_next: u64,
    refused: u64,
    trouble: Option<Trouble>,
    retry_at: Option<Instant>,
    writing_since: Option<Instant>,
    segments: Vec<KnownSegment>,
    /// Tasks that await a ticket, each until its record's fate is known.
    wakers: Vec<(u64, Waker)>,
    closing: bool,
    stopped: bool,
}

/// What the writer shall do next.
#[derive(Debug)]
pub(crate) enum Work {
    /// Write these, the first of which has this number.
    Commit { first_seq: u64, records: Vec<Pending> },
    /// Nothing is left and the log is being closed.
    Close,
}

impl Shared {
    pub(crate) fn new(options: WalOptions, next_seq: u64, segments: Vec<KnownSegment>) -> Self {
        let state = State {
            queue: VecDeque::new(),
            queue_bytes: 0,
            oldest_at: None,
            flush: Flush::Grouped,
            next_seq,
            durable_next: next_seq,
            failed_next: next_seq,
            refused: 0,
            trouble: None,
            retry_at: None,
            writing_since: None,
            segments,
            wakers: Vec::new(),
            closing: false,
            stopped: false,
        };
        Self { state: Mutex::new(state), work: Condvar::new(), done: Condvar::new(), options }
    }

    /// A panic elsewhere leaves plain numbers behind, all of them valid.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(
        self: &Arc<Self>,
        payload: &[u8],
        place: Place,
        flush: Flush,
        admission: Admission,
    ) -> Result<Ticket, Full> {
        let len = payload.len();
        if len == 0 || PAYLOAD_BYTES_MAX < len {
            return Err(PayloadLength { len }.into());
        }
        // Copied before the lock is taken: a large snapshot must not hold up the writer.
        let payload = Arc::from(payload);
        let mut state = self.lock();
        match admission {
            Admission::IfRoom => self.check_room(&mut state, len)?,
            Admission::Granted if state.closing => return Err(Full::Closed),
            Admission::Granted => {}
        }
        let waiting_before = (state.queue.len(), state.wait_is_over(self.options.commit));
        state.queue.push_back(Pending { payload, place });
        state.queue_bytes += len;
        state.oldest_at.get_or_insert_with(Instant::now);
        if flush == Flush::Now {
            state.flush = Flush::Now;
        }
        let seq = state.next_seq;
        state.next_seq += 1;
        // A record that joins a group which is waited for anyhow wakes nobody: under load that is a switch of threads
        // for every record.
        let wakes = waiting_before.0 == 0 || !waiting_before.1 && state.wait_is_over(self.options.commit);
        drop(state);
        if wakes {
            self.work.notify_one();
        }
        Ok(Ticket { shared: Arc::clone(self), seq })
    }

    /// Says what [`Self::push`] would say to a record of this length.
    pub(crate) fn room(&self, len: usize) -> Result<(), Full> {
        self.check_room(&mut self.lock(), len)
    }

    fn check_room(&self, state: &mut State, len: usize) -> Result<(), Full> {
        if state.closing {
            return Err(Full::Closed);
        }
        let fits = state.queue_bytes + len <= self.options.queue_bytes_max || state.queue.is_empty();
        if fits && state.queue.len() < self.options.queue_records_max {
            return Ok(());
        }
        state.refused += 1;
        let trouble = state.trouble.as_ref().map(|trouble| trouble.error.clone());
        Err(Full::Queue { records: state.queue.len(), bytes: state.queue_bytes, trouble })
    }

    fn wait(&self, seq: u64, timeout: Duration) -> Result<Durable, WaitError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let Some(fate) = state.fate(seq) {
                return fate;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WaitError::NotYet);
            }
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until there is a commit to write. The records stay in the queue until [`Self::committed`].
    pub(crate) fn next_work(&self) -> Work {
        let mut state = self.lock();
        loop {
            if state.queue.is_empty() {
                if state.closing {
                    return Work::Close;
                }
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = state.wait_left(self.options.commit);
            if left.is_zero() {
                break;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.flush = Flush::Grouped;
        state.writing_since = Some(Instant::now());
        Work::Commit { first_seq: state.durable_next, records: state.batch(self.options.commit) }
    }

    /// The first `count` records of the queue are durable, `segment` as it is now. Gives the trouble that is over.
    pub(crate) fn committed(&self, count: usize, segment: KnownSegment) -> Option<Trouble> {
        let mut state = self.lock();
        let freed: usize = state.queue.drain(..count).map(|record| record.payload.len()).sum();
        state.queue_bytes -= freed;
        state.durable_next += count as u64;
        state.oldest_at = (!state.queue.is_empty()).then(Instant::now);
        let over = state.trouble.take();
        state.retry_at = None;
        state.writing_since = None;
        state.know(segment);
        self.tell(state);
        over
    }

    /// An attempt has failed, and with it everything that waits: no record is durable before those in front of it. Gives
    /// how many have failed in a row.
    pub(crate) fn failed(&self, error: String, retry_after: Duration) -> u64 {
        let mut state = self.lock();
        let now = Instant::now();
        let (since, attempts) = state.trouble.as_ref().map_or((now, 0), |t| (t.since, t.attempts));
        state.trouble = Some(Trouble { since, attempts: attempts + 1, error });
        state.failed_next = state.durable_next + state.queue.len() as u64;
        state.retry_at = Some(now + retry_after);
        state.writing_since = None;
        self.tell(state);
        attempts + 1
    }

    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    pub(crate) fn stopped(&self) {
        let mut state = self.lock();
        state.stopped = true;
        self.tell(state);
    }

    /// Wakes everybody whose record's fate is known now.
    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let wakers = std::mem::take(&mut state.wakers);
        let (known, waiting) = wakers.into_iter().partition::<Vec<_>, _>(|(seq, _)| state.fate(*seq).is_some());
        state.wakers = waiting;
        drop(state);
        self.done.notify_all();
        for (_, waker) in known {
            waker.wake();
        }
    }

    /// Waits for the writer's end; gives the number of records that did not reach the disk, `None` if it still works.
    pub(crate) fn wait_stopped(&self, timeout: Duration) -> Option<usize> {
        let state = self.lock();
        let waited = self.done.wait_timeout_while(state, timeout, |state| !state.stopped);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.stopped.then_some(state.queue.len())
    }

    pub(crate) fn health(&self) -> WalHealth {
        let state = self.lock();
        WalHealth {
            trouble: state.trouble.clone(),
            writing_for: state.writing_since.map(|since| since.elapsed()),
            queue_records: state.queue.len(),
            queue_bytes: state.queue_bytes,
            refused: state.refused,
            durable_next: state.durable_next,
            bytes: state.segments.iter().map(|segment| segment.bytes).sum(),
        }
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.lock().next_seq
    }

    /// Segments that can be read, ascending, and the first number that is not durable yet.
    pub(crate) fn readable(&self) -> (Vec<KnownSegment>, u64) {
        let state = self.lock();
        (state.segments.clone(), state.durable_next)
    }

    pub(crate) fn forget_segment(&self, number: u32) {
        self.lock().segments.retain(|segment| segment.number != number);
    }
}

impl State {
    /// What has become of a record; `None` while it waits.
    fn fate(&self, seq: u64) -> Option<Result<Durable, WaitError>> {
        if seq < self.durable_next {
            return Some(Ok(Durable { seq }));
        }
        if self.stopped {
            return Some(Err(WaitError::Closed));
        }
        let trouble = self.trouble.as_ref().filter(|_| seq < self.failed_next)?;
        Some(Err(WaitError::Failing(trouble.error.clone())))
    }

    /// Returns true when what waits is enough for a commit whatever the time.
    fn wait_is_over(&self, commit: Commit) -> bool {
        match commit {
            Commit::EveryRecord => true,
            Commit::Group { bytes, .. } => bytes <= self.queue_bytes || self.flush == Flush::Now,
        }
    }

    /// How long the writer still has to wait before it may write.
    fn wait_left(&self, commit: Commit) -> Duration {
        let now = Instant::now();
        let at = match (self.retry_at, commit) {
            // After a failure the group is complete anyhow; urgency and closing do not make a disk recover.
            (Some(at), _) if self.flush == Flush::Grouped && !self.closing => at,
            (_, Commit::EveryRecord) => now,
            (_, Commit::Group { bytes, .. }) if bytes <= self.queue_bytes => now,
            (_, Commit::Group { .. }) if self.flush == Flush::Now || self.closing => now,
            (_, Commit::Group { interval, .. }) => self.oldest_at.map_or(now, |at| at + interval),
        };
        at.saturating_duration_since(now)
    }

    /// Records of one commit: at least one, one segment's, [`COMMIT_BYTES_MAX`] if there are several.
    fn batch(&self, commit: Commit) -> Vec<Pending> {
        let count_max = if commit == Commit::EveryRecord { 1 } else { usize::MAX };
        let mut bytes = 0;
        let fits = |(index, record): &(usize, &Pending)| {
            bytes += record.payload.len();
            *index == 0 || *index < count_max && bytes <= COMMIT_BYTES_MAX && record.place == Place::Here
        };
        self.queue.iter().enumerate().take_while(fits).map(|(_, record)| record.clone()).collect()
    }

    fn know(&mut self, segment: KnownSegment) {
        match self.segments.iter_mut().find(|known| known.number == segment.number) {
            Some(known) => *known = segment,
            None => self.segments.push(segment),
        }
    }
}

//! The queue of a destination: a log, and what each lane keeps of it in memory.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use homeostat_store_wal::{Commit, Disk, Flush, Full, ReadError, Ticket, Wal, WalOptions};
use tokio::sync::Notify;

use crate::{
    counters::{Counters, Dropped},
    entry::Head,
    limits::{LANE_BYTES_MAX, LANES, SEGMENT_BYTES_MAX, SEGMENTS_MIN},
    position::Position,
};

/// Why a destination's queue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log.
    #[error(transparent)]
    Log(#[from] homeostat_store_wal::OpenError),
    /// Where a lane stands.
    #[error("cannot read how far samples in {dir} were sent")]
    Position {
        /// The queue's folder.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A record of a lane.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) head: Head,
    /// The packed request.
    pub(crate) packed: Vec<u8>,
    /// When it is durable; `None` when it is.
    pub(crate) ticket: Option<Ticket>,
}

/// A destination's log with its readers.
#[derive(Debug)]
pub(crate) struct Queue {
    log: Wal,
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    bytes_max: u64,
    counters: Arc<Counters>,
    state: Mutex<Vec<LaneState>>,
    /// One a lane.
    news: Vec<Notify>,
}

/// What a lane knows of the log.
#[derive(Debug)]
struct LaneState {
    pending: VecDeque<Entry>,
    pending_bytes: usize,
    /// There is more in the log than in `pending`.
    spilled: bool,
    /// Next number to read from the log, when spilled.
    next: u64,
    /// Last number that the lane has taken to send, or that is answered.
    taken: u64,
    /// Everything up to here is answered.
    answered: u64,
}

impl Queue {
    pub(crate) fn open(
        dir: &Path,
        disk: Arc<dyn Disk>,
        bytes_max: u64,
        counters: Arc<Counters>,
    ) -> Result<Self, OpenError> {
        let options = WalOptions {
            commit: Commit::Group { interval: Duration::from_millis(5), bytes: 64 * 1024 },
            segment_bytes: (bytes_max / SEGMENTS_MIN).clamp(64 * 1024, SEGMENT_BYTES_MAX),
            ..WalOptions::default()
        };
        let mut waiting = Vec::new();
        let (log, _) = Wal::open_visiting(dir, options, Arc::clone(&disk), &mut |seq, record| {
            if let Some((head, _)) = Head::decode(record) {
                waiting.push((seq, head));
            }
        })?;
        let mut lanes = Vec::with_capacity(LANES);
        for lane in 0..LANES {
            let position = Position::read(&*disk, dir, lane);
            let position = position.map_err(|source| OpenError::Position { dir: dir.to_owned(), source })?;
            let answered = position.answered;
            lanes.push(LaneState {
                pending: VecDeque::new(),
                pending_bytes: 0,
                spilled: true,
                next: answered + 1,
                taken: answered,
                answered,
            });
        }
        for (seq, head) in waiting {
            if lanes.get(usize::from(head.lane)).is_some_and(|lane| lane.answered < seq) {
                counters.came(head.all());
            }
        }
        let news = (0..LANES).map(|_| Notify::new()).collect();
        Ok(Self { log, dir: dir.to_owned(), disk, bytes_max, counters, state: Mutex::new(lanes), news })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.log.health().bytes
    }

    pub(crate) fn room(&self, len: usize) -> Result<(), Full> {
        self.log.room(len)
    }

    pub(crate) fn close(&self, timeout: Duration) -> Result<(), usize> {
        self.log.finish(timeout)
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<LaneState>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues records; gives the ticket of the last one.
    pub(crate) fn push(&self, records: Vec<(Head, Vec<u8>)>) -> Result<Option<Ticket>, Full> {
        let mut last = None;
        let mut lanes = self.lanes();
        for (head, packed) in records {
            let ticket = self.log.append(&head.encode(&packed), Flush::Grouped)?;
            self.counters.came(head.all());
            let number = usize::from(head.lane);
            if let Some(lane) = lanes.get_mut(number) {
                let entry = Entry { seq: ticket.seq(), head, packed, ticket: Some(ticket.clone()) };
                lane.push(entry);
            }
            if let Some(news) = self.news.get(number) {
                news.notify_one();
            }
            last = Some(ticket);
        }
        while self.bytes_max < self.bytes() && self.drop_oldest(&mut lanes) {}
        Ok(last)
    }

    /// Drops the oldest segment; false when there is only one.
    fn drop_oldest(&self, lanes: &mut [LaneState]) -> bool {
        let Some(&second) = self.log.segment_starts().get(1) else { return false };
        let taken: Vec<u64> = lanes.iter().map(|lane| lane.taken).collect();
        let mut lost = 0;
        for record in self.log.read(0).map_while(Result::ok).take_while(|record| record.seq < second) {
            let head = Head::decode(&record.payload).map(|(head, _)| head).unwrap_or_default();
            if taken.get(usize::from(head.lane)).is_some_and(|taken| *taken < record.seq) {
                lost += head.all();
            }
        }
        self.counters.dropped(lost, Dropped::QueueFull);
        for lane in lanes.iter_mut() {
            lane.forget_before(second);
        }
        match self.log.truncate_before(second) {
            Ok(freed) => freed > 0,
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "the oldest part of a full queue cannot be removed");
                false
            }
        }
    }

    /// Waits until a lane has something to send.
    pub(crate) async fn news(&self, lane: usize) {
        match self.news.get(lane) {
            Some(news) => news.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The next record of a lane without taking it: `None` when there is none in memory; the flag says that there is more
    /// in the log.
    pub(crate) fn peek(&self, lane: usize) -> (Option<Head>, bool) {
        let lanes = self.lanes();
        lanes.get(lane).map_or((None, false), |lane| (lane.pending.front().map(|entry| entry.head), lane.spilled))
    }

    /// Takes the next record of a lane.
    pub(crate) fn take(&self, lane: usize) -> Option<Entry> {
        let mut lanes = self.lanes();
        let lane = lanes.get_mut(lane)?;
        let entry = lane.pending.pop_front()?;
        lane.pending_bytes -= entry.packed.len();
        lane.taken = entry.seq;
        Some(entry)
    }

    /// Fills a lane's memory from the log. False when the log had nothing more that is durable. Blocks for the disk.
    pub(crate) fn refill(&self, lane: usize) -> Result<bool, ReadError> {
        let from = match self.lanes().get(lane) {
            Some(state) if state.spilled => state.next,
            _ => return Ok(true),
        };
        let mut reader = self.log.read(from);
        let end = reader.numbers().end;
        let (mut found, mut bytes, mut next) = (Vec::new(), 0, end.max(from));
        for record in &mut reader {
            let record = record?;
            let Some((head, packed)) = Head::decode(&record.payload) else { continue };
            if usize::from(head.lane) != lane {
                continue;
            }
            bytes += packed.len();
            found.push(Entry { seq: record.seq, head, packed: packed.to_vec(), ticket: None });
            if LANE_BYTES_MAX <= bytes {
                next = record.seq + 1;
                break;
            }
        }
        let mut lanes = self.lanes();
        let Some(state) = lanes.get_mut(lane) else { return Ok(true) };
        // What was dropped while it was being read is dropped.
        found.retain(|entry| state.next <= entry.seq);
        let any = !found.is_empty();
        state.pending_bytes += found.iter().map(|entry| entry.packed.len()).sum::<usize>();
        state.pending.extend(found);
        state.next = state.next.max(next);
        // Numbers are given under this lock: there is nothing behind the end, so from now on memory gets what comes.
        state.spilled = state.next < self.log.next_seq();
        Ok(any || !state.spilled)
    }

    /// Up to where a lane was answered when the last run ended, and the records that were being sent then.
    pub(crate) fn interrupted(&self, lane: usize) -> Result<(u64, Vec<Entry>), ReadError> {
        let position = Position::read(&*self.disk, &self.dir, lane);
        let position = position.map_err(|source| ReadError::Io { path: self.dir.clone(), source })?;
        let mut entries = Vec::new();
        if position.sending == position.answered {
            return Ok((position.answered, entries));
        }
        for record in self.log.read(position.answered + 1) {
            let record = record?;
            if position.sending < record.seq {
                break;
            }
            if let Some((head, packed)) = Head::decode(&record.payload)
                && usize::from(head.lane) == lane
            {
                entries.push(Entry { seq: record.seq, head, packed: packed.to_vec(), ticket: None });
            }
        }
        if let Some(state) = self.lanes().get_mut(lane) {
            state.next = position.sending + 1;
            state.taken = position.sending;
        }
        Ok((position.answered, entries))
    }

    /// Notes durably what a lane is about to send, and what is answered. Blocks for the disk.
    pub(crate) fn note(&self, lane: usize, position: Position) -> io::Result<()> {
        position.write(&*self.disk, &self.dir, lane)
    }

    /// Everything of a lane up to `seq` is answered; forgets what no lane needs. Blocks for the disk.
    pub(crate) fn answered(&self, lane: usize, seq: u64) {
        let mut lanes = self.lanes();
        if let Some(state) = lanes.get_mut(lane) {
            state.answered = seq;
        }
        let next_seq = self.log.next_seq();
        let needed = lanes.iter().map(|lane| if lane.is_idle() { next_seq } else { lane.answered + 1 }).min();
        let needed = needed.unwrap_or(0);
        if self.log.segment_starts().get(1).is_some_and(|second| *second <= needed)
            && let Err(error) = self.log.truncate_before(needed)
        {
            tracing::warn!(%error, dir = %self.dir.display(), "what was sent cannot be removed from the queue");
        }
    }
}

impl LaneState {
    fn push(&mut self, entry: Entry) {
        if self.spilled || LANE_BYTES_MAX < self.pending_bytes + entry.packed.len() {
            if !self.spilled {
                self.spilled = true;
                self.next = entry.seq;
            }
            return;
        }
        self.pending_bytes += entry.packed.len();
        self.pending.push_back(entry);
    }

    /// Nothing to send, and nothing under way.
    fn is_idle(&self) -> bool {
        self.pending.is_empty() && !self.spilled && self.taken == self.answered
    }

    fn forget_before(&mut self, seq: u64) {
        while let Some(entry) = self.pending.pop_front_if(|entry| entry.seq < seq) {
            self.pending_bytes -= entry.packed.len();
        }
        self.next = self.next.max(seq);
    }
}

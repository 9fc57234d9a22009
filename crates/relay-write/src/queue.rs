//! The queue of a destination: a log, and what each lane keeps of it in memory.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

use homeostat_store_wal::{Commit, Disk, Flush, Full, ReadError, Ticket, Wal, WalOptions};
use tokio::sync::Notify;

use crate::{
    counters::{Counters, Dropped},
    entry::Head,
    limits::{LANE_END_BYTES_MAX, LANES, SEGMENT_BYTES_MAX, SEGMENTS_MIN},
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
    /// Held for moments only, never while the disk is asked.
    state: Mutex<Vec<LaneState>>,
    /// Held while the oldest part is removed.
    trimming: Mutex<()>,
    /// One a lane.
    news: Vec<Notify>,
}

/// What a lane knows of the log: the oldest records that were not sent yet and the newest ones in memory, and the log for
/// those in between.
///
/// ```text
/// pending │ in the log only: next..=gap_end │ tail
/// ```
#[derive(Debug, Default)]
struct LaneState {
    pending: Shelf,
    /// The first number that may be in the log only.
    next: u64,
    /// The last such number; below `next` when there is none.
    gap_end: u64,
    /// When that one is durable; `None` when it is.
    gap_ticket: Option<Ticket>,
    tail: Shelf,
    /// The last record, and when it is durable.
    newest: (u64, Option<Ticket>),
    /// Last number that the lane has taken to send, or that is answered.
    taken: u64,
    /// Everything up to here is answered.
    answered: u64,
}

/// Records in memory, in order.
#[derive(Debug, Default)]
struct Shelf {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// What became of reading on in the log.
#[derive(Debug)]
pub(crate) enum Refill {
    /// There is something in memory, or nothing left to be read.
    Filled,
    /// What comes next is not on disk yet.
    NotDurable(Ticket),
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
            lanes.push(LaneState { next: answered + 1, taken: answered, answered, ..LaneState::default() });
        }
        for (seq, head) in waiting {
            if let Some(lane) = lanes.get_mut(usize::from(head.lane)).filter(|lane| lane.answered < seq) {
                (lane.gap_end, lane.newest.0) = (seq, seq);
                counters.came(head.all());
            }
        }
        let news = (0..LANES).map(|_| Notify::new()).collect();
        let (dir, state) = (dir.to_owned(), Mutex::new(lanes));
        Ok(Self { log, dir, disk, bytes_max, counters, state, trimming: Mutex::default(), news })
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

    /// Queues records; gives the ticket of the last one. Memory takes them even where [`Self::room`] would refuse them now.
    pub(crate) fn push(&self, records: Vec<(Head, Vec<u8>)>) -> Result<Option<Ticket>, Full> {
        let last = self.append(records)?;
        if self.bytes_max < self.bytes() {
            let _trimming = match self.trimming.try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Somebody is about it.
                Err(TryLockError::WouldBlock) => return Ok(last),
            };
            while self.bytes_max < self.bytes() && self.drop_oldest() {}
        }
        Ok(last)
    }

    fn append(&self, records: Vec<(Head, Vec<u8>)>) -> Result<Option<Ticket>, Full> {
        let mut last = None;
        let mut lanes = self.lanes();
        for (head, packed) in records {
            let ticket = self.log.append_granted(&head.encode(&packed), Flush::Grouped)?;
            self.counters.came(head.all());
            let number = usize::from(head.lane);
            if let Some(lane) = lanes.get_mut(number) {
                lane.push(Entry { seq: ticket.seq(), head, packed, ticket: Some(ticket.clone()) });
            }
            if let Some(news) = self.news.get(number) {
                news.notify_one();
            }
            last = Some(ticket);
        }
        Ok(last)
    }

    /// Drops the oldest segment; false when there is only one.
    fn drop_oldest(&self) -> bool {
        let Some(&second) = self.log.segment_starts().get(1) else { return false };
        let oldest = self.log.read(0).map_while(Result::ok).take_while(|record| record.seq < second);
        let oldest: Vec<(u64, Head)> =
            oldest.filter_map(|record| Some((record.seq, Head::decode(&record.payload)?.0))).collect();
        let mut lost = 0;
        {
            let mut lanes = self.lanes();
            for (seq, head) in oldest {
                if lanes.get(usize::from(head.lane)).is_some_and(|lane| lane.taken < seq) {
                    lost += head.all();
                }
            }
            for lane in lanes.iter_mut() {
                lane.forget_before(second);
            }
        }
        self.counters.dropped(lost, Dropped::QueueFull);
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
    /// to be had by [`Self::refill`].
    pub(crate) fn peek(&self, lane: usize) -> (Option<Head>, bool) {
        let lanes = self.lanes();
        let next = |lane: &LaneState| (lane.pending.entries.front().map(|entry| entry.head), lane.is_spilled());
        lanes.get(lane).map_or((None, false), next)
    }

    /// Takes the next record of a lane.
    pub(crate) fn take(&self, lane: usize) -> Option<Entry> {
        let mut lanes = self.lanes();
        let lane = lanes.get_mut(lane)?;
        let entry = lane.pending.pop()?;
        lane.taken = entry.seq;
        Some(entry)
    }

    /// Fills a lane's memory from the log. Blocks for the disk.
    pub(crate) fn refill(&self, lane: usize) -> Result<Refill, ReadError> {
        let gap = self.lanes().get_mut(lane).and_then(LaneState::gap);
        let Some((from, to, ticket)) = gap else { return Ok(Refill::Filled) };
        let read = self.read(lane, from, to);
        let mut lanes = self.lanes();
        let Some(state) = lanes.get_mut(lane) else { return Ok(Refill::Filled) };
        let (found, next) = match read {
            Ok(read) => read,
            // What was being read was dropped meanwhile.
            Err(_) if from < state.next => return Ok(Refill::Filled),
            Err(error) => return Err(error),
        };
        for entry in found {
            if state.next <= entry.seq {
                state.pending.put(entry);
            }
        }
        state.next = state.next.max(next);
        Ok(match ticket {
            Some(ticket) if next == from => Refill::NotDurable(ticket),
            _ => Refill::Filled,
        })
    }

    /// Reads records of a lane, `to` at most and as many as its memory holds; gives the number behind those that were read.
    fn read(&self, lane: usize, from: u64, to: u64) -> Result<(Vec<Entry>, u64), ReadError> {
        let mut reader = self.log.read(from);
        let end = reader.numbers().end.max(from);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for record in &mut reader {
            let record = record?;
            if to < record.seq {
                break;
            }
            if let Some((head, packed)) = Head::decode(&record.payload)
                && usize::from(head.lane) == lane
            {
                bytes += packed.len();
                found.push(Entry { seq: record.seq, head, packed: packed.to_vec(), ticket: None });
                if LANE_END_BYTES_MAX <= bytes {
                    return Ok((found, record.seq + 1));
                }
            }
        }
        Ok((found, end.min(to + 1)))
    }

    /// Up to where a lane was answered when the last run ended, and the records that were being sent then; the lane goes
    /// on behind them.
    pub(crate) fn interrupted(&self, lane: usize) -> Result<(u64, Vec<Entry>), ReadError> {
        let position = Position::read(&*self.disk, &self.dir, lane);
        let mut position = position.map_err(|source| ReadError::Io { path: self.dir.clone(), source })?;
        let mut entries = Vec::new();
        if let Some(state) = self.lanes().get_mut(lane) {
            // A lane that begins anew in the same run: the file is behind what was answered since.
            position.answered = position.answered.max(state.answered);
            position.sending = position.sending.max(position.answered);
            state.begin_at(position);
        }
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
        Ok((position.answered, entries))
    }

    /// Notes durably what a lane is about to send, and what is answered. Blocks for the disk.
    pub(crate) fn note(&self, lane: usize, position: Position) -> io::Result<()> {
        position.write(&*self.disk, &self.dir, lane)
    }

    /// Everything of a lane up to `seq` is answered; forgets what no lane needs. Blocks for the disk.
    pub(crate) fn answered(&self, lane: usize, seq: u64) {
        let needed = {
            let mut lanes = self.lanes();
            if let Some(state) = lanes.get_mut(lane) {
                state.answered = seq;
            }
            let next_seq = self.log.next_seq();
            lanes.iter().map(|lane| if lane.is_idle() { next_seq } else { lane.answered + 1 }).min().unwrap_or(0)
        };
        let _trimming = self.trimming.lock().unwrap_or_else(PoisonError::into_inner);
        if self.log.segment_starts().get(1).is_some_and(|second| *second <= needed)
            && let Err(error) = self.log.truncate_before(needed)
        {
            tracing::warn!(%error, dir = %self.dir.display(), "what was sent cannot be removed from the queue");
        }
    }
}

impl LaneState {
    fn push(&mut self, entry: Entry) {
        self.newest = (entry.seq, entry.ticket.clone());
        if !self.is_spilled() && self.pending.bytes + entry.packed.len() <= LANE_END_BYTES_MAX {
            self.next = entry.seq + 1;
            self.pending.put(entry);
            return;
        }
        self.tail.put(entry);
        while LANE_END_BYTES_MAX < self.tail.bytes
            && let Some(entry) = self.tail.pop()
        {
            (self.gap_end, self.gap_ticket) = (entry.seq, entry.ticket);
        }
    }

    /// There is more than `pending`.
    fn is_spilled(&self) -> bool {
        self.next <= self.gap_end || !self.tail.entries.is_empty()
    }

    /// What is in the log only: first and last number, and when the last one is durable. Where there is no such thing any
    /// more, the tail is what comes next.
    fn gap(&mut self) -> Option<(u64, u64, Option<Ticket>)> {
        if self.next <= self.gap_end {
            return Some((self.next, self.gap_end, self.gap_ticket.clone()));
        }
        if self.pending.entries.is_empty() {
            self.pending = std::mem::take(&mut self.tail);
            self.next = self.next.max(self.newest.0 + 1);
        }
        None
    }

    /// Forgets what is in memory, and goes on behind what is being sent.
    fn begin_at(&mut self, position: Position) {
        (self.pending, self.tail) = (Shelf::default(), Shelf::default());
        (self.next, self.taken) = (position.sending + 1, position.sending);
        (self.gap_end, self.gap_ticket) = self.newest.clone();
    }

    /// Nothing to send, and nothing under way.
    fn is_idle(&self) -> bool {
        self.pending.entries.is_empty() && !self.is_spilled() && self.taken == self.answered
    }

    fn forget_before(&mut self, seq: u64) {
        self.pending.forget_before(seq);
        self.tail.forget_before(seq);
        self.next = self.next.max(seq);
    }
}

impl Shelf {
    fn put(&mut self, entry: Entry) {
        self.bytes += entry.packed.len();
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.packed.len();
        Some(entry)
    }

    fn forget_before(&mut self, seq: u64) {
        while self.entries.front().is_some_and(|entry| entry.seq < seq) {
            self.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use homeostat_store_wal::SimDisk;

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    fn queue(disk: &SimDisk) -> Queue {
        Queue::open(Path::new("/queue"), Arc::new(disk.clone()), 1 << 30, Arc::default()).unwrap()
    }

    fn push(queue: &Queue, lane: u8, len: usize) -> Ticket {
        let head = Head { lane, samples: 1, ..Head::default() };
        queue.push(vec![(head, vec![lane; len])]).unwrap().unwrap()
    }

    /// Takes everything of a lane that is in memory.
    fn taken(queue: &Queue, lane: usize) -> Vec<u64> {
        std::iter::from_fn(|| queue.take(lane)).map(|entry| entry.seq).collect()
    }

    #[test]
    fn both_ends_of_a_lane_are_in_memory_and_what_lies_between_is_read_when_it_is_durable() {
        let disk = SimDisk::default();
        let queue = queue(&disk);
        disk.set(|faults| faults.stuck = true);
        let piece = LANE_END_BYTES_MAX / 4;
        let tickets: Vec<Ticket> = (0..20).map(|at| push(&queue, at % 2, piece)).collect();
        let numbers: Vec<u64> = tickets.iter().map(Ticket::seq).collect();
        let of_lane = |lane: usize| numbers.iter().copied().skip(lane).step_by(2).collect::<Vec<_>>();
        for lane in 0..2 {
            // Four pieces fit either end.
            assert_eq!(taken(&queue, lane), of_lane(lane)[..4]);
            let Refill::NotDurable(ticket) = queue.refill(lane).unwrap() else { unreachable!("nothing is on disk") };
            assert_eq!(ticket.seq(), of_lane(lane)[5], "the newest one that is not in memory");
        }
        disk.set(|faults| faults.stuck = false);
        let _durable = tickets.last().unwrap().wait(PATIENCE).unwrap();
        for lane in 0..2 {
            let mut rest = Vec::new();
            while queue.peek(lane).1 {
                assert!(matches!(queue.refill(lane).unwrap(), Refill::Filled));
                rest.extend(taken(&queue, lane));
            }
            assert_eq!(rest, of_lane(lane)[4..]);
            let more = push(&queue, lane as u8, piece).seq();
            assert_eq!((queue.peek(lane).1, taken(&queue, lane)), (false, vec![more]), "it is in memory at once");
        }
        queue.close(PATIENCE).unwrap();
    }

    #[test]
    fn a_lane_that_begins_anew_reads_what_it_has_forgotten() {
        let disk = SimDisk::default();
        let queue = queue(&disk);
        let tickets: Vec<Ticket> = (0..6).map(|_| push(&queue, 3, 10)).collect();
        let _durable = tickets.last().unwrap().wait(PATIENCE).unwrap();
        let first = tickets[0].seq();
        assert_eq!(taken(&queue, 3).len(), 6);
        queue.note(3, Position { answered: first, sending: first + 2 }).unwrap();
        let (answered, sending) = queue.interrupted(3).unwrap();
        assert_eq!(answered, first);
        assert_eq!(sending.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [first + 1, first + 2]);
        assert!(matches!(queue.refill(3).unwrap(), Refill::Filled));
        assert_eq!(taken(&queue, 3), [first + 3, first + 4, first + 5]);
        // What was answered since is not sent again, whatever the file says.
        queue.answered(3, first + 3);
        let (answered, sending) = queue.interrupted(3).unwrap();
        assert_eq!((answered, sending.len()), (first + 3, 0));
        assert!(matches!(queue.refill(3).unwrap(), Refill::Filled));
        assert_eq!(taken(&queue, 3), [first + 4, first + 5]);
        queue.close(PATIENCE).unwrap();
    }
}

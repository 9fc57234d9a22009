//! The log as its owner sees it: open, append, read, forget, close.
//!
//! Not here: the thread (`writer`), the limits (`queue`), the verdict on old files (`survey`).

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    disk::Disk,
    error::{Full, OpenError},
    queue::{Admission, Flush, KnownSegment, Place, Shared, Ticket, WalHealth},
    reader::Reader,
    segment::{End, SEGMENT_BYTES_DEFAULT, file_name},
    survey::{Survey, survey},
    writer::Writer,
};

/// Records waiting at most: control's journal writes about 1 a second when nothing happens and 1,000 in the worst
/// seconds, so this is the worst minute; a mere count costs 40 bytes each.
pub const QUEUE_RECORDS_MAX: usize = 60_000;
/// Bytes waiting at most: one largest record, or twelve hours of ticks of one busy service without a disk.
pub const QUEUE_BYTES_MAX: usize = homeostat_wire::wal_record::PAYLOAD_BYTES_MAX;
/// How long a log that is dropped without `close` waits for its last records.
pub const DROP_WAIT: Duration = Duration::from_secs(5);

/// When appends are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Each by itself.
    EveryRecord,
    /// Those that arrive within `interval`, or until `bytes` have gathered, together.
    Group {
        /// Longest wait of the first record.
        interval: Duration,
        /// Bytes that end the wait early.
        bytes: usize,
    },
}

/// Settings of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// When appends are made durable.
    pub commit: Commit,
    /// Size at which a segment is ended, at most [`SEGMENT_BYTES_DEFAULT`].
    pub segment_bytes: u64,
    /// Records waiting at most.
    pub queue_records_max: usize,
    /// Bytes waiting at most; a single larger record is taken when nothing else waits.
    pub queue_bytes_max: usize,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self {
            commit: Commit::Group { interval: Duration::from_millis(5), bytes: 64 * 1024 },
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            queue_records_max: QUEUE_RECORDS_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
        }
    }
}

/// An open log. Shared by reference; all methods take `&self`.
#[derive(Debug)]
pub struct Wal {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// First record that is kept; equals `next_seq` when there is none.
    pub first_seq: u64,
    /// Number of the next record.
    pub next_seq: u64,
    /// What the last run left unfinished, if anything.
    pub torn_tail: Option<TornTail>,
    /// Every segment.
    pub survey: Survey,
}

/// The end of the newest segment after a crash: begun, never acknowledged, and ignored from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Its segment.
    pub segment: u32,
    /// Where it begins.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Wal {
    /// Opens the log in `dir`, creating the directory if need be. Fails when acknowledged records are damaged.
    pub fn open(dir: &Path, options: WalOptions, disk: Arc<dyn Disk>) -> Result<(Self, Recovered), OpenError> {
        Self::open_visiting(dir, options, disk, &mut |_, _| {})
    }

    /// As [`Self::open`]; `visit` gets number and payload of every record on the way, which saves a second reading.
    /// When it fails because of damage, `visit` has seen intact records all the same.
    pub fn open_visiting(
        dir: &Path,
        options: WalOptions,
        disk: Arc<dyn Disk>,
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(Self, Recovered), OpenError> {
        let lock = take_dir(&*disk, dir)?;
        let survey = survey(&*disk, dir, visit)?;
        if let Some(damage) = survey.damage.first() {
            return Err(OpenError::Damaged { dir: dir.to_owned(), source: damage.clone() });
        }
        remove_leftovers(&*disk, dir);
        let recovered = Recovered {
            first_seq: survey.first_seq(),
            next_seq: survey.next_seq(),
            torn_tail: torn_tail(&survey),
            survey,
        };
        if let Some(TornTail { segment, offset, bytes }) = recovered.torn_tail {
            tracing::info!(dir = %dir.display(), segment, offset, bytes, "the last run ended within a commit; the log goes on before it");
        }
        sync_newest(&*disk, dir, &recovered.survey)?;
        let shared = Arc::new(Shared::new(options, recovered.next_seq, known_segments(&recovered.survey)));
        let writer = Writer {
            shared: Arc::clone(&shared),
            disk: Arc::clone(&disk),
            dir: dir.to_owned(),
            segment_bytes: options.segment_bytes.min(SEGMENT_BYTES_DEFAULT),
            next_number: recovered.survey.next_number(),
            lock,
        };
        let thread = std::thread::Builder::new().name("wal-writer".to_owned());
        // Joined by way of `wait_stopped`, which can time out: a disk that never answers must not keep the process.
        thread.spawn(move || writer.run()).map_err(OpenError::Thread)?;
        Ok((Self { shared, disk, dir: dir.to_owned() }, recovered))
    }

    /// Queues a record. Never waits for the disk.
    pub fn append(&self, payload: &[u8], flush: Flush) -> Result<Ticket, Full> {
        self.shared.push(payload, Place::Here, flush, Admission::IfRoom)
    }

    /// Queues a record that becomes the first of a new segment, so that what lies before it can be forgotten.
    pub fn append_in_new_segment(&self, payload: &[u8], flush: Flush) -> Result<Ticket, Full> {
        self.shared.push(payload, Place::NewSegment, flush, Admission::IfRoom)
    }

    /// Queues a record even where the queue is full, for callers who were told by [`Self::room`] that there is room and
    /// have changed something else since. How far the queue goes beyond its limits is what they bring after one such
    /// answer. Only impossible records and a log that is being closed are refused.
    pub fn append_granted(&self, payload: &[u8], flush: Flush) -> Result<Ticket, Full> {
        self.shared.push(payload, Place::Here, flush, Admission::Granted)
    }

    /// Says beforehand whether a record of `len` bytes would be taken, for callers who change something else first.
    /// Others may fill the queue in between; a refusal is counted like one of [`Self::append`].
    pub fn room(&self, len: usize) -> Result<(), Full> {
        self.shared.room(len)
    }

    /// Number that the next record gets.
    pub fn next_seq(&self) -> u64 {
        self.shared.next_seq()
    }

    /// State of the log now.
    pub fn health(&self) -> WalHealth {
        self.shared.health()
    }

    /// Reads durable records from number `from` on, as far as they are durable now.
    pub fn read(&self, from: u64) -> Reader {
        let (segments, until) = self.shared.readable();
        Reader::new(Arc::clone(&self.disk), self.dir.clone(), &segments, from, until)
    }

    /// Removes the segments that only hold records below `seq`, oldest first; gives the bytes freed. The newest
    /// segment always stays.
    pub fn truncate_before(&self, seq: u64) -> io::Result<u64> {
        let (segments, _) = self.shared.readable();
        let mut freed = 0;
        for pair in segments.windows(2) {
            let [oldest, next] = pair else { break };
            if seq < next.first_seq {
                break;
            }
            self.disk.remove(&self.dir.join(file_name(oldest.number)))?;
            // One at a time: after a power loss a hole between kept segments would look like damage.
            self.disk.sync_dir(&self.dir)?;
            self.shared.forget_segment(oldest.number);
            freed += oldest.bytes;
        }
        Ok(freed)
    }

    /// First numbers of the segments, ascending.
    pub fn segment_starts(&self) -> Vec<u64> {
        self.shared.readable().0.iter().map(|segment| segment.first_seq).collect()
    }

    /// Writes what is queued and ends the log; gives the number of records that did not reach the disk in time.
    pub fn close(self, timeout: Duration) -> Result<(), usize> {
        self.finish(timeout)
    }

    /// As [`Self::close`] for a log that others still read: appends are refused from now on.
    pub fn finish(&self, timeout: Duration) -> Result<(), usize> {
        self.shared.close();
        let lost = self.shared.wait_stopped(timeout).unwrap_or_else(|| self.shared.health().queue_records);
        if lost == 0 { Ok(()) } else { Err(lost) }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        // `close` has already waited as long as its caller wanted.
        if !self.shared.is_closing() {
            self.shared.close();
            self.shared.wait_stopped(DROP_WAIT);
        }
    }
}

/// Creates and locks the directory.
pub(crate) fn take_dir(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn crate::disk::DirLock>, OpenError> {
    let io = |what| move |source| OpenError::Io { what, path: dir.to_owned(), source };
    disk.make_dir(dir).map_err(io("create"))?;
    disk.lock(dir).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { dir: dir.to_owned() },
        _ => io("lock")(error),
    })
}

/// Files that a crash left between creation and renaming. Best effort: they are overwritten anyhow.
fn remove_leftovers(disk: &dyn Disk, dir: &Path) {
    for name in disk.list(dir).unwrap_or_default() {
        if name.strip_suffix(".new").is_some_and(|name| crate::segment::parse_name(name).is_some()) {
            disk.remove(&dir.join(name)).ok();
        }
    }
}

/// What a killed process wrote may be in the system's memory alone. Its records count as durable from now on, and the next
/// segment says so, so they have to be. A sealed segment ended in order, and one before the newest was synced before its
/// successor began.
fn sync_newest(disk: &dyn Disk, dir: &Path, survey: &Survey) -> Result<(), OpenError> {
    let Some(newest) = survey.segments.last().filter(|newest| newest.walk.end != End::Sealed) else { return Ok(()) };
    let path = dir.join(file_name(newest.number));
    disk.sync(&path).map_err(|source| OpenError::Io { what: "sync", path, source })
}

fn torn_tail(survey: &Survey) -> Option<TornTail> {
    let newest = survey.segments.last()?;
    match newest.walk.end {
        End::Torn { bytes } => Some(TornTail { segment: newest.number, offset: newest.walk.offset, bytes }),
        _ => None,
    }
}

fn known_segments(survey: &Survey) -> Vec<KnownSegment> {
    let known = |s: &crate::survey::SurveyedSegment| {
        s.first_seq.map(|first_seq| KnownSegment { number: s.number, first_seq, bytes: s.bytes })
    };
    survey.segments.iter().filter_map(known).collect()
}

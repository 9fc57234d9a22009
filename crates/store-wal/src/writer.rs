//! The thread that owns the file: takes commits off the queue and makes them durable.
//!
//! After a failed write or sync the file is never touched again: the kernel may have dropped the pages and called
//! them clean, so a second `fdatasync` that succeeds proves nothing. The next attempt begins a new segment, whose
//! header says with which record the log goes on; what the old file holds behind that is thereby void.
//!
//! Not here: waiting and limits (`queue`).
//! Invariants: a segment appears under its name only with a durable header; a commit begins with a leader.
//! Source: Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020.

use std::{error::Error, io, path::PathBuf, sync::Arc, time::Duration};

use homeostat_wire::wal_record::{Mark, SEGMENT_HEADER_BYTES, Seal, SealKind, SegmentHeader, encode};

use crate::{
    disk::{DirLock, Disk, DiskFile},
    queue::{KnownSegment, Pending, Place, Shared, Work},
    segment::file_name,
};

/// First pause after a failure; doubles up to [`RETRY_MAX`]. Ten attempts a second cost nothing.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Longest pause: space that was freed is used within a second.
const RETRY_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) next_number: u32,
    /// Held until the last record is written, even if the log's owner is gone.
    pub(crate) lock: Box<dyn DirLock>,
}

/// The file at hand.
#[derive(Debug)]
struct Current {
    file: Box<dyn DiskFile>,
    known: KnownSegment,
    next_seq: u64,
}

impl Writer {
    /// Works until the log is closed.
    pub(crate) fn run(mut self) {
        let mut current = None;
        let mut retry = RETRY_FIRST;
        while let Work::Commit { first_seq, records } = self.shared.next_work() {
            // Asked before the attempt: closing grants every record one attempt after it was asked for.
            let closing = self.shared.is_closing();
            match self.commit(&mut current, first_seq, &records) {
                Ok(known) => {
                    retry = RETRY_FIRST;
                    if let Some(trouble) = self.shared.committed(records.len(), known) {
                        let (dir, lasted) = (self.dir.display(), trouble.since.elapsed());
                        tracing::info!(%dir, ?lasted, attempts = trouble.attempts, "the log can be written again");
                    }
                }
                Err(error) => {
                    self.abandon(current.take());
                    let said = chain(&error);
                    if self.shared.failed(said.clone(), retry) == 1 {
                        // Once an outage; its state is in `health`.
                        tracing::error!(dir = %self.dir.display(), error = said, "the log cannot be written; trying again");
                    }
                    retry = (retry * 2).min(RETRY_MAX);
                    if closing {
                        break;
                    }
                }
            }
        }
        seal(current);
        drop(self.lock);
        self.shared.stopped();
    }

    fn commit(
        &mut self,
        current: &mut Option<Current>,
        first_seq: u64,
        records: &[Pending],
    ) -> io::Result<KnownSegment> {
        let mut bytes = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let mark = if index == 0 { Mark::Leader } else { Mark::Follower };
            encode(mark, &record.payload, &mut bytes).map_err(io::Error::other)?;
        }
        let wants_new = records.first().is_some_and(|record| record.place == Place::NewSegment);
        let ends = current.as_ref().is_some_and(|c| {
            first_seq != c.known.first_seq && (wants_new || self.segment_bytes < c.known.bytes + bytes.len() as u64)
        });
        if ends {
            seal(current.take());
        }
        let open = match current {
            Some(open) => open,
            None => current.insert(self.begin(first_seq)?),
        };
        open.file.append(&bytes)?;
        open.file.sync()?;
        open.known.bytes += bytes.len() as u64;
        open.next_seq = first_seq + records.len() as u64;
        Ok(open.known)
    }

    /// Creates a segment under its name, its header durable.
    fn begin(&mut self, first_seq: u64) -> io::Result<Current> {
        let number = self.next_number;
        let (path, fresh) = (self.dir.join(file_name(number)), self.dir.join(format!("{}.new", file_name(number))));
        let created: io::Result<Box<dyn DiskFile>> = (|| {
            let mut file = self.disk.create(&fresh)?;
            file.append(&SegmentHeader { first_seq }.encode())?;
            file.sync()?;
            self.disk.rename(&fresh, &path)?;
            self.disk.sync_dir(&self.dir)?;
            Ok(file)
        })();
        if created.is_err() {
            // Best effort: empty files would pile up while a disk stays full.
            self.disk.remove(&fresh).and(self.disk.remove(&path)).ok();
        }
        let file = created?;
        self.next_number = number.saturating_add(1);
        let known = KnownSegment { number, first_seq, bytes: SEGMENT_HEADER_BYTES as u64 };
        Ok(Current { file, known, next_seq: first_seq })
    }

    /// Gives a file up after a failure. One without a durable record would only be clutter.
    fn abandon(&self, current: Option<Current>) {
        let Some(current) = current else { return };
        if current.next_seq == current.known.first_seq {
            self.disk.remove(&self.dir.join(file_name(current.known.number))).ok();
        }
    }
}

/// Ends a segment. Best effort: its records are durable already, and the next header says where the log goes on.
fn seal(current: Option<Current>) {
    let Some(mut current) = current else { return };
    let seal = Seal { kind: SealKind::Complete, next_seq: current.next_seq };
    let mut bytes = Vec::new();
    if encode(Mark::Seal, &seal.payload(), &mut bytes).is_ok() {
        current.file.append(&bytes).and_then(|()| current.file.sync()).ok();
    }
}

fn chain(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

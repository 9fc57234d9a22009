//! Forgetting: old ticks first, then old incidents, never what a restart needs.
//!
//! The unit of forgetting is what lies between two snapshots. Before it goes, its steps are copied to the archive and
//! are durable there; so a crash at any instant costs nothing and copies nothing twice.
//!
//! Not here: when this runs (the binary, once a minute, on a thread that may wait for the disk).
//! Invariant: the snapshot that recovery would begin with, and everything after it, stays.

use homeostat_model::{IncidentId, Timestamp};
use homeostat_store_wal::{Reader, Ticket};
use homeostat_wire::journal::{Entry, decode};

use crate::{
    archive::Archive,
    black_box,
    error::JournalError,
    journal::{ARCHIVE_DIR, BLACK_BOX_DIR, JOURNAL_DIR, Journal},
};

/// What one round has forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Steps copied to the archive.
    pub steps_archived: u64,
    /// Bytes freed.
    pub bytes_freed: u64,
    /// Incidents forgotten.
    pub incidents_dropped: Vec<IncidentId>,
    /// Bytes of the whole directory afterwards; above the limit when nothing more may be forgotten.
    pub bytes: u64,
}

impl Journal {
    /// Forgets what is older than the settings say or does not fit. Waits for the disk: not for control's thread.
    pub fn retain(&self, now: Timestamp) -> Result<Retained, JournalError> {
        let mut done = Retained::default();
        let (base, snapshots) = {
            let marks = self.marks_mut();
            (marks.base().map_or(0, |(seq, _)| seq), marks.snapshots.clone())
        };
        let cutoff = now - self.spec.ticks_kept;
        for (seq, at) in snapshots.into_iter().filter(|(seq, _)| *seq <= base) {
            if cutoff < at && self.bytes()? <= self.spec.bytes_max {
                break;
            }
            self.drop_before(seq, &mut done)?;
        }
        self.drop_incidents(now, &mut done)?;
        done.bytes = self.bytes()?;
        Ok(done)
    }

    /// Bytes of the whole directory.
    fn bytes(&self) -> Result<u64, JournalError> {
        let boxes: u64 = self.box_sizes()?.iter().sum();
        Ok(self.wal.health().bytes + self.archive.wal.health().bytes + boxes)
    }

    fn box_sizes(&self) -> Result<Vec<u64>, JournalError> {
        let dir = self.spec.dir.join(BLACK_BOX_DIR);
        let names =
            self.disk.list(&dir).map_err(|source| JournalError::Io { what: "list", path: dir.clone(), source })?;
        // A file that vanishes meanwhile takes no space.
        Ok(names.iter().filter_map(|name| self.disk.len(&dir.join(name)).ok()).collect())
    }

    fn drop_before(&self, seq: u64, done: &mut Retained) -> Result<(), JournalError> {
        if self.wal.segment_starts().get(1).is_none_or(|second| seq < *second) {
            return Ok(());
        }
        done.steps_archived += self.archive_before(seq)?;
        let io =
            |source| JournalError::Io { what: "remove segments of", path: self.spec.dir.join(JOURNAL_DIR), source };
        done.bytes_freed += self.wal.truncate_before(seq).map_err(io)?;
        self.marks_mut().snapshots.retain(|(kept, _)| seq <= *kept);
        Ok(())
    }

    /// Copies the steps before record `seq` that are not in the archive yet; gives how many.
    fn archive_before(&self, seq: u64) -> Result<u64, JournalError> {
        let (mut count, mut last): (u64, Option<Ticket>) = (0, None);
        let records: Reader = self.wal.read(self.archive.next_seq());
        for record in records {
            let record = record?;
            if seq <= record.seq {
                break;
            }
            let entry = decode(&record.payload).map_err(|source| JournalError::Entry { seq: record.seq, source })?;
            if !matches!(entry, Entry::Step { .. } | Entry::TickStep { .. }) {
                continue;
            }
            let queued = self.archive.push(record.seq, entry.now(), &record.payload);
            let queued = match (queued, &last) {
                // The archive's queue is full: the disk is slower than we read.
                (Err(JournalError::ArchiveFull(_)), Some(ticket)) => {
                    Archive::settle(ticket)?;
                    self.archive.push(record.seq, entry.now(), &record.payload)
                }
                (queued, _) => queued,
            };
            if let Some(ticket) = queued? {
                count += 1;
                last = Some(ticket);
            }
        }
        last.as_ref().map_or(Ok(()), Archive::settle)?;
        Ok(count)
    }

    fn drop_incidents(&self, now: Timestamp, done: &mut Retained) -> Result<(), JournalError> {
        let cutoff = now - self.spec.incidents_kept;
        // Bound first: the lock must be free again before the disk is asked.
        let expired = self.records_mut().expire(cutoff);
        for id in expired {
            self.drop_box(id, done);
        }
        self.forget_archive(cutoff, done)?;
        while self.spec.bytes_max < self.bytes()? {
            let Some(id) = self.records_mut().oldest_closed() else { break };
            self.records_mut().drop_incident(id);
            self.drop_box(id, done);
            self.forget_archive(now, done)?;
        }
        Ok(())
    }

    fn drop_box(&self, id: IncidentId, done: &mut Retained) {
        let path = self.spec.dir.join(BLACK_BOX_DIR).join(black_box::file_name(id));
        let freed = self.disk.len(&path).unwrap_or(0);
        match self.disk.remove(&path) {
            Ok(()) => done.bytes_freed += freed,
            Err(error) => tracing::warn!(path = %path.display(), %error, "an old recording cannot be removed"),
        }
        done.incidents_dropped.push(id);
    }

    fn forget_archive(&self, cutoff: Timestamp, done: &mut Retained) -> Result<(), JournalError> {
        let needed = self.records_mut().oldest_needed();
        let io =
            |source| JournalError::Io { what: "remove segments of", path: self.spec.dir.join(ARCHIVE_DIR), source };
        done.bytes_freed += self.archive.forget(cutoff, needed).map_err(io)?;
        Ok(())
    }
}

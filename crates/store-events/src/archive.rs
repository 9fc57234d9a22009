//! Steps of dropped journal segments: what incidents, actions and the audit rest on for months.
//!
//! Each record is the number of the journal's record as a varint, followed by the entry as it was. Copying goes on
//! where the archive ends, so a crash between copying and dropping copies nothing twice.
//!
//! Not here: when to copy and to drop (`retention`).
//! Invariant: numbers of journal records ascend strictly.

use std::{sync::Mutex, sync::PoisonError, time::Duration};

use homeostat_model::Timestamp;
use homeostat_store_wal::{Flush, Ticket, Wal};
use homeostat_wire::{
    journal::{Entry, decode},
    varint,
};

use crate::error::JournalError;

/// Size of an archive segment, the unit of forgetting: 4 MiB are about 4,000 steps.
pub(crate) const SEGMENT_BYTES: u64 = 4 << 20;
/// How long archiving waits for the disk before it gives up until the next time.
const WAIT: Duration = Duration::from_secs(30);
/// Records between two marks: 1,000 marks stand for a million steps.
const MARK_EVERY: u64 = 1_000;

/// The open archive.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) wal: Wal,
    index: Mutex<Index>,
}

/// Where in the archive what is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// First journal record that is not archived.
    next_seq: u64,
    marks: Vec<Mark>,
    count: u64,
}

/// A spot in the archive.
#[derive(Clone, Copy, Debug)]
struct Mark {
    archive_seq: u64,
    journal_seq: u64,
    now: Timestamp,
}

impl Index {
    /// Reads an archive record off; gives the journal's number and entry, `None` for what is there already.
    pub(crate) fn learn<'a>(&mut self, archive_seq: u64, record: &'a [u8]) -> Option<(u64, Entry<'a>)> {
        let mut body = record;
        let journal_seq = varint::take(&mut body)?;
        let entry = decode(body).ok()?;
        self.note(archive_seq, journal_seq, entry.now()).then_some((journal_seq, entry))
    }

    fn note(&mut self, archive_seq: u64, journal_seq: u64, now: Timestamp) -> bool {
        if journal_seq < self.next_seq {
            return false;
        }
        if self.count.is_multiple_of(MARK_EVERY) {
            self.marks.push(Mark { archive_seq, journal_seq, now });
        }
        self.count += 1;
        self.next_seq = journal_seq + 1;
        true
    }
}

impl Archive {
    pub(crate) fn new(wal: Wal, index: Index) -> Self {
        Self { wal, index: Mutex::new(index) }
    }

    /// First journal record that is not archived.
    pub(crate) fn next_seq(&self) -> u64 {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).next_seq
    }

    /// Queues one entry of the journal.
    pub(crate) fn push(
        &self,
        journal_seq: u64,
        now: Timestamp,
        payload: &[u8],
    ) -> Result<Option<Ticket>, JournalError> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if journal_seq < index.next_seq {
            return Ok(None);
        }
        let mut record = Vec::with_capacity(payload.len() + varint::VARINT_BYTES_MAX);
        varint::put(journal_seq, &mut record);
        record.extend_from_slice(payload);
        let ticket = self.wal.append(&record, Flush::Grouped).map_err(JournalError::ArchiveFull)?;
        index.note(ticket.seq(), journal_seq, now);
        Ok(Some(ticket))
    }

    /// Waits until an entry, and with it all before it, is durable.
    pub(crate) fn settle(ticket: &Ticket) -> Result<(), JournalError> {
        ticket.wait(WAIT).map(|_| ()).map_err(JournalError::Archive)
    }

    /// Forgets what is older than `cutoff` and not needed: nothing at or behind journal record `needed` is dropped.
    pub(crate) fn forget(&self, cutoff: Timestamp, needed: Option<u64>) -> std::io::Result<u64> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |mark: &&Mark| mark.now <= cutoff && needed.is_none_or(|needed| mark.journal_seq <= needed);
        let Some(mark) = index.marks.iter().take_while(over).last().copied() else { return Ok(0) };
        let freed = self.wal.truncate_before(mark.archive_seq)?;
        index.marks.retain(|kept| mark.archive_seq <= kept.archive_seq);
        Ok(freed)
    }
}

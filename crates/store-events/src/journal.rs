//! The open journal: control's thread appends, other threads read records.
//!
//! Appending never waits for the disk. It encodes, queues, and gives a ticket; who must not act before the record is
//! durable waits on the ticket. When the queue is full, entries go to the late list (`late`).
//!
//! Not here: the decision whether to wait (the binary), retention (`retention`).
//! Invariant: entries stand in the journal in the order of the calls; ticks are gathered, but never overtaken.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use homeostat_model::{
    ActionId, IncidentId, OutcomeDelta, Span, Timestamp,
    action::ActionRecord,
    explanation::ProfileKept,
    incident::{BlackBox, Incident},
    kernel::KernelStrip,
};
use homeostat_store_wal::{
    Commit, Disk, Flush, Full, Wal, WalHealth, WalOptions,
    segment::SEGMENT_BYTES_DEFAULT,
    wal::{QUEUE_BYTES_MAX, QUEUE_RECORDS_MAX},
};
use homeostat_wire::journal::{Recorded, TicksWriter, decode, put_snapshot_entry, put_step_entry, put_tick_step_entry};

use crate::{
    archive::{self, Archive, Index},
    audit::AuditLine,
    black_box,
    error::{JournalError, Lost},
    late::{LATE_BYTES_MAX, LateList, StepTicket, encode_tick_as_step},
    records::Records,
    recovery::{Entries, Marks, Recovery, read_snapshot},
    spec::{CommitSpec, StoreSpec},
};

/// Folder of the journal's segments within the data directory.
pub const JOURNAL_DIR: &str = "journal";
/// Folder of the archive's segments.
pub const ARCHIVE_DIR: &str = "archive";
/// Folder of the recordings.
pub const BLACK_BOX_DIR: &str = "black-boxes";

/// Ticks gather for this long at most: what `kill -9` may cost of them.
const TICKS_GATHER: Span = Span::from_secs(1);
/// Ticks gathered at most, with a bound in bytes for wide ones; both well below the codec's limits.
const TICKS_COUNT_MAX: usize = 200;
const TICKS_BYTES_MAX: usize = 60 << 10;
/// A snapshot is wanted after this many bytes: two hours of ticks of one busy service, read back in a second.
const SNAPSHOT_EVERY_BYTES: usize = 8 << 20;
/// ... or after this long: recovery replays 30 + 1 min at most, about 200,000 ticks.
const SNAPSHOT_EVERY: Span = Span::from_mins(30);
/// ... but not sooner than this after a snapshot that the log did not take.
const SNAPSHOT_RETRY: Span = Span::from_mins(1);
const _: () = assert!(LATE_BYTES_MAX <= QUEUE_BYTES_MAX / 2);
const _: () = assert!((SNAPSHOT_EVERY_BYTES as u64) < SEGMENT_BYTES_DEFAULT);

/// The open journal. Shared by reference; all methods take `&self`.
#[derive(Debug)]
pub struct Journal {
    pub(crate) wal: Wal,
    pub(crate) archive: Archive,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) spec: StoreSpec,
    front: Mutex<Front>,
    records: RwLock<Records>,
    marks: Mutex<Marks>,
}

/// What only appending touches.
#[derive(Debug, Default)]
struct Front {
    ticks: TicksWriter,
    late: LateList,
    /// Time of the last snapshot that was queued in this run.
    snapshot_at: Option<Timestamp>,
    bytes_since: usize,
    /// A gap was written: replay starts again only from a snapshot behind it.
    gap: bool,
    not_before: Option<Timestamp>,
    lost: u64,
}

/// State of the journal at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHealth {
    /// The log's own state.
    pub wal: WalHealth,
    /// Entries that wait for room in the log's queue.
    pub late: usize,
    /// Steps that could not be recorded at all since the start.
    pub lost: u64,
}

impl Journal {
    /// Opens the journal in a data directory, creating it if need be, and gives what control has to do again.
    /// Reads everything that is kept once. Changes no existing file.
    pub fn open(spec: StoreSpec, disk: Arc<dyn Disk>) -> Result<(Self, Recovery), JournalError> {
        let options =
            |segment_bytes| WalOptions { commit: commit(spec.commit), segment_bytes, ..WalOptions::default() };
        let (mut records, mut marks, mut index) = (Records::default(), Marks::default(), Index::default());
        let (archive, _) = Wal::open_visiting(
            &spec.dir.join(ARCHIVE_DIR),
            options(archive::SEGMENT_BYTES),
            Arc::clone(&disk),
            &mut |archive_seq, record| {
                if let Some((seq, entry)) = index.learn(archive_seq, record) {
                    records.learn(seq, &entry);
                }
            },
        )?;
        let archive = Archive::new(archive, index);
        let archived = archive.next_seq();
        let mut unreadable = None;
        let (wal, recovered) = Wal::open_visiting(
            &spec.dir.join(JOURNAL_DIR),
            options(SEGMENT_BYTES_DEFAULT),
            Arc::clone(&disk),
            &mut |seq, record| match decode(record) {
                Ok(entry) => {
                    marks.learn(seq, &entry);
                    if archived <= seq {
                        records.learn(seq, &entry);
                    }
                }
                Err(source) => unreadable = unreadable.take().or(Some(JournalError::Entry { seq, source })),
            },
        )?;
        if let Some(error) = unreadable {
            return Err(error);
        }
        marks.reach(recovered.next_seq);
        let base = marks.base().map(|(seq, _)| seq);
        let snapshot = base.map(|seq| read_snapshot(wal.read(seq), seq)).transpose()?.flatten();
        let from = base.map_or(recovered.first_seq, |seq| seq + 1);
        let recovery = Recovery {
            snapshot,
            entries: Entries::new(wal.read(from)),
            last: marks.last,
            torn_tail: recovered.torn_tail,
        };
        let boxes = spec.dir.join(BLACK_BOX_DIR);
        disk.make_dir(&boxes).map_err(|source| JournalError::Io { what: "create", path: boxes, source })?;
        let (front, records, marks) = (Mutex::default(), RwLock::new(records), Mutex::new(marks));
        Ok((Self { wal, archive, disk, spec, front, records, marks }, recovery))
    }

    /// Records a tick that gave no commands. Ticks gather for up to a second before they are queued.
    pub fn append_tick(&self, now: Timestamp, deltas: &[OutcomeDelta]) {
        let mut front = self.front();
        self.saw(now);
        if !front.late.is_empty() {
            front.late.push_tick(now, deltas);
            self.drain(&mut front);
            return;
        }
        if front.ticks.push(now, deltas).is_err() {
            self.flush(&mut front);
            self.queue_step(&mut front, now, encode_tick_as_step(now, deltas), Flush::Grouped).ok();
        }
        self.flush_if_due(&mut front, now);
    }

    /// Records an event with the commands it gave, both as JSON (commands as an array), behind all ticks so far.
    /// `Flush::Now` for what is waited for. `Err` when not even memory could take it: the step must not be carried
    /// out, unless it is protective.
    pub fn append_step(
        &self,
        now: Timestamp,
        event_json: &[u8],
        commands_json: &[u8],
        flush: Flush,
    ) -> Result<StepTicket, Lost> {
        let mut bytes = Vec::with_capacity(event_json.len() + commands_json.len() + 24);
        put_step_entry(now, Recorded::InTime, event_json, commands_json, &mut bytes);
        let ticket = self.append_bytes(now, bytes, flush)?;
        let seq = self.wal.next_seq().saturating_sub(1);
        self.records_mut().learn_audit(seq, now, event_json, commands_json);
        Ok(ticket)
    }

    /// Records a tick that gave commands; as [`Self::append_step`], but with the tick in its compact form.
    pub fn append_tick_step(
        &self,
        now: Timestamp,
        deltas: &[OutcomeDelta],
        commands_json: &[u8],
        flush: Flush,
    ) -> Result<StepTicket, Lost> {
        let mut bytes = Vec::with_capacity(commands_json.len() + 64);
        if put_tick_step_entry(now, Recorded::InTime, deltas, commands_json, &mut bytes).is_err() {
            let event = serde_json::json!({ "event": "tick", "deltas": deltas }).to_string();
            put_step_entry(now, Recorded::InTime, event.as_bytes(), commands_json, &mut bytes);
        }
        self.append_bytes(now, bytes, flush)
    }

    /// Records control's whole state as it is after everything appended so far, at the head of a new segment.
    pub fn append_snapshot(&self, now: Timestamp, json: &[u8]) -> Result<StepTicket, Full> {
        let mut front = self.front();
        self.flush(&mut front);
        let mut bytes = Vec::new();
        // Writing to memory does not fail; an empty state would be refused when it is read.
        put_snapshot_entry(now, &black_box::compress(json).unwrap_or_default(), &mut bytes);
        let appended = if front.late.is_empty() {
            self.wal.append_in_new_segment(&bytes, Flush::Grouped)
        } else {
            Err(Full::Queue { records: front.late.len(), bytes: 0, trouble: None })
        };
        let ticket = appended.inspect_err(|_| front.not_before = Some(now + SNAPSHOT_RETRY))?;
        self.marks_mut().snapshots.push((ticket.seq(), now));
        self.saw(now);
        *front = Front { snapshot_at: Some(now), lost: front.lost, ..Front::default() };
        Ok(StepTicket::queued(ticket))
    }

    /// Whether a snapshot should be appended now: at the start of a run, then every 8 MiB or 30 min, and after a gap.
    /// `false` while the disk does not answer, for a snapshot would only fill the queue.
    pub fn wants_snapshot(&self, now: Timestamp) -> bool {
        let front = self.front();
        let due = front.gap
            || SNAPSHOT_EVERY_BYTES <= front.bytes_since
            || front.snapshot_at.is_none_or(|at| SNAPSHOT_EVERY <= now.since(at));
        let may = front.late.is_empty() && front.not_before.is_none_or(|at| at <= now);
        due && may && self.wal.health().trouble.is_none()
    }

    /// To be called now and then (every tick is fine) when nothing is appended: queues ticks that have gathered for
    /// long enough, and late entries as far as there is room.
    pub fn tend(&self, now: Timestamp) {
        let mut front = self.front();
        self.drain(&mut front);
        self.flush_if_due(&mut front, now);
    }

    /// State of the journal now.
    pub fn health(&self) -> JournalHealth {
        let (late, lost) = {
            let front = self.front();
            (front.late.len(), front.lost)
        };
        JournalHealth { wal: self.wal.health(), late, lost }
    }

    /// Shows an incident to readers. Its step must be recorded: after a restart it is read from there.
    pub fn put_incident(&self, incident: &Incident) {
        let seq = self.wal.next_seq().saturating_sub(1);
        self.records_mut().put_incident(seq, incident.clone());
    }

    /// Shows an action to readers; as [`Self::put_incident`].
    pub fn put_action(&self, action: &ActionRecord) {
        let seq = self.wal.next_seq().saturating_sub(1);
        self.records_mut().put_action(seq, action.clone());
    }

    /// Keeps a recording, unless the one that is there covers more. Waits for the disk.
    pub fn put_black_box(&self, id: IncidentId, black_box: &BlackBox) -> Result<(), JournalError> {
        black_box::put(&*self.disk, &self.spec.dir.join(BLACK_BOX_DIR), id, black_box)
    }

    /// Keeps profiles and strips of the kernel beside an incident's recording, in place of those that are there. Waits for the
    /// disk. Whoever puts recordings must not do so at the same time.
    pub fn put_beside(
        &self,
        id: IncidentId,
        profiles: Vec<ProfileKept>,
        kernel: Vec<KernelStrip>,
    ) -> Result<(), JournalError> {
        black_box::put_beside(&*self.disk, &self.spec.dir.join(BLACK_BOX_DIR), id, profiles, kernel)
    }

    /// Incidents with lower ids than `before`, newest first.
    pub fn incidents(&self, before: Option<IncidentId>, limit: usize) -> Vec<Incident> {
        self.records().incidents(before, limit)
    }

    /// One incident.
    pub fn incident(&self, id: IncidentId) -> Option<Incident> {
        self.records().incident(id)
    }

    /// Actions of an incident, ascending.
    pub fn actions_of(&self, id: IncidentId) -> Vec<ActionRecord> {
        self.records().actions_of(id)
    }

    /// One action.
    pub fn action(&self, id: ActionId) -> Option<ActionRecord> {
        self.records().action(id)
    }

    /// The recording kept with an incident, if any. Waits for the disk.
    pub fn black_box(&self, id: IncidentId) -> Result<Option<BlackBox>, JournalError> {
        black_box::get(&*self.disk, &self.spec.dir.join(BLACK_BOX_DIR), id)
    }

    /// Whether a recording is kept with an incident. Waits for the disk.
    pub fn has_black_box(&self, id: IncidentId) -> bool {
        self.disk.len(&self.spec.dir.join(BLACK_BOX_DIR).join(black_box::file_name(id))).is_ok()
    }

    /// The newest audit lines, newest first.
    pub fn audit(&self, limit: usize) -> Vec<AuditLine> {
        self.records().audit(limit)
    }

    /// Entries from record `from` on, as far as they are durable now. Waits for the disk.
    pub fn entries(&self, from: u64) -> Entries {
        Entries::new(self.wal.read(from))
    }

    /// Writes everything that is queued and ends the journal; gives the number of records that did not reach the disk.
    pub fn close(self, timeout: Duration) -> Result<(), usize> {
        let late = {
            let mut front = self.front();
            self.drain(&mut front);
            self.flush(&mut front);
            front.late.len()
        };
        let lost = self.wal.close(timeout).err().unwrap_or(0) + late;
        self.archive.wal.close(timeout).ok();
        if lost == 0 { Ok(()) } else { Err(lost) }
    }

    fn append_bytes(&self, now: Timestamp, bytes: Vec<u8>, flush: Flush) -> Result<StepTicket, Lost> {
        let mut front = self.front();
        self.saw(now);
        self.flush(&mut front);
        self.drain(&mut front);
        self.queue_step(&mut front, now, bytes, flush)
    }

    fn queue_step(&self, front: &mut Front, now: Timestamp, bytes: Vec<u8>, flush: Flush) -> Result<StepTicket, Lost> {
        let cause = if front.late.is_empty() {
            match self.wal.append(&bytes, flush) {
                Ok(ticket) => {
                    front.bytes_since += bytes.len();
                    return Ok(StepTicket::queued(ticket));
                }
                Err(cause) => cause,
            }
        } else {
            Full::Queue { records: front.late.len(), bytes: 0, trouble: None }
        };
        let kept = front.late.push_step(now, bytes, flush);
        kept.ok_or_else(|| {
            front.lost += 1;
            Lost { cause }
        })
    }

    fn flush_if_due(&self, front: &mut Front, now: Timestamp) {
        let full = TICKS_COUNT_MAX <= front.ticks.len() || TICKS_BYTES_MAX <= front.ticks.bytes();
        if full || !front.ticks.is_empty() && TICKS_GATHER <= now.since(front.ticks.first()) {
            self.flush(front);
        }
    }

    /// Queues the gathered ticks; when the queue is full they go to the late list one by one, to be merged there.
    fn flush(&self, front: &mut Front) {
        let Some(bytes) = front.ticks.finish() else { return };
        if front.late.is_empty() && self.wal.append(&bytes, Flush::Grouped).is_ok() {
            front.bytes_since += bytes.len();
        } else if let Ok(homeostat_wire::journal::Entry::Ticks(ticks)) = decode(&bytes) {
            for tick in ticks {
                front.late.push_tick(tick.now, &tick.deltas);
            }
        }
    }

    /// Hands the late list over once the queue is half empty: then all of it fits (a compile-time fact), and one
    /// outage leaves one gap instead of one for every byte of room.
    fn drain(&self, front: &mut Front) {
        if front.late.is_empty() {
            return;
        }
        let wal = self.wal.health();
        if QUEUE_BYTES_MAX < 2 * wal.queue_bytes || QUEUE_RECORDS_MAX < 2 * wal.queue_records {
            return;
        }
        let drained = front.late.drain(&self.wal);
        front.bytes_since += drained.bytes;
        front.gap |= drained.gap;
        if drained.gap {
            self.marks_mut().last_gap = Some(self.wal.next_seq().saturating_sub(1));
        }
    }

    fn saw(&self, now: Timestamp) {
        self.marks_mut().saw(now);
    }

    // A panic elsewhere leaves plain values behind, all of them valid.
    fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn marks_mut(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> std::sync::RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn records_mut(&self) -> std::sync::RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn commit(spec: CommitSpec) -> Commit {
    match spec {
        CommitSpec::EveryRecord => Commit::EveryRecord,
        CommitSpec::Group { interval, bytes } => Commit::Group { interval: interval.into(), bytes },
    }
}

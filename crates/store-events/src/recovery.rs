//! Reading a journal back: where to begin, and entry after entry from there.
//!
//! Recovery begins with the latest snapshot that is at least [`SNAPSHOT_AGE_MIN`] older than the newest entry, so that
//! control's minute of fine-grained history is rebuilt by replaying it; with the oldest one if none is. A gap moves the
//! beginning behind it when there is a snapshot behind it, because what lies before cannot be replayed exactly. Records
//! that a repair has cut out are such a gap: their numbers are missing, and the entries say so where they would stand.
//!
//! Not here: executing what the entries say (the binary, with `control`).
//! Invariant: entries come in order of their records; a record that cannot be read ends them with an error.

use std::{
    collections::VecDeque,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use homeostat_model::{OutcomeDelta, Span, Timestamp};
use homeostat_store_wal::{Damage, Disk, Reader, Survey, TornTail, survey};
use homeostat_wire::journal::{Entry, Recorded, Tick, decode};

use crate::{black_box::decompress, error::JournalError};

/// Control keeps 60 s at tick resolution; a younger snapshot would do too, but the black box would begin empty.
pub const SNAPSHOT_AGE_MIN: Span = Span::from_secs(60);
/// Bytes of a snapshot's JSON at most: what 64 MiB of LZ4 can hold of such JSON (a tenth), with room to spare.
pub const SNAPSHOT_JSON_BYTES_MAX: u64 = 1 << 30;

/// What a journal gives back after a restart.
#[derive(Debug)]
pub struct Recovery {
    /// State to begin with; `None` for an empty journal, or one whose run ended before its first snapshot.
    pub snapshot: Option<RecoveredSnapshot>,
    /// Everything after the snapshot, or everything there is.
    pub entries: Entries,
    /// Time of the newest entry; `None` for an empty journal.
    pub last: Option<Timestamp>,
    /// What the last run left unfinished: never acknowledged, ignored.
    pub torn_tail: Option<TornTail>,
}

/// A snapshot of control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredSnapshot {
    /// Number of its record.
    pub seq: u64,
    /// Control's `now` when it was taken.
    pub now: Timestamp,
    /// The state.
    pub json: Vec<u8>,
}

/// One thing that control was told, or one state of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedEntry {
    /// Number of the record; ticks of one record share it.
    pub seq: u64,
    /// Control's `now`.
    pub now: Timestamp,
    /// What.
    pub body: Body,
}

/// What an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A tick and the commands it gave.
    Tick {
        /// Changed cells, ascending.
        deltas: Vec<OutcomeDelta>,
        /// The commands as a JSON array; `[]` for most.
        commands: Vec<u8>,
    },
    /// Another event and the commands it gave.
    Step {
        /// The event as JSON.
        event: Vec<u8>,
        /// The commands as a JSON array.
        commands: Vec<u8>,
        /// Whether it was recorded after it took effect.
        recorded: Recorded,
    },
    /// Control's state at this point, compressed; see [`DecodedEntry::snapshot_json`].
    Snapshot(Vec<u8>),
    /// What follows up to the next snapshot is not exact.
    Gap {
        /// Time of the oldest missing or merged entry.
        from: Timestamp,
        /// Ticks merged with others.
        ticks_merged: u64,
        /// Steps lost.
        steps_lost: u64,
    },
    /// Records that a repair of the log has cut out: what follows up to the next snapshot is not exact. Stands in no
    /// record of its own; its number is that of the first one missing.
    Missing {
        /// How many at most: behind a damaged end only bytes can be counted.
        records: u64,
    },
}

impl DecodedEntry {
    /// The state in a snapshot; `None` for other entries.
    pub fn snapshot_json(&self) -> Option<Result<Vec<u8>, JournalError>> {
        let Body::Snapshot(state) = &self.body else { return None };
        Some(unpack(self.seq, state))
    }
}

fn unpack(seq: u64, state: &[u8]) -> Result<Vec<u8>, JournalError> {
    decompress(state, SNAPSHOT_JSON_BYTES_MAX).map_err(|reason| JournalError::Snapshot { seq, reason })
}

/// Entries in order. After an error it ends.
#[derive(Debug)]
pub struct Entries {
    records: Option<Reader>,
    /// Numbers that have not been seen yet.
    expected: Range<u64>,
    last: Timestamp,
    ready: VecDeque<DecodedEntry>,
}

impl Entries {
    pub(crate) fn new(records: Reader) -> Self {
        let expected = records.numbers();
        Self { records: Some(records), expected, last: Timestamp::MIN, ready: VecDeque::new() }
    }

    /// Notes where the numbers jump.
    fn reach(&mut self, seq: u64, now: Timestamp) {
        let records = seq.saturating_sub(self.expected.start);
        if records > 0 {
            self.ready.push_back(DecodedEntry { seq: self.expected.start, now, body: Body::Missing { records } });
        }
        self.expected.start = seq.saturating_add(1);
    }

    fn take_record(&mut self, seq: u64, payload: &[u8]) -> Result<(), JournalError> {
        let entry = decode(payload).map_err(|source| JournalError::Entry { seq, source })?;
        let now = entry.now();
        self.reach(seq, now);
        self.last = self.last.max(now);
        let body = match entry {
            Entry::Ticks(ticks) => {
                let decoded = |Tick { now, deltas }| DecodedEntry {
                    seq,
                    now,
                    body: Body::Tick { deltas, commands: b"[]".to_vec() },
                };
                self.ready.extend(ticks.into_iter().map(decoded));
                return Ok(());
            }
            Entry::TickStep { tick, commands, .. } => Body::Tick { deltas: tick.deltas, commands: commands.to_vec() },
            Entry::Step { event, commands, recorded, .. } => {
                Body::Step { event: event.to_vec(), commands: commands.to_vec(), recorded }
            }
            Entry::Snapshot { state, .. } => Body::Snapshot(state.to_vec()),
            Entry::Gap { from, ticks_merged, steps_lost, .. } => Body::Gap { from, ticks_merged, steps_lost },
        };
        self.ready.push_back(DecodedEntry { seq, now, body });
        Ok(())
    }
}

impl Iterator for Entries {
    type Item = Result<DecodedEntry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            let Some(next) = self.records.as_mut()?.next() else {
                self.records = None;
                self.reach(self.expected.end, self.last);
                break;
            };
            let taken = match next {
                Ok(record) => self.take_record(record.seq, &record.payload),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = taken {
                self.records = None;
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// Where snapshots and gaps stand, gathered while a journal is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// Number and time of each snapshot, ascending.
    pub(crate) snapshots: Vec<(u64, Timestamp)>,
    /// The newest number at which replay is not exact: of a gap entry, or of a record that a repair has cut out.
    pub(crate) last_gap: Option<u64>,
    pub(crate) last: Option<Timestamp>,
    /// Number that the next record must have; `None` before the first.
    next_seq: Option<u64>,
}

impl Marks {
    pub(crate) fn learn(&mut self, seq: u64, entry: &Entry<'_>) {
        self.reach(seq);
        self.next_seq = Some(seq.saturating_add(1));
        match entry {
            Entry::Snapshot { now, .. } => self.snapshots.push((seq, *now)),
            Entry::Gap { .. } => self.last_gap = Some(seq),
            _ => {}
        }
        self.saw(entry.now());
    }

    /// Notes where the numbers jump; to be called with the next record's number once all are learnt.
    pub(crate) fn reach(&mut self, seq: u64) {
        if self.next_seq.is_some_and(|next| next < seq) {
            self.last_gap = Some(seq.saturating_sub(1));
        }
    }

    pub(crate) fn saw(&mut self, now: Timestamp) {
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
    }

    /// The snapshot that recovery begins with.
    pub(crate) fn base(&self) -> Option<(u64, Timestamp)> {
        let newest = self.last.unwrap_or(Timestamp::MIN) - SNAPSHOT_AGE_MIN;
        let old_enough = self.snapshots.iter().rev().find(|(_, now)| *now <= newest);
        let base = old_enough.or(self.snapshots.first()).copied();
        let gap = self.last_gap.filter(|gap| base.is_none_or(|(seq, _)| seq < *gap));
        let behind = gap.and_then(|gap| self.snapshots.iter().find(|(seq, _)| gap < *seq)).copied();
        behind.or(base)
    }
}

/// Reads the snapshot in record `seq`, which `records` begins with.
pub(crate) fn read_snapshot(records: Reader, seq: u64) -> Result<Option<RecoveredSnapshot>, JournalError> {
    let Some(entry) = Entries::new(records).next().transpose()?.filter(|entry| entry.seq == seq) else {
        return Ok(None);
    };
    let json = entry.snapshot_json().transpose()?;
    Ok(json.map(|json| RecoveredSnapshot { seq, now: entry.now, json }))
}

/// A journal that is only looked at: for tools, while nobody or somebody else has it open.
#[derive(Debug)]
pub struct JournalFiles {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    survey: Survey,
}

impl JournalFiles {
    /// Looks at the journal of a data directory, or at a directory that holds the segments themselves.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, JournalError> {
        let within = dir.join(crate::journal::JOURNAL_DIR);
        let has_files = disk.list(&within).is_ok_and(|names| !names.is_empty());
        let dir = if has_files { within } else { dir.to_owned() };
        let survey = survey(&*disk, &dir, &mut |_, _| {})?;
        Ok(Self { disk, dir, survey })
    }

    /// Directory of the segments.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Damage to acknowledged records; entries end with an error where it stands.
    pub fn damage(&self) -> &[Damage] {
        &self.survey.damage
    }

    /// Number of the first record that is kept.
    pub fn first_seq(&self) -> u64 {
        self.survey.first_seq()
    }

    /// Entries from record `from` on.
    pub fn entries(&self, from: u64) -> Entries {
        Entries::new(Reader::over(Arc::clone(&self.disk), &self.dir, &self.survey, from))
    }
}

//! What was handed over and is not delivered yet, on disk; and which keys have ended, so that a second handing over
//! does no harm.
//!
//! The outbox is a log of small records. When it has grown, a snapshot of everything alive begins a new segment and the
//! older ones are forgotten. Nothing waits for the disk: a notice leaves at once, and if power fails before its record
//! is durable, the journal hands the notice over again. A record that the log has no room for is made up for by a
//! snapshot as soon as that fits; until then the outbox is not whole, and says so.
//!
//! Keys are remembered for a while of the time that the process runs: what the journal hands over again after a long
//! absence is from before it, and so are the keys.
//!
//! Not here: what records add up to (`outbox_log`), bytes and fsync (`homeostat-store-wal`), order and rate (`lane`).
//! Invariant: replaying the log gives the notices that have not ended, in the order in which they were taken.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use homeostat_model::{Span, Timestamp, notice::Notice};
use homeostat_store_wal::{Disk, Flush, Ticket, Wal, WalOptions};
use tokio::time::Instant;

use crate::{
    aside,
    limits::{AWAY_WRITTEN_FROM, BACKOFF_FIRST, BACKOFF_MAX, COMPACT_RECORDS},
    notify::OpenError,
    outbox_log::{Kept, Known, Record, Replay, Seen},
};

/// The log with what it says.
pub(crate) struct Outbox {
    wal: Arc<Wal>,
    /// Records since the last snapshot.
    records: u64,
    /// Number of a snapshot that older segments wait for.
    snapshot: Option<u64>,
    known: Known,
    /// The newest record on its way.
    pub(crate) newest: Option<Ticket>,
    /// Records that the log could not take, since the start.
    pub(crate) unlogged: u64,
    /// What the log lacks, until a snapshot tells it.
    missing: Option<Missing>,
    /// Where the log is that was here and was damaged.
    pub(crate) set_aside: Option<PathBuf>,
}

/// The log lacks records.
#[derive(Clone, Copy, Debug)]
struct Missing {
    /// When a snapshot is tried, and how long to wait when that does not fit either.
    retry_at: Instant,
    then: Duration,
}

/// What to do about a log that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damaged {
    /// Tell, and change nothing.
    Refuse,
    /// Begin another one.
    SetAside,
}

/// Whether the log itself is at fault, not the system or another process.
fn is_damage(error: &OpenError) -> bool {
    matches!(error, OpenError::Log(homeostat_store_wal::OpenError::Damaged { .. }) | OpenError::Record { .. })
}

impl Outbox {
    /// Opens the log and gives what has not ended, in order.
    pub(crate) fn open(
        dir: &Path,
        disk: Arc<dyn Disk>,
        log: WalOptions,
        now: Timestamp,
        damaged: Damaged,
    ) -> Result<(Self, Vec<Kept>), OpenError> {
        let error = match Self::open_intact(dir, Arc::clone(&disk), log, now) {
            Err(error) if damaged == Damaged::SetAside && is_damage(&error) => error,
            answer => return answer,
        };
        let aside = aside::set_aside(dir, &*disk).map_err(|source| OpenError::Aside { dir: dir.to_owned(), source })?;
        tracing::error!(
            error = &error as &dyn std::error::Error,
            aside = %aside.display(),
            "the outbox of notifications is damaged and was set aside; what waited in it is not delivered"
        );
        let (mut outbox, kept) = Self::open_intact(dir, disk, log, now)?;
        outbox.set_aside = Some(aside);
        Ok((outbox, kept))
    }

    fn open_intact(
        dir: &Path,
        disk: Arc<dyn Disk>,
        log: WalOptions,
        now: Timestamp,
    ) -> Result<(Self, Vec<Kept>), OpenError> {
        let mut state = Replay::default();
        let (wal, _) = Wal::open_visiting(dir, log, disk, &mut |seq, payload| state.visit(seq, payload))?;
        if let Some((seq, error)) = state.unreadable {
            return Err(OpenError::Record { seq, problem: error });
        }
        let mut known = state.known;
        let away = state.last.map_or(Span::ZERO, |last| now.since(last));
        known.skip(away);
        known.expire(now);
        // A long absence is written down soon: another start must not count it again.
        let records = if AWAY_WRITTEN_FROM < away { COMPACT_RECORDS } else { state.records };
        known.keys.extend(state.kept.iter().map(|kept| (kept.notice.receiver.clone(), kept.notice.key.clone())));
        let wal = Arc::new(wal);
        let this =
            Self { wal, records, snapshot: None, known, newest: None, unlogged: 0, missing: None, set_aside: None };
        Ok((this, state.kept))
    }

    /// Takes a notice; `false` when its key was handed over before.
    pub(crate) fn take(&mut self, notice: &Notice, now: Timestamp) -> bool {
        if !self.known.keys.insert((notice.receiver.clone(), notice.key.clone())) {
            return false;
        }
        self.write(&Record::Taken { notice: notice.clone(), at: now });
        true
    }

    /// A first attempt failed.
    pub(crate) fn failing(&mut self, notice: &Notice, now: Timestamp) {
        self.write(&Record::Failing { receiver: notice.receiver.clone(), key: notice.key.clone(), at: now });
    }

    /// A notice ended, whichever way.
    pub(crate) fn end(&mut self, notice: &Notice, now: Timestamp) {
        let (receiver, key) = (notice.receiver.clone(), notice.key.clone());
        self.write(&Record::Ended { receiver: receiver.clone(), key: key.clone(), at: now });
        self.known.end(Seen { receiver, key, at: now });
        self.known.expire(now);
    }

    /// Whether the log has been told everything.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_none()
    }

    /// When a snapshot is to make up for what the log lacks; `None` when it lacks nothing.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.missing.map(|missing| missing.retry_at)
    }

    /// Whether enough has been written that a snapshot pays, or it is time to make up for what is missing.
    pub(crate) fn wants_snapshot(&self, now: Instant) -> bool {
        let pays = self.snapshot.is_none() && COMPACT_RECORDS <= self.records;
        match self.missing {
            None => pays,
            Some(missing) => missing.retry_at <= now,
        }
    }

    /// Begins anew with everything alive.
    pub(crate) fn write_snapshot(&mut self, kept: Vec<Kept>, now: Instant) {
        let record = Record::Snapshot { kept, seen: self.known.ended.iter().cloned().collect() };
        let Ok(payload) = serde_json::to_vec(&record) else { return };
        // A refusal leaves the old segments; without anything missing, the next attempt comes with the next batch of
        // records.
        self.records = 0;
        match self.wal.append_in_new_segment(&payload, Flush::Grouped) {
            Ok(ticket) => {
                (self.snapshot, self.missing) = (Some(ticket.seq()), None);
                self.newest = Some(ticket);
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox could not be compacted");
                if let Some(missing) = &mut self.missing {
                    let then = (2 * missing.then).min(BACKOFF_MAX);
                    *missing = Missing { retry_at: now + then, then };
                }
            }
        }
    }

    /// Forgets older segments once a snapshot is durable. The file system may take its time, so it happens elsewhere.
    pub(crate) fn forget_old(&mut self) {
        let durable = self.wal.health().durable_next;
        let Some(seq) = self.snapshot.filter(|seq| *seq < durable) else { return };
        self.snapshot = None;
        let wal = Arc::clone(&self.wal);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = wal.truncate_before(seq) {
                tracing::warn!(%error, "old segments of the outbox could not be removed");
            }
        });
    }

    /// Waits until everything is on disk, `timeout` at most; says whether it is.
    pub(crate) async fn close(self, timeout: Duration) -> bool {
        let closed = tokio::task::spawn_blocking(move || match Arc::try_unwrap(self.wal) {
            Ok(wal) => wal.close(timeout).map(|()| true),
            // Old segments are being removed this moment; dropping the last reference closes the log as well.
            Err(_) => Ok(false),
        });
        match closed.await {
            Ok(Ok(is_durable)) => is_durable,
            Ok(Err(records)) => {
                tracing::warn!(
                    records,
                    "the outbox did not reach the disk in time; what it held may be delivered again"
                );
                false
            }
            Err(_) => false,
        }
    }

    fn write(&mut self, record: &Record) {
        let written =
            serde_json::to_vec(record).ok().and_then(|payload| self.wal.append(&payload, Flush::Grouped).ok());
        self.records += 1;
        if let Some(ticket) = written {
            self.newest = Some(ticket);
        } else {
            self.unlogged += 1;
            let first = || Missing { retry_at: Instant::now() + BACKOFF_FIRST, then: BACKOFF_FIRST };
            self.missing.get_or_insert_with(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::notice::NoticeStatus;
    use homeostat_store_wal::sim_disk::SimDisk;

    use super::*;
    use crate::limits::SEEN_RETENTION;
    use crate::message::tests::notice;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_750_000_000_000);
    const DIR: &str = "/outbox";

    fn open(disk: &Arc<SimDisk>, now: Timestamp) -> (Outbox, Vec<Kept>) {
        let disk = Arc::clone(disk) as Arc<dyn Disk>;
        Outbox::open(Path::new(DIR), disk, WalOptions::default(), now, Damaged::Refuse).unwrap()
    }

    fn keys(kept: &[Kept]) -> Vec<&str> {
        kept.iter().map(|kept| kept.notice.key.as_str()).collect()
    }

    fn one(key: &str) -> Notice {
        notice(key, NoticeStatus::Firing, ("version", "v2"))
    }

    #[tokio::test]
    async fn what_has_not_ended_comes_back_and_what_has_is_known() {
        let disk = Arc::new(SimDisk::default());
        let (mut outbox, kept) = open(&disk, NOW);
        assert!(kept.is_empty());
        for key in ["a", "b", "c"] {
            assert!(outbox.take(&one(key), NOW));
        }
        assert!(!outbox.take(&one("a"), NOW), "handed over before");
        outbox.end(&one("b"), NOW);
        outbox.failing(&one("c"), NOW);
        outbox.close(Duration::from_mins(1)).await;

        let (mut outbox, kept) = open(&disk, NOW);
        assert_eq!(keys(&kept), ["a", "c"]);
        assert_eq!(kept.iter().map(|kept| kept.failing_since).collect::<Vec<_>>(), [None, Some(NOW)]);
        assert!(!outbox.take(&one("b"), NOW), "ended before the restart");
        outbox.close(Duration::from_mins(1)).await;
    }

    #[tokio::test]
    async fn keys_grow_old_only_while_the_process_runs() {
        let disk = Arc::new(SimDisk::default());
        let (mut outbox, _) = open(&disk, NOW);
        outbox.take(&one("a"), NOW);
        outbox.end(&one("a"), NOW);
        outbox.close(Duration::from_mins(1)).await;

        let retention: Span = SEEN_RETENTION.into();
        let monday = NOW + retention + retention + retention;
        let (mut outbox, _) = open(&disk, monday);
        assert!(!outbox.take(&one("a"), monday), "the journal hands over again what was before the weekend");
        outbox.take(&one("b"), monday);
        outbox.end(&one("b"), monday);
        assert!(!outbox.take(&one("a"), monday), "also after the first delivery");
        let tuesday = monday + retention + Span::from_secs(1);
        outbox.take(&one("c"), tuesday);
        outbox.end(&one("c"), tuesday);
        assert!(outbox.take(&one("a"), tuesday), "forgotten after the retention");
        outbox.close(Duration::from_mins(1)).await;
    }

    #[tokio::test]
    async fn a_snapshot_replaces_all_records_before_it() {
        let disk = Arc::new(SimDisk::default());
        let (mut outbox, _) = open(&disk, NOW);
        for n in 0..COMPACT_RECORDS / 2 {
            let notice = one(&n.to_string());
            outbox.take(&notice, NOW);
            outbox.end(&notice, NOW);
        }
        outbox.take(&one("alive"), NOW);
        let now = Instant::now();
        assert!(outbox.wants_snapshot(now));
        outbox.write_snapshot(vec![Kept { notice: one("alive"), taken_at: NOW, failing_since: None }], now);
        assert!(!outbox.wants_snapshot(now));
        outbox.take(&one("after"), NOW);
        outbox.close(Duration::from_mins(1)).await;
        let (mut outbox, kept) = open(&disk, NOW);
        assert_eq!((keys(&kept), outbox.records), (vec!["alive", "after"], 1));
        assert!(!outbox.take(&one("7"), NOW));
    }
}

//! What the rest of the process says about its journal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use homeostat_model::Span;
use homeostat_store_events::Journal;
use homeostat_wire::exposition::{Exposition, FamilyKind};

use super::{clock::Clock, stop::join_within};

/// A write that the disk has not answered for this long is trouble; group commits take milliseconds.
const SLOW_MIN: Duration = Duration::from_secs(1);

/// How often old entries are looked for.
const RETAIN_EVERY: Duration = Duration::from_mins(1);

/// How long stopping waits for a round of it.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// What is wrong with the journal now, if anything is.
pub(super) fn trouble(journal: &Journal) -> Option<String> {
    let health = journal.health();
    if let Some(trouble) = health.wal.trouble {
        let since = Span::from_secs(trouble.since.elapsed().as_secs());
        return Some(format!(
            "the disk refuses records since {since}: {}; effects wait, protective shifts go ahead",
            trouble.error
        ));
    }
    let slow = health.wal.writing_for.filter(|slow| *slow >= SLOW_MIN)?;
    Some(format!(
        "the disk has not answered for {}; effects wait, protective shifts go ahead",
        Span::from_secs(slow.as_secs())
    ))
}

/// Counters of the journal.
pub(super) fn metrics(out: &mut Exposition<'_>, journal: &Journal) {
    let health = journal.health();
    let gauges = [
        ("homeostat_journal_bytes", "Bytes of the journal's segments.", health.wal.bytes),
        ("homeostat_journal_queue_records", "Records that wait for the disk.", health.wal.queue_records as u64),
        ("homeostat_journal_queue_bytes", "Bytes that wait for the disk.", health.wal.queue_bytes as u64),
        ("homeostat_journal_late_entries", "Entries that wait for room in the queue.", health.late as u64),
        ("homeostat_journal_failing", "1 while the disk refuses records.", u64::from(health.wal.trouble.is_some())),
    ];
    for (name, help, value) in gauges {
        out.family(name, FamilyKind::Gauge, help).count(&[], value);
    }
    out.family("homeostat_journal_lost_total", FamilyKind::Counter, "Steps that could not be recorded at all.")
        .count(&[], health.lost);
}

/// The thread that forgets what is old: it waits for the disk, so nothing else may.
#[derive(Debug)]
pub(super) struct Retention {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Retention {
    /// Starts it.
    pub(super) fn start(journal: Arc<Journal>, clock: Clock) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("retention".to_owned()).spawn(move || {
            let mut due = Instant::now() + RETAIN_EVERY;
            while !stopped.load(Ordering::Relaxed) {
                thread::park_timeout(due.saturating_duration_since(Instant::now()));
                if Instant::now() >= due {
                    due = Instant::now() + RETAIN_EVERY;
                    forget(&journal, clock);
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it after the round that may be under way.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        match join_within(self.thread, STOP_WAIT) {
            Some(Ok(())) => {}
            Some(Err(_)) => tracing::error!("retention had ended by a panic"),
            None => tracing::warn!("retention waits for a disk that does not answer and is left behind"),
        }
    }
}

fn forget(journal: &Journal, clock: Clock) {
    match journal.retain(clock.now()) {
        Ok(done) if done.bytes_freed > 0 => {
            tracing::info!(bytes = done.bytes_freed, archived = done.steps_archived, "forgot old ticks");
        }
        Ok(_) => {}
        Err(problem) => tracing::warn!(%problem, "cannot forget old entries; they are tried again"),
    }
}

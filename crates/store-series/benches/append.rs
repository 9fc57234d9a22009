//! How long an append takes until it is in memory, and how long until it is on disk: two different things, printed apart.
//!
//! `./dev bench store-series` runs it beside the fleet. A batch is one target's scrape of 200 series, in the log a
//! kilobyte. In memory: the log alone (what a record's way into its queue costs), and the whole store (labels looked up,
//! samples placed, record made). On disk: the log's group commit with `fdatasync`, for one client after the other and for
//! eight at once; `TMPDIR` says on which disk.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use homeostat_store_series::{AppendError, Batch, SeriesStore, StoreOptions};
use homeostat_store_wal::{Flush, Full, RealDisk, Wal, WalOptions};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Series of one batch: a target's scrape.
const SERIES: usize = 200;
/// Appends of each measurement in memory.
const APPENDS: usize = 50_000;
/// Appends of each measurement that waits for the disk.
const DURABLE_APPENDS: usize = 800;
const CLIENTS: usize = 8;
const PATIENCE: Duration = Duration::from_mins(2);
/// What an append to the log may take in memory, at the 99th percentile.
const LOG_P99_TARGET: Duration = Duration::from_micros(83);

fn main() -> Result<(), Failure> {
    let p99 = log_in_memory()?;
    let verdict = if p99 <= LOG_P99_TARGET { "met" } else { "MISSED" };
    println!("  target of the 99th percentile: {LOG_P99_TARGET:?}, {verdict}");
    for starts in [Starts::Unknown, Starts::OfProcess, Starts::OfEach] {
        store_in_memory(starts)?;
    }
    durable(1)?;
    durable(CLIENTS)
}

/// Prints the spread of some durations; gives the 99th percentile.
fn spread(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let rank = |share: f64| times.get((share * times.len() as f64) as usize).copied().unwrap_or_default();
    let most = times.last().copied().unwrap_or_default();
    let (p50, p99, p999) = (rank(0.5), rank(0.99), rank(0.999));
    println!("{what:<44} p50 {p50:>9.1?}  p99 {p99:>9.1?}  p99.9 {p999:>9.1?}  max {most:>9.1?}");
    p99
}

/// A record's way into the log's queue, while the log's thread writes what came before.
fn log_in_memory() -> Result<Duration, Failure> {
    let folder = tempfile::tempdir()?;
    let (wal, _) = Wal::open(folder.path(), WalOptions::default(), std::sync::Arc::new(RealDisk))?;
    let record = vec![7; 1200];
    let mut times = Vec::with_capacity(APPENDS);
    let mut latest = None;
    while times.len() < APPENDS {
        let began = Instant::now();
        match wal.append(&record, Flush::Grouped) {
            Ok(ticket) => {
                times.push(began.elapsed());
                latest = Some(ticket);
            }
            // Faster than the disk: a refusal is no append.
            Err(Full::Queue { .. }) => wait(latest.as_ref())?,
            Err(other) => return Err(other.into()),
        }
    }
    wait(latest.as_ref())?;
    Ok(spread("in memory: a record of 1,200 bytes, log alone", times))
}

fn wait(ticket: Option<&homeostat_store_wal::Ticket>) -> Result<(), Failure> {
    if let Some(ticket) = ticket {
        let _durable = ticket.wait(PATIENCE)?;
    }
    Ok(())
}

/// One target's labels.
fn labels(target: usize) -> Vec<[(&'static str, String); 4]> {
    let one = |at: usize| {
        [
            ("__name__", format!("metric_{}_total", at / 10)),
            ("instance", format!("10.0.{}.{}:9100", target / 256, target % 256)),
            ("job", format!("job-{}", target % 20)),
            ("kind", format!("kind-{}", at % 10)),
        ]
    };
    (0..SERIES).map(one).collect()
}

/// Since when samples say that they count.
#[derive(Clone, Copy)]
enum Starts {
    /// They do not say.
    Unknown,
    /// Since their process began.
    OfProcess,
    /// Since the sample before, as those of senders of differences.
    OfEach,
}

impl Starts {
    fn of(self, t_ms: i64) -> i64 {
        match self {
            Self::Unknown => 0,
            Self::OfProcess => 1,
            Self::OfEach => t_ms - 15_000,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Unknown => "no starts",
            Self::OfProcess => "one start",
            Self::OfEach => "a start each",
        }
    }
}

fn fill(batch: &mut Batch, labels: &[[(&'static str, String); 4]], t_ms: i64, starts: Starts) -> Result<(), Failure> {
    batch.clear();
    for (at, labels) in labels.iter().enumerate() {
        let value = (t_ms / 1000 * at as i64) as f64;
        let series = batch.series(labels.iter().map(|(name, value)| (*name, value.as_str())))?;
        series.float_since(t_ms, value, starts.of(t_ms));
    }
    Ok(())
}

/// A batch's way through the whole store, for targets that are known.
fn store_in_memory(starts: Starts) -> Result<(), Failure> {
    const TARGETS: usize = 100;
    let folder = tempfile::tempdir()?;
    let (store, _) = SeriesStore::open(folder.path(), StoreOptions::default())?;
    let fleet: Vec<_> = (0..TARGETS).map(labels).collect();
    let (mut batch, mut times, mut ticket) = (Batch::default(), Vec::new(), None);
    for round in 0..APPENDS / TARGETS / 5 {
        for target in &fleet {
            fill(&mut batch, target, (1 + round as i64) * 15_000, starts)?;
            loop {
                let began = Instant::now();
                match store.append(&mut batch) {
                    Ok(report) => {
                        // In the first round series are created.
                        if round > 0 {
                            times.push(began.elapsed());
                        }
                        ticket = Some(report.ticket);
                        break;
                    }
                    Err(AppendError::Busy { .. }) => {
                        if let Some(ticket) = &ticket {
                            ticket.wait(PATIENCE)?;
                        }
                    }
                    Err(closed) => return Err(closed.into()),
                }
            }
        }
    }
    if let Some(ticket) = &ticket {
        ticket.wait(PATIENCE)?;
    }
    spread(&format!("in memory: 200 series, whole store, {}", starts.words()), times);
    Ok(())
}

/// From an append until it is on disk.
fn durable(clients: usize) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let (store, _) = SeriesStore::open(folder.path(), StoreOptions::default())?;
    let times = Mutex::new(Vec::new());
    let client = |at: usize| -> Result<(), Failure> {
        let (mut batch, mut own) = (Batch::default(), Vec::new());
        let labels = labels(at);
        for round in 0..DURABLE_APPENDS / clients {
            fill(&mut batch, &labels, (1 + round as i64) * 15_000, Starts::Unknown)?;
            let began = Instant::now();
            store.append(&mut batch)?.ticket.wait(PATIENCE)?;
            own.push(began.elapsed());
        }
        times.lock().map_err(|_| "a client has failed")?.append(&mut own);
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|at| scope.spawn(move || (client)(at))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a client has failed")?)
    })?;
    let times = times.into_inner().map_err(|_| "a client has failed")?;
    let options = StoreOptions::default();
    let what = format!("on disk: {clients} at once, commits of {:?} at most", options.commit_interval);
    spread(&what, times);
    Ok(())
}

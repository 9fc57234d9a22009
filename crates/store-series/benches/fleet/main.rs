//! A realistic fleet into the store and out of it again: what a sample costs in time, memory and space.
//!
//! `cargo bench -p homeostat-store-series [-- SERIES [SCRAPES [INTERVAL_S]]]` prints CPU time of appending, flushing,
//! merging and reading per sample, allocations per sample, bytes per sample in the log and in blocks, and the time of the
//! dashboards of `./dev bench series` without HTTP, over the head and over a merged block. CPU time comes
//! from the kernel's own count of this thread (of the process for what runs in threads), so that a busy machine does
//! not spoil it.
//!
//! A target has 200 series: request counters, a latency histogram with classic buckets that really are cumulative, CPU
//! counters with fractions, gauges that walk, and settings that hardly ever change. One target in a hundred is replaced
//! each minute.
#![expect(unsafe_code, reason = "counting allocations takes an allocator, which is an unsafe trait")]
#![expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]

mod dashboards;
mod generator;
mod history;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use homeostat_promql::{Matcher, MatcherOp, Select, SeriesSource};
use homeostat_store_series::{Batch, SeriesStore, StoreOptions};
use rustix::time::{ClockId, clock_gettime};

use self::generator::{Fleet, SERIES_PER_TARGET};

type Failure = Box<dyn std::error::Error>;

/// Series of one batch: what a Prometheus sends in one request.
const BATCH_SERIES: usize = 2_000;
const PATIENCE: Duration = Duration::from_mins(2);

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator as it came; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; `at` came from `alloc` here, that is from the system.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() -> Result<(), Failure> {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let at = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (series, scrapes, interval_s) = (at(0, 100_000) as usize, at(1, 120), at(2, 15));
    let folder = tempfile::tempdir()?;
    // Flushes and merges happen when they are asked for, so that each is measured by itself.
    let options = StoreOptions {
        head_bytes: 1 << 30,
        log_bytes: 1 << 40,
        queue_bytes_max: 256 << 20,
        retention: None,
        ..StoreOptions::default()
    };
    let (store, _) = SeriesStore::open(folder.path(), options.clone())?;
    let mut fleet = Fleet::new(series, interval_s as f64);
    println!("{series} series, {scrapes} scrapes, every {interval_s} s");
    let samples = fill(&store, &mut fleet, scrapes, interval_s)?;
    println!("resident {:.0} MiB", resident_mib());
    let range = (0, (scrapes * interval_s * 1000) as i64);
    queries(&store, "head", range)?;
    dashboards::all(&store, "head", range)?;
    measured("flush", samples, || Ok(store.flush()?))?;
    println!("  block {:.3} bytes a sample", folder_bytes(folder.path(), "block") as f64 / samples as f64);
    queries(&store, "block", range)?;
    measured("merge", samples, || Ok(store.compact_fully()?))?;
    dashboards::all(&store, "block", range)?;
    let stats = store.stats();
    println!(
        "  blocks {} with {} series, {:.3} bytes a sample; resident {:.0} MiB",
        stats.blocks,
        stats.block_series,
        stats.block_bytes as f64 / samples as f64,
        resident_mib()
    );
    store.close(PATIENCE).map_err(|lost| format!("{lost} records did not reach the disk"))?;
    drop(store);
    let began = (Instant::now(), process_ns());
    let (store, recovery) = SeriesStore::open(folder.path(), options)?;
    println!(
        "start {:.0} ms, {:.0} ms of CPU: {} samples in blocks, {} in memory",
        began.0.elapsed().as_secs_f64() * 1e3,
        (process_ns() - began.1) as f64 / 1e6,
        recovery.block_samples,
        recovery.samples
    );
    drop(store);
    history::all()
}

/// Appends all scrapes, prints what a sample costs, and gives the number of samples.
fn fill(store: &SeriesStore, fleet: &mut Fleet, scrapes: u64, interval_s: u64) -> Result<u64, Failure> {
    let mut batch = Batch::default();
    let (mut samples, mut steady, mut cpu, mut allocations) = (0_u64, 0_u64, 0_u64, 0_u64);
    let (mut first_cpu, process) = (0, process_ns());
    let mut ticket = None;
    let mut filling = 0;
    for scrape in 0..scrapes {
        let t_ms = (scrape * interval_s * 1000) as i64;
        fleet.step();
        let per_batch = (BATCH_SERIES / SERIES_PER_TARGET).max(1);
        for targets in fleet.targets.chunks(per_batch) {
            let began = thread_ns();
            batch.clear();
            for target in targets {
                target.scrape(&fleet.templates, &mut batch, t_ms)?;
            }
            filling += thread_ns() - began;
            let (began, allocated) = (thread_ns(), ALLOCATIONS.load(Ordering::Relaxed));
            let report = store.append(&mut batch)?;
            let took = thread_ns() - began;
            assert!(report.rejected.is_empty(), "{:?}", report.rejected);
            samples += report.accepted.floats;
            if scrape == 0 {
                first_cpu += took;
            } else {
                steady += report.accepted.floats;
                cpu += took;
                allocations += ALLOCATIONS.load(Ordering::Relaxed) - allocated;
            }
            ticket = Some(report.ticket);
        }
    }
    if let Some(ticket) = ticket {
        ticket.wait(PATIENCE)?;
    }
    let per = |ns: u64, count: u64| ns as f64 / count.max(1) as f64;
    let stats = store.stats();
    println!(
        "append {:.0} ns a sample ({:.0} in the first scrape), {:.4} allocations; with the log's thread {:.0} ns",
        per(cpu, steady),
        per(first_cpu, samples / scrapes),
        per(allocations, steady),
        per(process_ns() - process - filling, samples)
    );
    println!(
        "  pages {:.2} bytes a sample, log {:.2} bytes a sample, {} series in memory",
        per(stats.head_bytes, samples),
        per(stats.log_bytes, samples),
        stats.head_series
    );
    Ok(samples)
}

/// A query's name, its matchers, and how far back it looks in milliseconds.
type Asked<'a> = (&'a str, &'a [(&'a str, MatcherOp, &'a str)], i64);

/// Reads as dashboards do; prints the time of each.
fn queries(store: &SeriesStore, place: &str, (start_ms, end_ms): (i64, i64)) -> Result<(), Failure> {
    let asked: [Asked<'_>; 5] = [
        ("all of one metric", &[("__name__", MatcherOp::Equal, "http_requests_total")], start_ms),
        ("the last 5 min of it", &[("__name__", MatcherOp::Equal, "http_requests_total")], end_ms - 300_000),
        (
            "one job",
            &[("__name__", MatcherOp::Equal, "http_requests_total"), ("job", MatcherOp::Equal, "job-3")],
            start_ms,
        ),
        (
            "by expression",
            &[("__name__", MatcherOp::Equal, "queue_depth"), ("instance", MatcherOp::Regex, "10\\.0\\..*7:9100")],
            start_ms,
        ),
        ("one instance", &[("instance", MatcherOp::Equal, "10.0.0.7:9100")], start_ms),
    ];
    for (what, matchers, from) in asked {
        let matchers: Vec<Matcher> =
            matchers.iter().map(|(name, op, value)| Matcher::new(name, *op, value)).collect::<Result<_, _>>()?;
        let mut times = Vec::new();
        let (mut series, mut samples, mut select_ns) = (0, 0, 0);
        for _ in 0..5 {
            let began = thread_ns();
            let snapshot = store.snapshot();
            let selected = snapshot.select(&Select { matchers: &matchers, start_ms: from, end_ms })?;
            select_ns = thread_ns() - began;
            (series, samples) = (selected.len(), 0);
            for one in selected {
                for run in one.runs {
                    samples += run?.len();
                }
            }
            times.push(thread_ns() - began);
        }
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or(0);
        println!(
            "  {place}: {what:<22} {:>8.2} ms of which choosing {:>7.2}, {series} series, {samples} samples, {:.1} ns a sample",
            median as f64 / 1e6,
            select_ns as f64 / 1e6,
            median as f64 / samples.max(1) as f64
        );
    }
    Ok(())
}

fn measured(what: &str, samples: u64, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let (began, cpu) = (Instant::now(), process_ns());
    work()?;
    let cpu = process_ns() - cpu;
    println!(
        "{what} {:.1} ns of CPU a sample, {:.0} ms",
        cpu as f64 / samples as f64,
        began.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

/// Nanoseconds that this thread has been on a CPU.
fn thread_ns() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// Nanoseconds that all threads of the process have been on a CPU.
fn process_ns() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn resident_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn folder_bytes(dir: &Path, extension: &str) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                folder_bytes(&path, extension)
            } else if path.extension().is_some_and(|e| e == extension) {
                entry.metadata().map_or(0, |meta| meta.len())
            } else {
                0
            }
        })
        .sum()
}

//! Since when samples count: kept through everything that happens to samples, at next to no cost.

use std::{path::Path, sync::Arc};

use homeostat_model::{Histogram, TimeMs};
use homeostat_promql::{Select, SeriesSource, Windows};
use homeostat_store_series::{Batch, StoreOptions, verify};
use homeostat_store_wal::{Disk as _, SimDisk};

use crate::{PATIENCE, labels, matchers, open, starts};

const FIRST_MS: TimeMs = 1_700_000_000_000;
const COUNTERS: usize = 100;
const DAY_MS: i64 = 86_400_000;

/// Two hours of counters at 15 s in a block; gives its bytes, and how many samples it has.
fn block_of_counters(start_of: impl Fn(usize, TimeMs) -> TimeMs) -> (SimDisk, u64, u64) {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    let mut batch = Batch::default();
    for at in 0..480 {
        let t_ms = FIRST_MS + at * 15_000;
        for counter in 0..COUNTERS {
            let value = (at * (70 + counter as i64 % 7)) as f64;
            let series = labels(&format!("__name__=requests_total instance=10.0.0.{counter}:80"));
            batch.series_of(&series).float_since(t_ms, value, start_of(counter, t_ms));
        }
        let report = store.append(&mut batch).unwrap();
        assert!(report.rejected.is_empty());
        report.ticket.wait(PATIENCE).unwrap();
        batch.clear();
    }
    store.flush().unwrap();
    let blocks = store.blocks();
    assert_eq!(blocks.len(), 1);
    let (bytes, samples) = (blocks[0].bytes, blocks[0].samples);
    (disk, bytes, samples)
}

/// The version that a block file says.
fn version(disk: &SimDisk, number: u64) -> u8 {
    disk.read(Path::new(&format!("/data/blocks/{number:08}.block")), u64::MAX).unwrap()[8]
}

#[test]
fn a_constant_start_costs_less_than_a_fiftieth_of_a_byte_a_sample() {
    let (plain, without, samples) = block_of_counters(|_, _| 0);
    assert_eq!(version(&plain, 1), 1);
    // Each began at an instant of its own, a month ago.
    let (disk, with, _) = block_of_counters(|counter, _| FIRST_MS - 30 * DAY_MS - 7919 * counter as i64);
    assert_eq!(version(&disk, 1), 2);
    let each = (with - without) as f64 / samples as f64;
    assert!(each < 0.02, "{each} bytes a sample");
    let (_, deltas, _) = block_of_counters(|_, t_ms| t_ms - 14_999);
    let each = (deltas - without) as f64 / samples as f64;
    assert!(each < 0.02, "{each} bytes a sample of deltas");
    assert_eq!(verify(&disk, Path::new("/data"), &mut |_| {}).unwrap().faults, []);
}

#[test]
fn starts_survive_restarts_blocks_merges_and_deletion() {
    let disk = SimDisk::default();
    let options = || StoreOptions { out_of_order_window: PATIENCE * 60, ..StoreOptions::default() };
    let (mut store, _) = open(&disk, options());
    let mut expected = Vec::new();
    let mut batch = Batch::default();
    for at in 0..300_i64 {
        let t_ms = FIRST_MS + at * 15_000;
        // Reset twice; between the two the sender forgets to say so for a while.
        let start_ms = match at {
            0..100 => FIRST_MS - DAY_MS,
            100..150 => 0,
            150..220 => FIRST_MS + 149 * 15_000 + 1,
            _ => t_ms - 1,
        };
        batch.series_of(&labels("__name__=c")).float_since(t_ms, at as f64, start_ms);
        let histogram = Histogram { count: at as f64, zero_count: at as f64, ..Histogram::default() };
        batch.series_of(&labels("__name__=h")).histogram_since(t_ms, Arc::new(histogram), start_ms);
        if at % 50 == 20 {
            let late_ms = t_ms - 7;
            batch.series_of(&labels("__name__=c")).float_since(late_ms, 0.5, start_ms - at % 100);
            if start_ms - at % 100 != 0 {
                expected.push((late_ms, start_ms - at % 100));
            }
        }
        if start_ms != 0 {
            expected.push((t_ms, start_ms));
        }
        let report = store.append(&mut batch).unwrap();
        assert!(report.rejected.is_empty());
        report.ticket.wait(PATIENCE).unwrap();
        batch.clear();
        if at % 90 == 89 {
            store.flush().unwrap();
        }
    }
    expected.sort_unstable();
    let of_histograms: Vec<_> = expected.iter().copied().filter(|(t_ms, _)| (t_ms - FIRST_MS) % 15_000 == 0).collect();
    for round in 0..3 {
        let snapshot = store.snapshot();
        assert_eq!(starts(&snapshot, "__name__=c", i64::MIN, i64::MAX), expected, "round {round}");
        assert_eq!(starts(&snapshot, "__name__=h", i64::MIN, i64::MAX), of_histograms, "round {round}");
        let (from, to) = (FIRST_MS + 95 * 15_000, FIRST_MS + 230 * 15_000);
        let inside = |of: &[(TimeMs, TimeMs)]| -> Vec<_> {
            of.iter().copied().filter(|(t_ms, _)| (from..=to).contains(t_ms)).collect()
        };
        assert_eq!(starts(&snapshot, "__name__=c", from, to), inside(&expected), "round {round}");
        // With gaps between windows samples are picked out of chunks, and their starts with them.
        let windows = Windows { first_ms: from, step_ms: 600_000, width_ms: 61_000 };
        let matchers = matchers("__name__=c");
        let select = Select { matchers: &matchers, start_ms: i64::MIN, end_ms: i64::MAX };
        for run in snapshot.select_windows(&select, &windows).unwrap().remove(0).runs {
            let run = run.unwrap();
            for (t_ms, start_ms) in run.times().iter().zip(run.starts()) {
                assert!(*start_ms == 0 || expected.binary_search(&(*t_ms, *start_ms)).is_ok(), "{t_ms} {start_ms}");
            }
        }
        drop(snapshot);
        if round == 0 {
            disk.kill();
            store = open(&disk, options()).0;
        } else {
            store.flush().unwrap();
            store.compact_fully().unwrap();
        }
    }
    store.close(PATIENCE).unwrap();
    assert_eq!(verify(&disk, Path::new("/data"), &mut |_| {}).unwrap().faults, []);
    store = open(&disk, options()).0;
    store.delete(&[&matchers("__name__=c")], FIRST_MS, FIRST_MS + 200 * 15_000).unwrap();
    let left: Vec<_> = expected.into_iter().filter(|(t_ms, _)| *t_ms > FIRST_MS + 200 * 15_000).collect();
    assert_eq!(starts(&store.snapshot(), "__name__=c", i64::MIN, i64::MAX), left);
}

#[test]
fn what_was_taken_carries_its_starts() {
    let (store, _) = open(&SimDisk::default(), StoreOptions::default());
    let mut batch = Batch::default();
    batch.series_of(&labels("__name__=a")).float(1, 1.0).float_since(2, 2.0, -5).float_since(2, 3.0, -6).float(3, 4.0);
    batch.series_of(&labels("__name__=b")).float(1, 1.0);
    store.append(&mut batch).unwrap();
    let taken: Vec<_> = batch.taken().map(|series| (series.floats, series.float_starts)).collect();
    assert_eq!(taken, [(vec![(1, 1.0), (2, 2.0), (3, 4.0)], vec![0, -5, 0]), (vec![(1, 1.0)], vec![])]);
}

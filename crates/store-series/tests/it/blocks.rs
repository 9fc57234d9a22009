//! Blocks: flushed, merged, dropped, deleted from, copied.

use std::{path::Path, sync::Arc, time::Duration};

use homeostat_model::{Histogram, histogram::Buckets};
use homeostat_store_series::{Batch, LabelQuery, Reason, SeriesStore, StoreOptions};
use homeostat_store_wal::SimDisk;

use crate::{PATIENCE, Seen, floats, fresh, labels, matchers, open, put, read};

fn ramp(range: std::ops::Range<i64>) -> Vec<(i64, f64)> {
    range.map(|i| (i * 1000, i as f64 * 1.5)).collect()
}

fn put_ramp(store: &SeriesStore, series: &str, range: std::ops::Range<i64>) {
    let mut batch = Batch::default();
    let entry = batch.series_of(&labels(series));
    for (t_ms, value) in ramp(range) {
        entry.float(t_ms, value);
    }
    let report = store.append(&mut batch).unwrap();
    assert!(report.rejected.is_empty());
    report.ticket.wait(PATIENCE).unwrap();
}

#[test]
fn long_series_come_back_from_many_blocks_and_from_one() {
    let store = fresh();
    for round in 0..5 {
        put_ramp(&store, "__name__=long", round * 1500..(round + 1) * 1500);
        put_ramp(&store, "__name__=other", round * 10..(round + 1) * 10);
        store.flush().unwrap();
    }
    let all = floats(&ramp(0..7500));
    for (start, end) in [(0, 7500), (1499, 1502), (3000, 3000), (7499, 9000), (7500, 9000)] {
        let expected = &all[start..all.len().min(end + 1)];
        let check = |when| {
            let found = read(&store.snapshot(), "__name__=long", start as i64 * 1000, end as i64 * 1000);
            assert_eq!(
                found.first().map(|(_, samples)| samples.as_slice()).unwrap_or_default(),
                expected,
                "{when} {start} {end}"
            );
        };
        check("whatever there is");
        store.compact_fully().unwrap();
        check("one block");
    }
    assert_eq!(store.blocks().len(), 1);
    let stats = store.stats();
    assert_eq!((stats.block_samples, stats.block_series, stats.head_samples), (7550, 2, 0));
    assert!(stats.block_bytes < 7550 * 2, "a ramp packs well: {}", stats.block_bytes);
}

#[test]
fn histograms_move_into_blocks_bit_by_bit() {
    let store = fresh();
    let histogram = |i: i64| Histogram {
        schema: 2,
        count: (i * 7) as f64,
        sum: i as f64 * 0.3,
        positive: Buckets::from_sorted([(i as i32 / 50 - 1, i as f64), (40, (i * 6) as f64)]),
        ..Histogram::default()
    };
    for round in 0..3 {
        let mut batch = Batch::default();
        let entry = batch.series_of(&labels("__name__=h"));
        for i in round * 400..(round + 1) * 400 {
            entry.histogram(i * 1000, Arc::new(histogram(i)));
            if i % 100 == 99 {
                entry.float(i * 1000 + 1, 0.5);
            }
        }
        store.append(&mut batch).unwrap().ticket.wait(PATIENCE).unwrap();
        store.flush().unwrap();
    }
    let expected: Vec<(i64, Seen)> = (0..1200)
        .flat_map(|i| {
            let float = (i % 100 == 99).then_some((i * 1000 + 1, Seen::Float(0.5_f64.to_bits())));
            [Some((i * 1000, Seen::Histogram(((i * 7) as f64).to_bits()))), float]
        })
        .flatten()
        .collect();
    assert_eq!(read(&store.snapshot(), "__name__=h", 0, i64::MAX)[0].1, expected);
    store.compact_fully().unwrap();
    assert_eq!(read(&store.snapshot(), "__name__=h", 0, i64::MAX)[0].1, expected);
    // The newest one is remembered although it has moved: again is fine, another one is not.
    let mut batch = Batch::default();
    batch.series_of(&labels("__name__=h")).histogram(1_199_000, Arc::new(histogram(1199)));
    batch.series_of(&labels("__name__=h")).float(1_199_001, 0.25);
    let report = store.append(&mut batch).unwrap();
    assert_eq!((report.rejected.count(Reason::Duplicate), report.rejected.count(Reason::OutOfOrder)), (1, 1));
}

#[test]
fn old_samples_go_by_age_and_the_oldest_by_size() {
    let retention = Some(Duration::from_secs(100));
    let (store, _) = open(&SimDisk::default(), StoreOptions { retention, ..StoreOptions::default() });
    for round in 0..5 {
        put_ramp(&store, "__name__=x", round * 50..(round + 1) * 50);
        put_ramp(&store, "__name__=y", round * 50..(round + 1) * 50);
        store.flush().unwrap();
    }
    store.compact_fully().unwrap();
    // Counted from 249 s, 149 s are left at least; nobody asked a clock.
    let kept = read(&store.snapshot(), "__name__=x", 0, i64::MAX)[0].1.clone();
    assert_eq!(kept, floats(&ramp(149..250)));
    let bytes = store.stats().block_bytes;
    let options = StoreOptions { retention: None, retention_bytes: Some(bytes * 2), ..StoreOptions::default() };
    let (store, _) = open(&SimDisk::default(), options);
    for round in 0..40 {
        put_ramp(&store, "__name__=x", round * 50..(round + 1) * 50);
        store.flush().unwrap();
        store.compact_fully().unwrap();
        assert!(store.stats().block_bytes <= bytes * 2);
    }
    let kept = read(&store.snapshot(), "__name__=x", 0, i64::MAX);
    assert!(kept.is_empty() || kept[0].1.last().unwrap().0 == 1_999_000, "the newest ones stay");
}

#[test]
fn one_series_far_in_the_future_does_not_make_the_others_old() {
    let store = fresh();
    for at in 0..10 {
        put_ramp(&store, &format!("__name__=x at={at}"), 0..10);
    }
    put(&store, &[("__name__=odd", i64::MAX, 1.0)]);
    store.compact_fully().unwrap();
    assert_eq!(read(&store.snapshot(), "__name__=x", i64::MIN, i64::MAX).len(), 10);
    assert_eq!(store.newest_ms(), Some(i64::MAX));
}

#[test]
fn deleted_samples_are_gone_and_new_ones_at_the_same_time_are_not() {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    put_ramp(&store, "__name__=x job=a", 0..10);
    put_ramp(&store, "__name__=x job=b", 0..10);
    store.delete(&[&matchers("job=a")], 3000, 5000).unwrap();
    let kept: Vec<_> = ramp(0..3).into_iter().chain(ramp(6..10)).collect();
    let check = |store: &SeriesStore| {
        assert_eq!(read(&store.snapshot(), "job=a", 0, i64::MAX)[0].1, floats(&kept));
        assert_eq!(read(&store.snapshot(), "job=b", 0, i64::MAX)[0].1, floats(&ramp(0..10)));
    };
    check(&store);
    disk.lose_power(5);
    let (store, _) = open(&disk, StoreOptions::default());
    check(&store);
    put(&store, &[("__name__=x job=c", 4000, 1.0)]);
    store.delete(&[&matchers("job=b"), &matchers("job=c")], i64::MIN, i64::MAX).unwrap();
    put(&store, &[("__name__=x job=b", 20_000, 1.0)]);
    assert_eq!(read(&store.snapshot(), "job=~b|c", 0, i64::MAX)[0].1, floats(&[(20_000, 1.0)]));
    let everything = LabelQuery::default();
    assert_eq!(store.snapshot().label_values("job", &everything).unwrap(), ["a", "b"]);
    let bytes = store.stats().block_bytes;
    store.compact_fully().unwrap();
    assert!(store.stats().block_bytes < bytes, "their space is free");
    assert_eq!(read(&store.snapshot(), "job=a", 0, i64::MAX)[0].1, floats(&kept));
    assert_eq!(store.snapshot().label_values("job", &everything).unwrap(), ["a", "b"]);
}

#[test]
fn a_snapshot_opens_like_any_store_and_stays_when_the_original_changes() {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    put_ramp(&store, "__name__=x", 0..10);
    store.flush().unwrap();
    put_ramp(&store, "__name__=x", 10..20);
    store.snapshot_into(Path::new("/copy")).unwrap();
    put_ramp(&store, "__name__=x", 20..30);
    store.compact_fully().unwrap();
    let (copy, _) = SeriesStore::open_on(Arc::new(disk), Path::new("/copy"), StoreOptions::default()).unwrap();
    assert_eq!(read(&copy.snapshot(), "__name__=x", 0, i64::MAX)[0].1, floats(&ramp(0..20)));
    put_ramp(&copy, "__name__=x", 30..40);
    assert_eq!(read(&store.snapshot(), "__name__=x", 0, i64::MAX)[0].1, floats(&ramp(0..30)));
}

#[test]
fn series_that_nobody_writes_leave_memory_and_stay_on_disk() {
    let store = fresh();
    put_ramp(&store, "__name__=old", 0..10);
    for round in 1..4 {
        put_ramp(&store, "__name__=new", round * 10..round * 10 + 10);
        store.flush().unwrap();
    }
    assert_eq!(store.stats().head_series, 1);
    put_ramp(&store, "__name__=another", 0..3);
    put_ramp(&store, "__name__=new", 40..50);
    let names: Vec<String> =
        read(&store.snapshot(), "__name__!=", 0, i64::MAX).iter().map(|(labels, _)| labels.to_string()).collect();
    assert_eq!(names, ["another", "new", "old"]);
    assert_eq!(read(&store.snapshot(), "__name__=new", 0, i64::MAX)[0].1, floats(&ramp(10..50)));
    put_ramp(&store, "__name__=old", 60..70);
    assert_eq!(read(&store.snapshot(), "__name__=old", 0, i64::MAX)[0].1.len(), 20);
}

#[test]
fn memory_is_moved_and_merged_without_being_asked() {
    let disk = SimDisk::default();
    let options = StoreOptions { head_bytes: 4096, log_bytes: 1 << 20, ..StoreOptions::default() };
    let (store, _) = open(&disk, options);
    for round in 0..60 {
        for at in 0..4 {
            put_ramp(&store, &format!("__name__=x at={at}"), round * 100..(round + 1) * 100);
        }
    }
    // Both threads work on their own; what is asked for here comes after what they have begun.
    store.compact_fully().unwrap();
    let stats = store.stats();
    assert!(stats.flushes > 3 && stats.merges > 0, "{stats:?}");
    assert_eq!(stats.block_samples, 24_000);
    assert!(stats.log_bytes < 100_000, "the log before the blocks is gone: {}", stats.log_bytes);
    assert_eq!(read(&store.snapshot(), "at=3", 0, i64::MAX)[0].1, floats(&ramp(0..6000)));
}

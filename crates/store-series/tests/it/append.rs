//! What is accepted, what is rejected, and what is there after a restart.

use std::sync::Arc;

use homeostat_model::{Histogram, MetricKind, histogram::Buckets, sample::stale_marker};
use homeostat_store_series::{AppendError, Batch, Durability, LabelQuery, Reason, StoreOptions};
use homeostat_store_wal::SimDisk;

use crate::{PATIENCE, Seen, floats, fresh, labels, matchers, open, pairs, put, read};

const EVER: (i64, i64) = (i64::MIN, i64::MAX);

fn histogram(count: f64) -> Histogram {
    Histogram { count, positive: Buckets::from_sorted([(0, count)]), ..Histogram::default() }
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart_once() {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    put(&store, &[("__name__=up job=a", 0, 1.0), ("__name__=up job=b", 0, -0.0)]);
    put(&store, &[("__name__=up job=a", 1000, stale_marker()), ("__name__=up job=b", 500, f64::INFINITY)]);
    disk.lose_power(7);
    let (store, recovery) = open(&disk, StoreOptions::default());
    assert_eq!((recovery.samples, recovery.series), (4, 2));
    let expected = vec![
        (labels("__name__=up job=a"), floats(&[(0, 1.0), (1000, stale_marker())])),
        (labels("__name__=up job=b"), floats(&[(0, -0.0), (500, f64::INFINITY)])),
    ];
    assert_eq!(read(&store.snapshot(), "__name__=up", EVER.0, EVER.1), expected);
    // The new run goes on where the old one ended, and the next one finds both.
    let report = put(&store, &[("__name__=up job=a", 1000, stale_marker()), ("__name__=up job=a", 999, 1.0)]);
    assert_eq!((report.accepted.repeated, report.rejected.count(Reason::OutOfOrder)), (1, 1));
    put(&store, &[("__name__=up job=a", 2000, 2.0)]);
    store.close(PATIENCE).unwrap();
    let (store, recovery) = open(&disk, StoreOptions::default());
    assert_eq!((recovery.samples, recovery.series), (5, 2));
    assert_eq!(read(&store.snapshot(), "job=a", 1500, EVER.1)[0].1, floats(&[(2000, 2.0)]));
}

#[test]
fn older_and_other_samples_are_rejected_one_by_one() {
    let store = fresh();
    let report = put(
        &store,
        &[
            ("__name__=x", 100, 1.0),
            ("__name__=x", 100, 1.0),
            ("__name__=x", 100, 2.0),
            ("__name__=x", 50, 1.0),
            ("__name__=y", i64::MIN, 1.0),
            ("__name__=y", i64::MAX, 1.0),
            ("__name__=x", 150, 3.0),
        ],
    );
    assert_eq!((report.accepted.floats, report.accepted.repeated), (5, 1));
    assert_eq!(report.rejected.count(Reason::Duplicate), 1);
    assert_eq!(report.rejected.count(Reason::OutOfOrder), 1);
    let told: Vec<String> = report.rejected.first().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["duplicate sample for timestamp: series x, time 100 ms", "out of order sample: series x, time 50 ms"]
    );
    let x = read(&store.snapshot(), "__name__=x", EVER.0, EVER.1);
    assert_eq!(x, [(labels("__name__=x"), floats(&[(100, 1.0), (150, 3.0)]))]);
    let y = read(&store.snapshot(), "__name__=y", EVER.0, EVER.1);
    assert_eq!(y, [(labels("__name__=y"), floats(&[(i64::MIN, 1.0), (i64::MAX, 1.0)]))]);
    assert_eq!(store.stats().rejected.iter().map(|(_, count)| count).sum::<u64>(), 2);
}

#[test]
fn a_window_takes_late_samples_in_and_keeps_them() {
    let disk = SimDisk::default();
    let options =
        StoreOptions { out_of_order_window: std::time::Duration::from_millis(100), ..StoreOptions::default() };
    let (store, _) = open(&disk, options.clone());
    put(&store, &[("__name__=x", 1000, 1.0), ("__name__=x", 1100, 2.0)]);
    let report = put(
        &store,
        &[
            ("__name__=x", 1050, 3.0),
            ("__name__=x", 1020, 4.0),
            ("__name__=x", 1050, 3.0),
            ("__name__=x", 1050, 5.0),
            ("__name__=x", 1000, 6.0),
            ("__name__=x", 999, 7.0),
        ],
    );
    assert_eq!((report.accepted.floats, report.accepted.repeated), (3, 1));
    assert_eq!((report.rejected.count(Reason::Duplicate), report.rejected.count(Reason::TooOld)), (2, 1));
    let expected = floats(&[(1000, 1.0), (1020, 4.0), (1050, 3.0), (1100, 2.0)]);
    assert_eq!(read(&store.snapshot(), "__name__=x", EVER.0, EVER.1)[0].1, expected);
    disk.lose_power(1);
    let (store, _) = open(&disk, options);
    assert_eq!(read(&store.snapshot(), "__name__=x", EVER.0, EVER.1)[0].1, expected);
    assert_eq!(read(&store.snapshot(), "__name__=x", 1001, 1050)[0].1, floats(&[(1020, 4.0), (1050, 3.0)]));
}

#[test]
fn floats_and_histograms_share_a_series() {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    let mut batch = Batch::default();
    let series = batch.series(pairs("__name__=h")).unwrap();
    series.float(0, 1.0).float(20, 2.0).histogram(10, histogram(3.0)).histogram(30, histogram(4.0));
    series.histogram(20, histogram(5.0)).histogram(40, Histogram { count: -1.0, ..Histogram::default() });
    let report = store.append(&mut batch).unwrap();
    report.ticket.wait(PATIENCE).unwrap();
    assert_eq!((report.accepted.floats, report.accepted.histograms), (2, 2));
    assert_eq!((report.rejected.count(Reason::OutOfOrder), report.rejected.count(Reason::InvalidHistogram)), (1, 1));
    let expected = vec![
        (0, Seen::Float(1f64.to_bits())),
        (10, Seen::Histogram(3f64.to_bits())),
        (20, Seen::Float(2f64.to_bits())),
        (30, Seen::Histogram(4f64.to_bits())),
    ];
    assert_eq!(read(&store.snapshot(), "__name__=h", EVER.0, EVER.1)[0].1, expected);
    disk.lose_power(3);
    let (store, _) = open(&disk, StoreOptions::default());
    assert_eq!(read(&store.snapshot(), "__name__=h", EVER.0, EVER.1)[0].1, expected);
    let mut again = Batch::default();
    again.series(pairs("__name__=h")).unwrap().histogram(30, Arc::new(histogram(4.0))).float(30, 4.0);
    let report = store.append(&mut again).unwrap();
    assert_eq!((report.accepted.repeated, report.rejected.count(Reason::Duplicate)), (1, 1));
}

#[test]
fn series_are_limited() {
    let options = StoreOptions { series_max: 2, ..StoreOptions::default() };
    let (store, _) = open(&SimDisk::default(), options);
    let report = put(&store, &[("a=1", 0, 1.0), ("a=2", 0, 1.0), ("a=3", 0, 1.0), ("a=1", 1, 1.0)]);
    assert_eq!((report.accepted.floats, report.rejected.count(Reason::SeriesLimit)), (3, 1));
}

#[test]
fn exemplars_and_metadata_survive_a_restart() {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    let mut batch = Batch::default();
    batch.series(pairs("__name__=h le=1")).unwrap().float(5, 1.0).exemplar([("trace_id", "abc")], 5, 0.7).unwrap();
    batch.metadata("h", MetricKind::Histogram, "How long it took.", "seconds");
    let report = store.append(&mut batch).unwrap();
    assert_eq!(report.accepted.exemplars, 1);
    report.ticket.wait(PATIENCE).unwrap();
    disk.lose_power(3);
    let (store, _) = open(&disk, StoreOptions::default());
    assert_eq!(store.metadata("h")[0].unit, "seconds");
    let set = matchers("le=1");
    let found = store.snapshot().exemplars(&LabelQuery { sets: &[&set], ..LabelQuery::default() });
    assert_eq!(found[0].exemplars, [(labels("trace_id=abc"), 5, 0.7)]);
    assert_eq!(store.append(&mut batch).unwrap().accepted.repeated, 1);
    assert_eq!(store.stats().exemplars, 1);
}

#[test]
fn a_disk_that_does_not_answer_makes_the_store_busy_and_loses_nothing() {
    let disk = SimDisk::default();
    let options = StoreOptions { queue_bytes_max: 2000, ..StoreOptions::default() };
    let (store, _) = open(&disk, options.clone());
    disk.set(|faults| faults.stuck = true);
    let mut batch = Batch::default();
    let (mut tickets, mut stored) = (Vec::new(), Vec::new());
    let refused = (0..1000).find_map(|i| {
        batch.clear();
        batch.series(pairs("__name__=x")).unwrap().float(i, 0.1);
        match store.append(&mut batch) {
            Ok(report) => {
                tickets.push(report.ticket);
                stored.push((i, 0.1));
                None
            }
            Err(error) => Some(error),
        }
    });
    assert!(matches!(refused, Some(AppendError::Busy { .. })), "{refused:?}");
    assert!(store.stats().busy > 0);
    disk.set(|faults| faults.stuck = false);
    for ticket in tickets {
        ticket.wait(PATIENCE).unwrap();
    }
    store.append(&mut batch).unwrap().ticket.wait(PATIENCE).unwrap();
    store.close(PATIENCE).unwrap();
    assert_eq!(store.append(&mut batch).unwrap_err(), AppendError::Closed);
    let (store, _) = open(&disk, options);
    stored.push((stored.len() as i64, 0.1));
    assert_eq!(read(&store.snapshot(), "__name__=x", EVER.0, EVER.1)[0].1, floats(&stored));
}

#[test]
fn relaxed_durability_waits_for_nobody() {
    let disk = SimDisk::default();
    let options = StoreOptions { durability: Durability::Relaxed, ..StoreOptions::default() };
    let (store, _) = open(&disk, options);
    disk.set(|faults| faults.stuck = true);
    let mut batch = Batch::default();
    batch.series(pairs("__name__=x")).unwrap().float(1, 0.1);
    store.append(&mut batch).unwrap().ticket.wait(PATIENCE).unwrap();
    disk.set(|faults| faults.stuck = false);
}

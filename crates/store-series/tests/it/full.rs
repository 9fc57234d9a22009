//! The disk is full while blocks are written: nothing is lost, the error is visible, and the store goes on by itself.

use std::time::Duration;

use homeostat_store_series::{AppendError, Batch, Busy, SeriesStore, StoreOptions};
use homeostat_store_wal::SimDisk;

use crate::{PATIENCE, floats, labels, open, read};

fn noisy(i: i64) -> f64 {
    f64::from_bits(0x3ff0_0000_0000_0000 | (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12)
}

fn append(store: &SeriesStore, range: std::ops::Range<i64>) -> Result<(), AppendError> {
    let mut batch = Batch::default();
    let entry = batch.series_of(&labels("__name__=x"));
    for i in range {
        entry.float(i, noisy(i));
    }
    store.append(&mut batch)?.ticket.wait(PATIENCE).unwrap();
    Ok(())
}

fn check(store: &SeriesStore, count: i64) {
    let expected = floats(&(0..count).map(|i| (i, noisy(i))).collect::<Vec<_>>());
    assert_eq!(read(&store.snapshot(), "__name__=x", 0, i64::MAX)[0].1, expected);
}

#[test]
fn a_full_disk_stops_flushes_and_merges_but_loses_nothing() {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    append(&store, 0..500).unwrap();
    store.flush().unwrap();
    append(&store, 500..1000).unwrap();
    disk.set(|faults| faults.capacity_bytes = Some(0));
    assert!(store.flush().is_err());
    check(&store, 1000);
    assert!(store.compact_fully().is_err());
    check(&store, 1000);
    disk.set(|faults| faults.capacity_bytes = None);
    store.flush().unwrap();
    disk.set(|faults| faults.capacity_bytes = Some(0));
    assert!(store.compact_fully().is_err(), "two blocks, and no room for their sum");
    check(&store, 1000);
    disk.set(|faults| faults.capacity_bytes = None);
    store.compact_fully().unwrap();
    assert_eq!(store.blocks().len(), 1);
    check(&store, 1000);
    disk.lose_power(9);
    check(&open(&disk, StoreOptions::default()).0, 1000);
}

#[test]
fn memory_is_bounded_when_nothing_can_be_flushed_and_it_goes_on_afterwards() {
    let disk = SimDisk::default();
    let options = StoreOptions { head_bytes: 4096, commit_interval: Duration::ZERO, ..StoreOptions::default() };
    let (store, _) = open(&disk, options.clone());
    // Renaming fails on a read-only directory; here every write of a block fails, while the log is as it was.
    disk.set(|faults| faults.refused_suffix = Some(".block.new"));
    let mut count = 0;
    let refused = (0..1000).find_map(|_| {
        let done = append(&store, count..count + 100);
        count += if done.is_ok() { 100 } else { 0 };
        done.err()
    });
    let Some(AppendError::Busy { source: Busy::Head { bytes, .. }, .. }) = refused else {
        unreachable!("memory is bounded, but: {refused:?}")
    };
    assert!(bytes < 64 * 1024, "{bytes}");
    check(&store, count);
    disk.set(|faults| faults.refused_suffix = None);
    store.flush().unwrap();
    append(&store, count..count + 100).unwrap();
    check(&store, count + 100);
    assert!(store.stats().busy > 0);
    drop(store);
    check(&open(&disk, options).0, count + 100);
}

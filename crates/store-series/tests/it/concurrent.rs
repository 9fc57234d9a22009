//! Reads, writes, flushes and merges at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use homeostat_store_series::{Batch, StoreOptions};
use homeostat_store_wal::SimDisk;

use crate::{Seen, labels, open, read};

/// Series that are appended together, so that each batch is seen as a whole or not at all.
const SERIES: i64 = 20;
const BATCHES: i64 = 400;

#[test]
fn a_query_sees_whole_batches_without_a_gap_whatever_moves() {
    let options = StoreOptions { head_bytes: 8192, ..StoreOptions::default() };
    let (store, _) = open(&SimDisk::default(), options);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut batch = Batch::default();
            for t in 0..BATCHES {
                batch.clear();
                for at in 0..SERIES {
                    batch.series_of(&labels(&format!("__name__=x at={at:02}"))).float(t, (t * at) as f64);
                }
                while store.append(&mut batch).is_err() {
                    std::thread::yield_now();
                }
            }
            done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let found = read(&store.snapshot(), "__name__=x", 0, i64::MAX);
                    let counts: Vec<usize> = found.iter().map(|(_, samples)| samples.len()).collect();
                    assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
                    for (at, (_, samples)) in found.iter().enumerate() {
                        for (index, (t, seen)) in samples.iter().enumerate() {
                            assert_eq!((*t, *seen), (index as i64, Seen::Float(((index * at) as f64).to_bits())));
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                store.flush().unwrap();
                store.compact_fully().unwrap();
            }
        });
    });
    assert_eq!(read(&store.snapshot(), "at=07", 0, i64::MAX)[0].1.len(), BATCHES as usize);
}

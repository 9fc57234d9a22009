//! The power is lost in place of every single change of the disk, one run each: what was acknowledged is there, once,
//! and the store goes on.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use homeostat_model::TimeMs;
use homeostat_store_series::{Batch, SeriesStore, StoreOptions};
use homeostat_store_wal::SimDisk;

use crate::{PATIENCE, Seen, labels, matchers, open, read};

const SERIES: usize = 5;

fn options() -> StoreOptions {
    StoreOptions { commit_interval: Duration::ZERO, segment_bytes: 2048, ..StoreOptions::default() }
}

/// Samples by series that were acknowledged, and those that were appended at all.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<usize, Vec<TimeMs>>,
    appended: BTreeMap<usize, Vec<TimeMs>>,
}

fn series(at: usize) -> String {
    format!("__name__=x series={at}")
}

fn value(series: usize, t_ms: TimeMs) -> f64 {
    t_ms as f64 * 0.5 + series as f64
}

/// Appends one sample to every series; false when the disk refuses.
fn append(store: &SeriesStore, told: &mut Told, t_ms: TimeMs) -> bool {
    let mut batch = Batch::default();
    for at in 0..SERIES {
        batch.series_of(&labels(&series(at))).float(t_ms, value(at, t_ms));
        told.appended.entry(at).or_default().push(t_ms);
    }
    let Ok(report) = store.append(&mut batch) else { return false };
    if report.ticket.wait(PATIENCE).is_err() {
        return false;
    }
    for at in 0..SERIES {
        told.acknowledged.entry(at).or_default().push(t_ms);
    }
    true
}

/// What happens, until the disk refuses.
fn live(store: &SeriesStore, told: &mut Told) -> Option<()> {
    let works = |ok: bool| ok.then_some(());
    for t in 0..6 {
        works(append(store, told, t * 10))?;
    }
    store.flush().ok()?;
    for t in 6..9 {
        works(append(store, told, t * 10))?;
    }
    store.flush().ok()?;
    works(append(store, told, 100))?;
    store.compact_fully().ok()?;
    works(append(store, told, 110))?;
    store.delete(&[&matchers("series=4")], 0, 50).ok()?;
    works(append(store, told, 120))
}

fn check(store: &SeriesStore, told: &Told, what: &str) {
    let found: BTreeMap<_, _> = read(&store.snapshot(), "__name__=x", i64::MIN, i64::MAX).into_iter().collect();
    for at in 0..SERIES {
        let samples = found.get(&labels(&series(at))).cloned().unwrap_or_default();
        for (t_ms, seen) in &samples {
            assert_eq!(*seen, Seen::Float(value(at, *t_ms).to_bits()), "{what}");
            assert!(told.appended[&at].contains(t_ms), "{what}: a sample that nobody sent");
        }
        let times: Vec<TimeMs> = samples.iter().map(|(t, _)| *t).collect();
        let wanted = told.acknowledged.get(&at).cloned().unwrap_or_default();
        // Those that are deleted at the end may be there or not.
        let missing: Vec<_> = wanted.iter().filter(|t| !(times.contains(t) || at == 4 && **t <= 50)).collect();
        assert!(missing.is_empty(), "{what}: series {at} lost {missing:?}, has {times:?}");
    }
}

#[test]
fn the_power_may_be_lost_at_every_change() {
    let whole = SimDisk::default();
    let (store, _) = open(&whole, options());
    live(&store, &mut Told::default()).unwrap();
    store.close(PATIENCE).unwrap();
    let changes = whole.changes();
    assert!(changes > 100, "{changes}");
    for at in 0..changes {
        for seed in 0..3 {
            let disk = SimDisk::default();
            disk.set(|faults| faults.power_loss_after = Some((at, seed * 7919 + at)));
            let mut told = Told::default();
            if let Ok((store, _)) = SeriesStore::open_on(Arc::new(disk.mounted()), Path::new("/data"), options()) {
                live(&store, &mut told);
            }
            // The loss may come later than everything that was done.
            disk.set(|faults| faults.power_loss_after = None);
            disk.lose_power(seed);
            let what = format!("power lost at change {at}, seed {seed}");
            let (store, _) = open(&disk, options());
            check(&store, &told, &what);
            assert!(append(&store, &mut told, 1000), "{what}");
            store.flush().unwrap();
            store.compact_fully().unwrap();
            check(&store, &told, &what);
            drop(store);
            let (store, recovery) = open(&disk, options());
            check(&store, &told, &what);
            assert_eq!(recovery.samples, 0, "{what}: everything is in a block");
        }
    }
}

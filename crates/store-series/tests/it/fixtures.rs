//! Files that are kept in the tree: programs to come must read them, and the program of today writes the same bytes.
//!
//! `v1/` is a store of format version 1 that was killed: a block with a counter, a gauge, decimals that end with a stale
//! marker, and native histograms, of which something was deleted; samples, an exemplar and metadata in the log. Where the
//! `v2/` is a store of format version 2 that was killed: counters and histograms in a block and in the log whose samples
//! say since when they count. Where the writer has been made better without a change of the format, `cargo nextest run -p
//! homeostat-store-series fixtures` says where the new files are; the old ones move to a directory of their own and stay
//! readable.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use homeostat_model::{Histogram, MetricKind, histogram::Buckets, sample::stale_marker};
use homeostat_store_series::{Batch, LabelQuery, SeriesStore, StoreOptions, verify};
use homeostat_store_wal::{Disk as _, SimDisk};

use crate::{Found, PATIENCE, labels, matchers, open, read, starts};

const DATA: &str = "/data";
const DIRS: [&str; 3] = ["", "blocks", "log"];
const SAMPLES: i64 = 300;
/// All that are kept of samples without starts, the newest one last.
const VERSIONS: [&str; 1] = ["v1"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn histogram(i: i64) -> Histogram {
    Histogram {
        schema: 2,
        count: (i * 7) as f64,
        sum: i as f64 * 0.3,
        positive: Buckets::from_sorted([(i as i32 / 100 - 1, i as f64), (40, (i * 6) as f64)]),
        ..Histogram::default()
    }
}

fn append(store: &SeriesStore, batch: &mut Batch) {
    let report = store.append(batch).unwrap();
    assert!(report.rejected.is_empty());
    report.ticket.wait(PATIENCE).unwrap();
    batch.clear();
}

/// What the program of today writes.
fn written() -> SimDisk {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    let mut batch = Batch::default();
    for i in 0..SAMPLES {
        let t = 1_700_000_000_000 + i * 15_000;
        batch
            .series_of(&labels("__name__=requests_total instance=10.0.0.1:80 job=api"))
            .float(t, (i * i % 997 + i * 70) as f64);
        batch
            .series_of(&labels("__name__=temperature instance=10.0.0.1:80 job=api"))
            .float(t + i % 7, (i as f64 / 7.0).sqrt());
        let value = if i + 1 == SAMPLES { stale_marker() } else { (i * 7919 % 1000) as f64 / 100.0 };
        batch.series_of(&labels("__name__=load instance=10.0.0.2:80 job=api zone=é")).float(t, value);
        batch.series_of(&labels("__name__=latency job=api")).histogram(t, histogram(i));
        append(&store, &mut batch);
    }
    store.delete(&[&matchers("__name__=load")], 1_700_000_150_000, 1_700_000_300_000).unwrap();
    for at in 0..5 {
        batch.series_of(&labels(&format!("__name__=fresh at={at}"))).float(1_700_005_000_000 + at, 0.5);
    }
    batch.series_of(&labels("__name__=latency job=api")).histogram(1_700_005_000_000, histogram(SAMPLES));
    let entry = batch.series_of(&labels("__name__=requests_total instance=10.0.0.1:80 job=api"));
    entry.float(1_700_005_000_000, 1e6);
    entry.exemplar([("trace_id", "abc")], 1_700_004_999_000, 12.0).unwrap();
    batch.metadata("requests_total", MetricKind::Counter, "Requests so far.", "");
    append(&store, &mut batch);
    disk.kill();
    disk
}

/// Files by their names within the store, sorted.
fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for dir in DIRS {
        let path = Path::new(DATA).join(dir);
        for name in disk.list(&path).unwrap() {
            let bytes = disk.read(&path.join(&name), u64::MAX).unwrap();
            files.push((if dir.is_empty() { name } else { format!("{dir}/{name}") }, bytes));
        }
    }
    files.sort();
    files
}

fn loaded(version: &str) -> SimDisk {
    let disk = SimDisk::default();
    for dir in DIRS {
        for entry in fs::read_dir(fixtures().join(version).join(dir)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let to = Path::new(DATA).join(dir).join(path.file_name().unwrap());
                disk.create(&to).unwrap().append(&fs::read(path).unwrap()).unwrap();
            }
        }
    }
    disk
}

fn everything(disk: &SimDisk) -> (Found, usize, usize) {
    let (store, _) = open(disk, StoreOptions::default());
    let found = read(&store.snapshot(), "__name__=~.+", i64::MIN, i64::MAX);
    let exemplars = store.snapshot().exemplars(&LabelQuery::default()).len();
    (found, exemplars, store.metadata("requests_total").len())
}

/// What the program of today writes of samples that say since when they count.
fn written_with_starts() -> SimDisk {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    let mut batch = Batch::default();
    for i in 0..SAMPLES {
        let t = 1_700_000_000_000 + i * 15_000;
        // A counter that was reset, one that keeps its start, deltas, a sender that says nothing, histograms.
        let reset = 1_700_000_000_000 + if i < 100 { -86_400_000 } else { 100 * 15_000 - 77 };
        let entry = batch.series_of(&labels("__name__=requests_total instance=10.0.0.1:80"));
        entry.float_since(t, (i % 100 * 70) as f64, reset);
        let entry = batch.series_of(&labels("__name__=bytes_total instance=10.0.0.1:80"));
        entry.float_since(t, (i * 1500) as f64, 1_699_000_000_123);
        batch.series_of(&labels("__name__=deltas")).float_since(t, (i % 7) as f64, t - 14_999);
        batch.series_of(&labels("__name__=silent")).float(t, i as f64);
        batch.series_of(&labels("__name__=latency")).histogram_since(t, histogram(i), reset);
        if i == 250 {
            append(&store, &mut batch);
            store.flush().unwrap();
        }
    }
    append(&store, &mut batch);
    disk.kill();
    disk
}

#[test]
fn the_bytes_of_today_are_those_that_are_kept() {
    same_bytes("v1", &written());
    same_bytes("v2", &written_with_starts());
}

fn same_bytes(version: &str, written: &SimDisk) {
    let (today, kept) = (files(written), files(&loaded(version)));
    if today == kept {
        return;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("series-{version}"));
    for (name, bytes) in &today {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let names =
        |files: &[(String, Vec<u8>)]| -> Vec<_> { files.iter().map(|(name, b)| (name.clone(), b.len())).collect() };
    unreachable!("kept {:?}, written {:?}; the new files are in {}", names(&kept), names(&today), dir.display());
}

#[test]
fn kept_starts_are_read() {
    let (kept, today) = (loaded("v2"), written_with_starts());
    assert_eq!(verify(&kept, Path::new(DATA), &mut |_| {}).unwrap().faults, []);
    let (kept, _) = open(&kept, StoreOptions::default());
    let (today, _) = open(&today, StoreOptions::default());
    for (name, expected) in
        [("requests_total", 300), ("bytes_total", 300), ("deltas", 300), ("silent", 0), ("latency", 300)]
    {
        let of = |store: &SeriesStore| starts(&store.snapshot(), &format!("__name__={name}"), i64::MIN, i64::MAX);
        assert!(of(&kept).len() == expected && of(&kept) == of(&today), "{name}");
        kept.compact_fully().unwrap();
        assert!(of(&kept) == of(&today), "{name}");
    }
}

#[test]
fn what_is_kept_is_read() {
    let (expected, exemplars, metadata) = everything(&written());
    assert_eq!((exemplars, metadata), (1, 1));
    assert_eq!(expected.len(), 9);
    for version in VERSIONS {
        let disk = loaded(version);
        assert_eq!(verify(&disk, Path::new(DATA), &mut |_| {}).unwrap().faults, []);
        let read = everything(&disk);
        assert!(read == (expected.clone(), exemplars, metadata), "{version}");
        let count = |name: &str| read.0.iter().find(|(labels, _)| labels.metric() == Some(name)).unwrap().1.len();
        assert_eq!([count("requests_total"), count("load"), count("latency")], [301, 289, 301], "{version}");
        // An old store goes on as a new one.
        let (store, _) = SeriesStore::open_on(Arc::new(disk), Path::new(DATA), StoreOptions::default()).unwrap();
        store.compact_fully().unwrap();
        assert!(read.0 == crate::read(&store.snapshot(), "__name__=~.+", i64::MIN, i64::MAX), "{version}");
    }
}

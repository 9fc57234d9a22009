//! Files of a store that is not running: listed, read, mended.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use homeostat_model::{Histogram, Labels};
use homeostat_store_series::{Batch, SeriesStore};
use homeostat_store_series::{Mended, OpenError, RepairError, StoreOptions, Verified, inspect, repair, verify};
use homeostat_store_wal::{Disk as _, RealDisk, SimDisk};
use homeostat_wire::series::{
    footer::{BlockVersion, Footer, TRAILER_BYTES, decode_trailer, encode_trailer},
    frame::{PageRef, open_frame, put_frame},
    manifest::Manifest,
};

use crate::{Found, PATIENCE, labels, matchers, open, put, try_read};

const DATA: &str = "/data";

/// A store with two blocks, a deletion in the first one, and samples in the log.
fn filled() -> SimDisk {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    for round in 0..2_i64 {
        let mut batch = Batch::default();
        for at in 0..150 {
            let entry = batch.series_of(&series(at));
            for t in 0..1500_i64 {
                let t = round * 1500 + t;
                entry.float(t * 1000 + at % 3, (t * at % 977) as f64 / 4.0);
            }
        }
        let histogram = Histogram { count: 2.0, zero_count: 2.0, ..Histogram::default() };
        batch.series_of(&labels("__name__=h job=j")).histogram(round * 1_500_000, histogram);
        store.append(&mut batch).unwrap().ticket.wait(PATIENCE).unwrap();
        store.flush().unwrap();
    }
    store.delete(&[&matchers("at=7")], 10_000, 20_000).unwrap();
    put(&store, &[("__name__=fresh", 3_000_000, 1.0)]);
    store.close(PATIENCE).unwrap();
    disk
}

fn series(at: i64) -> Labels {
    Labels::new([("__name__", "m"), ("at", &at.to_string()), ("kind", ["even", "odd"][at as usize % 2])])
}

fn verified(disk: &SimDisk) -> Verified {
    let mut told = 0;
    let found = verify(disk, Path::new(DATA), &mut |progress| {
        assert!(told <= progress.done);
        told = progress.done;
    });
    found.unwrap()
}

fn repaired(disk: &SimDisk) -> Mended {
    repair(Arc::new(disk.clone()), Path::new(DATA), &mut |_| {}).unwrap()
}

fn everything(disk: &SimDisk) -> Found {
    let (store, _) = open(disk, StoreOptions::default());
    let found = try_read(&store.snapshot(), "__name__=~.+", i64::MIN, i64::MAX).unwrap();
    store.close(PATIENCE).unwrap();
    found
}

fn block(disk: &SimDisk, number: u64) -> PathBuf {
    let path = Path::new(DATA).join(format!("blocks/{number:08}.block"));
    assert!(disk.len(&path).is_ok());
    path
}

fn flip(disk: &SimDisk, path: &Path, at: u64) {
    disk.edit(path, |bytes| bytes[at as usize] ^= 0x10).unwrap();
}

#[test]
fn an_intact_store_is_listed_and_passes() {
    let disk = filled();
    let found = inspect(&disk, Path::new(DATA)).unwrap();
    assert_eq!(found.blocks.len(), 2);
    for block in &found.blocks {
        let parts = block.parts.as_ref().unwrap();
        let sum = parts.chunks + parts.times + parts.series + parts.values + parts.lists + parts.names_and_footer;
        assert_eq!(sum, block.entry.bytes);
        assert!(parts.chunks > parts.series && parts.times > 0 && parts.values > 0, "{parts:?}");
    }
    assert_eq!((found.deletions.len(), found.deletions[0].series), (1, 1));
    assert!(found.strays.is_empty() && found.log.damage.is_empty());
    let verified = verified(&disk);
    assert_eq!(verified.faults, []);
    assert_eq!(verified.blocks, 2);
    assert!(
        verified.records > 0 && verified.bytes > found.blocks.iter().map(|block| block.entry.bytes).sum::<u64>() / 2
    );
    assert!(repaired(&disk).is_nothing());
}

#[test]
fn a_store_in_use_is_left_alone() {
    let disk = filled();
    let (_store, _) = open(&disk, StoreOptions::default());
    let locked = |error| matches!(error, OpenError::Log(homeostat_store_wal::OpenError::Locked { .. }));
    assert!(locked(inspect(&disk, Path::new(DATA)).unwrap_err()));
    assert!(locked(verify(&disk, Path::new(DATA), &mut |_| {}).unwrap_err()));
    assert!(repair(Arc::new(disk.clone()), Path::new(DATA), &mut |_| {}).is_err());
}

#[test]
fn every_flipped_byte_of_a_block_is_found_at_its_place() {
    let disk = filled();
    let path = block(&disk, 1);
    let len = disk.len(&path).unwrap();
    // Each byte of both ends, some of the pages in between.
    for at in (0..12).chain((12..len - 300).step_by(997)).chain(len - 300..len) {
        flip(&disk, &path, at);
        let faults = verified(&disk).faults;
        // Two reserved bytes at either end say nothing; those of the trailer are under its checksum.
        if !(10..12).contains(&at) {
            assert!(!faults.is_empty(), "byte {at} of {len}");
            assert!(faults.iter().all(|fault| fault.path == path && fault.block == Some(1)), "{faults:?}");
            // A trailer without its magic could lie anywhere: it is told as the whole end.
            assert!(faults[0].offset <= at, "byte {at}: {faults:?}");
        }
        flip(&disk, &path, at);
    }
    assert_eq!(verified(&disk).faults, []);
}

#[test]
fn what_can_be_read_is_kept_and_what_cannot_is_told() {
    let disk = filled();
    let before = everything(&disk);
    let path = block(&disk, 1);
    let original = disk.read(&path, u64::MAX).unwrap();
    let chunks = inspect(&disk, Path::new(DATA)).unwrap().blocks[0].parts.as_ref().unwrap().chunks;
    // In the middle of the values, which come first.
    flip(&disk, &path, 12 + chunks / 2);
    assert!(!verified(&disk).faults.is_empty());
    let mended = repaired(&disk);
    let (damaged, salvaged) = mended.blocks[0];
    assert_eq!((mended.blocks.len(), damaged), (1, 1));
    assert!(salvaged.is_some_and(|entry| entry.samples > 100_000), "{salvaged:?}");
    let aside = Path::new(DATA).join("damaged/00000001.block");
    assert_eq!(mended.set_aside, std::slice::from_ref(&aside));
    assert_eq!(disk.read(&aside, u64::MAX).unwrap().len(), original.len());
    assert!(disk.read(&path, u64::MAX).is_err(), "the damaged block is out of the way");
    assert_eq!(verified(&disk).faults, []);
    // What is there is as it was; what is missing was told.
    assert!(!mended.lost.is_empty() && mended.lost.iter().all(|lost| lost.labels.is_some()));
    let after = everything(&disk);
    let mut missing = 0;
    for (labels, samples) in &before {
        let kept = after.iter().find(|(other, _)| other == labels).map(|(_, kept)| kept.as_slice()).unwrap_or_default();
        let (all, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (samples.iter().copied().collect(), kept.iter().copied().collect());
        assert!(kept.iter().all(|(t, seen)| all.get(t) == Some(seen)));
        let told = mended.lost.iter().find(|lost| lost.labels.as_ref() == Some(labels));
        for t in all.keys().filter(|t| !kept.contains_key(t)) {
            missing += 1;
            let told = told.is_some_and(|lost| (lost.from_ms..=lost.to_ms).contains(t) && lost.block == 1);
            assert!(told, "{labels} at {t}");
        }
    }
    assert!(missing > 0 && missing < 100_000, "{missing}");
    assert!(repaired(&disk).is_nothing());
}

#[test]
fn a_block_without_its_end_is_set_aside_and_the_others_stay() {
    let disk = filled();
    let path = block(&disk, 2);
    disk.edit(&path, |bytes| bytes.truncate(bytes.len() - 5)).unwrap();
    let mended = repaired(&disk);
    assert_eq!(mended.blocks, [(2, None)]);
    assert_eq!((mended.lost.len(), mended.lost[0].series), (1, 151));
    assert_eq!((mended.lost[0].from_ms, mended.lost[0].to_ms), (1_500_000, 2_999_002));
    assert_eq!(verified(&disk).faults, []);
    let after = everything(&disk);
    assert_eq!(after.iter().find(|(labels, _)| *labels == series(7)).unwrap().1.len(), 1500 - 10);
    assert!(after.iter().any(|(labels, _)| *labels == labels_of_fresh()), "what is in the log stays");
}

fn labels_of_fresh() -> Labels {
    labels("__name__=fresh")
}

#[test]
fn a_damaged_manifest_is_made_anew_from_the_blocks() {
    let disk = filled();
    let before = everything(&disk);
    let manifest = Path::new(DATA).join("MANIFEST");
    flip(&disk, &manifest, 30);
    let faults = verified(&disk).faults;
    assert!(faults.iter().all(|fault| fault.path == manifest) && !faults.is_empty(), "{faults:?}");
    assert!(SeriesStore::open_on(Arc::new(disk.clone()), Path::new(DATA), StoreOptions::default()).is_err());
    let mended = repaired(&disk);
    assert!(mended.manifest && mended.blocks.is_empty() && mended.lost.is_empty(), "{mended:?}");
    let after = everything(&disk);
    // Deletions are not known any more; everything else is as it was.
    for ((labels, samples), (other, more)) in before.iter().zip(&after) {
        assert_eq!(labels, other);
        assert_eq!(more.len(), if *labels == series(7) { 3000 } else { samples.len() }, "{labels}");
    }
    assert_eq!(before.len(), after.len());
}

#[test]
fn a_damaged_log_is_cut_where_the_damage_begins() {
    let disk = filled();
    let (store, _) = open(&disk, StoreOptions::default());
    for t in 0..5 {
        put(&store, &[("__name__=fresh", 3_000_001 + t, 1.0)]);
    }
    store.close(PATIENCE).unwrap();
    drop(store);
    let log = Path::new(DATA).join("log");
    let mut segments = disk.list(&log).unwrap();
    segments.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "wal"));
    segments.sort();
    let newest = log.join(segments.last().unwrap());
    flip(&disk, &newest, disk.len(&newest).unwrap() / 2);
    let faults = verified(&disk).faults;
    assert!(faults.len() == 1 && faults[0].path == newest, "{faults:?}");
    let mended = repaired(&disk);
    assert_eq!(mended.segments.len(), 1);
    assert!(mended.segments[0].side_file.is_some());
    assert_eq!(verified(&disk).faults, []);
    assert!(everything(&disk).len() >= 152);
}

#[test]
fn a_store_that_has_lost_its_manifest_is_refused_told_and_mended() {
    let disk = filled();
    let before = everything(&disk);
    let manifest = Path::new(DATA).join("MANIFEST");
    disk.remove(&manifest).unwrap();
    let opened = SeriesStore::open_on(Arc::new(disk.clone()), Path::new(DATA), StoreOptions::default());
    let error = opened.map(|_| ()).unwrap_err();
    assert!(matches!(&error, OpenError::NoManifest { path } if *path == manifest), "{error}");
    assert!(inspect(&disk, Path::new(DATA)).is_err());
    let (first, _second) = (block(&disk, 1), block(&disk, 2));
    let faults = verified(&disk).faults;
    assert!(faults.iter().any(|fault| fault.path == manifest), "{faults:?}");
    // What cannot be read of what is there is told, too.
    disk.edit(&first, |bytes| bytes.truncate(bytes.len() - 5)).unwrap();
    let mended = repaired(&disk);
    assert!(mended.manifest && mended.blocks == [(1, None)], "{mended:?}");
    let lost = &mended.lost[0];
    assert_eq!((mended.lost.len(), lost.block, lost.from_ms, lost.to_ms), (1, 1, i64::MIN, i64::MAX));
    assert_eq!(mended.set_aside, [Path::new(DATA).join("damaged/00000001.block")]);
    assert_eq!(verified(&disk).faults, []);
    let after = everything(&disk);
    assert_eq!(after.len(), before.len());
    assert_eq!(after.iter().find(|(labels, _)| *labels == series(7)).unwrap().1.len(), 1500);
}

#[test]
fn an_empty_directory_gets_its_manifest_before_its_first_block() {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    assert!(disk.len(&Path::new(DATA).join("MANIFEST")).is_ok());
    store.close(PATIENCE).unwrap();
    assert!(repaired(&disk).is_nothing());
}

#[test]
fn what_a_newer_program_has_written_is_not_damage() {
    let disk = filled();
    let whole = everything(&disk);
    let newer = |disk: &SimDisk| {
        let before: Vec<_> = disk.list(&Path::new(DATA).join("blocks")).unwrap();
        let error = repair(Arc::new(disk.clone()), Path::new(DATA), &mut |_| {}).unwrap_err();
        assert!(matches!(error, RepairError::Newer { found: 3, .. }), "{error}");
        assert_eq!(disk.list(&Path::new(DATA).join("blocks")).unwrap(), before);
        assert!(disk.list(&Path::new(DATA).join("damaged")).unwrap_or_default().is_empty());
    };
    let manifest = Path::new(DATA).join("MANIFEST");
    disk.edit(&manifest, |bytes| bytes[8] = 3).unwrap();
    newer(&disk);
    disk.edit(&manifest, |bytes| bytes[8] = 1).unwrap();
    // Another end, which nobody knows here.
    let path = block(&disk, 2);
    let original = disk.read(&path, u64::MAX).unwrap();
    disk.edit(&path, |bytes| {
        bytes[8] = 3;
        let end = bytes.len() - 28;
        bytes[end..].fill(0);
    })
    .unwrap();
    newer(&disk);
    disk.edit(&path, |bytes| bytes.clone_from(&original)).unwrap();
    assert_eq!(everything(&disk), whole);
    // An end of today behind a beginning of tomorrow is a flipped bit, and so are two ends of different versions.
    disk.edit(&path, |bytes| bytes[8] = 2).unwrap();
    assert_eq!(verified(&disk).faults.len(), 1);
    disk.edit(&path, |bytes| bytes[8] = 3).unwrap();
    assert_eq!(repaired(&disk).blocks.len(), 1);
}

#[test]
fn a_list_of_deletions_that_cannot_be_read_deletes_nothing() {
    let disk = filled();
    let manifest = Path::new(DATA).join("MANIFEST");
    let mut read = Manifest::decode(&disk.read(&manifest, u64::MAX).unwrap()).unwrap();
    // Series 3, and then one that is none.
    read.gone[0].series = vec![2, 3 << 1, 0xff, 0xff, 0x03];
    let written = read.encode();
    disk.edit(&manifest, |bytes| bytes.clone_from(&written)).unwrap();
    assert!(!verified(&disk).faults.is_empty());
    let mended = repaired(&disk);
    assert_eq!((mended.blocks.len(), mended.lost.len()), (1, 0), "{mended:?}");
    assert_eq!(verified(&disk).faults, []);
    for (labels, samples) in everything(&disk) {
        assert!(labels.metric() != Some("m") || samples.len() == 3000, "{labels}");
    }
}

#[test]
fn lists_are_compared_by_their_series_not_only_by_their_number() {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    put(&store, &[("__name__=a x=one", 1, 1.0), ("__name__=a x=two", 1, 2.0)]);
    store.flush().unwrap();
    store.close(PATIENCE).unwrap();
    let path = block(&disk, 1);
    let bytes = disk.read(&path, u64::MAX).unwrap();
    let values = parts_of(&bytes).0.values[0].0;
    let page = values.offset as usize..values.end() as usize;
    let mut payload = open_frame(&bytes[page.clone()]).unwrap().to_vec();
    // The list of `one` is that of `two` now: one series, the second instead of the first.
    let at = payload.windows(6).position(|window| window == b"one\x04\x01\x00").unwrap();
    payload[at + 5] = 1 << 1;
    let mut frame = Vec::new();
    put_frame(&payload, &mut frame);
    disk.edit(&path, |bytes| bytes[page.clone()].copy_from_slice(&frame)).unwrap();
    let faults = verified(&disk).faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].offset == values.offset && faults[0].what.contains("other series"), "{faults:?}");
}

#[test]
fn looking_leaves_a_directory_as_it_is() {
    let dir = tempfile::TempDir::new().unwrap();
    let (store, _) = SeriesStore::open(dir.path(), StoreOptions::default()).unwrap();
    put(&store, &[("__name__=a", 1, 1.0)]);
    let lock = dir.path().join("log/LOCK");
    let locked = inspect(&RealDisk, dir.path()).map(drop);
    assert!(matches!(locked, Err(OpenError::Log(homeostat_store_wal::OpenError::Locked { .. }))), "{locked:?}");
    store.close(PATIENCE).unwrap();
    drop(store);
    assert!(!inspect(&RealDisk, dir.path()).unwrap().unguarded);
    assert!(!verify(&RealDisk, dir.path(), &mut |_| {}).unwrap().unguarded);
    std::fs::remove_file(&lock).unwrap();
    assert!(inspect(&RealDisk, dir.path()).unwrap().unguarded);
    assert!(verify(&RealDisk, dir.path(), &mut |_| {}).unwrap().unguarded);
    assert!(!lock.exists(), "looking makes no file");
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    assert!(!inspect(&RealDisk, dir.path()).unwrap().unguarded, "nobody writes into a copy without a log");
}

#[test]
fn repair_takes_hold_of_a_store_before_it_reads_the_log() {
    let disk = filled();
    let log = Path::new(DATA).join("log");
    let mut segments = disk.list(&log).unwrap();
    segments.sort();
    let newest = segments.iter().rfind(|name| Path::new(name).extension().is_some_and(|e| e == "wal")).unwrap();
    let _held = disk.lock(&log).unwrap();
    flip(&disk, &log.join(newest), 3);
    let error = repair(Arc::new(disk.clone()), Path::new(DATA), &mut |_| {}).unwrap_err();
    let locked = |error: &OpenError| matches!(error, OpenError::Log(homeostat_store_wal::OpenError::Locked { .. }));
    assert!(matches!(&error, RepairError::Open(open) if locked(open)), "{error:?}");
}

/// What is counted, and how it is claimed.
type Claim = (&'static str, fn(&mut Footer));

/// The footer of a block, and where its frame begins.
fn parts_of(block: &[u8]) -> (Footer, usize) {
    let (at, _) = decode_trailer(&block[block.len() - TRAILER_BYTES..]).unwrap();
    let frame = &block[at.offset as usize..at.end() as usize];
    (Footer::decode(open_frame(frame).unwrap()).unwrap(), at.offset as usize)
}

#[test]
fn a_footer_cannot_make_readers_take_memory_for_what_is_not_there() {
    let disk = filled();
    let path = block(&disk, 1);
    let original = disk.read(&path, u64::MAX).unwrap();
    let (footer, footer_at) = parts_of(&original);
    let claims: [Claim; 7] = [
        ("pairs", |footer| footer.pairs = u32::MAX),
        ("chunks", |footer| footer.chunks = u64::MAX),
        ("columns of times", |footer| footer.times = u32::MAX),
        ("samples", |footer| footer.floats = u64::MAX),
        ("samples", |footer| (footer.floats, footer.histograms) = (u64::MAX, u64::MAX)),
        ("series", |footer| {
            footer.series = 64 * 100_000;
            let end = footer.series_pages.last().unwrap().end();
            footer.series_pages.resize(100_000, PageRef { offset: end, len: 0 });
        }),
        ("chunks", |footer| footer.chunk_pages.last_mut().unwrap().0.offset = 1 << 40),
    ];
    for (what, claim) in claims {
        let mut hostile = footer.clone();
        claim(&mut hostile);
        let mut payload = Vec::new();
        hostile.encode(&mut payload);
        let mut bytes = original[..footer_at].to_vec();
        let len = put_frame(&payload, &mut bytes);
        bytes.extend(encode_trailer(PageRef { offset: footer_at as u64, len }, BlockVersion::Plain));
        disk.edit(&path, |file| file.clone_from(&bytes)).unwrap();
        let opened = SeriesStore::open_on(Arc::new(disk.clone()), Path::new(DATA), StoreOptions::default());
        let error = opened.map(|_| ()).unwrap_err();
        let said = homeostat_model::error_chain::chain(&error);
        assert!(matches!(error, OpenError::Block(_)) && said.contains(&format!("more {what} than")), "{what}: {said}");
        let faults = verified(&disk).faults;
        assert!(faults.len() == 1 && faults[0].offset == footer_at as u64, "{what}: {faults:?}");
    }
}

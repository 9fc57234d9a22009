//! Flipped bits and cut files: reported with their place, never a panic, never a wrong sample.

use std::path::{Path, PathBuf};

use homeostat_model::Labels;
use homeostat_promql::SourceError;
use homeostat_store_series::{Batch, LabelQuery, OpenError, SeriesStore, StoreOptions};
use homeostat_store_wal::{Disk, SimDisk};

use crate::{Found, PATIENCE, labels, matchers, open, put, try_read};

fn is(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// A store with one block of several kinds of samples, closed.
fn with_block() -> (SimDisk, PathBuf) {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    for t in 0..40_i64 {
        let samples: Vec<(String, i64, f64)> = (0..6)
            .map(|at| {
                (format!("__name__=m{} instance=10.0.0.{at} job=j", at % 2), t * 1000 + at, (t * at) as f64 / 4.0)
            })
            .collect();
        let samples: Vec<_> = samples.iter().map(|(labels, t, value)| (labels.as_str(), *t, *value)).collect();
        put(&store, &samples);
    }
    let mut batch = Batch::default();
    let histogram = homeostat_model::Histogram { count: 2.0, zero_count: 2.0, ..Default::default() };
    batch.series_of(&labels("__name__=h job=j")).histogram(5, histogram);
    store.append(&mut batch).unwrap().ticket.wait(PATIENCE).unwrap();
    store.flush().unwrap();
    store.close(PATIENCE).unwrap();
    drop(store);
    let dir = Path::new("/data/blocks");
    let name = disk.list(dir).unwrap().into_iter().find(|name| is(name, "block")).unwrap();
    (disk, dir.join(name))
}

/// Names, values, series, and samples.
type Everything = (Vec<String>, Vec<String>, Vec<Labels>, Found);

/// Everything that can be asked, or the first error.
fn ask(store: &SeriesStore) -> Result<Everything, SourceError> {
    let snapshot = store.snapshot();
    let set = matchers("job=~j.*, instance!=10.0.0.9");
    let query = LabelQuery { sets: &[&set], ..LabelQuery::default() };
    Ok((
        snapshot.label_names(&LabelQuery::default())?,
        snapshot.label_values("instance", &query)?,
        snapshot.series(&query)?,
        try_read(&snapshot, "job=~j.*, instance!=10.0.0.9", i64::MIN, i64::MAX)?,
    ))
}

#[test]
fn every_flipped_bit_of_a_block_is_reported_or_harmless() {
    let (disk, block) = with_block();
    let whole = ask(&open(&disk, StoreOptions::default()).0).unwrap();
    let bytes = disk.len(&block).unwrap();
    let mut reported = 0;
    for bit in 0..bytes * 8 {
        // Neighbouring bits meet the same checks; three of each byte in turn are enough.
        if bit % 8 % 3 != (bit / 8) % 3 {
            continue;
        }
        let flip = |bytes: &mut Vec<u8>| bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        disk.edit(&block, flip).unwrap();
        match SeriesStore::open_on(std::sync::Arc::new(disk.clone()), Path::new("/data"), StoreOptions::default()) {
            Err(error) => {
                assert!(matches!(error, OpenError::Block(_)), "bit {bit}: {error}");
                reported += 1;
            }
            Ok((store, _)) => match ask(&store) {
                Ok(answer) => assert!(answer == whole, "bit {bit} changes an answer"),
                Err(_) => reported += 1,
            },
        }
        disk.edit(&block, flip).unwrap();
    }
    let tried = bytes * 8 / 3;
    assert!(reported * 100 > tried * 97, "only reserved bytes may flip unnoticed: {reported} of {tried}");
    assert_eq!(ask(&open(&disk, StoreOptions::default()).0).unwrap(), whole);
}

#[test]
fn every_cut_of_a_block_is_reported() {
    let (disk, block) = with_block();
    let mut pristine = Vec::new();
    disk.edit(&block, |bytes| pristine.clone_from(bytes)).unwrap();
    for len in (0..pristine.len()).step_by(7) {
        disk.edit(&block, |bytes| bytes.truncate(len)).unwrap();
        let opened =
            SeriesStore::open_on(std::sync::Arc::new(disk.clone()), Path::new("/data"), StoreOptions::default());
        let error = opened.map(|_| ()).unwrap_err();
        assert!(matches!(&error, OpenError::Block(error) if error.path == block), "cut at {len}: {error}");
        disk.edit(&block, |bytes| bytes.clone_from(&pristine)).unwrap();
    }
}

#[test]
fn every_flipped_bit_of_the_manifest_is_reported() {
    let (disk, _) = with_block();
    let manifest = Path::new("/data/MANIFEST");
    for bit in 0..disk.len(manifest).unwrap() * 8 {
        let flip = |bytes: &mut Vec<u8>| bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        disk.edit(manifest, flip).unwrap();
        let opened =
            SeriesStore::open_on(std::sync::Arc::new(disk.clone()), Path::new("/data"), StoreOptions::default());
        let error = opened.map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Manifest { .. }), "bit {bit}: {error}");
        disk.edit(manifest, flip).unwrap();
    }
}

#[test]
fn a_missing_block_is_reported_by_name() {
    let (disk, block) = with_block();
    disk.remove(&block).unwrap();
    let opened = SeriesStore::open_on(std::sync::Arc::new(disk), Path::new("/data"), StoreOptions::default());
    let error = opened.map(|_| ()).unwrap_err();
    assert!(matches!(&error, OpenError::Block(error) if error.path == block), "{error}");
}

/// A store whose samples are in the log only, ended in good order or killed; gives its segments.
fn with_log(closed: bool) -> (SimDisk, Vec<PathBuf>) {
    let disk = SimDisk::default();
    let options = StoreOptions { segment_bytes: 512, ..StoreOptions::default() };
    let (store, _) = open(&disk, options);
    for t in 0..30_i64 {
        put(&store, &[("__name__=a x=1", t, t as f64), ("__name__=b", t, 0.1)]);
    }
    if closed {
        store.close(PATIENCE).unwrap();
    } else {
        disk.kill();
    }
    drop(store);
    let dir = Path::new("/data/log");
    let mut segments = disk.list(dir).unwrap();
    segments.retain(|name| is(name, "wal"));
    segments.sort();
    assert!(segments.len() > 1);
    (disk, segments.into_iter().map(|name| dir.join(name)).collect())
}

#[test]
fn every_flipped_bit_of_the_log_is_reported_with_segment_and_offset() {
    for closed in [true, false] {
        let (disk, segments) = with_log(closed);
        let newest = segments.last().unwrap().clone();
        for path in &segments {
            for bit in 0..disk.len(path).unwrap() * 8 {
                if bit % 8 % 3 != (bit / 8) % 3 {
                    continue;
                }
                let flip = |bytes: &mut Vec<u8>| bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
                // Opening ends the newest segment of a killed store in a new file.
                let copy = SimDisk::default();
                for segment in &segments {
                    let bytes = disk.read(segment, u64::MAX).unwrap();
                    copy.create(segment).unwrap().append(&bytes).unwrap();
                }
                copy.edit(path, flip).unwrap();
                match SeriesStore::open_on(std::sync::Arc::new(copy), Path::new("/data"), StoreOptions::default()) {
                    Err(OpenError::Log(homeostat_store_wal::OpenError::Damaged { source, .. })) => {
                        assert!(path.ends_with(format!("{:08}.wal", source.segment)), "bit {bit}: {source}");
                        assert!(source.offset <= bit / 8, "bit {bit}: {source}");
                    }
                    Err(error) => unreachable!("bit {bit} of {}: {error}", path.display()),
                    // What a crash leaves and damage to its last commit look alike; a seal carries no records.
                    Ok((store, recovery)) => {
                        let found = try_read(&store.snapshot(), "__name__=~.+", i64::MIN, i64::MAX).unwrap();
                        let all = found.iter().map(|(_, samples)| samples.len()).sum::<usize>();
                        let torn = *path == newest && recovery.torn_tail.is_some() && all >= 58;
                        assert!(all == 60 || torn, "bit {bit} of {}: {all} samples", path.display());
                    }
                }
            }
        }
    }
}

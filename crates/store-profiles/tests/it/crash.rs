//! Crashes between the steps of a roll: nothing is lost, nothing counts twice.

use std::fs;

use homeostat_store_objects::Place;
use homeostat_store_profiles::{OpenError, ProfileStore, StoreOptions};
use homeostat_store_wal::{Disk as _, RealDisk};

use crate::support::{Bench, HOUR, T0, copy, cpu, profile, push, shown};

#[test]
fn an_object_that_is_there_before_its_records_are_forgotten_counts_once() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    push(&store, "shop", &profile(T0, &[("one", 1)]), T0);
    push(&store, "shop", &profile(T0 + 2 * HOUR, &[("other", 1)]), T0 + 2 * HOUR);
    // The log as it was before the roll.
    let before = tempfile::tempdir().unwrap();
    copy(&bench.dir.path().join("log"), before.path());
    store.maintain(T0 + 3 * HOUR);
    assert_eq!(store.stats().blocks, 1);
    drop(store);
    fs::remove_dir_all(bench.dir.path().join("log")).unwrap();
    copy(before.path(), &bench.dir.path().join("log"));
    let (store, found) = bench.open();
    assert_eq!((found.profiles, found.rolled), (1, 1));
    assert_eq!(shown(&store.merge(&cpu("shop", T0, T0 + 9 * HOUR)).unwrap()), "2 profiles: one 1, other 1");
}

/// Whoever waits for another process to end has changed nothing: that one's log has one number, for ever.
#[test]
fn a_directory_that_is_somebody_elses_gets_no_number() {
    let bench = Bench::new();
    let log = bench.dir.path().join("log");
    fs::create_dir_all(&log).unwrap();
    let other = RealDisk.lock(&log).unwrap();
    let place = Place::directory(&bench.dir.path().join("objects"), "the test's directory").unwrap();
    let open = || ProfileStore::open(&log, place.clone(), StoreOptions::default(), bench.runtime.handle().clone(), T0);
    assert!(matches!(open(), Err(OpenError::Log(_))));
    assert!(!log.join("ID").exists() && !log.join("ID.new").exists());
    drop(other);
    drop(open().unwrap());
    let number = fs::read(log.join("ID")).unwrap();
    drop(open().unwrap());
    assert_eq!(fs::read(log.join("ID")).unwrap(), number, "once and for all");
}

#[test]
fn an_object_that_was_begun_is_cleared_away() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    push(&store, "shop", &profile(T0, &[("one", 1)]), T0);
    store.flush();
    let shard = fs::read_dir(bench.dir.path().join("objects/shards")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read_dir(&shard).unwrap().next().unwrap().unwrap().path();
    drop(store);
    // What a kill within the writing of a second object leaves.
    let name = whole.file_name().unwrap().to_str().unwrap();
    let begun = shard.join(format!("{name}#1"));
    // Another store's, which may be at it.
    let foreign = shard.join("0000000000000001-0000000000000001-0000000000000002.profiles#1");
    for path in [&begun, &foreign] {
        fs::write(path, &fs::read(&whole).unwrap()[..20]).unwrap();
    }
    fs::write(shard.join("notes.txt"), "not ours").unwrap();
    let (store, found) = bench.open();
    assert_eq!((found.blocks, begun.exists(), foreign.exists()), (1, false, true));
    assert!(shard.join("notes.txt").exists());
    let merged = store.merge(&cpu("shop", T0, T0 + HOUR)).unwrap();
    assert_eq!((shown(&merged).as_str(), merged.damage.len()), ("1 profiles: one 1", 0));
}

#[test]
fn a_place_that_refuses_keeps_profiles_in_memory_and_log() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    push(&store, "shop", &profile(T0, &[("one", 1)]), T0);
    // A file where the folder of all shards should be.
    let shards = bench.dir.path().join("objects/shards");
    fs::write(&shards, "in the way").unwrap();
    store.flush();
    assert_eq!((store.stats().blocks, store.stats().shards), (0, 1));
    let asked = cpu("shop", T0, T0 + HOUR);
    assert_eq!(shown(&store.merge(&asked).unwrap()), "1 profiles: one 1");
    push(&store, "shop", &profile(T0 + 1, &[("two", 1)]), T0);
    fs::remove_file(&shards).unwrap();
    store.flush();
    assert_eq!((store.stats().blocks, store.stats().shards), (2, 0));
    assert_eq!(shown(&store.merge(&asked).unwrap()), "2 profiles: one 1, two 1");
}

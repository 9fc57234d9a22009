//! Bytes that are not what was written: told with their place, and never part of an answer.

use std::{fs, path::PathBuf};

use homeostat_store_profiles::{ProfileStore, QueryError};

use crate::support::{Bench, HOUR, T0, cpu, profile, push, shown};

fn object(bench: &Bench) -> PathBuf {
    let shard = fs::read_dir(bench.dir.path().join("objects/shards")).unwrap().next().unwrap().unwrap().path();
    fs::read_dir(shard).unwrap().next().unwrap().unwrap().path()
}

fn filled(bench: &Bench) -> ProfileStore {
    let (store, _) = bench.open();
    for at in 0..3 {
        push(&store, "shop", &profile(T0 + at, &[("main;serve", 2), ("main;gc", 1)]), T0);
        push(&store, "cart", &profile(T0 + at, &[("main;cart", 1)]), T0);
    }
    store.flush();
    store
}

#[test]
fn every_flipped_byte_is_told_and_left_out() {
    let bench = Bench::new();
    drop(filled(&bench));
    let path = object(&bench);
    let whole = fs::read(&path).unwrap();
    let asked = cpu("shop", T0, T0 + HOUR);
    let mut left_out = 0;
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        let (store, found) = bench.open();
        // What the log still has is taken from there when nobody can say whether the object holds it.
        let merged = store.merge(&asked).unwrap();
        let text = shown(&merged);
        assert!(["nothing", "3 profiles: gc 3, serve 6"].contains(&text.as_str()), "byte {at}: {text}");
        if text == "nothing" {
            left_out += 1;
            assert_eq!(merged.damage.len(), 1, "byte {at}");
            assert!(merged.damage[0].offset <= at as u64, "byte {at}: {}", merged.damage[0]);
            assert_eq!((store.stats().damaged, found.blocks), (1, 1));
            store.merge(&asked).unwrap();
            assert_eq!(store.stats().damaged, 1, "told once");
        }
    }
    // The symbols and the page of one service, at least.
    assert!(100 < left_out, "{left_out}");
}

#[test]
fn a_cut_or_missing_object_is_no_answer() {
    let bench = Bench::new();
    let store = filled(&bench);
    let path = object(&bench);
    let whole = fs::read(&path).unwrap();
    drop(store);
    // The log forgets nothing of its newest segment: without it only the object is left.
    fs::remove_dir_all(bench.dir.path().join("log")).unwrap();
    for len in [0, 1, 11, 12, 100, whole.len() - 28, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        let (store, _) = bench.open();
        let merged = store.merge(&cpu("shop", T0, T0 + HOUR)).unwrap();
        assert_eq!((shown(&merged).as_str(), merged.damage.len()), ("nothing", 1), "{len}");
        let (subjects, damage) = store.series(&cpu("shop", T0, T0 + HOUR)).unwrap();
        assert_eq!((subjects.len(), damage.len()), (0, 1));
        drop(store);
        fs::remove_dir_all(bench.dir.path().join("log")).unwrap();
    }
    fs::write(&path, &whole).unwrap();
    let (store, _) = bench.open();
    fs::remove_file(&path).unwrap();
    // Somebody else may have removed it because it was too old.
    let merged = store.merge(&cpu("shop", T0, T0 + HOUR)).unwrap();
    assert_eq!((shown(&merged).as_str(), merged.damage.len()), ("nothing", 0));
    // A file that became shorter while it was in use.
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut = store.merge(&cpu("shop", T0, T0 + HOUR));
    assert!(matches!(cut, Err(QueryError::Remote { .. })) || cut.is_ok_and(|cut| cut.damage.len() == 1));
}

#[test]
fn a_log_with_damage_is_not_opened() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    for at in 0..3 {
        push(&store, "shop", &profile(T0 + at, &[("main", 1)]), T0);
    }
    drop(store);
    let log = bench.dir.path().join("log/00000001.wal");
    let mut bytes = fs::read(&log).unwrap();
    bytes[60] ^= 1;
    fs::write(&log, bytes).unwrap();
    let place = homeostat_store_objects::Place::directory(&bench.dir.path().join("objects"), "x").unwrap();
    let options = homeostat_store_profiles::StoreOptions::default();
    let runtime = bench.runtime.handle().clone();
    let opened = ProfileStore::open(&bench.dir.path().join("log"), place, options, runtime, T0);
    let text = homeostat_model::error_chain::chain(&opened.unwrap_err());
    assert!(text.contains("00000001") && text.contains("repair"), "{text}");
}

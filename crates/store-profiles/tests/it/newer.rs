//! What a newer program has written is told as that, and stays as it is.

use std::{fs, sync::Arc, time::Duration};

use homeostat_store_objects::Place;
use homeostat_store_profiles::{DamageKind, OpenError, ProfileStore, StoreOptions};
use homeostat_store_wal::{Flush, RealDisk, Wal, WalOptions};
use homeostat_wire::profiles::put_part;

use crate::support::{Bench, HOUR, T0, cpu, profile, push, shown};

fn try_open(bench: &Bench) -> Result<(ProfileStore, homeostat_store_profiles::Recovery), OpenError> {
    let place = Place::directory(&bench.dir.path().join("objects"), "objects").unwrap();
    let options = StoreOptions { retention: None, ..StoreOptions::default() };
    ProfileStore::open(&bench.dir.path().join("log"), place, options, bench.runtime.handle().clone(), T0)
}

fn append(bench: &Bench, content: &[u8]) {
    let mut record = Vec::new();
    put_part(content, &mut record).unwrap();
    let log = bench.dir.path().join("log");
    let (wal, _) = Wal::open(&log, WalOptions::default(), Arc::new(RealDisk)).unwrap();
    let _durable = wal.append(&record, Flush::Now).unwrap().wait(Duration::from_mins(1)).unwrap();
    wal.close(Duration::from_mins(1)).unwrap();
}

#[test]
fn a_record_of_a_newer_program_keeps_the_log_as_it_is() {
    let bench = Bench::new();
    append(&bench, &[3, 1, 1, 1]);
    let refused = try_open(&bench).unwrap_err();
    assert!(matches!(&refused, OpenError::Newer { what } if what.contains("record 1 ")), "{refused}");
}

#[test]
fn a_record_that_nobody_can_read_is_kept_beside_the_log() {
    let bench = Bench::new();
    append(&bench, &[1, 99]);
    let (_store, found) = try_open(&bench).unwrap();
    assert_eq!((found.unreadable, found.profiles), (1, 0));
    assert!(bench.dir.path().join("log/unreadable-0000000000000001").exists());
}

#[test]
fn an_object_of_a_newer_program_is_neither_read_nor_written_over() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    push(&store, "shop", &profile(T0, &[("one", 1)]), T0);
    store.flush();
    drop(store);
    let shard = fs::read_dir(bench.dir.path().join("objects/shards")).unwrap().next().unwrap().unwrap().path();
    let path = fs::read_dir(shard).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let trailer = bytes.len() - 28;
    bytes[trailer + 12] = 2;
    let sum = crc32c::crc32c(&bytes[trailer..trailer + 16]).to_le_bytes();
    bytes[trailer + 16..trailer + 20].copy_from_slice(&sum);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(try_open(&bench).unwrap_err(), OpenError::Newer { .. }));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    // Another log may have written it: then it is left out, and not called damaged.
    fs::remove_dir_all(bench.dir.path().join("log")).unwrap();
    let (store, _) = bench.open();
    let merged = store.merge(&cpu("shop", T0, T0 + HOUR)).unwrap();
    assert_eq!((shown(&merged).as_str(), merged.damage[0].kind), ("nothing", DamageKind::Newer));
    let told = merged.damage[0].to_string();
    assert!(told.contains("format version 2 is not known here"), "{told}");
}

//! Files of format 1 stay readable: an object and a log that were written when the format was made are in the tree.
//!
//! `REGENERATE_FIXTURES=1` writes them anew; that is for a new format, with the old files kept beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::{Bench, HOUR, T0, copy, cpu, open, profile, push, shown};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

#[test]
fn files_of_format_1_are_readable() {
    let bench = Bench::new();
    if std::env::var_os("REGENERATE_FIXTURES").is_some() {
        let (store, _) = bench.open();
        for at in 0..3 {
            push(&store, "shop", &profile(T0 + at, &[("main;serve;json", 5 + at), ("main;gc", 1)]), T0);
        }
        store.flush();
        push(&store, "shop", &profile(T0 + 3, &[("main;late", 1)]), T0);
        drop(store);
        drop(fs::remove_dir_all(folder()));
        copy(bench.dir.path(), &folder());
    }
    let work = tempfile::tempdir().unwrap();
    copy(&folder(), work.path());
    let options = homeostat_store_profiles::StoreOptions { retention: None, ..Default::default() };
    let (store, found) = open(work.path(), options, bench.runtime.handle().clone(), T0);
    assert_eq!((found.profiles, found.rolled, found.blocks, found.unreadable), (1, 3, 1, 0));
    let merged = store.merge(&cpu("shop", T0, T0 + HOUR)).unwrap();
    assert_eq!(shown(&merged), "4 profiles: gc 3, json 18, late 1");
    assert_eq!(merged.damage, []);
}

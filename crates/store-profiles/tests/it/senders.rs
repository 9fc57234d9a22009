//! Windows of senders count once: sent again at once, after a restart, after an object was written and the log has forgotten.

use std::time::Duration;

use homeostat_store_profiles::{NotStored, OpenError, ProfileStore, Pushed, StoreOptions, WindowId};

use crate::support::{Bench, HOUR, T0, cpu, labels, profile, shown};

/// Sends a window of one sample; whether it was new.
fn send(store: &ProfileStore, sender: u64, number: u64) -> bool {
    let profile = profile(T0, &[(&format!("s{sender}w{number}"), 1)]);
    match store.push_once(WindowId { sender, number }, &labels("shop"), &profile, T0).unwrap() {
        Pushed::Taken(ticket) => {
            let _durable = ticket.wait(Duration::from_mins(1)).unwrap();
            true
        }
        Pushed::Repeated(ticket) => {
            let _durable = ticket.map(|ticket| ticket.wait(Duration::from_mins(1)).unwrap());
            false
        }
    }
}

fn all(store: &ProfileStore) -> String {
    shown(&store.merge(&cpu("shop", T0, T0 + HOUR)).unwrap())
}

#[test]
fn a_window_that_is_sent_again_counts_once_wherever_the_first_one_is() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    assert!(send(&store, 7, 1) && !send(&store, 7, 1));
    drop(store);
    // In the log.
    let (store, _) = bench.open();
    assert!(!send(&store, 7, 1) && send(&store, 8, 5) && send(&store, 8, 9), "numbers may be left out");
    assert!(!send(&store, 8, 7), "a later one was taken, so this one was dropped by its sender, or taken");
    // In an object: the first segment of the log goes, and with it what sender 7 is known by.
    store.flush();
    drop(store);
    let file = bench.dir.path().join("log/senders");
    assert!(file.exists());
    for _ in 0..2 {
        let (store, _) = bench.open();
        assert!(!send(&store, 7, 1) && !send(&store, 8, 9));
        assert_eq!(all(&store), "3 profiles: s7w1 1, s8w5 1, s8w9 1");
        assert_eq!((store.stats().senders, store.stats().repeated), (2, 2));
    }
    // Without the file the log alone says who was heard, which shows what the file is for.
    std::fs::remove_file(&file).unwrap();
    let (store, _) = bench.open();
    assert!(!send(&store, 8, 9) && send(&store, 7, 1));
    drop(store);
    std::fs::write(&file, "nonsense").unwrap();
    let open = homeostat_store_objects::Place::directory(&bench.dir.path().join("objects"), "here");
    let opened = ProfileStore::open(
        &bench.dir.path().join("log"),
        open.unwrap(),
        StoreOptions::default(),
        bench.runtime.handle().clone(),
        T0,
    );
    assert!(matches!(opened, Err(OpenError::Senders { .. })), "{opened:?}");
}

#[test]
fn a_window_that_was_refused_may_come_again() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let late = profile(T0 - 24 * 400 * HOUR, &[("old", 1)]);
    let refused = store.push_once(WindowId { sender: 7, number: 3 }, &labels("shop"), &late, T0).unwrap_err();
    assert!(matches!(refused, NotStored::Late { .. }), "{refused}");
    assert!(send(&store, 7, 3));
}

//! Buckets that fail: nothing counts twice, nothing is added up wrongly, and few objects are made.

use homeostat_store_profiles::{NotStored, OpenError, ProfileStore, StoreOptions};

use crate::{
    bucket::Bucket,
    support::{Bench, HOUR, T0, cpu, labels, profile, push, shown},
};

fn kept() -> StoreOptions {
    StoreOptions { retention: None, ..StoreOptions::default() }
}

fn open(bench: &Bench, bucket: &Bucket, options: StoreOptions) -> Result<ProfileStore, OpenError> {
    let (log, runtime) = (bench.dir.path().join("log"), bench.runtime.handle().clone());
    ProfileStore::open(&log, bucket.place(), options, runtime, T0).map(|(store, _)| store)
}

fn all(store: &ProfileStore) -> String {
    shown(&store.merge(&cpu("shop", T0, T0 + 9 * HOUR)).unwrap())
}

#[test]
fn a_bucket_that_does_not_answer_at_opening_is_told_and_nothing_counts_twice() {
    let (bench, bucket) = (Bench::new(), Bucket::default());
    let store = open(&bench, &bucket, kept()).unwrap();
    push(&store, "shop", &profile(T0, &[("one", 1)]), T0);
    store.flush();
    drop(store);
    bucket.set(|faults| faults.refuses_gets = true);
    assert!(matches!(open(&bench, &bucket, kept()).unwrap_err(), OpenError::Footer { .. }));
    bucket.set(|faults| faults.refuses_gets = false);
    let store = open(&bench, &bucket, kept()).unwrap();
    push(&store, "shop", &profile(T0 + 1, &[("two", 1)]), T0);
    store.flush();
    assert_eq!(all(&store), "2 profiles: one 1, two 1");
}

#[test]
fn an_object_that_vanishes_within_a_question_leaves_the_numbers_of_others_alone() {
    let (bench, bucket) = (Bench::new(), Bucket::default());
    let store = open(&bench, &bucket, kept()).unwrap();
    // Two series are two pages.
    for zone in ["a", "b"] {
        let ticket = store.push(&labels("shop").with("zone", zone), &profile(T0, &[("gone", 1)]), T0).unwrap();
        let _durable = ticket.wait(std::time::Duration::from_mins(1)).unwrap();
    }
    push(&store, "shop", &profile(T0 + 2 * HOUR, &[("stays", 100)]), T0 + 2 * HOUR);
    store.flush();
    assert_eq!(all(&store), "3 profiles: gone 2, stays 100");
    // Its symbols and its first page are read; the footer is known.
    bucket.set(|faults| faults.vanishes = Some((T0.to_string(), 2)));
    assert_eq!(all(&store), "2 profiles: gone 1, stays 100");
}

#[test]
fn an_object_whose_answer_is_lost_counts_once() {
    let (bench, bucket) = (Bench::new(), Bucket::default());
    let store = open(&bench, &bucket, kept()).unwrap();
    push(&store, "shop", &profile(T0, &[("one", 1)]), T0);
    bucket.set(|faults| faults.lost_answers = 2);
    store.flush();
    for (blocks, shards) in [(0, 1), (1, 0), (1, 0)] {
        store.maintain(T0 + HOUR);
        assert_eq!((store.stats().blocks, store.stats().shards), (blocks, shards));
        assert_eq!(all(&store), "1 profiles: one 1");
    }
}

#[test]
fn a_long_outage_makes_few_objects() {
    let (bench, bucket) = (Bench::new(), Bucket::default());
    let store = open(&bench, &bucket, StoreOptions { head_bytes_max: 60_000, ..kept() }).unwrap();
    bucket.set(|faults| faults.refuses_puts = true);
    let names: Vec<String> = (0..200).map(|n| format!("function {n}")).collect();
    let large: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    push(&store, "shop", &profile(T0, &large), T0);
    for at in 1..6 {
        store.maintain(T0 + at);
        push(&store, "shop", &profile(T0 + at, &[("main", 1)]), T0);
    }
    assert_eq!(store.stats().shards, 2, "what waits for the bucket, and what comes meanwhile");
    bucket.set(|faults| faults.refuses_puts = false);
    store.flush();
    assert_eq!((store.stats().blocks, store.stats().shards), (2, 0));
}

#[test]
fn a_request_is_taken_as_a_whole_or_not_at_all() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let good = (labels("shop"), profile(T0, &[("one", 1)]));
    let ahead = (labels("shop"), profile(T0 + HOUR, &[("two", 1)]));
    for request in [vec![good.clone(), ahead.clone()], vec![ahead, good.clone()]] {
        assert!(matches!(store.push_all(&request, T0), Err(NotStored::Ahead { .. })));
        assert_eq!((all(&store).as_str(), store.stats().pushed), ("nothing", 0));
    }
    assert_eq!(store.push_all(&[good.clone(), good], T0).unwrap().len(), 2);
    assert_eq!(all(&store), "2 profiles: one 2");
}

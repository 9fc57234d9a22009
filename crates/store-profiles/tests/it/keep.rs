//! What is pushed comes back.

use std::time::Duration;

use homeostat_model::profile::{Profile, ValueType};
use homeostat_profile::{merge, weights};
use homeostat_promql::{Matcher, MatcherOp};
use homeostat_store_profiles::{Columns, NotStored, Query, QueryError, StoreOptions};
use proptest::{collection::vec, prelude::*};

use crate::support::{Bench, HOUR, T0, cpu, labels, profile, push, shown};

#[test]
fn a_profile_is_seen_at_once_and_after_rolls_and_restarts() {
    let bench = Bench::new();
    let (store, found) = bench.open();
    assert_eq!((found.profiles, found.blocks), (0, 0));
    push(&store, "shop", &profile(T0, &[("main;serve;json", 5), ("main;gc", 2)]), T0);
    push(&store, "shop", &profile(T0 + 1000, &[("main;serve", 1), ("main;serve;json", 3)]), T0);
    push(&store, "cart", &profile(T0 + 1000, &[("main;cart", 9)]), T0);
    let asked = cpu("shop", T0, T0 + HOUR);
    let expected = "2 profiles: gc 2, json 8, serve 1";
    assert_eq!(shown(&store.merge(&asked).unwrap()), expected);
    let only_second = cpu("shop", T0 + 1, T0 + HOUR);
    assert_eq!(shown(&store.merge(&only_second).unwrap()), "1 profiles: json 3, serve 1");
    // A roll that is not due changes nothing.
    store.maintain(T0 + HOUR);
    assert_eq!((store.stats().shards, store.stats().blocks), (1, 0));
    store.maintain(T0 + 3 * HOUR);
    assert_eq!((store.stats().shards, store.stats().blocks, store.stats().rolled), (0, 1, 1));
    assert_eq!(shown(&store.merge(&asked).unwrap()), expected);
    assert_eq!(shown(&store.merge(&only_second).unwrap()), "1 profiles: json 3, serve 1");
    // What comes late goes into the same shard, and counts beside the object.
    push(&store, "shop", &profile(T0 + 2000, &[("main;late", 1)]), T0 + 3 * HOUR);
    assert_eq!(shown(&store.merge(&asked).unwrap()), "3 profiles: gc 2, json 8, late 1, serve 1");
    store.close(Duration::from_secs(9)).unwrap();
    drop(store);
    let (store, found) = bench.open();
    assert_eq!((found.profiles, found.rolled, found.blocks, found.unreadable), (1, 3, 1, 0));
    assert_eq!(shown(&store.merge(&asked).unwrap()), "3 profiles: gc 2, json 8, late 1, serve 1");
    store.flush();
    assert_eq!((store.stats().blocks, store.stats().shards), (2, 0));
    assert_eq!(shown(&store.merge(&asked).unwrap()), "3 profiles: gc 2, json 8, late 1, serve 1");
    assert_eq!(shown(&store.merge(&cpu("cart", T0, T0 + HOUR)).unwrap()), "1 profiles: cart 9");
    assert_eq!(shown(&store.merge(&cpu("none", T0, T0 + HOUR)).unwrap()), "nothing");
}

#[test]
fn matchers_and_types_choose_series() {
    let bench = Bench::new();
    let (store, _) = bench.open();
    let mut heap = Profile::new(vec![ValueType::new("inuse_space", "bytes")]);
    heap.started_ns = T0 * 1_000_000;
    let ticket = store.push(&labels("shop").with("__name__", "memory"), &heap, T0).unwrap();
    let _durable = ticket.wait(Duration::from_mins(1)).unwrap();
    for service in ["shop", "cart"] {
        push(&store, service, &profile(T0, &[("main", 1)]), T0);
    }
    for _ in 0..2 {
        let all = Query { columns: Columns::One(ValueType::new("cpu", "nanoseconds")), ..Query::all(T0, T0 + 1) };
        assert_eq!(shown(&store.merge(&all).unwrap()), "2 profiles: main 2");
        let matchers = vec![Matcher::new("service_name", MatcherOp::NotRegex, "sh.*").unwrap()];
        assert_eq!(shown(&store.merge(&Query { matchers, ..all }).unwrap()), "1 profiles: main 1");
        let (subjects, damage) = store.series(&Query::all(T0, T0 + 1)).unwrap();
        let names: Vec<_> = subjects.iter().map(|s| (s.labels.value("service_name"), s.types.len())).collect();
        assert_eq!((names, damage), (vec![("shop", 1), ("cart", 2), ("shop", 2)], vec![]));
        assert!(store.series(&Query::all(T0 + 1, T0 + 2)).unwrap().0.is_empty());
        let (groups, _) = store.totals(&cpu("shop", T0 - 5000, T0 + 5000), &["zone".to_owned()], 3000).unwrap();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].labels.to_string(), r#"{zone="a"}"#);
        assert_eq!(groups[0].points, [(T0 - 2000, 10_000_000)]);
        store.flush();
    }
    let too_fine = store.totals(&cpu("shop", T0, T0 + HOUR), &[], 1);
    assert!(matches!(too_fine, Err(QueryError::TooMuch { .. })));
    let given_up = cpu("shop", T0, T0 + HOUR);
    given_up.given_up.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(store.merge(&given_up), Err(QueryError::GivenUp)));
}

#[test]
fn old_shards_go_as_a_whole() {
    let bench = Bench::new();
    let options = StoreOptions { retention: Some(Duration::from_hours(4)), ..StoreOptions::default() };
    let (store, _) = bench.open_with(options, T0);
    push(&store, "shop", &profile(T0, &[("old", 1)]), T0);
    push(&store, "shop", &profile(T0 + 2 * HOUR, &[("new", 1)]), T0 + 2 * HOUR);
    store.flush();
    store.maintain(T0 + 6 * HOUR - 1);
    assert_eq!(store.stats().blocks, 2);
    store.maintain(T0 + 6 * HOUR);
    assert_eq!((store.stats().blocks, store.stats().expired), (1, 1));
    assert_eq!(shown(&store.merge(&cpu("shop", T0, T0 + 9 * HOUR)).unwrap()), "1 profiles: new 1");
    let late = store.push(&labels("shop"), &profile(T0, &[("old", 1)]), T0 + 6 * HOUR);
    assert!(matches!(late, Err(NotStored::Late { .. })));
}

#[test]
fn what_cannot_be_kept_is_told() {
    let bench = Bench::new();
    let options = StoreOptions { head_bytes_max: 100, ..StoreOptions::default() };
    let (store, _) = bench.open_with(options, T0);
    let some = profile(T0, &[("a;b;c", 1)]);
    let ahead = store.push(&labels("x"), &profile(T0 + HOUR, &[]), T0).unwrap_err();
    assert!(
        matches!(ahead, NotStored::Ahead { .. }) && ahead.to_string().contains("ten minutes ahead of our"),
        "{ahead}"
    );
    assert!(matches!(store.push(&labels("x"), &Profile::new(vec![]), T0), Err(NotStored::NoTypes)));
    let long = labels("x").with("long", &"y".repeat(20_000));
    assert!(matches!(store.push(&long, &some, T0), Err(NotStored::Labels { .. })));
    push(&store, "x", &some, T0);
    assert!(matches!(store.push(&labels("x"), &some, T0), Err(NotStored::Busy)));
    // Too much for the memory: the shard is written before its time.
    store.maintain(T0);
    assert_eq!(store.stats().blocks, 1);
    push(&store, "x", &some, T0);
    assert_eq!(shown(&store.merge(&cpu("x", T0, T0 + 1)).unwrap()), "2 profiles: c 2");
    let mut undated = some.clone();
    undated.started_ns = 0;
    store.maintain(T0);
    push(&store, "now", &undated, T0 + 5);
    assert_eq!(shown(&store.merge(&cpu("now", T0 + 5, T0 + 6)).unwrap()), "1 profiles: c 1");
}

proptest! {
    #![proptest_config(match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        // Each case opens a store on a disk.
        None => ProptestConfig::with_cases(24),
    })]

    /// Whatever is pushed in whatever order, with rolls and restarts in between: the sum is that of all profiles.
    #[test]
    fn sums_are_those_of_all_profiles(
        steps in vec((0_usize..3, 0_i64..5 * HOUR, vec((0_usize..6, 0_i64..100), 0..6), 0_u8..8), 1..12),
        from in 0_i64..5 * HOUR,
        length in 1_i64..5 * HOUR,
    ) {
        const STACKS: [&str; 6] = ["a", "a;b", "a;b;c", "b;a", "b;b;b", "d"];
        let bench = Bench::new();
        let (mut store, _) = bench.open();
        let mut all = Vec::new();
        for (service, at, rows, then) in steps {
            let rows: Vec<_> = rows.iter().map(|(stack, samples)| (STACKS[*stack], *samples)).collect();
            let pushed = profile(T0 + at, &rows);
            push(&store, ["x", "y", "z"][service], &pushed, T0 + 5 * HOUR);
            all.push(pushed);
            match then {
                0 => store.flush(),
                1 => store.maintain(T0 + 5 * HOUR),
                2 => {
                    // Waited for as long as a busy disk takes.
                    store.close(Duration::from_mins(1)).unwrap();
                    drop(store);
                    (store, _) = bench.open();
                }
                _ => {}
            }
        }
        let range = (T0 + from) * 1_000_000..(T0 + from + length) * 1_000_000;
        let expected = merge(all.iter().filter(|profile| range.contains(&profile.started_ns)));
        let query = Query { columns: Columns::All, ..Query::all(T0 + from, T0 + from + length) };
        let found = store.merge(&query).unwrap();
        prop_assert_eq!(found.damage, vec![]);
        let weigh = |profile: &Option<Profile>, column| {
            let mut found = profile.as_ref().map(|profile| weights(profile, column)).unwrap_or_default();
            found.functions.retain(|_, weight| weight.total != 0);
            found
        };
        for column in [0, 1] {
            prop_assert_eq!(weigh(&found.profile, column), weigh(&expected, column));
        }
        let times = |profile: &Option<Profile>| profile.as_ref().map(|profile| (profile.started_ns, profile.duration_ns));
        prop_assert_eq!(times(&found.profile), times(&expected));
    }
}

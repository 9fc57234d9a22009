//! Sums, differences, weights and pictures, on small profiles whose answers are known and on random ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;

use homeostat_model::profile::{Frame, LabelSet, Profile, Stack, Text, ValueType};
use homeostat_profile::{Drawing, delta, flame, flame_diff, merge, svg, weights};
use proptest::prelude::*;

/// A profile of lines such as `main;serve;parse 3`.
fn profile(lines: &[&str]) -> Profile {
    let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
    for line in lines {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        let mut at = Stack::EMPTY;
        for name in stack.split(';') {
            let (function, none) = (profile.intern(name), Text::EMPTY);
            let frame = Frame { function, file: none, line: 0, module: none, address: 0, inlined: false };
            at = profile.push_frame(at, frame);
        }
        profile.add(at, LabelSet::NONE, &[count.parse().unwrap()]);
    }
    profile
}

/// The lines again, sorted.
fn lines(profile: &Profile) -> Vec<String> {
    let mut lines: Vec<_> = profile
        .rows()
        .map(|row| {
            let mut names: Vec<_> = profile.stacks().walk(row.stack).map(|frame| profile.frame_name(frame)).collect();
            names.reverse();
            format!("{} {}", names.join(";"), row.values.first().unwrap())
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_sum_has_every_stack_once() {
    let (mut one, mut two) = (profile(&["a;b 1", "a;c 2"]), profile(&["x 9", "a;c 5", "a 1"]));
    (one.started_ns, one.duration_ns, two.started_ns, two.duration_ns) = (200, 10, 100, 20);
    let sum = merge([&one, &two]).unwrap();
    assert_eq!(lines(&sum), ["a 1", "a;b 1", "a;c 7", "x 9"]);
    assert_eq!((sum.started_ns, sum.duration_ns), (100, 30));
    assert!(merge([]).is_none());
    // Columns are found by what they count, not by their place.
    let mut other = Profile::new(vec![ValueType::new("cpu", "nanoseconds"), ValueType::new("samples", "count")]);
    other.add(Stack::EMPTY, LabelSet::NONE, &[7, 3]);
    assert_eq!(merge([&one, &other]).unwrap().total(0), 6);
}

#[test]
fn a_difference_has_what_was_added_and_a_restart_is_seen() {
    let (earlier, later) = (profile(&["a 5", "b 2"]), profile(&["a 8", "b 2", "c 1"]));
    let added = delta(&earlier, &later, &["samples"]);
    assert_eq!((lines(&added.profile), added.reset), (vec!["a 3".to_owned(), "c 1".to_owned()], false));
    let anew = delta(&later, &earlier, &["samples"]);
    assert_eq!((lines(&anew.profile), anew.reset), (lines(&earlier), true));
    // A column that may fall says nothing about a restart.
    let fell = delta(&later, &earlier, &[]);
    assert_eq!((lines(&fell.profile), fell.reset), (vec!["a -3".to_owned(), "c -1".to_owned()], false));
}

#[test]
fn a_recursion_weighs_once() {
    let weights = weights(&profile(&["main;walk;walk;walk 4", "main;walk;leaf 1", "main;leaf;walk 2"]), 0);
    let weight = |name: &str| (weights.functions[name].own, weights.functions[name].total);
    assert_eq!((weight("main"), weight("walk"), weight("leaf")), ((0, 7), (6, 7), (1, 3)));
    assert_eq!(weights.sum, 7);
}

#[test]
fn levels_are_flat_arrays_of_four() {
    let flame = flame(&profile(&["a;b 1", "a;c 2", "d 3"]), 0);
    assert_eq!(flame.names, ["total", "a", "b", "c", "d"]);
    let levels = flame.levels();
    assert_eq!(levels, [vec![0, 6, 0, 0], vec![0, 3, 0, 1, 0, 3, 3, 4], vec![0, 1, 1, 2, 0, 2, 2, 3]]);
}

#[test]
fn pictures_keep_what_vanished_and_escape_what_is_hostile() {
    let (before, now) = (profile(&["main;gone 5", "main;stays 5"]), profile(&["main;stays 5", "<script>&\u{1} 5"]));
    let moved: BTreeSet<String> = ["gone".to_owned()].into();
    let drawn = svg(&flame_diff(&before, 0, &now, 0), &Drawing { title: "a<b", unit: "samples", moved: Some(&moved) });
    assert!(drawn.contains("gone: 50.00 % before, 0.00 % now (-50.00 points)"), "{drawn}");
    assert!(drawn.contains("&lt;script&gt;&amp;\u{fffd}") && !drawn.contains("<script>"), "{drawn}");
    assert!(drawn.contains(">a&lt;b<"), "{drawn}");
}

#[test]
fn stacks_of_any_depth_are_drawn_and_weighed() {
    let deep = format!("{}leaf 1", "f;g;".repeat(8_000));
    let profile = profile(&[&deep]);
    assert_eq!(weights(&profile, 0).functions["f"].total, 1);
    let flame = flame(&profile, 0);
    assert_eq!((flame.nodes.len(), flame.levels().len()), (16_002, 16_002));
    assert!(svg(&flame, &Drawing::default()).ends_with("</svg>\n"));
}

/// Random lines over few names, so that stacks meet.
fn any_lines() -> impl Strategy<Value = Vec<String>> {
    let stack = proptest::collection::vec(prop_oneof!["a", "b", "c", "d"], 1..6);
    proptest::collection::vec((stack, 1..100_i64).prop_map(|(stack, n)| format!("{} {n}", stack.join(";"))), 1..20)
}

fn of(lines: &[String]) -> Profile {
    profile(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn sums_and_differences_undo_each_other(a in any_lines(), b in any_lines()) {
        let (a, b) = (of(&a), of(&b));
        let sum = merge([&a, &b]).unwrap();
        prop_assert_eq!(sum.total(0), a.total(0) + b.total(0));
        prop_assert_eq!(lines(&sum), lines(&merge([&b, &a]).unwrap()));
        prop_assert_eq!(lines(&delta(&b, &sum, &["samples"]).profile), lines(&a));
    }

    #[test]
    fn weights_are_what_counting_by_hand_gives(all in any_lines()) {
        let found = weights(&of(&all), 0);
        for (name, weight) in &found.functions {
            let (mut own, mut total) = (0, 0);
            for line in &all {
                let (stack, count) = line.rsplit_once(' ').unwrap();
                let (names, count) = (stack.split(';').collect::<Vec<_>>(), count.parse::<i64>().unwrap());
                own += if names.last() == Some(&name.as_str()) { count } else { 0 };
                total += if names.contains(&name.as_str()) { count } else { 0 };
            }
            prop_assert_eq!((weight.own, weight.total), (own, total), "{}", name);
        }
        let flame = flame(&of(&all), 0);
        for node in &flame.nodes {
            let below: i64 = node.children.iter().map(|child| flame.nodes[*child].total[1]).sum();
            prop_assert_eq!(node.total[1], node.own[1] + below);
        }
    }
}

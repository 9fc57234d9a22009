//! Evaluation as a whole: random queries against a naive model, limits, cancellation.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::float_cmp,
    reason = "a model that is wrong may stop the test"
)]

#[path = "acceptance/memory.rs"]
mod memory;
#[path = "evaluation/naive.rs"]
mod naive;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use homeostat_model::{Labels, SampleValue, sample::stale_marker};
use homeostat_promql::{
    ParseOptions,
    eval::{Answer, EvalError, Limits, Options, Value, evaluate_instant, evaluate_range},
    parse,
};
use memory::Memory;
use naive::{Naive, TIE, Value as NaiveValue, World};
use proptest::prelude::*;

const START_MS: i64 = 60_000;
const END_MS: i64 = 240_000;
const STEP_MS: i64 = 20_000;

fn options(delayed_name_removal: bool) -> Options {
    Options { lookback_ms: 45_000, subquery_step_ms: 60_000, delayed_name_removal, ..Options::default() }
}

/// Samples of a series: gaps, equal neighbours, falls, ends.
fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let sample = prop_oneof![8 => (0..4_i32).prop_map(f64::from), 1 => Just(stale_marker())];
    prop::collection::vec((1_000..40_000_i64, sample), 0..16).prop_map(|steps| {
        let mut t_ms = 0;
        let timed = steps.into_iter().map(|(gap_ms, value)| {
            t_ms += gap_ms;
            (t_ms, value)
        });
        timed.collect()
    })
}

fn world() -> impl Strategy<Value = World> {
    prop::collection::vec(samples(), 8).prop_map(|all| {
        let labels = |index: usize| {
            let name = if index < 4 { "a" } else { "b" };
            Labels::new([("__name__", name), ("x", ["1", "2"][index % 2]), ("y", ["1", "2"][index / 2 % 2])])
        };
        all.into_iter().enumerate().map(|(index, samples)| (labels(index), samples)).collect()
    })
}

fn selector() -> impl Strategy<Value = String> {
    let which = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("a{x=\"1\"}".to_owned()),
        Just("{x=\"1\",y=\"2\"}".to_owned()),
        Just("b{y!=\"1\"}".to_owned()),
    ];
    let shift = prop_oneof![
        6 => Just(String::new()),
        1 => Just(" offset 30s".to_owned()),
        1 => Just(" offset -15s".to_owned()),
        1 => Just(" @ 100".to_owned()),
        1 => Just(" @ end() offset 10s".to_owned()),
        1 => Just(" @ start()".to_owned()),
    ];
    (which, shift).prop_map(|(which, shift)| format!("{which}|{shift}"))
}

/// A selector, with a range or a subquery in it if need be; the shift comes last.
fn place(selector: &str, range: &str) -> String {
    let (which, shift) = selector.split_once('|').unwrap_or((selector, ""));
    format!("{which}{range}{shift}")
}

fn query() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => selector().prop_map(|selector| place(&selector, "")),
        3 => (over_time(), selector(), prop_oneof![Just("[1m]"), Just("[25s]"), Just("[2m]")])
            .prop_map(|(function, selector, range)| format!("{function}({})", place(&selector, range))),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            1 => inner.clone().prop_map(|inner| format!("-({inner})")),
            1 => inner.clone().prop_map(|inner| format!("abs({inner})")),
            2 => (over_time(), inner.clone(), prop_oneof![Just("[1m:7s]"), Just("[2m:]"), Just("[90s:30s] offset 13s"), Just("[1m:10s] @ 170")])
                .prop_map(|(function, inner, range)| format!("{function}(({inner}){range})")),
            3 => (aggregation(), grouping(), inner.clone()).prop_map(|(op, by, inner)| match op {
                "topk" | "bottomk" => format!("{op} {by} (2, {inner})"),
                op => format!("{op} {by} ({inner})"),
            }),
            2 => (operator(), inner.clone(), prop_oneof![Just("1"), Just("2 * 1.5")])
                .prop_map(|(op, inner, number)| format!("({inner}) {op} {number}")),
            1 => (operator(), inner.clone()).prop_map(|(op, inner)| format!("2 {op} ({inner})")),
            4 => (operator(), matching(), inner.clone(), inner.clone())
                .prop_map(|(op, matching, a, b)| format!("({a}) {op} {matching} ({b})")),
            3 => (prop_oneof![Just("and"), Just("or"), Just("unless")], prop_oneof![Just(""), Just("on (x)"), Just("ignoring (y)")], inner.clone(), inner)
                .prop_map(|(op, matching, a, b)| format!("({a}) {op} {matching} ({b})")),
        ]
    })
}

fn over_time() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "count_over_time",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "last_over_time",
        "present_over_time",
        "changes",
        "resets",
    ])
}

fn aggregation() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["sum", "avg", "count", "group", "min", "max", "stdvar", "topk", "bottomk"])
}

fn grouping() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "by (x)", "by (y, x)", "without (x)", "without ()"])
}

fn operator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["+", "-", "*", ">", "<=", "==", "!= bool", "> bool"])
}

fn matching() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "",
        "on (x)",
        "on (x, y)",
        "ignoring (x)",
        "on (x) group_left ()",
        "on (y) group_right ()",
        "on (x) group_left (y)",
    ])
}

fn memory(world: &World) -> Memory {
    let mut memory = Memory::default();
    for (labels, samples) in world {
        for (t_ms, value) in samples {
            memory.add(labels, *t_ms, SampleValue::Float(*value));
        }
    }
    memory
}

type ByTime = BTreeMap<i64, BTreeMap<Labels, f64>>;

/// What the model gives at every step; an error when it has no answer at one of them.
fn model(world: &World, query: &str, noise: f64) -> Result<ByTime, String> {
    let expr = parse(query, &ParseOptions::all()).unwrap_or_else(|error| panic!("{query}: {error}"));
    let naive = Naive { world, lookback_ms: 45_000, start_ms: START_MS, end_ms: END_MS, noise };
    let mut all = ByTime::new();
    for t_ms in (START_MS..=END_MS).step_by(STEP_MS as usize) {
        let NaiveValue::Vector(elements) = naive.at(&expr, t_ms)? else { panic!("no vector") };
        all.insert(t_ms, elements.into_iter().collect());
    }
    Ok(all)
}

fn engine(memory: &Memory, query: &str, options: &Options) -> Result<ByTime, EvalError> {
    let expr = parse(query, &ParseOptions::all()).unwrap_or_else(|error| panic!("{query}: {error}"));
    let answer = evaluate_range(memory, &expr, (START_MS, END_MS, STEP_MS), options, &|| false)?;
    let Value::Matrix(series) = answer.value else { panic!("no matrix") };
    let mut all: ByTime = (START_MS..=END_MS).step_by(STEP_MS as usize).map(|t_ms| (t_ms, BTreeMap::new())).collect();
    for series in series {
        for (t_ms, value) in series.floats {
            let before = all.get_mut(&t_ms).unwrap_or_else(|| panic!("no step")).insert(series.labels.clone(), value);
            assert!(before.is_none(), "{} came twice", series.labels);
        }
    }
    Ok(all)
}

fn same(a: &ByTime, b: &ByTime) -> bool {
    let close = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    a.keys().eq(b.keys())
        && a.values()
            .zip(b.values())
            .all(|(a, b)| a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| close(*a, *b)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_gives_what_the_model_gives(world in world(), query in query()) {
        let memory = memory(&world);
        let expected = model(&world, &query, 0.0);
        let agree = match (&expected, engine(&memory, &query, &options(false))) {
            (Ok(expected), Ok(found)) => same(expected, &found).then_some(()).ok_or_else(|| format!("{found:?}")),
            (Err(_), Err(_)) => Ok(()),
            (Err(error), _) if error == TIE => Ok(()),
            (_, found) => Err(format!("{found:?}")),
        };
        if let Err(found) = agree {
            // A comparison of what was rounded has no right answer: the model does not agree with itself.
            let hangs_on_rounding = [1e-13, -1e-13].iter().any(|noise| match (&expected, model(&world, &query, *noise)) {
                (Ok(expected), Ok(other)) => !same(expected, &other),
                (Err(expected), Err(other)) => *expected != other,
                _ => true,
            });
            prop_assert!(hangs_on_rounding, "{query}\nexpected {expected:?}\nfound    {found}");
        }
    }

    #[test]
    fn no_query_panics_and_every_step_stands_alone(world in world(), query in query()) {
        let memory = memory(&world);
        // With names that go late, a series that `or` puts together of one with and one without its name has one fate in
        // all steps, here as in Prometheus.
        let options = options(!query.contains(" or "));
        let stands = ["start()", "end()"].iter().all(|frame| !query.contains(frame))
            && !matches!(model(&world, &query, 0.0), Err(error) if error == TIE);
        if let (Ok(found), true) = (engine(&memory, &query, &options), stands) {
            let expr = parse(&query, &ParseOptions::all()).unwrap_or_else(|error| panic!("{query}: {error}"));
            for (t_ms, expected) in found {
                let answer = evaluate_instant(&memory, &expr, t_ms, &options, &|| false);
                let Ok(Answer { value: Value::Vector(elements), .. }) = answer else { panic!("{query} at {t_ms}") };
                let alone: BTreeMap<_, _> = elements
                    .into_iter()
                    .map(|element| match element.value {
                        SampleValue::Float(value) => (element.labels, value),
                        SampleValue::Histogram(_) => panic!("a histogram"),
                    })
                    .collect();
                let (one, all) = (BTreeMap::from([(t_ms, expected)]), BTreeMap::from([(t_ms, alone)]));
                prop_assert!(same(&one, &all), "{query} at {t_ms}: {one:?} {all:?}");
            }
        }
    }
}

#[test]
fn a_comparison_and_a_function_that_took_the_name_make_one_series() {
    let sample = |name: &str, t_ms| (Labels::new([("__name__", name), ("n", "a")]), vec![(t_ms, 1.0)]);
    let world = World::from([sample("early", 10_000), sample("late", 59_000)]);
    let query = "count_over_time(((early == bool early) or abs(late))[1m:20s])";
    let found = engine(&memory(&world), query, &options(false)).unwrap_or_else(|error| panic!("{error}"));
    let at = |t_ms: i64| found.get(&t_ms).and_then(|at| at.values().next().copied());
    // `early` is seen at 20 and 40 s, `late` from 60 to 100 s.
    assert_eq!((at(60_000), at(80_000), at(100_000)), (Some(3.0), Some(3.0), Some(3.0)));
}

fn many(count: usize) -> Memory {
    let mut memory = Memory::default();
    for index in 0..count {
        let labels = Labels::new([("__name__", "m".to_owned()), ("i", index.to_string())]);
        for step in 0..100 {
            memory.add(&labels, step * 1000, SampleValue::Float(step as f64));
        }
    }
    memory
}

fn limited(query: &str, limits: Limits) -> Result<Answer, EvalError> {
    let expr = parse(query, &ParseOptions::all()).unwrap_or_else(|error| panic!("{query}: {error}"));
    evaluate_range(&many(50), &expr, (0, 99_000, 1000), &Options { limits, ..Options::default() }, &|| false)
}

#[test]
fn too_many_samples_end_a_query_with_a_remedy() {
    let limits = Limits { samples_max: 1000, ..Limits::default() };
    let Err(error) = limited("m", limits) else { panic!("no error") };
    let text = error.to_string();
    assert!(matches!(error, EvalError::TooManySamples { limit: 1000 }));
    assert!(text.starts_with("query processing would load too many samples into memory in query execution"), "{text}");
    assert!(text.contains("more than 1000 (limit samples_max); narrow its selectors"), "{text}");
}

#[test]
fn an_aggregation_holds_its_groups_and_not_what_it_aggregates() {
    let limits = Limits { samples_max: 1000, ..Limits::default() };
    assert!(limited("sum(rate(m[10s]))", limits).is_ok());
    assert!(limited("topk(1, m)", limits).is_ok());
    assert!(matches!(limited("sum by (i) (m)", limits), Err(EvalError::TooManySamples { .. })));
    assert!(matches!(limited("sum_over_time(m[1h])", limits), Err(EvalError::TooManySamples { .. })));
}

#[test]
fn memory_and_points_are_limited() {
    let bytes = Limits { memory_bytes_max: 10_000, ..Limits::default() };
    assert!(matches!(limited("m", bytes), Err(EvalError::TooMuchMemory { limit: 10_000 })));
    let points = Limits { points_max: 4999, ..Limits::default() };
    assert!(matches!(limited("m", points), Err(EvalError::TooManyPoints { limit: 4999 })));
    assert!(matches!(limited("m[1y:1ms]", Limits::default()), Err(EvalError::Execution(_))));
    let text = limited("count_over_time(m[1y:1ms])", Limits::default()).map(|_| ()).map_err(|error| error.to_string());
    assert!(text.is_err_and(|text| text.contains("make its step larger")));
}

#[test]
fn a_query_nobody_waits_for_ends() {
    let expr = parse("sum(rate(m[10s])) + max_over_time(m[1m:1s])", &ParseOptions::all());
    let Ok(expr) = expr else { panic!("no query") };
    for asked_max in [0, 1, 10, 60] {
        let asked = AtomicUsize::new(0);
        let is_cancelled = || asked.fetch_add(1, Ordering::Relaxed) + 1 > asked_max;
        let answer = evaluate_range(&many(50), &expr, (0, 99_000, 1000), &Options::default(), &is_cancelled);
        assert!(matches!(answer, Err(EvalError::Cancelled)));
        assert_eq!(asked.into_inner(), asked_max + 1, "it ends at once");
    }
}

#[test]
fn times_at_the_ends_of_the_world_do_not_panic() {
    let memory = many(2);
    for t_ms in [i64::MIN, i64::MIN + 1, -1, i64::MAX - 1, i64::MAX] {
        for query in
            ["m", "rate(m[5m] offset 10y)", "sum_over_time(m[10m:1m])", "m offset -10y", "day_of_year()", "m @ 1e12"]
        {
            let expr = parse(query, &ParseOptions::all()).unwrap_or_else(|error| panic!("{query}: {error}"));
            let _ = evaluate_instant(&memory, &expr, t_ms, &Options::default(), &|| false);
        }
    }
}

//! Functions over whole windows: cases with values computed by hand, and properties against simple formulas.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its literals this way")]

use std::fmt::Write;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{
    find,
    test_windows::{Columns, answer, answer_with, window},
};
use crate::{ast::Extend, eval::window::Window, functions};

/// All functions over ranges.
const ALL: [&str; 27] = [
    "absent_over_time",
    "avg_over_time",
    "changes",
    "count_over_time",
    "delta",
    "deriv",
    "double_exponential_smoothing",
    "first_over_time",
    "idelta",
    "increase",
    "irate",
    "last_over_time",
    "mad_over_time",
    "max_over_time",
    "min_over_time",
    "predict_linear",
    "present_over_time",
    "quantile_over_time",
    "rate",
    "resets",
    "stddev_over_time",
    "stdvar_over_time",
    "sum_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

/// Asks several functions about a window of `(start, end]` seconds.
fn check(names: &str, window_s: (f64, f64), samples: &str, expected: Expect) {
    check_extended(names, window_s, samples, Extend::None, expected);
}

fn check_extended(names: &str, window_s: (f64, f64), samples: &str, extend: Extend, expected: Expect) {
    let columns = Columns::parse(samples);
    let window = columns.window(window_s.0, window_s.1, extend);
    let lines: Vec<_> = names.split(' ').map(|name| format!("{name}: {}", answer(name, &window).show())).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn every_function_over_numbers() {
    let names = "rate increase delta irate idelta deriv changes resets avg_over_time sum_over_time min_over_time \
                 max_over_time count_over_time first_over_time last_over_time present_over_time absent_over_time \
                 stddev_over_time stdvar_over_time mad_over_time ts_of_first_over_time ts_of_last_over_time \
                 ts_of_min_over_time ts_of_max_over_time";
    check(
        names,
        (0.0, 50.0),
        "10=2 20=4 30=3 40=7 50=9",
        // Moved 7, and 4 + 7 after the reset at 30; the left end is 10 s away, as far as samples are apart, but the
        // counter was zero 40 s · 2/11 = 7.27 s before: 11 · 47.27/40 = 13. Line: Σ(x-30)(y-5) = 60+10+0+20+80 = 170 / 1000.
        // Mean 5, squares 9+1+4+4+16 = 34; distances from the median 4: 2 0 1 3 5.
        expect![[r#"
            rate: 0.26
            increase: 13
            delta: 8.75
            irate: 0.2
            idelta: 2
            deriv: 0.17
            changes: 4
            resets: 1
            avg_over_time: 5
            sum_over_time: 25
            min_over_time: 2
            max_over_time: 9
            count_over_time: 5
            first_over_time: 2
            last_over_time: 9
            present_over_time: 1
            absent_over_time: 1
            stddev_over_time: 2.6076809620810595
            stdvar_over_time: 6.8
            mad_over_time: 2
            ts_of_first_over_time: 10
            ts_of_last_over_time: 50
            ts_of_min_over_time: 10
            ts_of_max_over_time: 50"#]],
    );
}

#[test]
fn every_function_over_one_number() {
    let names = "rate increase delta irate idelta deriv changes resets avg_over_time stddev_over_time mad_over_time";
    check(
        names,
        (0.0, 50.0),
        "10=2",
        expect![[r#"
            rate: nothing
            increase: nothing
            delta: nothing
            irate: nothing
            idelta: nothing
            deriv: nothing
            changes: 0
            resets: 0
            avg_over_time: 2
            stddev_over_time: 0
            mad_over_time: 0"#]],
    );
}

#[test]
fn every_function_over_histograms() {
    let names = "rate increase delta irate idelta deriv changes resets avg_over_time sum_over_time min_over_time \
                 max_over_time count_over_time first_over_time last_over_time present_over_time stddev_over_time \
                 stdvar_over_time mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_min_over_time \
                 ts_of_max_over_time";
    check(
        names,
        (0.0, 50.0),
        "10=h2 20=h4 30=h3 40=h7 50=h9",
        expect![[r#"
            rate: count 0.26 sum 0.26 [0]=0.26 Gauge
            increase: count 13 sum 13 [0]=13 Gauge
            delta: count 8.75 sum 8.75 [0]=8.75 Gauge
              warning: this native histogram metric is not a gauge: "m"
            irate: count 0.2 sum 0.2 [0]=0.2 Gauge
            idelta: count 2 sum 2 [0]=2 Gauge
              warning: this native histogram metric is not a gauge: "m"
            deriv: nothing
            changes: 4
            resets: 1
            avg_over_time: count 5 sum 5 [0]=5
            sum_over_time: count 25 sum 25 [0]=25
            min_over_time: nothing
            max_over_time: nothing
            count_over_time: 5
            first_over_time: count 2 sum 2 [0]=2
            last_over_time: count 9 sum 9 [0]=9
            present_over_time: 1
            stddev_over_time: nothing
            stdvar_over_time: nothing
            mad_over_time: nothing
            ts_of_first_over_time: 10
            ts_of_last_over_time: 50
            ts_of_min_over_time: nothing
            ts_of_max_over_time: nothing"#]],
    );
}

#[test]
fn every_function_over_both_kinds() {
    let names = "rate increase delta irate idelta deriv changes resets avg_over_time sum_over_time min_over_time \
                 max_over_time count_over_time first_over_time last_over_time present_over_time stddev_over_time \
                 stdvar_over_time mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_min_over_time \
                 ts_of_max_over_time";
    check(
        names,
        (0.0, 50.0),
        "10=h2 20=4 30=3 40=7 50=h9",
        expect![[r#"
            rate: nothing
              warning: encountered a mix of histograms and floats for metric name "m"
            increase: nothing
              warning: encountered a mix of histograms and floats for metric name "m"
            delta: nothing
              warning: encountered a mix of histograms and floats for metric name "m"
            irate: nothing
              warning: encountered a mix of histograms and floats for metric name "m"
            idelta: nothing
              warning: encountered a mix of histograms and floats for metric name "m"
            deriv: 0.15
              info: ignored histograms in a range containing both floats and histograms for metric name "m"
            changes: 4
            resets: 3
            avg_over_time: nothing
              warning: encountered a mix of histograms and floats for metric name "m"
            sum_over_time: nothing
              warning: encountered a mix of histograms and floats for metric name "m"
            min_over_time: 3
              info: ignored histograms in a range containing both floats and histograms for metric name "m"
            max_over_time: 7
              info: ignored histograms in a range containing both floats and histograms for metric name "m"
            count_over_time: 5
            first_over_time: count 2 sum 2 [0]=2
            last_over_time: count 9 sum 9 [0]=9
            present_over_time: 1
            stddev_over_time: 1.699673171197595
              info: ignored histograms in a range containing both floats and histograms for metric name "m"
            stdvar_over_time: 2.888888888888889
              info: ignored histograms in a range containing both floats and histograms for metric name "m"
            mad_over_time: 1
              info: ignored histograms in a range containing both floats and histograms for metric name "m"
            ts_of_first_over_time: 10
            ts_of_last_over_time: 50
            ts_of_min_over_time: 30
              info: ignored histograms in a range containing both floats and histograms for metric name "m"
            ts_of_max_over_time: 40
              info: ignored histograms in a range containing both floats and histograms for metric name "m""#]],
    );
}

#[test]
fn the_last_two_samples_may_be_of_one_kind_in_a_mixed_window() {
    check(
        "irate idelta",
        (0.0, 50.0),
        "10=h2 20=4 30=3",
        expect![[r#"
        irate: 0.3
        idelta: -1"#]],
    );
    check(
        "irate idelta",
        (0.0, 50.0),
        "10=4 20=h2g 30=h3g",
        expect![[r#"
        irate: count 0.1 sum 0.1 [0]=0.1 Gauge
          warning: this native histogram metric is not a counter: "m"
        idelta: count 1 sum 1 [0]=1 Gauge"#]],
    );
    check(
        "irate idelta",
        (0.0, 50.0),
        "10=4 20=h2",
        expect![[r#"
        irate: nothing
          warning: encountered a mix of histograms and floats for metric name "m"
        idelta: nothing
          warning: encountered a mix of histograms and floats for metric name "m""#]],
    );
    check(
        "irate idelta deriv",
        (0.0, 50.0),
        "10=4",
        expect![[r#"
        irate: nothing
        idelta: nothing
        deriv: nothing"#]],
    );
    check(
        "deriv",
        (0.0, 50.0),
        "10=4 20=h2 30=h3",
        expect![[r#"
        deriv: nothing
          info: ignored histograms in a range containing both floats and histograms for metric name "m""#]],
    );
}

#[test]
fn gauges_and_counters_of_histograms_are_told_apart() {
    check(
        "rate delta",
        (0.0, 30.0),
        "10=h1 20=h2g 30=h3",
        expect![[r#"
        rate: count 0.1 sum 0.1 [0]=0.1 Gauge
          warning: this native histogram metric is not a counter: "m"
        delta: count 3 sum 3 [0]=3 Gauge
          warning: this native histogram metric is not a gauge: "m""#]],
    );
    check(
        "rate delta",
        (0.0, 30.0),
        "10=h1g 20=h2 30=h3g",
        expect![[r#"
        rate: count 0.1 sum 0.1 [0]=0.1 Gauge
          warning: this native histogram metric is not a counter: "m"
        delta: count 3 sum 3 [0]=3 Gauge"#]],
    );
}

#[test]
fn layouts_meet_where_they_can() {
    // The sample before a reset is not looked at: its layout does not matter.
    check(
        "increase delta irate",
        (0.0, 30.0),
        "10=c5 20=h2r 30=h3",
        expect![[r#"
        increase: count 4.5 sum 4.5 [0]=4.5 Gauge
        delta: nothing
          warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "m"
        irate: count 0.1 sum 0.1 [0]=0.1 Gauge"#]],
    );
    // In between it is, and makes other findings pointless.
    check(
        "increase",
        (0.0, 40.0),
        "10=h1g 20=h2 30=c3 40=h4",
        expect![[r#"
        increase: nothing
          warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "m""#]],
    );
    check(
        "delta sum_over_time avg_over_time",
        (0.0, 20.0),
        "10=c1 20=h3",
        expect![[r#"
        delta: nothing
          warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "m"
        sum_over_time: nothing
          warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "m"
        avg_over_time: nothing
          warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "m""#]],
    );
    check(
        "idelta",
        (0.0, 20.0),
        "10=c1g 20=h3g",
        expect![[r#"
        idelta: nothing
          warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "m""#]],
    );
    check(
        "increase irate sum_over_time avg_over_time",
        (10.0, 40.0),
        "20=c1 30=d3 40=c5",
        expect![[r#"
        increase: count 5 sum 5 [0]=5 bounds [1.0, 5.0, 10.0] Gauge
        irate: count 0.2 sum 0.2 [0]=0.2 bounds [1.0, 5.0] Gauge
          info: mismatched custom buckets were reconciled during subtraction
        sum_over_time: count 9 sum 9 [0]=9 bounds [1.0, 5.0]
          info: mismatched custom buckets were reconciled during aggregation
        avg_over_time: count 3 sum 3 [0]=3 bounds [1.0, 5.0]
          info: mismatched custom buckets were reconciled during aggregation"#]],
    );
    check(
        "increase",
        (10.0, 40.0),
        "20=c3 30=d3 40=c1r",
        expect![[r#"
        increase: count 1.5 sum 1.5 [0]=1.5 bounds [1.0, 5.0] Gauge
          info: mismatched custom buckets were reconciled during addition"#]],
    );
}

#[test]
fn hints_that_contradict_are_told_by_aggregations_only() {
    check(
        "sum_over_time avg_over_time increase",
        (0.0, 30.0),
        "10=h1n 20=h1r 30=h4n",
        expect![[r#"
        sum_over_time: count 6 sum 6 [0]=6
          warning: conflicting counter resets during histogram aggregation
        avg_over_time: count 2 sum 2 [0]=2
          warning: conflicting counter resets during histogram aggregation
        increase: count 5 sum 5 [0]=5 Gauge"#]],
    );
}

#[test]
fn anchored_and_smoothed_histograms() {
    use Extend::{Anchored, Smoothed};
    let samples = "0=h1 15=h2 30=h3 45=h4 60=h5";
    check_extended(
        "increase rate delta",
        (10.0, 50.0),
        samples,
        Smoothed,
        expect![[r#"
        increase: count 2.6666666666666665 sum 2.6666666666666665 [0]=2.6666666666666665 Gauge
        rate: count 0.06666666666666667 sum 0.06666666666666667 [0]=0.06666666666666667 Gauge
        delta: count 2.6666666666666665 sum 2.6666666666666665 [0]=2.6666666666666665 Gauge
          warning: this native histogram metric is not a gauge: "m""#]],
    );
    check_extended(
        "increase changes resets",
        (10.0, 50.0),
        "0=h1 15=h2 30=h3 45=h1r",
        Anchored,
        expect![[r#"
        increase: count 3 sum 3 [0]=3 Gauge
        changes: 3
        resets: 1"#]],
    );
    check_extended(
        "increase",
        (10.0, 50.0),
        "0=h1 15=2",
        Anchored,
        expect![[r#"
        increase: nothing
          warning: encountered a mix of histograms and floats for metric name "m""#]],
    );
    check_extended(
        "increase changes",
        (10.0, 50.0),
        "0=h1 5=h2",
        Anchored,
        expect![[r#"
        increase: nothing
        changes: nothing"#]],
    );
    check_extended(
        "increase",
        (10.0, 50.0),
        "0=h1 15=c2 30=h3",
        Anchored,
        expect![[r#"
        increase: nothing
          warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "m""#]],
    );
    // Another layout before the window's first sample does not matter.
    check_extended(
        "increase",
        (30.0, 50.0),
        "0=c1 15=h2g 45=h3",
        Anchored,
        expect![[r#"
        increase: count 1 sum 1 [0]=1 Gauge
          warning: this native histogram metric is not a counter: "m""#]],
    );
}

#[test]
fn parameters_reach_their_functions() {
    let columns = Columns::parse("10=1 20=3 30=5");
    let window = columns.window(0.0, 30.0, Extend::None);
    let show = |name, params: &[f64]| answer_with(name, &window, params).show();
    assert_eq!(show("predict_linear", &[10.0]), "7");
    assert_eq!(show("quantile_over_time", &[0.25]), "2");
    assert_eq!(show("double_exponential_smoothing", &[0.5, 0.5]), "5");
    let outside = "inf\n  warning: quantile value should be between 0 and 1, got 1.5";
    assert_eq!(show("quantile_over_time", &[1.5]), outside);
    // The prediction counts from the step's own time, also when the window lies elsewhere.
    let mut shifted = window;
    shifted.eval_ms = 60_000;
    assert_eq!(answer_with("predict_linear", &shifted, &[10.0]).show(), "13");
}

#[test]
fn times_are_in_seconds_and_may_be_negative() {
    check(
        "ts_of_first_over_time ts_of_last_over_time rate",
        (-100.0, -50.0),
        "-99.947=1 -60=5",
        expect![[r#"
        ts_of_first_over_time: -99.947
        ts_of_last_over_time: -60
        rate: 0.10013267579542895"#]],
    );
}

#[test]
fn every_function_of_a_range_is_there() {
    let takes_range = |function: &&functions::Function| function.args.contains(&crate::ast::ValueType::Matrix);
    let names: Vec<_> = functions::functions().iter().filter(takes_range).map(|function| function.name).collect();
    assert_eq!(names, ALL);
    assert!(ALL.iter().all(|name| find(name).is_some()));
}

#[test]
fn other_names_are_no_functions_over_ranges() {
    assert!(find("abs").is_none() && find("sum").is_none() && find("").is_none());
}

/// Numbers of very different size, zeros, and now and then a NaN or an infinity.
fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        10 => (-1000..1000_i32).prop_map(f64::from),
        3 => -1e9..1e9_f64,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(0.0),
    ]
}

#[expect(clippy::float_cmp, reason = "infinities are close only to themselves")]
fn close(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #[test]
    fn functions_agree_with_simple_formulas(values in proptest::collection::vec(any_value(), 1..30)) {
        let samples: Vec<_> = values.iter().enumerate().map(|(i, value)| format!("{}={value}", i + 1)).collect();
        let columns = Columns::parse(&samples.join(" "));
        let window = columns.window(0.0, 100.0, Extend::None);
        let n = values.len() as f64;
        let numbers = || values.iter().copied().filter(|value| !value.is_nan());
        let has_nan = values.iter().any(|value| value.is_nan());
        let finite = values.iter().all(|value| value.is_finite());
        let is = |name: &str, expected: f64| {
            let got = answer(name, &window).float();
            prop_assert!(close(got, expected), "{name} gives {got}, not {expected}");
            Ok(())
        };
        is("sum_over_time", values.iter().sum())?;
        is("avg_over_time", values.iter().map(|value| value / n).sum())?;
        is("min_over_time", numbers().reduce(f64::min).unwrap_or(f64::NAN))?;
        is("max_over_time", numbers().reduce(f64::max).unwrap_or(f64::NAN))?;
        if finite {
            let mean = values.iter().sum::<f64>() / n;
            is("stdvar_over_time", values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n)?;
        } else {
            is("stddev_over_time", f64::NAN)?;
        }
        is("resets", values.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64)?;
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        if has_nan {
            is("mad_over_time", f64::NAN)?;
        } else {
            let rank = 0.3 * (n - 1.0);
            let (lower, upper) = (sorted[rank as usize], sorted[(rank as usize + 1).min(values.len() - 1)]);
            let expected = lower * (1.0 - rank.fract()) + upper * rank.fract();
            let got = answer_with("quantile_over_time", &window, &[0.3]).float();
            prop_assert!(close(got, expected), "quantile {got}, not {expected}");
        }
    }

    #[test]
    fn a_counter_gives_the_same_as_its_increments_added_up(
        increments in proptest::collection::vec((0..100_u32, 0..5_u32), 2..30),
    ) {
        // Each step adds something, or one time in five begins again at it.
        let mut value = 0.0;
        let mut counted = 0.0;
        let mut samples = String::new();
        for (i, (increment, reset)) in increments.iter().enumerate() {
            let increment = f64::from(*increment);
            let before = value;
            value = if *reset == 0 && increment < value { increment } else { value + increment };
            counted += if i == 0 { 0.0 } else if value < before { value } else { value - before };
            write!(samples, "{}={value} ", i + 1).expect("a text takes everything");
        }
        let columns = Columns::parse(&samples);
        // The window's left end is as near to the first sample as possible, and its right end is the last: no extrapolation.
        let window = columns.window(1.0, increments.len() as f64, Extend::None);
        prop_assert!(close(answer("increase", &window).float(), counted));
        let anchored = columns.window(1.0, increments.len() as f64, Extend::Anchored);
        prop_assert!(close(answer("increase", &anchored).float(), counted));
        let smoothed = columns.window(1.0, increments.len() as f64, Extend::Smoothed);
        prop_assert!(close(answer("increase", &smoothed).float(), counted));
    }

    #[test]
    fn nothing_panics_at_the_ends_of_time(
        times in proptest::collection::btree_set(prop_oneof![
            any::<i64>(),
            (0..9_i64).prop_map(|near| i64::MIN + near),
            (0..9_i64).prop_map(|near| i64::MAX - near),
        ], 2..12),
        values in proptest::collection::vec(any::<f64>(), 12),
        (start_ms, end_ms) in any::<(i64, i64)>(),
        eval_ms in any::<i64>(),
    ) {
        let t_ms: Vec<_> = times.into_iter().collect();
        for extend in [Extend::None, Extend::Anchored, Extend::Smoothed] {
            let window = Window {
                floats_t: &t_ms,
                floats: &values[..t_ms.len()],
                eval_ms,
                range_ms: end_ms.saturating_sub(start_ms).max(1),
                extend,
                ..window(0, 1)
            };
            let window = Window { start_ms, end_ms, ..window };
            for name in ALL {
                answer_with(name, &window, &[0.5, 0.5]);
            }
        }
    }

    #[test]
    fn histograms_count_what_numbers_count(counts in proptest::collection::vec(0..50_u32, 2..20)) {
        let text = |prefix: &str| -> String {
            let samples = counts.iter().enumerate().map(|(i, count)| format!("{}={prefix}{count}", 2 * i + 1));
            samples.collect::<Vec<_>>().join(" ")
        };
        let (floats, histograms) = (Columns::parse(&text("")), Columns::parse(&text("h")));
        let end_s = 2.0 * counts.len() as f64;
        for extend in [Extend::None, Extend::Anchored, Extend::Smoothed] {
            for name in ["rate", "increase", "delta"] {
                let float = answer(name, &floats.window(2.5, end_s - 1.5, extend)).show();
                let histogram = answer(name, &histograms.window(2.5, end_s - 1.5, extend)).show();
                let count = histogram.split_whitespace().nth(1).unwrap_or_default();
                match (float.parse::<f64>(), count.parse::<f64>()) {
                    (Ok(float), Ok(count)) => prop_assert!(close(float, count), "{extend:?} {name}: {float} {count}"),
                    (float, count) => prop_assert_eq!(float.is_ok(), count.is_ok(), "{} {}", name, histogram),
                }
            }
        }
    }
}

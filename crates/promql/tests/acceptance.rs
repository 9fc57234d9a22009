//! Scripts in the language of Prometheus' acceptance suite, run in this process over series in memory.
//!
//! `suite/` is the shared excerpt of that suite, `own/` holds our own scripts. Values, notes, the texts of errors and
//! the order of results are compared; an instant query must also give what the same query gives at one step of a range.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::float_cmp,
    reason = "a test may stop at a script that is wrong"
)]

mod acceptance {
    pub(crate) mod compare;
    pub(crate) mod memory;
    pub(crate) mod notation;
    pub(crate) mod script;
}

use std::{collections::BTreeMap, fs, path::Path};

use acceptance::{
    compare::{points, problem},
    memory::Memory,
    script::{Command, Eval, parse as parse_script},
};
use homeostat_model::{Labels, SampleValue, sample::is_stale};
use homeostat_promql::{
    ParseOptions,
    eval::{Answer, MatrixSeries, Options, Value, VectorElement, evaluate_instant, evaluate_range},
    parse,
};

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
}

#[test]
fn the_shared_suite_passes() {
    check("suite", 907);
}

#[test]
fn our_own_cases_pass() {
    check("own", 1231);
}

fn check(folder: &str, cases_min: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    paths.sort();
    let mut total = Tally::default();
    let mut report = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let script = fs::read_to_string(&path).unwrap_or_default();
        let tally = run(&name, &script);
        report.push(format!("{name}: {} passed, {} failed", tally.passed, tally.failed.len()));
        total.passed += tally.passed;
        total.failed.extend(tally.failed);
    }
    let failed = total.failed.len();
    report.push(format!("{} passed, {failed} failed", total.passed));
    let report = report.join("\n");
    println!("{}\n{report}", total.failed.join("\n"));
    assert!(
        failed == 0 && cases_min <= total.passed,
        "fewer cases pass than should:\n{}\n{report}",
        total.failed.join("\n")
    );
}

fn run(name: &str, script: &str) -> Tally {
    let mut tally = Tally::default();
    let commands = match parse_script(script) {
        Ok(commands) => commands,
        Err(error) => {
            tally.failed.push(format!("{name}: {error}"));
            return tally;
        }
    };
    let mut memory = Memory::default();
    for command in commands {
        match command {
            Command::Clear => memory = Memory::default(),
            Command::Load(load) => {
                for (labels, items) in &load.series {
                    let starts = load.starts.get(labels).map(Vec::as_slice).unwrap_or_default();
                    for (index, item) in items.iter().enumerate() {
                        if let Some(value) = item {
                            let t_ms = index as i64 * load.step_ms;
                            let start_ms = starts.get(index).copied().flatten().map(|offset| t_ms + offset);
                            memory.add(labels, t_ms, (value.clone(), start_ms));
                        }
                    }
                }
            }
            Command::Eval(case) => {
                let outcome = evaluate(&memory, &case);
                if let Err(why) = outcome {
                    tally.failed.push(format!("{name}:{}: {}\n    {why}", case.line, case.query));
                } else {
                    tally.passed += 1;
                }
            }
        }
    }
    tally
}

fn evaluate(memory: &Memory, case: &Eval) -> Result<(), String> {
    match (ask(memory, &case.query, case.start_ms, case.range), &case.fail) {
        (Err(_), Some(_)) if case.fail.is_none() => Ok(()),
        (Err(error), Some(expected)) if expected.matches(&error) => Ok(()),
        (Err(error), Some(_)) => Err(format!("another error is expected: {error}")),
        (Err(error), None) => Err(error),
        (Ok(answer), Some(_)) => Err(format!("an error is expected, got {:?}", answer.value)),
        (Ok(answer), None) => {
            problem(case, &answer)?;
            if case.range.is_none() {
                same_in_a_range(memory, case, &answer.value)?;
            }
            Ok(())
        }
    }
}

fn ask(memory: &Memory, query: &str, start_ms: i64, range: Option<(i64, i64)>) -> Result<Answer, String> {
    let expr = parse(query, &ParseOptions::all()).map_err(|error| error.to_string())?;
    let options = Options::default();
    let never = || false;
    let answer = match range {
        None => evaluate_instant(memory, &expr, start_ms, &options, &never),
        Some((end_ms, step_ms)) => evaluate_range(memory, &expr, (start_ms, end_ms, step_ms), &options, &never),
    };
    answer.map_err(|error| error.to_string())
}

/// Some queries mean something else in a range; all others give at one of its steps what they give at that instant.
fn same_in_a_range(memory: &Memory, case: &Eval, value: &Value) -> Result<(), String> {
    let context = ["start()", "end()", "range()", "step()"];
    if case.ordered || context.iter().any(|function| case.query.to_lowercase().contains(function)) {
        return Ok(());
    }
    let found: BTreeMap<Labels, SampleValue> = match value {
        Value::Scalar { value, .. } => BTreeMap::from([(Labels::empty(), SampleValue::Float(*value))]),
        Value::Vector(elements) => {
            elements.iter().map(|VectorElement { labels, value, .. }| (labels.clone(), value.clone())).collect()
        }
        Value::Text { .. } | Value::Matrix(_) => return Ok(()),
    };
    let minute_ms = 60_000;
    for start_ms in [case.start_ms - 2 * minute_ms, case.start_ms - minute_ms, case.start_ms] {
        let range = ask(memory, &case.query, start_ms, Some((case.start_ms + minute_ms, minute_ms)));
        let Ok(Answer { value: Value::Matrix(series), .. }) = range else {
            // Some step of the range may fail where the instant does not.
            continue;
        };
        let at_step: BTreeMap<Labels, SampleValue> = series
            .iter()
            .filter_map(|series: &MatrixSeries| {
                Some((series.labels.clone(), points(series).get(&case.start_ms)?.clone()))
            })
            .collect();
        if !at_step.keys().eq(found.keys()) {
            return Err(format!("as a step of a range from {start_ms}: {at_step:?}, alone: {found:?}"));
        }
        for (labels, value) in &found {
            if !identical(value, &at_step[labels]) {
                return Err(format!("{labels} as a step of a range: {:?}, alone: {value:?}", at_step[labels]));
            }
        }
    }
    Ok(())
}

/// The same to a few last digits: functions that slide add up in another order.
fn identical(a: &SampleValue, b: &SampleValue) -> bool {
    let absent = |value: &SampleValue| matches!(value, SampleValue::Float(value) if is_stale(*value));
    !absent(a) && !absent(b) && acceptance::compare::same_value(a, b)
}

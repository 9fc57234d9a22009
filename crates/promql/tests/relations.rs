//! What must hold between queries whatever the data: siblings that can be computed from each other.
//!
//! The data are all that the scripts in `suite/` and `own/` load, at instants on and beside their samples. A relation is
//! a pair of queries with the same answer; `M` stands for a selector, `R` for a range and `S` for its seconds, `T` for
//! the instant a minute before. Values that are no finite numbers take no part, since most relations do not hold for them.

#![expect(
    dead_code,
    clippy::expect_used,
    clippy::float_cmp,
    clippy::indexing_slicing,
    reason = "a test of its own with parts of another"
)]

mod acceptance {
    pub(crate) mod compare;
    pub(crate) mod memory;
    pub(crate) mod notation;
    pub(crate) mod script;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use acceptance::{
    memory::Memory,
    script::{Command, parse as parse_script},
};
use homeostat_model::{Histogram, Labels, SampleValue};
use homeostat_promql::{
    ParseOptions,
    eval::{Options, Value, evaluate_instant},
    histogram::buckets,
    parse,
};

const RELATIONS: &[(&str, &str)] = &[
    // Over time.
    ("avg_over_time(M[R])", "sum_over_time(M[R]) / count_over_time(M[R])"),
    ("stdvar_over_time(M[R])", "stddev_over_time(M[R]) ^ 2"),
    ("max_over_time(M[R])", "quantile_over_time(1, M[R])"),
    ("min_over_time(M[R])", "quantile_over_time(0, M[R])"),
    ("present_over_time(M[R])", "count_over_time(M[R]) > bool 0"),
    ("increase(M[R])", "rate(M[R]) * S"),
    ("increase(M[R] anchored)", "rate(M[R] anchored) * S"),
    ("increase(M[R] smoothed)", "rate(M[R] smoothed) * S"),
    ("deriv(M[R])", "predict_linear(M[R], 2) - predict_linear(M[R], 1)"),
    ("absent_over_time(M[R])", "vector(1) unless on () group(present_over_time(M[R]))"),
    // Shifts.
    ("M offset 1m", "M @ T"),
    ("irate(M[R] offset 1m)", "irate(M[R] @ T)"),
    ("resets(M[R] offset 1m)", "resets(M[R] @ T)"),
    ("changes(M[R] anchored offset 1m)", "changes(M[R] anchored @ T)"),
    ("sum_over_time(M[R:10s] offset 1m)", "sum_over_time(M[R:10s] @ T)"),
    ("timestamp(M offset 1m)", "timestamp(M @ T)"),
    // Aggregations.
    ("avg(M)", "sum(M) / count(M)"),
    ("max(M)", "-min(-M)"),
    ("max(M)", "quantile(1, M)"),
    ("min(M)", "quantile(0, M)"),
    ("stdvar(M)", "stddev(M) ^ 2"),
    ("group(M)", "clamp(count(M), 1, 1)"),
    ("sum(bottomk(3, M))", "-sum(topk(3, -M))"),
    ("min(bottomk(1, M))", "min(M)"),
    ("max(topk(1, M))", "max(M)"),
    ("count(M)", "sum(count_values(\"value\", M))"),
    ("M", "limit_ratio(0.4, M) or limit_ratio(-0.6, M)"),
    ("limitk(1000, M)", "M"),
    ("sum(M)", "sum(sum by (job, instance) (M))"),
    ("count(M)", "sum(count without (instance) (M))"),
    ("absent(M)", "vector(1) unless on () group(M)"),
    // Numbers.
    ("abs(M)", "sqrt(M ^ 2)"),
    ("ceil(M)", "-floor(-M)"),
    ("sgn(M)", "(M > bool 0) - (M < bool 0)"),
    ("clamp(M, -1, 1)", "clamp_max(clamp_min(M, -1), 1)"),
    ("log10(M)", "ln(M) / 2.302585092994046"),
    ("sqrt(M)", "M ^ 0.5"),
    ("sinh(M / 1e4)", "(exp(M / 1e4) - exp(-M / 1e4)) / 2"),
    ("cosh(M / 1e4)", "(exp(M / 1e4) + exp(-M / 1e4)) / 2"),
    ("asinh(sinh(abs(M) / 1e4))", "abs(M) / 1e4"),
    ("deg(rad(M))", "-(-abs(M)) * sgn(M)"),
    ("ln(M)", "log2(M) * 0.6931471805599453"),
    ("tanh(M / 1e4)", "sinh(M / 1e4) / cosh(M / 1e4)"),
    ("atan(tanh(M))", "tanh(M) atan2 (tanh(M) * 0 + 1)"),
    ("asin(tanh(M / 2))", "pi() / 2 - acos(tanh(M / 2))"),
    ("round(M, 2)", "floor(M / 2 + 0.5) * 2"),
    // Labels and sets.
    ("label_join(M, \"l\", \"\", \"__name__\")", "label_replace(M, \"l\", \"$1\", \"__name__\", \"(.*)\")"),
    ("M and M", "M"),
    ("M or M", "M"),
    ("M unless (M offset 50y)", "M"),
    // Histograms.
    ("histogram_avg(M)", "histogram_sum(M) / histogram_count(M)"),
    ("histogram_stdvar(M)", "histogram_stddev(M) ^ 2"),
    ("histogram_fraction(-Inf, 3, M)", "histogram_fraction(-Inf, 1, M) + histogram_fraction(1, 3, M)"),
    ("histogram_quantiles(M, \"q\", 0.3)", "label_replace(histogram_quantile(0.3, M), \"q\", \"0.3\", \"\", \"\")"),
    ("histogram_count(M + M)", "histogram_count(M) * 2"),
    ("histogram_sum(M * 3)", "histogram_sum(M) * 3"),
];

#[test]
fn siblings_agree() {
    let mut answered = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, script) in scripts() {
        let mut memory = Memory::default();
        let mut metrics = BTreeMap::<String, i64>::new();
        let mut finish = |memory: &Memory, metrics: &BTreeMap<String, i64>| {
            for (metric, step_ms) in metrics {
                for relation in RELATIONS {
                    hold(memory, metric, *step_ms, *relation, &name, &mut answered, &mut wrong);
                }
            }
        };
        for command in parse_script(&script).expect("a script") {
            match command {
                Command::Clear => {
                    finish(&memory, &metrics);
                    memory = Memory::default();
                    metrics.clear();
                }
                Command::Load(load) => {
                    for (labels, items) in &load.series {
                        metrics.insert(labels.value("__name__").to_owned(), load.step_ms);
                        for (index, item) in items.iter().enumerate() {
                            if let Some(value) = item {
                                memory.add(labels, index as i64 * load.step_ms, value.clone());
                            }
                        }
                    }
                }
                Command::Eval(_) => {}
            }
        }
        finish(&memory, &metrics);
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), answered.values().sum::<usize>(), wrong.join("\n"));
    for (left, right) in RELATIONS {
        let compared = answered.get(left).copied().unwrap_or_default();
        assert!(compared > 10, "{left} and {right} were compared only {compared} times");
    }
}

fn scripts() -> Vec<(String, String)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let folders =
        ["suite", "own"].into_iter().flat_map(|folder| fs::read_dir(tests.join(folder)).into_iter().flatten());
    let mut paths: Vec<_> = folders.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    paths.sort();
    let read = |path: &Path| fs::read_to_string(path).expect("a script");
    paths.iter().map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), read(path))).collect()
}

fn hold(
    memory: &Memory,
    metric: &str,
    step_ms: i64,
    (relation, right): (&'static str, &'static str),
    name: &str,
    answered: &mut BTreeMap<&'static str, usize>,
    wrong: &mut Vec<String>,
) {
    let range_ms = 4 * step_ms;
    for at_ms in [3 * step_ms, 9 * step_ms - 1] {
        let fill = |query: &str| {
            query
                .replace('M', &format!("{{__name__={metric:?}}}"))
                .replace('R', &format!("{range_ms}ms"))
                .replace('S', &(range_ms as f64 / 1000.0).to_string())
                .replace('T', &((at_ms - 60_000) as f64 / 1000.0).to_string())
        };
        let (left, right) = (fill(relation), fill(right));
        let (Ok(a), Ok(b)) = (ask(memory, &left, at_ms), ask(memory, &right, at_ms)) else { continue };
        let labels: BTreeSet<_> = a.keys().chain(b.keys()).collect();
        for labels in labels {
            *answered.entry(relation).or_default() += 1;
            let (a, b) = (a.get(labels), b.get(labels));
            if !agree(a, b) {
                wrong.push(format!("{name} at {at_ms} ms {labels}:\n    {left}: {a:?}\n    {right}: {b:?}"));
            }
        }
    }
}

fn ask(memory: &Memory, query: &str, at_ms: i64) -> Result<BTreeMap<Labels, SampleValue>, String> {
    let expr = parse(query, &ParseOptions::all()).map_err(|error| error.to_string())?;
    let answer = evaluate_instant(memory, &expr, at_ms, &Options::default(), &|| false);
    match answer.map_err(|error| error.to_string())?.value {
        Value::Vector(elements) => Ok(elements.into_iter().map(|element| (element.labels, element.value)).collect()),
        other => Err(format!("{other:?} is no vector")),
    }
}

fn agree(a: Option<&SampleValue>, b: Option<&SampleValue>) -> bool {
    let odd = |value: Option<&SampleValue>| match value {
        Some(SampleValue::Float(value)) => !value.is_finite(),
        Some(SampleValue::Histogram(histogram)) => !histogram.count.is_finite() || !histogram.sum.is_finite(),
        None => false,
    };
    match (a, b) {
        _ if odd(a) || odd(b) => true,
        (Some(SampleValue::Float(a)), Some(SampleValue::Float(b))) => close(*a, *b),
        (Some(SampleValue::Histogram(a)), Some(SampleValue::Histogram(b))) => same(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn same(a: &Histogram, b: &Histogram) -> bool {
    let filled = |histogram: &Histogram| buckets(histogram).filter(|bucket| bucket.count != 0.0).collect::<Vec<_>>();
    let (x, y) = (filled(a), filled(b));
    let same_buckets = x.iter().zip(&y).all(|(a, b)| close(a.count, b.count) && a.lower == b.lower);
    close(a.count, b.count) && close(a.sum, b.sum) && x.len() == y.len() && same_buckets
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-6)
}

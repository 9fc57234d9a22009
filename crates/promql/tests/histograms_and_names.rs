//! Functions of histograms where names go at once instead of at the end of the query.

#![expect(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "a test of its own with parts of another"
)]

mod acceptance {
    pub(crate) mod compare;
    pub(crate) mod memory;
    pub(crate) mod notation;
    pub(crate) mod script;
}

use acceptance::{
    memory::Memory,
    script::{Command, parse as parse_script},
};
use homeostat_model::SampleValue;
use homeostat_promql::{
    ParseOptions,
    eval::{Answer, Options, Value, evaluate_instant},
    parse,
};

const SERIES: &str = "load 1m
  a_bucket{le=\"1\"} 4
  a_bucket{le=\"2\"} 3
  a_bucket{le=\"+Inf\"} 8
  b_bucket{le=\"1\"} 4
  b_bucket{le=\"+Inf\"} 8
  n {{schema:0 count:15 sum:NaN buckets:[12]}}
  n_bucket{le=\"1\"} 4
  n_bucket{le=\"+Inf\"} 8
";

fn ask(query: &str) -> Result<Answer, String> {
    let mut memory = Memory::default();
    for command in parse_script(SERIES).expect("the script is a constant") {
        let Command::Load(load) = command else { continue };
        for (labels, items) in &load.series {
            items.iter().flatten().for_each(|value| memory.add(labels, 0, value.clone()));
        }
    }
    let expr = parse(query, &ParseOptions::all()).map_err(|error| error.to_string())?;
    let options = Options { delayed_name_removal: false, ..Options::default() };
    evaluate_instant(&memory, &expr, 0, &options, &|| false).map_err(|error| error.to_string())
}

/// Labels and numbers of a vector, and what is told beside it.
fn answer(query: &str) -> (Vec<(String, f64)>, Vec<String>) {
    let Answer { value, notes } = ask(query).expect("the query has an answer");
    let Value::Vector(elements) = value else { panic!("no vector") };
    let numbers = elements.into_iter().map(|element| match element.value {
        SampleValue::Float(number) => (element.labels.to_string(), number),
        SampleValue::Histogram(_) => panic!("a histogram"),
    });
    (numbers.collect(), notes.iter().map(|note| note.text).collect())
}

#[test]
fn answers_have_no_name_and_neither_have_notes() {
    let (numbers, notes) = answer("histogram_quantile(0.25, a_bucket)");
    assert_eq!(numbers, [("{}".to_owned(), 0.5)]);
    assert!(
        matches!(notes.as_slice(), [note] if note.contains("#histogram_quantile), from buckets 2 to 2,")),
        "{notes:?}"
    );
    let (numbers, notes) = answer("histogram_quantile(0.8, n)");
    assert_eq!(numbers, [("{}".to_owned(), 1.0)]);
    assert_eq!(notes, ["input to histogram_quantile has NaN observations, result is skewed higher"]);
    let (numbers, _) = answer("histogram_quantiles(b_bucket, \"q\", 0.25, 0.5)");
    assert_eq!(numbers, [("{q=\"0.25\"}".to_owned(), 0.5), ("{q=\"0.5\"}".to_owned(), 1.0)]);
}

#[test]
fn histograms_with_the_same_labels_but_the_name_are_an_error() {
    for query in [
        "histogram_quantile(0.5, {__name__=~\"[ab]_bucket\"})",
        "histogram_fraction(0, 1, {__name__=~\"[ab]_bucket\"})",
        "histogram_fraction(0, 1, {__name__=~\"n|b_bucket\"})",
    ] {
        let error = ask(query).map(|_| ()).expect_err("two elements have the same labels");
        assert_eq!(error, "vector cannot contain metrics with the same labelset");
    }
}

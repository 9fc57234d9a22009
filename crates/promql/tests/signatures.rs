//! Every function of Prometheus by its signature: what is asked of its arguments, what its flag does, and that it answers
//! to numbers, native histograms, both in one series, and nothing, with the notes that Prometheus has.
//!
//! Source of the signatures: Prometheus 3.14, `promql/parser/functions.go` and `docs/querying/functions.md`; of the notes:
//! `promql/functions.go`.

#![expect(clippy::panic, clippy::expect_used, reason = "a test may stop where the table is wrong")]

#[path = "acceptance/memory.rs"]
mod memory;
#[path = "acceptance/notation.rs"]
#[expect(dead_code, reason = "scripts need more of it")]
mod notation;

use std::collections::{BTreeMap, BTreeSet};

use homeostat_model::Labels;
use homeostat_promql::{
    ParseOptions,
    eval::{Answer, Options, evaluate_instant, evaluate_range},
    functions::functions,
    parse,
    parser::Feature,
};
use memory::Memory;

/// Name, arguments (`v` instant vector, `m` range vector, `s` scalar, `t` text), how often the last may be missing or
/// repeated (`?` missing, `*` any number, a number: up to so many), result, and `!` for experimental ones.
const SIGNATURES: &str = "
abs v v | absent v v | absent_over_time m v | acos v v | acosh v v | asin v v | asinh v v | atan v v | atanh v v
avg_over_time m v | ceil v v | changes m v | clamp vss v | clamp_max vs v | clamp_min vs v | cos v v | cosh v v
count_over_time m v | day_of_month v? v | day_of_week v? v | day_of_year v? v | days_in_month v? v | deg v v
delta m v | deriv m v | double_exponential_smoothing mss v ! | end - s ! | exp v v | first_over_time m v | floor v v
histogram_avg v v | histogram_count v v | histogram_fraction ssv v | histogram_quantile sv v
histogram_quantiles vtss9 v ! | histogram_stddev v v | histogram_stdvar v v | histogram_sum v v | hour v? v
idelta m v | increase m v | info vv? v ! | irate m v | label_join vttt* v | label_replace vtttt v
last_over_time m v | ln v v | log10 v v | log2 v v | mad_over_time m v ! | max_of ss s ! | max_over_time m v
min_of ss s ! | min_over_time m v | minute v? v | month v? v | pi - s | predict_linear ms v | present_over_time m v
quantile_over_time sm v | rad v v | range - s ! | rate m v | resets m v | round vs? v | scalar v s | sgn v v | sin v v
sinh v v | sort v v | sort_by_label vt* v ! | sort_by_label_desc vt* v ! | sort_desc v v | sqrt v v | start - s !
start_timestamp v v ! | stddev_over_time m v | stdvar_over_time m v | step - s ! | sum_over_time m v | tan v v
tanh v v | time - s | timestamp v v | ts_of_first_over_time m v ! | ts_of_last_over_time m v !
ts_of_max_over_time m v ! | ts_of_min_over_time m v ! | vector s v | year v? v
";

struct Signature {
    name: &'static str,
    args: Vec<char>,
    least: usize,
    most: Option<usize>,
    is_experimental: bool,
}

fn signatures() -> Vec<Signature> {
    let entries = SIGNATURES.split(['|', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
    let read = entries.map(|entry| {
        let words: Vec<&'static str> = entry.split_whitespace().collect();
        let [name, args, _, flags @ ..] = words.as_slice() else { panic!("{entry}") };
        let letters: Vec<char> = args.chars().filter(char::is_ascii_alphabetic).collect();
        let before_last = letters.len().saturating_sub(1);
        let (least, most) = match args.chars().last() {
            Some('?') => (before_last, Some(before_last + 1)),
            Some('*') => (before_last, None),
            Some(times) if times.is_ascii_digit() => {
                (before_last, times.to_digit(10).map(|times| before_last + times as usize))
            }
            _ => (letters.len(), Some(letters.len())),
        };
        Signature { name, args: letters, least, most, is_experimental: !flags.is_empty() }
    });
    read.collect()
}

impl Signature {
    /// The type of an argument; the last one's for further ones.
    fn kind(&self, at: usize) -> char {
        self.args.get(at).or(self.args.last()).copied().unwrap_or('s')
    }

    /// A call with so many arguments over a metric, `odd` among them in place of the right one.
    fn call(&self, count: usize, metric: &str, odd: Option<(usize, &str)>) -> String {
        let arg = |at: usize| match (odd, self.kind(at)) {
            (Some((place, text)), _) if place == at => text.to_owned(),
            // The second one chooses labels.
            (_, 'v') if self.name == "info" && at == 1 => "{data=~\".*\"}".to_owned(),
            (_, 'v') => metric.to_owned(),
            (_, 'm') => format!("{metric}[5m]"),
            (_, 't') => "\"x\"".to_owned(),
            _ => "0.5".to_owned(),
        };
        let args: Vec<String> = (0..count).map(arg).collect();
        format!("{}({})", self.name, args.join(", "))
    }

    /// Each argument once; what stands any number of times up to a most may be missing.
    fn usual(&self, metric: &str) -> String {
        let named = self.args.len();
        self.call(if self.most.is_some_and(|most| named < most) { self.least } else { named }, metric, None)
    }
}

fn refusal(query: &str, options: ParseOptions) -> Option<String> {
    parse(query, &options).err().map(|errors| errors.to_string())
}

#[test]
fn the_functions_are_those_of_prometheus() {
    let theirs: BTreeSet<&str> = signatures().iter().map(|signature| signature.name).collect();
    let ours: BTreeSet<&str> = functions().iter().map(|function| function.name).collect();
    assert_eq!(ours, theirs);
}

/// `docs/promql.md` has a row for each of them, which says whether it is experimental.
#[test]
fn the_page_of_the_language_has_them_all() {
    let rows = include_str!("../../../docs/promql.md").lines().skip_while(|line| !line.starts_with("| Function |"));
    let rows: Vec<&str> = rows.skip(2).take_while(|line| line.starts_with('|')).collect();
    let shown = signatures().into_iter().map(|signature| {
        let flag = if signature.is_experimental { "experimental" } else { "" };
        format!("| `{}` | {flag} |", signature.name)
    });
    for (row, expected) in rows.iter().zip(shown) {
        assert!(row.starts_with(&expected), "{expected}: {row}");
    }
    assert_eq!(rows.len(), signatures().len());
}

#[test]
fn arguments_are_counted_and_typed_as_there() {
    let all = ParseOptions::all();
    for signature in signatures() {
        let name = signature.name;
        for count in signature.least..=signature.most.unwrap_or(signature.least + 5) {
            assert_eq!(refusal(&signature.call(count, "a", None), all), None);
        }
        let expected = |word: &str, count: usize, got: usize| {
            Some(format!("1:1: parse error: expected {word}{count} argument(s) in call to \"{name}\", got {got}"))
        };
        let is_exact = signature.most == Some(signature.least);
        if let Some(fewer) = signature.least.checked_sub(1) {
            let word = if is_exact { "" } else { "at least " };
            assert_eq!(refusal(&signature.call(fewer, "a", None), all), expected(word, signature.least, fewer));
        }
        if let Some(most) = signature.most {
            let word = if is_exact { "" } else { "at most " };
            // A further argument is refused by its number, whatever it is.
            let further = signature.call(most + 1, "a", Some((most, "1")));
            assert_eq!(refusal(&further, all), expected(word, most, most + 1));
        }
        for at in 0..signature.args.len() {
            for (kind, text, got) in [
                ('v', "b", "instant vector"),
                ('m', "b[1m]", "range vector"),
                ('s', "1", "scalar"),
                ('t', "'b'", "string"),
            ] {
                if kind == signature.kind(at) || name == "info" && at == 1 {
                    continue;
                }
                let word = match signature.kind(at) {
                    'v' => "instant vector",
                    'm' => "range vector",
                    's' => "scalar",
                    _ => "string",
                };
                let query = signature.call(signature.args.len(), "a", Some((at, text)));
                let said = refusal(&query, all).unwrap_or_else(|| panic!("{query} is accepted"));
                let wanted = format!("expected type {word} in call to function \"{name}\", got {got}");
                assert!(said.contains(&wanted), "{query}: {said}");
            }
        }
    }
}

#[test]
fn experimental_ones_need_their_flag_and_no_other() {
    let without = ParseOptions::none();
    let with = without.with(Feature::ExperimentalFunctions);
    for signature in signatures() {
        let (query, name) = (signature.usual("a"), signature.name);
        let text = format!("1:1: parse error: function \"{name}\" is not enabled");
        assert_eq!(refusal(&query, without), signature.is_experimental.then_some(text));
        assert_eq!(refusal(&query, with), None);
    }
}

/// A minute between samples, the last one at five minutes.
fn world() -> Memory {
    let histogram = "{{schema:0 sum:5 count:4 buckets:[1 2 1]}}";
    let mut memory = Memory::default();
    for (name, samples) in [
        ("floats_total", "1 2 3 4 5 6".to_owned()),
        ("odd", "NaN Inf -Inf -0 1e308 -1".to_owned()),
        ("hists", format!("{histogram}x5")),
        ("mixed", format!("1 {histogram} 2 {histogram} 3 {histogram}")),
        ("custom", "{{schema:-53 sum:1 count:3 custom_values:[1 2] buckets:[1 1 1]}}x5".to_owned()),
        ("layouts", format!("{{{{schema:-53 sum:1 count:1 custom_values:[5] buckets:[1]}}}}x2 {histogram}x2")),
    ] {
        let labels = Labels::new([("__name__", name), ("instance", "i"), ("job", "j"), ("le", "1")]);
        let items = notation::items(&samples).expect("the samples are right");
        for (at, item) in (0_i64..).zip(items) {
            if let Some(value) = item {
                memory.add(&labels, at * 60_000, value);
            }
        }
    }
    memory
}

fn answer(memory: &Memory, query: &str, range: bool) -> Result<Answer, String> {
    let expr = parse(query, &ParseOptions::all()).unwrap_or_else(|errors| panic!("{query}: {errors}"));
    let (options, never) = (Options::default(), || false);
    let answer = if range {
        evaluate_range(memory, &expr, (-60_000, 600_000, 45_000), &options, &never)
    } else {
        evaluate_instant(memory, &expr, 300_000, &options, &never)
    };
    answer.map_err(|error| error.to_string())
}

fn notes(memory: &Memory, query: &str) -> Vec<String> {
    let answer = answer(memory, query, false).unwrap_or_else(|error| panic!("{query}: {error}"));
    answer.notes.iter().map(|note| note.render(query)).collect()
}

#[test]
fn every_function_answers_to_every_kind_of_sample() {
    let memory = world();
    for signature in signatures() {
        for metric in ["floats_total", "odd", "hists", "mixed", "custom", "layouts", "nothing"] {
            let query = signature.usual(metric);
            for range in [false, true] {
                if let Err(error) = answer(&memory, &query, range) {
                    panic!("{query}: {error}");
                }
            }
            if metric == "nothing" {
                assert_eq!(notes(&memory, &query), [""; 0], "{query}");
            }
        }
    }
}

/// What is said of a range with numbers and histograms in it, and of one with histograms that grow.
#[test]
fn notes_of_ranges_are_those_of_prometheus() {
    let memory = world();
    let mix = |at: usize| {
        format!("PromQL warning: encountered a mix of histograms and floats for metric name \"mixed\" (1:{at})")
    };
    let ignored = |at: usize| {
        format!(
            "PromQL info: ignored histograms in a range containing both floats and histograms for metric name \"mixed\" (1:{at})"
        )
    };
    let no_gauge =
        |at: usize| format!("PromQL warning: this native histogram metric is not a gauge: \"hists\" (1:{at})");
    let mixes = ["avg_over_time", "delta", "idelta", "increase", "irate", "rate", "sum_over_time"];
    let ignores = [
        "deriv",
        "double_exponential_smoothing",
        "mad_over_time",
        "max_over_time",
        "min_over_time",
        "predict_linear",
        "quantile_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "ts_of_max_over_time",
        "ts_of_min_over_time",
    ];
    for signature in signatures().iter().filter(|signature| signature.args.contains(&'m')) {
        let query = signature.usual("mixed");
        // The note stands at the first argument, whichever that is.
        let place = signature.name.len() + 2;
        let mut expected = BTreeMap::new();
        expected.extend(mixes.map(|name| (name, vec![mix(place)])));
        expected.extend(ignores.map(|name| (name, vec![ignored(place)])));
        let expected = expected.remove(signature.name).unwrap_or_default();
        assert_eq!(notes(&memory, &query), expected, "{query}");

        let query = signature.usual("hists");
        let gauge_only = matches!(signature.name, "delta" | "idelta");
        let expected = if gauge_only { vec![no_gauge(place)] } else { Vec::new() };
        assert_eq!(notes(&memory, &query), expected, "{query}");
        assert_eq!(notes(&memory, &signature.usual("floats_total")), [""; 0], "{}", signature.name);
    }
}

/// Parameters out of range are told also when there is nothing to answer for, unless a range is asked, as in Prometheus.
#[test]
fn bad_quantiles_are_told_where_they_stand() {
    let memory = world();
    let bad = |at: usize| vec![format!("PromQL warning: quantile value should be between 0 and 1, got 2 (1:{at})")];
    for (query, expected) in [
        ("histogram_quantile(2, nothing)", bad(20)),
        ("histogram_quantiles(nothing, 'q', 0.5, 2)", bad(40)),
        ("quantile_over_time(2, nothing[5m])", Vec::new()),
        ("quantile_over_time(2, hists[5m])", Vec::new()),
        ("quantile_over_time(2, floats_total[5m])", bad(20)),
        ("quantile(2, floats_total)", bad(10)),
    ] {
        assert_eq!(notes(&memory, query), expected, "{query}");
    }
    for query in [
        "double_exponential_smoothing(floats_total[5m], 1, 0.5)",
        "double_exponential_smoothing(floats_total[5m], 0.5, 0)",
    ] {
        let said = answer(&memory, query, false).expect_err(query);
        assert!(said.starts_with("invalid ") && said.contains("factor. Expected: 0 < "), "{said}");
        assert!(answer(&memory, &query.replace("floats_total", "nothing"), false).is_ok(), "{query}");
    }
    for (query, expected) in [
        ("label_replace(nothing, 'a', 'b', 'c', '(')", "invalid regular expression in label_replace(): ("),
        ("label_replace(nothing, '', 'b', 'c', 'd')", "invalid destination label name in label_replace(): "),
        ("label_join(nothing, '', 'b', 'c')", "invalid destination label name in label_join(): "),
        ("label_join(nothing, 'a', 'b', '')", "invalid source label name in label_join(): "),
    ] {
        assert_eq!(answer(&memory, query, false).err().as_deref(), Some(expected), "{query}");
    }
}

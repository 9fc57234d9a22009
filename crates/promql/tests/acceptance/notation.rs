//! How scripts write series: `metric{a="b"} 1 2+3x4 _ stale {{schema:0 count:1 sum:2 buckets:[1]}}x2`.

use std::sync::{Arc, LazyLock};

use homeostat_model::{
    Histogram, Labels, SampleValue,
    histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA, ResetHint},
    sample::stale_marker,
};
use homeostat_promql::histogram;
use regex::Regex;

/// A sample, or none.
pub(crate) type Item = Option<SampleValue>;

/// Not `0x1f`: in a sequence `0x5` is six times 0.
const NUMBER: &str = r"[+-]?(?:[Ii][Nn][Ff]|[Nn][Aa][Nn]|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)";
const NAME: &str = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const QUOTED: &str = r#""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`"#;

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

static LABEL: LazyLock<Regex> =
    LazyLock::new(|| regex(&format!(r"^\s*(?:({NAME})|({QUOTED}))\s*=\s*({QUOTED})\s*(,|\}})")));
static QUOTED_NAME: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"^\s*({QUOTED})\s*(,|\}})")));
static ITEM: LazyLock<Regex> = LazyLock::new(|| regex(r"(?:\{\{.*?\}\}|\S)+"));
static FLOAT: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"^(stale|{NUMBER})(?:([+-](?:{NUMBER}))?x(\d+))?$")));
static HISTOGRAM: LazyLock<Regex> = LazyLock::new(|| regex(r"^\{\{(.*?)\}\}(?:(?:([+-])\{\{(.*?)\}\})?x(\d+))?$"));
static FIELD: LazyLock<Regex> = LazyLock::new(|| regex(r"(\w+):(\[[^\]]*\]|\S+)"));
static DURATION_PART: LazyLock<Regex> = LazyLock::new(|| regex(r"(\d+)(ms|[smhdwy])"));

/// `1m30s`, or seconds, in milliseconds.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0).round() as i64);
    }
    let (sign, unsigned) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let mut total = 0;
    let mut read = String::new();
    for part in DURATION_PART.captures_iter(unsigned) {
        let unit = match &part[2] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => 365 * 86_400_000,
        };
        total += part[1].parse::<i64>().map_err(|error| error.to_string())? * unit;
        read += &part[0];
    }
    if read == unsigned && !read.is_empty() { Ok(sign * total) } else { Err(format!("no duration: {text:?}")) }
}

/// `Inf`, `NaN`, `0x1f`, `.5`, `1e3`.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let value = match unsigned.strip_prefix("0x").or(unsigned.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).map(|value| value as f64).map_err(|error| error.to_string()),
        None => unsigned.parse::<f64>().map_err(|error| format!("{text:?}: {error}")),
    }?;
    Ok(if text.starts_with('-') { -value } else { value })
}

/// Returns true for what [`number`] reads.
pub(crate) fn is_number(text: &str) -> bool {
    static WHOLE: LazyLock<Regex> = LazyLock::new(|| regex(&format!("^{NUMBER}$")));
    WHOLE.is_match(text)
}

/// A text in double, single or back quotes.
pub(crate) fn unquote(text: &str) -> String {
    let body = &text[1..text.len() - 1];
    if text.starts_with('`') {
        return body.to_owned();
    }
    let mut out = String::new();
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, false) => out.push(c),
        }
    }
    out
}

/// Labels, and what stands behind them.
pub(crate) fn labels(line: &str) -> Result<(Labels, &str), String> {
    static METRIC: LazyLock<Regex> = LazyLock::new(|| regex(&format!("^{NAME}")));
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = line;
    if let Some(name) = METRIC.find(line) {
        pairs.push(("__name__".to_owned(), name.as_str().to_owned()));
        rest = &line[name.end()..];
    }
    let Some(mut inside) = rest.strip_prefix('{').filter(|_| !rest.starts_with("{{")) else {
        return if pairs.is_empty() { Err(format!("no series: {line:?}")) } else { Ok((Labels::new(pairs), rest)) };
    };
    loop {
        if let Some(behind) = inside.trim_start().strip_prefix('}') {
            return Ok((Labels::new(pairs), behind));
        }
        let end = if let Some(label) = LABEL.captures(inside) {
            let name = label.get(1).map_or_else(|| unquote(&label[2]), |name| name.as_str().to_owned());
            pairs.push((name, unquote(&label[3])));
            (label[0].len(), label[4].to_owned())
        } else if let Some(name) = QUOTED_NAME.captures(inside) {
            pairs.push(("__name__".to_owned(), unquote(&name[1])));
            (name[0].len(), name[2].to_owned())
        } else {
            return Err(format!("no labels: {inside:?}"));
        };
        inside = &inside[end.0..];
        if end.1 == "}" {
            return Ok((Labels::new(pairs), inside));
        }
    }
}

/// All offsets of a sequence such as `_ -30s-1mx2`, written out.
pub(crate) fn offsets(text: &str) -> Result<Vec<Option<i64>>, String> {
    static GAP: LazyLock<Regex> = LazyLock::new(|| regex(r"^_(?:x(\d+))?$"));
    static OFFSET: LazyLock<Regex> = LazyLock::new(|| regex(r"^([+-]?[0-9a-wyz]+)(?:([+-][0-9a-wyz]+)?x(\d+))?$"));
    let mut out = Vec::new();
    for item in text.split_whitespace() {
        if let Some(gap) = GAP.captures(item) {
            let times = gap.get(1).map_or(1, |times| times.as_str().parse().unwrap_or(0));
            out.extend(std::iter::repeat_n(None, times));
            continue;
        }
        let parts = OFFSET.captures(item).ok_or_else(|| format!("no offset: {item:?}"))?;
        let signed = |text: &str| duration(text.strip_prefix('+').unwrap_or(text));
        let (first, step) = (signed(&parts[1])?, parts.get(2).map_or(Ok(0), |step| signed(step.as_str()))?);
        let times: i64 = parts.get(3).map_or(0, |times| times.as_str().parse().unwrap_or(0));
        out.extend((0..=times).map(|at| Some(first + at * step)));
    }
    Ok(out)
}

/// All items of a sequence, written out.
pub(crate) fn items(text: &str) -> Result<Vec<Item>, String> {
    static GAP: LazyLock<Regex> = LazyLock::new(|| regex(r"^_(?:x(\d+))?$"));
    let mut out = Vec::new();
    for item in ITEM.find_iter(text).map(|item| item.as_str()) {
        if let Some(gap) = GAP.captures(item) {
            let times = gap.get(1).map_or(Ok(1), |times| times.as_str().parse()).map_err(|e| format!("{e}"))?;
            out.extend(std::iter::repeat_n(None, times));
        } else if let Some(float) = FLOAT.captures(item) {
            let times: usize = float.get(3).map_or(0, |times| times.as_str().parse().unwrap_or(0));
            if &float[1] == "stale" {
                out.extend(std::iter::repeat_n(Some(SampleValue::Float(stale_marker())), times + 1));
                continue;
            }
            let mut value = number(&float[1])?;
            let step = float.get(2).map_or(Ok(0.0), |step| number(step.as_str()))?;
            for _ in 0..=times {
                out.push(Some(SampleValue::Float(value)));
                if step != 0.0 {
                    value += step;
                }
            }
        } else if let Some(parts) = HISTOGRAM.captures(item) {
            let times: usize = parts.get(4).map_or(0, |times| times.as_str().parse().unwrap_or(0));
            let mut value = one_histogram(&parts[1])?;
            let step = parts.get(3).map(|step| one_histogram(step.as_str())).transpose()?;
            for _ in 0..=times {
                out.push(Some(SampleValue::Histogram(Arc::new(value.clone()))));
                let Some(step) = &step else { continue };
                let hint = value.reset_hint;
                let result =
                    if &parts[2] == "+" { histogram::add(&mut value, step) } else { histogram::sub(&mut value, step) };
                result.map_err(|error| error.to_string())?;
                value.reset_hint = hint;
            }
        } else {
            return Err(format!("no item of a sequence: {item:?}"));
        }
    }
    Ok(out)
}

fn one_histogram(text: &str) -> Result<Histogram, String> {
    let mut histogram = Histogram::default();
    let (mut positive, mut negative) = ((0, Vec::new()), (0, Vec::new()));
    for field in FIELD.captures_iter(text) {
        let value = &field[2];
        let list = || value.trim_matches(['[', ']']).split_whitespace().map(number).collect::<Result<Vec<_>, _>>();
        let offset = || value.parse::<i32>().map_err(|error| error.to_string());
        match &field[1] {
            "schema" => histogram.schema = value.parse().map_err(|error| format!("{error}"))?,
            "sum" => histogram.sum = number(value)?,
            "count" => histogram.count = number(value)?,
            "z_bucket" => histogram.zero_count = number(value)?,
            "z_bucket_w" => histogram.zero_threshold = number(value)?,
            "offset" => positive.0 = offset()?,
            "n_offset" => negative.0 = offset()?,
            "buckets" => positive.1 = list()?,
            "n_buckets" => negative.1 = list()?,
            "custom_values" => histogram.custom_bounds = list()?.into(),
            "counter_reset_hint" => {
                histogram.reset_hint = match value {
                    "reset" => ResetHint::Reset,
                    "not_reset" => ResetHint::NotReset,
                    "gauge" => ResetHint::Gauge,
                    _ => ResetHint::Unknown,
                };
            }
            other => return Err(format!("unknown field {other:?}")),
        }
    }
    let side = |(offset, counts): (i32, Vec<f64>)| Buckets::from_sorted((offset..).zip(counts));
    histogram.positive = side(positive);
    histogram.negative = side(negative);
    if !histogram.custom_bounds.is_empty() {
        histogram.schema = CUSTOM_BOUNDS_SCHEMA;
    }
    Ok(histogram)
}

//! Scripts of the acceptance suite: `load`, `clear`, `eval` and `expect`.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use homeostat_model::{
    Histogram, Labels, SampleValue,
    histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA},
    labels::METRIC_NAME,
};
use regex::Regex;

use super::notation::{Item, duration, is_number, items, labels, number, offsets, unquote};

/// A command of a script.
pub(crate) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// Series to be loaded.
pub(crate) struct Load {
    pub(crate) step_ms: i64,
    pub(crate) series: Vec<(Labels, Vec<Item>)>,
    /// Of series whose samples say since when they count: how long before the sample, in milliseconds.
    pub(crate) starts: BTreeMap<Labels, Vec<Option<i64>>>,
}

/// What a text must be.
pub(crate) enum Text {
    Any,
    Exactly(String),
    Like(Regex),
}

impl Text {
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(expected) => expected == text,
            Self::Like(regex) => regex.is_match(text),
        }
    }
}

/// A query and what is expected of it.
#[derive(Default)]
pub(crate) struct Eval {
    pub(crate) line: usize,
    pub(crate) query: String,
    pub(crate) start_ms: i64,
    /// End and step; none for an instant query.
    pub(crate) range: Option<(i64, i64)>,
    pub(crate) ordered: bool,
    pub(crate) expected: Vec<(Labels, Vec<Item>)>,
    pub(crate) scalar: Option<f64>,
    pub(crate) text: Option<String>,
    /// First, last and step of the samples of a range.
    pub(crate) samples: Option<(i64, i64, i64)>,
    pub(crate) fail: Option<Text>,
    pub(crate) warnings: Vec<Text>,
    pub(crate) infos: Vec<Text>,
    pub(crate) no_warnings: bool,
    pub(crate) no_infos: bool,
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

static LOAD: LazyLock<Regex> = LazyLock::new(|| regex(r"^load(_with_nhcb)?\s+(\S+)$"));
static INSTANT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)$"));
static RANGE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$"));
static EXPECT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(msg|regex):(.+))?$"));
static EXPECT_SAMPLES: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)$"));
static EXPECT_TEXT: LazyLock<Regex> = LazyLock::new(|| regex(r"^expect\s+string\s+(.+)$"));
static WITH_START: LazyLock<Regex> = LazyLock::new(|| regex(r"^(\S+?)@st\s"));

/// Reads a script.
pub(crate) fn parse(text: &str) -> Result<Vec<Command>, String> {
    // A comment ends a block just as an empty line does.
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let block = lines[at + 1..].iter().take_while(|line| !line.is_empty()).count();
        let body = &lines[at + 1..at + 1 + block];
        let placed = |error: String| format!("line {}: {error}", at + 1);
        let word = line.split_whitespace().next().unwrap_or_default();
        match word {
            "" => {}
            "clear" => commands.push(Command::Clear),
            _ if word.starts_with("load") => commands.push(Command::Load(load(line, body).map_err(placed)?)),
            _ if word.starts_with("eval") => {
                commands.push(Command::Eval(Box::new(eval(line, body, at + 1).map_err(placed)?)));
            }
            _ => return Err(placed(format!("unknown command {word:?}"))),
        }
        at += 1 + if word.starts_with("load") || word.starts_with("eval") { block } else { 0 };
    }
    Ok(commands)
}

fn load(line: &str, body: &[&str]) -> Result<Load, String> {
    let head = LOAD.captures(line).ok_or("malformed load")?;
    let mut load = Load { step_ms: duration(&head[2])?, series: Vec::new(), starts: BTreeMap::new() };
    for line in body {
        if let Some(started) = WITH_START.captures(line) {
            let (_, rest) = line.split_at(started[0].len());
            load.starts.insert(labels(&started[1])?.0, offsets(rest)?);
            continue;
        }
        let (labels, rest) = labels(line)?;
        load.series.retain(|(known, _)| *known != labels); // The last definition counts.
        load.series.push((labels, items(rest)?));
    }
    if head.get(1).is_some() {
        let converted = classic_as_native(&load.series);
        load.series.extend(converted);
    }
    Ok(load)
}

fn eval(line: &str, body: &[&str], number_of_line: usize) -> Result<Eval, String> {
    let mut case = Eval { line: number_of_line, ..Eval::default() };
    let mode = if let Some(head) = RANGE.captures(line) {
        case.start_ms = duration(&head[2])?;
        case.range = Some((duration(&head[3])?, duration(&head[4])?));
        head[5].clone_into(&mut case.query);
        head.get(1).map(|mode| mode.as_str().to_owned())
    } else {
        let head = INSTANT.captures(line).ok_or("malformed eval")?;
        case.start_ms = head.get(2).map_or(Ok(0), |at| duration(at.as_str()))?;
        head[3].clone_into(&mut case.query);
        head.get(1).map(|mode| mode.as_str().to_owned())
    };
    match mode.as_deref() {
        Some("fail") => case.fail = Some(Text::Any),
        Some("warn") => case.warnings.push(Text::Any),
        Some("info") => case.infos.push(Text::Any),
        Some(_) => case.ordered = true,
        None => {}
    }
    for line in body {
        if line.starts_with("expect") {
            expect(&mut case, line)?;
        } else if is_number(line) {
            case.scalar = Some(number(line)?);
        } else {
            let (labels, rest) = labels(line)?;
            let items = items(rest)?;
            match case.expected.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, known)) => *known = items,
                None => case.expected.push((labels, items)),
            }
        }
    }
    Ok(case)
}

fn expect(case: &mut Eval, line: &str) -> Result<(), String> {
    if let Some(samples) = EXPECT_SAMPLES.captures(line) {
        case.samples = Some((duration(&samples[1])?, duration(&samples[2])?, duration(&samples[3])?));
        return Ok(());
    }
    if let Some(text) = EXPECT_TEXT.captures(line) {
        case.text = Some(unquote(&text[1]));
        return Ok(());
    }
    let parts = EXPECT.captures(line).ok_or_else(|| format!("malformed expectation {line:?}"))?;
    let text = match (parts.get(2).map(|how| how.as_str()), parts.get(3).map(|text| text.as_str().trim())) {
        (Some("regex"), Some(pattern)) => Text::Like(Regex::new(pattern).map_err(|error| error.to_string())?),
        (Some(_), Some(text)) => Text::Exactly(text.to_owned()),
        _ => Text::Any,
    };
    match &parts[1] {
        "ordered" => case.ordered = true,
        "no_warn" => case.no_warnings = true,
        "no_info" => case.no_infos = true,
        "fail" => case.fail = Some(text),
        "warn" => case.warnings.push(text),
        _ => case.infos.push(text),
    }
    Ok(())
}

/// What is known of a classic histogram at a step.
#[derive(Default)]
struct Classic {
    /// Bounds and counts.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
}

/// The native histograms with custom bounds that `load_with_nhcb` adds to classic ones.
fn classic_as_native(series: &[(Labels, Vec<Item>)]) -> Vec<(Labels, Vec<Item>)> {
    let mut groups: BTreeMap<Labels, BTreeMap<usize, Classic>> = BTreeMap::new();
    for (labels, items) in series {
        let name = labels.metric().unwrap_or_default();
        let parts = ["_bucket", "_count", "_sum"].into_iter().find_map(|part| Some((name.strip_suffix(part)?, part)));
        let Some((base, part)) = parts else { continue };
        let bound = labels.get("le").and_then(|le| number(le).ok()).filter(|le| !le.is_nan());
        if part == "_bucket" && bound.is_none() {
            continue;
        }
        let labels = if part == "_bucket" { labels.with("le", "") } else { labels.clone() };
        let steps = groups.entry(labels.with(METRIC_NAME, base)).or_default();
        for (step, item) in items.iter().enumerate() {
            let Some(SampleValue::Float(value)) = item else { continue };
            let classic = steps.entry(step).or_default();
            match (part, bound) {
                ("_bucket", Some(bound)) => {
                    if !classic.buckets.iter().any(|(known, _)| known.total_cmp(&bound).is_eq()) {
                        classic.buckets.push((bound, *value));
                    }
                }
                ("_count", _) => classic.count = Some(*value),
                _ => classic.sum = Some(*value),
            }
        }
    }
    let sequence = |steps: BTreeMap<usize, Classic>| {
        let mut items = vec![None; steps.keys().last().map_or(0, |last| last + 1)];
        for (step, classic) in steps {
            items[step] = Some(SampleValue::Histogram(Arc::new(native(classic))));
        }
        items
    };
    groups.into_iter().map(|(labels, steps)| (labels, sequence(steps))).collect()
}

fn native(mut classic: Classic) -> Histogram {
    classic.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = classic.count.or(classic.buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
    if classic.buckets.last().is_none_or(|(bound, _)| bound.is_finite()) {
        classic.buckets.push((f64::INFINITY, count));
    }
    let mut before = 0.0;
    let counts: Vec<f64> =
        classic.buckets.iter().map(|(_, count)| count - std::mem::replace(&mut before, *count)).collect();
    let bounds: Vec<f64> = classic.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
    Histogram {
        schema: CUSTOM_BOUNDS_SCHEMA,
        count,
        sum: classic.sum.unwrap_or(0.0),
        positive: Buckets::from_sorted((0..).zip(counts)),
        custom_bounds: bounds.into(),
        ..Histogram::default()
    }
}

//! What a query gave, compared with what a script expects.

use std::collections::BTreeMap;

use homeostat_model::{Histogram, Labels, SampleValue};
use homeostat_promql::{
    Note, NoteLevel,
    eval::{Answer, MatrixSeries, Value},
    histogram::buckets,
};

use super::{
    notation::Item,
    script::{Eval, Text},
};

/// Relative difference that is allowed between two numbers.
const EPSILON: f64 = 1e-6;

/// Says what is wrong with an answer.
pub(crate) fn problem(case: &Eval, answer: &Answer) -> Result<(), String> {
    value(case, &answer.value)?;
    notes(case, answer)
}

fn value(case: &Eval, value: &Value) -> Result<(), String> {
    match (value, case.range, &case.text, case.scalar) {
        (Value::Matrix(series), Some((_, step_ms)), _, _) => {
            if !series.is_sorted_by(|a, b| a.labels < b.labels) {
                return Err("the series are not sorted by their labels".to_owned());
            }
            matrix(case, series, case.start_ms, step_ms)
        }
        (Value::Text { text, .. }, None, Some(expected), _) if text == expected => Ok(()),
        (Value::Scalar { value, .. }, None, None, Some(expected)) if same_number(expected, *value) => Ok(()),
        (Value::Matrix(series), None, None, None) => match case.samples {
            Some((start_ms, _, step_ms)) => matrix(case, series, start_ms, step_ms),
            None => Err("a range came back".to_owned()),
        },
        (Value::Vector(elements), None, None, None) => {
            let found: Vec<_> = elements
                .iter()
                .map(|element| (element.labels.clone(), BTreeMap::from([(0, element.value.clone())])))
                .collect();
            series_of(case, &found, |_| 0)?;
            let order: Vec<_> = found.iter().map(|(labels, _)| labels).collect();
            if case.ordered && !order.iter().copied().eq(case.expected.iter().map(|(labels, _)| labels)) {
                return Err(format!("the order is {order:?}"));
            }
            Ok(())
        }
        (value, ..) => Err(format!("got {value:?}")),
    }
}

/// Values by time.
type Points = BTreeMap<i64, SampleValue>;

pub(crate) fn points(series: &MatrixSeries) -> Points {
    let floats = series.floats.iter().map(|(t_ms, value)| (*t_ms, SampleValue::Float(*value)));
    let histograms = series.histograms.iter().map(|(t_ms, value)| (*t_ms, SampleValue::Histogram(value.clone())));
    floats.chain(histograms).collect()
}

fn matrix(case: &Eval, series: &[MatrixSeries], start_ms: i64, step_ms: i64) -> Result<(), String> {
    let found: Vec<_> = series.iter().map(|series| (series.labels.clone(), points(series))).collect();
    series_of(case, &found, |index| start_ms + index as i64 * step_ms)
}

fn series_of(case: &Eval, found: &[(Labels, Points)], time: impl Fn(usize) -> i64) -> Result<(), String> {
    for (labels, points) in found {
        if found.iter().filter(|(other, _)| other == labels).count() > 1 {
            return Err(format!("{labels} came twice"));
        }
        let Some((_, items)) = case.expected.iter().find(|(expected, _)| expected == labels) else {
            return Err(format!("{labels} is not expected: {}", show(points)));
        };
        same_points(labels, items, points, &time)?;
    }
    for (labels, items) in &case.expected {
        if !found.iter().any(|(found, _)| found == labels) {
            return Err(format!("{labels} is missing: {items:?}"));
        }
    }
    Ok(())
}

fn same_points(labels: &Labels, items: &[Item], found: &Points, time: &impl Fn(usize) -> i64) -> Result<(), String> {
    let expected: Points =
        items.iter().enumerate().filter_map(|(index, item)| Some((time(index), item.clone()?))).collect();
    if !expected.keys().eq(found.keys()) {
        return Err(format!("{labels}: expected {}, got {}", show(&expected), show(found)));
    }
    for (t_ms, expected) in &expected {
        if !same_value(expected, &found[t_ms]) {
            let found = &found[t_ms];
            return Err(format!("{labels} at {t_ms} ms: expected {}, got {}", one(expected), one(found)));
        }
    }
    Ok(())
}

fn show(points: &Points) -> String {
    let all: Vec<_> = points.iter().map(|(t_ms, value)| format!("{t_ms}: {}", one(value))).collect();
    all.join(", ")
}

fn one(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => format!("{value}"),
        SampleValue::Histogram(histogram) => {
            format!("count {} sum {} {:?}", histogram.count, histogram.sum, filled(histogram))
        }
    }
}

pub(crate) fn same_value(expected: &SampleValue, found: &SampleValue) -> bool {
    match (expected, found) {
        (SampleValue::Float(a), SampleValue::Float(b)) => same_number(*a, *b),
        (SampleValue::Histogram(a), SampleValue::Histogram(b)) => same_histogram(a, b),
        _ => false,
    }
}

fn same_number(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    let total = a.abs() + b.abs();
    let close = if a == 0.0 || b == 0.0 || total < f64::MIN_POSITIVE {
        (a - b).abs() < EPSILON * f64::MIN_POSITIVE
    } else {
        (a - b).abs() / total.min(f64::MAX) < EPSILON
    };
    a == b || close
}

fn same_histogram(a: &Histogram, b: &Histogram) -> bool {
    let (x, y) = (filled(a), filled(b));
    let buckets = x.iter().zip(&y).all(|(a, b)| a.iter().zip(b).all(|(a, b)| same_number(*a, *b)));
    same_number(a.count, b.count) && same_number(a.sum, b.sum) && x.len() == y.len() && buckets
}

/// Bounds and counts of the buckets that are not empty.
fn filled(histogram: &Histogram) -> Vec<[f64; 3]> {
    let filled = buckets(histogram).filter(|bucket| bucket.count != 0.0);
    filled.map(|bucket| [bucket.lower, bucket.upper, bucket.count]).collect()
}

fn notes(case: &Eval, answer: &Answer) -> Result<(), String> {
    for (level, expected, none) in
        [(NoteLevel::Warning, &case.warnings, case.no_warnings), (NoteLevel::Info, &case.infos, case.no_infos)]
    {
        let found: Vec<String> = answer
            .notes
            .iter()
            .filter(|note: &Note| note.level == level)
            .map(|note| note.render(&case.query))
            .collect();
        if none && !found.is_empty() {
            return Err(format!("unexpected notes: {found:?}"));
        }
        if let Some(missing) = expected.iter().position(|text| !found.iter().any(|found| text.matches(found))) {
            let text = match &expected[missing] {
                Text::Any => "any",
                Text::Exactly(text) => text,
                Text::Like(regex) => regex.as_str(),
            };
            return Err(format!("expected the note {text:?}, got {found:?}"));
        }
        let surprise = found.iter().find(|found| !expected.iter().any(|text| text.matches(found)));
        if let (false, Some(surprise)) = (expected.is_empty(), surprise) {
            return Err(format!("unexpected note: {surprise}"));
        }
    }
    Ok(())
}

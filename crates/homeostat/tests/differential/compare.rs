//! Two answers of the query API: the same but for the last digits?

use std::collections::BTreeMap;

use serde_json::Value;

/// Relative difference of numbers that counts as none: sums of a hundred numbers in another order, and one more digit for
/// what multiplies it.
const RELATIVE_MAX: f64 = 1e-7;
/// The same for numbers around 0 that are left of larger ones.
const ABSOLUTE_MAX: f64 = 1e-7;

/// What is different; `None` if nothing is. Errors are the same whatever they say.
pub(crate) fn difference(ours: &Value, theirs: &Value) -> Option<String> {
    if ours["status"] != theirs["status"] {
        return Some(format!("ours: {}\n  theirs: {}", brief(ours), brief(theirs)));
    }
    if ours["status"] == "error" {
        return None;
    }
    let (ours, theirs) = (&ours["data"], &theirs["data"]);
    if ours["resultType"] != theirs["resultType"] {
        return Some(format!("{} and {}", ours["resultType"], theirs["resultType"]));
    }
    let (ours, theirs) = (&ours["result"], &theirs["result"]);
    if ours.as_array().is_some_and(|list| list.first().is_none_or(Value::is_object)) {
        return of_lists(ours, theirs);
    }
    (!same(ours, theirs)).then(|| format!("ours: {ours}\n  theirs: {theirs}"))
}

fn of_lists(ours: &Value, theirs: &Value) -> Option<String> {
    let keyed = |list: &Value| -> BTreeMap<String, Value> {
        let items = list.as_array().into_iter().flatten();
        items.map(|item| (item["metric"].to_string(), item.clone())).collect()
    };
    let (mine, yours) = (keyed(ours), keyed(theirs));
    for key in mine.keys().chain(yours.keys()) {
        match (mine.get(key), yours.get(key)) {
            (Some(a), Some(b)) if fields(a, b) => {}
            (a, b) => {
                return Some(match a.zip(b) {
                    Some((a, b)) => format!("{key}: {}", first_difference(a, b)),
                    None if a.is_none() => format!("only theirs: {}", b.map(brief).unwrap_or_default()),
                    None => format!("only ours: {}", a.map(brief).unwrap_or_default()),
                });
            }
        }
    }
    None
}

/// The kinds of values that an element may have.
fn fields(a: &Value, b: &Value) -> bool {
    ["value", "values", "histogram", "histograms"].iter().all(|field| same(&a[*field], &b[*field]))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (Value::String(a), Value::String(b)) => a == b || a.parse().ok().zip(b.parse().ok()).is_some_and(near),
        (Value::Number(a), Value::Number(b)) => a.as_f64().zip(b.as_f64()).is_some_and(near),
        (a, b) => a == b,
    }
}

fn near((a, b): (f64, f64)) -> bool {
    if !a.is_finite() || !b.is_finite() {
        return a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    }
    (a - b).abs() <= ABSOLUTE_MAX + RELATIVE_MAX * a.abs().max(b.abs())
}

/// The first point of two elements that differs.
fn first_difference(a: &Value, b: &Value) -> String {
    for field in ["values", "histograms"] {
        if let (Some(a), Some(b)) = (a[field].as_array(), b[field].as_array())
            && let Some(at) = (0..a.len().min(b.len())).find(|at| !same(&a[*at], &b[*at]))
        {
            return format!("ours: {}\n  theirs: {}", brief(&a[at]), brief(&b[at]));
        }
    }
    format!("ours: {}\n  theirs: {}", brief(a), brief(b))
}

fn brief(value: &Value) -> String {
    value.to_string().chars().take(1200).collect()
}

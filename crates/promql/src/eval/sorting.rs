//! `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc`: the order of an instant query's result.
//!
//! The result of a range query is sorted by labels whatever is done here, which is told.

use std::cmp::Ordering;

use super::{
    error::{EvalError, execution},
    evaluator::{Evaluator, Sink},
    label_functions::text,
    series::Series,
};
use crate::ast::{ByteSpan, Expr};

/// Hands on the series of a sorting function, in its order when there is a single step.
pub(super) fn rows(
    ev: &Evaluator<'_>,
    name: &str,
    args: &[Expr],
    span: ByteSpan,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let [vector, labels @ ..] = args else { return Err(execution(format!("function {name} needs a vector"))) };
    let labels = labels.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let by_value = matches!(name, "sort" | "sort_desc");
    if ev.steps.count > 1 {
        let text = "sort is ineffective for range queries since results are always ordered by labels";
        ev.note(|notes| notes.warn(span, text));
        return ev.rows(vector, &mut |series| {
            if by_value {
                series.drop_histograms();
            }
            if series.is_empty() { Ok(()) } else { sink(series) }
        });
    }
    let mut matrix = ev.matrix(vector)?;
    match name {
        "sort" => matrix.series.sort_by(|a, b| by_number(a, b, false)),
        "sort_desc" => matrix.series.sort_by(|a, b| by_number(a, b, true)),
        "sort_by_label" => matrix.series.sort_by(|a, b| by_labels(a, b, &labels)),
        _ => matrix.series.sort_by(|a, b| by_labels(b, a, &labels)),
    }
    if by_value {
        matrix.series.retain(|series| !series.has_histograms());
    }
    matrix.drain(sink)
}

/// By the number of the only step; `NaN` comes last in both directions.
fn by_number(a: &Series, b: &Series, descending: bool) -> Ordering {
    let (a, b) = (a.float(0).unwrap_or(f64::NAN), b.float(0).unwrap_or(f64::NAN));
    let order = a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
    if descending && !a.is_nan() && !b.is_nan() { order.reverse() } else { order }
}

fn by_labels(a: &Series, b: &Series, labels: &[&str]) -> Ordering {
    let values = labels.iter().map(|label| (a.labels.value(label), b.labels.value(label)));
    let order = values.map(|(a, b)| natural(a, b)).find(|order| order.is_ne());
    order.unwrap_or_else(|| a.labels.cmp(&b.labels))
}

/// Texts cut into runs of digits and of anything else: digits are compared as numbers, so that `x2` comes before `x10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (Parts(a), Parts(b));
    loop {
        match (a.next(), b.next()) {
            (Some(x), Some(y)) => match natural_part(x, y) {
                Ordering::Equal => {}
                order => return order,
            },
            (None, None) => return Ordering::Equal,
            (x, y) => return x.is_some().cmp(&y.is_some()),
        }
    }
}

fn natural_part(a: &str, b: &str) -> Ordering {
    let digits = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    if !digits(a) || !digits(b) {
        return a.cmp(b);
    }
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Iterates over runs of digits and of anything else.
struct Parts<'t>(&'t str);

impl<'t> Iterator for Parts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let first = self.0.chars().next()?.is_ascii_digit();
        let len = self.0.find(|c: char| c.is_ascii_digit() != first).unwrap_or(self.0.len());
        let (part, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_compared_as_numbers() {
        let mut texts = ["x10", "x9", "", "x", "y1", "x1.20.3", "x1.3.0", "10", "9", "x8"];
        texts.sort_by(|a, b| natural(a, b));
        assert_eq!(texts, ["", "9", "10", "x", "x1.3.0", "x1.20.3", "x8", "x9", "x10", "y1"]);
    }
}

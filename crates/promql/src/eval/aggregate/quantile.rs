//! `quantile(φ, v)`: all numbers of a group at a step are needed together.

use homeostat_model::number_text::shortest;

use super::{groups::Groups, inner_span, note_ignored};
use crate::{
    ast::{Aggregate, ByteSpan},
    eval::{
        error::{EvalError, execution},
        evaluator::{Evaluator, Matrix, Sink},
        numbers::{larger, smaller},
        range_functions::spread,
        scalar::Scalar,
        series::Series,
    },
};

/// Hands on the groups of a quantile.
pub(super) fn rows(ev: &Evaluator<'_>, aggregate: &Aggregate, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let param = aggregate.param.as_ref().ok_or_else(|| execution("quantile needs a parameter"))?;
    let q = ev.scalar(param)?;
    note_outside(ev, &q, param.unwrap_parens().span);
    let mut groups = Groups::new(&aggregate.grouping);
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut matrix = Matrix::new(ev.query);
    ev.rows(&aggregate.expr, &mut |series| {
        if series.has_histograms() {
            note_ignored(ev, "quantile", inner_span(aggregate));
            series.drop_histograms();
            if series.is_empty() {
                return Ok(());
            }
        }
        let number = groups.number(series);
        members.resize(members.len().max(number + 1), Vec::new());
        members.get_mut(number).into_iter().for_each(|group| group.push(matrix.series.len()));
        matrix.push(series)
    })?;
    let mut values = Vec::new();
    for ((labels, drop_name), members) in groups.into_labels().zip(members) {
        ev.check_cancelled()?;
        let mut result = Series::new(labels, drop_name);
        let all = || members.iter().filter_map(|index| matrix.series.get(*index));
        let first = all().map(Series::first).min().unwrap_or(0);
        let end = all().map(Series::end).max().unwrap_or(0);
        for step in first..end {
            values.clear();
            values.extend(all().filter_map(|series| series.float(step)));
            if !values.is_empty() {
                result.push_float(step, spread::quantile(q.at(step), &mut values));
            }
        }
        sink(&mut result)?;
    }
    Ok(())
}

/// Warns of quantiles outside of 0 to 1: of the largest, of the smallest, of `NaN`.
fn note_outside(ev: &Evaluator<'_>, q: &Scalar, place: ByteSpan) {
    let (lowest, highest) = extremes(q);
    let outside = [(q.values().iter().any(|q| q.is_nan()), f64::NAN), (highest > 1.0, highest), (lowest < 0.0, lowest)];
    for (_, q) in outside.into_iter().filter(|(is_outside, _)| *is_outside) {
        let text = format!("quantile value should be between 0 and 1, got {}", shortest(q));
        ev.note(|notes| notes.warn(place, text));
    }
}

/// The smallest and the largest of all values; `NaN` when one of them is.
pub(super) fn extremes(param: &Scalar) -> (f64, f64) {
    let values = param.values();
    (values.iter().copied().fold(f64::MAX, smaller), values.iter().copied().fold(-f64::MAX, larger))
}

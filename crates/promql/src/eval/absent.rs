//! `absent` and `absent_over_time`: one series with the value 1 where there is nothing.

use homeostat_model::{Labels, LabelsBuilder, labels::METRIC_NAME};

use super::{
    error::EvalError,
    evaluator::{Evaluator, Sink},
    range,
    series::{Series, absent as nothing},
};
use crate::{
    ast::{Expr, ExprKind},
    matcher::{Matcher, MatcherOp},
};

/// `absent(v)`.
pub(super) fn absent(ev: &Evaluator<'_>, vector: &Expr, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let mut missing = vec![true; ev.steps.count];
    ev.rows(vector, &mut |series| {
        for step in series.present() {
            if let Some(cell) = missing.get_mut(step) {
                *cell = false;
            }
        }
        Ok(())
    })?;
    emit(&missing, vector, sink)
}

/// `absent_over_time(range)`.
pub(super) fn absent_over_time(ev: &Evaluator<'_>, range: &Expr, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let missing = range::absent_steps(ev, range)?;
    emit(&missing, range, sink)
}

fn emit(missing: &[bool], arg: &Expr, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let column = missing.iter().map(|missing| if *missing { 1.0 } else { nothing() }).collect();
    let mut series = Series::from_column(labels_of(arg), false, 0, column);
    if series.is_empty() { Ok(()) } else { sink(&mut series) }
}

/// The labels that a selector fixes. One that it names twice is left out, also with the same value: so it is in
/// Prometheus.
fn labels_of(arg: &Expr) -> Labels {
    let matchers: &[Matcher] = match &arg.unwrap_parens().kind {
        ExprKind::Vector(vector) => &vector.matchers,
        ExprKind::Matrix(matrix) => &matrix.vector.matchers,
        _ => return Labels::empty(),
    };
    let mut labels = LabelsBuilder::default();
    let mut fixed: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| &*matcher.name != METRIC_NAME) {
        if matcher.op == MatcherOp::Equal && !fixed.contains(&&*matcher.name) {
            labels.set(&matcher.name, &matcher.value);
            fixed.push(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    labels.finish()
}

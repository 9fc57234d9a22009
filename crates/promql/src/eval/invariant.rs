//! Expressions that have the same value at every step, because everything in them is pinned with `@`.

use crate::ast::{Expr, ExprKind};

/// Functions that look at the clock, at sample times or at the query's frame, so that a pinned argument does not pin
/// their result.
const MOVING: [&str; 15] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// Returns true when an expression is the same at every step and reads series, so that computing it once pays.
pub(super) fn is_worth_computing_once(expr: &Expr) -> bool {
    is_pinned(expr) == Some(true)
}

/// `Some(true)`: reads series, all pinned. `None`: reads none and stands still. `Some(false)`: moves with the steps.
fn is_pinned(expr: &Expr) -> Option<bool> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Seconds(_) | ExprKind::Text(_) => None,
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => is_pinned(inner),
        ExprKind::Binary(binary) => both(is_pinned(&binary.left), is_pinned(&binary.right)),
        ExprKind::Aggregate(aggregate) => {
            both(aggregate.param.as_ref().and_then(is_pinned), is_pinned(&aggregate.expr))
        }
        ExprKind::Call(call) if MOVING.contains(&call.function.name) => Some(false),
        ExprKind::Call(call) => call.args.iter().map(is_pinned).fold(None, both),
        ExprKind::Vector(vector) => Some(vector.shift.at.is_some()),
        ExprKind::Matrix(matrix) => Some(matrix.vector.shift.at.is_some()),
        ExprKind::Subquery(subquery) => Some(subquery.shift.at.is_some()),
    }
}

fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a && b),
        (a, b) => a.or(b),
    }
}

//! Scalar expressions: one number at every step.

use homeostat_model::Labels;

use super::{
    binary,
    error::{EvalError, execution},
    evaluator::Evaluator,
    numbers::{larger, smaller},
    series::Series,
};
use crate::ast::{Call, Expr, ExprKind, UnaryOp};

/// One number at every step.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    /// The same at all steps.
    Constant(f64),
    /// One for each.
    Column(Vec<f64>),
}

impl Scalar {
    /// The number at a step.
    #[inline]
    pub(super) fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Column(column) => column.get(step).copied().unwrap_or(f64::NAN),
        }
    }

    /// The same numbers, each changed.
    fn map(self, change: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(change(value)),
            Self::Column(column) => Self::Column(column.into_iter().map(change).collect()),
        }
    }

    /// The numbers of two scalars put together, step by step.
    pub(super) fn zip(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(combine(*a, *b)),
            (Self::Column(column), _) | (_, Self::Column(column)) => {
                Self::Column((0..column.len()).map(|step| combine(self.at(step), other.at(step))).collect())
            }
        }
    }

    /// All numbers that occur, for checks.
    pub(super) fn values(&self) -> &[f64] {
        match self {
            Self::Constant(value) => std::slice::from_ref(value),
            Self::Column(column) => column,
        }
    }

    /// The scalar as a series without labels.
    pub(super) fn into_series(self, steps: usize) -> Series {
        match self {
            Self::Constant(value) => Series::constant(Labels::empty(), value, steps),
            Self::Column(column) => Series::from_column(Labels::empty(), false, 0, column),
        }
    }
}

/// Evaluates a scalar expression.
pub(super) fn scalar(ev: &Evaluator<'_>, expr: &Expr) -> Result<Scalar, EvalError> {
    match &expr.kind {
        ExprKind::Number(value) | ExprKind::Seconds(value) => Ok(Scalar::Constant(*value)),
        ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => scalar(ev, inner),
        ExprKind::Unary(UnaryOp::Minus, inner) => Ok(scalar(ev, inner)?.map(|value| -value)),
        ExprKind::Binary(binary) => {
            let (left, right) = (scalar(ev, &binary.left)?, scalar(ev, &binary.right)?);
            Ok(left.zip(&right, |a, b| binary::numbers(binary.op, a, b)))
        }
        ExprKind::Call(call) => function(ev, call),
        _ => Err(execution("this expression is no scalar")),
    }
}

fn function(ev: &Evaluator<'_>, call: &Call) -> Result<Scalar, EvalError> {
    let seconds = |ms: i64| Scalar::Constant(ms as f64 / 1000.0);
    let query = ev.query;
    match (call.function.name, call.args.as_slice()) {
        ("pi", _) => Ok(Scalar::Constant(std::f64::consts::PI)),
        ("time", _) => {
            let times = (0..ev.steps.count).map(|step| ev.steps.time(step) as f64 / 1000.0);
            Ok(Scalar::Column(times.collect()))
        }
        ("start", _) => Ok(seconds(query.start_ms)),
        ("end", _) => Ok(seconds(query.end_ms)),
        ("step", _) => Ok(seconds(query.step_ms)),
        ("range", _) => Ok(seconds(query.end_ms.saturating_sub(query.start_ms))),
        ("min_of", [a, b]) => Ok(scalar(ev, a)?.zip(&scalar(ev, b)?, smaller)),
        ("max_of", [a, b]) => Ok(scalar(ev, a)?.zip(&scalar(ev, b)?, larger)),
        ("scalar", [vector]) => only_number(ev, vector),
        (name, _) => Err(execution(format!("function {name} gives no scalar"))),
    }
}

/// `scalar(v)`: the number of the only series with one; NaN when there is none or there are several.
fn only_number(ev: &Evaluator<'_>, vector: &Expr) -> Result<Scalar, EvalError> {
    let mut column = vec![f64::NAN; ev.steps.count];
    let mut seen = vec![false; ev.steps.count];
    ev.rows(vector, &mut |series| {
        for step in series.first()..series.end() {
            let (Some(value), Some(cell), Some(seen)) = (series.float(step), column.get_mut(step), seen.get_mut(step))
            else {
                continue;
            };
            *cell = if *seen { f64::NAN } else { value };
            *seen = true;
        }
        Ok(())
    })?;
    Ok(Scalar::Column(column))
}

//! Functions that change every number of a vector by itself. Histograms are left out of their results.

use std::f64::consts::PI;

use super::{
    error::{EvalError, execution},
    evaluator::{Evaluator, Sink},
    numbers::{larger, smaller},
    scalar::Scalar,
    series::{Series, is_absent},
};
use crate::ast::Expr;

/// Hands on the series of a function over numbers.
pub(super) fn rows(ev: &Evaluator<'_>, name: &str, args: &[Expr], sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let Some((vector, params)) = args.split_first() else {
        return Err(execution(format!("function {name} is unknown")));
    };
    let params = params.iter().map(|param| ev.scalar(param)).collect::<Result<Vec<_>, _>>()?;
    match (name, params.as_slice()) {
        ("round", []) => each(ev, vector, |value| round(value, 1.0), sink),
        ("round", [nearest]) => each_step(ev, vector, |step, value| Some(round(value, nearest.at(step))), sink),
        ("clamp_min", [min]) => each_step(ev, vector, |step, value| Some(larger(min.at(step), value)), sink),
        ("clamp_max", [max]) => each_step(ev, vector, |step, value| Some(smaller(max.at(step), value)), sink),
        ("clamp", [min, max]) => each_step(ev, vector, |step, value| clamp(value, step, min, max), sink),
        (name, _) => {
            let function = simple(name).ok_or_else(|| execution(format!("function {name} is unknown")))?;
            each(ev, vector, function, sink)
        }
    }
}

/// The functions of one number.
fn simple(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |value| value * PI / 180.0,
        "deg" => |value| value * 180.0 / PI,
        "sgn" => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        _ => return None,
    })
}

/// Rounds to a multiple, halves up. The inverse costs fewer digits than dividing.
fn round(value: f64, nearest: f64) -> f64 {
    let inverse = 1.0 / nearest;
    (value * inverse + 0.5).floor() / inverse
}

/// No value at all when the limits are the wrong way round.
fn clamp(value: f64, step: usize, min: &Scalar, max: &Scalar) -> Option<f64> {
    let (min, max) = (min.at(step), max.at(step));
    if max < min { None } else { Some(larger(min, smaller(max, value))) }
}

fn each(
    ev: &Evaluator<'_>,
    vector: &Expr,
    function: impl Fn(f64) -> f64,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let mut change = |series: &mut Series| {
        series.drop_histograms();
        for cell in series.floats_mut().iter_mut().filter(|cell| !is_absent(**cell)) {
            *cell = function(*cell);
        }
    };
    ev.rows_losing_names(vector, &mut change, sink)
}

fn each_step(
    ev: &Evaluator<'_>,
    vector: &Expr,
    function: impl Fn(usize, f64) -> Option<f64>,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let mut change = |series: &mut Series| {
        series.drop_histograms();
        let first = series.first();
        for (at, cell) in series.floats_mut().iter_mut().enumerate().filter(|(_, cell)| !is_absent(**cell)) {
            *cell = function(first + at, *cell).unwrap_or_else(super::series::absent);
        }
        series.trim();
    };
    ev.rows_losing_names(vector, &mut change, sink)
}

//! An operator between a vector and a scalar.

use homeostat_model::SampleValue;

use super::{
    changes_quantity,
    element::{Operand, calculate, compare, element},
    is_comparison,
};
use crate::{
    ast::{Binary, BinaryOp, ByteSpan, Expr},
    eval::{
        error::EvalError,
        evaluator::{Evaluator, Sink},
        scalar::Scalar,
        series::{Series, absent, is_absent},
    },
};

/// Which side the vector stands on.
pub(super) struct Side<'b> {
    vector: &'b Expr,
    scalar: &'b Expr,
    vector_is_left: bool,
}

impl<'b> Side<'b> {
    pub(super) fn vector_left(binary: &'b Binary) -> Self {
        Self { vector: &binary.left, scalar: &binary.right, vector_is_left: true }
    }

    pub(super) fn vector_right(binary: &'b Binary) -> Self {
        Self { vector: &binary.right, scalar: &binary.left, vector_is_left: false }
    }

    fn order<T>(&self, vector: T, scalar: T) -> (T, T) {
        if self.vector_is_left { (vector, scalar) } else { (scalar, vector) }
    }
}

/// Hands on the vector's series, combined with the scalar.
pub(super) fn rows(
    ev: &Evaluator<'_>,
    binary: &Binary,
    span: ByteSpan,
    side: &Side<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let scalar = ev.scalar(side.scalar)?;
    let mut change = |series: &mut Series| {
        if series.has_histograms() || matches!(binary.op, BinaryOp::TrimLower | BinaryOp::TrimUpper) {
            mixed(ev, binary, span, side, &scalar, series);
        } else {
            floats(binary, side, &scalar, series);
        }
    };
    if changes_quantity(binary.op) || binary.returns_bool {
        return ev.rows_losing_names(side.vector, &mut change, sink);
    }
    ev.rows(side.vector, &mut |series| {
        change(series);
        if series.is_empty() { Ok(()) } else { sink(series) }
    })
}

/// The way for series of numbers only.
fn floats(binary: &Binary, side: &Side<'_>, scalar: &Scalar, series: &mut Series) {
    let first = series.first();
    let op = binary.op;
    let cells = series.floats_mut().iter_mut().enumerate().filter(|(_, cell)| !is_absent(**cell));
    if !is_comparison(op) {
        for (at, cell) in cells {
            let (a, b) = side.order(*cell, scalar.at(first + at));
            *cell = calculate(op, a, b);
        }
        return;
    }
    for (at, cell) in cells {
        let (a, b) = side.order(*cell, scalar.at(first + at));
        let holds = compare(op, a, b).unwrap_or_default();
        if binary.returns_bool {
            *cell = f64::from(u8::from(holds));
        } else if !holds {
            *cell = absent();
        }
    }
    series.trim();
}

/// The way for series with histograms.
fn mixed(ev: &Evaluator<'_>, binary: &Binary, span: ByteSpan, side: &Side<'_>, scalar: &Scalar, series: &mut Series) {
    let mut result = Series::new(series.labels.clone(), series.drop_name);
    let notes = &mut ev.query.notes.borrow_mut();
    for step in series.first()..series.end() {
        let of_vector = match (series.float(step), series.histogram(step)) {
            (Some(value), _) => Operand::Float(value),
            (None, Some(histogram)) => Operand::Histogram(histogram),
            (None, None) => continue,
        };
        let (a, b) = side.order(of_vector, Operand::Float(scalar.at(step)));
        let Some(element) = element(binary.op, a, b, span, notes) else { continue };
        if binary.returns_bool {
            result.push_float(step, f64::from(u8::from(element.holds)));
        } else if element.holds {
            // A comparison keeps the vector's value, whichever side it stands on.
            let kept = if is_comparison(binary.op) { series.value(step) } else { None };
            let value: SampleValue = kept.unwrap_or(element.value);
            result.push(step, value);
        }
    }
    *series = result;
}

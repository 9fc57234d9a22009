//! Operators: between numbers, between a vector and a number, between vectors.
//!
//! Which series of two vectors belong together is decided once per series, not per step; then values are combined column
//! by column.
//!
//! Source: prometheus.io/docs/prometheus/latest/querying/operators; the texts of errors are those of Prometheus.

mod element;
mod matching;
mod scalar_side;
mod sets;
mod vectors;

use std::sync::Arc;

use super::{
    error::{EvalError, execution},
    evaluator::{Evaluator, Sink},
    series::{Series, is_absent},
};
use crate::{
    ast::{Binary, BinaryOp, ByteSpan, Expr, ValueType},
    histogram,
};

pub(super) use element::numbers;

/// Hands on the series of an operator with a vector on at least one side.
pub(super) fn rows(ev: &Evaluator<'_>, binary: &Binary, span: ByteSpan, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let sides = (binary.left.value_type(), binary.right.value_type());
    match (binary.op, sides) {
        (BinaryOp::And | BinaryOp::Or | BinaryOp::Unless, _) => sets::rows(ev, binary, sink),
        (_, (ValueType::Vector, ValueType::Vector)) => vectors::rows(ev, binary, span, sink),
        (_, (ValueType::Vector, ValueType::Scalar)) => {
            scalar_side::rows(ev, binary, span, &scalar_side::Side::vector_left(binary), sink)
        }
        (_, (ValueType::Scalar, ValueType::Vector)) => {
            scalar_side::rows(ev, binary, span, &scalar_side::Side::vector_right(binary), sink)
        }
        _ => Err(execution("this expression is no instant vector")),
    }
}

/// `- v`
pub(super) fn negated(ev: &Evaluator<'_>, inner: &Expr, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let mut change = |series: &mut Series| {
        for cell in series.floats_mut().iter_mut().filter(|cell| !is_absent(**cell)) {
            *cell = -*cell;
        }
        for cell in series.histograms_mut().iter_mut().flatten() {
            histogram::scale(Arc::make_mut(cell), -1.0);
        }
    };
    ev.rows_losing_names(inner, &mut change, sink)
}

/// Returns true for operators whose result is another quantity than its operands, so that the name goes.
fn changes_quantity(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow | BinaryOp::Atan2
    )
}

fn is_comparison(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Gt | BinaryOp::Lt | BinaryOp::Ge | BinaryOp::Le)
}

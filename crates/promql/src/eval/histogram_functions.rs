//! Functions of histograms.

use super::{
    error::{EvalError, execution},
    evaluator::{Evaluator, Sink},
};
use crate::ast::{ByteSpan, Call};

/// Hands on the series of a function of histograms.
pub(super) fn rows(_: &Evaluator<'_>, call: &Call, _: ByteSpan, _: &mut Sink<'_>) -> Result<(), EvalError> {
    Err(execution(format!("function {} is unknown", call.function.name)))
}

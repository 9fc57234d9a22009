//! An operator between two values.

use std::sync::Arc;

use homeostat_model::{Histogram, SampleValue, histogram::ResetHint};

use crate::{
    ast::{BinaryOp, ByteSpan},
    histogram,
    note::Notes,
};

/// An operator between two numbers of scalars; a comparison gives 0 or 1.
pub(in crate::eval) fn numbers(op: BinaryOp, a: f64, b: f64) -> f64 {
    match compare(op, a, b) {
        Some(holds) => f64::from(u8::from(holds)),
        None => calculate(op, a, b),
    }
}

/// Whether a comparison holds; `None` for other operators.
#[inline]
pub(super) fn compare(op: BinaryOp, a: f64, b: f64) -> Option<bool> {
    #[expect(clippy::float_cmp, reason = "the language compares exactly")]
    Some(match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Gt => a > b,
        BinaryOp::Lt => a < b,
        BinaryOp::Ge => a >= b,
        BinaryOp::Le => a <= b,
        _ => return None,
    })
}

/// What an operator of arithmetic gives; `NaN` for other operators.
#[inline]
pub(super) fn calculate(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        _ => f64::NAN,
    }
}

/// One side of an operator.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

impl Operand<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// What an operator gives for two values.
#[derive(Clone, Debug)]
pub(super) struct Element {
    /// The value; of a comparison the left one.
    pub(super) value: SampleValue,
    /// A comparison holds. True for all other operators.
    pub(super) holds: bool,
}

impl Element {
    fn of(histogram: Histogram) -> Self {
        Self { value: SampleValue::Histogram(Arc::new(histogram)), holds: true }
    }
}

/// Applies an operator to two values; `None`, and a note, when it makes nothing of them.
pub(super) fn element(
    op: BinaryOp,
    a: Operand<'_>,
    b: Operand<'_>,
    span: ByteSpan,
    notes: &mut Notes,
) -> Option<Element> {
    match (a, b) {
        (Operand::Float(x), Operand::Float(y)) if !is_trim(op) => Some(match compare(op, x, y) {
            Some(holds) => Element { value: SampleValue::Float(x), holds },
            None => Element { value: SampleValue::Float(calculate(op, x, y)), holds: true },
        }),
        (Operand::Float(factor), Operand::Histogram(histogram)) if op == BinaryOp::Mul => {
            Some(scaled(histogram, factor))
        }
        (Operand::Histogram(histogram), Operand::Float(number)) => {
            with_number(op, histogram, number).or_else(|| incompatible(op, a, b, span, notes))
        }
        (Operand::Histogram(left), Operand::Histogram(right)) => match op {
            BinaryOp::Add | BinaryOp::Sub => combined(op, left, right, span, notes),
            BinaryOp::Eq | BinaryOp::Ne => Some(Element {
                value: SampleValue::Histogram(Arc::clone(left)),
                holds: histogram::equal(left, right) == (op == BinaryOp::Eq),
            }),
            _ => incompatible(op, a, b, span, notes),
        },
        _ => incompatible(op, a, b, span, notes),
    }
}

fn is_trim(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower)
}

fn with_number(op: BinaryOp, histogram: &Histogram, number: f64) -> Option<Element> {
    Some(match op {
        BinaryOp::Mul => scaled(histogram, number),
        BinaryOp::Div => {
            let mut result = histogram.clone();
            histogram::divide(&mut result, number);
            histogram::compact(&mut result);
            Element::of(result)
        }
        BinaryOp::TrimUpper => Element::of(histogram::trim_upper(histogram, number)),
        BinaryOp::TrimLower => Element::of(histogram::trim_lower(histogram, number)),
        _ => return None,
    })
}

fn scaled(histogram: &Histogram, factor: f64) -> Element {
    let mut result = histogram.clone();
    histogram::scale(&mut result, factor);
    histogram::compact(&mut result);
    Element::of(result)
}

fn combined(op: BinaryOp, a: &Histogram, b: &Histogram, span: ByteSpan, notes: &mut Notes) -> Option<Element> {
    let mut result = a.clone();
    let (combined, what) = match op {
        BinaryOp::Add => (histogram::add(&mut result, b), "addition"),
        _ => (histogram::sub(&mut result, b), "subtraction"),
    };
    let Ok(combined) = combined else {
        let text = format!("incompatible bucket layout encountered for binary operator {}", op.as_str());
        notes.warn(span, text);
        return None;
    };
    if combined.resets_conflict {
        notes.warn(span, format!("conflicting counter resets during histogram {what}"));
    }
    if combined.bounds_reconciled {
        notes.info(span, format!("mismatched custom buckets were reconciled during {what}"));
    }
    if op == BinaryOp::Sub {
        result.reset_hint = ResetHint::Gauge;
    }
    histogram::compact(&mut result);
    Some(Element::of(result))
}

fn incompatible(op: BinaryOp, a: Operand<'_>, b: Operand<'_>, span: ByteSpan, notes: &mut Notes) -> Option<Element> {
    let (a, op, b) = (a.kind(), op.as_str(), b.kind());
    notes.info(span, format!("incompatible sample types encountered for binary operator {op:?}: {a} {op} {b}"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_calculated_as_go_does() {
        let cases = [
            (BinaryOp::Mod, -5.0, 3.0, -2.0),
            (BinaryOp::Pow, 2.0, -2.0, 0.25),
            (BinaryOp::Atan2, 0.0, -1.0, std::f64::consts::PI),
            (BinaryOp::Ge, 2.0, 2.0, 1.0),
            (BinaryOp::Eq, f64::NAN, f64::NAN, 0.0),
            (BinaryOp::Pow, 1.0, f64::NAN, 1.0),
        ];
        for (op, a, b, expected) in cases {
            assert!((numbers(op, a, b) - expected).abs() < 1e-12, "{a} {op:?} {b}");
        }
        assert!(numbers(BinaryOp::Mod, 1.0, 0.0).is_nan());
    }
}

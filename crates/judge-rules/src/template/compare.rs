//! `eq`, `lt` and their relatives: only values of the same kind can be compared, as in Go.

use std::cmp::Ordering;

use super::{TemplateError, Value};

#[expect(clippy::float_cmp, reason = "that is what a template asks for")]
pub(super) fn equal(a: &Value, b: &Value) -> Result<bool, TemplateError> {
    match (a, b) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b))
        | (Value::Duration(a), Value::Duration(b))
        | (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        _ => Err(incompatible(a, b)),
    }
}

/// Numbers that are not comparable (NaN) are neither smaller nor equal.
pub(super) fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, TemplateError> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
        (Value::Float(a), Value::Float(b)) | (Value::Duration(a), Value::Duration(b)) => Ok(a.partial_cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
        _ => Err(incompatible(a, b)),
    }
}

fn incompatible(a: &Value, b: &Value) -> TemplateError {
    let hint = match (a, b) {
        (Value::Float(_), Value::Int(_)) | (Value::Int(_), Value::Float(_)) => "; write the whole number as `1.0`",
        _ => "",
    };
    TemplateError::new(format!("incompatible types for comparison: {} and {}{hint}", a.type_name(), b.type_name()))
}

//! Durations that are computed when a query runs.
//!
//! Source: `promql/durations.go` of Prometheus, also of the texts of errors.

use homeostat_model::TimeMs;

use super::{
    error::{EvalError, execution},
    evaluator::Evaluator,
    numbers::{larger, smaller},
};
use crate::ast::{At, BinaryOp, Duration, DurationKind, Shift, UnaryOp};

/// A shift in time, computed: milliseconds into the past, and the instant that is looked at, if it is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shifted {
    /// Positive is the past.
    pub(super) offset_ms: i64,
    /// With `@`.
    pub(super) at_ms: Option<TimeMs>,
}

impl Shifted {
    /// The instant that is looked at when the step's own time is this.
    pub(super) fn reference(self, t_ms: TimeMs) -> TimeMs {
        self.at_ms.unwrap_or(t_ms).saturating_sub(self.offset_ms)
    }
}

impl Evaluator<'_> {
    /// Computes `offset` and `@`.
    pub(super) fn shifted(&self, shift: &Shift) -> Result<Shifted, EvalError> {
        let offset_ms = match &shift.offset {
            Some(offset) => self.duration_ms(offset)?,
            None => 0,
        };
        let at_ms = shift.at.map(|at| match at {
            At::Time(t_ms) => t_ms,
            At::Start => self.query.start_ms,
            At::End => self.query.end_ms,
        });
        Ok(Shifted { offset_ms, at_ms })
    }

    /// Computes a width or a step, which must be positive.
    pub(super) fn positive_ms(&self, duration: &Duration) -> Result<i64, EvalError> {
        match self.duration_ms(duration)? {
            width_ms if width_ms > 0 => Ok(width_ms),
            _ => Err(execution("duration must be greater than 0")),
        }
    }

    fn duration_ms(&self, duration: &Duration) -> Result<i64, EvalError> {
        if let DurationKind::Millis(ms) = duration.kind {
            return Ok(ms);
        }
        let ms = self.seconds(duration)? * 1000.0;
        if ms.is_nan() || ms.abs() >= i64::MAX as f64 {
            return Err(execution("duration is out of range"));
        }
        Ok(ms as i64)
    }

    fn seconds(&self, duration: &Duration) -> Result<f64, EvalError> {
        Ok(match &duration.kind {
            DurationKind::Millis(ms) => *ms as f64 / 1000.0,
            DurationKind::Number(number) => *number,
            DurationKind::Step => self.query.step_ms as f64 / 1000.0,
            DurationKind::Range => self.query.end_ms.saturating_sub(self.query.start_ms) as f64 / 1000.0,
            DurationKind::Unary(UnaryOp::Plus, inner) | DurationKind::Paren(inner) => self.seconds(inner)?,
            DurationKind::Unary(UnaryOp::Minus, inner) => -self.seconds(inner)?,
            DurationKind::Min(a, b) => smaller(self.seconds(a)?, self.seconds(b)?),
            DurationKind::Max(a, b) => larger(self.seconds(a)?, self.seconds(b)?),
            DurationKind::Binary(op, a, b) => combine(*op, self.seconds(a)?, self.seconds(b)?)?,
        })
    }
}

fn combine(op: BinaryOp, a: f64, b: f64) -> Result<f64, EvalError> {
    Ok(match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div if b == 0.0 => return Err(execution("division by zero")),
        BinaryOp::Mod if b == 0.0 => return Err(execution("modulo by zero")),
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        _ => return Err(execution("this operator cannot be used on durations")),
    })
}

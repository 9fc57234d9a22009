//! The instants at which an expression is evaluated.

use homeostat_model::TimeMs;

use super::error::EvalError;

/// Most steps of one evaluation: a query of 11,000 points with a subquery a thousand times finer. Beyond it a single
/// series of numbers is 88 MB.
pub(super) const STEPS_MAX: usize = 11_000_000;

/// Equally spaced instants: `start_ms`, `start_ms + step_ms`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    /// The first instant.
    pub start_ms: TimeMs,
    /// Distance of two instants, positive. Meaningless but still positive for a single instant.
    pub step_ms: i64,
    /// How many instants there are; 0 only for a subquery whose range holds none.
    pub count: usize,
}

impl Steps {
    /// A single instant.
    pub(super) fn instant(t_ms: TimeMs) -> Self {
        Self { start_ms: t_ms, step_ms: 1, count: 1 }
    }

    /// All instants from `start_ms` to `end_ms`, both inclusive; none when the end lies before the start.
    pub(super) fn range(start_ms: TimeMs, end_ms: TimeMs, step_ms: i64) -> Result<Self, EvalError> {
        let span = i128::from(end_ms) - i128::from(start_ms);
        let count = if span < 0 { 0 } else { span / i128::from(step_ms.max(1)) + 1 };
        match usize::try_from(count) {
            Ok(count) if count <= STEPS_MAX => Ok(Self { start_ms, step_ms: step_ms.max(1), count }),
            _ => Err(EvalError::TooManySteps { limit: STEPS_MAX }),
        }
    }

    /// The instant of a step.
    pub(super) fn time(&self, step: usize) -> TimeMs {
        self.start_ms.saturating_add((step as i64).saturating_mul(self.step_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_reach_the_end_and_not_beyond() {
        let steps = Steps::range(-10, 25, 10).ok();
        assert_eq!(steps.map(|steps| (steps.count, steps.time(3))), Some((4, 20)));
        assert_eq!(Steps::range(5, 4, 10).ok().map(|steps| steps.count), Some(0));
        assert!(matches!(Steps::range(i64::MIN, i64::MAX, 1), Err(EvalError::TooManySteps { .. })));
    }
}

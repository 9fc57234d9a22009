//! Quantiles: the values of the last window, kept in order.

use std::collections::VecDeque;

use homeostat_model::{SampleValue, TimeMs};

use super::{Memory, Seen, WORTH_REMEMBERING};
use crate::{
    eval::{
        range_functions::{
            notes, over_time,
            spread::{nan_first, quantile_of_sorted},
        },
        window::{Place, Window},
    },
    note::Notes,
};

/// A step is worth it when at most this share of a window's values come and go: each of them moves those behind it, while
/// a look at the whole window passes over each value a few times.
const FEW: usize = 16;

/// The numbers of the last window, by time and by value; nothing while too many of them change from step to step.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    by_time: VecDeque<(TimeMs, f64)>,
    by_value: Vec<f64>,
    seen: Seen,
}

impl Sorted {
    /// Moves to the next window; returns false when that is not worth it.
    fn slide(&mut self, t_ms: &[TimeMs], values: &[f64]) -> bool {
        let fresh = self.seen.advance(t_ms);
        let few = (t_ms.len() - fresh) * 2 * FEW <= t_ms.len();
        if !few {
            self.by_time.clear();
            self.by_value.clear();
        } else if self.by_value.is_empty() {
            self.by_time.extend(t_ms.iter().copied().zip(values.iter().copied()));
            self.by_value.extend_from_slice(values);
            self.by_value.sort_unstable_by(nan_first);
        } else {
            self.exchange(t_ms, values, fresh);
        }
        few
    }

    /// Takes out what lies before the window, and puts in its samples from an index on.
    fn exchange(&mut self, t_ms: &[TimeMs], values: &[f64], fresh: usize) {
        let first_ms = t_ms.first().copied().unwrap_or(TimeMs::MAX);
        let gone = self.by_time.partition_point(|(at, _)| *at < first_ms);
        for (_, value) in self.by_time.drain(..gone) {
            if let Ok(at) = self.by_value.binary_search_by(|other| nan_first(other, &value)) {
                self.by_value.remove(at);
            }
        }
        for (at, value) in t_ms.iter().copied().zip(values.iter().copied()).skip(fresh) {
            self.by_time.push_back((at, value));
            let at = self.by_value.partition_point(|other| nan_first(other, &value).is_lt());
            self.by_value.insert(at, value);
        }
    }
}

impl Memory for Sorted {
    fn forget(&mut self) {
        self.by_time.clear();
        self.by_value.clear();
        self.seen = Seen::default();
    }

    fn knows(&self, window: &Window<'_>) -> bool {
        window.histograms.is_empty() && window.floats.len() >= WORTH_REMEMBERING
    }

    fn answer(
        &mut self,
        window: &Window<'_>,
        params: &[f64],
        place: &Place<'_>,
        notes: &mut Notes,
    ) -> Option<SampleValue> {
        if !self.slide(window.floats_t, window.floats) {
            return over_time::quantile(window, params, place, notes);
        }
        let q = *params.first()?;
        notes::invalid_quantile(q, place, notes);
        Some(SampleValue::Float(quantile_of_sorted(q, &self.by_value)))
    }
}

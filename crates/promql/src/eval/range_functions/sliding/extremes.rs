//! Smallest and largest number: a queue of those that no later one has beaten.
//!
//! A number can be the extreme of this window or a later one only while no later number is better. Those that can are in
//! order of time and of value at once, so the extreme is always at the front.

use std::collections::VecDeque;

use homeostat_model::{SampleValue, TimeMs};

use super::{Memory, Seen, WORTH_REMEMBERING};
use crate::{
    eval::window::{Place, Window},
    note::Notes,
};

/// The numbers of the last window that may be its extreme or that of a later one.
#[derive(Debug)]
pub(super) struct Queue {
    better: fn(f64, f64) -> bool,
    candidates: VecDeque<(TimeMs, f64)>,
    seen: Seen,
}

impl Queue {
    pub(super) fn min() -> Self {
        Self { better: |new, old| new < old, candidates: VecDeque::new(), seen: Seen::default() }
    }

    pub(super) fn max() -> Self {
        Self { better: |new, old| new > old, ..Self::min() }
    }

    fn slide(&mut self, t_ms: &[TimeMs], values: &[f64]) {
        let fresh = self.seen.advance(t_ms);
        let first_ms = t_ms.first().copied().unwrap_or(TimeMs::MAX);
        while self.candidates.front().is_some_and(|(at, _)| *at < first_ms) {
            self.candidates.pop_front();
        }
        let samples = t_ms.iter().zip(values).skip(fresh);
        for (at, value) in samples.filter(|(_, value)| !value.is_nan()) {
            while self.candidates.back().is_some_and(|(_, old)| (self.better)(*value, *old)) {
                self.candidates.pop_back();
            }
            self.candidates.push_back((*at, *value));
        }
    }
}

impl Memory for Queue {
    fn forget(&mut self) {
        self.candidates.clear();
        self.seen = Seen::default();
    }

    fn knows(&self, window: &Window<'_>) -> bool {
        window.histograms.is_empty() && window.floats.len() >= WORTH_REMEMBERING
    }

    fn answer(&mut self, window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Option<SampleValue> {
        self.slide(window.floats_t, window.floats);
        let extreme = self.candidates.front().map_or(f64::NAN, |(_, value)| *value);
        Some(SampleValue::Float(extreme))
    }
}

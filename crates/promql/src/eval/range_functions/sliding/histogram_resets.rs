//! `rate` and `increase` of histograms: whether a counter was reset between two of them is found out once.
//!
//! Comparing two histograms looks at all of their buckets, while the rest of a step looks at few histograms as a whole.

use std::{collections::VecDeque, sync::Arc};

use homeostat_model::{Histogram, SampleValue, TimeMs};

use super::{Memory, Seen, pairs::Rates};
use crate::{
    ast::Extend,
    eval::{
        range_functions::{
            histogram_rate::{self, HistogramWindow},
            rate::Kind,
            slopes::{in_seconds, telling},
        },
        window::{Place, Window},
    },
    histogram::detect_reset,
    note::Notes,
};

/// What is remembered of numbers, and the times of histograms in the last window before which a counter was reset.
#[derive(Debug)]
pub(super) struct Moves {
    numbers: Rates,
    reset_at: VecDeque<TimeMs>,
    seen: Seen,
}

impl Moves {
    pub(super) fn new(numbers: Rates) -> Self {
        Self { numbers, reset_at: VecDeque::new(), seen: Seen::default() }
    }

    fn slide(&mut self, t_ms: &[TimeMs], values: &[Arc<Histogram>]) {
        let second = self.seen.advance(t_ms).max(1);
        let firsts = values.get(second - 1..).unwrap_or_default();
        let seconds = values.get(second..).unwrap_or_default();
        let times = t_ms.get(second..).unwrap_or_default();
        for ((before, after), at) in firsts.iter().zip(seconds).zip(times) {
            if detect_reset(after, before) {
                self.reset_at.push_back(*at);
            }
        }
        let first_ms = t_ms.first().copied().unwrap_or(TimeMs::MAX);
        while self.reset_at.front().is_some_and(|at| *at <= first_ms) {
            self.reset_at.pop_front();
        }
    }

    /// The indices of histograms before which a counter was reset.
    fn reset_indices(&self, t_ms: &[TimeMs]) -> Vec<usize> {
        self.reset_at.iter().filter_map(|at| t_ms.binary_search(at).ok()).collect()
    }
}

impl Memory for Moves {
    fn forget(&mut self) {
        self.numbers.forget();
        self.reset_at.clear();
        self.seen = Seen::default();
    }

    fn knows(&self, window: &Window<'_>) -> bool {
        let plain = window.extend == Extend::None && window.histogram_starts.is_empty();
        let only_histograms = window.floats.is_empty() && plain;
        only_histograms || self.numbers.knows(window)
    }

    fn answer(
        &mut self,
        window: &Window<'_>,
        params: &[f64],
        place: &Place<'_>,
        notes: &mut Notes,
    ) -> Option<SampleValue> {
        if window.histograms.is_empty() {
            return self.numbers.answer(window, params, place, notes);
        }
        let Window { start_ms, end_ms, histograms_t: t_ms, histograms: values, .. } = *window;
        self.slide(t_ms, values);
        let resets = self.reset_indices(t_ms);
        let per_s = if self.numbers.per_second { in_seconds(window.range_ms) } else { 1.0 };
        telling(place, notes, |findings| {
            let histograms = HistogramWindow { start_ms, end_ms, t_ms, values, starts: &[] };
            histogram_rate::increase_with_resets(histograms, Kind::Counter, &resets, per_s, findings)
        })
    }
}

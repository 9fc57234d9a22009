//! Numbers that differ from the one before: resets of a counter, changes of a value.

use std::collections::VecDeque;

use homeostat_model::{SampleValue, TimeMs};

use super::{Memory, Seen, WORTH_REMEMBERING};
use crate::{
    ast::Extend,
    eval::{
        range_functions::{
            counting::{fell, floats_differ},
            rate::{self, FloatWindow, Kind},
            slopes::in_seconds,
        },
        window::{Place, Window},
    },
    note::Notes,
};

/// The pairs of neighbouring numbers in the last window that count: the time of the second, the value of the first.
#[derive(Debug)]
struct Pairs {
    counts: fn(f64, f64) -> bool,
    found: VecDeque<(TimeMs, f64)>,
    seen: Seen,
}

impl Pairs {
    fn new(counts: fn(f64, f64) -> bool) -> Self {
        Self { counts, found: VecDeque::new(), seen: Seen::default() }
    }

    fn forget(&mut self) {
        self.found.clear();
        self.seen = Seen::default();
    }

    /// Moves to the next window.
    #[inline]
    fn slide(&mut self, window: &Window<'_>) {
        let Window { floats_t, floats, .. } = *window;
        let second = self.seen.advance(floats_t).max(1);
        let firsts = floats.get(second - 1..).unwrap_or_default();
        let seconds = floats.get(second..).unwrap_or_default();
        let times = floats_t.get(second..).unwrap_or_default();
        for ((before, after), at) in firsts.iter().zip(seconds).zip(times) {
            if (self.counts)(*before, *after) {
                self.found.push_back((*at, *before));
            }
        }
        let first_ms = floats_t.first().copied().unwrap_or(TimeMs::MAX);
        while self.found.front().is_some_and(|(at, _)| *at <= first_ms) {
            self.found.pop_front();
        }
    }
}

/// Returns true for numbers alone, which do not say since when they count.
fn only_numbers(window: &Window<'_>) -> bool {
    let plain = window.extend == Extend::None && window.float_starts.is_empty();
    plain && window.histograms.is_empty() && window.floats.len() >= WORTH_REMEMBERING
}

/// `changes` and `resets`.
#[derive(Debug)]
pub(super) struct Counts(Pairs);

impl Counts {
    pub(super) fn changes() -> Self {
        Self(Pairs::new(floats_differ))
    }

    pub(super) fn resets() -> Self {
        Self(Pairs::new(fell))
    }
}

impl Memory for Counts {
    fn forget(&mut self) {
        self.0.forget();
    }

    fn knows(&self, window: &Window<'_>) -> bool {
        only_numbers(window)
    }

    fn answer(&mut self, window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Option<SampleValue> {
        self.0.slide(window);
        Some(SampleValue::Float(self.0.found.len() as f64))
    }
}

/// `rate` and `increase` of numbers.
#[derive(Debug)]
pub(super) struct Rates {
    resets: Pairs,
    /// Whether the result is per second.
    pub(super) per_second: bool,
}

impl Rates {
    pub(super) fn rate() -> Self {
        Self { resets: Pairs::new(fell), per_second: true }
    }

    pub(super) fn increase() -> Self {
        Self { per_second: false, ..Self::rate() }
    }
}

impl Memory for Rates {
    fn forget(&mut self) {
        self.resets.forget();
    }

    fn knows(&self, window: &Window<'_>) -> bool {
        only_numbers(window)
    }

    fn answer(&mut self, window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Option<SampleValue> {
        self.resets.slide(window);
        let Window { start_ms, end_ms, floats_t: t_ms, floats: values, .. } = *window;
        let floats = FloatWindow { start_ms, end_ms, t_ms, values, starts: &[] };
        let lost = self.resets.found.iter().map(|(_, before)| *before);
        let per_s = if self.per_second { in_seconds(window.range_ms) } else { 1.0 };
        rate::increase_with_lost(floats, Kind::Counter, lost, per_s).map(SampleValue::Float)
    }
}

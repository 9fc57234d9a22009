//! `selector smoothed`: at every step the value on the line between the samples around it.
//!
//! Without a sample after the step the last one counts on, without one before there is no value. Histograms are
//! interpolated bucket by bucket; one that was reset in between began at zero at the first of the two.
//!
//! Source: Prometheus' extended range selectors (proposal PROM-52).

use std::sync::Arc;

use homeostat_model::{Histogram, SampleValue, TimeMs, histogram::ResetHint};

use super::{
    columns::{Columns, Visitor, Windows},
    duration::Shifted,
    error::EvalError,
    evaluator::{Evaluator, Sink},
    range_functions::rate::{Kind, interpolate},
    series::Series,
    window::Window,
};
use crate::{
    ast::{ByteSpan, Extend, VectorSelector},
    histogram,
    note::Notes,
    source::Select,
};

/// Hands on the series of a smoothed selector.
pub(super) fn rows(
    ev: &Evaluator<'_>,
    selector: &VectorSelector,
    span: ByteSpan,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let shift: Shifted = ev.shifted(&selector.shift)?;
    let windows = Windows::new(ev, shift, 0, Extend::Smoothed);
    let select = Select {
        matchers: &selector.matchers,
        start_ms: windows.reach_start_ms(0).saturating_add(1),
        end_ms: windows.reach_end_ms(windows.last()),
    };
    let mut columns = Columns::new(ev);
    let mut smoother = Smoother { ev, span, result: Series::default(), sink };
    for selected in ev.query.source.select(&select)? {
        ev.check_cancelled()?;
        smoother.begin(&Series::new(selected.labels, false));
        columns.slide(selected.runs, &windows, &mut smoother)?;
        smoother.end()?;
    }
    Ok(())
}

struct Smoother<'c, 's, 'q> {
    ev: &'c Evaluator<'q>,
    span: ByteSpan,
    result: Series,
    sink: &'c mut Sink<'s>,
}

impl Visitor for Smoother<'_, '_, '_> {
    fn begin(&mut self, series: &Series) {
        self.result.clear();
        self.result.labels = series.labels.clone();
    }

    fn visit(&mut self, step: usize, window: &Window<'_>) {
        let metric = self.result.labels.metric().unwrap_or_default();
        let notes = &mut self.ev.query.notes.borrow_mut();
        if let Some(value) = smooth(window, metric, self.span, notes) {
            self.result.push(step, value);
        }
    }

    fn end(&mut self) -> Result<(), EvalError> {
        if self.result.is_empty() { Ok(()) } else { (self.sink)(&mut self.result) }
    }
}

fn smooth(window: &Window<'_>, metric: &str, span: ByteSpan, notes: &mut Notes) -> Option<SampleValue> {
    let at_ms = window.end_ms;
    match (window.floats.is_empty(), window.histograms.is_empty()) {
        (false, false) => {
            notes.warn(span, format!("encountered a mix of histograms and floats for metric name {metric:?}"));
            None
        }
        (false, true) => {
            let (before, after) = around(window.floats_t, window.floats, at_ms)?;
            Some(SampleValue::Float(match after {
                Some(after) if before.0 < at_ms => interpolate(before, after, at_ms, Kind::Gauge),
                _ => before.1,
            }))
        }
        (true, _) => {
            let (before, after) = around(window.histograms_t, window.histograms, at_ms)?;
            let Some(after) = after.filter(|_| before.0 < at_ms) else { return Some(SampleValue::Histogram(before.1)) };
            let share = at_ms.saturating_sub(before.0) as f64 / after.0.saturating_sub(before.0) as f64;
            let between = between(&before.1, &after.1, share);
            if between.is_none() {
                let what = "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
                notes.warn(span, format!("{what} {metric:?}"));
            }
            between.map(|histogram| SampleValue::Histogram(Arc::new(histogram)))
        }
    }
}

/// A sample with its time.
type At<T> = (TimeMs, T);

/// The last sample at or before an instant, and the next one.
fn around<T: Clone>(times: &[TimeMs], values: &[T], at_ms: TimeMs) -> Option<(At<T>, Option<At<T>>)> {
    let until = times.partition_point(|t_ms| *t_ms <= at_ms);
    let sample = |at: usize| Some((*times.get(at)?, values.get(at)?.clone()));
    Some((sample(until.checked_sub(1)?)?, sample(until)))
}

/// The histogram between two; `None` when their buckets have nothing to do with each other.
fn between(before: &Histogram, after: &Histogram, share: f64) -> Option<Histogram> {
    let counts = before.reset_hint != ResetHint::Gauge && after.reset_hint != ResetHint::Gauge;
    let mut result = after.clone();
    if counts && histogram::detect_reset(after, before) {
        histogram::scale(&mut result, share);
        return Some(result);
    }
    histogram::sub(&mut result, before).ok()?;
    histogram::scale(&mut result, share);
    histogram::add(&mut result, before).ok()?;
    result.reset_hint = before.reset_hint;
    histogram::compact(&mut result);
    Some(result)
}

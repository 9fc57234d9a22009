//! Ranges as the result of a query: the samples themselves.

use std::sync::Arc;

use homeostat_model::{Histogram, Labels, TimeMs};

use super::{
    budget::Held,
    columns::{Visitor, Windows},
    error::EvalError,
    evaluator::{Evaluator, Matrix},
    range::{inner_steps, visit},
    range_functions::rate::{Kind, interpolate},
    series::{Series, histogram_samples},
    window::Window,
};
use crate::ast::{Expr, ExprKind, Extend, Subquery};

/// The samples of a series as they are, for a range as the result of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RawSeries {
    /// Its labels.
    pub labels: Labels,
    /// Numbers in order of time.
    pub floats: Vec<(TimeMs, f64)>,
    /// Histograms in order of time.
    pub histograms: Vec<(TimeMs, Arc<Histogram>)>,
}

/// The samples of all series of a range at a single instant.
pub(super) fn raw(ev: &Evaluator<'_>, range: &Expr) -> Result<Vec<RawSeries>, EvalError> {
    if let ExprKind::Subquery(subquery) = &range.unwrap_parens().kind {
        return raw_evaluated(ev, subquery);
    }
    let mut collect = Collect { held: Held::new(&ev.query.budget), series: Vec::new(), next: RawSeries::default() };
    visit(ev, range, &mut collect)?;
    Ok(collect.series)
}

/// Series of a subquery may lose their names only now, and may be one and the same then.
fn raw_evaluated(ev: &Evaluator<'_>, subquery: &Subquery) -> Result<Vec<RawSeries>, EvalError> {
    let windows = Windows::new(ev, ev.shifted(&subquery.shift)?, ev.positive_ms(&subquery.range)?, Extend::None);
    let steps = inner_steps(ev, subquery, &windows)?;
    let mut matrix = Matrix::new(ev.query);
    ev.at(steps).any(&subquery.expr, &mut |series| {
        series.finish_name();
        matrix.push(series)
    })?;
    let mut all = Vec::new();
    for series in matrix.merged()?.series {
        let mut raw = RawSeries { labels: series.labels.clone(), ..RawSeries::default() };
        for step in series.present() {
            if let Some(value) = series.float(step) {
                raw.floats.push((steps.time(step), value));
            } else if let Some(histogram) = series.histogram(step) {
                raw.histograms.push((steps.time(step), Arc::clone(histogram)));
            }
        }
        all.push(raw);
    }
    Ok(all)
}

struct Collect {
    held: Held,
    series: Vec<RawSeries>,
    next: RawSeries,
}

impl Visitor for Collect {
    fn begin(&mut self, series: &Series) {
        self.next = RawSeries { labels: series.labels.clone(), ..RawSeries::default() };
    }

    fn visit(&mut self, _: usize, window: &Window<'_>) {
        self.next.floats = extended(window);
        let histograms = window.histograms_t.iter().copied().zip(window.histograms.iter().cloned());
        self.next.histograms.extend(histograms);
    }

    fn end(&mut self) -> Result<(), EvalError> {
        let next = std::mem::take(&mut self.next);
        let histograms = next.histograms.iter().map(|(_, histogram)| histogram_samples(histogram)).sum::<u64>();
        let samples = next.floats.len() as u64 + histograms;
        self.held.add(samples, samples * 16)?;
        if !next.floats.is_empty() || !next.histograms.is_empty() {
            self.series.push(next);
        }
        Ok(())
    }
}

/// The numbers of a window. An extended one begins and ends with the values at its ends.
fn extended(window: &Window<'_>) -> Vec<(TimeMs, f64)> {
    let floats: Vec<_> = window.floats_t.iter().copied().zip(window.floats.iter().copied()).collect();
    if window.extend == Extend::None {
        return floats;
    }
    let inside = |t_ms: TimeMs| window.start_ms < t_ms && t_ms < window.end_ms;
    let (Some(left), Some(right)) = (left_end(window, &floats), right_end(window, &floats)) else { return Vec::new() };
    let mut all = vec![(window.start_ms, left)];
    all.extend(floats.into_iter().filter(|(t_ms, _)| inside(*t_ms)));
    all.push((window.end_ms, right));
    all
}

/// The value at the left end: of the last sample at or before it, or of the first one; smoothed, on the line between.
fn left_end(window: &Window<'_>, floats: &[(TimeMs, f64)]) -> Option<f64> {
    let until = floats.partition_point(|(t_ms, _)| *t_ms <= window.start_ms);
    let (before, after) = (until.checked_sub(1).and_then(|at| floats.get(at)), floats.get(until));
    match (before, after, window.extend) {
        (Some(before), Some(after), Extend::Smoothed) if before.0 < window.start_ms => {
            Some(interpolate(*before, *after, window.start_ms, Kind::Gauge))
        }
        // Everything lies at or before the left end: the window itself is empty.
        (Some(_), None, _) => None,
        (before, after, _) => before.or(after).map(|(_, value)| *value),
    }
}

/// The value at the right end: of the last sample at or before it; smoothed, on the line to the next one.
fn right_end(window: &Window<'_>, floats: &[(TimeMs, f64)]) -> Option<f64> {
    let until = floats.partition_point(|(t_ms, _)| *t_ms <= window.end_ms);
    let (before, after) = (until.checked_sub(1).and_then(|at| floats.get(at)), floats.get(until));
    match (before, after, window.extend) {
        (Some(before), Some(after), Extend::Smoothed) if before.0 < window.end_ms => {
            Some(interpolate(*before, *after, window.end_ms, Kind::Gauge))
        }
        (before, after, _) => before.or(after).map(|(_, value)| *value),
    }
}

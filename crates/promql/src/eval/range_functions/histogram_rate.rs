//! What a counter counted, or by how much a gauge moved, in a window of native histograms: bucket by bucket what `rate`
//! does with numbers.
//!
//! Samples of different resolution are made as coarse as the coarsest, custom bounds are reduced to those they share.
//! Results are gauges.

use std::{ops::Range, sync::Arc};

use homeostat_model::{
    TimeMs,
    histogram::{Histogram, ResetHint},
};

use super::{
    extrapolation::{Beginning, CounterStart, Coverage},
    findings::{Finding, Findings, is_gauge},
    rate::{Kind, Reach},
    starts,
};
use crate::{
    ast::Extend,
    histogram::{add, compact, detect_reset, divide, reduce_resolution, scale, sub},
};

/// Histograms of one series and the window they are looked at through.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistogramWindow<'a> {
    /// Left end, not in the window.
    pub(super) start_ms: TimeMs,
    /// Right end.
    pub(super) end_ms: TimeMs,
    /// Times, ascending, none twice.
    pub(super) t_ms: &'a [TimeMs],
    /// The value at each time.
    pub(super) values: &'a [Arc<Histogram>],
    /// Since when each counts; may be empty.
    pub(super) starts: &'a [TimeMs],
}

/// The extrapolated increase or difference over the whole window, divided by `per_s`; `None` with fewer than two
/// samples, unless a counter began within the window, or without a layout that all have.
pub(super) fn increase(
    window: HistogramWindow<'_>,
    kind: Kind,
    per_s: f64,
    findings: &mut Findings,
) -> Option<Histogram> {
    let HistogramWindow { start_ms, t_ms, values, starts, .. } = window;
    let pairs = values.iter().zip(values.iter().skip(1)).zip(starts::resets(t_ms, starts)).enumerate();
    let resets =
        pairs.filter(|(_, ((before, after), reset))| kind == Kind::Counter && (*reset || detect_reset(after, before)));
    let resets: Vec<_> = resets.map(|(index, _)| index + 1).collect();
    match starts::beginning(t_ms, starts, start_ms) {
        Some(zero_ms) if kind == Kind::Counter => increase_from(zero_ms, window, &resets, per_s, findings),
        _ => increase_with_resets(window, kind, &resets, per_s, findings),
    }
}

/// The increase of a counter that began within the window.
fn increase_from(
    zero_ms: TimeMs,
    window: HistogramWindow<'_>,
    resets: &[usize],
    per_s: f64,
    findings: &mut Findings,
) -> Option<Histogram> {
    let HistogramWindow { end_ms, t_ms, values, .. } = window;
    let (first, (first_ms, last_ms)) = (values.first()?, t_ms.first().zip(t_ms.last())?);
    let mut result = if values.len() > 1 {
        let mut result = between_samples(values, Kind::Counter, resets, findings)?;
        findings.added(add(&mut result, first))?;
        result
    } else {
        Histogram { reset_hint: ResetHint::Gauge, ..Histogram::clone(first) }
    };
    let beginning = Beginning { zero_ms, end_ms, first_ms: *first_ms, last_ms: *last_ms, samples: values.len() };
    scale(&mut result, beginning.factor() / per_s);
    result.reset_hint = ResetHint::Gauge;
    Some(result)
}

/// As [`increase`], given the indices of the samples before which a counter was reset, ascending.
pub(super) fn increase_with_resets(
    window: HistogramWindow<'_>,
    kind: Kind,
    resets: &[usize],
    per_s: f64,
    findings: &mut Findings,
) -> Option<Histogram> {
    let ([first, .., _], [first_ms, .., last_ms]) = (window.values, window.t_ms) else { return None };
    let mut result = between_samples(window.values, kind, resets, findings)?;
    let coverage = Coverage {
        start_ms: window.start_ms,
        end_ms: window.end_ms,
        first_ms: *first_ms,
        last_ms: *last_ms,
        samples: window.values.len(),
    };
    let counter = (kind == Kind::Counter).then_some(CounterStart { first: first.count, counted: result.count });
    scale(&mut result, coverage.factor(counter) / per_s);
    Some(result)
}

/// The increase or difference from the first to the last of at least two samples.
fn between_samples(
    values: &[Arc<Histogram>],
    kind: Kind,
    resets: &[usize],
    findings: &mut Findings,
) -> Option<Histogram> {
    let [first, second, ..] = values else { return None };
    let last = values.last()?;
    findings.see(kind == Kind::Counter && (is_gauge(first) || is_gauge(last)), Finding::NotACounter);
    // A sample just before a reset adds nothing that needs its layout: its place is taken by an empty one.
    let forgotten = (resets.first() == Some(&1)).then(|| empty_like(second));
    let begin: &Histogram = forgotten.as_ref().unwrap_or(first);
    findings.same_schemas(begin, last)?;
    let between = values.get(1..values.len() - 1).unwrap_or_default();
    let mut schema = begin.schema.min(last.schema);
    if kind == Kind::Counter {
        for sample in between {
            findings.see(is_gauge(sample), Finding::NotACounter);
            schema = schema.min(sample.schema);
            if sample.has_custom_bounds() != begin.has_custom_bounds() {
                findings.only(Finding::MixedSchemas);
                return None;
            }
        }
    }
    let mut result = Histogram::clone(last);
    reduce_resolution(&mut result, schema);
    findings.subtracted(sub(&mut result, begin))?;
    match kind {
        Kind::Counter => {
            for index in resets {
                let before = if *index == 1 { begin } else { values.get(index - 1)? };
                // Of a forgotten sample the hint may still say that it was reset.
                if *index > 1 || detect_reset(second, begin) {
                    findings.added(add(&mut result, before))?;
                }
            }
        }
        Kind::Gauge => findings.see(!is_gauge(first) || !is_gauge(last), Finding::NotAGauge),
    }
    result.reset_hint = ResetHint::Gauge;
    compact(&mut result);
    Some(result)
}

fn empty_like(layout: &Histogram) -> Histogram {
    Histogram { schema: layout.schema, custom_bounds: Arc::clone(&layout.custom_bounds), ..Histogram::default() }
}

/// The increase or difference between the ends of an extended window, divided by `per_s`; `None` when no sample says
/// anything about the window, or they have no layout in common.
pub(super) fn extended_increase(
    window: HistogramWindow<'_>,
    kind: Kind,
    extend: Extend,
    per_s: f64,
    findings: &mut Findings,
) -> Option<Histogram> {
    let HistogramWindow { start_ms, end_ms, t_ms, values, .. } = window;
    let reach = Reach::of(t_ms, start_ms, end_ms, extend)?;
    check_layouts(values.get(reach.first..=reach.last)?, kind, findings)?;
    let sample = |index: usize| Some((*t_ms.get(index)?, &**values.get(index)?));
    let (first, last) = (sample(reach.first)?, sample(reach.last)?);
    let left = match sample(reach.first + 1) {
        Some(next) if reach.interpolates_left => interpolate(first, next, start_ms, kind, findings)?,
        _ => first.1.clone(),
    };
    let right = match reach.last.checked_sub(1).and_then(sample) {
        Some(before) if reach.interpolates_right => interpolate(before, last, end_ms, kind, findings)?,
        _ => last.1.clone(),
    };
    findings.see(kind == Kind::Gauge && !(is_gauge(&left) && is_gauge(&right)), Finding::NotAGauge);
    let mut result = right.clone();
    findings.subtracted(sub(&mut result, &left))?;
    if kind == Kind::Counter {
        add_lost_between(&mut result, &left, values, reach, &right, findings)?;
    }
    divide(&mut result, per_s);
    result.reset_hint = ResetHint::Gauge;
    compact(&mut result);
    Some(result)
}

/// Checks that all samples have the same kind of buckets and, for a counter, none is a gauge.
fn check_layouts(values: &[Arc<Histogram>], kind: Kind, findings: &mut Findings) -> Option<()> {
    let first = values.first()?;
    for sample in values {
        findings.same_schemas(first, sample)?;
        findings.see(kind == Kind::Counter && is_gauge(sample), Finding::NotACounter);
    }
    Some(())
}

/// Adds to a result what was there just before each reset between the ends of an extended window; `None` when that does
/// not fit.
fn add_lost_between(
    result: &mut Histogram,
    left: &Histogram,
    values: &[Arc<Histogram>],
    reach: Reach,
    right: &Histogram,
    findings: &mut Findings,
) -> Option<()> {
    let (inside, mut before) = inside(left, values, reach);
    if inside.start > inside.end {
        return Some(());
    }
    let mut lost: Option<Histogram> = None;
    for sample in values.get(inside)?.iter().map(|sample| &**sample).chain([right]) {
        if detect_reset(sample, before) {
            match &mut lost {
                None => lost = Some(before.clone()),
                Some(lost) => findings.added(add(lost, before))?,
            }
        }
        before = sample;
    }
    lost.map_or(Some(()), |lost| findings.added(add(result, &lost)))
}

/// The samples between both ends, and what the first of them is compared with.
///
/// The samples at the ends are left out, as `left` and `right` stand for them. Where `left` was interpolated over a
/// reset, it has that reset in it already, and the sample behind it is left out too.
fn inside<'a>(left: &'a Histogram, values: &'a [Arc<Histogram>], reach: Reach) -> (Range<usize>, &'a Histogram) {
    let after_first = reach.first + 1;
    match (values.get(reach.first), values.get(after_first)) {
        (Some(first), Some(second)) if reach.interpolates_left && detect_reset(second, first) => {
            (after_first + 1..reach.last, second)
        }
        _ => (after_first..reach.last, left),
    }
}

/// The histogram at a time between two samples. A counter that was reset in between is taken to have begun at zero at
/// the first of them. `None` without a layout that both have.
pub(super) fn interpolate(
    before: (TimeMs, &Histogram),
    after: (TimeMs, &Histogram),
    at_ms: TimeMs,
    kind: Kind,
    findings: &mut Findings,
) -> Option<Histogram> {
    if at_ms == before.0 {
        return Some(before.1.clone());
    }
    let mut result = after.1.clone();
    if at_ms == after.0 {
        return Some(result);
    }
    let passed = at_ms.saturating_sub(before.0) as f64 / after.0.saturating_sub(before.0) as f64;
    if kind == Kind::Counter && detect_reset(after.1, before.1) {
        scale(&mut result, passed);
        return Some(result);
    }
    findings.subtracted(sub(&mut result, before.1))?;
    scale(&mut result, passed);
    findings.added(add(&mut result, before.1))?;
    Some(result)
}

/// The step between two samples next to each other: their difference, after a counter's reset, which their starts may
/// show, all of the second. `None` without a layout that both have.
pub(super) fn step(
    before: &Histogram,
    last: &Histogram,
    starts_reset: bool,
    kind: Kind,
    per_s: f64,
    findings: &mut Findings,
) -> Option<Histogram> {
    match kind {
        Kind::Counter => findings.see(is_gauge(before) || is_gauge(last), Finding::NotACounter),
        Kind::Gauge => findings.see(!is_gauge(before) || !is_gauge(last), Finding::NotAGauge),
    }
    let mut result = last.clone();
    let counts_from_zero = kind == Kind::Counter && (starts_reset || detect_reset(last, before));
    if !counts_from_zero {
        findings.subtracted(sub(&mut result, before))?;
    }
    result.reset_hint = ResetHint::Gauge;
    compact(&mut result);
    divide(&mut result, per_s);
    Some(result)
}

//! `*_over_time`: one value for all samples of a window.
//!
//! Sum and mean know numbers or histograms, not both at once. The first, the last, how many and when take samples of any
//! kind. All others look at numbers only, and say so when histograms were among them.

use std::sync::Arc;

use homeostat_model::{Histogram, SampleValue, TimeMs};

use super::{
    extremes::{self, Extreme},
    findings::{Finding, Findings},
    notes, spread, totals,
};
use crate::{
    eval::window::{Place, Window},
    histogram::{HistogramMean, HistogramSum, Summed},
    note::Notes,
};

type Answer = Option<SampleValue>;

/// Numbers of a window up to here are copied to the stack for what reorders them: an hour of one a minute, or four
/// minutes of one a second, in 2 KiB.
const ON_STACK: usize = 256;

pub(super) fn sum(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    of_one_kind(window, place, notes, totals::sum, |histograms| {
        let (first, rest) = histograms.split_first()?;
        let mut sum = HistogramSum::new(first);
        rest.iter().try_for_each(|histogram| sum.add(histogram)).ok()?;
        Some(sum.finish())
    })
}

pub(super) fn average(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    of_one_kind(window, place, notes, totals::mean, |histograms| {
        let (first, rest) = histograms.split_first()?;
        let mut mean = HistogramMean::new(first);
        rest.iter().try_for_each(|histogram| mean.add(histogram)).ok()?;
        Some(mean.finish())
    })
}

/// Puts together numbers or histograms; warns when there are both, or histograms (`None`) that have no common layout.
fn of_one_kind(
    window: &Window<'_>,
    place: &Place<'_>,
    notes: &mut Notes,
    of_floats: impl FnOnce(&[f64]) -> f64,
    of_histograms: impl FnOnce(&[Arc<Histogram>]) -> Option<Summed>,
) -> Answer {
    match (window.floats.is_empty(), window.histograms.is_empty()) {
        (false, true) => Some(SampleValue::Float(of_floats(window.floats))),
        (true, false) => {
            let summed = of_histograms(window.histograms);
            let combined = summed.as_ref().map(|summed| summed.combined).unwrap_or_default();
            let mut findings = Findings::default();
            findings.see(summed.is_none(), Finding::MixedSchemas);
            findings.see(combined.bounds_reconciled, Finding::ReconciledInAggregation);
            findings.see(combined.resets_conflict, Finding::ConflictingResets);
            findings.tell(place, notes);
            summed.map(|summed| SampleValue::Histogram(Arc::new(summed.histogram)))
        }
        (false, false) => {
            notes::mixed_kinds(place, notes);
            None
        }
        (true, true) => None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of all functions over ranges")]
pub(super) fn count(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    Some(SampleValue::Float((window.floats.len() + window.histograms.len()) as f64))
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of all functions over ranges")]
pub(super) fn present(_: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    Some(SampleValue::Float(1.0))
}

pub(super) fn first(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    let float = window.floats_t.first().zip(window.floats.first());
    let histogram = window.histograms_t.first().zip(window.histograms.first());
    match (float, histogram) {
        (Some((float_t, value)), Some((histogram_t, _))) if float_t < histogram_t => Some(SampleValue::Float(*value)),
        (_, Some((_, histogram))) => Some(SampleValue::Histogram(Arc::clone(histogram))),
        (Some((_, value)), None) => Some(SampleValue::Float(*value)),
        (None, None) => None,
    }
}

pub(super) fn last(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    let float = window.floats_t.last().zip(window.floats.last());
    let histogram = window.histograms_t.last().zip(window.histograms.last());
    match (float, histogram) {
        (Some((float_t, value)), Some((histogram_t, _))) if histogram_t < float_t => Some(SampleValue::Float(*value)),
        (_, Some((_, histogram))) => Some(SampleValue::Histogram(Arc::clone(histogram))),
        (Some((_, value)), None) => Some(SampleValue::Float(*value)),
        (None, None) => None,
    }
}

pub(super) fn time_of_first(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    let firsts = [window.floats_t.first(), window.histograms_t.first()];
    firsts.into_iter().flatten().min().map(|at| in_seconds(*at))
}

pub(super) fn time_of_last(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    let lasts = [window.floats_t.last(), window.histograms_t.last()];
    lasts.into_iter().flatten().max().map(|at| in_seconds(*at))
}

pub(super) fn min(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    notes::ignored_histograms(window, place, notes);
    extremes::value(window.floats, Extreme::Min).map(SampleValue::Float)
}

pub(super) fn max(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    notes::ignored_histograms(window, place, notes);
    extremes::value(window.floats, Extreme::Max).map(SampleValue::Float)
}

pub(super) fn time_of_min(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    notes::ignored_histograms(window, place, notes);
    extremes::time(window.floats_t, window.floats, Extreme::Min).map(in_seconds)
}

pub(super) fn time_of_max(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    notes::ignored_histograms(window, place, notes);
    extremes::time(window.floats_t, window.floats, Extreme::Max).map(in_seconds)
}

pub(super) fn variance(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    notes::ignored_histograms(window, place, notes);
    (!window.floats.is_empty()).then(|| SampleValue::Float(spread::variance(window.floats)))
}

pub(super) fn deviation(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    notes::ignored_histograms(window, place, notes);
    (!window.floats.is_empty()).then(|| SampleValue::Float(spread::variance(window.floats).sqrt()))
}

pub(super) fn median_absolute_deviation(
    window: &Window<'_>,
    _: &[f64],
    place: &Place<'_>,
    notes: &mut Notes,
) -> Answer {
    notes::ignored_histograms(window, place, notes);
    let of_copy = || SampleValue::Float(with_copy(window.floats, spread::median_absolute_deviation));
    (!window.floats.is_empty()).then(of_copy)
}

pub(super) fn quantile(window: &Window<'_>, params: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    let q = *params.first()?;
    if window.floats.is_empty() {
        return None;
    }
    notes::invalid_quantile(q, place, notes);
    notes::ignored_histograms(window, place, notes);
    Some(SampleValue::Float(with_copy(window.floats, |values| spread::quantile(q, values))))
}

/// Gives a copy of the values to a function that reorders them.
fn with_copy(values: &[f64], function: impl FnOnce(&mut [f64]) -> f64) -> f64 {
    let mut on_stack = [0.0; ON_STACK];
    match on_stack.get_mut(..values.len()) {
        Some(copy) => {
            copy.copy_from_slice(values);
            function(copy)
        }
        None => function(&mut values.to_vec()),
    }
}

fn in_seconds(at_ms: TimeMs) -> SampleValue {
    SampleValue::Float(at_ms as f64 / 1000.0)
}

//! How fast and where to: `rate`, `increase`, `delta`, `irate`, `idelta`, `deriv`, `predict_linear` and
//! `double_exponential_smoothing`.

use std::sync::Arc;

use homeostat_model::{Histogram, SampleValue, number_text::shortest};

use super::{
    findings::Findings,
    histogram_rate::{self, HistogramWindow},
    notes,
    rate::{self, FloatWindow, Kind},
    trend,
};
use crate::{
    ast::Extend,
    eval::window::{Place, Window},
    note::Notes,
};

type Answer = Option<SampleValue>;

pub(super) fn rate(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    moved(window, Kind::Counter, in_seconds(window.range_ms), place, notes)
}

pub(super) fn increase(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    moved(window, Kind::Counter, 1.0, place, notes)
}

pub(super) fn delta(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    moved(window, Kind::Gauge, 1.0, place, notes)
}

/// What was counted or moved in the window, divided by `per_s`.
fn moved(window: &Window<'_>, kind: Kind, per_s: f64, place: &Place<'_>, notes: &mut Notes) -> Answer {
    if kind == Kind::Counter && window.extend == Extend::None {
        notes::overlapping_starts(window, place, notes);
    }
    match (window.floats.is_empty(), window.histograms.is_empty()) {
        (false, true) => floats_moved(window, kind, per_s).map(SampleValue::Float),
        (true, false) => telling(place, notes, |findings| histograms_moved(window, kind, per_s, findings)),
        (false, false) => {
            notes::mixed_kinds(place, notes);
            None
        }
        (true, true) => None,
    }
}

fn floats_moved(window: &Window<'_>, kind: Kind, per_s: f64) -> Option<f64> {
    let Window { start_ms, end_ms, floats_t: t_ms, floats: values, float_starts: starts, .. } = *window;
    let floats = FloatWindow { start_ms, end_ms, t_ms, values, starts };
    match window.extend {
        Extend::None => rate::increase(floats, kind, per_s),
        extend @ (Extend::Anchored | Extend::Smoothed) => {
            rate::extended_increase(floats, kind, extend).map(|moved| moved / per_s)
        }
    }
}

fn histograms_moved(window: &Window<'_>, kind: Kind, per_s: f64, findings: &mut Findings) -> Option<Histogram> {
    let Window { start_ms, end_ms, histograms_t: t_ms, histograms: values, histogram_starts: starts, .. } = *window;
    let histograms = HistogramWindow { start_ms, end_ms, t_ms, values, starts };
    match window.extend {
        Extend::None => histogram_rate::increase(histograms, kind, per_s, findings),
        extend @ (Extend::Anchored | Extend::Smoothed) => {
            histogram_rate::extended_increase(histograms, kind, extend, per_s, findings)
        }
    }
}

/// Computes a histogram and tells what was noticed on the way.
pub(super) fn telling(
    place: &Place<'_>,
    notes: &mut Notes,
    compute: impl FnOnce(&mut Findings) -> Option<Histogram>,
) -> Answer {
    let mut findings = Findings::default();
    let result = compute(&mut findings);
    findings.tell(place, notes);
    result.map(|histogram| SampleValue::Histogram(Arc::new(histogram)))
}

pub(super) fn in_seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

pub(super) fn instant_rate(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    last_step(window, Kind::Counter, in_seconds, place, notes)
}

pub(super) fn instant_delta(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    last_step(window, Kind::Gauge, |_| 1.0, place, notes)
}

/// The step between the last two samples of either kind, divided by what `per_s` makes of the milliseconds between them.
fn last_step(
    window: &Window<'_>,
    kind: Kind,
    per_s: impl Fn(i64) -> f64,
    place: &Place<'_>,
    notes: &mut Notes,
) -> Answer {
    let two_later_than = |t_ms: &[i64], others: &[i64]| match (t_ms, others.last()) {
        ([.., before, _], Some(other)) => before > other,
        ([.., _, _], None) => true,
        _ => false,
    };
    if two_later_than(window.floats_t, window.histograms_t) {
        let step = rate::step(window.floats_t, window.floats, window.float_starts, kind)?;
        return Some(SampleValue::Float(step.moved / per_s(step.apart_ms)));
    }
    if two_later_than(window.histograms_t, window.floats_t) {
        let ([.., before_ms, last_ms], [.., before, last]) = (window.histograms_t, window.histograms) else {
            return None;
        };
        let per_s = per_s(last_ms.saturating_sub(*before_ms));
        let reset = rate::last_is_reset(window.histograms_t, window.histogram_starts);
        return telling(place, notes, |findings| histogram_rate::step(before, last, reset, kind, per_s, findings));
    }
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        notes::mixed_kinds(place, notes);
    }
    None
}

pub(super) fn derivative(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    notes::ignored_histograms(window, place, notes);
    let [first_ms, _, ..] = window.floats_t else { return None };
    Some(SampleValue::Float(trend::fit(window.floats_t, window.floats, *first_ms).slope))
}

pub(super) fn predict_linear(window: &Window<'_>, params: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    notes::ignored_histograms(window, place, notes);
    let ([_, _, ..], [ahead_s, ..]) = (window.floats_t, params) else { return None };
    let line = trend::fit(window.floats_t, window.floats, window.eval_ms);
    Some(SampleValue::Float(line.slope * ahead_s + line.intercept))
}

/// A factor of `double_exponential_smoothing` that is none. The texts are those of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum BadFactor {
    /// The first.
    #[error("invalid smoothing factor. Expected: 0 < sf < 1, got: {}", six_decimals(*.0))]
    Smoothing(f64),
    /// The second.
    #[error("invalid trend factor. Expected: 0 < tf < 1, got: {}", six_decimals(*.0))]
    Trend(f64),
}

/// Checks the factors of `double_exponential_smoothing`, with which a query fails as soon as it looks at a series: both
/// lie between 0 and 1, exclusively.
pub fn check_factors(params: &[f64]) -> Result<(), BadFactor> {
    // NaN is let through, as Prometheus does.
    let outside = |factor: f64| factor <= 0.0 || factor >= 1.0;
    match params {
        [smoothing, ..] if outside(*smoothing) => Err(BadFactor::Smoothing(*smoothing)),
        [_, trend, ..] if outside(*trend) => Err(BadFactor::Trend(*trend)),
        _ => Ok(()),
    }
}

fn six_decimals(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { shortest(value) }
}

pub(super) fn double_exponential_smoothing(
    window: &Window<'_>,
    params: &[f64],
    place: &Place<'_>,
    notes: &mut Notes,
) -> Answer {
    notes::ignored_histograms(window, place, notes);
    let [smoothing, trend, ..] = params else { return None };
    trend::smooth(window.floats, *smoothing, *trend).map(SampleValue::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_lie_between_0_and_1() {
        assert_eq!(check_factors(&[0.5, 0.5]), Ok(()));
        assert_eq!(check_factors(&[f64::NAN, 0.5]), Ok(()));
        assert_eq!(check_factors(&[0.0, 0.5]), Err(BadFactor::Smoothing(0.0)));
        let text = check_factors(&[0.5, 1.0]).unwrap_err().to_string();
        assert_eq!(text, "invalid trend factor. Expected: 0 < tf < 1, got: 1.000000");
        let text = check_factors(&[f64::INFINITY, 1.0]).unwrap_err().to_string();
        assert_eq!(text, "invalid smoothing factor. Expected: 0 < sf < 1, got: +Inf");
    }
}

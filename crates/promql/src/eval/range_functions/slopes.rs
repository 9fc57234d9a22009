//! How fast and where to: `rate`, `increase`, `delta`, `irate`, `idelta`, `deriv`, `predict_linear` and
//! `double_exponential_smoothing`.

use homeostat_model::SampleValue;

use super::{
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
    let increase = counted(window, Kind::Counter, place, notes)?;
    Some(SampleValue::Float(increase / (window.range_ms as f64 / 1000.0)))
}

pub(super) fn increase(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    counted(window, Kind::Counter, place, notes).map(SampleValue::Float)
}

pub(super) fn delta(window: &Window<'_>, _: &[f64], place: &Place<'_>, notes: &mut Notes) -> Answer {
    counted(window, Kind::Gauge, place, notes).map(SampleValue::Float)
}

fn counted(window: &Window<'_>, kind: Kind, place: &Place<'_>, notes: &mut Notes) -> Option<f64> {
    if !window.histograms.is_empty() {
        if !window.floats.is_empty() {
            notes::mixed_kinds(place, notes);
        }
        return None;
    }
    let floats =
        FloatWindow { start_ms: window.start_ms, end_ms: window.end_ms, t_ms: window.floats_t, values: window.floats };
    match window.extend {
        Extend::None => rate::increase(floats, kind),
        extend @ (Extend::Anchored | Extend::Smoothed) => rate::extended_increase(floats, kind, extend),
    }
}

pub(super) fn instant_rate(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    rate::instant(window.floats_t, window.floats, Kind::Counter)
        .map(|step| SampleValue::Float(step.moved / (step.apart_ms as f64 / 1000.0)))
}

pub(super) fn instant_delta(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    rate::instant(window.floats_t, window.floats, Kind::Gauge).map(|step| SampleValue::Float(step.moved))
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
    if value.is_finite() { format!("{value:.6}") } else { notes::shortest(value) }
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

//! Straight lines through a window: slope and prediction by least squares, and double exponential smoothing.
//!
//! Times are taken relative to an instant near the samples, in seconds: squares of epoch times would eat all digits.
//! Source: prometheus.io/docs/prometheus/latest/querying/functions (`deriv`, `predict_linear`,
//! `double_exponential_smoothing`).

use homeostat_model::TimeMs;

use super::kahan::KahanSum;

/// A line: value at the reference time, and change per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    /// Per second.
    pub(super) slope: f64,
    /// Value at the reference time.
    pub(super) intercept: f64,
}

/// The least-squares line through the samples, `reference_ms` being its time zero. Equal values give an exact
/// horizontal line, unless they are infinite (NaN).
#[expect(clippy::float_cmp, reason = "only values that are exactly equal lie on a horizontal line")]
pub(super) fn fit(t_ms: &[TimeMs], values: &[f64], reference_ms: TimeMs) -> Line {
    let first = values.first().copied().unwrap_or(f64::NAN);
    if values.iter().skip(1).all(|value| *value == first) {
        let horizontal = Line { slope: 0.0, intercept: first };
        return if first.is_infinite() { Line { slope: f64::NAN, intercept: f64::NAN } } else { horizontal };
    }
    let quick = fit_with(t_ms, values, reference_ms, KahanSum::plus_finite);
    if quick.slope.is_finite() && quick.intercept.is_finite() {
        return quick;
    }
    fit_with(t_ms, values, reference_ms, KahanSum::plus)
}

fn fit_with(t_ms: &[TimeMs], values: &[f64], reference_ms: TimeMs, plus: impl Fn(KahanSum, f64) -> KahanSum) -> Line {
    let none = KahanSum::default();
    let (mut x, mut y, mut xy, mut x2) = (none, none, none, none);
    for (at, value) in t_ms.iter().zip(values) {
        let seconds = at.saturating_sub(reference_ms) as f64 / 1e3;
        x = plus(x, seconds);
        y = plus(y, *value);
        xy = plus(xy, seconds * *value);
        x2 = plus(x2, seconds * seconds);
    }
    let n = values.len() as f64;
    let (x, y, xy, x2) = (x.total(), y.total(), xy.total(), x2.total());
    let slope = (xy - x * y / n) / (x2 - x * x / n);
    Line { slope, intercept: y / n - slope * x / n }
}

/// Level of the series after smoothing value and trend (Holt's method); `None` with fewer than two values.
/// Both factors lie strictly between 0 and 1.
pub(super) fn smooth(values: &[f64], smoothing: f64, trend: f64) -> Option<f64> {
    let [first, second, ..] = values else { return None };
    let mut before = 0.0;
    let mut level = *first;
    let mut slope = second - first;
    for (done, value) in values.iter().skip(1).enumerate() {
        if done > 0 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + slope);
        before = level;
        level = next;
    }
    Some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_again() {
        let t_ms = [1_000, 2_000, 3_000, 7_000];
        let values = [3.0, 5.0, 7.0, 15.0];
        let line = fit(&t_ms, &values, 2_000);
        assert!((line.slope - 2.0).abs() < 1e-12 && (line.intercept - 5.0).abs() < 1e-12, "{line:?}");
    }

    #[test]
    fn equal_values_are_a_horizontal_line() {
        assert_eq!(fit(&[0, 10], &[0.1, 0.1], 99), Line { slope: 0.0, intercept: 0.1 });
        assert!(fit(&[0, 10], &[f64::INFINITY; 2], 0).slope.is_nan());
        assert!(fit(&[0, 10], &[f64::NAN; 2], 0).slope.is_nan());
        assert!(fit(&[0, 10], &[1.0, f64::INFINITY], 0).slope.is_nan());
    }

    #[test]
    fn epoch_times_do_not_eat_the_digits() {
        let epoch = 1_700_000_000_000;
        let t_ms: Vec<_> = (0..100).map(|i| epoch + i * 15_000).collect();
        let values: Vec<_> = (0..100).map(|i| f64::from(i) * 0.5).collect();
        let line = fit(&t_ms, &values, epoch);
        assert!((line.slope - 0.5 / 15.0).abs() < 1e-15, "{line:?}");
    }

    #[test]
    fn smoothing_follows_its_recurrence() {
        // Level 0, slope 10. 2nd: 0.5·10 + 0.5·(0 + 10) = 10. 3rd: slope 0.1·10 + 0.9·10 = 10, 0.5·40 + 0.5·20 = 30.
        assert_eq!(smooth(&[0.0, 10.0, 40.0], 0.5, 0.1), Some(30.0));
        // 4th: slope 0.1·20 + 0.9·10 = 11, 0.5·30 + 0.5·41 = 35.5.
        assert_eq!(smooth(&[0.0, 10.0, 40.0, 30.0], 0.5, 0.1), Some(35.5));
        assert_eq!(smooth(&[1.0], 0.5, 0.5), None);
    }
}

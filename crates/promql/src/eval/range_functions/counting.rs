//! How often a window's value changed, and how often a counter was reset.
//!
//! Both compare each sample with the one before, of whichever kind: going from numbers to histograms or back is a change
//! and a reset. `anchored` windows begin with the last sample at or before their left end. A counter is also reset where a
//! sample counts from later on than the one before it was taken (`starts`).

use homeostat_model::SampleValue;

use super::{
    merged::{Either, from_anchor, in_order},
    starts::Began,
};
use crate::{
    eval::window::{Place, Window},
    histogram::{detect_reset, equal},
    note::Notes,
};

pub(super) fn changes(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Option<SampleValue> {
    count_pairs(window, floats_differ, |before, after| !equal(after, before), |_, _| false)
}

pub(super) fn resets(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Option<SampleValue> {
    count_pairs(window, fell, |before, after| detect_reset(after, before), Began::is_reset_since)
}

/// A value differs from another unless both are `NaN`.
#[expect(clippy::float_cmp, reason = "a change is a change, however small")]
pub(super) fn floats_differ(before: f64, after: f64) -> bool {
    before != after && !(before.is_nan() && after.is_nan())
}

/// A counter that fell was reset.
pub(super) fn fell(before: f64, after: f64) -> bool {
    after < before
}

/// How many samples, compared with the one before, count: of the same kind those that are said to by their values or
/// their starts, others always.
fn count_pairs(
    window: &Window<'_>,
    float_counts: impl Fn(f64, f64) -> bool,
    histogram_counts: impl Fn(&homeostat_model::Histogram, &homeostat_model::Histogram) -> bool,
    starts_count: impl Fn(Began, Began) -> bool,
) -> Option<SampleValue> {
    let window = from_anchor(window)?;
    let count = if window.histograms.is_empty() && window.float_starts.is_empty() {
        let pairs = window.floats.iter().zip(window.floats.iter().skip(1));
        pairs.map(|(before, after)| usize::from(float_counts(*before, *after))).sum::<usize>()
    } else {
        let pairs = in_order(&window).zip(in_order(&window).skip(1));
        pairs
            .filter(|((began, before), (began_after, after))| match (before, after) {
                (Either::Float(_), Either::Histogram(_)) | (Either::Histogram(_), Either::Float(_)) => true,
                _ if starts_count(*began, *began_after) => true,
                (Either::Float(before), Either::Float(after)) => float_counts(*before, *after),
                (Either::Histogram(before), Either::Histogram(after)) => histogram_counts(before, after),
            })
            .count()
    };
    Some(SampleValue::Float(count as f64))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "counts are exact")]
mod tests {
    use std::sync::Arc;

    use homeostat_model::{Histogram, histogram::ResetHint};

    use super::*;
    use crate::eval::range_functions::test_windows::{answer, window};

    fn of_floats(values: &[f64]) -> (f64, f64) {
        let t_ms: Vec<_> = (1..=values.len() as i64).collect();
        let window = Window { floats_t: &t_ms, floats: values, ..window(0, 100) };
        (answer("changes", &window).float(), answer("resets", &window).float())
    }

    #[test]
    fn numbers_are_compared_with_the_one_before() {
        assert_eq!(of_floats(&[1.0]), (0.0, 0.0));
        assert_eq!(of_floats(&[1.0, 2.0, 3.0, 0.0, 1.0, 0.0, 0.0, 1.0, 2.0, 0.0]), (8.0, 3.0));
        assert_eq!(of_floats(&[0.0, -0.0]), (0.0, 0.0));
    }

    #[test]
    fn nan_is_like_nan_and_unlike_all_else() {
        let nan = f64::NAN;
        assert_eq!(of_floats(&[nan, nan, nan]), (0.0, 0.0));
        assert_eq!(of_floats(&[1.0, nan, 0.0]), (2.0, 0.0));
    }

    #[test]
    fn another_kind_is_a_change_and_a_reset() {
        let histogram = |count, reset_hint| Arc::new(Histogram { count, reset_hint, ..Histogram::default() });
        let histograms = [
            histogram(2.0, ResetHint::Unknown),
            histogram(2.0, ResetHint::NotReset),
            histogram(1.0, ResetHint::Unknown),
            histogram(3.0, ResetHint::Reset),
        ];
        // 1, h2, h2, h1, h3, 5: changes and resets at both ends, and two of each in between.
        let window = Window {
            floats_t: &[10, 60],
            floats: &[1.0, 5.0],
            histograms_t: &[20, 30, 40, 50],
            histograms: &histograms,
            ..window(0, 60)
        };
        assert_eq!(answer("changes", &window).float(), 4.0);
        assert_eq!(answer("resets", &window).float(), 4.0);
    }
}

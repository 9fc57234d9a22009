//! How often a window's value changed, and how often a counter was reset.
//!
//! Both compare each sample with the one before, of whichever kind: going from numbers to histograms or back is a change
//! and a reset. `anchored` windows begin with the last sample at or before their left end.

use homeostat_model::SampleValue;

use crate::{
    ast::Extend,
    eval::window::{Place, Window},
    note::Notes,
};

type Answer = Option<SampleValue>;

pub(super) fn changes_in_window(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    from_anchor(window).map(|values| SampleValue::Float(changes(values) as f64))
}

pub(super) fn resets_in_window(window: &Window<'_>, _: &[f64], _: &Place<'_>, _: &mut Notes) -> Answer {
    from_anchor(window).map(|values| SampleValue::Float(resets(values) as f64))
}

/// The numbers from the last at or before the left end of an anchored window, all of a plain one; `None` when nothing
/// lies in it.
fn from_anchor<'a>(window: &Window<'a>) -> Option<&'a [f64]> {
    if window.extend != Extend::Anchored {
        return Some(window.floats);
    }
    let before = window.floats_t.partition_point(|at| *at <= window.start_ms);
    if before == window.floats_t.len() { None } else { window.floats.get(before.saturating_sub(1)..) }
}

/// How many numbers differ from the one before; `NaN` does not differ from `NaN`.
pub(super) fn changes(values: &[f64]) -> usize {
    count_pairs(values, differ)
}

#[expect(clippy::float_cmp, reason = "a change is a change, however small")]
fn differ(before: f64, after: f64) -> bool {
    before != after && !(before.is_nan() && after.is_nan())
}

/// How many numbers are smaller than the one before.
pub(super) fn resets(values: &[f64]) -> usize {
    count_pairs(values, |before, after| after < before)
}

fn count_pairs(values: &[f64], counts: impl Fn(f64, f64) -> bool) -> usize {
    values.iter().zip(values.iter().skip(1)).map(|(before, after)| usize::from(counts(*before, *after))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_with_the_one_before() {
        assert_eq!((changes(&[]), resets(&[])), (0, 0));
        assert_eq!((changes(&[1.0]), resets(&[1.0])), (0, 0));
        let values = [1.0, 2.0, 3.0, 0.0, 1.0, 0.0, 0.0, 1.0, 2.0, 0.0];
        assert_eq!((changes(&values), resets(&values)), (8, 3));
        assert_eq!((changes(&[0.0, -0.0]), resets(&[0.0, -0.0])), (0, 0));
    }

    #[test]
    fn nan_is_like_nan_and_unlike_all_else() {
        let nan = f64::NAN;
        assert_eq!((changes(&[nan, nan, nan]), resets(&[nan, nan])), (0, 0));
        assert_eq!((changes(&[0.0, nan, 0.0]), resets(&[1.0, nan, 0.0])), (2, 0));
    }
}

//! Smallest and largest number of a window, and when they were measured.
//!
//! `NaN` is smaller and larger than nothing: it is the answer only when there is nothing else. Of equal numbers the value
//! of the first counts, but the time of the last ("when was it last that high").

use homeostat_model::TimeMs;

/// Which end of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extreme {
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// The extreme value; `None` of none.
pub(super) fn value(values: &[f64], extreme: Extreme) -> Option<f64> {
    let (first, rest) = values.split_first()?;
    Some(match extreme {
        Extreme::Min => rest.iter().fold(*first, |best, value| pick(*value < best, *value, best)),
        Extreme::Max => rest.iter().fold(*first, |best, value| pick(*value > best, *value, best)),
    })
}

#[inline]
fn pick(better: bool, value: f64, best: f64) -> f64 {
    if better || best.is_nan() { value } else { best }
}

/// When the extreme value was measured last; `None` of none.
pub(super) fn time(t_ms: &[TimeMs], values: &[f64], extreme: Extreme) -> Option<TimeMs> {
    let samples = t_ms.iter().copied().zip(values.iter().copied());
    let last_best = samples.reduce(|best, sample| {
        let at_least_as_good = match extreme {
            Extreme::Min => sample.1 <= best.1,
            Extreme::Max => sample.1 >= best.1,
        };
        if at_least_as_good || best.1.is_nan() { sample } else { best }
    });
    last_best.map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_loses_against_every_number() {
        let nan = f64::NAN;
        assert_eq!(value(&[nan, 0.0, 1.0], Extreme::Min), Some(0.0));
        assert_eq!(value(&[2.0, nan, 1.0], Extreme::Max), Some(2.0));
        assert!(value(&[nan, nan], Extreme::Max).is_some_and(f64::is_nan));
        assert_eq!(value(&[], Extreme::Max), None);
    }

    #[test]
    fn the_first_of_equal_values_and_the_last_of_their_times() {
        let t_ms = [10, 20, 30, 40];
        assert_eq!(time(&t_ms, &[1.0, 3.0, 3.0, 2.0], Extreme::Max), Some(30));
        assert_eq!(time(&t_ms, &[1.0, 3.0, 1.0, 2.0], Extreme::Min), Some(30));
        let minus_zero_first = value(&[-0.0, 0.0], Extreme::Max);
        assert!(minus_zero_first.is_some_and(f64::is_sign_negative));
    }

    #[test]
    fn times_of_nothing_but_nan_are_the_last() {
        assert_eq!(time(&[10, 20], &[f64::NAN, f64::NAN], Extreme::Max), Some(20));
        assert_eq!(time(&[10, 20, 30], &[f64::NAN, 1.0, f64::NAN], Extreme::Min), Some(20));
    }
}

//! What a counter counted, or by how much a gauge moved, in a window: `rate`, `increase`, `delta` over numbers.
//!
//! Two ways. The plain one takes the samples in the window and extrapolates to its ends. The extended ones (`anchored`,
//! `smoothed`) also see samples around the window: they begin at the last sample before it, or interpolate at both ends,
//! and need no extrapolation.
//!
//! A counter that is smaller than before was reset, and what it had counted until then is added. In the plain way samples
//! may also say since when they count (`starts`): that shows more resets, and where a counter began.
//! Not here: histograms (`histogram_rate`).

use homeostat_model::TimeMs;

use super::{
    extrapolation::{Beginning, CounterStart, Coverage},
    starts::{self, Began},
};
use crate::ast::Extend;

/// Whether a decrease is a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A decrease is a reset.
    Counter,
    /// A decrease is a decrease.
    Gauge,
}

/// Numbers of one series and the window they are looked at through. Plain windows have samples in `(start, end]` only,
/// extended ones also around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloatWindow<'a> {
    /// Left end, not in the window.
    pub(super) start_ms: TimeMs,
    /// Right end.
    pub(super) end_ms: TimeMs,
    /// Times, ascending, none twice.
    pub(super) t_ms: &'a [TimeMs],
    /// The value at each time.
    pub(super) values: &'a [f64],
    /// Since when each counts; may be empty.
    pub(super) starts: &'a [TimeMs],
}

/// The extrapolated increase (`Counter`) or difference (`Gauge`) over the whole window, divided by `per_s`; `None` with
/// fewer than two samples, unless a counter began within the window.
pub(super) fn increase(window: FloatWindow<'_>, kind: Kind, per_s: f64) -> Option<f64> {
    if kind == Kind::Counter && !window.starts.is_empty() {
        return increase_by_starts(window, per_s);
    }
    if kind == Kind::Gauge || !is_ever_reset(window.values) {
        return increase_with_lost(window, kind, std::iter::empty(), per_s);
    }
    let pairs = window.values.iter().zip(window.values.iter().skip(1));
    let lost = pairs.filter(|(before, after)| after < before).map(|(before, _)| *before);
    increase_with_lost(window, kind, lost, per_s)
}

/// As [`increase`], given the values just before each reset.
pub(super) fn increase_with_lost(
    window: FloatWindow<'_>,
    kind: Kind,
    lost: impl Iterator<Item = f64>,
    per_s: f64,
) -> Option<f64> {
    let ([first, .., last], [first_ms, .., last_ms]) = (window.values, window.t_ms) else { return None };
    let counted = lost.fold(last - first, |sum, before| sum + before);
    let coverage = Coverage {
        start_ms: window.start_ms,
        end_ms: window.end_ms,
        first_ms: *first_ms,
        last_ms: *last_ms,
        samples: window.values.len(),
    };
    let counter = (kind == Kind::Counter).then_some(CounterStart { first: *first, counted });
    Some(counted * (coverage.factor(counter) / per_s))
}

/// The increase of a counter whose samples say since when they count. One that began within the window was at zero then:
/// nothing is guessed about the time before.
fn increase_by_starts(window: FloatWindow<'_>, per_s: f64) -> Option<f64> {
    let FloatWindow { start_ms, end_ms, t_ms, values, starts } = window;
    let resets = starts::resets(t_ms, starts);
    let pairs = values.iter().zip(values.iter().skip(1)).zip(resets);
    let lost = pairs.filter(|((before, after), reset)| *reset || after < before).map(|((before, _), _)| *before);
    let Some(zero_ms) = starts::beginning(t_ms, starts, start_ms) else {
        return increase_with_lost(window, Kind::Counter, lost, per_s);
    };
    let (first, last) = values.first().zip(values.last())?;
    let (first_ms, last_ms) = t_ms.first().zip(t_ms.last())?;
    let counted = lost.fold(last - first, |sum, before| sum + before) + first;
    let beginning = Beginning { zero_ms, end_ms, first_ms: *first_ms, last_ms: *last_ms, samples: values.len() };
    Some(counted * (beginning.factor() / per_s))
}

/// Resets are rare: a pass without a branch per sample finds out whether there is any.
fn is_ever_reset(values: &[f64]) -> bool {
    let firsts = values.split_last().map_or(values, |(_, firsts)| firsts);
    let seconds = values.split_first().map_or(values, |(_, seconds)| seconds);
    firsts.iter().zip(seconds).map(|(before, after)| usize::from(after < before)).sum::<usize>() > 0
}

/// The increase or difference between the ends of an extended window, whose samples reach beyond it; `None` when none
/// of them says anything about the window.
pub(super) fn extended_increase(window: FloatWindow<'_>, kind: Kind, extend: Extend) -> Option<f64> {
    let reach = Reach::of(window.t_ms, window.start_ms, window.end_ms, extend)?;
    let sample = |index: usize| Some((*window.t_ms.get(index)?, *window.values.get(index)?));
    let (first, last) = (sample(reach.first)?, sample(reach.last)?);
    let left = match sample(reach.first + 1) {
        Some(next) if reach.interpolates_left => interpolate(first, next, window.start_ms, kind),
        _ => first.1,
    };
    let right = match reach.last.checked_sub(1).and_then(sample) {
        Some(before) if reach.interpolates_right => interpolate(before, last, window.end_ms, kind),
        _ => last.1,
    };
    let moved = right - left;
    if kind == Kind::Gauge {
        return Some(moved);
    }
    let inside = window.values.get(reach.inside(window.start_ms, window.end_ms, first.0, last.0)).unwrap_or_default();
    Some(moved + lost_between(left, inside, right))
}

/// Sum of the values just before each reset from the left end over the samples inside to the right end.
fn lost_between(left: f64, inside: &[f64], right: f64) -> f64 {
    let mut lost = 0.0;
    let mut before = left;
    for value in inside.iter().chain([&right]) {
        if *value < before {
            lost += before;
        }
        before = *value;
    }
    lost
}

/// The value at a time between two samples, on the line between them. A counter that was reset in between is taken to
/// have begun at zero at the first of them.
pub(crate) fn interpolate(before: (TimeMs, f64), after: (TimeMs, f64), at_ms: TimeMs, kind: Kind) -> f64 {
    let from = if kind == Kind::Counter && after.1 < before.1 { 0.0 } else { before.1 };
    let passed = at_ms.saturating_sub(before.0) as f64;
    from + (after.1 - from) * passed / after.0.saturating_sub(before.0) as f64
}

/// The step between the last two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    /// By how much the value moved; after a counter's reset what it counted since.
    pub(super) moved: f64,
    /// Time between the two, positive.
    pub(super) apart_ms: i64,
}

/// The step between the last two numbers, of whose starts there may be none; `None` with fewer numbers.
pub(super) fn step(t_ms: &[TimeMs], values: &[f64], starts: &[TimeMs], kind: Kind) -> Option<Step> {
    let ([.., before_ms, last_ms], [.., before, last]) = (t_ms, values) else { return None };
    let was_reset = kind == Kind::Counter && (last < before || last_is_reset(t_ms, starts));
    let moved = if was_reset { *last } else { last - before };
    Some(Step { moved, apart_ms: last_ms.saturating_sub(*before_ms) })
}

/// Returns true when a counter was reset between the last two samples, as their starts say.
pub(super) fn last_is_reset(t_ms: &[TimeMs], starts: &[TimeMs]) -> bool {
    let ([.., before_ms, last_ms], [.., before, last]) = (t_ms, starts) else { return false };
    Began { t_ms: *before_ms, start_ms: *before }.is_reset_since(Began { t_ms: *last_ms, start_ms: *last })
}

/// Which samples an extended window begins and ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// The last sample at or before the left end, or the first of all.
    pub(super) first: usize,
    /// The last sample of all; smoothed: the first at or after the right end.
    pub(super) last: usize,
    /// The left end lies between `first` and the next sample.
    pub(super) interpolates_left: bool,
    /// The right end lies between `last` and the sample before.
    pub(super) interpolates_right: bool,
}

impl Reach {
    /// Finds both; `None` when no sample lies in the window, or, smoothed, all lie on one side of it.
    pub(super) fn of(t_ms: &[TimeMs], start_ms: TimeMs, end_ms: TimeMs, extend: Extend) -> Option<Self> {
        let all_but_last = t_ms.split_last()?.1;
        let first = all_but_last.partition_point(|at| *at <= start_ms).saturating_sub(1);
        let smoothed = extend == Extend::Smoothed;
        let last = if smoothed { all_but_last.partition_point(|at| *at < end_ms) } else { all_but_last.len() };
        let (first_ms, last_ms) = (*t_ms.get(first)?, *t_ms.get(last)?);
        if last_ms <= start_ms || smoothed && first_ms > end_ms {
            return None;
        }
        let interpolates_left = smoothed && first_ms < start_ms;
        let interpolates_right = smoothed && last > 0 && last_ms > end_ms;
        Some(Self { first, last, interpolates_left, interpolates_right })
    }

    /// The samples strictly between the ends.
    fn inside(self, start_ms: TimeMs, end_ms: TimeMs, first_ms: TimeMs, last_ms: TimeMs) -> std::ops::Range<usize> {
        let from = if first_ms <= start_ms { self.first + 1 } else { self.first };
        let to = if last_ms >= end_ms { self.last } else { self.last + 1 };
        from..to.max(from)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these calculations are exact")]
mod tests {
    use super::*;
    use crate::ast::Extend::{self, Anchored, Smoothed};

    fn window<'a>(start_ms: TimeMs, end_ms: TimeMs, t_ms: &'a [TimeMs], values: &'a [f64]) -> FloatWindow<'a> {
        FloatWindow { start_ms, end_ms, t_ms, values, starts: &[] }
    }

    #[test]
    fn a_counter_is_extrapolated_to_the_ends() {
        let of = |t_ms: &[TimeMs], values: &[f64], kind| increase(window(0, 60_000, t_ms, values), kind, 1.0);
        let t_ms = [15_000, 30_000, 45_000, 60_000];
        assert_eq!(of(&t_ms, &[100.0, 110.0, 120.0, 130.0], Kind::Counter), Some(40.0));
        assert_eq!(of(&t_ms, &[130.0, 120.0, 110.0, 100.0], Kind::Gauge), Some(-40.0));
        let per_second = increase(window(0, 60_000, &t_ms, &[100.0, 110.0, 120.0, 130.0]), Kind::Counter, 60.0);
        assert!(per_second.is_some_and(|rate| (rate - 40.0 / 60.0).abs() < 1e-15));
        assert_eq!(of(&[15_000], &[1.0], Kind::Counter), None);
        assert_eq!(of(&[], &[], Kind::Gauge), None);
    }

    #[test]
    fn what_resets_took_is_added_also_at_both_edges() {
        let of = |values: &[f64]| {
            let t_ms: Vec<_> = (1..=values.len() as i64).map(|i| i * 10_000).collect();
            increase(window(10_000, t_ms[t_ms.len() - 1], &t_ms, values), Kind::Counter, 1.0)
        };
        assert_eq!(of(&[5.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(of(&[5.0, 6.0, 2.0]), Some(3.0));
        assert_eq!(of(&[5.0, 4.0, 3.0, 2.0]), Some(9.0));
        assert!(of(&[1.0, f64::NAN, 3.0]).is_some_and(|increase| increase == 2.0));
        assert!(of(&[1.0, 2.0, f64::NAN]).is_some_and(f64::is_nan));
        assert_eq!(of(&[1.0, f64::INFINITY, 3.0]), Some(f64::INFINITY));
    }

    #[test]
    fn a_counter_that_began_in_the_window_is_not_carried_back() {
        let of = |t_ms: &[TimeMs], values: &[f64], starts: &[TimeMs]| {
            increase(FloatWindow { starts, ..window(0, 60_000, t_ms, values) }, Kind::Counter, 1.0)
        };
        assert_eq!(of(&[40_000, 50_000, 60_000], &[5.0, 6.0, 7.0], &[30_000; 3]), Some(7.0));
        // A single sample is enough, and nothing is added behind it.
        assert_eq!(of(&[40_000], &[5.0], &[30_000]), Some(5.0));
        assert_eq!(of(&[40_000], &[5.0], &[-1]), None);
        // Behind two samples it goes on: 7 in 20 s, and 10 s more.
        assert_eq!(of(&[40_000, 50_000], &[5.0, 7.0], &[30_000; 2]), Some(10.5));
        // A reset that values do not show, and deltas.
        assert_eq!(of(&[20_000, 40_000, 60_000], &[5.0, 6.0, 7.0], &[-9, -9, 50_000]), Some(12.0));
        assert_eq!(of(&[20_000, 40_000, 60_000], &[5.0, 6.0, 7.0], &[1, 20_000, 40_000]), Some(18.0));
    }

    #[test]
    fn the_last_step_counts_from_zero_after_a_reset() {
        let step = |moved, apart_ms| Some(Step { moved, apart_ms });
        assert_eq!(super::step(&[0, 10, 30], &[1.0, 2.0, 5.0], &[], Kind::Counter), step(3.0, 20));
        assert_eq!(super::step(&[0, 10, 30], &[1.0, 5.0, 2.0], &[], Kind::Counter), step(2.0, 20));
        assert_eq!(super::step(&[0, 10, 30], &[1.0, 5.0, 2.0], &[], Kind::Gauge), step(-3.0, 20));
        assert_eq!(super::step(&[0], &[1.0], &[], Kind::Gauge), None);
        assert_eq!(super::step(&[0, 10, 30], &[1.0, 2.0, 5.0], &[-5, -5, 20], Kind::Counter), step(5.0, 20));
        assert_eq!(super::step(&[0, 10, 30], &[1.0, 2.0, 5.0], &[-5, -5, 20], Kind::Gauge), step(3.0, 20));
    }

    const T_MS: [TimeMs; 4] = [0, 60_000, 120_000, 180_000];

    fn extended(start_ms: TimeMs, end_ms: TimeMs, values: &[f64], kind: Kind, extend: Extend) -> Option<f64> {
        extended_increase(window(start_ms, end_ms, &T_MS[..values.len()], values), kind, extend)
    }

    #[test]
    fn anchored_begins_at_the_sample_before_the_window() {
        assert_eq!(extended(90_000, 150_000, &[1.0, 2.0, 3.0], Kind::Gauge, Anchored), Some(1.0));
        // With nothing before it, it begins at the first sample.
        assert_eq!(extended(-60_000, 90_000, &[1.0, 2.0], Kind::Gauge, Anchored), Some(1.0));
        assert_eq!(extended(-60_000, 30_000, &[1.0], Kind::Gauge, Anchored), Some(0.0));
        // The window is open on the left, and something must lie in it.
        assert_eq!(extended(60_000, 90_000, &[1.0, 2.0], Kind::Gauge, Anchored), None);
        assert_eq!(extended(0, 90_000, &[5.0, 3.0], Kind::Counter, Anchored), Some(3.0));
        assert_eq!(extended(-1, 180_000, &[5.0, 10.0, 3.0, 4.0], Kind::Counter, Anchored), Some(9.0));
    }

    #[test]
    fn smoothed_interpolates_at_both_ends() {
        assert_eq!(extended(30_000, 90_000, &[0.0, 6.0, 12.0, 18.0], Kind::Gauge, Smoothed), Some(6.0));
        // Both ends between the same two samples.
        assert_eq!(extended(15_000, 45_000, &[0.0, 60.0], Kind::Counter, Smoothed), Some(30.0));
        // Nothing before the left end: it begins at the first sample, nothing behind the right end: it ends at the last.
        assert_eq!(extended(-30_000, 30_000, &[10.0, 20.0], Kind::Gauge, Smoothed), Some(5.0));
        assert_eq!(extended(30_000, 90_000, &[10.0, 20.0], Kind::Gauge, Smoothed), Some(5.0));
        assert_eq!(extended(60_000, 90_000, &[1.0, 2.0], Kind::Gauge, Smoothed), None);
        assert_eq!(extended(-60_000, -30_000, &[1.0, 2.0], Kind::Gauge, Smoothed), None);
    }

    #[test]
    fn smoothed_counters_begin_again_at_zero_after_a_reset() {
        // 100 at 0, 10 at 60 s: at 30 s it is taken to be 5.
        assert_eq!(interpolate((0, 100.0), (60_000, 10.0), 30_000, Kind::Counter), 5.0);
        assert_eq!(interpolate((0, 100.0), (60_000, 10.0), 30_000, Kind::Gauge), 55.0);
        assert_eq!(extended(30_000, 60_000, &[100.0, 10.0], Kind::Counter, Smoothed), Some(5.0));
        // Left 7.5, inside 10, right 1.5: 10 were lost.
        assert_eq!(extended(30_000, 90_000, &[5.0, 10.0, 3.0], Kind::Counter, Smoothed), Some(4.0));
    }
}

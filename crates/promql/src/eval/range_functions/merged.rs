//! The samples of a window in order of time, whichever kind they are of.

use homeostat_model::{Histogram, TimeMs};

use super::starts::Began;

use crate::{ast::Extend, eval::window::Window};

/// A sample of either kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Either<'a> {
    /// A number.
    Float(f64),
    /// A histogram.
    Histogram(&'a Histogram),
}

/// The samples of a window in order of time; of an anchored one from the last sample at or before its left end on.
/// `None` when nothing lies in an anchored window.
pub(super) fn from_anchor<'a>(window: &Window<'a>) -> Option<Window<'a>> {
    if window.extend != Extend::Anchored {
        return Some(*window);
    }
    let before_start = |t_ms: &[TimeMs]| t_ms.partition_point(|at| *at <= window.start_ms);
    let (floats, histograms) = (before_start(window.floats_t), before_start(window.histograms_t));
    if floats == window.floats_t.len() && histograms == window.histograms_t.len() {
        return None;
    }
    let last_before = |t_ms: &[TimeMs], count: usize| count.checked_sub(1).and_then(|last| t_ms.get(last).copied());
    let float_ms = last_before(window.floats_t, floats);
    let histogram_ms = last_before(window.histograms_t, histograms);
    // Only the later of the two is the anchor; without any, both are `None`.
    let floats = floats - usize::from(float_ms.is_some() && histogram_ms <= float_ms);
    let histograms = histograms - usize::from(histogram_ms.is_some() && float_ms < histogram_ms);
    Some(Window {
        floats_t: window.floats_t.get(floats..)?,
        floats: window.floats.get(floats..)?,
        float_starts: window.float_starts.get(floats..).unwrap_or_default(),
        histograms_t: window.histograms_t.get(histograms..)?,
        histograms: window.histograms.get(histograms..)?,
        histogram_starts: window.histogram_starts.get(histograms..).unwrap_or_default(),
        ..*window
    })
}

/// All samples of a window in order of time, each with its time and since when it counts.
pub(super) fn in_order<'a>(window: &Window<'a>) -> impl Iterator<Item = (Began, Either<'a>)> {
    let floats = Began::all(window.floats_t, window.float_starts).zip(window.floats);
    let histograms = Began::all(window.histograms_t, window.histogram_starts).zip(window.histograms);
    let (mut floats, mut histograms) = (floats.peekable(), histograms.peekable());
    std::iter::from_fn(move || {
        let float_is_next = match (floats.peek(), histograms.peek()) {
            (Some((float, _)), Some((histogram, _))) => float.t_ms < histogram.t_ms,
            (float, _) => float.is_some(),
        };
        if float_is_next {
            floats.next().map(|(began, value)| (began, Either::Float(*value)))
        } else {
            histograms.next().map(|(began, histogram)| (began, Either::Histogram(histogram)))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::eval::range_functions::test_windows::window;

    fn shown(window: &Window<'_>) -> String {
        in_order(window)
            .map(|(_, sample)| match sample {
                Either::Float(value) => format!("{value} "),
                Either::Histogram(histogram) => format!("h{} ", histogram.count),
            })
            .collect()
    }

    #[test]
    fn kinds_are_merged_and_cut_at_the_anchor() {
        let histogram = |count| Arc::new(Histogram { count, ..Histogram::default() });
        let (floats_t, floats) = ([1, 4, 5, 8], [1.0, 4.0, 5.0, 8.0]);
        let (histograms_t, histograms) = ([2, 3, 7], [histogram(2.0), histogram(3.0), histogram(7.0)]);
        let plain = Window {
            floats_t: &floats_t,
            floats: &floats,
            histograms_t: &histograms_t,
            histograms: &histograms,
            ..window(0, 8)
        };
        assert_eq!(shown(&plain), "1 h2 h3 4 5 h7 8 ");
        let anchored = |start_ms| {
            let window = Window { start_ms, extend: Extend::Anchored, ..plain };
            from_anchor(&window).map(|window| shown(&window))
        };
        assert_eq!(anchored(0).as_deref(), Some("1 h2 h3 4 5 h7 8 "));
        assert_eq!(anchored(1).as_deref(), Some("1 h2 h3 4 5 h7 8 "));
        assert_eq!(anchored(3).as_deref(), Some("h3 4 5 h7 8 "));
        assert_eq!(anchored(6).as_deref(), Some("5 h7 8 "));
        assert_eq!(anchored(7).as_deref(), Some("h7 8 "));
        assert_eq!(anchored(8), None);
    }
}

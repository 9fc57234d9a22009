//! The value of a `smoothed` instant selector: on the line between the samples around an instant.
//!
//! Before the first sample there is nothing, behind the last one its value stays. Numbers are taken to be gauges, since
//! nothing says otherwise; histograms say themselves whether they are.

use std::sync::Arc;

use homeostat_model::{SampleValue, TimeMs};

use super::{
    findings::{Findings, is_gauge},
    histogram_rate, notes,
    rate::{self, Kind},
};
use crate::{
    eval::window::{Place, Window},
    note::Notes,
};

/// The value at `window.end_ms`, of samples within the lookback before and behind it. `None` when nothing lies at or
/// before it, and, with a warning, when numbers and histograms are among the samples or histograms without a common
/// layout next to it. Notes are about the first argument of `place`, which is the selector.
pub fn value_at_end(window: &Window<'_>, place: &Place<'_>, notes: &mut Notes) -> Option<SampleValue> {
    match (window.floats.is_empty(), window.histograms.is_empty()) {
        (false, true) => float(window),
        (true, false) => histogram(window, place, notes),
        (false, false) => {
            notes::mixed_kinds(place, notes);
            None
        }
        (true, true) => None,
    }
}

/// A sample of a column.
type At<'a, T> = (TimeMs, &'a T);

/// The last sample at or before an instant, and the one behind it unless the first is exactly there.
fn around<'a, T>(t_ms: &[TimeMs], values: &'a [T], at_ms: TimeMs) -> Option<(At<'a, T>, Option<At<'a, T>>)> {
    let next = t_ms.partition_point(|at| *at <= at_ms);
    let sample = |index: usize| Some((*t_ms.get(index)?, values.get(index)?));
    let before = sample(next.checked_sub(1)?)?;
    Some((before, if before.0 == at_ms { None } else { sample(next) }))
}

fn float(window: &Window<'_>) -> Option<SampleValue> {
    let (before, after) = around(window.floats_t, window.floats, window.end_ms)?;
    Some(SampleValue::Float(match after {
        Some(after) => rate::interpolate((before.0, *before.1), (after.0, *after.1), window.end_ms, Kind::Gauge),
        None => *before.1,
    }))
}

fn histogram(window: &Window<'_>, place: &Place<'_>, notes: &mut Notes) -> Option<SampleValue> {
    let ((before_ms, before), after) = around(window.histograms_t, window.histograms, window.end_ms)?;
    let Some((after_ms, after)) = after else { return Some(SampleValue::Histogram(Arc::clone(before))) };
    let mut findings = Findings::default();
    let kind = if is_gauge(before) || is_gauge(after) { Kind::Gauge } else { Kind::Counter };
    let result = findings.same_schemas(before, after).and_then(|()| {
        histogram_rate::interpolate((before_ms, before), (after_ms, after), window.end_ms, kind, &mut findings)
    });
    findings.tell(place, notes);
    result.map(|histogram| SampleValue::Histogram(Arc::new(histogram)))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::test_windows::{Columns, answer_of};
    use super::*;
    use crate::ast::Extend;

    fn check(samples: &str, instants_s: &[f64], expected: Expect) {
        let columns = Columns::parse(samples);
        let at = |at_s: &f64| {
            let window = columns.window(*at_s, *at_s, Extend::Smoothed);
            let answer = answer_of(|place, notes| value_at_end(&window, place, notes));
            format!("{at_s}: {}", answer.show())
        };
        expected.assert_eq(&instants_s.iter().map(at).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn numbers_lie_on_lines_between_samples() {
        check(
            "10=1 20=5 40=1",
            &[9.0, 10.0, 12.5, 20.0, 35.0, 60.0],
            expect![[r"
                9: nothing
                10: 1
                12.5: 2
                20: 5
                35: 2
                60: 1"]],
        );
    }

    #[test]
    fn histograms_count_from_zero_after_a_reset() {
        check(
            "10=h1 20=h5 40=h4",
            &[9.0, 10.0, 12.5, 35.0, 60.0],
            expect![[r"
                9: nothing
                10: count 1 sum 1 [0]=1
                12.5: count 2 sum 2 [0]=2
                35: count 3 sum 3 [0]=3
                60: count 4 sum 4 [0]=4"]],
        );
        check("20=h5g 40=h1g", &[35.0], expect!["35: count 2 sum 2 [0]=2 Gauge"]);
    }

    #[test]
    fn kinds_that_do_not_fit_give_nothing() {
        check(
            "10=h1 20=c5 40=1",
            &[15.0],
            expect![[r#"
                15: nothing
                  warning: encountered a mix of histograms and floats for metric name "m""#]],
        );
        check(
            "10=h1 20=c5 30=c4",
            &[15.0, 25.0],
            expect![[r#"
                15: nothing
                  warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name "m"
                25: count 2 sum 2 [0]=2 bounds [1.0, 5.0, 10.0]"#]],
        );
    }
}

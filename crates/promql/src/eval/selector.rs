//! Instant selectors: at every step the newest sample within the lookback.
//!
//! Samples come run by run; what is needed of the past is one sample. Between two steps the place in a run is found by
//! growing jumps, so that a month at one-hour steps does not look at every sample of 15 seconds.
//!
//! Source: prometheus.io/docs/prometheus/latest/querying/basics, "Staleness"; the lookback is open at its left end.

use homeostat_model::{SampleRun, SampleValue, TimeMs, sample::start_at};

use super::{
    duration::Shifted,
    error::{EvalError, execution},
    evaluator::{Evaluator, LookedAt, Sink},
    series::{Series, braced},
    smoothed,
    spared::Runs,
    steps::Steps,
};
use crate::{
    ast::{ByteSpan, Extend, VectorSelector},
    matcher::Matcher,
    source::{SelectedSeries, Windows},
};

/// What of a sample becomes the value at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// Its value.
    Value,
    /// Its time in seconds.
    Seconds,
    /// Since when it counts, in seconds; 0 where it does not say.
    StartSeconds,
    /// The time of a number in milliseconds; a histogram is an error. For info metrics.
    InfoMillis,
}

/// Hands on the series of a selector.
pub(super) fn rows(
    ev: &Evaluator<'_>,
    selector: &VectorSelector,
    span: ByteSpan,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    if selector.extend == Extend::Smoothed {
        return smoothed::rows(ev, selector, span, sink);
    }
    let shift = ev.shifted(&selector.shift)?;
    taken(ev, &selector.matchers, shift, Take::Value, sink)
}

/// Hands on what is taken of the samples of a selector.
pub(super) fn taken(
    ev: &Evaluator<'_>,
    matchers: &[Matcher],
    shift: Shifted,
    take: Take,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let looked_at = References::new(ev, shift);
    let lookback_ms = ev.query.options.lookback_ms;
    let windows = Windows { first_ms: looked_at.first_ms, step_ms: looked_at.step_ms, width_ms: lookback_ms };
    let looks = LookedAt { windows, last_ms: looked_at.last_ms() };
    let mut series = Series::default();
    for selected in ev.select(matchers, looks)? {
        ev.check_cancelled()?;
        series.clear();
        series.drop_name = false;
        let SelectedSeries { labels, runs } = selected;
        series.labels = labels;
        pick(ev.runs(runs), &looked_at, lookback_ms, take, &mut series)?;
        if series.is_empty() {
            continue;
        }
        if take == Take::InfoMillis && series.has_histograms() {
            let labels = braced(&series.labels);
            return Err(execution(format!("this should be an info metric, with float samples: {labels}")));
        }
        if looked_at.stands_still() {
            series.repeat(ev.steps.count);
        }
        sink(&mut series)?;
    }
    Ok(())
}

/// The instants that are looked at, in the order of the steps. With `@` it is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct References {
    pub(super) first_ms: TimeMs,
    pub(super) step_ms: i64,
    pub(super) count: usize,
    steps: usize,
}

impl References {
    pub(super) fn new(ev: &Evaluator<'_>, shift: Shifted) -> Self {
        let Steps { start_ms, step_ms, count } = ev.steps;
        let looks = if shift.at_ms.is_some() { count.min(1) } else { count };
        Self { first_ms: shift.reference(start_ms), step_ms, count: looks, steps: count }
    }

    pub(super) fn time(&self, index: usize) -> TimeMs {
        self.first_ms.saturating_add((index as i64).saturating_mul(self.step_ms))
    }

    pub(super) fn last_ms(&self) -> TimeMs {
        self.time(self.count.saturating_sub(1))
    }

    /// Returns true when one look serves several steps.
    pub(super) fn stands_still(&self) -> bool {
        self.count < self.steps
    }
}

/// Fills a series with what is found at each reference.
fn pick(
    runs: Runs<'_>,
    looked_at: &References,
    lookback_ms: i64,
    take: Take,
    series: &mut Series,
) -> Result<(), EvalError> {
    let mut last: Option<Picked> = None;
    let mut step = 0;
    let mut settle = |picked: &Picked, step: usize, looked_ms: TimeMs| {
        if looked_ms.saturating_sub(picked.t_ms) < lookback_ms && !picked.value.is_stale() {
            put(series, step, take, picked);
        }
    };
    for run in runs {
        let run = run?;
        let times = run.times();
        let mut from = 0;
        while step < looked_at.count {
            let looked_ms = looked_at.time(step);
            let until = from + gallop(times.get(from..).unwrap_or_default(), looked_ms);
            if until == times.len() {
                break; // The next run may hold a newer one.
            }
            match until.checked_sub(1) {
                Some(at) => {
                    if let Some(picked) = sample(&run, at) {
                        settle(&picked, step, looked_ms);
                    }
                }
                None => {
                    if let Some(picked) = &last {
                        settle(picked, step, looked_ms);
                    }
                }
            }
            from = until;
            step += 1;
        }
        last = sample(&run, times.len().saturating_sub(1)).or(last);
    }
    let Some(picked) = last else { return Ok(()) };
    while step < looked_at.count && looked_at.time(step).saturating_sub(picked.t_ms) < lookback_ms {
        settle(&picked, step, looked_at.time(step));
        step += 1;
    }
    Ok(())
}

/// A sample that was found.
struct Picked {
    t_ms: TimeMs,
    start_ms: TimeMs,
    value: SampleValue,
}

fn put(series: &mut Series, step: usize, take: Take, picked: &Picked) {
    let Picked { t_ms, start_ms, value } = picked;
    match take {
        Take::Value => series.push(step, value.clone()),
        Take::Seconds => series.push_float(step, *t_ms as f64 / 1000.0),
        Take::StartSeconds => series.push_float(step, *start_ms as f64 / 1000.0),
        Take::InfoMillis => match value {
            SampleValue::Float(_) => series.push_float(step, *t_ms as f64),
            SampleValue::Histogram(_) => series.push(step, value.clone()),
        },
    }
}

fn sample(run: &SampleRun, at: usize) -> Option<Picked> {
    let value = match run {
        SampleRun::Floats { values, .. } => SampleValue::Float(*values.get(at)?),
        SampleRun::Histograms { values, .. } => SampleValue::Histogram(std::sync::Arc::clone(values.get(at)?)),
    };
    Some(Picked { t_ms: *run.times().get(at)?, start_ms: start_at(run.starts(), at), value })
}

/// How many times are looked at one by one before jumping: from one step to the next there are seldom more.
const NEAR: usize = 8;

/// How many of the ascending times are at or before an instant. Looks near the beginning first.
#[inline]
pub(super) fn gallop(times: &[TimeMs], until_ms: TimeMs) -> usize {
    let near = times.iter().take(NEAR).take_while(|t_ms| **t_ms <= until_ms).count();
    if near < NEAR {
        return near;
    }
    let mut jump = 2 * NEAR;
    while times.get(jump - 1).is_some_and(|t_ms| *t_ms <= until_ms) {
        jump *= 2;
    }
    let near = times.get(jump / 2..times.len().min(jump)).unwrap_or_default();
    jump / 2 + near.partition_point(|t_ms| *t_ms <= until_ms)
}

#[cfg(test)]
mod tests {
    use super::gallop;

    #[test]
    fn jumps_find_what_a_search_finds() {
        let times: Vec<i64> = (0..100).map(|i| i * 3).collect();
        for from in [0, 1, 50, 99, 100] {
            let rest = &times[from..];
            for until in -1..305 {
                assert_eq!(gallop(rest, until), rest.partition_point(|t| *t <= until), "{from} {until}");
            }
        }
    }
}

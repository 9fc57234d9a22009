//! Series in memory, as scripts load them.

use std::collections::BTreeMap;

use homeostat_model::{Labels, SampleRun, SampleValue, TimeMs, sample::START_UNKNOWN};
use homeostat_promql::{Matcher, Select, SelectedSeries, SeriesSource, SourceError, Windows};

/// Samples in a run; small, so that scripts meet the borders of runs.
const RUN_LEN: usize = 7;

/// A value, and since when it counts.
#[derive(Clone, Debug)]
pub(crate) struct Since(SampleValue, TimeMs);

impl From<SampleValue> for Since {
    fn from(value: SampleValue) -> Self {
        Self(value, START_UNKNOWN)
    }
}

impl From<(SampleValue, Option<TimeMs>)> for Since {
    fn from((value, start_ms): (SampleValue, Option<TimeMs>)) -> Self {
        Self(value, start_ms.unwrap_or(START_UNKNOWN))
    }
}

/// Series by their labels.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    series: BTreeMap<Labels, BTreeMap<TimeMs, Since>>,
}

impl Memory {
    pub(crate) fn add(&mut self, labels: &Labels, t_ms: TimeMs, value: impl Into<Since>) {
        self.series.entry(labels.clone()).or_default().insert(t_ms, value.into());
    }
}

/// Leaves out what it may, run by run.
fn within(windows: &Windows, run: &SampleRun) -> bool {
    let times = run.times();
    times.first().zip(times.last()).is_some_and(|(first, last)| windows.reach(*first, *last))
}

impl SeriesSource for Memory {
    fn select_windows<'a>(
        &'a self,
        select: &Select<'_>,
        windows: &Windows,
    ) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        let windows = *windows;
        let mut all = self.select(select)?;
        for series in &mut all {
            let runs = std::mem::replace(&mut series.runs, Box::new(std::iter::empty()));
            series.runs = Box::new(runs.filter(move |run| run.as_ref().map_or(true, |run| within(&windows, run))));
        }
        Ok(all)
    }

    fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        let meets = |labels: &Labels| {
            select.matchers.iter().all(|matcher: &Matcher| matcher.matches(labels.value(&matcher.name)))
        };
        let mut all = Vec::new();
        for (labels, samples) in self.series.iter().filter(|(labels, _)| meets(labels)) {
            let inside = samples.range(select.start_ms..=select.end_ms.max(select.start_ms));
            let runs = runs(inside.map(|(t_ms, value)| (*t_ms, value.clone())));
            all.push(SelectedSeries { labels: labels.clone(), runs: Box::new(runs.into_iter().map(Ok)) });
        }
        Ok(all)
    }
}

fn runs(samples: impl Iterator<Item = (TimeMs, Since)>) -> Vec<SampleRun> {
    let mut runs: Vec<SampleRun> = Vec::new();
    for (t, Since(value, start)) in samples {
        let full = runs.last().is_none_or(|run| RUN_LEN <= run.len());
        let fits = match (runs.last(), &value) {
            (Some(SampleRun::Floats { .. }), SampleValue::Float(_))
            | (Some(SampleRun::Histograms { .. }), SampleValue::Histogram(_)) => !full,
            _ => false,
        };
        if !fits {
            runs.push(match value {
                SampleValue::Float(_) => SampleRun::floats(Vec::new(), Vec::new()),
                SampleValue::Histogram(_) => SampleRun::histograms(Vec::new(), Vec::new()),
            });
        }
        let (t_ms, starts) = match (runs.last_mut(), value) {
            (Some(SampleRun::Floats { t_ms, values, starts }), SampleValue::Float(value)) => {
                values.push(value);
                (t_ms, starts)
            }
            (Some(SampleRun::Histograms { t_ms, values, starts }), SampleValue::Histogram(value)) => {
                values.push(value);
                (t_ms, starts)
            }
            _ => unreachable!("a run of this kind was just begun"),
        };
        if start != START_UNKNOWN || !starts.is_empty() {
            starts.resize(t_ms.len(), START_UNKNOWN);
            starts.push(start);
        }
        t_ms.push(t);
    }
    runs
}

//! Series in memory, as scripts load them.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use homeostat_model::{Labels, SampleRun, SampleValue, TimeMs};
use homeostat_promql::{Matcher, Select, SelectedSeries, SeriesSource, SourceError, Windows};

/// Samples in a run; small, so that scripts meet the borders of runs.
const RUN_LEN: usize = 7;

/// Series by their labels.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    series: BTreeMap<Labels, BTreeMap<TimeMs, SampleValue>>,
    /// Series that are not what the script loads, because samples here do not say when their counters began.
    pub(crate) unfaithful: BTreeSet<Labels>,
    /// Whether one of them was read.
    pub(crate) touched: Cell<bool>,
}

impl Memory {
    pub(crate) fn add(&mut self, labels: &Labels, t_ms: TimeMs, value: SampleValue) {
        self.series.entry(labels.clone()).or_default().insert(t_ms, value);
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
            if self.unfaithful.contains(labels) {
                self.touched.set(true);
            }
            let inside = samples.range(select.start_ms..=select.end_ms.max(select.start_ms));
            let runs = runs(inside.map(|(t_ms, value)| (*t_ms, value.clone())));
            all.push(SelectedSeries { labels: labels.clone(), runs: Box::new(runs.into_iter().map(Ok)) });
        }
        Ok(all)
    }
}

fn runs(samples: impl Iterator<Item = (TimeMs, SampleValue)>) -> Vec<SampleRun> {
    let mut runs: Vec<SampleRun> = Vec::new();
    for (t, value) in samples {
        match (runs.last_mut(), value) {
            (Some(SampleRun::Floats { t_ms, values }), SampleValue::Float(value)) if t_ms.len() < RUN_LEN => {
                t_ms.push(t);
                values.push(value);
            }
            (Some(SampleRun::Histograms { t_ms, values }), SampleValue::Histogram(value)) if t_ms.len() < RUN_LEN => {
                t_ms.push(t);
                values.push(value);
            }
            (_, SampleValue::Float(value)) => runs.push(SampleRun::Floats { t_ms: vec![t], values: vec![value] }),
            (_, SampleValue::Histogram(value)) => {
                runs.push(SampleRun::Histograms { t_ms: vec![t], values: vec![value] });
            }
        }
    }
    runs
}

//! A small store in memory.

use std::collections::BTreeMap;

use homeostat_model::{Labels, SampleRun, TimeMs};
use homeostat_promql::{Select, SelectedSeries, SeriesSource, SourceError};

/// Numbers by series and time.
#[derive(Default)]
pub(crate) struct Store(pub(crate) BTreeMap<Labels, BTreeMap<TimeMs, f64>>);

impl Store {
    pub(crate) fn add(&mut self, labels: &Labels, t_ms: TimeMs, value: f64) {
        self.0.entry(labels.clone()).or_default().insert(t_ms, value);
    }
}

impl SeriesSource for Store {
    fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        let asked = |name: &str| select.matchers.iter().any(|m| &*m.name == "__name__" && m.matches(name));
        if asked("ALERTS_FOR_STATE") && self.0.contains_key(&Labels::new([("__name__", "broken")])) {
            return Err(SourceError::Storage("the disk is broken".into()));
        }
        let meets =
            |labels: &Labels| select.matchers.iter().all(|matcher| matcher.matches(labels.value(&matcher.name)));
        let chosen = self.0.iter().filter(|(labels, _)| meets(labels));
        let series = chosen.map(|(labels, samples)| {
            let (t_ms, values) = samples.range(select.start_ms..=select.end_ms).map(|(t, value)| (*t, *value)).unzip();
            let run: (Vec<TimeMs>, Vec<f64>) = (t_ms, values);
            let runs = (!run.0.is_empty()).then(|| Ok(SampleRun::floats(run.0, run.1)));
            SelectedSeries { labels: labels.clone(), runs: Box::new(runs.into_iter()) }
        });
        Ok(series.collect())
    }
}

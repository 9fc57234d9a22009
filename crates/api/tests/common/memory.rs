//! A few series in memory, behind the door of the Prometheus API.

use std::{collections::BTreeSet, sync::Mutex};

use homeostat_api::prometheus::backend::{
    Exemplar, ExemplarSeries, IndexStats, MetricMetadata, Reloading, Selection, SeriesBackend, Stop,
};
use homeostat_model::{Labels, MetricKind, SampleRun, TimeMs};
use homeostat_promql::{Matcher, Select, SelectedSeries, SeriesSource, SourceError};

/// What is to go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// Reads until it is told to stop.
    Endless,
    /// Cannot read.
    Broken,
    /// Gives up at its own limit.
    Limit,
}

/// Series with their samples, sorted by labels.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) series: Vec<(Labels, Vec<SampleRun>)>,
    pub(crate) exemplars: Vec<ExemplarSeries>,
    pub(crate) not_ready: Option<String>,
    pub(crate) trouble: Trouble,
    /// How the endless reader ended.
    pub(crate) stopped: Mutex<Option<std::time::Duration>>,
}

impl Memory {
    pub(crate) fn floats(mut self, labels: &[(&str, &str)], samples: &[(TimeMs, f64)]) -> Self {
        let (t_ms, values) = samples.iter().copied().unzip();
        self.series.push((Labels::new(labels.iter().copied()), vec![SampleRun::floats(t_ms, values)]));
        self.series.sort_by(|a, b| a.0.cmp(&b.0));
        self
    }

    pub(crate) fn run(mut self, labels: &[(&str, &str)], run: SampleRun) -> Self {
        self.series.push((Labels::new(labels.iter().copied()), vec![run]));
        self.series.sort_by(|a, b| a.0.cmp(&b.0));
        self
    }

    fn trouble(&self, stop: &Stop) -> Result<(), SourceError> {
        match self.trouble {
            Trouble::None => Ok(()),
            Trouble::Endless => {
                let began = std::time::Instant::now();
                while !stop.reached() {
                    std::thread::yield_now();
                }
                *self.stopped.lock().unwrap() = Some(began.elapsed());
                Err(SourceError::Cancelled)
            }
            Trouble::Broken => Err(SourceError::Storage("block 7 is damaged".into())),
            Trouble::Limit => Err(SourceError::Limit { what: "series", limit: 5 }),
        }
    }

    fn meant<'a>(&'a self, selection: &'a Selection<'_>) -> impl Iterator<Item = &'a Labels> {
        let meets =
            |labels: &Labels, set: &[Matcher]| set.iter().all(|matcher| matcher.matches(labels.value(&matcher.name)));
        self.series.iter().filter_map(move |(labels, runs)| {
            let chosen = selection.selectors.is_empty() || selection.selectors.iter().any(|set| meets(labels, set));
            let range = selection.start_ms..=selection.end_ms;
            let present = runs.iter().flat_map(SampleRun::times).any(|t_ms| range.contains(t_ms));
            (chosen && present).then_some(labels)
        })
    }
}

struct Source<'a> {
    memory: &'a Memory,
    stop: &'a Stop,
}

impl SeriesSource for Source<'_> {
    fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        self.memory.trouble(self.stop)?;
        let (start_ms, end_ms) = (select.start_ms, select.end_ms);
        let meets =
            |labels: &Labels| select.matchers.iter().all(|matcher| matcher.matches(labels.value(&matcher.name)));
        let chosen = self.memory.series.iter().filter(|(labels, _)| meets(labels));
        let open = |(labels, runs): &'a (Labels, Vec<SampleRun>)| {
            let runs = runs.iter().map(move |run| Ok(cut(run, start_ms, end_ms)));
            let runs = runs.filter(|run| run.as_ref().is_ok_and(|run: &SampleRun| !run.is_empty()));
            SelectedSeries { labels: labels.clone(), runs: Box::new(runs) }
        };
        Ok(chosen.map(open).collect())
    }
}

fn cut(run: &SampleRun, start_ms: TimeMs, end_ms: TimeMs) -> SampleRun {
    let within = |t_ms: &TimeMs| (start_ms..=end_ms).contains(t_ms);
    match run {
        SampleRun::Floats { t_ms, values, .. } => {
            let (t_ms, values) = t_ms.iter().zip(values).filter(|(t, _)| within(t)).unzip();
            SampleRun::floats(t_ms, values)
        }
        SampleRun::Histograms { t_ms, values, .. } => {
            let kept = t_ms.iter().zip(values).filter(|(t, _)| within(t));
            let (t_ms, values) = kept.map(|(t, value)| (*t, value.clone())).unzip();
            SampleRun::histograms(t_ms, values)
        }
    }
}

impl SeriesBackend for Memory {
    fn source<'a>(&'a self, stop: &'a Stop) -> Box<dyn SeriesSource + Send + Sync + 'a> {
        Box::new(Source { memory: self, stop })
    }

    fn series(&self, selection: Selection<'_>) -> Result<Vec<Labels>, SourceError> {
        self.trouble(selection.stop)?;
        Ok(self.meant(&selection).take(selection.limit.unwrap_or(usize::MAX)).cloned().collect())
    }

    fn label_names(&self, selection: Selection<'_>) -> Result<Vec<String>, SourceError> {
        let names: BTreeSet<String> =
            self.meant(&selection).flat_map(|labels| labels.iter().map(|(name, _)| name.to_owned())).collect();
        Ok(names.into_iter().take(selection.limit.unwrap_or(usize::MAX)).collect())
    }

    fn label_values(&self, name: &str, selection: Selection<'_>) -> Result<Vec<String>, SourceError> {
        let values: BTreeSet<String> =
            self.meant(&selection).filter_map(|labels| labels.get(name).map(str::to_owned)).collect();
        Ok(values.into_iter().take(selection.limit.unwrap_or(usize::MAX)).collect())
    }

    fn exemplars(&self, selection: Selection<'_>) -> Result<Vec<ExemplarSeries>, SourceError> {
        let meant: Vec<&Labels> = self.meant(&selection).collect();
        Ok(self.exemplars.iter().filter(|series| meant.contains(&&series.labels)).cloned().collect())
    }

    fn metadata(&self, metric: Option<&str>, limit: Option<usize>) -> Result<Vec<MetricMetadata>, SourceError> {
        let all = [("go_goroutines", MetricKind::Gauge, "Goroutines that \"exist\"."), ("up", MetricKind::Unknown, "")];
        let chosen = all.into_iter().filter(|(name, _, _)| metric.is_none_or(|metric| metric == *name));
        let described = chosen.map(|(name, kind, help)| MetricMetadata {
            metric: name.to_owned(),
            kind,
            help: help.to_owned(),
            unit: String::new(),
        });
        Ok(described.take(limit.unwrap_or(usize::MAX)).collect())
    }

    fn index_stats(&self, limit: usize) -> Result<IndexStats, SourceError> {
        let by_metric = vec![("up".to_owned(), 2), ("x".to_owned(), 1)];
        let series_by_metric = by_metric.into_iter().take(limit).collect();
        Ok(IndexStats { series: self.series.len() as u64, series_by_metric, ..IndexStats::default() })
    }

    fn not_ready(&self) -> Option<String> {
        self.not_ready.clone()
    }

    fn config(&self) -> String {
        "global: {}\n".to_owned()
    }

    fn reload(&self) -> Reloading {
        Box::pin(async { Err("1:1: unknown key".to_owned()) })
    }

    fn metrics(&self, out: &mut String) {
        out.push_str("# HELP memory_series Series in memory.\n# TYPE memory_series gauge\nmemory_series 1\n");
    }
}

/// An exemplar of a trace.
pub(crate) fn exemplar(trace: &str, value: f64, t_ms: TimeMs) -> Exemplar {
    Exemplar { labels: Labels::new([("trace_id", trace)]), value, t_ms }
}

//! The store as the Prometheus API sees it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use homeostat_api::prometheus::backend::{
    Exemplar, ExemplarSeries, IndexStats, MetricMetadata, Reloading, ScrapePool, Selection, SeriesBackend, Stop,
};
use homeostat_judge_rules::view::GroupView;
use homeostat_model::{Labels, TimeMs};
use homeostat_promql::{Matcher, Select, SelectedSeries, SeriesSource, SourceError, Windows, Workers};
use homeostat_sense_receive::{OtlpReceiver, Receiver};
use homeostat_sense_scrape::manager::Targets;
use homeostat_store_series::{LabelQuery, SeriesStore, Snapshot, TopEntry, UpkeepError};

use super::{
    crew::Crew,
    door::{Door, OPENING},
    governed::Governed,
    intake::StoreIntake,
    metrics,
    profiles::Profiles,
    reload::ReloadHandle,
    rules::{Board, Outlet},
    scraping,
};

/// Folder of snapshots within the data directory, as in Prometheus.
const SNAPSHOTS_DIR: &str = "snapshots";

/// Those who take samples in, for what they count.
#[derive(Debug)]
pub(super) struct Receivers {
    pub(super) remote_write: Arc<Receiver<StoreIntake>>,
    pub(super) otlp: Arc<OtlpReceiver<StoreIntake>>,
    pub(super) profiles: Arc<Profiles>,
    pub(super) governed: Option<Arc<Governed>>,
}

/// Answers from the store.
#[derive(Debug)]
pub(super) struct StoreBackend {
    door: Arc<Door>,
    receivers: Receivers,
    targets: Targets,
    reload: ReloadHandle,
    ruling: (Board, Outlet),
    crew: Crew,
    /// Where snapshots are put.
    snapshots: PathBuf,
}

impl StoreBackend {
    pub(super) fn new(
        door: Arc<Door>,
        receivers: Receivers,
        targets: Targets,
        reload: ReloadHandle,
        ruling: (Board, Outlet),
        crew: Crew,
        dir: &Path,
    ) -> Self {
        let snapshots = dir.join(SNAPSHOTS_DIR);
        Self { door, receivers, targets, reload, ruling, crew, snapshots }
    }

    /// Asks a snapshot of the store.
    fn ask<T>(
        &self,
        selection: Selection<'_>,
        ask: impl FnOnce(&Snapshot, &LabelQuery<'_>) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let store = self.door.readable()?;
        let sets: Vec<&[Matcher]> = selection.selectors.iter().map(Vec::as_slice).collect();
        let query = LabelQuery {
            sets: &sets,
            start_ms: selection.start_ms,
            end_ms: selection.end_ms,
            limit: selection.limit.unwrap_or(usize::MAX),
        };
        ask(&store.snapshot(), &query)
    }
}

impl SeriesBackend for StoreBackend {
    fn source<'a>(&'a self, stop: &'a Stop) -> Box<dyn SeriesSource + Send + Sync + 'a> {
        let snapshot = self.door.store().map(SeriesStore::snapshot);
        Box::new(Source { snapshot, stop, crew: &self.crew })
    }

    fn series(&self, selection: Selection<'_>) -> Result<Vec<Labels>, SourceError> {
        self.ask(selection, Snapshot::series)
    }

    fn label_names(&self, selection: Selection<'_>) -> Result<Vec<String>, SourceError> {
        self.ask(selection, Snapshot::label_names)
    }

    fn label_values(&self, name: &str, selection: Selection<'_>) -> Result<Vec<String>, SourceError> {
        self.ask(selection, |snapshot, query| snapshot.label_values(name, query))
    }

    fn exemplars(&self, selection: Selection<'_>) -> Result<Vec<ExemplarSeries>, SourceError> {
        self.ask(selection, |snapshot, query| {
            let found = snapshot.exemplars(query).into_iter().map(|series| ExemplarSeries {
                labels: series.labels,
                exemplars: series
                    .exemplars
                    .into_iter()
                    .map(|(labels, t_ms, value)| Exemplar { labels, value, t_ms })
                    .collect(),
            });
            Ok(found.collect())
        })
    }

    fn metadata(&self, metric: Option<&str>, limit: Option<usize>) -> Result<Vec<MetricMetadata>, SourceError> {
        let store = self.door.readable()?;
        let limit = limit.unwrap_or(usize::MAX);
        let found = match metric {
            Some(metric) => vec![(metric.to_owned(), store.metadata(metric))],
            None => store.all_metadata(limit),
        };
        let described = found.into_iter().filter_map(|(metric, mut said)| {
            let said = if said.is_empty() { return None } else { said.swap_remove(0) };
            Some(MetricMetadata { metric, kind: said.kind, help: said.help, unit: said.unit })
        });
        Ok(described.take(limit).collect())
    }

    fn index_stats(&self, limit: usize) -> Result<IndexStats, SourceError> {
        let store = self.door.readable()?;
        let stats = store.stats();
        let mut index = IndexStats {
            series: stats.head_series,
            end_ms: stats.newest_ms.unwrap_or(0),
            series_by_metric: pairs(store.top_values(homeostat_model::labels::METRIC_NAME, limit)),
            values_by_label: pairs(store.top_labels(limit)),
            ..IndexStats::default()
        };
        for name in store.top_labels(usize::MAX) {
            index.label_pairs += name.count;
            let values = store.top_values(&name.text, usize::MAX);
            let bytes = values.iter().map(|value| value.text.len() as u64).sum();
            index.bytes_by_label.push((name.text.clone(), bytes));
            let largest = values.into_iter().take(limit);
            index.series_by_pair.extend(largest.map(|value| (format!("{}={}", name.text, value.text), value.count)));
        }
        for list in [&mut index.bytes_by_label, &mut index.series_by_pair] {
            list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            list.truncate(limit);
        }
        Ok(index)
    }

    fn snapshot(&self) -> Result<String, SourceError> {
        let name = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.9fZ").to_string();
        let dir = self.snapshots.join(&name);
        std::fs::create_dir_all(&dir).map_err(|error| SourceError::Storage(error.into()))?;
        self.door.readable()?.snapshot_into(&dir).map_err(storage)?;
        Ok(name)
    }

    fn delete(&self, selectors: &[Vec<Matcher>], start_ms: TimeMs, end_ms: TimeMs) -> Result<(), SourceError> {
        let sets: Vec<&[Matcher]> = selectors.iter().map(Vec::as_slice).collect();
        self.door.readable()?.delete(&sets, start_ms, end_ms).map_err(storage)
    }

    fn compact(&self) -> Result<(), SourceError> {
        self.door.readable()?.compact_fully().map_err(storage)
    }

    fn scrape_pools(&self) -> Vec<ScrapePool> {
        scraping::pools(&self.targets)
    }

    fn config(&self) -> String {
        self.reload.shown()
    }

    fn reload(&self) -> Reloading {
        let reload = self.reload.clone();
        Box::pin(async move { reload.reload().await })
    }

    fn rule_groups(&self) -> Vec<Arc<GroupView>> {
        self.ruling.0.views()
    }

    fn alertmanagers(&self) -> Vec<String> {
        self.ruling.1.alertmanagers()
    }

    fn not_ready(&self) -> Option<String> {
        self.door.store().is_none().then(|| OPENING.to_owned())
    }

    fn troubles(&self) -> Vec<String> {
        let relays = self.door.both().map(|(_, relays)| relays.troubles()).unwrap_or_default();
        relays.into_iter().chain(scraping::troubles(&self.targets)).collect()
    }

    fn metrics(&self, out: &mut String) {
        scraping::metrics(&self.targets, out);
        self.ruling.0.metrics(out);
        self.ruling.1.metrics(out);
        self.receivers.remote_write.metrics(out);
        self.receivers.otlp.metrics(out);
        self.receivers.profiles.metrics(out);
        if let Some(governed) = &self.receivers.governed {
            governed.metrics(out);
        }
        self.reload.metrics(out);
        if let Some((_, relays)) = self.door.both() {
            relays.metrics(out);
        }
        if let Some(store) = self.door.store() {
            metrics::store(&store.stats(), out);
        }
    }
}

fn storage(error: UpkeepError) -> SourceError {
    SourceError::Storage(error.into())
}

fn pairs(entries: Vec<TopEntry>) -> Vec<(String, u64)> {
    entries.into_iter().map(|entry| (entry.text, entry.count)).collect()
}

/// The store for one query, which ends when the query has to.
struct Source<'a> {
    snapshot: Option<Snapshot>,
    stop: &'a Stop,
    crew: &'a Crew,
}

impl Source<'_> {
    fn readable(&self) -> Result<&Snapshot, SourceError> {
        if self.stop.reached() {
            return Err(SourceError::Cancelled);
        }
        self.snapshot.as_ref().ok_or_else(|| SourceError::Storage(OPENING.into()))
    }
}

impl SeriesSource for Source<'_> {
    fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        self.readable()?.select(select)
    }

    fn select_windows<'a>(
        &'a self,
        select: &Select<'_>,
        windows: &Windows,
    ) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        self.readable()?.select_windows(select, windows)
    }

    fn workers(&self) -> &dyn Workers {
        self.crew
    }
}

//! What the Prometheus API needs from the process that it runs in. The binary implements it; tests implement it too.
//!
//! Methods may block: they are called on threads of their own, never on those of the async runtime, but for those that say
//! that they answer at once.

use std::{
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use homeostat_judge_rules::view::GroupView;
use homeostat_model::{Labels, MetricKind, TimeMs};
use homeostat_promql::{Matcher, SeriesSource, SourceError};

/// Says when a query has to end: its time is over or nobody waits for the answer any more.
#[derive(Debug)]
pub struct Stop {
    ends_at: Instant,
    given_up: AtomicBool,
}

impl Stop {
    /// Ends after `timeout`, counted from now.
    pub(super) fn after(timeout: Duration) -> Self {
        let now = Instant::now();
        // Beyond what the clock can say there is no end.
        let ends_at = now.checked_add(timeout).unwrap_or_else(|| now + Duration::from_hours(24));
        Self { ends_at, given_up: AtomicBool::new(false) }
    }

    /// Returns true when the work should end with [`SourceError::Cancelled`]. Costs some 30 ns: ask every thousand samples
    /// or so.
    pub fn reached(&self) -> bool {
        self.was_given_up() || self.is_late()
    }

    /// Nobody waits for the answer any more.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    pub(super) fn is_late(&self) -> bool {
        self.ends_at <= Instant::now()
    }
}

/// Which series are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// A series is meant when it meets all matchers of at least one of these. None at all mean every series.
    pub selectors: &'a [Vec<Matcher>],
    /// First instant, inclusive: only series with a sample within the range are meant, as exactly as the index knows it.
    pub start_ms: TimeMs,
    /// Last instant, inclusive.
    pub end_ms: TimeMs,
    /// Results that are enough.
    pub limit: Option<usize>,
    /// When to end.
    pub stop: &'a Stop,
}

/// The end of a reload, and what is wrong with the configuration.
pub type Reloading = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Series and what is known about them.
pub trait SeriesBackend: Send + Sync + 'static {
    /// Where one query reads its samples from.
    fn source<'a>(&'a self, stop: &'a Stop) -> Box<dyn SeriesSource + Send + Sync + 'a>;
    /// Label sets of the series that are meant, each once, sorted.
    fn series(&self, selection: Selection<'_>) -> Result<Vec<Labels>, SourceError>;
    /// Names of their labels, each once, sorted.
    fn label_names(&self, selection: Selection<'_>) -> Result<Vec<String>, SourceError>;
    /// Values of one label, each once, sorted.
    fn label_values(&self, name: &str, selection: Selection<'_>) -> Result<Vec<String>, SourceError>;
    /// Exemplars of the series that are meant, from `start_ms` to `end_ms`; series by labels, exemplars by time.
    fn exemplars(&self, selection: Selection<'_>) -> Result<Vec<ExemplarSeries>, SourceError>;
    /// What is known about metrics: of one metric or of all, sorted by name; `limit` metrics at most.
    fn metadata(&self, metric: Option<&str>, limit: Option<usize>) -> Result<Vec<MetricMetadata>, SourceError>;
    /// Sizes of the index, with the `limit` largest entries of each list.
    fn index_stats(&self, limit: usize) -> Result<IndexStats, SourceError>;
    /// Copies everything that is stored now beside the store. Gives the copy's name. May take long.
    fn snapshot(&self) -> Result<String, SourceError> {
        Err(SourceError::Storage("this store takes no snapshots".into()))
    }
    /// Deletes samples from `start_ms` to `end_ms` of the series that meet all matchers of one selector. May take long.
    fn delete(&self, selectors: &[Vec<Matcher>], start_ms: TimeMs, end_ms: TimeMs) -> Result<(), SourceError> {
        let _ = (selectors, start_ms, end_ms);
        Err(SourceError::Storage("this store deletes nothing".into()))
    }
    /// Rewrites what is stored so that the space of deleted samples is free. May take long.
    fn compact(&self) -> Result<(), SourceError> {
        Err(SourceError::Storage("this store rewrites nothing".into()))
    }
    /// Jobs whose targets this process scrapes, by name; none unless it does.
    fn scrape_pools(&self) -> Vec<ScrapePool> {
        Vec::new()
    }
    /// The configuration in force, without secrets; empty when there is none. At once.
    fn config(&self) -> String {
        String::new()
    }
    /// Reads the configuration again. The error is told to who asked.
    fn reload(&self) -> Reloading {
        Box::pin(async { Err("there is no configuration to reload".to_owned()) })
    }
    /// Groups of rules as they are now, in the order of their files; none unless it evaluates some. At once.
    fn rule_groups(&self) -> Vec<Arc<GroupView>> {
        Vec::new()
    }
    /// Addresses that alerts are sent to, without secrets. At once.
    fn alertmanagers(&self) -> Vec<String> {
        Vec::new()
    }
    /// Says why it cannot answer yet or any more; `None` when it can. At once.
    fn not_ready(&self) -> Option<String>;
    /// What a person should know who asks whether the process is healthy: faults of ours that it has survived. At once.
    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }
    /// Appends the process's own metrics in the Prometheus text format 0.0.4.
    fn metrics(&self, out: &mut String);
}

/// A job and its targets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScrapePool {
    /// The job.
    pub name: String,
    /// Targets that are scraped.
    pub active: Vec<ScrapedTarget>,
    /// Labels of addresses that relabelling dropped, some of them.
    pub dropped: Vec<Labels>,
    /// How many it dropped.
    pub dropped_count: usize,
}

/// A target and how it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapedTarget {
    /// Labels before relabelling.
    pub discovered: Labels,
    /// Labels of all its series.
    pub labels: Labels,
    /// What is asked.
    pub url: String,
    /// Why the last scrape failed.
    pub last_error: Option<String>,
    /// When the last scrape began; `None` before the first.
    pub last_scrape_ms: Option<TimeMs>,
    /// How long it took.
    pub took: Duration,
    /// Time between two scrapes.
    pub interval: Duration,
    /// Longest scrape.
    pub timeout: Duration,
}

/// Exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct ExemplarSeries {
    /// The series.
    pub labels: Labels,
    /// Its exemplars in order of time.
    pub exemplars: Vec<Exemplar>,
}

/// A measured value with what leads to its trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// `trace_id` and so on.
    pub labels: Labels,
    /// The value.
    pub value: f64,
    /// When.
    pub t_ms: TimeMs,
}

/// What is known about a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricMetadata {
    /// Name of the metric's family.
    pub metric: String,
    /// What kind of numbers it holds.
    pub kind: MetricKind,
    /// What it says, in a sentence.
    pub help: String,
    /// Its unit, often empty.
    pub unit: String,
}

/// Sizes of the index. Lists are sorted by descending value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Series that take samples now.
    pub series: u64,
    /// Different pairs of a label and its value.
    pub label_pairs: u64,
    /// Chunks in memory.
    pub chunks: u64,
    /// First instant in memory; 0 when there is nothing.
    pub start_ms: TimeMs,
    /// Last instant in memory; 0 when there is nothing.
    pub end_ms: TimeMs,
    /// Series by metric.
    pub series_by_metric: Vec<(String, u64)>,
    /// Different values by label.
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes of all values by label.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series by `label=value`.
    pub series_by_pair: Vec<(String, u64)>,
}

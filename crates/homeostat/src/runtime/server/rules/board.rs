//! How groups are: for the API, and counted for `/metrics`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use homeostat_judge_rules::view::GroupView;
use homeostat_wire::exposition::{Exposition, FamilyKind};

/// Shared by the tasks that write it and those who look; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// In the order of the files.
    order: Vec<String>,
    groups: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    view: Option<Arc<GroupView>>,
    counts: Counts,
}

/// What happened to a group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Rules that were evaluated.
    pub(super) evaluations: u64,
    pub(super) failures: u64,
    /// Instants that were due, the missed ones among them.
    pub(super) iterations: u64,
    pub(super) missed: u64,
    /// Batches of samples that were not on disk when the group went on.
    pub(super) late: u64,
    pub(super) took: Duration,
    pub(super) samples: u64,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which groups there are, in order.
    pub(super) fn arrange(&self, keys: &[String]) {
        let mut entries = self.lock();
        entries.groups.retain(|key, _| keys.contains(key));
        entries.order = keys.to_vec();
    }

    /// Shows a group; `change` counts what happened. One that has been taken off meanwhile is not shown any more.
    pub(super) fn show(&self, key: &str, view: GroupView, change: impl FnOnce(&mut Counts)) {
        let mut entries = self.lock();
        if !entries.order.iter().any(|known| known == key) {
            return;
        }
        let entry = entries.groups.entry(key.to_owned()).or_default();
        entry.view = Some(Arc::new(view));
        change(&mut entry.counts);
    }

    /// Counts what happened to a group that is shown already.
    pub(super) fn count(&self, key: &str, change: impl FnOnce(&mut Counts)) {
        if let Some(entry) = self.lock().groups.get_mut(key) {
            change(&mut entry.counts);
        }
    }

    /// All groups in the order of their files, as they were at their last evaluation.
    pub(in crate::runtime::server) fn views(&self) -> Vec<Arc<GroupView>> {
        let entries = self.lock();
        entries.order.iter().filter_map(|key| entries.groups.get(key)?.view.clone()).collect()
    }

    /// Appends counts by the names that Prometheus has.
    pub(in crate::runtime::server) fn metrics(&self, out: &mut String) {
        let entries = self.lock();
        if entries.groups.is_empty() {
            return;
        }
        let mut exposition = Exposition::new(out);
        let mut family = |name: &str, kind, help: &str, value: &dyn Fn(&Entry) -> f64| {
            let mut family = exposition.family(name, kind, help);
            for (key, entry) in &entries.groups {
                family.sample(&[("rule_group", key)], value(entry));
            }
        };
        let (counter, gauge) = (FamilyKind::Counter, FamilyKind::Gauge);
        family("prometheus_rule_evaluations_total", counter, "Rules that were evaluated.", &|entry| {
            entry.counts.evaluations as f64
        });
        family("prometheus_rule_evaluation_failures_total", counter, "Evaluations that failed.", &|entry| {
            entry.counts.failures as f64
        });
        family("prometheus_rule_group_iterations_total", counter, "Instants at which the group was due.", &|entry| {
            entry.counts.iterations as f64
        });
        let help = "Instants that were left out because the one before took too long.";
        family("prometheus_rule_group_iterations_missed_total", counter, help, &|entry| entry.counts.missed as f64);
        family("prometheus_rule_group_last_duration_seconds", gauge, "How long the last evaluation took.", &|entry| {
            entry.counts.took.as_secs_f64()
        });
        family("prometheus_rule_group_last_evaluation_samples", gauge, "Samples of the last evaluation.", &|entry| {
            entry.counts.samples as f64
        });
        let help = "Batches of samples that reached the disk late or not at all; the group went on.";
        family("homeostat_rule_group_late_writes_total", counter, help, &|entry| entry.counts.late as f64);
        let of_view = |entry: &Entry, value: fn(&GroupView) -> f64| entry.view.as_deref().map_or(0.0, value);
        let help = "When the group was last evaluated, in seconds since 1970.";
        family("prometheus_rule_group_last_evaluation_timestamp_seconds", gauge, help, &|entry| {
            of_view(entry, |view| view.last_evaluation_ms.unwrap_or(0) as f64 / 1000.0)
        });
        family("prometheus_rule_group_interval_seconds", gauge, "Time between two evaluations.", &|entry| {
            of_view(entry, |view| view.interval_ms as f64 / 1000.0)
        });
        family("prometheus_rule_group_rules", gauge, "Rules of the group.", &|entry| {
            of_view(entry, |view| view.rules.len() as f64)
        });
    }
}

//! Rules on their schedule: each group is a task that evaluates its rules, writes what comes of them by the store's normal
//! intake, and hands alerts that are due to those who send them.
//!
//! ```text
//! apply(groups) ──▶ group task (each) ── rule by rule: evaluate ──▶ StoreIntake ──▶ store, remote write
//!                        │                                 └──────▶ Outlet ──▶ Alertmanagers, webhooks
//!                        └──▶ Board: views and counts for the API and /metrics
//! ```
//!
//! Not here: what rules do (`judge-rules`), reading their files (`config::prometheus::rules`).
//! Invariants: a group is evaluated by one task at a time; a group that stays keeps its alerts over a reload, and the series
//! of one that goes are marked as ended.

mod alertmanagers;
mod board;
mod outlet;
mod task;
mod told;
mod webhooks;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use homeostat_act_notify::spec::ReceiverSpec;
use homeostat_api::prometheus::QueryPolicy;
use homeostat_judge_rules::{Environment, Group, GroupState};
use homeostat_model::Labels;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) use self::{
    board::Board,
    outlet::{Outlet, Sender},
};
use self::{outlet::OutletSpec, task::GroupTask};
use super::{door::Door, intake::StoreIntake};
use crate::config::prometheus::{
    alerting::RuleSettings,
    objectives,
    rules::{self, RuleDefaults},
};

/// What is evaluated, from where, and who is told.
#[derive(Clone, Debug, Default)]
pub struct RuleOptions {
    /// Files and patterns of the command line.
    pub files: Vec<PathBuf>,
    /// What the `prometheus.yml` says.
    pub settings: RuleSettings,
    /// A file or directory of objectives, of the command line.
    pub objectives: Option<PathBuf>,
    /// Groups from the start, those of objectives among them.
    pub groups: Vec<Group>,
    /// Where people find this server, without a slash at the end.
    pub external_url: String,
    /// Webhooks that hear of alerts in Alertmanager's form, kept on disk until they were heard.
    pub webhooks: Vec<String>,
    /// Others that hear of alerts in the same way, and may change; `None` where there are never any.
    pub receivers: Option<Vec<ReceiverSpec>>,
}

impl RuleOptions {
    /// What evaluations share.
    pub(super) fn environment(&self, queries: &QueryPolicy) -> Environment {
        Environment {
            options: queries.options,
            language: queries.language,
            external_labels: Labels::new(self.settings.external_labels.iter().map(|(name, value)| (name, value))),
            external_url: self.external_url.clone(),
        }
    }

    /// Who is told.
    pub(super) fn outlet(&self) -> OutletSpec {
        OutletSpec {
            alertmanagers: self.settings.alertmanagers.clone(),
            receivers: self.outbox(),
            external_url: self.external_url.clone(),
            external_labels: self.settings.external_labels.clone(),
            relabel: Arc::clone(&self.settings.relabel),
        }
    }

    fn outbox(&self) -> Option<Vec<ReceiverSpec>> {
        let of_urls = webhooks::of_urls(&self.webhooks);
        match &self.receivers {
            None if self.webhooks.is_empty() => None,
            receivers => Some(of_urls.chain(receivers.iter().flatten().cloned()).collect()),
        }
    }

    /// Whether the command line names files that can be read again.
    pub(super) fn has_files(&self) -> bool {
        !self.files.is_empty() || self.objectives.is_some()
    }

    /// Reads the files of the command line and of the settings, and objectives. The error says all that is wrong.
    pub fn load(
        files: &[PathBuf],
        objectives: Option<&Path>,
        settings: &RuleSettings,
        defaults: RuleDefaults,
    ) -> Result<Vec<Group>, String> {
        let patterns: Vec<PathBuf> = files.iter().chain(&settings.files).cloned().collect();
        let set = rules::files(&patterns, Path::new("")).and_then(|files| rules::load(&files, defaults));
        let set = set.map_err(|problems| format!("the rules cannot be used\n{problems}"))?;
        if !set.warnings.is_empty() {
            tracing::warn!("{}", set.warnings);
        }
        let made = objectives.map_or(Ok(Vec::new()), |path| objectives::load(path, defaults));
        let made = made.map_err(|problems| format!("the objectives cannot be used\n{problems}"))?;
        Ok(set.groups.into_iter().chain(made).collect())
    }
}

/// What all groups share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) door: Arc<Door>,
    pub(super) intake: Arc<StoreIntake>,
    pub(super) environment: Environment,
    pub(super) timeout: std::time::Duration,
    pub(super) board: Board,
    pub(super) outlet: Outlet,
}

/// All groups while they run.
#[derive(Debug)]
pub(super) struct Ruling {
    shared: Arc<Shared>,
    running: BTreeMap<String, RunningGroup>,
}

#[derive(Debug)]
struct RunningGroup {
    group: Arc<Group>,
    stop: CancellationToken,
    task: JoinHandle<GroupState>,
}

impl RunningGroup {
    /// Waits for the evaluation that runs.
    async fn end(self) -> Option<GroupState> {
        self.stop.cancel();
        // A panicked task has told so already.
        self.task.await.ok()
    }
}

impl Ruling {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, running: BTreeMap::new() }
    }

    /// Makes these the groups that are evaluated. Gives the number of those that began or changed, and of those that ended.
    pub(super) async fn apply(&mut self, groups: Vec<Group>) -> (usize, usize) {
        let keys: Vec<String> = groups.iter().map(Group::key).collect();
        self.shared.board.arrange(&keys);
        self.shared.outlet.arrange(&keys, task::now_ms());
        let gone: Vec<String> = self.running.keys().filter(|key| !keys.contains(key)).cloned().collect();
        let ended = gone.len();
        // All at once: each may wait for a disk that stands still.
        let stays = |key: &String, running: &RunningGroup| {
            keys.iter().zip(&groups).any(|(wanted, group)| wanted == key && *running.group == *group)
        };
        for (_, running) in self.running.iter().filter(|(key, running)| !stays(key, running)) {
            running.stop.cancel();
        }
        for key in gone {
            let Some(running) = self.running.remove(&key) else { continue };
            if let Some(state) = running.end().await {
                self.finish(&state).await;
            }
        }
        let mut started = 0;
        for (key, group) in keys.into_iter().zip(groups) {
            let older = match self.running.remove(&key) {
                Some(running) if *running.group == group => {
                    self.running.insert(key, running);
                    continue;
                }
                Some(running) => running.end().await,
                None => None,
            };
            started += 1;
            let group = Arc::new(group);
            let mut state = GroupState::new(Arc::clone(&group));
            if let Some(older) = older {
                let before: Vec<Labels> = older.series().cloned().collect();
                state.take_over(older);
                self.end_series(&state, before).await;
            }
            let stop = CancellationToken::new();
            let task = GroupTask::new(Arc::clone(&self.shared), key.clone(), state);
            let task = tokio::spawn(task.run(stop.clone()));
            self.running.insert(key, RunningGroup { group, stop, task });
        }
        (started, ended)
    }

    /// Series of rules that are gone from a group that stays.
    async fn end_series(&self, state: &GroupState, before: Vec<Labels>) {
        let kept: std::collections::BTreeSet<&Labels> = state.series().collect();
        let ended: Vec<Labels> = before.into_iter().filter(|labels| !kept.contains(labels)).collect();
        task::end(&self.shared, ended).await;
    }

    async fn finish(&self, state: &GroupState) {
        task::end(&self.shared, state.series().cloned().collect()).await;
    }

    /// Ends all groups. Their series go on after the next start, so they are not marked as ended.
    pub(super) async fn stop(self) {
        for running in self.running.values() {
            running.stop.cancel();
        }
        for (_, running) in self.running {
            drop(running.end().await);
        }
    }
}

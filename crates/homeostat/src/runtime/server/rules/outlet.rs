//! Alerts on their way out: to Alertmanagers at once, to webhooks and other receivers by an outbox on disk.
//!
//! Not here: queues of Alertmanagers (`alertmanagers`), what webhooks were told (`webhooks`).

use std::{path::Path, sync::Arc, time::Duration};

use homeostat_act_notify::{
    spec::ReceiverSpec,
    transport::{HttpTransport, Transport},
};
use homeostat_judge_rules::{DueAlert, GroupState, template::table_link};
use homeostat_model::{Labels, LabelsBuilder, TimeMs};
use homeostat_relabel::{Fate, Rule as RelabelRule, relabel};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    super::ServerError,
    alertmanagers::{self, Posted, Queue},
    webhooks::Webhooks,
};
use crate::config::prometheus::alerting::Alertmanager;

/// How long stopping waits for alerts under way: the outbox takes five seconds at most, and an Alertmanager that answers
/// at all does so in less.
const STOP_TIMEOUT: Duration = Duration::from_secs(7);

/// Who is told, and how alerts look to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutletSpec {
    pub(crate) alertmanagers: Vec<Alertmanager>,
    /// Who is told by an outbox; without one when `None`.
    pub(crate) receivers: Option<Vec<ReceiverSpec>>,
    pub(crate) external_url: String,
    pub(crate) external_labels: Vec<(String, String)>,
    pub(crate) relabel: Arc<[RelabelRule]>,
}

/// Takes alerts; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    spec: Arc<OutletSpec>,
    queues: Arc<[Arc<Queue>]>,
    webhooks: Option<Arc<Webhooks>>,
}

/// What sends until it is stopped.
#[derive(Debug)]
pub(crate) struct Sender {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    webhooks: Option<Arc<Webhooks>>,
}

impl Sender {
    /// Sends what waits, for some seconds at most; webhooks go on after the next start.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let until = tokio::time::Instant::now() + STOP_TIMEOUT;
        for mut task in self.tasks {
            // A panicked task has told so already.
            if tokio::time::timeout_at(until, &mut task).await.is_err() {
                tracing::warn!("alerts under way did not arrive in time");
                task.abort();
            }
        }
        if let Some(webhooks) = self.webhooks {
            webhooks.close().await;
        }
    }
}

impl Outlet {
    /// Opens the outbox in `dir`, if there is to be one, and starts to send.
    pub(crate) async fn open(spec: OutletSpec, dir: &Path) -> Result<(Self, Sender), ServerError> {
        let (stop, mut tasks) = (CancellationToken::new(), Vec::new());
        let mut webhooks = None;
        if let Some(receivers) = spec.receivers.clone() {
            let (external_url, dir) = (spec.external_url.clone(), dir.to_owned());
            let opened = tokio::task::spawn_blocking(move || Webhooks::open(receivers, &external_url, &dir)).await;
            let (opened, notify) = opened.map_err(|_| ServerError::Panicked)??;
            let opened = Arc::new(opened);
            tasks.push(tokio::spawn(Arc::clone(&opened).notify(notify, stop.clone())));
            tasks.push(tokio::spawn(Arc::clone(&opened).write_down(stop.clone())));
            webhooks = Some(opened);
        }
        let queues: Arc<[_]> = spec.alertmanagers.iter().cloned().map(|to| Arc::new(Queue::new(to))).collect();
        if !queues.is_empty() {
            let transport: Arc<dyn Transport> = Arc::new(HttpTransport::new());
            let posting = queues.iter().map(|queue| Arc::clone(queue).run(Arc::clone(&transport), stop.clone()));
            tasks.extend(posting.map(tokio::spawn));
        }
        let sender = Sender { stop, tasks, webhooks: webhooks.clone() };
        Ok((Self { spec: Arc::new(spec), queues, webhooks }, sender))
    }

    /// Replaces those who are told by the outbox, if there is one.
    pub(crate) fn reconfigure(&self, receivers: Vec<ReceiverSpec>) {
        if let Some(webhooks) = &self.webhooks {
            webhooks.reconfigure(receivers);
        }
    }

    /// Addresses of Alertmanagers.
    pub(crate) fn alertmanagers(&self) -> Vec<String> {
        self.spec.alertmanagers.iter().map(|alertmanager| alertmanager.url.clone()).collect()
    }

    /// Hands alerts of one rule over to Alertmanagers without waiting.
    pub(super) fn send(&self, due: Vec<DueAlert>, query: &str) {
        if self.queues.is_empty() {
            return;
        }
        let link = format!("{}{}", self.spec.external_url, table_link(query));
        let posted = due.into_iter().filter_map(|due| {
            let alert = json!({
                "labels": object(self.labels(&due.labels)?.iter()),
                "annotations": object(due.annotations.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
                "startsAt": rfc3339(due.starts_at_ms),
                "endsAt": rfc3339(due.ends_at_ms),
                "generatorURL": link,
            });
            Some(Posted::from(alert.to_string()))
        });
        let posted: Vec<Posted> = posted.collect();
        self.queues.iter().for_each(|queue| queue.push(&posted));
    }

    /// Tells webhooks what changed in the alerts of a group.
    pub(super) fn reconcile(&self, group: &str, state: &GroupState, now_ms: TimeMs) {
        if let Some(webhooks) = &self.webhooks {
            webhooks.reconcile(group, state, now_ms, &|labels| self.labels(labels));
        }
    }

    /// Says which groups there are; alerts of others are over.
    pub(super) fn arrange(&self, keys: &[String], now_ms: TimeMs) {
        if let Some(webhooks) = &self.webhooks {
            webhooks.arrange(keys, now_ms);
        }
    }

    /// Labels as others see them; `None` for an alert that is dropped on its way.
    fn labels(&self, labels: &Labels) -> Option<Labels> {
        let mut builder = LabelsBuilder::from(labels);
        for (name, value) in &self.spec.external_labels {
            if builder.value(name).is_empty() {
                builder.set(name, value);
            }
        }
        match relabel(&mut builder, &self.spec.relabel) {
            Fate::Kept => Some(builder.finish()),
            Fate::Dropped => None,
        }
    }

    /// Appends counts by the names that Prometheus has.
    pub(crate) fn metrics(&self, out: &mut String) {
        alertmanagers::metrics(&self.queues, out);
    }
}

fn object<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

fn rfc3339(t_ms: TimeMs) -> String {
    jiff::Timestamp::from_millisecond(t_ms).map(|at| at.to_string()).unwrap_or_default()
}

//! Alerts on their way out: to Alertmanagers at once, to webhooks by an outbox on disk.
//!
//! Alertmanagers get every alert again and again while it fires, so what is lost on the way comes anew: the queue is in
//! memory, and what does not fit is counted. Webhooks hear of the beginning and the end, once each, so those are kept on
//! disk until they were heard (`act-notify`).
//!
//! Source: CONVENTIONS §5, `POST /api/v2/alerts`; names of metrics: Prometheus, `notifier`.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use homeostat_act_notify::{
    Notify, NotifyHandle, NotifyOptions, OpenError,
    payload::Outgoing,
    spec::{ReceiverKind, ReceiverSpec, Secret},
    transport::{HttpTransport, Transport},
};
use homeostat_judge_rules::{DueAlert, template::table_link};
use homeostat_model::{
    Labels, LabelsBuilder, ReceiverName, Span, TimeMs, Timestamp,
    notice::{Notice, NoticeStatus},
};
use homeostat_relabel::{Fate, Rule as RelabelRule, relabel};
use homeostat_wire::exposition::{Exposition, FamilyKind};
use serde_json::{Map, Value, json};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::config::prometheus::alerting::Alertmanager;

/// Rounds of alerts that wait for Alertmanagers; each is at most what one rule fires. More of them are dropped: a minute
/// later they come again.
const QUEUE_ROUNDS_MAX: usize = 1000;
/// Alerts of one request, as in Prometheus.
const REQUEST_ALERTS_MAX: usize = 64;
/// Folder of the webhooks' outbox within the data directory.
const OUTBOX_DIR: &str = "alerts";

/// Who is told, and how alerts look to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutletSpec {
    pub(crate) alertmanagers: Vec<Alertmanager>,
    pub(crate) webhooks: Vec<String>,
    pub(crate) external_url: String,
    pub(crate) external_labels: Vec<(String, String)>,
    pub(crate) relabel: Arc<[RelabelRule]>,
}

/// Takes alerts; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    spec: Arc<OutletSpec>,
    rounds: mpsc::Sender<Vec<Value>>,
    notify: Option<(NotifyHandle, Vec<ReceiverName>)>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    /// Sent and failed, by Alertmanager in the order of the configuration.
    of: Vec<(AtomicU64, AtomicU64)>,
}

/// What sends until it is stopped.
#[derive(Debug)]
pub(crate) struct Sender {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Sender {
    /// Gives up what is under way; webhooks go on after the next start.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // A panicked task has told so already.
            drop(task.await);
        }
    }
}

impl Outlet {
    /// Opens the outbox in `dir`, if there are webhooks, and starts to send.
    pub(crate) fn open(spec: OutletSpec, dir: &Path) -> Result<(Self, Sender), OpenError> {
        let stop = CancellationToken::new();
        let (rounds, waiting) = mpsc::channel(QUEUE_ROUNDS_MAX);
        let of = spec.alertmanagers.iter().map(|_| Default::default()).collect();
        let counts = Arc::new(Counts { of, ..Counts::default() });
        let mut tasks = Vec::new();
        let notify = match webhooks(&spec) {
            receivers if receivers.is_empty() => None,
            receivers => {
                let names = receivers.iter().map(|receiver| receiver.name.clone()).collect();
                let clock = Arc::new(|| Timestamp::from_unix_ms(jiff::Timestamp::now().as_millisecond()));
                let seed = jiff::Timestamp::now().as_nanosecond() as u64;
                let mut options = NotifyOptions::new(clock, seed);
                options.external_url = Some(spec.external_url.clone());
                options.set_damaged_aside = true;
                let (notify, handle) = Notify::open(&dir.join(OUTBOX_DIR), receivers, options)?;
                tasks.push(tokio::spawn(notify.run(stop.clone())));
                Some((handle, names))
            }
        };
        let spec = Arc::new(spec);
        let posting = post_all(Arc::clone(&spec), Arc::clone(&counts), waiting);
        let until = stop.clone();
        tasks.push(tokio::spawn(async move {
            until.run_until_cancelled(posting).await;
        }));
        Ok((Self { spec, rounds, notify, counts }, Sender { stop, tasks }))
    }

    /// Addresses of Alertmanagers.
    pub(crate) fn alertmanagers(&self) -> Vec<String> {
        self.spec.alertmanagers.iter().map(|alertmanager| alertmanager.url.clone()).collect()
    }

    /// Hands alerts of one rule over without waiting.
    pub(super) fn send(&self, due: Vec<DueAlert>, query: &str) {
        let link = format!("{}{}", self.spec.external_url, table_link(query));
        let mut alerts = Vec::with_capacity(due.len());
        for due in due {
            let Some(labels) = self.labels(&due.labels) else { continue };
            self.tell_webhooks(&due, &labels);
            alerts.push(json!({
                "labels": object(labels.iter()),
                "annotations": object(due.annotations.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
                "startsAt": rfc3339(due.starts_at_ms),
                "endsAt": rfc3339(due.ends_at_ms),
                "generatorURL": link,
            }));
        }
        if self.spec.alertmanagers.is_empty() || alerts.is_empty() {
            return;
        }
        let count = alerts.len() as u64;
        if self.rounds.try_send(alerts).is_err() {
            self.counts.dropped.fetch_add(count, Ordering::Relaxed);
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

    fn tell_webhooks(&self, due: &DueAlert, labels: &Labels) {
        let Some((handle, receivers)) = &self.notify else { return };
        if due.is_repeated {
            return;
        }
        let status = if due.is_resolved { NoticeStatus::Resolved } else { NoticeStatus::Firing };
        let pairs = |pairs: &mut dyn Iterator<Item = (&str, &str)>| -> BTreeMap<String, String> {
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let word = if due.is_resolved { "resolved" } else { "firing" };
        for receiver in receivers {
            let notice = Notice {
                key: format!("rule/{labels}/{}/{word}", due.starts_at_ms),
                receiver: receiver.clone(),
                group: format!("alert/{}", labels.value("alertname")),
                status,
                labels: pairs(&mut labels.iter()),
                annotations: pairs(&mut due.annotations.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
                starts_at: Timestamp::from_unix_ms(due.starts_at_ms),
                ends_at: due.is_resolved.then(|| Timestamp::from_unix_ms(due.ends_at_ms)),
            };
            if let Err(problem) = handle.enqueue(notice) {
                tracing::warn!(%problem, "a webhook does not hear of an alert");
            }
        }
    }

    /// Appends counts by the names that Prometheus has.
    pub(crate) fn metrics(&self, out: &mut String) {
        if self.spec.alertmanagers.is_empty() {
            return;
        }
        let mut exposition = Exposition::new(out);
        let waiting = self.rounds.max_capacity() - self.rounds.capacity();
        for (name, kind, help, value) in [
            (
                "prometheus_notifications_dropped_total",
                FamilyKind::Counter,
                "Alerts that were dropped because too many waited.",
                self.counts.dropped.load(Ordering::Relaxed),
            ),
            (
                "prometheus_notifications_queue_length",
                FamilyKind::Gauge,
                "Rounds of alerts that wait to be sent.",
                waiting as u64,
            ),
            (
                "prometheus_notifications_alertmanagers_discovered",
                FamilyKind::Gauge,
                "Alertmanagers that alerts are sent to.",
                self.spec.alertmanagers.len() as u64,
            ),
        ] {
            exposition.family(name, kind, help).count(&[], value);
        }
        let mut family = |name, help, value: fn(&(AtomicU64, AtomicU64)) -> &AtomicU64| {
            let mut family = exposition.family(name, FamilyKind::Counter, help);
            for (alertmanager, counts) in self.spec.alertmanagers.iter().zip(&self.counts.of) {
                family.count(&[("alertmanager", &alertmanager.url)], value(counts).load(Ordering::Relaxed));
            }
        };
        family("prometheus_notifications_sent_total", "Alerts that were sent.", |counts| &counts.0);
        family("prometheus_notifications_errors_total", "Alerts that could not be sent.", |counts| &counts.1);
    }
}

fn webhooks(spec: &OutletSpec) -> Vec<ReceiverSpec> {
    let receivers = (1..).zip(&spec.webhooks).filter_map(|(number, url)| {
        Some(ReceiverSpec {
            name: format!("alert-webhook-{number}").parse().ok()?,
            kind: ReceiverKind::Webhook { url: Secret::new(url.clone()), bearer: None },
            send_resolved: true,
            per_minute_max: 600,
            timeout: Span::from_secs(10),
            give_up_after: Span::from_hours(24),
            template: None,
        })
    });
    receivers.collect()
}

async fn post_all(spec: Arc<OutletSpec>, counts: Arc<Counts>, mut waiting: mpsc::Receiver<Vec<Value>>) {
    let transport = HttpTransport::new();
    while let Some(mut alerts) = waiting.recv().await {
        while alerts.len() < REQUEST_ALERTS_MAX
            && let Ok(more) = waiting.try_recv()
        {
            alerts.extend(more);
        }
        for chunk in alerts.chunks(REQUEST_ALERTS_MAX) {
            let body = Value::from(chunk.to_vec()).to_string().into_bytes();
            let posts = spec.alertmanagers.iter().map(|alertmanager| {
                let url = Secret::new(alertmanager.url.clone());
                let outgoing = Outgoing { url, bearer: None, body: body.clone(), render_failures: 0 };
                transport.send(outgoing, alertmanager.timeout)
            });
            // Side by side, so that one that is away holds no other up.
            let posts: Vec<_> = posts.map(tokio::spawn).collect();
            for ((post, alertmanager), counts) in posts.into_iter().zip(&spec.alertmanagers).zip(&counts.of) {
                let problem = match post.await {
                    Ok(Ok(reply)) if reply.status / 100 == 2 => None,
                    Ok(Ok(reply)) => Some(format!("it answered {}", reply.status)),
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some("the delivery was broken off".to_owned()),
                };
                let counter = if problem.is_some() { &counts.1 } else { &counts.0 };
                counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                if let Some(problem) = problem {
                    tracing::warn!(alertmanager = alertmanager.url, problem, "alerts were not sent; they come again");
                }
            }
        }
    }
}

fn object<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    pairs.map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

fn rfc3339(t_ms: TimeMs) -> String {
    jiff::Timestamp::from_millisecond(t_ms).map(|at| at.to_string()).unwrap_or_default()
}

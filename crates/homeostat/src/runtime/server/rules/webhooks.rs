//! Webhooks hear of the beginning and of the end of each alert, from an outbox on disk (`act-notify`).
//!
//! ```text
//! alerts of a group ──┐
//!                     ├─▶ firing and not told ──▶ enqueue "firing", then remember
//! told (file) ────────┘   told and neither pending nor firing ──▶ enqueue "resolved", then forget
//! ```
//!
//! The two are compared after every evaluation, so what could not be handed over is tried again, and an alert that ended
//! with its rule, with its group, or while the process was down is told as over like any other.
//!
//! Invariants: the same alert has the same group and the same beginning over restarts; the file lags one evaluation behind,
//! so that a crash tells twice rather than never.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use homeostat_act_notify::{
    EnqueueError, Notify, NotifyHandle, NotifyOptions, OpenError,
    spec::{ReceiverKind, ReceiverSpec, Secret},
};
use homeostat_judge_rules::{Alert, AlertState, GroupState, evaluation::ALERT_NAME};
use homeostat_model::{
    Labels, ReceiverName, Span, TimeMs, Timestamp,
    notice::{Notice, NoticeStatus},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::told::{self, Entry, Key, TOLD_MAX, Told};

/// Folder of the outbox within the data directory.
const OUTBOX_DIR: &str = "alerts";
/// How long stopping waits for the file of what was told; alerts are told twice at worst.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells webhooks of alerts.
#[derive(Debug)]
pub(super) struct Webhooks {
    handle: NotifyHandle,
    receivers: Vec<ReceiverName>,
    told: Mutex<Told>,
    /// Content for the file.
    file: watch::Sender<Vec<u8>>,
    dir: PathBuf,
}

/// An alert as others see it; `None` for one that is dropped on its way.
pub(super) type Shown<'a> = &'a dyn Fn(&Labels) -> Option<Labels>;

impl Webhooks {
    /// Opens the outbox and reads what was told; blocks.
    pub(super) fn open(urls: &[String], external_url: &str, dir: &Path) -> Result<(Self, Notify), OpenError> {
        let clock = Arc::new(|| Timestamp::from_unix_ms(jiff::Timestamp::now().as_millisecond()));
        let seed = jiff::Timestamp::now().as_nanosecond() as u64;
        let mut options = NotifyOptions::new(clock, seed);
        options.external_url = Some(external_url.to_owned());
        options.set_damaged_aside = true;
        let receivers = receivers(urls);
        let names = receivers.iter().map(|receiver| receiver.name.clone()).collect();
        let (notify, handle) = Notify::open(&dir.join(OUTBOX_DIR), receivers, options)?;
        let told = Mutex::new(Told::load(dir));
        let this = Self { handle, receivers: names, told, file: watch::Sender::default(), dir: dir.to_owned() };
        Ok((this, notify))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which groups there are; alerts of others are over.
    pub(super) fn arrange(&self, keys: &[String], now_ms: TimeMs) {
        let mut told = self.told();
        told.groups = Some(keys.iter().cloned().collect());
        self.end_orphans(&mut told, now_ms);
    }

    /// Compares the alerts of a group with what was told, and tells the difference.
    pub(super) fn reconcile(&self, group: &str, state: &GroupState, now_ms: TimeMs, shown: Shown<'_>) {
        let mut told = self.told();
        // What was enqueued in the round before is on disk by now.
        if std::mem::take(&mut told.is_changed) {
            self.file.send_replace(told.text());
        }
        let here = Here::of(state);
        let mut waiting = 0_usize;
        for (labels, alert) in &here.alerts {
            if alert.state == AlertState::Firing {
                let key = (group.to_owned(), (*labels).clone());
                waiting += usize::from(self.begin(&mut told, key, alert, shown).is_err());
            }
        }
        let of_group = |key: &Key| key.0 == group;
        let over: Vec<Key> = told.entries.keys().filter(|key| of_group(key) && here.is_over(&key.1)).cloned().collect();
        for key in over {
            let resolved_at_ms = here.alerts.get(&key.1).and_then(|alert| alert.resolved_at_ms);
            waiting += usize::from(self.end(&mut told, &key, resolved_at_ms.unwrap_or(now_ms)).is_err());
        }
        self.end_orphans(&mut told, now_ms);
        if waiting > 0 {
            tracing::warn!(
                group,
                waiting,
                "webhooks do not hear of alerts yet; they are told after the next evaluation"
            );
        }
    }

    fn begin(&self, told: &mut Told, key: Key, alert: &Alert, shown: Shown<'_>) -> Result<(), EnqueueError> {
        if let Some(entry) = told.entries.get_mut(&key) {
            entry.annotations.clone_from(&alert.annotations);
            return Ok(());
        }
        let Some(labels) = shown(&key.1) else { return Ok(()) };
        if TOLD_MAX <= told.entries.len() {
            return Err(EnqueueError::Full);
        }
        let starts_at_ms = alert.fired_at_ms.unwrap_or(alert.active_at_ms);
        let entry = Entry { labels, annotations: alert.annotations.clone(), starts_at_ms };
        self.enqueue(&entry, None)?;
        told.entries.insert(key, entry);
        told.is_changed = true;
        Ok(())
    }

    fn end(&self, told: &mut Told, key: &Key, ends_at_ms: TimeMs) -> Result<(), EnqueueError> {
        if let Some(entry) = told.entries.get(key) {
            self.enqueue(entry, Some(ends_at_ms))?;
            told.entries.remove(key);
            told.is_changed = true;
        }
        Ok(())
    }

    /// Alerts of groups that are gone.
    fn end_orphans(&self, told: &mut Told, now_ms: TimeMs) {
        let Some(groups) = &told.groups else { return };
        let orphans: Vec<Key> = told.entries.keys().filter(|key| !groups.contains(&key.0)).cloned().collect();
        // What is refused is tried again after the next evaluation of any group.
        let _full = orphans.iter().try_for_each(|key| self.end(told, key, now_ms));
    }

    fn enqueue(&self, entry: &Entry, ends_at_ms: Option<TimeMs>) -> Result<(), EnqueueError> {
        // A receiver that took it already knows the key.
        self.receivers.iter().try_for_each(|receiver| self.handle.enqueue(notice(receiver, entry, ends_at_ms)))
    }

    /// Writes down what was told, whenever that changes.
    pub(super) async fn write_down(self: Arc<Self>, stop: CancellationToken) {
        let mut file = self.file.subscribe();
        while let Some(Ok(())) = stop.run_until_cancelled(file.changed()).await {
            let text = file.borrow_and_update().clone();
            self.write(text).await;
        }
    }

    /// Writes down what is known at the end, after the outbox was closed.
    pub(super) async fn close(&self) {
        let text = self.told().text();
        if tokio::time::timeout(WRITE_TIMEOUT, self.write(text)).await.is_err() {
            tracing::warn!("which alerts webhooks were told of did not reach the disk in time");
        }
    }

    async fn write(&self, text: Vec<u8>) {
        let dir = self.dir.clone();
        let written = tokio::task::spawn_blocking(move || told::write(&dir, &text)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "which alerts webhooks were told of cannot be written down");
        }
    }
}

/// The alerts of a group by their labels.
struct Here<'a> {
    alerts: BTreeMap<&'a Labels, &'a Alert>,
    /// Names of alerts of which not all rules have been evaluated: what is missing may still come.
    unknown: BTreeSet<&'a str>,
}

impl<'a> Here<'a> {
    fn of(state: &'a GroupState) -> Self {
        let mut here = Self { alerts: BTreeMap::new(), unknown: BTreeSet::new() };
        for (at, rule) in state.group().rules.iter().enumerate().filter(|(_, rule)| rule.alerting().is_some()) {
            if !state.is_known(at) {
                here.unknown.insert(&rule.name);
            }
            for (labels, alert) in state.alerts(at).into_iter().flat_map(homeostat_judge_rules::alert::Alerts::iter) {
                // Of several rules with the same alert, the one that fires counts.
                let known = here.alerts.entry(labels).or_insert(alert);
                if known.state < alert.state {
                    *known = alert;
                }
            }
        }
        here
    }

    fn is_over(&self, labels: &Labels) -> bool {
        let is_there = self.alerts.get(labels).is_some_and(|alert| alert.state != AlertState::Inactive);
        !is_there && !self.unknown.contains(labels.value(ALERT_NAME))
    }
}

fn notice(receiver: &ReceiverName, entry: &Entry, ends_at_ms: Option<TimeMs>) -> Notice {
    let labels = &entry.labels;
    let (status, word) = match ends_at_ms {
        None => (NoticeStatus::Firing, "firing"),
        Some(_) => (NoticeStatus::Resolved, "resolved"),
    };
    Notice {
        key: format!("rule/{labels}/{}/{word}", entry.starts_at_ms),
        receiver: receiver.clone(),
        group: format!("alert/{}", labels.value(ALERT_NAME)),
        status,
        labels: labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        annotations: entry.annotations.iter().cloned().collect(),
        starts_at: Timestamp::from_unix_ms(entry.starts_at_ms),
        ends_at: ends_at_ms.map(Timestamp::from_unix_ms),
    }
}

fn receivers(urls: &[String]) -> Vec<ReceiverSpec> {
    let receivers = (1..).zip(urls).filter_map(|(number, url)| {
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

//! Webhooks and other receivers hear of the beginning and of the end of each alert, from an outbox on disk (`act-notify`).
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
//! Invariants: the same alert has the same group and the same beginning over restarts; the file is written once the outbox
//! is on disk with what it says, so that a crash tells twice rather than never.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    receivers: Mutex<Vec<ReceiverName>>,
    told: Mutex<Told>,
    /// The outbox was closed and is on disk whole.
    is_closed_well: AtomicBool,
    /// Content for the file.
    file: watch::Sender<Vec<u8>>,
    dir: PathBuf,
}

/// An alert as others see it; `None` for one that is dropped on its way.
pub(super) type Shown<'a> = &'a dyn Fn(&Labels) -> Option<Labels>;

impl Webhooks {
    /// Opens the outbox and reads what was told; blocks.
    pub(super) fn open(
        receivers: Vec<ReceiverSpec>,
        external_url: &str,
        dir: &Path,
    ) -> Result<(Self, Notify), OpenError> {
        let clock = Arc::new(|| Timestamp::from_unix_ms(jiff::Timestamp::now().as_millisecond()));
        let seed = jiff::Timestamp::now().as_nanosecond() as u64;
        let mut options = NotifyOptions::new(clock, seed);
        options.external_url = Some(external_url.to_owned());
        options.set_damaged_aside = true;
        Self::open_with(receivers, options, dir)
    }

    fn open_with(
        receivers: Vec<ReceiverSpec>,
        options: NotifyOptions,
        dir: &Path,
    ) -> Result<(Self, Notify), OpenError> {
        let names = Mutex::new(names(&receivers));
        let (notify, handle) = Notify::open(&dir.join(OUTBOX_DIR), receivers, options)?;
        let this = Self {
            handle,
            receivers: names,
            told: Mutex::new(Told::load(dir)),
            is_closed_well: AtomicBool::new(false),
            file: watch::Sender::default(),
            dir: dir.to_owned(),
        };
        Ok((this, notify))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the receivers. New ones hear of what begins from now on.
    pub(super) fn reconfigure(&self, receivers: Vec<ReceiverSpec>) {
        *self.receivers.lock().unwrap_or_else(PoisonError::into_inner) = names(&receivers);
        self.handle.reconfigure(receivers);
    }

    /// Says which groups there are; alerts of others are over.
    pub(super) fn arrange(&self, keys: &[String], now_ms: TimeMs) {
        let mut told = self.told();
        told.groups = Some(keys.iter().cloned().collect());
        self.end_orphans(&mut told, now_ms);
        self.note(&mut told);
    }

    /// Has the file written, if it has to say something else.
    fn note(&self, told: &mut Told) {
        if std::mem::take(&mut told.is_changed) {
            self.file.send_replace(told.text());
        }
    }

    /// Compares the alerts of a group with what was told, and tells the difference.
    pub(super) fn reconcile(&self, group: &str, state: &GroupState, now_ms: TimeMs, shown: Shown<'_>) {
        let mut told = self.told();
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
        self.note(&mut told);
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
        let receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        receivers.iter().try_for_each(|receiver| self.handle.enqueue(notice(receiver, entry, ends_at_ms)))
    }

    /// Writes down what was told, whenever that changes, as soon as the outbox has it on disk.
    pub(super) async fn write_down(self: Arc<Self>, stop: CancellationToken) {
        let mut file = self.file.subscribe();
        // Something may have been told before this began.
        file.mark_changed();
        while let Some(Ok(())) = stop.run_until_cancelled(file.changed()).await {
            let text = file.borrow_and_update().clone();
            if text.is_empty() {
                continue;
            }
            match stop.run_until_cancelled(self.handle.written()).await {
                Some(true) => self.write(text).await,
                // The next evaluation tries again.
                Some(false) => self.told().is_changed = true,
                None => {}
            }
        }
    }

    /// Lets notifications run, and remembers whether the outbox was on disk in the end.
    pub(super) async fn notify(self: Arc<Self>, notify: Notify, stop: CancellationToken) {
        let is_durable = notify.run(stop).await;
        self.is_closed_well.store(is_durable, Ordering::Release);
    }

    /// Writes down what is known at the end, after the outbox was closed. What that did not get to the disk is told again.
    pub(super) async fn close(&self) {
        if !self.is_closed_well.load(Ordering::Acquire) {
            return;
        }
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

fn names(receivers: &[ReceiverSpec]) -> Vec<ReceiverName> {
    receivers.iter().map(|receiver| receiver.name.clone()).collect()
}

/// Webhooks of the command line as receivers.
pub(super) fn of_urls(urls: &[String]) -> impl Iterator<Item = ReceiverSpec> {
    (1..).zip(urls).filter_map(|(number, url)| {
        Some(ReceiverSpec {
            name: format!("alert-webhook-{number}").parse().ok()?,
            kind: ReceiverKind::Webhook { url: Secret::new(url.clone()), bearer: None },
            send_resolved: true,
            per_minute_max: 600,
            timeout: Span::from_secs(10),
            give_up_after: Span::from_hours(24),
            template: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use homeostat_act_notify::{
        payload::Outgoing,
        transport::{Answer, Reply, Transport},
    };
    use homeostat_store_wal::SimDisk;
    use tokio::sync::Notify as Bell;

    use super::*;

    /// Rings when somebody is told.
    #[derive(Default)]
    struct Heard(Bell);

    impl Transport for Heard {
        fn send(&self, _: Outgoing, _: Duration) -> Answer {
            self.0.notify_one();
            Box::pin(async { Ok(Reply { status: 200, retry_after: None, body: Vec::new() }) })
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_file_waits_for_the_outbox() {
        let (dir, disk, heard) = (tempfile::tempdir().unwrap(), SimDisk::default(), Arc::new(Heard::default()));
        let mut options = NotifyOptions::new(Arc::new(|| Timestamp::from_unix_ms(1_750_000_000_000)), 1);
        (options.disk, options.transport) = (Arc::new(disk.clone()), Arc::clone(&heard) as Arc<dyn Transport>);
        let receivers = of_urls(&["http://example.org/".to_owned()]).collect();
        let (webhooks, notify) = Webhooks::open_with(receivers, options, dir.path()).unwrap();
        let (webhooks, stop) = (Arc::new(webhooks), CancellationToken::new());
        let notifying = tokio::spawn(Arc::clone(&webhooks).notify(notify, stop.clone()));
        let writing = tokio::spawn(Arc::clone(&webhooks).write_down(stop.clone()));

        disk.set(|faults| faults.stuck = true);
        let labels = Labels::new([(ALERT_NAME, "Down")]);
        let alert = Alert {
            state: AlertState::Firing,
            annotations: Vec::new(),
            value: 1.0,
            active_at_ms: 0,
            fired_at_ms: Some(0),
            keep_firing_since_ms: None,
            resolved_at_ms: None,
            last_sent_ms: None,
        };
        {
            let mut told = webhooks.told();
            webhooks.begin(&mut told, ("g".to_owned(), labels), &alert, &|labels| Some(labels.clone())).unwrap();
            webhooks.note(&mut told);
        }
        heard.0.notified().await;
        let written = webhooks.handle.written();
        assert!(tokio::time::timeout(Duration::from_millis(200), written).await.is_err(), "the disk stands still");
        assert_eq!(Told::load(dir.path()), Told::default(), "a crash now tells it again");
        disk.set(|faults| faults.stuck = false);
        while Told::load(dir.path()).entries.len() != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        notifying.await.unwrap();
        writing.await.unwrap();
        assert!(webhooks.is_closed_well.load(Ordering::Acquire));
    }
}

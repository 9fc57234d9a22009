//! Parts that need the data directory, and so may come later than the rest: journal and notifications.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
};

use homeostat_act_notify::{Notify, NotifyHandle, NotifyOptions, spec::ReceiverSpec};
use homeostat_store_events::{Disk, Journal};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{clock::wall_now, shared::lock};

/// What appears once the data directory can be used.
#[derive(Debug)]
pub(super) struct LateParts {
    journal: OnceLock<Arc<Journal>>,
    notify: OnceLock<NotifyHandle>,
    notify_task: Mutex<Option<JoinHandle<bool>>>,
    receivers: Mutex<Vec<ReceiverSpec>>,
    outbox_dir: PathBuf,
    console_url: String,
    stop: CancellationToken,
    runtime: Handle,
}

impl LateParts {
    /// Nothing yet. Must be called on the runtime that notifications will run on.
    pub(super) fn new(outbox_dir: PathBuf, receivers: Vec<ReceiverSpec>, console_url: String) -> Self {
        Self {
            journal: OnceLock::new(),
            notify: OnceLock::new(),
            notify_task: Mutex::default(),
            receivers: Mutex::new(receivers),
            outbox_dir,
            console_url,
            stop: CancellationToken::new(),
            runtime: Handle::current(),
        }
    }

    /// The journal, if it is open.
    pub(super) fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.get()
    }

    /// The journal, when nobody else holds it any more.
    pub(super) fn into_journal(self) -> Option<Journal> {
        self.journal.into_inner().and_then(Arc::into_inner)
    }

    /// Notifications, if they run.
    pub(super) fn notify(&self) -> Option<&NotifyHandle> {
        self.notify.get()
    }

    /// The journal is open now.
    pub(super) fn set_journal(&self, journal: Arc<Journal>) {
        // The control thread opens it once.
        let _second_journal = self.journal.set(journal);
    }

    /// Opens the outbox and lets notifications run; does nothing when they do.
    pub(super) fn start_notify(&self, disk: Arc<dyn Disk>) -> Result<(), homeostat_act_notify::OpenError> {
        if self.notify.get().is_some() {
            return Ok(());
        }
        let clock = Arc::new(wall_now);
        let seed = wall_now().unix_ns().unsigned_abs();
        let options = NotifyOptions {
            external_url: Some(self.console_url.clone()),
            disk,
            // A damaged outbox must not mean silence for ever; what was in it is kept beside it and told in the log.
            set_damaged_aside: true,
            ..NotifyOptions::new(clock, seed)
        };
        let (task, handle) = Notify::open(&self.outbox_dir, lock(&self.receivers).clone(), options)?;
        *lock(&self.notify_task) = Some(self.runtime.spawn(task.run(self.stop.clone())));
        // Only the thread that opens the outbox gets here, once.
        let _second_outbox = self.notify.set(handle.clone());
        // Receivers may have changed while it was being opened.
        handle.reconfigure(lock(&self.receivers).clone());
        Ok(())
    }

    /// Replaces the receivers, now or as soon as notifications run.
    pub(super) fn reconfigure(&self, receivers: Vec<ReceiverSpec>) {
        let mut kept = lock(&self.receivers);
        kept.clone_from(&receivers);
        if let Some(notify) = self.notify.get() {
            notify.reconfigure(receivers);
        }
    }

    /// Stops notifications; what is not delivered yet is delivered after the next start.
    pub(super) async fn stop_notify(&self) {
        self.stop.cancel();
        let task = lock(&self.notify_task).take();
        if let Some(Err(problem)) = match task {
            Some(task) => Some(task.await),
            None => None,
        } {
            tracing::error!(%problem, "notifications had ended early");
        }
    }
}

//! Takes a changed configuration into force while everything runs, or leaves the old one running.
//!
//! Triggers: a change below the configuration's folder (editors, `mv`, a Kubernetes ConfigMap's swapped link), SIGHUP,
//! the API. All of them mean the same: read everything again, check everything, compile the routes beside the serving
//! ones, hand the result to control, which swaps it whole. Any problem leaves the old configuration in force and is
//! told in the log, in `homeostat_config_rejected_total` and by the API.
//!
//! Listeners, workers, the API's address and the data directory are fixed for the life of a process: a reload that
//! changes them takes the rest over and says what needs a restart.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use homeostat_act_notify::spec::ReceiverSpec;
use homeostat_api::{ApiHandle, backend::ConfigStatus};
use homeostat_gateway_proxy::GatewayHandle;
use homeostat_gateway_route::CellRegistry;
use homeostat_model::{
    Actor, ChangeEvent, ChangeKind, ConfigDigest, ConfigRead,
    change::{ReadCause, ReadOutcome},
};
use tokio::sync::{oneshot, watch};

use super::{
    Environment,
    clock::Clock,
    compile::{Compiled, compile},
    inbox::Inbox,
    kernel_strip,
    late::LateParts,
    message::{Configure, Message},
    shared::{Shared, bump, lock},
    watch::{Besides, concerns, watch},
};
use crate::config::{CheckedConfig, Severity, Texts};

/// Editors write a file in several steps; a reload waits until it has been quiet for this long.
const QUIET: Duration = Duration::from_millis(100);

/// Triggers that wait; more of them mean the same thing.
const TRIGGERS_MAX: usize = 16;

/// How long an accepted configuration may wait for control before the API is told that it is on its way.
const TAKEOVER_WAIT: Duration = Duration::from_secs(5);

/// Why to read the configuration again.
#[derive(Debug)]
enum Trigger {
    /// A file changed.
    Changed,
    /// Somebody asked.
    Asked { cause: ReadCause, by: Actor, reply: Option<oneshot::Sender<ConfigStatus>> },
    /// The API runs; its tokens follow the configuration from now on.
    Api(ApiHandle),
    /// The process ends.
    Stop,
}

/// Asks for reloads; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ReloadHandle {
    triggers: SyncSender<Trigger>,
}

impl ReloadHandle {
    /// Asks for a reload without waiting for it.
    pub(super) fn trigger(&self, cause: ReadCause, by: Actor) {
        self.send(Trigger::Asked { cause, by, reply: None });
    }

    /// Asks for a reload and waits for what became of it; `None` when the reloader has ended or is flooded.
    pub(super) async fn reload(&self, by: Actor) -> Option<ConfigStatus> {
        let (reply, answer) = oneshot::channel();
        self.send(Trigger::Asked { cause: ReadCause::Api, by, reply: Some(reply) });
        answer.await.ok()
    }

    /// Lets reloads change the API's tokens.
    pub(super) fn control_api(&self, api: ApiHandle) {
        self.send(Trigger::Api(api));
    }

    fn send(&self, trigger: Trigger) {
        match self.triggers.try_send(trigger) {
            // Full: as many reloads are due already, and each reads what is there then.
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => tracing::warn!("the configuration is not watched any more"),
        }
    }
}

/// The thread that reloads.
#[derive(Debug)]
pub(super) struct Reloader {
    handle: ReloadHandle,
    thread: JoinHandle<()>,
    /// Dropping it ends the watch.
    watcher: Option<notify::RecommendedWatcher>,
}

/// What a reload works with.
pub(super) struct ReloadParts {
    pub(super) path: PathBuf,
    pub(super) environment: Environment,
    pub(super) in_force: CheckedConfig,
    /// Stands for its texts.
    pub(super) digest: ConfigDigest,
    /// What was fixed when the process began.
    pub(super) started_with: CheckedConfig,
    pub(super) registry: CellRegistry,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox<Message>>,
    pub(super) gateway: GatewayHandle,
    pub(super) late: Arc<LateParts>,
    /// The receivers in force; each value makes the metrics server read its files again.
    pub(super) metrics: watch::Sender<Vec<ReceiverSpec>>,
    /// Known once the API runs.
    pub(super) api: Option<ApiHandle>,
}

impl std::fmt::Debug for ReloadParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReloadParts").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Reloader {
    /// Starts watching. A folder that cannot be watched is no reason not to run: SIGHUP and the API still work.
    pub(super) fn start(parts: ReloadParts) -> std::io::Result<Self> {
        let (triggers, waiting) = sync_channel(TRIGGERS_MAX);
        let handle = ReloadHandle { triggers };
        let changed = handle.clone();
        let name = parts.path.file_name().map(ToOwned::to_owned);
        let watcher = watch(&parts.path, move |event| {
            if concerns(&event, name.as_deref(), Besides::Yaml) {
                changed.send(Trigger::Changed);
            }
        });
        let thread = thread::Builder::new().name("config".to_owned()).spawn(move || parts.run(&waiting))?;
        Ok(Self { handle, thread, watcher })
    }

    /// For asking.
    pub(super) fn handle(&self) -> ReloadHandle {
        self.handle.clone()
    }

    /// Ends a running reload and the thread.
    pub(super) fn stop(self) {
        drop(self.watcher);
        // A full queue holds reloads that would be pointless now; the thread sees the stop behind them.
        let _gone = self.handle.triggers.send(Trigger::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the configuration thread had ended by a panic");
        }
    }
}

impl ReloadParts {
    fn run(mut self, triggers: &Receiver<Trigger>) {
        while let Ok(first) = triggers.recv() {
            let mut waiting = vec![first];
            loop {
                match triggers.recv_timeout(QUIET) {
                    Ok(more) => waiting.push(more),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if waiting.len() > TRIGGERS_MAX {
                    break;
                }
            }
            if waiting.iter().any(|trigger| matches!(trigger, Trigger::Stop)) {
                return;
            }
            // A person who asks stands before the file that they changed.
            let asked = waiting.iter().find_map(|trigger| match trigger {
                Trigger::Asked { cause, by, .. } => Some((*cause, by.clone())),
                Trigger::Changed | Trigger::Api(_) | Trigger::Stop => None,
            });
            let (cause, by) = asked.unwrap_or_else(|| (ReadCause::File, Actor::new("configuration files")));
            for trigger in &waiting {
                if let Trigger::Api(api) = trigger {
                    self.api = Some(api.clone());
                }
            }
            if waiting.iter().all(|trigger| matches!(trigger, Trigger::Api(_))) {
                continue;
            }
            self.reload(cause, by);
            let status = lock(&self.shared.config).clone();
            for trigger in waiting {
                if let Trigger::Asked { reply: Some(reply), .. } = trigger {
                    let _asker_left = reply.send(status.clone());
                }
            }
        }
    }

    /// One attempt, and a line about it for the audit.
    fn reload(&mut self, cause: ReadCause, by: Actor) {
        let texts = Texts::read(&self.path);
        let (before, read) = (self.digest.clone(), texts.digest());
        let outcome = self.attempt(texts, &by);
        if !matches!(outcome, ReadOutcome::Refused { .. }) {
            self.digest = read.clone();
        }
        // Who asks means all files; rules that lie beside the configuration wake us like itself.
        if cause != ReadCause::File || !matches!(outcome, ReadOutcome::Refused { .. }) {
            self.metrics.send_replace(self.in_force.receivers.clone());
        }
        // Editors touch files, and folders hold others: what changed no text and nobody asked for is not worth a line.
        if cause == ReadCause::File && before == read && outcome == ReadOutcome::SameMeaning {
            return;
        }
        let line = ConfigRead { cause, by, before: Some(before), read, outcome };
        if self.inbox.push(Message::ConfigRead(Box::new(line))).is_err() {
            tracing::warn!("control takes nothing at the moment; this reload is missing in the audit");
        }
    }

    fn attempt(&mut self, texts: Texts, by: &Actor) -> ReadOutcome {
        let loaded = texts.check(&*self.environment).map_err(|problems| {
            // What keeps it from coming into force is what people read first.
            let (errors, warnings): (Vec<_>, Vec<_>) =
                problems.iter().partition(|problem| problem.severity == Severity::Error);
            errors.into_iter().chain(warnings).map(ToString::to_string).collect::<Vec<_>>()
        });
        let compiled = loaded.and_then(|config| compile(config, &mut self.registry));
        // Certificates are replaced only beside a configuration that can be taken over, all of them or none.
        let compiled = compiled.and_then(|compiled| match self.gateway.reload_tls() {
            Ok(()) => Ok(compiled),
            Err(problem) => Err(vec![problem.to_string()]),
        });
        match compiled {
            Ok(compiled) if same(&compiled.config, &self.in_force) => {
                self.settle(needs_restart(&self.started_with, &self.in_force));
                ReadOutcome::SameMeaning
            }
            Ok(compiled) => match self.accept(compiled, by.clone()) {
                Ok(()) => ReadOutcome::InForce,
                Err(problem) => self.reject(vec![problem]),
            },
            Err(problems) => self.reject(problems),
        }
    }

    fn accept(&mut self, compiled: Compiled, by: Actor) -> Result<(), String> {
        let (done, taken_over) = sync_channel(1);
        let change = ChangeEvent {
            at: self.clock.now(),
            kind: ChangeKind::Config,
            service: None,
            version: None,
            summary: format!("configuration reloaded from {}", self.path.display()),
            by,
        };
        let configure =
            Configure { table: compiled.table, spec: compiled.spec, change: Some(change), done: Some(done) };
        if self.inbox.push(Message::Configure(Box::new(configure))).is_err() {
            return Err("control takes nothing at the moment; reload again when it does".to_owned());
        }
        let in_force_now = match taken_over.recv_timeout(TAKEOVER_WAIT) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                let problem = "the journal takes no records, and nothing changes without one; free or repair its disk";
                return Err(problem.to_owned());
            }
        };
        self.late.reconfigure(compiled.config.receivers.clone());
        let mut notes = needs_restart(&self.started_with, &compiled.config);
        if let Some(Err(refused)) = self.api.as_ref().map(|api| api.set_tokens(&compiled.config.api.tokens)) {
            notes.push(format!("the API keeps its old tokens: {refused}"));
        }
        self.shared.profile_as(&compiled.config);
        self.shared.served.store(Arc::new(kernel_strip::served(&compiled.config)));
        self.shared.depends_on.store(Arc::new(compiled.config.depends_on.clone()));
        self.shared.called.store(Arc::new(kernel_strip::called(&compiled.config)));
        self.in_force = compiled.config;
        bump(&self.shared.counters.config_accepted);
        lock(&self.shared.config).generation += 1;
        for note in &notes {
            tracing::warn!("{note}");
        }
        self.settle(notes);
        if in_force_now {
            tracing::info!(path = %self.path.display(), "configuration in force");
        } else {
            tracing::warn!(path = %self.path.display(), "configuration accepted; it comes into force when control answers");
        }
        Ok(())
    }

    /// Notes what is true now: the files on disk are in force, but for `notes`.
    fn settle(&self, notes: Vec<String>) {
        let mut status = lock(&self.shared.config);
        status.accepted_at = self.clock.now();
        status.problems = Vec::new();
        status.notes = notes;
        status.rejected_at = None;
    }

    fn reject(&self, problems: Vec<String>) -> ReadOutcome {
        let count = problems.len() as u64;
        bump(&self.shared.counters.config_rejected);
        tracing::error!(
            path = %self.path.display(),
            problems = problems.len(),
            first = problems.first().map_or("", String::as_str),
            "configuration refused, the old one stays in force; `homeostat check` shows all problems"
        );
        let mut status = lock(&self.shared.config);
        status.problems = problems;
        status.rejected_at = Some(self.clock.now());
        ReadOutcome::Refused { problems: count }
    }
}

/// Whether two configurations mean the same; where they were read from does not count.
fn same(one: &CheckedConfig, other: &CheckedConfig) -> bool {
    let parts = |c: &CheckedConfig| (c.gateway.clone(), c.proxy.clone(), c.objectives.clone(), c.rollouts.clone());
    let rest =
        |c: &CheckedConfig| (c.guard.clone(), c.receivers.clone(), c.api.clone(), c.store.clone(), c.metrics.clone());
    let looked_into = |c: &CheckedConfig| (c.profiled.clone(), c.sought.clone(), c.sensing, c.depends_on.clone());
    parts(one) == parts(other) && rest(one) == rest(other) && looked_into(one) == looked_into(other)
}

fn needs_restart(old: &CheckedConfig, new: &CheckedConfig) -> Vec<String> {
    let changed = [
        (old.proxy != new.proxy, "listeners, workers and limits of the gateway"),
        ((&old.api.listen, &old.api.external_url) != (&new.api.listen, &new.api.external_url), "the API's addresses"),
        (old.store != new.store, "the data directory or its retention"),
        (old.metrics != new.metrics, "the metrics server"),
    ];
    let note = |what: &str| format!("{what} changed: this takes a restart, everything else is in force");
    changed.into_iter().filter(|(changed, _)| *changed).map(|(_, what)| note(what)).collect()
}

//! The `prometheus.yml` while the server runs: read again on SIGHUP, when its file changes and when somebody asks.
//!
//! ```text
//! SIGHUP, POST /-/reload ──▶ ┌────────────────┐ good: jobs that changed start anew, the others run on
//! file changed (quiet 100 ms)▶ read and check ├──▶ bad: nothing changes; told in the log, in metrics and to who asked
//!                            └────────────────┘
//! ```
//!
//! One task owns what runs, so that two reloads never mix. Without a file there is nothing to reload, and saying so is
//! the answer.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use homeostat_sense_scrape::spec::Job;
use homeostat_wire::{
    exposition::{Exposition, FamilyKind},
    otlp::OtlpOptions,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use homeostat_judge_rules::Group;

use super::{
    rules::{RuleOptions, Ruling},
    scraping::Scraping,
};
use crate::{
    config::prometheus::{self, Remote, alerting::RuleSettings, rules::RuleDefaults},
    runtime::watch::{Besides, concerns, watch},
};

/// Editors write a file in several steps; a reload waits until it has been quiet for this long.
const QUIET: Duration = Duration::from_millis(100);

/// Asks that wait; more of them mean the same thing.
const ASKS_MAX: usize = 16;

/// What is scraped from the start, and the file that said so.
#[derive(Clone, Debug, Default)]
pub struct ScrapeOptions {
    /// Jobs, one entry a name.
    pub jobs: Vec<Job>,
    /// The file, read again when it changes; without one the jobs stay as they are.
    pub file: Option<PathBuf>,
    /// The file's text as it may be shown.
    pub shown: String,
    /// What the file says that is in force until the server ends.
    pub fixed: Fixed,
}

/// What a reload does not change: queues are open and deltas are summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fixed {
    /// Where samples are sent on.
    pub remotes: Vec<Remote>,
    /// How OTLP is translated.
    pub otlp: OtlpOptions,
}

/// Why to read the file again.
#[derive(Debug)]
enum Ask {
    /// It changed.
    Changed,
    /// Somebody wants it and may wait for what comes of it.
    Wanted(oneshot::Sender<Result<(), String>>),
}

/// What became of the last reload.
#[derive(Debug)]
struct Last {
    good: bool,
    /// When the configuration in force was read.
    read_at: jiff::Timestamp,
    /// The configuration in force, without secrets.
    shown: String,
}

/// Asks for reloads and tells how they went; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ReloadHandle {
    asks: mpsc::Sender<Ask>,
    last: Arc<Mutex<Last>>,
}

impl ReloadHandle {
    /// Reloads and waits for the end of it. The error says what is wrong with the file, or that there is none.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let gone = || "the server is stopping".to_owned();
        self.asks.send(Ask::Wanted(reply)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// The configuration in force, without secrets; empty when there is no file.
    pub(super) fn shown(&self) -> String {
        self.last().shown.clone()
    }

    /// Appends how the last reload went, by the names that Prometheus uses.
    pub(super) fn metrics(&self, out: &mut String) {
        let (good, read_at) = {
            let last = self.last();
            (last.good, last.read_at)
        };
        let mut exposition = Exposition::new(out);
        let help = "Whether the last configuration reload attempt was successful.";
        exposition
            .family("prometheus_config_last_reload_successful", FamilyKind::Gauge, help)
            .count(&[], u64::from(good));
        let help = "Time of the last successful configuration reload, in seconds since 1970.";
        exposition
            .family("prometheus_config_last_reload_success_timestamp_seconds", FamilyKind::Gauge, help)
            .sample(&[], read_at.as_millisecond() as f64 / 1000.0);
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks that wait for the reloader. Made before it, so that the API can be served while the store is still opening.
#[derive(Debug)]
pub(super) struct Asked(mpsc::Receiver<Ask>);

/// The two ends.
pub(super) fn handle(shown: String) -> (ReloadHandle, Asked) {
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let last = Last { good: true, read_at: jiff::Timestamp::now(), shown };
    (ReloadHandle { asks, last: Arc::new(Mutex::new(last)) }, Asked(asked))
}

/// The task that owns what runs by the file.
#[derive(Debug)]
pub(super) struct Reloader {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Reloader {
    /// Starts the jobs, and follows the file from then on.
    pub(super) fn start(
        handle: ReloadHandle,
        asked: Asked,
        (scraping, ruling): (Scraping, Ruling),
        (options, rules): (ScrapeOptions, RuleOptions),
    ) -> Self {
        let stop = CancellationToken::new();
        let watcher = options.file.as_deref().and_then(|file| follow(file, handle.asks.clone()));
        let work = Work { handle, asked, scraping, ruling, rules, file: options.file, fixed: options.fixed, watcher };
        let task = tokio::spawn(work.run(options.jobs, stop.clone()));
        Self { stop, task }
    }

    /// Ends a reload that runs, and then everything that was started.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        // A panicked task has told so already.
        drop(self.task.await);
    }
}

/// Asks for a reload when the file changes.
fn follow(file: &Path, asks: mpsc::Sender<Ask>) -> Option<notify::RecommendedWatcher> {
    let name = file.file_name().map(std::ffi::OsStr::to_owned);
    watch(file, move |event| {
        if concerns(&event, name.as_deref(), Besides::Nothing) {
            // Full: a reload is due already, and it reads what is there then.
            drop(asks.try_send(Ask::Changed));
        }
    })
}

struct Work {
    handle: ReloadHandle,
    asked: Asked,
    scraping: Scraping,
    ruling: Ruling,
    /// What is evaluated by the command line and by the file as it was read last.
    rules: RuleOptions,
    file: Option<PathBuf>,
    fixed: Fixed,
    /// Dropping it ends the watch.
    watcher: Option<notify::RecommendedWatcher>,
}

impl Work {
    async fn run(mut self, jobs: Vec<Job>, stop: CancellationToken) {
        self.scraping.apply(jobs).await;
        let groups = std::mem::take(&mut self.rules.groups);
        self.ruling.apply(groups).await;
        while let Some(Some(first)) = stop.run_until_cancelled(self.asked.0.recv()).await {
            let mut waiting = vec![first];
            while waiting.len() < ASKS_MAX
                && let Ok(Some(more)) = tokio::time::timeout(QUIET, self.asked.0.recv()).await
            {
                waiting.push(more);
            }
            let result = self.reload().await;
            for ask in waiting {
                if let Ask::Wanted(reply) = ask {
                    // Who asked may have left.
                    drop(reply.send(result.clone()));
                }
            }
        }
        drop(self.watcher);
        self.ruling.stop().await;
        self.scraping.stop().await;
    }

    /// Reads rule files and objectives; what is wrong with them changes nothing.
    async fn read_rules(&self, settings: &RuleSettings) -> Result<Vec<Group>, String> {
        let (files, objectives) = (self.rules.files.clone(), self.rules.objectives.clone());
        let settings = settings.clone();
        let defaults = RuleDefaults { language: self.rules.settings.defaults.language, ..settings.defaults };
        let read = move || RuleOptions::load(&files, objectives.as_deref(), &settings, defaults);
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(groups)) => Ok(groups),
            Ok(Err(problems)) => Err(self.refuse(&problems)),
            Err(panicked) => Err(self.refuse(&format!("the rules cannot be used\n{panicked}"))),
        }
    }

    /// What the command line names, without a configuration file.
    async fn reload_rules(&mut self) -> Result<(), String> {
        let settings = self.rules.settings.clone();
        let groups = self.read_rules(&settings).await?;
        let (started, ended) = self.ruling.apply(groups).await;
        tracing::info!(started, ended, "the rules were read again");
        let mut last = self.handle.last();
        (last.good, last.read_at) = (true, jiff::Timestamp::now());
        Ok(())
    }

    /// One attempt.
    async fn reload(&mut self) -> Result<(), String> {
        let Some(file) = self.file.clone() else {
            if self.rules.has_files() {
                return self.reload_rules().await;
            }
            let text = "there is no file to reload: the server was started without `--scrape-config`, `--rules` and \
                        `--objectives`";
            return Err(text.to_owned());
        };
        let name = file.display().to_string();
        let read = tokio::task::spawn_blocking(move || prometheus::load(&file)).await;
        let config = match read {
            Ok(Ok(config)) => config,
            Ok(Err(problems)) => return Err(self.refuse(&format!("{name} cannot be used\n{problems}"))),
            Err(panicked) => return Err(self.refuse(&format!("{name} cannot be used\n{panicked}"))),
        };
        if self.fixed != (Fixed { remotes: config.remotes, otlp: config.otlp }) {
            tracing::warn!(
                "{name} says other things in `remote_write` or `otlp` now; they are in force after a restart"
            );
        }
        let told = |settings: &RuleSettings| {
            (settings.alertmanagers.clone(), settings.external_labels.clone(), Arc::clone(&settings.relabel))
        };
        if told(&self.rules.settings) != told(&config.rules) {
            tracing::warn!(
                "{name} says other things in `alerting` or `external_labels` now; they are in force after a restart"
            );
        }
        let groups = self.read_rules(&config.rules).await?;
        let rules = self.ruling.apply(groups).await;
        let same_text = self.handle.shown() == config.shown;
        let changes = self.scraping.apply(config.jobs).await;
        if !same_text || changes.started + changes.ended > 0 {
            if !config.warnings.is_empty() {
                tracing::warn!("{}", config.warnings);
            }
            let (started, ended, kept) = (changes.started, changes.ended, changes.kept);
            tracing::info!(started, ended, kept, ?rules, "{name} was read again");
        }
        let mut last = self.handle.last();
        *last = Last { good: true, read_at: jiff::Timestamp::now(), shown: config.shown };
        Ok(())
    }

    /// The old configuration stays in force.
    fn refuse(&self, problems: &str) -> String {
        self.handle.last().good = false;
        let text = format!("what was in force stays: {problems}");
        tracing::error!("{text}");
        text
    }
}

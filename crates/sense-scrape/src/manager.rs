//! All jobs: their sources are followed, their targets come and go.
//!
//! ```text
//! source ── watch ──▶ job: targets of all sources ──▶ a scraper each
//! source ── watch ──▶   │ new: started │ gone: stopped, its series end │ the same: left alone
//! ```
//!
//! A reload gives jobs anew; jobs whose description is the same keep their scrapers running.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use homeostat_model::Labels;
use tokio::{
    sync::watch,
    task::{self, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    discover::{self, Found as Discovered, ReadGroups},
    fetch::Fetcher,
    scraper::{Scraper, SharedStatus, Status},
    sink::Sink,
    spec::{Discovery, HttpSpec, Job},
    target::{Found, Target, targets_of},
    tls::TlsError,
};

/// Dropped targets that are shown; the rest is counted.
const DROPPED_SHOWN_MAX: usize = 1_000;

/// How long to wait before a source that ended by a fault of ours is followed again.
const SOURCE_AGAIN: Duration = Duration::from_secs(5);

/// A target with its state, for the API.
#[derive(Clone, Debug)]
pub struct ActiveTarget {
    /// Name of its job.
    pub job: String,
    /// What is scraped.
    pub target: Target,
    /// How it is.
    pub status: Status,
}

/// What a job has found, for the API.
#[derive(Clone, Debug, Default)]
pub struct JobView {
    /// Targets that are scraped.
    pub active: Vec<ActiveTarget>,
    /// Labels of those that relabelling dropped, some of them.
    pub dropped: Vec<Labels>,
    /// How many it dropped.
    pub dropped_count: usize,
    /// Addresses that are no targets, and sources that cannot be read.
    pub troubles: Vec<String>,
    /// How often a scraper of the job ended by a fault of ours.
    pub panics: u64,
    /// How often a source of targets did.
    pub source_panics: u64,
    /// How its targets are spoken to.
    pub http: Arc<HttpSpec>,
}

/// The state of all jobs, shared with the API.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<Mutex<HashMap<String, Shown>>>);

#[derive(Debug, Default)]
struct Shown {
    active: Vec<(Target, SharedStatus)>,
    dropped: Vec<Labels>,
    dropped_count: usize,
    troubles: Vec<String>,
    panics: u64,
    source_panics: Arc<AtomicU64>,
    http: Arc<HttpSpec>,
}

impl Targets {
    /// All jobs by name, as they are now.
    pub fn view(&self) -> Vec<(String, JobView)> {
        let jobs = self.lock();
        let mut views: Vec<_> = jobs
            .iter()
            .map(|(name, shown)| {
                let active = shown.active.iter().map(|(target, status)| ActiveTarget {
                    job: name.clone(),
                    target: target.clone(),
                    status: status.get(),
                });
                let view = JobView {
                    active: active.collect(),
                    dropped: shown.dropped.clone(),
                    dropped_count: shown.dropped_count,
                    troubles: shown.troubles.clone(),
                    panics: shown.panics,
                    source_panics: shown.source_panics.load(Ordering::Relaxed),
                    http: Arc::clone(&shown.http),
                };
                (name.clone(), view)
            })
            .collect();
        views.sort_by(|(a, _), (b, _)| a.cmp(b));
        views
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is done with each target while it is one.
pub trait Workers: fmt::Debug + Send + Sync + 'static {
    /// Works until `stop`. `gone` was cancelled before when the target is none any more.
    fn work(
        self: &Arc<Self>,
        job: &Arc<Job>,
        target: Target,
        fetcher: Fetcher,
        status: SharedStatus,
        stop: CancellationToken,
        gone: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Scrapes targets into a sink.
#[derive(Debug)]
pub struct Scrapers<S>(pub Arc<S>);

impl<S: Sink + fmt::Debug> Workers for Scrapers<S> {
    fn work(
        self: &Arc<Self>,
        job: &Arc<Job>,
        target: Target,
        fetcher: Fetcher,
        status: SharedStatus,
        stop: CancellationToken,
        gone: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let scraper = Scraper::new(Arc::clone(job), target, fetcher, Arc::clone(&self.0), status);
        Box::pin(scraper.run(stop, gone))
    }
}

/// One job while it runs.
#[derive(Debug)]
struct JobTask<W> {
    job: Arc<Job>,
    http: Arc<HttpSpec>,
    fetcher: Fetcher,
    workers: Arc<W>,
    targets: Targets,
    retire: CancellationToken,
    running: HashMap<Key, Running>,
    scrapers: JoinSet<()>,
    panics: u64,
    source_panics: Arc<AtomicU64>,
}

/// Labels and address of a target.
type Key = (Labels, String);

#[derive(Debug)]
struct Running {
    target: Target,
    status: SharedStatus,
    stop: CancellationToken,
    gone: CancellationToken,
    task: task::Id,
}

/// Why a job looks up from its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Changed,
    Stopped,
}

/// Runs a job until it is stopped; then waits for its scrapers. When `retire` was cancelled before `stop`, the job is no
/// longer wanted and its series end; otherwise the process ends and will go on later.
pub async fn run_job<W: Workers>(
    job: Arc<Job>,
    read: ReadGroups,
    workers: Arc<W>,
    targets: Targets,
    stop: CancellationToken,
    retire: CancellationToken,
) -> Result<(), TlsError> {
    let http = Arc::new(job.http.clone());
    let fetcher = Fetcher::new(Arc::clone(&http))?;
    let name = job.name.clone();
    let (running, scrapers) = (HashMap::new(), JoinSet::new());
    let source_panics = Arc::default();
    let mut task =
        JobTask { job, http, fetcher, workers, targets, retire, running, scrapers, panics: 0, source_panics };
    task.follow(read, &stop).await;
    while let Some(ended) = task.scrapers.join_next_with_id().await {
        task.note_end(ended);
    }
    if task.retire.is_cancelled() {
        task.targets.lock().remove(&name);
    }
    Ok(())
}

impl<W: Workers> JobTask<W> {
    async fn follow(&mut self, read: ReadGroups, stop: &CancellationToken) {
        let mut sources = JoinSet::new();
        let mut found = Vec::new();
        // One signal for all sources: each change makes the whole list again.
        let (changed, mut changes) = watch::channel(());
        for discovery in self.job.discovery.clone() {
            let (sender, receiver) = watch::channel(Discovered::default());
            let (job, panics) = (self.job.name.clone(), Arc::clone(&self.source_panics));
            let source = Source { job, discovery, read: ReadGroups::clone(&read), found: sender, panics };
            sources.spawn(source.run(stop.clone()));
            found.push(receiver.clone());
            sources.spawn(pass_on(receiver, changed.clone(), stop.clone()));
        }
        drop(changed);
        // Until all sources have said all they will ever say: written-down targets.
        let mut speaking = true;
        loop {
            self.settle(&found, stop);
            // What changes nothing is no reason to look at all targets again.
            let settled = loop {
                tokio::select! {
                    () = stop.cancelled() => break Settled::Stopped,
                    change = changes.changed(), if speaking => match change {
                        Ok(()) => break Settled::Changed,
                        Err(_) => speaking = false,
                    },
                    Some(ended) = self.scrapers.join_next_with_id() => if self.note_end(ended) {
                        break Settled::Changed;
                    },
                    Some(_said_all) = sources.join_next() => {}
                }
            };
            if settled == Settled::Stopped {
                break;
            }
        }
        while sources.join_next().await.is_some() {}
    }

    /// Notes that a scraper has ended. True when it should not have: then its target needs another one.
    fn note_end(&mut self, ended: Result<(task::Id, ()), JoinError>) -> bool {
        let Err(error) = ended else { return false };
        let of_task = |running: &Running| running.task == error.id();
        let Some(key) = self.running.iter().find(|(_, running)| of_task(running)).map(|(key, _)| key.clone()) else {
            self.panicked("a scraper", &error);
            return false;
        };
        self.panicked(&format!("the scraper of {}", key.1), &error);
        self.running.remove(&key);
        true
    }

    fn panicked(&mut self, what: &str, error: &JoinError) {
        self.panics += 1;
        tracing::error!(job = self.job.name, %error, "{what} ended by a fault of ours; please report it");
        if let Some(shown) = self.targets.lock().get_mut(&self.job.name) {
            shown.panics = self.panics;
        }
    }

    /// Starts what is new and stops what is gone.
    fn settle(&mut self, found: &[watch::Receiver<Discovered>], stop: &CancellationToken) {
        let source_panics = Arc::clone(&self.source_panics);
        let http = Arc::clone(&self.http);
        let mut shown = Shown { panics: self.panics, source_panics, http, ..Shown::default() };
        let mut wanted = HashMap::new();
        for source in found {
            let source = source.borrow();
            shown.troubles.extend(source.trouble.clone());
            for result in source.groups.iter().flat_map(|group| targets_of(&self.job, group)) {
                match result {
                    Ok(Found::Target(target)) => {
                        wanted.insert((target.labels.clone(), target.url.clone()), *target);
                    }
                    Ok(Found::Dropped(labels)) => {
                        shown.dropped_count += 1;
                        if shown.dropped.len() < DROPPED_SHOWN_MAX {
                            shown.dropped.push(labels);
                        }
                    }
                    Err(error) => shown.troubles.push(error.to_string()),
                }
            }
        }
        let limit = self.job.limits.targets;
        if wanted.len() > limit {
            let count = wanted.len();
            shown
                .troubles
                .push(format!("{count} targets are more than the {limit} of `target_limit`; none of them is scraped"));
            wanted.clear();
        }
        self.running.retain(|key, running| {
            let same = wanted.get(key) == Some(&running.target);
            if !same {
                running.gone.cancel();
                running.stop.cancel();
            }
            same
        });
        for (key, target) in wanted {
            if !self.running.contains_key(&key) {
                let running = self.start(target, stop);
                self.running.insert(key, running);
            }
        }
        for trouble in &shown.troubles {
            tracing::warn!(job = self.job.name, trouble, "targets");
        }
        shown.active = self.running.values().map(|running| (running.target.clone(), running.status.clone())).collect();
        shown.active.sort_by(|(a, _), (b, _)| a.url.cmp(&b.url));
        self.targets.lock().insert(self.job.name.clone(), shown);
    }

    fn start(&mut self, target: Target, stop: &CancellationToken) -> Running {
        // A job that is retired takes all its targets along.
        let (status, stop, gone) = (SharedStatus::default(), stop.child_token(), self.retire.child_token());
        let (fetcher, now, end) = (self.fetcher.clone(), stop.clone(), gone.clone());
        let work = self.workers.work(&self.job, target.clone(), fetcher, status.clone(), now, end);
        let task = self.scrapers.spawn(work).id();
        Running { target, status, stop, gone, task }
    }
}

/// A source of targets, and what it takes to follow it again.
struct Source {
    job: String,
    discovery: Discovery,
    read: ReadGroups,
    found: watch::Sender<Discovered>,
    panics: Arc<AtomicU64>,
}

impl Source {
    /// Follows it until `stop`, or until it has said all. When that panics, it is told and followed anew; what was found
    /// last stays meanwhile.
    async fn run(self, stop: CancellationToken) {
        loop {
            let (discovery, read, found) = (self.discovery.clone(), ReadGroups::clone(&self.read), self.found.clone());
            let mut following = JoinSet::new();
            following.spawn(discover::follow(discovery, read, found, stop.clone()));
            let Some(Err(error)) = following.join_next().await else { return };
            self.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(job = self.job, %error, "a source of targets ended by a fault of ours; it is followed again, please report it");
            if stop.run_until_cancelled(tokio::time::sleep(SOURCE_AGAIN)).await.is_none() {
                return;
            }
        }
    }
}

/// Tells the job that a source has news.
async fn pass_on(mut found: watch::Receiver<Discovered>, changed: watch::Sender<()>, stop: CancellationToken) {
    while let Some(Ok(())) = stop.run_until_cancelled(found.changed()).await {
        changed.send_replace(());
    }
}

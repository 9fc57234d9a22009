//! Scraping into the store: the same way in as remote write, another sense.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use homeostat_api::prometheus::backend::{ScrapePool, ScrapedTarget};
use homeostat_model::{TimeMs, error_chain::chain};
use homeostat_sense_receive::{Intake, NotTaken, Taken, govern::Whole};
use homeostat_sense_scrape::{
    discover::ReadGroups,
    manager::{ActiveTarget, JobView, Scrapers, Targets, run_job},
    sink::{Sink, Storing},
    spec::Job,
};
use homeostat_wire::exposition::{Exposition, FamilyKind};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::intake::{RequestBatch, StoreIntake};
use crate::config::prometheus;

/// The store as scrapers see it.
#[derive(Debug)]
pub(super) struct ScrapeSink(pub(super) Arc<StoreIntake>);

impl Sink for ScrapeSink {
    type Batch = RequestBatch;

    fn begin(&self, now_ms: TimeMs) -> RequestBatch {
        self.0.begin_as(Whole::Scrape, now_ms)
    }

    fn commit(&self, batch: RequestBatch) -> Storing {
        let taken = self.0.commit(batch);
        Box::pin(async move {
            let Taken { rejected, durable, .. } = taken.map_err(words)?;
            for rejected in rejected {
                let (reason, count, example) = (rejected.reason, rejected.count, rejected.example);
                tracing::warn!(reason, count, example, "samples of a target were not stored");
            }
            durable.await.map_err(words)
        })
    }
}

fn words(not_taken: NotTaken) -> String {
    match not_taken {
        NotTaken::Busy(words) | NotTaken::Broken(words) => words,
    }
}

/// All jobs while they run.
#[derive(Debug)]
pub(super) struct Scraping {
    sink: Arc<Scrapers<ScrapeSink>>,
    targets: Targets,
    jobs: BTreeMap<String, RunningJob>,
}

/// One job and how to end it.
#[derive(Debug)]
struct RunningJob {
    job: Arc<Job>,
    stop: CancellationToken,
    /// Cancelled first when the job is no longer wanted: its series end.
    retire: CancellationToken,
    task: JoinHandle<()>,
}

impl RunningJob {
    /// Scrapes that run are given up.
    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(job = self.job.name, %error, "a job ended by a fault of ours; please report it");
        }
    }
}

/// What a new list of jobs changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Jobs that run now and did not, or not like this.
    pub(super) started: usize,
    /// Jobs that are gone, or run in another way.
    pub(super) ended: usize,
    /// Jobs that run on as if nothing had happened.
    pub(super) kept: usize,
}

impl Scraping {
    /// No jobs yet.
    pub(super) fn new(intake: &Arc<StoreIntake>, targets: &Targets) -> Self {
        let sink = Arc::new(Scrapers(Arc::new(ScrapeSink(Arc::clone(intake)))));
        Self { sink, targets: targets.clone(), jobs: BTreeMap::new() }
    }

    /// Runs these jobs and no others. Those that are the same run on; the series of those that are gone end.
    pub(super) async fn apply(&mut self, jobs: Vec<Job>) -> Changes {
        let mut changes = Changes::default();
        let wanted: BTreeMap<String, Job> = jobs.into_iter().map(|job| (job.name.clone(), job)).collect();
        let is_kept = |name: &String, running: &mut RunningJob| wanted.get(name) != Some(&*running.job);
        for (_, gone) in self.jobs.extract_if(.., is_kept) {
            changes.ended += 1;
            gone.retire.cancel();
            // Waited for, so that the end of its series comes before the begin of those of its successor.
            gone.end().await;
        }
        for (name, job) in wanted {
            if self.jobs.contains_key(&name) {
                changes.kept += 1;
            } else {
                changes.started += 1;
                self.jobs.insert(name, self.start(job));
            }
        }
        changes
    }

    fn start(&self, job: Job) -> RunningJob {
        let (stop, retire) = (CancellationToken::new(), CancellationToken::new());
        let job = Arc::new(job);
        let read: ReadGroups = Arc::new(prometheus::target_groups);
        let (sink, targets) = (Arc::clone(&self.sink), self.targets.clone());
        let run = run_job(Arc::clone(&job), read, sink, targets, stop.clone(), retire.clone());
        let name = job.name.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = run.await {
                tracing::error!(job = name, error = chain(&error), "the job is not scraped");
            }
        });
        RunningJob { job, stop, retire, task }
    }

    /// Stops all jobs; scrapes that run are given up, and series go on when the process comes back.
    pub(super) async fn stop(self) {
        for job in self.jobs.values() {
            job.stop.cancel();
        }
        for (_, job) in self.jobs {
            job.end().await;
        }
    }
}

/// What a person should know who asks how the process is.
pub(super) fn troubles(targets: &Targets) -> Vec<String> {
    let mut troubles = Vec::new();
    for (name, view) in targets.view() {
        for (what, times) in [("scraper", view.panics), ("source of targets", view.source_panics)] {
            if times > 0 {
                troubles.push(format!(
                    "a {what} of the job `{name}` ended {times} times by a fault of ours, and was started again"
                ));
            }
        }
    }
    troubles
}

/// Appends how often scrapers and sources of targets have panicked.
pub(super) fn metrics(targets: &Targets, out: &mut String) {
    let mut exposition = Exposition::new(out);
    let views = targets.view();
    let mut family = |name: &str, help: &str, count: fn(&JobView) -> u64| {
        let mut family = exposition.family(name, FamilyKind::Counter, help);
        for (job, view) in &views {
            family.count(&[("job", job)], count(view));
        }
    };
    let help = "How often a scraper of this job ended by a fault of ours, and was started again.";
    family("homeostat_scrape_panics_total", help, |view| view.panics);
    let help = "How often a source of targets of this job ended by a fault of ours, and was followed again.";
    family("homeostat_scrape_source_panics_total", help, |view| view.source_panics);
}

/// Jobs and targets as the API shows them.
pub(super) fn pools(targets: &Targets) -> Vec<ScrapePool> {
    let pool = |(name, JobView { active, dropped, dropped_count, .. })| ScrapePool {
        name,
        active: active.into_iter().map(shown).collect(),
        dropped,
        dropped_count,
    };
    targets.view().into_iter().map(pool).collect()
}

fn shown(ActiveTarget { target, status, .. }: ActiveTarget) -> ScrapedTarget {
    ScrapedTarget {
        discovered: target.discovered,
        labels: target.labels,
        url: target.url,
        last_error: status.error,
        last_scrape_ms: status.up.map(|_| status.last_scrape_ms),
        took: if status.up.is_some() { status.took } else { Duration::ZERO },
        interval: target.interval,
        timeout: target.timeout,
    }
}

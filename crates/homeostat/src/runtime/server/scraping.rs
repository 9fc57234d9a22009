//! Scraping into the store: the same way in as remote write, another sense.

use std::{sync::Arc, time::Duration};

use homeostat_api::prometheus::backend::{ScrapePool, ScrapedTarget};
use homeostat_model::TimeMs;
use homeostat_sense_receive::{Intake, NotTaken, Taken};
use homeostat_sense_scrape::{
    discover::ReadGroups,
    manager::{ActiveTarget, JobView, Targets, run_job},
    sink::{Sink, Storing},
    spec::Job,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::intake::{RequestBatch, StoreIntake};
use crate::{config::prometheus, error_chain::chain};

/// What is scraped.
#[derive(Clone, Debug, Default)]
pub struct ScrapeOptions {
    /// Jobs, one entry a name.
    pub jobs: Vec<Job>,
}

/// The store as scrapers see it.
#[derive(Debug)]
pub(super) struct ScrapeSink(pub(super) Arc<StoreIntake>);

impl Sink for ScrapeSink {
    type Batch = RequestBatch;

    fn begin(&self, now_ms: TimeMs) -> RequestBatch {
        self.0.begin(now_ms)
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
#[derive(Debug, Default)]
pub(super) struct Scraping {
    jobs: JoinSet<()>,
    stop: CancellationToken,
}

impl Scraping {
    /// Starts all jobs.
    pub(super) fn start(options: ScrapeOptions, intake: &Arc<StoreIntake>, targets: &Targets) -> Self {
        let mut scraping = Self::default();
        let sink = Arc::new(ScrapeSink(Arc::clone(intake)));
        let read: ReadGroups = Arc::new(prometheus::target_groups);
        for job in options.jobs {
            let (read, sink, targets) = (ReadGroups::clone(&read), Arc::clone(&sink), targets.clone());
            let (stop, name) = (scraping.stop.clone(), job.name.clone());
            scraping.jobs.spawn(async move {
                // The process ends with its jobs, so none is ever retired.
                let ended = run_job(Arc::new(job), read, sink, targets, stop, CancellationToken::new()).await;
                if let Err(error) = ended {
                    tracing::error!(job = name, error = chain(&error), "the job is not scraped");
                }
            });
        }
        scraping
    }

    /// Stops all jobs; scrapes that run are given up.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.jobs.join_next().await.is_some() {}
    }
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

//! The life of one target: a scrape at each interval, until it is told to end.
//!
//! Each scrape is one batch: the target's samples, stale markers for what has ended, and what is said about the scrape
//! itself (`up` and its companions). When something fails, the batch is thrown away and another says so: `up` is 0 and
//! every series has ended, so that no query shows half a target. A scrape that takes too long skips the next one; it
//! never runs twice at once.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use homeostat_model::{Labels, TimeMs, error_chain::chain, labels::METRIC_NAME};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::{
    cycle::{Counts, Cycle, LimitError, one},
    fetch::{Answer, FetchError, Fetcher, Question, accept_of, now_ms},
    format::{self, FormatError},
    sink::Sink,
    spec::Job,
    target::Target,
};

/// A scrape that begins this close to its time is given that time: steps without jitter take far fewer bytes.
const TOLERANCE_MS: TimeMs = 2;

/// How a target is, for the API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Whether the last scrape succeeded; `None` before the first.
    pub up: Option<bool>,
    /// When the last one began, milliseconds since 1970.
    pub last_scrape_ms: TimeMs,
    /// How long it took.
    pub took: Duration,
    /// Why it failed.
    pub error: Option<String>,
}

/// A target's status, shared with the API.
#[derive(Clone, Debug, Default)]
pub struct SharedStatus(Arc<Mutex<Status>>);

impl SharedStatus {
    /// The status as it is now.
    pub fn get(&self) -> Status {
        self.lock().clone()
    }

    /// Says how the target is now.
    pub fn set(&self, status: Status) {
        *self.lock() = status;
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a scrape failed.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Limit(#[from] LimitError),
    #[error("the store did not take the samples: {0}")]
    Store(String),
}

/// Scrapes one target.
#[derive(Debug)]
pub struct Scraper<S> {
    job: Arc<Job>,
    target: Target,
    fetcher: Fetcher,
    sink: Arc<S>,
    status: SharedStatus,
    cycle: Cycle,
    accept: String,
    meta: Meta,
}

/// Labels of the series about the scrape itself.
#[derive(Debug)]
struct Meta {
    up: Labels,
    duration: Labels,
    scraped: Labels,
    kept: Labels,
    added: Labels,
}

impl Meta {
    fn of(target: &Labels) -> Self {
        let named = |name| target.with(METRIC_NAME, name);
        Self {
            up: named("up"),
            duration: named("scrape_duration_seconds"),
            scraped: named("scrape_samples_scraped"),
            kept: named("scrape_samples_post_metric_relabeling"),
            added: named("scrape_series_added"),
        }
    }
}

impl<S: Sink> Scraper<S> {
    /// Sets a scraper up; nothing is asked yet.
    pub fn new(job: Arc<Job>, target: Target, fetcher: Fetcher, sink: Arc<S>, status: SharedStatus) -> Self {
        let cycle = Cycle::new(Arc::clone(&job), target.labels.clone());
        let (accept, meta) = (accept_of(&job.formats), Meta::of(&target.labels));
        Self { job, target, fetcher, sink, status, cycle, accept, meta }
    }

    /// Scrapes until it is stopped. `gone`: the target is no longer one, so its series end; without it the process ends
    /// and will go on later.
    pub async fn run(mut self, stop: CancellationToken, gone: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + self.target.first_wait(now_ms()), self.target.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut schedule = Schedule::new(self.target.interval);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let t_ms = schedule.time_of(now_ms());
            if stop.run_until_cancelled(self.once(t_ms)).await.is_none() {
                break;
            }
        }
        if gone.is_cancelled() {
            self.retire(now_ms()).await;
        }
    }

    /// One scrape, whatever comes of it.
    async fn once(&mut self, t_ms: TimeMs) {
        let began = Instant::now();
        let question = Question {
            url: &self.target.url,
            timeout: self.target.timeout,
            accept: &self.accept,
            compression: self.job.compression,
            body_bytes_max: self.job.limits.body_bytes,
        };
        let result = match self.fetcher.get(&question).await {
            Ok(answer) => self.store(&answer, t_ms, began).await,
            Err(error) => Err(error.into()),
        };
        if result.is_err() {
            self.store_failure(t_ms, began).await;
        }
        let error = result.err().map(|error| chain(&error));
        if let Some(error) = &error {
            tracing::debug!(target = self.target.url, error, "a scrape failed");
        }
        self.status.set(Status { up: Some(error.is_none()), last_scrape_ms: t_ms, took: began.elapsed(), error });
    }

    async fn store(&mut self, answer: &Answer, t_ms: TimeMs, began: Instant) -> Result<(), ScrapeError> {
        let mut batch = self.sink.begin(t_ms);
        let mut scrape = self.cycle.scrape(t_ms, &mut batch);
        let counts = match format::read(answer, &self.job, &mut scrape) {
            Ok(()) => scrape.finish()?,
            Err(error) => {
                scrape.abandon();
                return Err(error.into());
            }
        };
        self.report(&mut batch, t_ms, began.elapsed(), Some(counts));
        self.sink.commit(batch).await.map_err(ScrapeError::Store)
    }

    async fn store_failure(&mut self, t_ms: TimeMs, began: Instant) {
        let mut batch = self.sink.begin(t_ms);
        self.cycle.end_all(t_ms, &mut batch);
        self.report(&mut batch, t_ms, began.elapsed(), None);
        // What a store that takes nothing says has been said by the scrape before.
        let _ = self.sink.commit(batch).await;
    }

    fn report(&self, batch: &mut S::Batch, t_ms: TimeMs, took: Duration, counts: Option<Counts>) {
        let Counts { scraped, kept, added } = counts.unwrap_or_default();
        let up = f64::from(u8::from(counts.is_some()));
        for (labels, value) in [
            (&self.meta.up, up),
            (&self.meta.duration, took.as_secs_f64()),
            (&self.meta.scraped, scraped as f64),
            (&self.meta.kept, kept as f64),
            (&self.meta.added, added as f64),
        ] {
            one(batch, labels, t_ms, value);
        }
    }

    /// The target is no longer one: everything of it ends.
    async fn retire(mut self, t_ms: TimeMs) {
        let mut batch = self.sink.begin(t_ms);
        self.cycle.end_all(t_ms, &mut batch);
        for labels in [&self.meta.up, &self.meta.duration, &self.meta.scraped, &self.meta.kept, &self.meta.added] {
            one(&mut batch, labels, t_ms, homeostat_model::sample::stale_marker());
        }
        if let Err(error) = self.sink.commit(batch).await {
            tracing::warn!(target = self.target.url, error, "the end of a target's series was not stored");
        }
    }
}

/// Gives scrapes their times.
#[derive(Debug)]
struct Schedule {
    interval_ms: TimeMs,
    due_ms: Option<TimeMs>,
}

impl Schedule {
    fn new(interval: Duration) -> Self {
        Self { interval_ms: TimeMs::try_from(interval.as_millis()).unwrap_or(TimeMs::MAX).max(1), due_ms: None }
    }

    /// The time of a scrape that begins now: the one it was due at, if that is close.
    fn time_of(&mut self, now_ms: TimeMs) -> TimeMs {
        let due_ms = self.due_ms.map_or(now_ms, |due_ms| {
            let steps = (now_ms - due_ms + self.interval_ms / 2).div_euclid(self.interval_ms);
            due_ms + steps * self.interval_ms
        });
        let tolerance_ms = TOLERANCE_MS.min(self.interval_ms / 100);
        let t_ms = if (now_ms - due_ms).abs() <= tolerance_ms { due_ms } else { now_ms };
        self.due_ms = Some(t_ms);
        t_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_jitter_is_taken_out_of_times() {
        let mut schedule = Schedule::new(Duration::from_secs(15));
        let times: Vec<_> = [1_000, 16_001, 30_999, 46_100, 61_101].map(|now| schedule.time_of(now)).into();
        assert_eq!(times, [1_000, 16_000, 31_000, 46_100, 61_100]);
        let mut fast = Schedule::new(Duration::from_millis(100));
        assert_eq!([fast.time_of(0), fast.time_of(101), fast.time_of(203)], [0, 100, 203]);
    }
}

//! What all doors have in common: a share of the budget, a worker, and the disk.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::body::Body;
use bytes::Bytes;
use homeostat_model::TimeMs;
use http::HeaderMap;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    body::{Budget, Held, NoBody},
    checked::Checked,
    intake::{Durable, Intake, NotTaken, Rejected, Taken, Written},
    limits::{DURABLE_TIMEOUT, PATIENCE, ReceiveLimits},
    problem::{Kind, Problem},
};

/// Between requests and a store.
#[derive(Debug)]
pub(crate) struct Gate<I> {
    pub(crate) intake: Arc<I>,
    pub(crate) entrance: Arc<Entrance>,
}

/// Budget and workers, whatever the store.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) limits: ReceiveLimits,
    pub(crate) budget: Budget,
    workers: Arc<Semaphore>,
}

/// What a worker makes of a body: what the store took, and what else there is to say.
pub(crate) type Decoded<T> = Result<(Taken, T), Problem>;

/// What became of a request, all of it as durable as the store promises.
#[derive(Debug)]
pub(crate) struct Stored<T> {
    pub(crate) written: Written,
    /// By the store.
    pub(crate) rejected: Vec<Rejected>,
    /// What the decoder said.
    pub(crate) said: T,
}

impl Entrance {
    fn new(limits: ReceiveLimits) -> Self {
        let budget = Budget::new(limits.bodies_bytes_max, limits.body_bytes_max);
        let workers = Arc::new(Semaphore::new(limits.workers));
        Self { limits, budget, workers }
    }

    /// Another entrance that shares the budget and has `workers` of its own: who waits there holds nobody up here.
    pub(crate) fn beside(&self, workers: usize) -> Self {
        let workers = Arc::new(Semaphore::new(workers.max(1)));
        Self { limits: self.limits.clone(), budget: self.budget.clone(), workers }
    }

    /// Reads a body within its share of the budget.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Held, Problem> {
        self.budget.read(headers, body).await.map_err(|problem| match problem {
            NoBody::TooLarge => {
                let limit = self.limits.body_bytes_max;
                Problem::new(
                    Kind::TooLarge,
                    format!("a body has at most {limit} bytes; send fewer samples per request"),
                )
            }
            NoBody::NoRoom => Problem::new(Kind::Busy, "too many requests are on their way; send again later"),
            NoBody::TooSlow => Problem::new(Kind::TooSlow, "the body did not arrive in time"),
            NoBody::Broken => Problem::new(Kind::Unreadable, "the body ended before it was complete"),
        })
    }

    /// Has a worker do something, which must not wait for other requests: they might wait for a worker.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let worker = self.worker().await?;
        let work = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(worker);
            result
        });
        work.await.map_err(|_panicked| {
            Problem::new(Kind::Bug, "the request could not be decoded; this is our fault, please report it")
        })?
    }

    async fn worker(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match timeout(PATIENCE, Arc::clone(&self.workers).acquire_owned()).await {
            Ok(Ok(worker)) => Ok(worker),
            _ => Err(NotTaken::Busy("all workers are busy; send again later".to_owned()).into()),
        }
    }
}

/// Waits until what was taken is durable, for as long as a sender waits.
pub(crate) async fn settle(durable: Durable) -> Result<(), Problem> {
    match timeout(DURABLE_TIMEOUT, durable).await {
        Ok(durable) => durable.map_err(Problem::from),
        Err(_elapsed) => {
            let text = format!("the disk did not answer within {} s", DURABLE_TIMEOUT.as_secs());
            Err(NotTaken::Broken(text).into())
        }
    }
}

impl<I: Intake> Gate<I> {
    pub(crate) fn new(intake: Arc<I>, limits: ReceiveLimits) -> Self {
        Self { intake, entrance: Arc::new(Entrance::new(limits)) }
    }

    /// Reads a body within its share of the budget.
    pub(crate) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Held, Problem> {
        self.entrance.read(headers, body).await
    }

    /// Has a worker decode a body and hand it to the store, then waits for the disk.
    pub(crate) async fn store<T: Send + 'static>(
        &self,
        held: Held,
        decode: impl FnOnce(&Bytes) -> Decoded<T> + Send + 'static,
    ) -> Result<Stored<T>, Problem> {
        let decoded = self.work(move || {
            let result = decode(&held.bytes);
            // Free before the disk is waited for.
            drop(held);
            result
        });
        self.durable(decoded.await?).await
    }

    /// See [`Entrance::work`].
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.entrance.work(work).await
    }

    /// Waits until what the store took is as durable as it promises.
    pub(crate) async fn durable<T>(&self, (taken, said): (Taken, T)) -> Result<Stored<T>, Problem> {
        settle(taken.durable).await?;
        Ok(Stored { written: taken.written, rejected: taken.rejected, said })
    }

    /// An empty batch.
    pub(crate) fn begin(&self) -> Checked<I::Batch> {
        Checked::new(self.intake.begin(now_ms()))
    }

    /// Hands a batch over, and gives beside what did not even reach it.
    pub(crate) fn commit(&self, checked: Checked<I::Batch>) -> Decoded<Vec<Rejected>> {
        Ok((self.intake.commit(checked.batch)?, checked.refused))
    }
}

/// When a request arrived.
pub(crate) fn now_ms() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs::try_from(since.as_millis()).unwrap_or(TimeMs::MAX)
}

//! A lane: forms requests of its records, in order, and sees each through to its answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use homeostat_store_wal::Ticket;
use homeostat_wire::{
    intake::{Collected, IntakeLimits},
    remote_write::{EncoderV2, decode_v1},
    snappy,
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    carrier::{Answer, Carrier, Version},
    counters::{Counters, Dropped},
    entry::Head,
    limits::{NOT_DURABLE_WAIT, REQUEST_BYTES_MAX, RETRY_AFTER_MAX},
    position::Position,
    queue::{Entry, Queue, Refill},
    relay::{RelaySpec, now_ms},
};

/// What a lane needs, and what it takes to start it again.
#[derive(Clone)]
pub(crate) struct LaneParts {
    pub(crate) number: usize,
    pub(crate) spec: Arc<RelaySpec>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) places: Arc<Semaphore>,
}

/// One lane of a destination.
pub(crate) struct Lane {
    parts: LaneParts,
    /// What blocks for the disk; it goes on when the lane is stopped, and who runs the lane waits for it.
    work: TaskTracker,
    answered: u64,
}

/// Records that travel together.
struct Load {
    entries: Vec<Entry>,
    /// It may have arrived: the last run was sending exactly these when it ended, or an answer was lost.
    perhaps: bool,
}

impl Load {
    fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.seq)
    }

    fn heads(&self) -> Vec<Head> {
        self.entries.iter().map(|entry| entry.head).collect()
    }

    fn samples(&self) -> u64 {
        self.entries.iter().map(|entry| entry.head.all()).sum()
    }
}

/// The lane is to end.
struct Stopped;

impl Lane {
    pub(crate) fn new(parts: LaneParts, work: TaskTracker) -> Self {
        Self { parts, work, answered: 0 }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        // Stopping drops whatever is under way; the note on disk says what that was.
        stop.run_until_cancelled(self.send_all()).await;
    }

    async fn send_all(&mut self) {
        let number = self.parts.number;
        let Ok((answered, entries)) = self.patiently(move |queue| queue.interrupted(number)).await else { return };
        self.answered = answered;
        if !entries.is_empty() && self.see_through(Load { entries, perhaps: true }).await.is_err() {
            return;
        }
        while let Ok(load) = self.next_load().await {
            if self.see_through(load).await.is_err() {
                return;
            }
        }
    }

    /// Does something that blocks, again and again until the disk lets it.
    async fn patiently<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
        &self,
        work: impl Fn(&Queue) -> Result<T, E> + Clone + Send + 'static,
    ) -> Result<T, Stopped> {
        let mut wait = self.parts.spec.backoff_min;
        loop {
            let (queue, work) = (Arc::clone(&self.parts.queue), work.clone());
            match self.work.spawn_blocking(move || work(&queue)).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => {
                    if self.parts.counters.trouble(&error.to_string()) {
                        tracing::error!(%error, remote = self.parts.spec.name, "the queue cannot be read or written; it is tried again");
                    }
                }
                // Our own mistake, and the lane's end as much as one of its own.
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_cancelled) => return Err(Stopped),
                },
            }
            tokio::time::sleep(wait).await;
            wait = longer(wait, &self.parts.spec);
        }
    }

    /// Gathers records until a request is full or has waited long enough.
    async fn next_load(&self) -> Result<Load, Stopped> {
        let (mut entries, mut samples, mut bytes) = (Vec::new(), 0, 0);
        let mut deadline = None;
        loop {
            let (next, spilled) = self.parts.queue.peek(self.parts.number);
            match next {
                Some(head) => {
                    let full = self.parts.spec.samples_per_send_max as u64;
                    if !entries.is_empty() && full < samples + head.all() {
                        break;
                    }
                    let Some(entry) = self.parts.queue.take(self.parts.number) else { continue };
                    samples += entry.head.all();
                    bytes += entry.packed.len();
                    entries.push(entry);
                    // Packed records are several times smaller than what they hold.
                    if full <= samples || REQUEST_BYTES_MAX / 4 <= bytes {
                        break;
                    }
                    deadline.get_or_insert_with(|| Instant::now() + self.parts.spec.batch_deadline);
                }
                None if spilled => {
                    let number = self.parts.number;
                    if let Refill::NotDurable(ticket) = self.patiently(move |queue| queue.refill(number)).await? {
                        durable(ticket).await;
                    }
                }
                None => match deadline {
                    None => self.parts.queue.news(self.parts.number).await,
                    Some(deadline) => {
                        if tokio::time::timeout_at(deadline, self.parts.queue.news(self.parts.number)).await.is_err() {
                            break;
                        }
                    }
                },
            }
        }
        Ok(Load { entries, perhaps: false })
    }

    /// Sends until there is an answer that ends it.
    async fn see_through(&mut self, mut load: Load) -> Result<(), Stopped> {
        for entry in &mut load.entries {
            if let Some(ticket) = entry.ticket.take() {
                durable(ticket).await;
            }
        }
        let (number, last) = (self.parts.number, load.last());
        let position = Position { answered: self.answered, sending: last };
        if !load.perhaps {
            self.patiently(move |queue| queue.note(number, position)).await?;
        }
        self.deliver(&mut load).await;
        self.answered = last;
        let idle = matches!(self.parts.queue.peek(number), (None, false));
        let position = Position { answered: last, sending: last };
        self.patiently(move |queue| {
            if idle {
                queue.note(number, position)?;
            }
            queue.answered(number, last);
            Ok::<_, std::io::Error>(())
        })
        .await
    }

    async fn deliver(&self, load: &mut Load) {
        let samples = load.samples();
        let Some(body) = self.body(load) else {
            self.parts.counters.failed(samples);
            tracing::error!(
                remote = self.parts.spec.name,
                samples,
                "records of the queue cannot be read and are left out"
            );
            return;
        };
        let mut wait = self.parts.spec.backoff_min;
        loop {
            if self.too_old(load) {
                self.parts.counters.dropped(samples, Dropped::TooOld);
                tracing::warn!(
                    remote = self.parts.spec.name,
                    samples,
                    "samples are too old to be sent and are dropped"
                );
                return;
            }
            // The semaphore is never closed.
            let place = self.parts.places.acquire().await;
            let answer = self.parts.carrier.carry(body.clone(), self.parts.spec.version).await;
            drop(place);
            match answer {
                Answer::Taken { written } => {
                    self.parts.counters.sent(&load.heads(), body.len(), written);
                    self.parts.counters.well();
                    return;
                }
                // Where the destination says how much it wrote, that is of this sending alone: what it wrote of the one
                // whose answer was lost is refused now as out of order, and has arrived all the same.
                Answer::Refused { status: 400, .. } if load.perhaps => {
                    tracing::info!(remote = self.parts.spec.name, samples, "what was sent again had arrived before");
                    self.parts.counters.sent(&load.heads(), body.len(), None);
                    self.parts.counters.well();
                    return;
                }
                Answer::Refused { status, why, written } => {
                    match written {
                        Some(_) => self.parts.counters.sent(&load.heads(), body.len(), written),
                        None => self.parts.counters.failed(samples),
                    }
                    if self.parts.counters.trouble(&why) {
                        tracing::error!(
                            remote = self.parts.spec.name,
                            status,
                            samples,
                            "samples are refused, in part or all of them, and dropped: {why}"
                        );
                    }
                    return;
                }
                Answer::Later { after, why, perhaps } => {
                    load.perhaps |= perhaps;
                    self.parts.counters.retried(samples);
                    if self.parts.counters.trouble(&why) {
                        tracing::warn!(remote = self.parts.spec.name, "samples wait: {why}");
                    }
                    tokio::time::sleep(wait.max(after.unwrap_or_default()).min(RETRY_AFTER_MAX)).await;
                    wait = longer(wait, &self.parts.spec);
                }
            }
        }
    }

    fn too_old(&self, load: &Load) -> bool {
        let age_max = i64::try_from(self.parts.spec.age_max.as_millis()).unwrap_or(i64::MAX);
        let oldest = now_ms().saturating_sub(age_max);
        load.entries.last().is_some_and(|entry| entry.head.arrived_ms < oldest)
    }

    /// The packed request. Messages of 1.0 one behind the other are one message.
    fn body(&self, load: &Load) -> Option<Bytes> {
        let mut message = Vec::new();
        let mut piece = Vec::new();
        for entry in &load.entries {
            snappy::decompress(&entry.packed, 64 * REQUEST_BYTES_MAX, &mut piece).ok()?;
            message.extend_from_slice(&piece);
        }
        if self.parts.spec.version == Version::V2 {
            let mut read = Collected::default();
            decode_v1(&message, &IntakeLimits::default(), &mut read).ok()?;
            let mut encoder = EncoderV2::default();
            for series in &read.series {
                encoder.series(&series.labels, &series.samples, &series.histograms, &[], None);
            }
            message = encoder.finish();
        }
        snappy::compress(&message).ok().map(Bytes::from)
    }
}

/// Waits until a record is on disk. A disk that refuses is tried again by the log; until then nothing may leave.
async fn durable(mut ticket: Ticket) {
    while (&mut ticket).await.is_err() {
        tokio::time::sleep(NOT_DURABLE_WAIT).await;
    }
}

fn longer(wait: Duration, spec: &RelaySpec) -> Duration {
    (wait * 2).min(spec.backoff_max)
}

//! The courier: takes windows to the server, one after the other, each until there is an answer that ends it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use homeostat_model::{TimeMs, error_chain::chain};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    carrier::{Answer, Carrier, Hindrance},
    counters::Dropped,
    entry::Entry,
    limits::{ATTEMPTS_MAX, BACKOFF_MAX, BACKOFF_MIN, NOT_DURABLE_WAIT, RETRY_AFTER_MAX},
    queue::{Next, WindowQueue},
};

/// Gives milliseconds since 1970.
pub type WallClock = Arc<dyn Fn() -> TimeMs + Send + Sync>;

/// Who takes windows, and when it is.
struct Courier {
    carrier: Arc<dyn Carrier>,
    clock: WallClock,
}

impl WindowQueue {
    /// Ships until `stop`. What is under way then is sent again by the next run, and counts once. `clock` says how old
    /// windows are.
    pub async fn ship(self: Arc<Self>, carrier: Arc<dyn Carrier>, clock: WallClock, stop: CancellationToken) {
        stop.run_until_cancelled(self.ship_all(&Courier { carrier, clock })).await;
    }

    async fn ship_all(self: &Arc<Self>, courier: &Courier) {
        let mut wait = BACKOFF_MIN;
        loop {
            let news = self.news.notified();
            let queue = Arc::clone(self);
            let next = tokio::task::spawn_blocking(move || queue.next()).await;
            if matches!(next, Ok(Ok(_))) && self.counters.queue_trouble.note("") {
                tracing::info!("the queue can be read");
            }
            match next {
                Ok(Ok(Next::Batch(batch))) => {
                    wait = BACKOFF_MIN;
                    self.ship_batch(batch, courier).await;
                }
                Ok(Ok(Next::NotDurable(ticket))) => {
                    if ticket.await.is_err() {
                        sleep(NOT_DURABLE_WAIT).await;
                    }
                }
                Ok(Ok(Next::Nothing)) => news.await,
                Ok(Err(error)) => {
                    self.unreadable(&chain(&error), wait).await;
                    wait = longer(wait);
                }
                Err(_panicked) => {
                    self.unreadable("this is our fault, please report it", wait).await;
                    wait = longer(wait);
                }
            }
        }
    }

    async fn unreadable(&self, why: &str, wait: Duration) {
        if self.counters.queue_trouble.note(why) {
            tracing::error!(why, "the queue cannot be read; it is tried again");
        }
        sleep(wait).await;
    }

    async fn ship_batch(self: &Arc<Self>, batch: Vec<(u64, Option<Entry>)>, courier: &Courier) {
        for (number, entry) in batch {
            match entry {
                Some(entry) => self.see_through(number, entry, courier).await,
                None => self.counters.dropped(Dropped::Unreadable, 1),
            }
            let queue = Arc::clone(self);
            // A panic there is our own mistake; the window is sent again after the next start.
            drop(tokio::task::spawn_blocking(move || queue.done(number)).await);
        }
    }

    /// Sends a window until there is an answer that ends it, or it is of no use any more.
    async fn see_through(&self, number: u64, entry: Entry, courier: &Courier) {
        let body = Bytes::from(entry.body);
        let (mut wait, mut failed) = (BACKOFF_MIN, 0);
        loop {
            // The queue was full, and has counted it.
            let Some(window) = self.take(number) else { return };
            if self.is_too_old(entry.arrived_ms, (courier.clock)()) {
                self.counters.dropped(Dropped::TooOld, 1);
                tracing::warn!(number, "a window is too old to be shipped and is dropped");
                return;
            }
            match courier.carrier.carry(window, body.clone()).await {
                Answer::Taken { repeated } => {
                    self.counters.shipped(body.len(), repeated);
                    if self.counters.server_trouble.note("") {
                        tracing::info!(number, "windows are shipped");
                    }
                    return;
                }
                Answer::Refused { why } => {
                    self.counters.dropped(Dropped::Refused, 1);
                    // It answers, and says what is wrong with this one.
                    self.counters.server_trouble.note("");
                    tracing::error!(number, why, "the server will never take a window; it is dropped");
                    return;
                }
                Answer::Later { hindrance, after, why } => {
                    failed += u32::from(hindrance == Hindrance::Window);
                    if ATTEMPTS_MAX <= failed {
                        self.counters.dropped(Dropped::GivenUp, 1);
                        tracing::error!(
                            number,
                            why,
                            failed,
                            "the server has failed over a window so many times; it is dropped"
                        );
                        return;
                    }
                    self.counters.retried();
                    if self.counters.server_trouble.note(&why) {
                        tracing::warn!(why, "windows wait");
                    }
                    sleep(wait.max(after.unwrap_or_default()).min(RETRY_AFTER_MAX)).await;
                    wait = longer(wait);
                }
            }
        }
    }

    /// Also if it is of a time that far ahead: the clock was wrong, and waiting for that time would keep all others.
    fn is_too_old(&self, arrived_ms: TimeMs, now_ms: TimeMs) -> bool {
        let age_max = u64::try_from(self.spec().age_max.as_millis()).unwrap_or(u64::MAX);
        age_max < arrived_ms.abs_diff(now_ms)
    }
}

fn longer(wait: Duration) -> Duration {
    (wait * 2).min(BACKOFF_MAX)
}

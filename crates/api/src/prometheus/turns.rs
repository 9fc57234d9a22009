//! Whose turn it is: queries run on threads of their own, a few at a time, each for a limited time.
//!
//! A request waits for one of the places; when too many wait already it is refused at once, and when its own time is over
//! before its turn comes it ends as timed out. The work asks its [`Stop`] now and then. When the client goes away,
//! the future here is dropped and the work is told to stop. Its place is free again when the work has really ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::response::Response;
use http::HeaderValue;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{
    backend::Stop,
    error::{ApiError, ErrorKind},
    limits::{QUERIES_WAITING_MAX, STUCK_AFTER},
    stream::{Begin, Gone, Writer},
};

/// What the answers of one request look like.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// How long it may take, waiting included.
    pub(crate) timeout: Duration,
    /// Type of the answer.
    pub(crate) content_type: HeaderValue,
    /// Whether the client takes gzip.
    pub(crate) gzip: bool,
}

/// The places, and what is counted about them.
#[derive(Debug)]
pub(crate) struct Turns {
    places: Arc<Semaphore>,
    pub(crate) waiting: Arc<AtomicU64>,
    pub(crate) running: Arc<AtomicU64>,
    pub(crate) refused: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) given_up: Arc<AtomicU64>,
}

impl Turns {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            waiting: Arc::default(),
            running: Arc::default(),
            refused: AtomicU64::new(0),
            late: AtomicU64::new(0),
            given_up: Arc::default(),
        }
    }

    /// Runs `work` when its turn comes. It gives what writes the answer, which then runs on the same thread.
    pub(crate) async fn run<W>(
        &self,
        wanted: Wanted,
        work: impl FnOnce(&Stop) -> Result<W, ApiError> + Send + 'static,
    ) -> Result<Response, ApiError>
    where
        W: FnOnce(&mut Writer) -> Result<(), Gone>,
    {
        let began = Instant::now();
        let place = self.place(wanted.timeout).await?;
        let left = wanted.timeout.saturating_sub(began.elapsed());
        let stop = Arc::new(Stop::after(left));
        let (begin, begun) = oneshot::channel();
        let unless_answered = GiveUp(Some(Arc::clone(&stop)));
        let (running, given_up) = (Counted::one(&self.running), Arc::clone(&self.given_up));
        tokio::task::spawn_blocking(move || {
            if carry_out(wanted, begin, || work(&stop)).is_err() {
                given_up.fetch_add(1, Ordering::Relaxed);
            }
            drop((running, place));
        });
        let answer = match timeout(left.saturating_add(STUCK_AFTER), begun).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panicked)) => Err(ApiError::new(ErrorKind::Internal, "the query ended without an answer")),
            Err(_elapsed) => {
                drop(unless_answered);
                return Err(self.too_late("query timed out in expression evaluation"));
            }
        };
        // What has begun is written to its end.
        unless_answered.defuse();
        if answer.as_ref().is_err_and(|error| error.kind == ErrorKind::Timeout) {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    async fn place(&self, patience: Duration) -> Result<OwnedSemaphorePermit, ApiError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let waiting = Counted::one(&self.waiting);
        if waiting.others >= QUERIES_WAITING_MAX as u64 {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let text = format!("{QUERIES_WAITING_MAX} queries are waiting already; try again later");
            return Err(ApiError::new(ErrorKind::Unavailable, text));
        }
        match timeout(patience, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            // The semaphore is never closed.
            Ok(Err(_)) => Err(ApiError::new(ErrorKind::Unavailable, "the server is stopping")),
            Err(_elapsed) => Err(self.too_late("query timed out in query queue")),
        }
    }

    fn too_late(&self, text: &str) -> ApiError {
        self.late.fetch_add(1, Ordering::Relaxed);
        ApiError::new(ErrorKind::Timeout, text)
    }
}

/// On the thread of the work: does it, and writes what came out.
fn carry_out<W>(wanted: Wanted, begin: Begin, work: impl FnOnce() -> Result<W, ApiError>) -> Result<(), Gone>
where
    W: FnOnce(&mut Writer) -> Result<(), Gone>,
{
    match work() {
        Ok(write) => {
            let mut writer = Writer::new(begin, wanted.content_type, wanted.gzip);
            write(&mut writer)?;
            writer.finish()
        }
        Err(error) => begin.send(Err(error)).map_err(|_| Gone),
    }
}

/// One of those that a gauge counts, until it is dropped, however that happens.
struct Counted {
    gauge: Arc<AtomicU64>,
    others: u64,
}

impl Counted {
    fn one(gauge: &Arc<AtomicU64>) -> Self {
        Self { others: gauge.fetch_add(1, Ordering::Relaxed), gauge: Arc::clone(gauge) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells the work to stop when nobody waits for it any more.
struct GiveUp(Option<Arc<Stop>>);

impl GiveUp {
    fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        if let Some(stop) = &self.0 {
            stop.give_up();
        }
    }
}

//! `POST /api/v1/write`: from a request to an answer.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use homeostat_model::TimeMs;
use homeostat_wire::{
    intake::{Fault, MetadataView, Refusal, SeriesKey, SeriesSink, SeriesView, labels_builder, metric_name},
    remote_write::{WriteError, decode_v1, decode_v2, unpack},
    snappy::SnappyError,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    body::{Budget, NoBody},
    counters::Counters,
    intake::{Intake, NotTaken, Rejected, Taken, Written},
    limits::{COMPLAINTS_MAX, DURABLE_TIMEOUT, PATIENCE, RETRY_AFTER_S, ReceiveLimits},
    media::{self, Version},
};

/// Takes requests for a store.
#[derive(Debug)]
pub struct Receiver<I> {
    intake: Arc<I>,
    limits: ReceiveLimits,
    budget: Budget,
    workers: Arc<Semaphore>,
    counters: Counters,
}

impl<I: Intake> Receiver<I> {
    /// A receiver in front of a store.
    pub fn new(intake: Arc<I>, limits: ReceiveLimits) -> Arc<Self> {
        let budget = Budget::new(limits.bodies_bytes_max, limits.body_bytes_max);
        let workers = Arc::new(Semaphore::new(limits.workers));
        Arc::new(Self { intake, limits, budget, workers, counters: Counters::default() })
    }

    /// Its routes, to be merged into a server's.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/api/v1/write", post(write::<I>)).with_state(Arc::clone(self))
    }

    /// Appends its metrics in the Prometheus text format 0.0.4.
    pub fn metrics(&self, out: &mut String) {
        self.counters.write(self.budget.used(), out);
    }

    async fn take(self: &Arc<Self>, version: Version, request: Request) -> Result<Reply, Reply> {
        media::check_encoding(request.headers())
            .map_err(|text| Reply::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))?;
        let (parts, body) = request.into_parts();
        let held = self.budget.read(&parts.headers, body).await.map_err(|problem| self.no_body(problem))?;
        self.counters.body(held.bytes.len());
        let worker = self.worker().await?;
        let receiver = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let result = receiver.store(version, &held.bytes);
            // Both are free before the disk is waited for.
            drop((held, worker));
            result
        });
        let (taken, refused) = work.await.map_err(|_panicked| {
            Reply::new(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be decoded; this is our fault")
        })??;
        match timeout(DURABLE_TIMEOUT, taken.durable).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) => return Err(Reply::not_taken(problem)),
            Err(_elapsed) => {
                let text = format!("the disk did not answer within {} s", DURABLE_TIMEOUT.as_secs());
                return Err(Reply::not_taken(NotTaken::Broken(text)));
            }
        }
        self.counters.written(taken.written);
        let rejected: Vec<Rejected> = taken.rejected.into_iter().chain(refused).collect();
        self.counters.rejected(&rejected);
        Ok(Reply::taken(taken.written, &rejected))
    }

    async fn worker(&self) -> Result<OwnedSemaphorePermit, Reply> {
        match timeout(PATIENCE, Arc::clone(&self.workers).acquire_owned()).await {
            Ok(Ok(worker)) => Ok(worker),
            _ => Err(Reply::not_taken(NotTaken::Busy("all workers are busy; send again later".to_owned()))),
        }
    }

    /// Decodes a body and hands it to the store.
    fn store(&self, version: Version, body: &Bytes) -> Result<(Taken, Vec<Rejected>), Reply> {
        let limits = &self.limits.intake;
        let mut sink = Checked { batch: self.intake.begin(now_ms()), refused: Vec::new() };
        let mut unpacked = Vec::new();
        unpack(body, limits, &mut unpacked)
            .and_then(|()| match version {
                Version::V1 => decode_v1(&unpacked, limits, &mut sink),
                Version::V2 => decode_v2(&unpacked, limits, &mut sink),
            })
            .map_err(|error| Reply::unreadable(&error))?;
        let taken = self.intake.commit(sink.batch).map_err(Reply::not_taken)?;
        Ok((taken, sink.refused))
    }

    fn no_body(&self, problem: NoBody) -> Reply {
        match problem {
            NoBody::TooLarge => {
                let text =
                    format!("a body has at most {} bytes; send fewer samples per request", self.limits.body_bytes_max);
                Reply::new(StatusCode::PAYLOAD_TOO_LARGE, text)
            }
            NoBody::NoRoom => {
                Reply::not_taken(NotTaken::Busy("too many requests are on their way; send again later".to_owned()))
            }
            NoBody::TooSlow => Reply::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
            NoBody::Broken => Reply::new(StatusCode::BAD_REQUEST, "the body ended before it was complete"),
        }
    }
}

async fn write<I: Intake>(State(receiver): State<Arc<Receiver<I>>>, request: Request) -> Response {
    let version = match media::version(request.headers()) {
        Ok(version) => version,
        Err(text) => {
            receiver.counters.answered("unknown", StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16());
            return Reply::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response(Version::V1);
        }
    };
    let reply = receiver.take(version, request).await.unwrap_or_else(|reply| reply);
    receiver.counters.answered(version.name(), reply.status.as_u16());
    reply.into_response(version)
}

/// The store's batch, with what every receiver checks before it.
struct Checked<B> {
    batch: B,
    /// One entry a reason.
    refused: Vec<Rejected>,
}

impl<B> Checked<B> {
    fn refuse(&mut self, reason: &str, count: usize, example: impl FnOnce() -> String) {
        match self.refused.iter_mut().find(|entry| entry.reason == reason) {
            Some(entry) => entry.count += count as u64,
            None => {
                self.refused.push(Rejected { reason: reason.to_owned(), count: count as u64, example: example() });
            }
        }
    }
}

/// The few words that metrics have for what is wrong.
fn reason(fault: &Fault) -> &'static str {
    match fault {
        Fault::Histogram { .. } | Fault::HistogramRange { .. } => "invalid histogram",
        Fault::Unsupported { .. } => "unsupported",
        _ => "invalid labels",
    }
}

impl<B: SeriesSink> SeriesSink for Checked<B> {
    type Known = B::Known;

    fn recognise(&mut self, bytes: &[u8]) -> Option<B::Known> {
        self.batch.recognise(bytes)
    }

    fn series(&mut self, key: SeriesKey<'_, B::Known>, series: SeriesView<'_>) {
        if let SeriesKey::Labels { labels, .. } = &key
            && metric_name(labels).is_empty()
        {
            let count = series.samples.len() + series.histograms.len() + series.exemplars().count();
            self.refuse("invalid labels", count, || {
                format!("{}: it has no metric name", labels_builder(labels).finish())
            });
            return;
        }
        self.batch.series(key, series);
    }

    fn metadata(&mut self, metadata: MetadataView<'_>) {
        self.batch.metadata(metadata);
    }

    fn refused(&mut self, refusal: Refusal<'_>) {
        let count = refusal.samples + refusal.exemplars;
        self.refuse(reason(&refusal.fault), count, || refusal.to_string());
    }
}

/// An answer in the making.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    text: String,
    written: Written,
    retry: bool,
}

impl Reply {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), written: Written::default(), retry: false }
    }

    /// The sender should keep the request and try again.
    fn not_taken(problem: NotTaken) -> Self {
        Self { retry: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, problem.to_string()) }
    }

    fn unreadable(error: &WriteError) -> Self {
        let status = match error {
            WriteError::Snappy(SnappyError::TooLong { .. }) | WriteError::TooMany(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        Self::new(status, text)
    }

    fn taken(written: Written, rejected: &[Rejected]) -> Self {
        if rejected.is_empty() {
            return Self { written, ..Self::new(StatusCode::NO_CONTENT, "") };
        }
        let complaints: Vec<String> = rejected
            .iter()
            .take(COMPLAINTS_MAX)
            .map(|entry| {
                let s = if entry.count == 1 { "" } else { "s" };
                format!("{}: {} sample{s}, such as in {}", entry.reason, entry.count, entry.example)
            })
            .collect();
        Self { written, ..Self::new(StatusCode::BAD_REQUEST, complaints.join("; ")) }
    }

    fn into_response(self, version: Version) -> Response {
        let mut response = match self.status {
            StatusCode::NO_CONTENT => self.status.into_response(),
            status => (status, self.text + "\n").into_response(),
        };
        let headers = response.headers_mut();
        if self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        if version == Version::V2 {
            for (name, count) in [
                ("x-prometheus-remote-write-samples-written", self.written.samples),
                ("x-prometheus-remote-write-histograms-written", self.written.histograms),
                ("x-prometheus-remote-write-exemplars-written", self.written.exemplars),
            ] {
                headers.insert(HeaderName::from_static(name), HeaderValue::from(count));
            }
        }
        response
    }
}

/// When a request arrived.
fn now_ms() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs::try_from(since.as_millis()).unwrap_or(TimeMs::MAX)
}

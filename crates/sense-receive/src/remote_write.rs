//! `POST /api/v1/write`: from a request to an answer.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use homeostat_wire::{
    remote_write::{WriteError, decode_v1, decode_v2, unpack},
    snappy::SnappyError,
};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{
    checked::complaints,
    counters::Counters,
    gate::{Decoded, Gate},
    intake::{Intake, Rejected, Written},
    limits::{RETRY_AFTER_S, ReceiveLimits},
    media::{self, Version},
    problem::{Kind, Problem},
};

/// Takes requests for a store.
#[derive(Debug)]
pub struct Receiver<I> {
    pub(crate) gate: Arc<Gate<I>>,
    counters: Counters,
}

impl<I: Intake> Receiver<I> {
    /// A receiver in front of a store.
    pub fn new(intake: Arc<I>, limits: ReceiveLimits) -> Arc<Self> {
        let gate = Arc::new(Gate::new(intake, limits));
        Arc::new(Self { gate, counters: Counters::named("remote_write", "version") })
    }

    /// Its routes, to be merged into a server's.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/api/v1/write", post(write::<I>)).with_state(Arc::clone(self))
    }

    /// Appends its metrics in the Prometheus text format 0.0.4.
    pub fn metrics(&self, out: &mut String) {
        self.counters.write(out);
        Counters::write_bodies(self.gate.entrance.budget.used(), out);
    }

    async fn take(&self, version: Version, request: Request) -> Result<Reply, Problem> {
        media::check_encoding(request.headers()).map_err(|text| Problem::new(Kind::Media, text))?;
        let (parts, body) = request.into_parts();
        let held = self.gate.read(&parts.headers, body).await?;
        self.counters.body(held.bytes.len());
        let gate = Arc::clone(&self.gate);
        let stored = self.gate.store(held, move |body| decode(&gate, version, body)).await?;
        self.counters.written(stored.written);
        let rejected: Vec<Rejected> = stored.rejected.into_iter().chain(stored.said).collect();
        self.counters.rejected(&rejected);
        Ok(Reply::taken(stored.written, &rejected))
    }
}

/// Decodes a body and hands it to the store.
fn decode<I: Intake>(gate: &Gate<I>, version: Version, body: &Bytes) -> Decoded<Vec<Rejected>> {
    let limits = &gate.entrance.limits.intake;
    let mut sink = gate.begin();
    let mut unpacked = Vec::new();
    unpack(body, limits, &mut unpacked)
        .and_then(|()| match version {
            Version::V1 => decode_v1(&unpacked, limits, &mut sink),
            Version::V2 => decode_v2(&unpacked, limits, &mut sink),
        })
        .map_err(|error| unreadable(&error))?;
    gate.commit(sink)
}

fn unreadable(error: &WriteError) -> Problem {
    let kind = match error {
        WriteError::Snappy(SnappyError::TooLong { .. }) | WriteError::TooMany(_) => Kind::TooLarge,
        _ => Kind::Unreadable,
    };
    Problem::of(kind, error)
}

async fn write<I: Intake>(State(receiver): State<Arc<Receiver<I>>>, request: Request) -> Response {
    let version = match media::version(request.headers()) {
        Ok(version) => version,
        Err(text) => {
            let problem = Problem::new(Kind::Media, text);
            receiver.counters.answered("unknown", problem.status().as_u16());
            return Reply::from(problem).into_response(Version::V1);
        }
    };
    let reply = receiver.take(version, request).await.unwrap_or_else(Reply::from);
    receiver.counters.answered(version.name(), reply.status.as_u16());
    reply.into_response(version)
}

/// An answer in the making.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    text: String,
    written: Written,
    retry: bool,
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        let (status, retry) = (problem.status(), problem.retry());
        Self { status, text: problem.text, written: Written::default(), retry }
    }
}

impl Reply {
    fn taken(written: Written, rejected: &[Rejected]) -> Self {
        let status = if rejected.is_empty() { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST };
        Self { status, text: complaints(rejected), written, retry: false }
    }

    fn into_response(self, version: Version) -> Response {
        let mut response = match self.status {
            StatusCode::NO_CONTENT => self.status.into_response(),
            status => (status, self.text + "\n").into_response(),
        };
        let headers = response.headers_mut();
        if self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
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

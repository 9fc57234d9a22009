//! OTLP over HTTP: `POST /v1/metrics`, and `/api/v1/otlp/v1/metrics` where Prometheus has it.
//!
//! Deltas become totals before they are stored, so requests that carry some are decoded one at a time; all others run
//! beside each other. When the store has no room for a total, the sender comes again, and its deltas are recognised and
//! refused as old: they are in the total already, and stored with the next delta.
//!
//! Source: opentelemetry.io, "OTLP Specification", OTLP/HTTP.

use std::{
    hash::BuildHasher as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
    otlp::{
        DeltaLimits, DeltaToCumulative, OtlpError, OtlpOptions, OtlpOutcome, decode_metrics, has_deltas,
        protobuf_of_json, response, response_json,
    },
    protobuf::{put_int, put_text},
};
use http::{HeaderValue, StatusCode, header};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use crate::{
    body::Held,
    checked::complaints,
    counters::Counters,
    gate::{Gate, now_ms},
    grpc, gzip,
    intake::{Intake, NotTaken, Rejected, Taken},
    limits::{DELTAS_SWEEP_MS, PATIENCE, RETRY_AFTER_S},
    media::{self, Format},
    problem::{Kind, Problem},
    remote_write::Receiver,
};

/// How OTLP is treated.
#[derive(Clone, Debug, Default)]
pub struct OtlpSettings {
    /// How metrics become series.
    pub options: OtlpOptions,
    /// How much is remembered of series that come as deltas.
    pub deltas: DeltaLimits,
}

/// Takes OTLP requests for a store; shares budget and workers with a receiver of remote write.
#[derive(Debug)]
pub struct OtlpReceiver<I> {
    gate: Arc<Gate<I>>,
    options: OtlpOptions,
    /// Whoever has deltas waits for them without a worker.
    deltas: Arc<Mutex<Deltas>>,
    /// How many totals there are.
    deltas_kept: AtomicUsize,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
struct Deltas {
    totals: DeltaToCumulative,
    /// When silent ones were last dropped.
    swept_ms: TimeMs,
}

/// What the store took, and what the decoder said.
type Done = (Taken, (OtlpOutcome, Vec<Rejected>));

/// How far a message has come.
enum Turn {
    /// The store has it.
    Done(Done),
    /// It has deltas, and others are adding theirs up.
    Wait(Held, Message),
}

/// A message as it came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) bytes: Bytes,
    pub(crate) format: Format,
    pub(crate) gzip: bool,
}

impl<I: Intake> OtlpReceiver<I> {
    /// A receiver beside another one.
    pub fn beside(receiver: &Receiver<I>, settings: OtlpSettings) -> Arc<Self> {
        // Senders choose what is hashed; the standard library's random state makes the seed.
        let seed = std::hash::RandomState::new().hash_one(0);
        let totals = DeltaToCumulative::new(settings.deltas, seed);
        let mut options = settings.options;
        options.limits = receiver.gate.entrance.limits.intake.clone();
        Arc::new(Self {
            gate: Arc::clone(&receiver.gate),
            options,
            deltas: Arc::new(Mutex::new(Deltas { totals, swept_ms: 0 })),
            deltas_kept: AtomicUsize::new(0),
            counters: Counters::named("otlp", "transport"),
        })
    }

    /// The route of OTLP/HTTP, for a server of its own.
    pub fn http_router(self: &Arc<Self>) -> Router {
        Router::new().route("/v1/metrics", post(export::<I>)).with_state(Arc::clone(self))
    }

    /// The same where Prometheus has it, to be merged into its API.
    pub fn prometheus_router(self: &Arc<Self>) -> Router {
        Router::new().route("/api/v1/otlp/v1/metrics", post(export::<I>)).with_state(Arc::clone(self))
    }

    /// OTLP/gRPC, for an HTTP/2 server of its own.
    pub fn grpc_router(self: &Arc<Self>) -> Router {
        grpc::router(self)
    }

    /// Appends its metrics in the Prometheus text format 0.0.4.
    pub fn metrics(&self, out: &mut String) {
        self.counters.write(out);
        let kept = self.deltas_kept.load(Ordering::Relaxed);
        homeostat_wire::exposition::Exposition::new(out)
            .family(
                "homeostat_otlp_delta_series",
                homeostat_wire::exposition::FamilyKind::Gauge,
                "Series that come as deltas and whose totals are kept.",
            )
            .count(&[], kept as u64);
    }

    async fn over_http(self: &Arc<Self>, format: Format, request: Request) -> Result<OtlpOutcome, Problem> {
        let (parts, body) = request.into_parts();
        let gzip = media::gzip(&parts.headers, "content-encoding").map_err(|text| Problem::new(Kind::Media, text))?;
        let held = self.gate.read(&parts.headers, body).await?;
        self.counters.body(held.bytes.len());
        let bytes = held.bytes.clone();
        self.store(held, Message { bytes, format, gzip }).await
    }

    /// Reads a body for gRPC.
    pub(crate) async fn read(&self, request: Request) -> Result<Held, Problem> {
        let (parts, body) = request.into_parts();
        let held = self.gate.read(&parts.headers, body).await?;
        self.counters.body(held.bytes.len());
        Ok(held)
    }

    /// Stores a message, durably.
    pub(crate) async fn store(self: &Arc<Self>, held: Held, message: Message) -> Result<OtlpOutcome, Problem> {
        let receiver = Arc::clone(self);
        let turn = self.gate.work(move || receiver.decode(held, message, None)).await?;
        let decoded = match turn {
            Turn::Done(decoded) => decoded,
            Turn::Wait(held, message) => self.decode_in_turn(held, message).await?,
        };
        let stored = self.gate.durable(decoded).await?;
        let (mut outcome, refused) = stored.said;
        self.counters.written(stored.written);
        let lost = stored.rejected.iter().filter(|entry| !entry.is_exemplar()).map(|entry| entry.count).sum::<u64>();
        let all: Vec<Rejected> = refused.into_iter().chain(stored.rejected).collect();
        self.counters.rejected(&all);
        // A point of several series counts once.
        outcome.rejected = outcome.rejected.saturating_add(lost).min(outcome.data_points);
        outcome.message = complaints(&all);
        Ok(outcome)
    }

    /// Waits for the totals, and decodes with them.
    async fn decode_in_turn(self: &Arc<Self>, held: Held, message: Message) -> Result<Done, Problem> {
        let busy = || Problem::from(NotTaken::Busy("others are adding up deltas; send again later".to_owned()));
        let deltas = timeout(PATIENCE, Arc::clone(&self.deltas).lock_owned()).await.map_err(|_elapsed| busy())?;
        let receiver = Arc::clone(self);
        match self.gate.work(move || receiver.decode(held, message, Some(deltas))).await? {
            Turn::Done(decoded) => Ok(decoded),
            // It had them; there is nothing to wait for.
            Turn::Wait(..) => Err(busy()),
        }
    }

    /// Decodes a message and hands it to the store. One with deltas needs the totals: those that are brought, or at once
    /// those that nobody has. Else it must wait, packed as it came, because that is what its share of the budget counts.
    fn decode(&self, held: Held, message: Message, deltas: Option<OwnedMutexGuard<Deltas>>) -> Result<Turn, Problem> {
        let bytes = self.unpacked(&message)?;
        let mut deltas = deltas;
        if deltas.is_none() && has_deltas(&bytes) {
            match Arc::clone(&self.deltas).try_lock_owned() {
                Ok(free) => deltas = Some(free),
                Err(_taken) => return Ok(Turn::Wait(held, message)),
            }
        }
        let mut sink = self.gate.begin();
        let totals = deltas.as_mut().map(|deltas| deltas.swept(now_ms()));
        let outcome = decode_metrics(&bytes, &self.options, totals, &mut sink).map_err(|error| unreadable(&error))?;
        if let Some(deltas) = &deltas {
            self.deltas_kept.store(deltas.totals.len(), Ordering::Relaxed);
        }
        // Totals of one series reach the store in their order, because they are still held.
        let (taken, refused) = self.gate.commit(sink)?;
        // Free before the disk is waited for.
        drop((held, deltas));
        Ok(Turn::Done((taken, (outcome, refused))))
    }

    fn unpacked(&self, message: &Message) -> Result<Bytes, Problem> {
        let limit = self.options.limits.decoded_bytes_max;
        let bytes = if message.gzip { gzip::unpack(&message.bytes, limit)? } else { message.bytes.clone() };
        match message.format {
            Format::Protobuf => Ok(bytes),
            Format::Json if limit < bytes.len() => Err(unreadable(&too_long(bytes.len(), limit))),
            Format::Json => Ok(protobuf_of_json(&bytes).map_err(|error| unreadable(&error.into()))?.into()),
        }
    }
}

impl Deltas {
    /// The totals, without those that have been silent.
    fn swept(&mut self, now_ms: TimeMs) -> &mut DeltaToCumulative {
        if DELTAS_SWEEP_MS <= now_ms.abs_diff(self.swept_ms) {
            self.totals.advance(now_ms);
            self.swept_ms = now_ms;
        }
        &mut self.totals
    }
}

fn too_long(len: usize, limit: usize) -> OtlpError {
    OtlpError::TooLong { len, limit }
}

fn unreadable(error: &OtlpError) -> Problem {
    let kind = match error {
        OtlpError::TooLong { .. } | OtlpError::TooMany(_) => Kind::TooLarge,
        OtlpError::Malformed { .. } | OtlpError::Json { .. } => Kind::Unreadable,
    };
    Problem::of(kind, error)
}

async fn export<I: Intake>(State(receiver): State<Arc<OtlpReceiver<I>>>, request: Request) -> Response {
    let format = match media::format(request.headers()) {
        Ok(format) => format,
        Err(text) => {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            receiver.counters.answered("http", status.as_u16());
            return (status, text + "\n").into_response();
        }
    };
    let transport = match format {
        Format::Protobuf => "http_protobuf",
        Format::Json => "http_json",
    };
    let response = match receiver.over_http(format, request).await {
        Ok(outcome) => success(&outcome, format),
        Err(problem) => failure(&problem, format),
    };
    receiver.counters.answered(transport, response.status().as_u16());
    response
}

fn success(outcome: &OtlpOutcome, format: Format) -> Response {
    let body = match format {
        Format::Protobuf => response(outcome),
        Format::Json => response_json(outcome).into_bytes(),
    };
    ([(header::CONTENT_TYPE, format.media_type())], body).into_response()
}

/// A `google.rpc.Status`, as OTLP wants errors.
pub(crate) fn failure(problem: &Problem, format: Format) -> Response {
    let body = match format {
        Format::Protobuf => status_message(problem),
        Format::Json => serde_json::json!({ "code": problem.code(), "message": problem.text }).to_string().into_bytes(),
    };
    let mut response = (problem.status(), [(header::CONTENT_TYPE, format.media_type())], body).into_response();
    if problem.retry() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    }
    response
}

/// `google.rpc.Status` in protobuf, without details.
pub(crate) fn status_message(problem: &Problem) -> Vec<u8> {
    let mut out = Vec::new();
    put_int(1, problem.code().into(), &mut out);
    put_text(2, &problem.text, &mut out);
    out
}

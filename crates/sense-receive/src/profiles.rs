//! Profiles that clients of Pyroscope push: `POST /ingest`, and `POST /push.v1.PusherService/Push` as Connect has it; and the
//! way that pushed profiles take, whoever sends them.
//!
//! The budget is that of remote write, workers are their own. Profiles are stored when everything of their request could be
//! read, all of them or none, and the answer in the 200s comes when they are durable. A request that ends in a time-out is in
//! memory all the same: who sends it again is counted twice, unless it says whose window it is (`x-homeostat-window`), as
//! Homeostat's agents do. A window that was taken before is answered like the first time, with `x-homeostat-repeated`.
//!
//! `X-Scope-OrgID` is read by nobody: there is one tenant.
//!
//! Not here: OpenTelemetry's profiles (`otlp_profiles`).
//! Sources: `grafana/pyroscope` `docs/sources/reference-server-api`; connectrpc.com, "Connect Protocol Reference".

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use homeostat_model::{
    Labels, LabelsBuilder, TimeMs,
    error_chain::chain,
    labels::METRIC_NAME,
    profile::{Profile, ValueType},
};
use homeostat_wire::{
    gzip as packed,
    pprof::{self, PprofError, PprofLimits},
    profiles::{REPEATED_HEADER, WINDOW_HEADER, WindowId},
    pyroscope::{
        PushSample, TextFormat, application, boundary, decode_push, decode_push_json, metric_of, parse_instant_ns,
        parse_name, parts, read_stacks,
    },
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    counters::Counters,
    gate::{Entrance, now_ms, settle},
    gzip,
    intake::{Durable, Intake, NotTaken},
    limits::RETRY_AFTER_S,
    media,
    problem::{Kind, Problem},
    remote_write::Receiver,
};

/// The label that says whose profile it is.
pub const SERVICE: &str = "service_name";
/// What a service is called that does not say its name.
const UNKNOWN_SERVICE: &str = "unknown_service";
/// Samples a second, unless a client says otherwise.
const SAMPLE_RATE: i64 = 100;
/// The program that measured, as a label.
const SPY: &str = "pyroscope_spy";

/// Where profiles go: the store, as the receiver sees it.
pub trait ProfileIntake: Send + Sync + 'static {
    /// Takes the profiles of a request that came at `now_ms`, all or none of them: they are durable when what is given back
    /// says so. May block for as long as a lock is held, never for the disk.
    fn push_all(&self, profiles: &[(Labels, Profile)], now_ms: TimeMs) -> Result<Durable, ProfileRefused>;

    /// Takes a sender's window as [`Self::push_all`] does, unless it was taken before.
    fn push_once(
        &self,
        window: WindowId,
        labels: &Labels,
        profile: &Profile,
        now_ms: TimeMs,
    ) -> Result<(Durable, Novelty), ProfileRefused>;
}

/// Whether something comes for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It does.
    New,
    /// It was taken before.
    Repeated,
}

/// A profile was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileRefused {
    /// It never will be.
    #[error("{0}")]
    Bad(String),
    /// It never will be, and a smaller one might.
    #[error("{0}")]
    TooLarge(String),
    /// Not while there are so many others, or before its time has come: much later.
    #[error("{0}")]
    Full(String),
    /// Not now.
    #[error(transparent)]
    Later(#[from] NotTaken),
}

impl From<ProfileRefused> for Problem {
    fn from(refused: ProfileRefused) -> Self {
        match refused {
            ProfileRefused::Bad(text) => Self::new(Kind::Unreadable, text),
            ProfileRefused::Full(text) => Self::new(Kind::Full, text),
            ProfileRefused::TooLarge(text) => Self::new(Kind::TooLarge, text),
            ProfileRefused::Later(problem) => problem.into(),
        }
    }
}

/// Takes profiles for a store; shares the budget with a receiver of remote write.
#[derive(Debug)]
pub struct ProfileReceiver<P> {
    intake: Arc<P>,
    entrance: Arc<Entrance>,
    counters: Counters,
}

/// Profiles as they are stored.
pub(crate) type Read = Vec<(Labels, Profile)>;

impl<P: ProfileIntake> ProfileReceiver<P> {
    /// A receiver beside another one.
    pub fn beside<I: Intake>(receiver: &Receiver<I>, intake: Arc<P>) -> Arc<Self> {
        let entrance = &receiver.gate.entrance;
        // Half of the cores: metrics come first.
        let entrance = Arc::new(entrance.beside(entrance.limits.workers / 2));
        Arc::new(Self { intake, entrance, counters: Counters::named("profiles", "door") })
    }

    /// Its routes, to be merged into a server's.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/ingest", post(ingest::<P>))
            .route("/pyroscope/ingest", post(ingest::<P>))
            .route("/push.v1.PusherService/Push", post(push::<P>))
            .with_state(Arc::clone(self))
    }

    /// Appends its metrics in the Prometheus text format 0.0.4.
    pub fn metrics(&self, out: &mut String) {
        self.counters.write(out);
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Reads a body, has a worker make profiles of it, and waits until they are durable. Gives what else the worker says.
    pub(crate) async fn take<T: Send + 'static>(
        &self,
        headers: &HeaderMap,
        body: axum::body::Body,
        read: impl FnOnce(&[u8]) -> Result<(Read, T), Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.take_once(None, headers, body, read).await.map(|(said, _)| said)
    }

    /// As [`Self::take`] for requests that may be a sender's window; says whether it is new.
    async fn take_window(
        &self,
        headers: &HeaderMap,
        body: axum::body::Body,
        read: impl FnOnce(&[u8]) -> Result<Read, Problem> + Send + 'static,
    ) -> Result<Novelty, Problem> {
        let taken = self.take_once(window_of(headers)?, headers, body, move |bytes| Ok((read(bytes)?, ())));
        taken.await.map(|((), novelty)| novelty)
    }

    async fn take_once<T: Send + 'static>(
        &self,
        window: Option<WindowId>,
        headers: &HeaderMap,
        body: axum::body::Body,
        read: impl FnOnce(&[u8]) -> Result<(Read, T), Problem> + Send + 'static,
    ) -> Result<(T, Novelty), Problem> {
        let held = self.entrance.read(headers, body).await?;
        self.counters.body(held.bytes.len());
        let intake = Arc::clone(&self.intake);
        let taken = self.entrance.work(move || {
            let (profiles, said) = read(&held.bytes)?;
            // Free before the disk is waited for.
            drop(held);
            let Some(window) = window else {
                return Ok((profiles.len(), intake.push_all(&profiles, now_ms())?, said, Novelty::New));
            };
            let [(labels, profile)] = profiles.as_slice() else {
                let text = format!("a request with `{WINDOW_HEADER}` has one profile, this one has {}", profiles.len());
                return Err(Problem::new(Kind::Unreadable, text));
            };
            let (durable, novelty) = intake.push_once(window, labels, profile, now_ms())?;
            Ok((usize::from(novelty == Novelty::New), durable, said, novelty))
        });
        let (profiles, durable, said, novelty) = taken.await?;
        self.counters.written(crate::Written { samples: profiles as u64, ..crate::Written::default() });
        settle(durable).await?;
        Ok((said, novelty))
    }
}

/// Whose window a request is, where it says so.
fn window_of(headers: &HeaderMap) -> Result<Option<WindowId>, Problem> {
    let Some(value) = headers.get(WINDOW_HEADER) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    text.parse().map(Some).map_err(|error| Problem::of(Kind::Unreadable, &error))
}

/// Says of an answer that the window had been taken before.
fn with_novelty(mut response: Response, novelty: Novelty) -> Response {
    if novelty == Novelty::Repeated {
        response.headers_mut().insert(REPEATED_HEADER, HeaderValue::from_static("true"));
    }
    response
}

async fn ingest<P: ProfileIntake>(State(receiver): State<Arc<ProfileReceiver<P>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let limits = receiver.limits();
    let asked = Ingest::of(parts.uri.query().unwrap_or_default(), &parts.headers, limits);
    let encoding = media::gzip(&parts.headers, "content-encoding").map_err(|text| Problem::new(Kind::Media, text));
    let done = match asked.and_then(|asked| Ok((asked, encoding?))) {
        Ok((asked, false)) => receiver.take_window(&parts.headers, body, move |bytes| asked.read(bytes)).await,
        Ok((asked, true)) => {
            let read = move |bytes: &[u8]| asked.read(&gzip::unpack(bytes, limits.bytes_max)?);
            receiver.take_window(&parts.headers, body, read).await
        }
        Err(problem) => Err(problem),
    };
    let response = match done {
        Ok(novelty) => with_novelty(StatusCode::OK.into_response(), novelty),
        Err(problem) => (problem.status(), problem.text.clone() + "\n").into_response(),
    };
    receiver.answered("ingest", done_retry(&response), response)
}

async fn push<P: ProfileIntake>(State(receiver): State<Arc<ProfileReceiver<P>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let limits = receiver.limits();
    let kind = connect_kind(&parts.headers);
    let encoding = media::gzip(&parts.headers, "content-encoding");
    let done = match (kind.clone(), encoding) {
        (Err(text), _) | (_, Err(text)) => Err(Problem::new(Kind::Media, text)),
        (Ok(kind), Ok(is_packed)) => {
            let read = move |bytes: &[u8]| read_push(bytes, kind, is_packed, &limits);
            receiver.take_window(&parts.headers, body, read).await
        }
    };
    let is_json = matches!(kind, Ok(Connect::Json));
    let response = match done {
        Ok(novelty) if is_json => {
            with_novelty(([(header::CONTENT_TYPE, "application/json")], "{}").into_response(), novelty)
        }
        Ok(novelty) => with_novelty([(header::CONTENT_TYPE, "application/proto")].into_response(), novelty),
        Err(problem) => {
            let body = serde_json::json!({ "code": connect_code(&problem), "message": problem.text }).to_string();
            (problem.status(), [(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
    };
    receiver.answered("push", done_retry(&response), response)
}

fn done_retry(response: &Response) -> bool {
    response.status() == StatusCode::SERVICE_UNAVAILABLE
}

impl<P> ProfileReceiver<P> {
    pub(crate) fn limits(&self) -> PprofLimits {
        let defaults = PprofLimits::default();
        PprofLimits { bytes_max: defaults.bytes_max.min(self.entrance.limits.bodies_bytes_max), ..defaults }
    }

    pub(crate) fn answered(&self, door: &'static str, retry: bool, mut response: Response) -> Response {
        self.counters.answered(door, response.status().as_u16());
        if retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

/// How a Connect message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connect {
    Proto,
    Json,
}

fn connect_kind(headers: &HeaderMap) -> Result<Connect, String> {
    let text = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let media = text.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/proto" | "application/x-protobuf" => Ok(Connect::Proto),
        "application/json" => Ok(Connect::Json),
        other => Err(format!("expected application/proto or application/json, got {other:?} as content-type")),
    }
}

/// Connect's name of a problem.
fn connect_code(problem: &Problem) -> &'static str {
    match problem.kind {
        Kind::Unreadable => "invalid_argument",
        Kind::TooLarge | Kind::Full => "resource_exhausted",
        Kind::Media => "unimplemented",
        Kind::TooSlow => "canceled",
        Kind::Busy | Kind::Broken => "unavailable",
        Kind::Bug => "internal",
    }
}

fn read_push(bytes: &[u8], kind: Connect, is_packed: bool, limits: &PprofLimits) -> Result<Read, Problem> {
    let unpacked;
    let bytes = if is_packed {
        unpacked = gzip::unpack(bytes, limits.bytes_max)?;
        &unpacked[..]
    } else {
        bytes
    };
    let samples = match kind {
        Connect::Proto => decode_push(bytes),
        Connect::Json => decode_push_json(bytes),
    };
    let samples = samples.map_err(|error| Problem::of(Kind::Unreadable, &error))?;
    // All profiles of a request share what one may unpack to and consist of.
    let mut room = *limits;
    samples.into_iter().map(|sample| read_sample(&sample, &mut room)).collect()
}

fn read_sample(sample: &PushSample, room: &mut PprofLimits) -> Result<(Labels, Profile), Problem> {
    let profile = pprof::read_within(&sample.profile, room).map_err(|error| unreadable(&error))?;
    let mut labels = LabelsBuilder::default();
    for (name, value) in &sample.labels {
        labels.set(name, value);
    }
    Ok(labelled(labels, profile))
}

/// A profile with its labels, completed by whose it is and what it counts.
pub(crate) fn labelled(mut labels: LabelsBuilder, profile: Profile) -> (Labels, Profile) {
    if labels.value(SERVICE).is_empty() {
        labels.set(SERVICE, UNKNOWN_SERVICE);
    }
    if labels.value(METRIC_NAME).is_empty() {
        labels.set(METRIC_NAME, &metric_of(&profile));
    }
    (labels.finish(), profile)
}

fn unreadable(error: &PprofError) -> Problem {
    let kind = match error {
        PprofError::Gzip(packed::GzipError::TooLarge { .. }) | PprofError::TooMany { .. } => Kind::TooLarge,
        _ => Kind::Unreadable,
    };
    Problem::new(kind, format!("the profile cannot be read: {}", chain(error)))
}

/// What a request to `/ingest` says beside its body.
#[derive(Debug)]
struct Ingest {
    labels: LabelsBuilder,
    application: String,
    format: String,
    boundary: Option<String>,
    from_ns: Option<i64>,
    until_ns: Option<i64>,
    sample_rate: i64,
    limits: PprofLimits,
}

impl Ingest {
    fn of(query: &str, headers: &HeaderMap, limits: PprofLimits) -> Result<Self, Problem> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| &**value);
        let bad = |text: String| Problem::new(Kind::Unreadable, text);
        let (application, tags) = parse_name(value("name")).map_err(|error| bad(error.to_string()))?;
        let instant = |name: &str| match value(name) {
            "" => Ok(None),
            text => parse_instant_ns(text)
                .map(Some)
                .ok_or_else(|| bad(format!("`{name}` is {text:?}; it must be a time since 1970 in seconds"))),
        };
        let (from_ns, until_ns) = (instant("from")?, instant("until")?);
        let sample_rate = match value("sampleRate") {
            "" => SAMPLE_RATE,
            text => text.parse().ok().filter(|rate| (1..=1_000_000).contains(rate)).ok_or_else(|| {
                bad(format!("`sampleRate` is {text:?}; it must be a number of samples in a second, 1 to 1000000"))
            })?,
        };
        let mut labels = LabelsBuilder::default();
        for (name, value) in tags {
            labels.set(name, value);
        }
        labels.set(SPY, value("spyName"));
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Self {
            labels,
            application: application.to_owned(),
            format: value("format").to_owned(),
            boundary: boundary(content_type),
            from_ns,
            until_ns,
            sample_rate,
            limits,
        })
    }

    fn read(self, body: &[u8]) -> Result<Read, Problem> {
        let found = match &self.boundary {
            Some(boundary) => {
                let found = parts(body, boundary);
                Some(
                    found
                        .map_err(|error| Problem::new(Kind::Unreadable, format!("the form cannot be read: {error}")))?,
                )
            }
            None => None,
        };
        let content = match &found {
            Some(found) => found
                .get("profile")
                .copied()
                .ok_or_else(|| Problem::new(Kind::Unreadable, "the form has no part `profile`; send pprof in it"))?,
            None => body,
        };
        // A form of parts is pprof, whatever the parameter says, as with Pyroscope.
        let format = if found.is_some() && self.format.is_empty() { "pprof" } else { &self.format };
        let (mut profile, service, metric) = match format {
            "pprof" => {
                let profile = pprof::read(content, &self.limits).map_err(|error| unreadable(&error))?;
                let metric = metric_of(&profile);
                (profile, application(&self.application).0.to_owned(), metric)
            }
            "" | "folded" | "collapsed" => self.stacks(content, TextFormat::Folded)?,
            "lines" => self.stacks(content, TextFormat::Lines)?,
            other => {
                let text = format!("`format` {other:?} is not read here; `pprof`, `folded` and `lines` are");
                return Err(Problem::new(Kind::Media, text));
            }
        };
        if profile.started_ns == 0 {
            profile.started_ns = self.from_ns.unwrap_or(0);
        }
        if let (0, Some(from), Some(until)) = (profile.duration_ns, self.from_ns, self.until_ns) {
            profile.duration_ns = until.saturating_sub(from).max(0);
        }
        let mut labels = self.labels;
        if labels.value(SERVICE).is_empty() {
            labels.set(SERVICE, &service);
        }
        labels.set(METRIC_NAME, &metric);
        Ok(vec![(labels.finish(), profile)])
    }

    fn stacks(&self, body: &[u8], format: TextFormat) -> Result<(Profile, String, String), Problem> {
        let (service, counted) = application(&self.application);
        let period = 1_000_000_000 / self.sample_rate;
        let factor = if counted.is_sampled_time { period } else { 1 };
        let value_type = ValueType::new(counted.kind, counted.unit);
        let mut profile = read_stacks(body, format, value_type.clone(), factor, &self.limits)
            .map_err(|error| Problem::of(Kind::Unreadable, &error))?;
        (profile.period_type, profile.period) = (value_type, factor);
        Ok((profile, service.to_owned(), counted.metric.to_owned()))
    }
}

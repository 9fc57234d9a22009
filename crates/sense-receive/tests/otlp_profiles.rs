//! OpenTelemetry's profiles as senders meet the doors: over HTTP and gRPC, against a store of the tests.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use homeostat_model::{Labels, TimeMs, profile::Profile};
use homeostat_sense_receive::{
    Durable, Intake, NotTaken, ProfileIntake, ProfileReceiver, ProfileRefused, ReceiveLimits, Receiver, Taken,
    profiles::Novelty,
};
use homeostat_wire::{
    gzip,
    intake::{Refusal, SeriesKey, SeriesSink, SeriesView},
    otlp::profiles::profiles_response,
    profiles::WindowId,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

const REQUEST: &[u8] = include_bytes!("../../wire/tests/fixtures/otlp_profiles/request.pb");
const REQUEST_JSON: &[u8] = include_bytes!("../../wire/tests/fixtures/otlp_profiles/request.json");
const PATH: &str = "/v1development/profiles";
const CALL: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

/// No metrics come here.
#[derive(Debug)]
struct NoMetrics;

struct Nothing;

impl SeriesSink for Nothing {
    type Known = std::convert::Infallible;
    fn series(&mut self, _: SeriesKey<'_, Self::Known>, _: SeriesView<'_>) {}
    fn refused(&mut self, _: Refusal<'_>) {}
}

impl Intake for NoMetrics {
    type Batch = Nothing;
    fn begin(&self, _: TimeMs) -> Nothing {
        Nothing
    }
    fn commit(&self, _: Nothing) -> Result<Taken, NotTaken> {
        Err(NotTaken::Busy("no metrics here".to_owned()))
    }
}

/// Keeps what it is given, or does not.
#[derive(Debug, Default)]
struct Fake {
    stored: Mutex<Vec<String>>,
    problem: Option<ProfileRefused>,
}

impl ProfileIntake for Fake {
    fn push_all(&self, profiles: &[(Labels, Profile)], _: TimeMs) -> Result<Durable, ProfileRefused> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let shown = profiles.iter().map(|(labels, profile)| format!("{labels} {}", profile.total(0)));
        self.stored.lock().unwrap().extend(shown);
        Ok(Box::pin(async { Ok(()) }))
    }

    fn push_once(
        &self,
        _: WindowId,
        labels: &Labels,
        profile: &Profile,
        now_ms: TimeMs,
    ) -> Result<(Durable, Novelty), ProfileRefused> {
        Ok((self.push_all(&[(labels.clone(), profile.clone())], now_ms)?, Novelty::New))
    }
}

struct World {
    fake: Arc<Fake>,
    receiver: Arc<ProfileReceiver<Fake>>,
}

fn world(problem: Option<ProfileRefused>) -> World {
    let fake = Arc::new(Fake { problem, ..Fake::default() });
    let metrics = Receiver::new(Arc::new(NoMetrics), ReceiveLimits::default());
    World { receiver: ProfileReceiver::beside(&metrics, Arc::clone(&fake)), fake }
}

impl World {
    async fn http(&self, headers: &[(&'static str, &'static str)], body: &[u8]) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::post(PATH).body(Body::from(body.to_vec())).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (parts, body) = self.receiver.otlp_http_router().oneshot(request).await.unwrap().into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }

    /// Status of gRPC, and the body.
    async fn grpc(&self, encoding: &'static str, flag: u8, message: &[u8]) -> (String, Bytes) {
        let mut body = vec![flag];
        body.extend((message.len() as u32).to_be_bytes());
        body.extend(message);
        let mut request = Request::post(CALL).body(Body::from(body)).unwrap();
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        request.headers_mut().insert("grpc-encoding", encoding.parse().unwrap());
        let (parts, body) = self.receiver.otlp_grpc_router().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = trailers.get("grpc-status").or(parts.headers.get("grpc-status")).unwrap();
        (status.to_str().unwrap().to_owned(), body.to_bytes())
    }

    fn stored(&self) -> Vec<String> {
        self.fake.stored.lock().unwrap().clone()
    }
}

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

/// What a request's two good profiles are stored as.
fn stored() -> [String; 2] {
    let of = |name: &str, more: &str, total| {
        format!("{name}{{host_name=\"web-17\", process_pid=\"4711\", {more}service_name=\"shop\"}} {total}")
    };
    [of("process_cpu", "process_runtime_name=\"go\", ", 45), of("memory", "", 4103)]
}

#[tokio::test]
async fn good_profiles_are_stored_and_a_bad_one_is_told() {
    let message = "the profile at byte";
    for (headers, body) in [
        (&[PROTOBUF][..], REQUEST.to_vec()),
        (&[PROTOBUF, ("content-encoding", "gzip")], gzip::pack(REQUEST)),
        (&[JSON], REQUEST_JSON.to_vec()),
    ] {
        let world = world(None);
        let (status, answer_headers, answer) = world.http(headers, &body).await;
        assert_eq!((status, &answer_headers["content-type"]), (StatusCode::OK, &headers[0].1.parse().unwrap()));
        assert!(String::from_utf8_lossy(&answer).contains(message), "{answer:?}");
        assert_eq!(world.stored(), stored());
    }
    for (encoding, flag, message) in
        [("identity", 0, REQUEST.to_vec()), ("gzip", 1, gzip::pack(REQUEST)), ("gzip", 0, REQUEST.to_vec())]
    {
        let world = world(None);
        let (status, answer) = world.grpc(encoding, flag, &message).await;
        assert_eq!((status.as_str(), world.stored()), ("0", stored().to_vec()));
        assert!(String::from_utf8_lossy(&answer).contains("there is no stack 9"), "{answer:?}");
    }
    let world = world(None);
    let (status, _, answer) = world.http(&[PROTOBUF], b"").await;
    assert_eq!((status, &answer[..]), (StatusCode::OK, &profiles_response(0, "")[..]), "nothing at all is fine");
}

#[tokio::test]
async fn what_cannot_be_taken_says_why_in_the_words_of_its_protocol() {
    let world_of = world;
    let world = world_of(None);
    for (headers, body, expected) in [
        (&[][..], REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[("content-type", "text/plain")], REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[PROTOBUF, ("content-encoding", "zstd")], REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[PROTOBUF, ("content-encoding", "gzip")], REQUEST, StatusCode::BAD_REQUEST),
        (&[PROTOBUF], &REQUEST[..100], StatusCode::BAD_REQUEST),
        (&[JSON], REQUEST, StatusCode::BAD_REQUEST),
    ] {
        let (status, _, answer) = world.http(headers, body).await;
        assert_eq!(status, expected, "{headers:?}: {answer:?}");
    }
    assert_eq!(world.grpc("identity", 1, REQUEST).await.0, "3", "packed, but it does not say how");
    assert_eq!(world.grpc("identity", 0, &REQUEST[..100]).await.0, "3");
    assert!(world.stored().is_empty());

    let later = ProfileRefused::Later(NotTaken::Busy("not now".to_owned()));
    for (problem, status, retries, code) in [
        (later, StatusCode::SERVICE_UNAVAILABLE, true, "8"),
        (ProfileRefused::Full("too many".to_owned()), StatusCode::TOO_MANY_REQUESTS, true, "8"),
        (ProfileRefused::TooLarge("too large".to_owned()), StatusCode::PAYLOAD_TOO_LARGE, false, "3"),
        (ProfileRefused::Bad("bad".to_owned()), StatusCode::BAD_REQUEST, false, "3"),
    ] {
        let world = world_of(Some(problem));
        let (got, headers, _) = world.http(&[PROTOBUF], REQUEST).await;
        assert_eq!((got, headers.contains_key("retry-after")), (status, retries));
        assert_eq!(world.grpc("identity", 0, REQUEST).await.0, code);
    }
}

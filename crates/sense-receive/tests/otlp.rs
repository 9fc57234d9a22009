//! OTLP as senders meet it when things go wrong: over HTTP and gRPC, against a store of the tests.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

use std::{
    io::Write as _,
    sync::{Arc, Mutex, mpsc},
};

use axum::body::Body;
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use homeostat_model::TimeMs;
use homeostat_sense_receive::{Intake, NotTaken, OtlpReceiver, OtlpSettings, ReceiveLimits, Receiver, Taken, Written};
use homeostat_wire::{
    intake::{Refusal, SeriesKey, SeriesSink, SeriesView, labels_builder},
    otlp::protobuf_of_json,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Keeps what it is given, or does not.
#[derive(Debug, Default)]
struct Fake {
    stored: Mutex<Vec<String>>,
    problem: Option<NotTaken>,
    /// Where it says that it has deltas, and waits to be let on.
    stop: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

#[derive(Default)]
struct Batch(Vec<String>);

impl SeriesSink for Batch {
    type Known = std::convert::Infallible;

    fn series(&mut self, key: SeriesKey<'_, Self::Known>, series: SeriesView<'_>) {
        let SeriesKey::Labels { labels, .. } = key;
        let labels = labels_builder(labels).finish();
        self.0.extend(series.samples.iter().map(|sample| format!("{labels} {} @{}", sample.value, sample.t_ms)));
    }

    fn refused(&mut self, _: Refusal<'_>) {}
}

impl Intake for Fake {
    type Batch = Batch;

    fn begin(&self, _: TimeMs) -> Batch {
        Batch::default()
    }

    fn commit(&self, batch: Batch) -> Result<Taken, NotTaken> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if batch.0.iter().any(|line| line.starts_with("d_total"))
            && let Some((here, on)) = self.stop.lock().unwrap().take()
        {
            here.send(()).unwrap();
            on.recv().unwrap();
        }
        let written = Written { samples: batch.0.len() as u64, ..Written::default() };
        self.stored.lock().unwrap().extend(batch.0);
        Ok(Taken { written, rejected: Vec::new(), durable: Box::pin(async { Ok(()) }) })
    }
}

struct World {
    fake: Arc<Fake>,
    otlp: Arc<OtlpReceiver<Fake>>,
}

fn world(problem: Option<NotTaken>) -> World {
    world_with(Fake { problem, ..Fake::default() }, ReceiveLimits::default())
}

fn world_with(fake: Fake, limits: ReceiveLimits) -> World {
    let fake = Arc::new(fake);
    let receiver = Receiver::new(Arc::clone(&fake), limits);
    World { otlp: OtlpReceiver::beside(&receiver, OtlpSettings::default()), fake }
}

impl World {
    async fn http(
        &self,
        headers: &[(&'static str, &'static str)],
        body: impl Into<Body>,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::post("/v1/metrics").body(body.into()).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let response = self.otlp.http_router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }

    /// Status of gRPC, where it stands, its words, and all headers.
    async fn grpc(&self, path: &str, encoding: &'static str, body: Vec<u8>) -> (String, HeaderMap, Bytes) {
        let mut request = Request::post(path).body(Body::from(body)).unwrap();
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        request.headers_mut().insert("grpc-encoding", encoding.parse().unwrap());
        let response = self.otlp.grpc_router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        assert_eq!(
            (parts.status, &parts.headers["content-type"]),
            (StatusCode::OK, &"application/grpc".parse().unwrap())
        );
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = trailers.get("grpc-status").or(parts.headers.get("grpc-status")).unwrap();
        (status.to_str().unwrap().to_owned(), parts.headers.clone(), body.to_bytes())
    }

    fn stored(&self) -> Vec<String> {
        self.fake.stored.lock().unwrap().clone()
    }
}

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

fn request(metrics: Value) -> String {
    json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).to_string()
}

fn gauge() -> String {
    request(json!([{"name": "a", "gauge": {"dataPoints": [{"timeUnixNano": "5000000", "asDouble": 1.5}]}}]))
}

/// A delta from `start` to `start + 1` ms.
fn delta(start_ms: u64, value: u64) -> String {
    let nanos = |ms: u64| (ms * 1_000_000).to_string();
    let point =
        json!({"startTimeUnixNano": nanos(start_ms), "timeUnixNano": nanos(start_ms + 1), "asInt": value.to_string()});
    let sum = json!({"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point]});
    request(json!([{"name": "d", "sum": sum}]))
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut body = vec![flag];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    body
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn every_form_of_a_request_stores_the_same() {
    let world = world(None);
    let protobuf = protobuf_of_json(gauge().as_bytes()).unwrap();
    let (status, headers, body) = world.http(&JSON, gauge()).await;
    assert_eq!(
        (status, &headers["content-type"], &body[..]),
        (StatusCode::OK, &"application/json".parse().unwrap(), &b"{}"[..])
    );
    let (status, _, body) = world.http(&PROTOBUF, protobuf.clone()).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    let gzip = [PROTOBUF[0], ("content-encoding", "gzip")];
    assert_eq!(world.http(&gzip, packed(&protobuf)).await.0, StatusCode::OK);
    for (encoding, body) in [("identity", framed(0, &protobuf)), ("gzip", framed(1, &packed(&protobuf)))] {
        let (status, _, body) = world.grpc(EXPORT, encoding, body).await;
        assert_eq!((status.as_str(), &body[..]), ("0", &[0; 5][..]));
    }
    assert_eq!(world.stored(), ["a 1.5 @5"; 5]);
}

#[tokio::test]
async fn who_should_come_again_is_told_when() {
    let protobuf = protobuf_of_json(gauge().as_bytes()).unwrap();
    for (problem, code) in
        [(NotTaken::Busy("the log is full".to_owned()), 8), (NotTaken::Broken("the disk is full".to_owned()), 14)]
    {
        let words = problem.to_string();
        let world = world(Some(problem));
        let (status, headers, body) = world.http(&JSON, gauge()).await;
        assert_eq!((status, &headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({"code": code, "message": words}));
        let (status, headers, _) = world.grpc(EXPORT, "identity", framed(0, &protobuf)).await;
        assert_eq!((status, headers["grpc-message"].to_str().unwrap()), (code.to_string(), words.as_str()));
        let details = BASE64_STANDARD_NO_PAD.decode(&headers["grpc-status-details-bin"]).unwrap();
        // A second: field 1 of the `Duration` that is field 1 of the `RetryInfo`.
        let text = b"type.googleapis.com/google.rpc.RetryInfo";
        assert!(details.windows(text.len()).any(|window| window == text) && details.ends_with(&[0x0a, 2, 8, 1]));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_in_the_words_of_the_protocol() {
    let world = world(None);
    let protobuf = protobuf_of_json(gauge().as_bytes()).unwrap();
    let bomb = packed(&vec![0; 64 << 20]);
    let gzip = [PROTOBUF[0], ("content-encoding", "gzip")];
    for (headers, body, status) in [
        (&PROTOBUF[..], vec![0xff; 3], StatusCode::BAD_REQUEST),
        (&JSON[..], b"{".to_vec(), StatusCode::BAD_REQUEST),
        (&gzip[..], protobuf.clone(), StatusCode::BAD_REQUEST),
        (&gzip[..], bomb.clone(), StatusCode::PAYLOAD_TOO_LARGE),
        (&[][..], protobuf.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[PROTOBUF[0], ("content-encoding", "zstd")][..], protobuf.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let (got, headers, _) = world.http(headers, body).await;
        assert_eq!(got, status);
        assert!(headers.get("retry-after").is_none());
    }
    for (path, encoding, body, code) in [
        (EXPORT, "identity", framed(0, &[0xff; 3]), "3"),
        (EXPORT, "identity", framed(1, &packed(&protobuf)), "3"),
        (EXPORT, "gzip", framed(1, &bomb), "3"),
        (EXPORT, "identity", vec![0, 0, 0, 0, 9], "3"),
        (EXPORT, "snappy", framed(0, &protobuf), "12"),
        ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "identity", framed(0, &[]), "12"),
    ] {
        let (status, headers, _) = world.grpc(path, encoding, body).await;
        assert_eq!(status, code, "{:?}", headers.get("grpc-message"));
    }
    assert_eq!(world.stored(), Vec::<String>::new());
}

#[tokio::test]
async fn deltas_become_totals_and_one_that_comes_twice_is_told() {
    let world = world(None);
    for (start_ms, value) in [(10, 3), (11, 4)] {
        assert_eq!(world.http(&JSON, delta(start_ms, value)).await.0, StatusCode::OK);
    }
    let (status, _, body) = world.http(&JSON, delta(11, 4)).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["partialSuccess"]["rejectedDataPoints"]), (StatusCode::OK, &json!("1")), "{body}");
    assert!(
        body["partialSuccess"]["errorMessage"].as_str().unwrap().starts_with("out of order delta: 1 sample"),
        "{body}"
    );
    assert_eq!(world.stored(), ["d_total 3 @11", "d_total 7 @12"]);
    let mut metrics = String::new();
    world.otlp.metrics(&mut metrics);
    assert!(metrics.contains("homeostat_otlp_delta_series 1\n"), "{metrics}");
    assert!(metrics.contains("homeostat_otlp_requests_total{transport=\"http_json\",code=\"200\"} 3\n"), "{metrics}");
}

#[tokio::test]
async fn whoever_waits_to_add_up_deltas_keeps_no_worker() {
    let ((here, arrived), (go, on)) = (mpsc::channel(), mpsc::channel());
    let fake = Fake { stop: Mutex::new(Some((here, on))), ..Fake::default() };
    let world = Arc::new(world_with(fake, ReceiveLimits { workers: 2, ..ReceiveLimits::default() }));
    let send = |body: String| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.http(&JSON, body).await.0 })
    };
    let first = send(delta(10, 3));
    tokio::task::spawn_blocking(move || arrived.recv().unwrap()).await.unwrap();
    // The first one has the totals and a worker; the second one wants the totals.
    let second = send(delta(11, 4));
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(send(gauge()).await.unwrap(), StatusCode::OK, "a worker is free");
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap(), StatusCode::OK);
    // Busy where this took longer than its patience.
    let second = second.await.unwrap();
    assert!(matches!(second, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{second}");
    let totals = world.stored().iter().filter(|line| line.starts_with("d_total")).count();
    assert_eq!(totals, 1 + usize::from(second == StatusCode::OK));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_too_slowly_is_to_be_sent_again() {
    let world = world(None);
    let never = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    for headers in [JSON, PROTOBUF] {
        let (status, headers, _) = world.http(&headers, never()).await;
        // Senders give up on 408, and their points are lost.
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(headers.contains_key("retry-after"), "{headers:?}");
    }
}

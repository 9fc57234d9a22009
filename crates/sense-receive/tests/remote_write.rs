//! Remote write as senders meet it: requests against a store of the tests.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::{Arc, Mutex};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use homeostat_model::{Histogram, TimeMs, histogram::Buckets};
use homeostat_sense_receive::{Intake, NotTaken, ReceiveLimits, Receiver, Rejected, Taken, Written};
use homeostat_wire::{
    intake::{FloatSample, HistogramSample, SeriesKey, SeriesSink, SeriesView, labels_builder},
    remote_write::{EncoderV1, EncoderV2},
    snappy,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

/// Keeps what it is given; refuses samples before 1970 and does as it is told.
#[derive(Debug, Default)]
struct Fake {
    stored: Mutex<Vec<String>>,
    not_taken: Option<NotTaken>,
    not_durable: Option<NotTaken>,
}

#[derive(Default)]
struct Batch {
    lines: Vec<String>,
    written: Written,
    old: u64,
}

impl SeriesSink for Batch {
    type Known = std::convert::Infallible;

    fn series(&mut self, key: SeriesKey<'_, Self::Known>, series: SeriesView<'_>) {
        let SeriesKey::Labels { labels, .. } = key;
        let labels = labels_builder(labels).finish();
        for sample in series.samples {
            if sample.t_ms < 0 {
                self.old += 1;
                continue;
            }
            self.written.samples += 1;
            self.lines.push(format!("{labels} {} @{}", sample.value, sample.t_ms));
        }
        for sample in series.histograms {
            self.written.histograms += 1;
            self.lines.push(format!("{labels} count={} @{}", sample.histogram.count, sample.t_ms));
        }
        self.written.exemplars += series.exemplars().count() as u64;
    }

    fn refused(&mut self, _: homeostat_wire::intake::Refusal<'_>) {
        unreachable!("the receiver keeps refusals to itself");
    }
}

impl Intake for Fake {
    type Batch = Batch;

    fn begin(&self, _: TimeMs) -> Batch {
        Batch::default()
    }

    fn commit(&self, batch: Batch) -> Result<Taken, NotTaken> {
        if let Some(problem) = &self.not_taken {
            return Err(problem.clone());
        }
        self.stored.lock().unwrap().extend(batch.lines);
        let old = Rejected { reason: "too old sample".to_owned(), count: batch.old, example: "up".to_owned() };
        let rejected = if batch.old > 0 { vec![old] } else { Vec::new() };
        let outcome = self.not_durable.clone().map_or(Ok(()), Err);
        Ok(Taken { written: batch.written, rejected, durable: Box::pin(async { outcome }) })
    }
}

struct World {
    fake: Arc<Fake>,
    receiver: Arc<Receiver<Fake>>,
    router: Router,
}

fn world(fake: Fake) -> World {
    let fake = Arc::new(fake);
    let receiver = Receiver::new(Arc::clone(&fake), ReceiveLimits::default());
    World { fake, router: receiver.router(), receiver }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl World {
    async fn send(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post("/api/v1/write").body(body.into()).unwrap();
        for (name, value) in headers {
            request
                .headers_mut()
                .insert(http::HeaderName::try_from(*name).unwrap(), http::HeaderValue::try_from(*value).unwrap());
        }
        let response: Response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    fn stored(&self) -> Vec<String> {
        self.fake.stored.lock().unwrap().clone()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        self.receiver.metrics(&mut text);
        text
    }
}

const V1: [(&str, &str); 2] = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
const V2: [(&str, &str); 2] =
    [("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"), ("content-encoding", "snappy")];

fn sample(t_ms: TimeMs, value: f64) -> FloatSample {
    FloatSample { t_ms, value, start_ms: None }
}

type Series<'a> = (&'a [(&'a str, &'a str)], &'a [FloatSample]);

fn v1(series: &[Series<'_>]) -> Bytes {
    let mut encoder = EncoderV1::default();
    for (labels, samples) in series {
        encoder.series(labels.iter().copied(), samples, &[], &[]);
    }
    snappy::compress(encoder.as_bytes()).unwrap().into()
}

#[tokio::test]
async fn samples_of_1_0_are_stored_and_answered_without_content() {
    let world = world(Fake::default());
    let answer = world.send(&V1, v1(&[(&[("__name__", "up"), ("job", "a")], &[sample(1, 1.0), sample(2, 0.0)])])).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert!(answer.headers.get("x-prometheus-remote-write-samples-written").is_none());
    assert_eq!(world.stored(), ["up{job=\"a\"} 1 @1", "up{job=\"a\"} 0 @2"]);
    // The first senders sent no headers at all.
    let bare = world.send(&[], v1(&[(&[("__name__", "up")], &[sample(3, 1.0)])])).await;
    assert_eq!(bare.status, StatusCode::NO_CONTENT);
    let metrics = world.metrics();
    assert!(metrics.contains("homeostat_remote_write_requests_total{version=\"1.0\",code=\"204\"} 2\n"), "{metrics}");
    assert!(metrics.contains("homeostat_remote_write_samples_total 3\n"), "{metrics}");
    assert!(metrics.contains("homeostat_remote_write_bodies_bytes 0\n"), "{metrics}");
}

#[tokio::test]
async fn answers_of_2_0_say_what_was_written() {
    let world = world(Fake::default());
    let mut encoder = EncoderV2::default();
    let histogram = Histogram { count: 3.0, positive: Buckets::from_sorted([(1, 3.0)]), ..Histogram::default() };
    let histogram = HistogramSample { t_ms: 5, histogram: Arc::new(histogram), start_ms: None };
    encoder.series([("__name__", "a")], &[sample(1, 1.0), sample(2, 2.0)], &[], &[], None);
    encoder.series([("__name__", "h")], &[], &[histogram], &[], None);
    let answer = world.send(&V2, snappy::compress(&encoder.finish()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
    for (name, count) in [("samples", "2"), ("histograms", "1"), ("exemplars", "0")] {
        assert_eq!(answer.headers[format!("x-prometheus-remote-write-{name}-written")], count);
    }
    assert_eq!(world.stored(), ["a 1 @1", "a 2 @2", "h count=3 @5"]);
}

#[tokio::test]
async fn good_samples_are_kept_when_others_are_bad() {
    let world = world(Fake::default());
    let body = v1(&[
        (&[("__name__", "up")], &[sample(-1, 1.0), sample(1, 1.0)]),
        (&[("__name__", "twice"), ("a", "1"), ("a", "2")], &[sample(1, 1.0)]),
        (&[("job", "nameless")], &[sample(1, 1.0), sample(2, 1.0)]),
        (&[("__name__", "last")], &[sample(1, 7.0)]),
    ]);
    let answer = world.send(&V1, body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.text,
        "too old sample: 1 sample, such as in up; invalid labels: 3 samples, such as in series 1 (twice): label \"a\" is \
         given twice; give it once\n"
    );
    assert!(answer.headers.get("retry-after").is_none());
    assert_eq!(world.stored(), ["up 1 @1", "last 7 @1"]);
    let metrics = world.metrics();
    assert!(metrics.contains("rejected_samples_total{reason=\"invalid labels\"} 3\n"), "{metrics}");
}

#[tokio::test]
async fn what_cannot_be_read_leaves_nothing_behind() {
    let world = world(Fake::default());
    let good = v1(&[(&[("__name__", "up")], &[sample(1, 1.0)])]);
    let gzip = [V1[0], ("content-encoding", "gzip")];
    let json = [("content-type", "application/json"), V1[1]];
    let too_long = {
        let mut block = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
        block.extend([0; 64]);
        block
    };
    let torn = snappy::compress(&snappy_torn()).unwrap();
    for (headers, body, status, begins) in [
        (&V1, Bytes::from_static(b"no snappy at all"), StatusCode::BAD_REQUEST, "the body cannot be unpacked"),
        (&V1, Bytes::new(), StatusCode::BAD_REQUEST, "the body cannot be unpacked"),
        (&V1, torn.into(), StatusCode::BAD_REQUEST, "the body is no `prometheus.WriteRequest` message"),
        (
            &V1,
            too_long.into(),
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body cannot be unpacked: the body unpacks to 4294967295",
        ),
        (&gzip, good.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "gzip encoding"),
        (&json, good.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected application/x-protobuf"),
    ] {
        let answer = world.send(headers, body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.text.starts_with(begins), "{}", answer.text);
        assert!(answer.headers.get("retry-after").is_none());
    }
    assert_eq!(world.stored(), Vec::<String>::new());
}

/// A good series, and then a field that promises more than there is.
fn snappy_torn() -> Vec<u8> {
    let mut encoder = EncoderV1::default();
    encoder.series([("__name__", "up")], &[sample(1, 1.0)], &[], &[]);
    let mut bytes = encoder.as_bytes().to_vec();
    bytes.extend([0x0a, 0x7f]);
    bytes
}

#[tokio::test]
async fn a_store_without_room_or_disk_is_tried_again() {
    let body = || v1(&[(&[("__name__", "up")], &[sample(1, 1.0)])]);
    let busy = NotTaken::Busy("the log is full".to_owned());
    let broken = NotTaken::Broken("the disk is full; free some space".to_owned());
    for (fake, text) in [
        (Fake { not_taken: Some(busy), ..Fake::default() }, "the log is full\n"),
        (Fake { not_durable: Some(broken), ..Fake::default() }, "the disk is full; free some space\n"),
    ] {
        let answer = world(fake).send(&V1, body()).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, text));
        assert_eq!(answer.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn only_post_is_served() {
    let world = world(Fake::default());
    let request = Request::get("/api/v1/write").body(Body::empty()).unwrap();
    assert_eq!(world.router.oneshot(request).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

//! Jobs against real servers on loopback sockets: good ones, broken ones and hostile ones.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::{
    convert::Infallible,
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use homeostat_model::{TimeMs, sample::is_stale};
use homeostat_sense_scrape::{
    discover::ReadGroups,
    manager::{Scrapers, Targets, run_job},
    sink::{Sink, Storing},
    spec::{Discovery, Job, TargetGroup},
};
use homeostat_wire::intake::Collected;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use common::Batches;

/// What a test server answers next; the last answer is repeated.
type Answers = Arc<Mutex<Vec<Response<Full<Bytes>>>>>;

fn text(body: &str) -> Response<Full<Bytes>> {
    answer("text/plain; version=0.0.4", Bytes::copy_from_slice(body.as_bytes()))
}

fn answer(kind: &str, body: Bytes) -> Response<Full<Bytes>> {
    Response::builder().header("content-type", kind).body(Full::new(body)).unwrap()
}

async fn serve(answers: Vec<Response<Full<Bytes>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let answers: Answers = Arc::new(Mutex::new(answers));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            let service = service_fn(move |_: Request<Incoming>| {
                let mut answers = answers.lock().unwrap();
                let next = if answers.len() > 1 { answers.remove(0) } else { answers.first().unwrap().clone() };
                async move { Ok::<_, Infallible>(next) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    at
}

/// A job that scrapes one address ten times a second.
fn job(at: SocketAddr) -> Job {
    let group = TargetGroup { targets: vec![at.to_string()], labels: Vec::new() };
    Job {
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(90),
        discovery: vec![Discovery::Static(vec![group])],
        ..Job::named("test")
    }
}

fn no_lists() -> ReadGroups {
    Arc::new(|_| Ok(Vec::new()))
}

/// Samples of a batch, `name value`, without those about the scrape, `up` excepted.
fn shown(batch: &Collected) -> Vec<String> {
    let samples = batch.series.iter().flat_map(|series| series.samples.iter().map(|sample| (&series.labels, sample)));
    let mut lines: Vec<_> = samples
        .filter(|(labels, _)| !labels.value("__name__").starts_with("scrape_"))
        .map(|(labels, sample)| {
            let value = if is_stale(sample.value) { "ends".to_owned() } else { sample.value.to_string() };
            format!("{} {value}", labels.value("__name__"))
        })
        .collect();
    lines.sort();
    lines
}

/// Runs a job until the test has seen `count` batches.
async fn batches(job: Job, count: usize) -> Vec<Vec<String>> {
    let (sender, mut receiver) = mpsc::channel(64);
    let (stop, retire) = (CancellationToken::new(), CancellationToken::new());
    let running = run_job(
        Arc::new(job),
        no_lists(),
        Arc::new(Scrapers(Arc::new(Batches(sender)))),
        Targets::default(),
        stop.clone(),
        retire,
    );
    let seeing = async {
        let mut seen = Vec::new();
        while seen.len() < count {
            seen.push(shown(&receiver.recv().await.unwrap()));
        }
        stop.cancel();
        seen
    };
    let (ended, seen) = tokio::join!(running, seeing);
    ended.unwrap();
    seen
}

#[tokio::test]
async fn a_target_is_scraped_and_its_series_end_when_it_fails() {
    let broken = Response::builder().status(500).body(Full::new(Bytes::from("no"))).unwrap();
    let at = serve(vec![text("a 1\nb 2\n"), text("a 3\n"), broken, text("a 4\n")]).await;
    // A busy machine may be slower than the time-out; then a failed scrape stands in between, as it should.
    let patient = Job { interval: Duration::from_secs(1), timeout: Duration::from_secs(1), ..job(at) };
    let seen = batches(patient, 4).await;
    assert_eq!(
        seen,
        [vec!["a 1", "b 2", "up 1"], vec!["a 3", "b ends", "up 1"], vec!["a ends", "up 0"], vec!["a 4", "up 1"]]
    );
}

#[tokio::test]
async fn a_body_that_breaks_in_the_middle_is_not_stored_at_all() {
    let at = serve(vec![text("a 1\nb two\n")]).await;
    assert_eq!(batches(job(at), 1).await, [vec!["up 0"]]);
}

#[tokio::test]
async fn a_target_that_never_answers_costs_its_time_out_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let seen = batches(job(at), 2).await;
    assert_eq!(seen, [vec!["up 0"], vec!["up 0"]]);
}

#[tokio::test]
async fn an_answer_that_unpacks_to_gigabytes_is_given_up() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&vec![b'#'; 8 << 20]).unwrap();
    let mut bomb = answer("text/plain", packed.finish().unwrap().into());
    bomb.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let at = serve(vec![bomb]).await;
    let mut job = Job { timeout: Duration::from_secs(5), interval: Duration::from_secs(5), ..job(at) };
    job.limits.body_bytes = 1 << 20;
    let (sender, mut receiver) = mpsc::channel(64);
    let (stop, targets) = (CancellationToken::new(), Targets::default());
    let running = run_job(
        Arc::new(job),
        no_lists(),
        Arc::new(Scrapers(Arc::new(Batches(sender)))),
        targets.clone(),
        stop.clone(),
        CancellationToken::new(),
    );
    let seeing = async {
        assert_eq!(shown(&receiver.recv().await.unwrap()), ["up 0"]);
        // The status is set right after the batch was taken.
        loop {
            let error = targets.view().first().and_then(|(_, view)| view.active.first()?.status.error.clone());
            if let Some(error) = error {
                break assert!(error.contains("body_size_limit"), "{error}");
            }
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, seeing);
    ended.unwrap();
}

#[tokio::test]
async fn redirects_are_followed_but_not_in_circles() {
    let to = |place: &str| Response::builder().status(302).header("location", place).body(Full::default()).unwrap();
    let at = serve(vec![to("/elsewhere"), text("a 1\n")]).await;
    assert_eq!(batches(job(at), 1).await, [vec!["a 1", "up 1"]]);
    let circle = serve(vec![to("/")]).await;
    assert_eq!(batches(job(circle), 1).await, [vec!["up 0"]]);
}

#[tokio::test]
async fn a_retired_job_ends_all_its_series_and_a_stopped_one_does_not() {
    for retired in [true, false] {
        let at = serve(vec![text("a 1\n")]).await;
        let (sender, mut receiver) = mpsc::channel(64);
        let (stop, retire) = (CancellationToken::new(), CancellationToken::new());
        let patient = Job { interval: Duration::from_secs(1), timeout: Duration::from_secs(1), ..job(at) };
        let running = run_job(
            Arc::new(patient),
            no_lists(),
            Arc::new(Scrapers(Arc::new(Batches(sender)))),
            Targets::default(),
            stop.clone(),
            retire.clone(),
        );
        let seeing = async {
            assert_eq!(shown(&receiver.recv().await.unwrap()), ["a 1", "up 1"]);
            if retired {
                retire.cancel();
            }
            stop.cancel();
            receiver.recv().await.map(|batch| shown(&batch))
        };
        let (ended, last) = tokio::join!(running, seeing);
        ended.unwrap();
        let expected = retired.then(|| vec!["a ends".to_owned(), "up ends".to_owned()]);
        assert_eq!(last, expected);
    }
}

#[tokio::test]
async fn an_unknown_format_is_refused_unless_a_fallback_is_named() {
    let at = serve(vec![answer("text/html", Bytes::from("a 1\n"))]).await;
    assert_eq!(batches(job(at), 1).await, [vec!["up 0"]]);
    let fallback = Job { fallback_format: Some(homeostat_sense_scrape::spec::Format::Text0), ..job(at) };
    assert_eq!(batches(fallback, 1).await, [vec!["a 1", "up 1"]]);
}

/// Panics at the first of its batches.
#[derive(Debug)]
struct Panics(std::sync::atomic::AtomicBool, Batches);

impl Sink for Panics {
    type Batch = Collected;
    fn begin(&self, now_ms: TimeMs) -> Collected {
        assert!(self.0.swap(true, std::sync::atomic::Ordering::Relaxed), "a mistake of ours");
        self.1.begin(now_ms)
    }
    fn commit(&self, batch: Collected) -> Storing {
        self.1.commit(batch)
    }
}

/// Lets a job run until its first batch is there.
async fn first_seen<E: std::fmt::Debug>(
    running: impl Future<Output = Result<(), E>>,
    receiver: &mut mpsc::Receiver<Collected>,
    stop: &CancellationToken,
) -> Vec<String> {
    let seeing = async {
        let seen = shown(&receiver.recv().await.unwrap());
        stop.cancel();
        seen
    };
    let (ended, seen) = tokio::join!(running, seeing);
    ended.unwrap();
    seen
}

#[tokio::test]
async fn a_scraper_that_panics_is_counted_and_started_again() {
    let at = serve(vec![text("a 1\n")]).await;
    let (sender, mut receiver) = mpsc::channel(64);
    let (stop, targets) = (CancellationToken::new(), Targets::default());
    let patient = Job { interval: Duration::from_secs(1), timeout: Duration::from_secs(1), ..job(at) };
    let sink = Arc::new(Panics(false.into(), Batches(sender)));
    let running = run_job(
        Arc::new(patient),
        no_lists(),
        Arc::new(Scrapers(sink)),
        targets.clone(),
        stop.clone(),
        CancellationToken::new(),
    );
    assert_eq!(first_seen(running, &mut receiver, &stop).await, ["a 1", "up 1"]);
    assert_eq!(targets.view().first().unwrap().1.panics, 1);
}

#[tokio::test]
async fn a_source_that_panics_is_counted_and_followed_again() {
    let at = serve(vec![text("a 1\n")]).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("targets.json");
    std::fs::write(&file, at.to_string()).unwrap();
    let discovery = vec![Discovery::File { patterns: vec![file], refresh: Duration::from_mins(5) }];
    let (sender, mut receiver) = mpsc::channel(64);
    let (stop, targets) = (CancellationToken::new(), Targets::default());
    let patient = Job { interval: Duration::from_secs(1), timeout: Duration::from_secs(1), discovery, ..job(at) };
    let has_panicked = std::sync::atomic::AtomicBool::new(false);
    let read: ReadGroups = Arc::new(move |text: &str| {
        assert!(has_panicked.swap(true, std::sync::atomic::Ordering::Relaxed), "a mistake of ours");
        Ok(vec![TargetGroup { targets: vec![text.to_owned()], labels: Vec::new() }])
    });
    let running = run_job(
        Arc::new(patient),
        read,
        Arc::new(Scrapers(Arc::new(Batches(sender)))),
        targets.clone(),
        stop.clone(),
        CancellationToken::new(),
    );
    assert_eq!(first_seen(running, &mut receiver, &stop).await, ["a 1", "up 1"]);
    let view = targets.view().remove(0).1;
    assert_eq!((view.panics, view.source_panics), (0, 1));
}

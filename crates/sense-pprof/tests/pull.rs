//! Targets that behave, lie, hang and refuse, and the real ones that are installed.

#![cfg(test)]

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, http::StatusCode, response::IntoResponse as _, routing::get};
use homeostat_model::{
    Labels, TimeMs,
    profile::{Profile, ValueType},
};
use homeostat_sense_pprof::{Asked, Kind, Pace, ProfileSink, PullError, PullJob, Pulling, Storing, ask, ask_within};
use homeostat_sense_scrape::{
    discover::ReadGroups,
    fetch::{FetchError, Fetcher},
    manager::{Targets, run_job},
    scraper::SharedStatus,
    spec::{Discovery, HttpSpec, Job, TargetGroup},
    target::Target,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

type Piece = std::io::Result<bytes::Bytes>;

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn fetcher() -> Fetcher {
    Fetcher::new(Arc::new(HttpSpec::default())).unwrap()
}

fn fixture() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/fixtures/pprof/cpu.pb.gz")).unwrap()
}

fn empty() -> Vec<u8> {
    let types = ["contentions", "delay"].map(|kind| ValueType::new(kind, "count"));
    homeostat_wire::pprof::write(&Profile::new(types.to_vec()))
}

/// What Go says while somebody else measures.
async fn in_use() -> (StatusCode, &'static str) {
    (StatusCode::INTERNAL_SERVER_ERROR, "Could not enable CPU profiling: cpu profiling already in use\n")
}

async fn asked(address: SocketAddr, kind: Kind) -> Result<Asked, PullError> {
    ask(&fetcher(), &format!("http://{address}/"), kind, Duration::from_secs(1), 7).await
}

#[tokio::test]
async fn refusals_lies_and_silence_are_told_apart() {
    let endless = || async {
        let zeros = futures_util::stream::repeat_with(|| Piece::Ok(vec![0; 1 << 20].into()));
        Body::from_stream(zeros).into_response()
    };
    let router = Router::new()
        .route("/debug/pprof/profile", get(in_use))
        .route("/debug/pprof/heap", get(|| async { "<html>no profile</html>" }))
        .route("/debug/pprof/allocs", get(|| async { fixture() }))
        .route("/debug/pprof/mutex", get(|| async { empty() }))
        .route("/debug/pprof/block", get(endless));
    let address = serve(router).await;
    let busy = asked(address, Kind::Cpu).await.unwrap_err();
    assert!(matches!(busy, PullError::Busy), "{busy:?}");
    let lie = asked(address, Kind::Heap).await.unwrap_err();
    assert!(matches!(lie, PullError::Profile(_)), "{lie:?}");
    let there = asked(address, Kind::Allocs).await.unwrap();
    assert_eq!((there.profile.started_ns, there.maybe_disabled), (7, false), "our clock, not the target's");
    let silent = asked(address, Kind::Mutex).await.unwrap();
    assert!(silent.maybe_disabled);
    let endless = asked(address, Kind::Block).await.unwrap_err();
    assert!(matches!(endless, PullError::Fetch(FetchError::TooLarge { .. })), "{endless:?}");
    let none = asked(address, Kind::Goroutine).await.unwrap_err();
    assert!(matches!(none, PullError::NotServed { .. }), "{none:?}");
    // A program that fails is not one that is busy.
    let broken = get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "out of memory") });
    let address = serve(Router::new().route("/debug/pprof/profile", broken)).await;
    let broken = asked(address, Kind::Cpu).await.unwrap_err();
    assert!(matches!(broken, PullError::Fetch(FetchError::Status { .. })), "{broken:?}");
}

#[tokio::test]
async fn a_target_that_hangs_in_the_middle_is_given_up() {
    let hanging = || async {
        let begun = futures_util::stream::iter([Piece::Ok(bytes::Bytes::from_static(b"\x1f\x8b"))]);
        Body::from_stream(futures_util::StreamExt::chain(begun, futures_util::stream::pending())).into_response()
    };
    let address = serve(Router::new().route("/debug/pprof/heap", get(hanging))).await;
    let (base, slack) = (format!("http://{address}"), Duration::from_millis(50));
    let hung = ask_within(&fetcher(), &base, Kind::Heap, Duration::ZERO, 7, slack).await.unwrap_err();
    assert!(matches!(hung, PullError::Fetch(FetchError::Timeout(_))), "{hung:?}");
}

/// Sends what it gets on.
#[derive(Debug)]
struct Sent(mpsc::Sender<(Labels, Profile)>);

impl ProfileSink for Sent {
    fn push(&self, labels: &Labels, profile: &Profile, _now_ms: TimeMs) -> Result<Storing, String> {
        // A test that has seen enough does not listen any more.
        drop(self.0.try_send((labels.clone(), profile.clone())));
        Ok(Box::pin(async { Ok(()) }))
    }
}

/// A job that pulls.
struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn start<S: ProfileSink>(address: &str, kinds: &[Kind], interval: Duration, sink: Arc<S>) -> Running {
    let pulling = Arc::new(Pulling { job: PullJob { kinds: kinds.to_vec() }, sink });
    let stop = CancellationToken::new();
    let read: ReadGroups = Arc::new(|_| Ok(Vec::new()));
    let group = TargetGroup { targets: vec![address.to_owned()], labels: vec![("zone".to_owned(), "a".to_owned())] };
    let discovery = vec![Discovery::Static(vec![group])];
    let job = Arc::new(Job { interval, timeout: interval, discovery, ..Job::named("shop") });
    let (targets, stopped, gone) = (Targets::default(), stop.clone(), CancellationToken::new());
    let task = tokio::spawn(async move { run_job(job, read, pulling, targets, stopped, gone).await.unwrap() });
    Running { stop, task }
}

/// Pulls kinds until `enough` says so.
async fn pull(address: &str, kinds: &[Kind], interval: Duration, mut enough: impl FnMut(&Labels, &Profile) -> bool) {
    let (sender, mut seen) = mpsc::channel(64);
    let running = start(address, kinds, interval, Arc::new(Sent(sender)));
    while let Some((labels, profile)) = seen.recv().await {
        if enough(&labels, &profile) {
            break;
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn a_schedule_goes_on_beside_a_kind_that_is_refused() {
    let busy = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&busy);
    let refuse = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        in_use()
    };
    let router = Router::new()
        .route("/debug/pprof/profile", get(refuse))
        .route("/debug/pprof/goroutine", get(|| async { fixture() }));
    let address = serve(router).await.to_string();
    let mut rounds = 0;
    pull(&address, &[Kind::Cpu, Kind::Goroutine], Duration::from_millis(100), |labels, _| {
        assert_eq!(labels.value("service_name"), "shop");
        assert_eq!((labels.value("zone"), labels.value("__name__")), ("a", "goroutine"));
        rounds += 1;
        rounds == 10
    })
    .await;
    // Asked in the rounds 1, 3 and 6: each time it is left alone for twice as long.
    assert_eq!(busy.load(Ordering::Relaxed), 3);
}

/// Refuses every second profile.
#[derive(Debug)]
struct Refusing(mpsc::Sender<i64>, AtomicUsize);

impl ProfileSink for Refusing {
    fn push(&self, _labels: &Labels, profile: &Profile, _now_ms: TimeMs) -> Result<Storing, String> {
        if self.1.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err("no room".to_owned());
        }
        // A test that has seen enough does not listen any more.
        let _nobody = self.0.try_send(profile.total(0));
        Ok(Box::pin(async { Ok(()) }))
    }
}

/// A target that fails is asked at every interval; growth that was refused is not lost.
#[tokio::test]
async fn growth_that_was_refused_comes_with_the_next_reading() {
    let (readings, answers) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let (readings, counted) = (Arc::new(readings), Arc::clone(&answers));
    let heap = move || {
        // Each second answer is a failure; readings grow by one.
        let failed = counted.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let reading = if failed { 0 } else { readings.fetch_add(1, Ordering::Relaxed) as i64 + 1 };
        async move {
            let mut profile = Profile::new(vec![ValueType::new("alloc_space", "bytes")]);
            profile.add(homeostat_model::profile::Stack::EMPTY, homeostat_model::profile::LabelSet::NONE, &[reading]);
            let status = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
            (status, homeostat_wire::pprof::write(&profile))
        }
    };
    let address = serve(Router::new().route("/debug/pprof/heap", get(heap))).await.to_string();
    let (sender, mut seen) = mpsc::channel(64);
    let sink = Arc::new(Refusing(sender, AtomicUsize::new(0)));
    let running = start(&address, &[Kind::Heap], Duration::from_millis(100), sink);
    // Of the growths by one each second is refused, and comes with the one after it.
    for _ in 0..3 {
        assert_eq!(seen.recv().await, Some(2));
    }
    running.stop().await;
    assert!(answers.load(Ordering::Relaxed) <= 16, "asked once an interval");
}

#[tokio::test]
async fn no_growth_is_lost_when_the_pace_changes() {
    let readings = Arc::new(AtomicUsize::new(0));
    let heap = move || {
        let reading = readings.fetch_add(1, Ordering::Relaxed) as i64 + 1;
        async move {
            // What grows, and the same as it stands.
            let types = ["alloc_space", "inuse_space"].map(|kind| ValueType::new(kind, "bytes"));
            let mut profile = Profile::new(types.to_vec());
            let (stack, labels) = (homeostat_model::profile::Stack::EMPTY, homeostat_model::profile::LabelSet::NONE);
            profile.add(stack, labels, &[reading, reading]);
            homeostat_wire::pprof::write(&profile)
        }
    };
    let url = format!("http://{}", serve(Router::new().route("/debug/pprof/heap", get(heap))).await);
    let (sender, mut seen) = mpsc::channel(64);
    let pulling = Arc::new(Pulling { job: PullJob { kinds: vec![Kind::Heap] }, sink: Arc::new(Sent(sender)) });
    let (labels, interval) = (Labels::new([("job", "shop")]), Duration::from_millis(20));
    let target = Target { discovered: labels.clone(), labels, url, interval, timeout: interval };
    let (pace, stop) = (watch::Sender::new(Pace::Every), CancellationToken::new());
    let pull = pulling.pull(target, fetcher(), SharedStatus::default(), pace.subscribe(), stop.clone());
    let task = tokio::spawn(pull);
    // The first reading counts from the program's start and is not sent.
    let mut grown = 1;
    for change in [Pace::EveryOther, Pace::Every, Pace::EveryOther, Pace::Every, Pace::Every] {
        let (_, profile) = seen.recv().await.unwrap();
        grown += profile.total(0);
        assert_eq!(grown, profile.total(1), "all growth up to this reading was sent, once");
        pace.send_replace(change);
    }
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_pull_that_is_stopped_leaves_the_target_alone_and_goes_on_later() {
    // Says when it is asked, and when whoever asked has gone.
    let (asked, mut asks) = mpsc::channel(64);
    let heap = move || {
        let asked = asked.clone();
        async move {
            let (here, gone) = oneshot::channel::<()>();
            asked.send(gone).await.unwrap();
            let _held_while_somebody_waits = here;
            std::future::pending::<()>().await;
        }
    };
    let url = format!("http://{}", serve(Router::new().route("/debug/pprof/heap", get(heap))).await);
    let (sender, _seen) = mpsc::channel(64);
    let pulling = Arc::new(Pulling { job: PullJob { kinds: vec![Kind::Heap] }, sink: Arc::new(Sent(sender)) });
    let labels = Labels::new([("job", "shop")]);
    let (interval, timeout) = (Duration::from_millis(20), Duration::from_hours(1));
    let target = Target { discovered: labels.clone(), labels, url, interval, timeout };
    let (pace, stop) = (watch::Sender::new(Pace::Every), CancellationToken::new());
    let pull = pulling.pull(target, fetcher(), SharedStatus::default(), pace.subscribe(), stop.clone());
    let task = tokio::spawn(pull);
    for _ in 0..3 {
        let gone = asks.recv().await.unwrap();
        pace.send_replace(Pace::Never);
        assert!(gone.await.is_err(), "nothing is asked for any more");
        pace.send_replace(Pace::Every);
    }
    stop.cancel();
    task.await.unwrap();
}

/// A real server on a free port; killed when dropped.
struct Real(Child);

impl Drop for Real {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Pulls a real program until its memory and its goroutines were seen, and measures its CPU time on demand.
async fn check_real(program: &str, args: &[String], address: &str) {
    let started = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(child) = started else {
        println!("SKIPPED: profiles of a real {program}: it is not installed");
        return;
    };
    let _running = Real(child);
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "{program} does not listen");
        tokio::task::yield_now().await;
    }
    let mut metrics = std::collections::BTreeSet::new();
    let kinds = [Kind::Cpu, Kind::Heap, Kind::Goroutine, Kind::Mutex, Kind::Block];
    pull(address, &kinds, Duration::from_millis(1500), |labels, profile| {
        assert!(!profile.types().is_empty() && 0 < profile.rows().len());
        metrics.insert(labels.value("__name__").to_owned());
        ["memory", "goroutine"].iter().all(|metric| metrics.contains(*metric))
    })
    .await;
    let measured = ask(&fetcher(), &format!("http://{address}"), Kind::Cpu, Duration::from_secs(1), 1).await.unwrap();
    assert_eq!(measured.profile.period, 10_000_000, "{program}");
}

#[tokio::test]
async fn a_real_prometheus_is_pulled() {
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
    let config = dir.path().join("prometheus.yml");
    std::fs::write(&config, "global: {scrape_interval: 1m}\n").unwrap();
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.path().join("data").display()),
        format!("--web.listen-address={address}"),
    ];
    check_real("prometheus", &args, &address).await;
}

#[tokio::test]
async fn a_real_victoria_metrics_is_pulled() {
    let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
    let args = [
        format!("-storageDataPath={}", dir.path().join("data").display()),
        format!("-httpListenAddr={address}"),
        "-memory.allowedBytes=64MB".to_owned(),
    ];
    check_real("victoria-metrics", &args, &address).await;
}

#[tokio::test]
async fn a_real_etcd_is_pulled() {
    let (dir, address, peers) = (tempfile::tempdir().unwrap(), free_address(), format!("http://{}", free_address()));
    let args = [
        "--enable-pprof".to_owned(),
        format!("--data-dir={}", dir.path().display()),
        format!("--listen-client-urls=http://{address}"),
        format!("--advertise-client-urls=http://{address}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
    ];
    check_real("etcd", &args, &address).await;
}

//! Delivery under paused time: a transport that follows a script, a disk in memory that survives "restarts".

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use homeostat_act_notify::{
    EnqueueError, Notify, NotifyHandle, NotifyOptions,
    limits::QUEUE_NOTICES_MAX,
    payload::Outgoing,
    spec::{ReceiverKind, ReceiverSpec, Secret, TemplateSpec},
    transport::{Answer, Reply, SendError, Transport},
};
use homeostat_model::{
    Span, Timestamp,
    notice::{Notice, NoticeStatus},
};
use homeostat_store_wal::sim_disk::SimDisk;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

type Outcome = Result<Reply, SendError>;
/// By host and number of the attempt at it, from 0: how long the answer takes, and what it is.
type Script = dyn Fn(&str, usize) -> (Duration, Outcome) + Send + Sync;

fn fine() -> Reply {
    status(200, None)
}

fn status(status: u16, retry_after: Option<u64>) -> Reply {
    Reply { status, retry_after: retry_after.map(Duration::from_secs), body: Vec::new() }
}

/// One attempt as the receiver saw it.
#[derive(Clone, Debug)]
struct Attempt {
    at: Duration,
    host: String,
    body: serde_json::Value,
}

impl Attempt {
    fn keys(&self) -> Vec<&str> {
        self.body["alerts"].as_array().unwrap().iter().map(|alert| alert["labels"]["key"].as_str().unwrap()).collect()
    }
}

struct Wire {
    began: Instant,
    script: Box<Script>,
    attempts: Mutex<Vec<Attempt>>,
}

impl Transport for Wire {
    fn send(&self, outgoing: Outgoing, timeout: Duration) -> Answer {
        let host = outgoing.url.reveal().trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let body = serde_json::from_slice(&outgoing.body).unwrap();
        let mut attempts = self.attempts.lock().unwrap();
        let nth = attempts.iter().filter(|attempt| attempt.host == host).count();
        let (takes, outcome) = (self.script)(&host, nth);
        attempts.push(Attempt { at: self.began.elapsed(), host, body });
        Box::pin(async move {
            tokio::time::timeout(timeout, sleep(takes)).await.map_err(|_| SendError::Timeout)?;
            outcome
        })
    }
}

/// Time, disk and network that outlive a process.
struct World {
    wire: Arc<Wire>,
    disk: SimDisk,
    /// Added to the wall clock, which otherwise follows tokio's.
    wall_skew_ms: Arc<AtomicI64>,
}

struct Process {
    handle: NotifyHandle,
    stop: CancellationToken,
    task: JoinHandle<bool>,
}

impl World {
    fn new(script: impl Fn(&str, usize) -> (Duration, Outcome) + Send + Sync + 'static) -> Self {
        let wire = Wire { began: Instant::now(), script: Box::new(script), attempts: Mutex::default() };
        Self { wire: Arc::new(wire), disk: SimDisk::default(), wall_skew_ms: Arc::default() }
    }

    fn open(&self, receivers: Vec<ReceiverSpec>) -> (Notify, NotifyHandle) {
        let (began, skew) = (self.wire.began, Arc::clone(&self.wall_skew_ms));
        let clock = Arc::new(move || {
            Timestamp::from_unix_ms(1_750_000_000_000 + skew.load(Ordering::Relaxed)) + Span::from(began.elapsed())
        });
        let mut options = NotifyOptions::new(clock, 42);
        options.disk = Arc::new(self.disk.clone());
        options.transport = Arc::clone(&self.wire) as Arc<dyn Transport>;
        Notify::open(Path::new("/notify"), receivers, options).unwrap()
    }

    fn start(&self, receivers: Vec<ReceiverSpec>) -> Process {
        let (notify, handle) = self.open(receivers);
        let stop = CancellationToken::new();
        Process { handle, stop: stop.clone(), task: tokio::spawn(notify.run(stop)) }
    }

    fn attempts(&self) -> Vec<Attempt> {
        self.wire.attempts.lock().unwrap().clone()
    }

    /// Attempts at a host: at which second, with which keys.
    fn log(&self, host: &str) -> Vec<(u64, String)> {
        let attempts = self.attempts();
        let of_host = attempts.iter().filter(|attempt| attempt.host == host);
        of_host.map(|attempt| (attempt.at.as_secs(), attempt.keys().join(" "))).collect()
    }
}

impl Process {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// As `kill -9` would.
    async fn kill(self, world: &World) {
        world.disk.kill();
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

fn receiver(name: &str) -> ReceiverSpec {
    ReceiverSpec {
        name: name.parse().unwrap(),
        kind: ReceiverKind::Webhook { url: Secret::new(format!("http://{name}/")), bearer: None },
        send_resolved: true,
        per_minute_max: 60,
        timeout: Span::from_secs(10),
        give_up_after: Span::from_hours(24),
        template: None,
    }
}

fn notice(receiver: &str, key: &str) -> Notice {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Notice {
        key: key.to_owned(),
        receiver: receiver.parse().unwrap(),
        group: format!("incident/{key}"),
        status: NoticeStatus::Firing,
        labels: [pair("alertname", "CanaryWorse"), pair("key", key)].into(),
        annotations: [pair("summary", "it broke")].into(),
        starts_at: Timestamp::from_unix_ms(1_750_000_000_000),
        ends_at: None,
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_message_leaves_at_once_and_once() {
    let world = World::new(|_, _| (Duration::ZERO, Ok(fine())));
    let process = world.start(vec![receiver("a")]);
    for _ in 0..3 {
        process.handle.enqueue(notice("a", "k1")).unwrap();
    }
    sleep(Duration::from_hours(1)).await;
    assert_eq!(world.log("a"), [(0, "k1".to_owned())]);
    let stats = process.handle.stats();
    assert_eq!((stats.duplicates, stats.receivers["a"].delivered), (2, 1));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_delays_nobody_else() {
    let world = World::new(|host, _| (Duration::from_secs(if host == "slow" { 3_600 } else { 0 }), Ok(fine())));
    let process = world.start(vec![receiver("slow"), receiver("quick")]);
    process.handle.enqueue(notice("slow", "k1")).unwrap();
    process.handle.enqueue(notice("quick", "k2")).unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.log("quick"), [(0, "k2".to_owned())]);
    sleep(Duration::from_secs(6)).await;
    let stats = process.handle.stats();
    let slow = &stats.receivers["slow"];
    assert_eq!((slow.retries, slow.last_error.as_deref()), (1, Some("it did not answer in time")));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_for_an_hour_hears_once_although_the_process_was_killed() {
    let hour = 3_600;
    let world = World::new(move |_, _| (Duration::ZERO, Err(SendError::Closed)));
    let process = world.start(vec![receiver("a")]);
    process.handle.enqueue(notice("a", "k1")).unwrap();
    sleep(Duration::from_secs(hour / 2)).await;
    let tried = world.log("a");
    assert!((30..120).contains(&tried.len()), "{} attempts in half an hour", tried.len());
    // A record is durable some milliseconds of real time after it was written; attempts take none here.
    process.stop().await;

    let process = world.start(vec![receiver("a")]);
    sleep(Duration::from_secs(hour / 2)).await;
    process.kill(&world).await;

    let world = World { wire: World::new(|_, _| (Duration::ZERO, Ok(fine()))).wire, ..world };
    world.wall_skew_ms.store(3_600_000, Ordering::Relaxed);
    let process = world.start(vec![receiver("a")]);
    // After the crash the journal hands it over again as well.
    process.handle.enqueue(notice("a", "k1")).unwrap();
    sleep(Duration::from_hours(1)).await;
    assert_eq!(world.log("a"), [(0, "k1".to_owned())]);
    let marked = &world.attempts()[0].body["alerts"][0]["annotations"]["homeostat_delayed_since"];
    assert_eq!(marked, "2025-06-15T15:06:40Z");
    process.stop().await;

    let process = world.start(vec![receiver("a")]);
    process.handle.enqueue(notice("a", "k1")).unwrap();
    sleep(Duration::from_hours(1)).await;
    assert_eq!(world.log("a").len(), 1, "delivered before the restart");
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn answers_decide_about_the_next_attempt() {
    let world = World::new(|host, nth| {
        let outcome = match (host, nth) {
            ("busy", 0) => Ok(status(429, Some(300))),
            ("broken", 0 | 1) => Ok(status(503, None)),
            ("wrong", _) => Ok(status(404, None)),
            _ => Ok(fine()),
        };
        (Duration::ZERO, outcome)
    });
    let process = world.start(vec![receiver("busy"), receiver("broken"), receiver("wrong")]);
    for name in ["busy", "broken", "wrong"] {
        process.handle.enqueue(notice(name, "k1")).unwrap();
    }
    sleep(Duration::from_hours(1)).await;
    assert_eq!(world.log("busy").iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 300]);
    assert_eq!(world.log("broken").len(), 3);
    assert_eq!(world.log("wrong").len(), 1, "a permanent failure is not repeated");
    let stats = process.handle.stats();
    assert_eq!(stats.receivers["wrong"].refused, 1);
    assert_eq!(stats.problems(), ["receiver wrong: it answered 404; check its address and secret; 0 notices wait"]);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn more_than_the_rate_is_grouped_into_the_next_message() {
    let world = World::new(|_, _| (Duration::from_millis(1), Ok(fine())));
    let process = world.start(vec![ReceiverSpec { per_minute_max: 2, ..receiver("a") }]);
    for n in 0..10 {
        process.handle.enqueue(notice("a", &format!("k{n}"))).unwrap();
    }
    sleep(Duration::from_mins(5)).await;
    let log = world.log("a");
    assert_eq!(log.len(), 2, "{log:?}");
    assert_eq!(log[0], (0, "k0".to_owned()), "the first one did not wait for the others");
    assert_eq!(log[1], (0, "k1 k2 k3 k4 k5 k6 k7 k8 k9".to_owned()));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn giving_up_is_counted_and_final() {
    let world = World::new(|_, _| (Duration::ZERO, Err(SendError::Connect(std::io::ErrorKind::ConnectionRefused))));
    let spec = ReceiverSpec { give_up_after: Span::from_mins(10), ..receiver("a") };
    let process = world.start(vec![spec.clone()]);
    process.handle.enqueue(notice("a", "k1")).unwrap();
    // The wall clock may be set meanwhile; ten minutes stay ten minutes.
    sleep(Duration::from_mins(5)).await;
    world.wall_skew_ms.store(-86_400_000, Ordering::Relaxed);
    sleep(Duration::from_mins(4)).await;
    let before = world.log("a").len();
    sleep(Duration::from_hours(2)).await;
    let (last, _) = world.log("a").last().unwrap().clone();
    assert!(before < world.log("a").len() && (600..720).contains(&last), "last attempt after {last} s");
    let stats = process.handle.stats();
    let a = &stats.receivers["a"];
    assert_eq!(
        (a.given_up, a.pending, a.last_error.as_deref()),
        (1, 0, Some("it could not be reached: connection refused"))
    );
    process.stop().await;
    assert_eq!(world.open(vec![spec]).1.stats().receivers["a"].pending, 0);
}

#[tokio::test(start_paused = true)]
async fn receivers_come_change_and_go() {
    let world =
        World::new(|host, _| (Duration::ZERO, if host == "old" { Ok(status(503, Some(3_000))) } else { Ok(fine()) }));
    let process = world.start(vec![receiver("old"), receiver("gone")]);
    process.handle.enqueue(notice("old", "k1")).unwrap();
    process.handle.enqueue(notice("nobody", "k2")).unwrap();
    sleep(Duration::from_secs(100)).await;
    let moved = ReceiverKind::Webhook { url: Secret::new("http://new/".to_owned()), bearer: None };
    process.handle.reconfigure(vec![ReceiverSpec { kind: moved, ..receiver("old") }]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.log("new"), [(100, "k1".to_owned())], "tried again at once at its new address");
    process.handle.enqueue(notice("gone", "k3")).unwrap();
    sleep(Duration::from_secs(1)).await;
    let stats = process.handle.stats();
    assert_eq!((stats.unknown_receiver, stats.receivers.len()), (2, 1));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn resolved_notices_reach_only_who_wants_them() {
    let world = World::new(|_, _| (Duration::ZERO, Ok(fine())));
    let process = world.start(vec![receiver("all"), ReceiverSpec { send_resolved: false, ..receiver("bad") }]);
    for name in ["all", "bad"] {
        let over = Notice { status: NoticeStatus::Resolved, ends_at: Some(Timestamp::default()), ..notice(name, "k1") };
        process.handle.enqueue(over).unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!((world.log("all").len(), world.log("bad").len()), (1, 0));
    assert_eq!(process.handle.stats().receivers["bad"].unwanted, 1);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_counts() {
    let world = World::new(|_, _| (Duration::ZERO, Ok(fine())));
    let (notify, handle) = world.open(vec![receiver("a")]);
    for n in 0..QUEUE_NOTICES_MAX {
        handle.enqueue(notice("a", &n.to_string())).unwrap();
    }
    assert_eq!(handle.enqueue(notice("a", "beyond")), Err(EnqueueError::Full));
    assert_eq!(handle.stats().queue_full, 1);
    drop(notify);
    assert_eq!(handle.enqueue(notice("a", "late")), Err(EnqueueError::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_dead_disk_delays_nothing_and_a_broken_template_is_replaced() {
    let world = World::new(|_, _| (Duration::ZERO, Ok(fine())));
    world.disk.set(|faults| faults.stuck = true);
    let template = TemplateSpec { title: None, text: Some("{{ 1 // 0 }}".to_owned()) };
    let url = Secret::new("http://chat/".to_owned());
    let spec = ReceiverSpec { kind: ReceiverKind::Slack { url }, template: Some(template), ..receiver("chat") };
    let process = world.start(vec![spec, receiver("a")]);
    process.handle.enqueue(notice("a", "k1")).unwrap();
    process.handle.enqueue(notice("chat", "k2")).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.log("a"), [(0, "k1".to_owned())]);
    let chat = world.attempts().iter().find(|attempt| attempt.host == "chat").unwrap().body.clone();
    assert!(chat["text"].as_str().unwrap().contains("it broke"), "{chat}");
    assert_eq!(process.handle.stats().receivers["chat"].render_failures, 1);
    world.disk.set(|faults| faults.stuck = false);
    process.stop().await;
}

//! What was acknowledged arrives once and in order, whatever happens to the sender, its disk and the way.
//!
//! The receiver of the tests is as strict as a Prometheus of old: a request with one sample that is older than what it
//! has is refused as a whole.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use homeostat_relay_write::{Answer, Carrier, Carrying, Relay, RelaySpec, Version, Written};
use homeostat_store_wal::SimDisk;
use homeostat_wire::{
    intake::{Collected, IntakeLimits},
    remote_write::{decode_v1, decode_v2, unpack},
};
use tokio_util::sync::CancellationToken;

/// Long enough for any machine; only a broken relay ever waits this long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A small generator of numbers, so that a run can be repeated.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Debug)]
struct Receiver {
    chance: Mutex<Chance>,
    /// One of so many requests goes wrong; none when 0.
    trouble: u64,
    stored: Mutex<BTreeMap<String, Vec<i64>>>,
}

impl Receiver {
    fn new(seed: u64, trouble: u64) -> Arc<Self> {
        Arc::new(Self { chance: Mutex::new(Chance(seed)), trouble, stored: Mutex::default() })
    }

    fn take(&self, body: &[u8], version: Version) -> Answer {
        let (mut message, mut read) = (Vec::new(), Collected::default());
        let limits = IntakeLimits::default();
        unpack(body, &limits, &mut message).unwrap();
        match version {
            Version::V1 => decode_v1(&message, &limits, &mut read).unwrap(),
            Version::V2 => decode_v2(&message, &limits, &mut read).unwrap(),
        }
        let mut stored = self.stored.lock().unwrap();
        let mut after = stored.clone();
        for series in &read.series {
            let times = after.entry(series.labels.to_string()).or_default();
            for sample in &series.samples {
                let start_ms = (version == Version::V2 && sample.t_ms != 7).then_some(sample.t_ms - 7);
                assert!(sample.start_ms == start_ms || !series.labels.to_string().contains("n="), "{sample:?}");
                match times.last() {
                    Some(last) if sample.t_ms < *last => {
                        return Answer::Refused { status: 400, why: "out of order sample".to_owned(), written: None };
                    }
                    Some(last) if sample.t_ms == *last => {}
                    _ => times.push(sample.t_ms),
                }
            }
        }
        *stored = after;
        Answer::Taken { written: None }
    }
}

impl Carrier for Receiver {
    fn carry(&self, body: Bytes, version: Version) -> Carrying {
        let lot = if self.trouble == 0 { 99 } else { self.chance.lock().unwrap().below(3 * self.trouble) };
        let later = |perhaps| Answer::Later { after: None, why: "not now".to_owned(), perhaps };
        let answer = match lot {
            0 => later(false),
            1 => later(true),
            // It arrives, and the answer does not.
            2 => match self.take(&body, version) {
                Answer::Taken { .. } => later(true),
                other => other,
            },
            _ => self.take(&body, version),
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
    }
}

fn spec(version: Version, per_send: usize, queue_bytes: u64) -> RelaySpec {
    RelaySpec {
        version,
        samples_per_send_max: per_send,
        batch_deadline: Duration::from_millis(1),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        queue_bytes_max: queue_bytes,
        ..RelaySpec::named("far", "http://far/")
    }
}

/// Queues one sample of each of `series` series at each of these times, durably.
fn put(relay: &Relay, series: usize, times: std::ops::Range<i64>) {
    let mut batch = relay.begin();
    // Values that do not pack well: a queue is to be filled.
    let value = |t_ms: i64| (t_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64) >> 2) as f64;
    let times: Vec<(i64, f64)> = times.map(|t_ms| (t_ms, value(t_ms))).collect();
    let starts: Vec<i64> = times.iter().map(|(t_ms, _)| t_ms - 7).collect();
    for number in 0..series {
        let number = number.to_string();
        batch.series([("__name__", "s"), ("n", number.as_str())], &times, &[], (&starts, &[]));
    }
    let ticket = relay.commit(batch).unwrap();
    let _durable = ticket.unwrap().wait(Duration::from_secs(30)).unwrap();
}

fn metric(relay: &Arc<Relay>, name: &str) -> u64 {
    let mut text = String::new();
    Relay::metrics(&[Arc::clone(relay)], &mut text);
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

async fn until_empty(relay: &Arc<Relay>) {
    while metric(relay, "prometheus_remote_storage_samples_pending") > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once_in_order_through_crashes_and_lost_answers() {
    const SERIES: usize = 12;
    for seed in 0..12 {
        let version = if seed % 2 == 0 { Version::V1 } else { Version::V2 };
        let (disk, dir) = (SimDisk::default(), Path::new("/queue"));
        let receiver = Receiver::new(seed, 4);
        let mut chance = Chance(seed + 1000);
        let mut next = 0;
        for run in 0..8 {
            let relay = Relay::open(spec(version, 5, 1 << 20), dir, Arc::new(disk.clone())).unwrap();
            let relay = Arc::new(relay);
            let stop = CancellationToken::new();
            let (sender, carrier, stopped) = (Arc::clone(&relay), Arc::clone(&receiver), stop.clone());
            let sending = tokio::spawn(async move { sender.run(carrier, stopped, PATIENCE).await });
            for _ in 0..chance.below(6) {
                let times = next..next + 1 + chance.below(3) as i64;
                next = times.end;
                put(&relay, SERIES, times);
            }
            if run == 7 {
                put(&relay, SERIES, next..next + 1);
                until_empty(&relay).await;
            }
            // Everything that is not on the disk is lost with the power.
            stop.cancel();
            assert!(sending.await.unwrap());
            assert_eq!(metric(&relay, "prometheus_remote_storage_samples_failed_total"), 0, "seed {seed} run {run}");
            drop(relay);
            disk.lose_power(seed * 8 + run);
        }
        let stored = receiver.stored.lock().unwrap();
        assert_eq!(stored.len(), SERIES, "seed {seed}");
        for (labels, times) in stored.iter() {
            assert!(times.iter().copied().eq(0..=next), "seed {seed}: {labels} has {times:?} of {next}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_memory_holds_waits_on_disk_and_keeps_its_order() {
    let disk = SimDisk::default();
    let relay = Arc::new(Relay::open(spec(Version::V1, 20_000, 1 << 30), Path::new("/queue"), Arc::new(disk)).unwrap());
    // Nobody sends yet: lanes keep two ends of 1 MiB each, and this is more.
    for round in 0..15 {
        put(&relay, 64, round * 2000..(round + 1) * 2000);
    }
    let receiver = Receiver::new(0, 0);
    let (sender, carrier, stop) = (Arc::clone(&relay), Arc::clone(&receiver), CancellationToken::new());
    let stopped = stop.clone();
    let sending = tokio::spawn(async move { sender.run(carrier, stopped, PATIENCE).await });
    put(&relay, 64, 30_000..30_001);
    until_empty(&relay).await;
    put(&relay, 64, 30_001..30_002);
    until_empty(&relay).await;
    stop.cancel();
    assert!(sending.await.unwrap());
    let stored = receiver.stored.lock().unwrap();
    assert!(stored.len() == 64 && stored.values().all(|times| times.iter().copied().eq(0..30_002)));
    assert_eq!(metric(&relay, "prometheus_remote_storage_samples_dropped_total"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_drops_the_oldest_and_counts_it() {
    const QUEUE_BYTES: u64 = 1 << 20;
    let disk = SimDisk::default();
    let relay =
        Arc::new(Relay::open(spec(Version::V1, 500, QUEUE_BYTES), Path::new("/queue"), Arc::new(disk)).unwrap());
    for round in 0..100 {
        put(&relay, 16, round * 200..(round + 1) * 200);
    }
    assert!(metric(&relay, "homeostat_relay_queue_bytes") < 2 * QUEUE_BYTES);
    let dropped = metric(&relay, "prometheus_remote_storage_samples_dropped_total");
    let pending = metric(&relay, "prometheus_remote_storage_samples_pending");
    assert!(dropped > 0 && dropped + pending == 16 * 20_000, "{dropped} and {pending}");
    let receiver = Receiver::new(0, 0);
    let (sender, carrier, stop) = (Arc::clone(&relay), Arc::clone(&receiver), CancellationToken::new());
    let stopped = stop.clone();
    let sending = tokio::spawn(async move { sender.run(carrier, stopped, PATIENCE).await });
    until_empty(&relay).await;
    stop.cancel();
    assert!(sending.await.unwrap());
    let stored = receiver.stored.lock().unwrap();
    assert_eq!(stored.values().map(Vec::len).sum::<usize>() as u64, pending);
    assert!(stored.values().all(|times| times.last() == Some(&19_999)), "the newest are kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_is_not_sent_and_what_is_refused_is_not_sent_again() {
    #[derive(Debug)]
    struct Never(Mutex<u64>);
    impl Carrier for Never {
        fn carry(&self, _: Bytes, _: Version) -> Carrying {
            *self.0.lock().unwrap() += 1;
            Box::pin(async { Answer::Refused { status: 404, why: "no such thing".to_owned(), written: None } })
        }
    }
    for (age_max, asked, name) in [
        (Duration::from_hours(1), 1, "prometheus_remote_storage_samples_failed_total"),
        (Duration::ZERO, 0, "prometheus_remote_storage_samples_dropped_total"),
    ] {
        let spec = RelaySpec { age_max, ..spec(Version::V1, 5, 1 << 20) };
        let relay = Arc::new(Relay::open(spec, Path::new("/queue"), Arc::new(SimDisk::default())).unwrap());
        put(&relay, 1, 0..3);
        // Its clock counts milliseconds; the next one has to begin.
        let put_at = now_ms();
        while now_ms() <= put_at {
            tokio::task::yield_now().await;
        }
        let (never, stop) = (Arc::new(Never(Mutex::new(0))), CancellationToken::new());
        let (sender, carrier, stopped) = (Arc::clone(&relay), Arc::clone(&never), stop.clone());
        let sending = tokio::spawn(async move { sender.run(carrier, stopped, PATIENCE).await });
        until_empty(&relay).await;
        stop.cancel();
        assert!(sending.await.unwrap());
        assert_eq!((*never.0.lock().unwrap(), metric(&relay, name)), (asked, 3));
    }
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// A destination that does what it is told.
struct Does<F>(F);

impl<F: Fn() -> Answer + Send + Sync + 'static> Carrier for Does<F> {
    fn carry(&self, _: Bytes, _: Version) -> Carrying {
        Box::pin(std::future::ready((self.0)()))
    }
}

/// A relay that sends to such a destination, until all is sent.
async fn sent(relay: &Arc<Relay>, does: impl Fn() -> Answer + Send + Sync + 'static) {
    let (sender, stop) = (Arc::clone(relay), CancellationToken::new());
    let stopped = stop.clone();
    let sending = tokio::spawn(async move { sender.run(Arc::new(Does(does)), stopped, PATIENCE).await });
    until_empty(relay).await;
    stop.cancel();
    assert!(sending.await.unwrap());
}

fn relay(spec: RelaySpec, disk: &SimDisk) -> Arc<Relay> {
    Arc::new(Relay::open(spec, Path::new("/queue"), Arc::new(disk.clone())).unwrap())
}

#[tokio::test]
async fn what_a_destination_takes_in_part_is_counted_in_part() {
    let written = Some(Written { samples: 90, histograms: 7 });
    let why = || "too old".to_owned();
    let answers: [fn(Option<Written>, String) -> Answer; 2] =
        [|written, _| Answer::Taken { written }, |written, why| Answer::Refused { status: 400, why, written }];
    for answer in answers {
        let relay = relay(spec(Version::V2, 100, 1 << 20), &SimDisk::default());
        put(&relay, 1, 0..100);
        sent(&relay, move || answer(written, why())).await;
        assert_eq!(metric(&relay, "prometheus_remote_storage_samples_total"), 90);
        assert_eq!(metric(&relay, "prometheus_remote_storage_histograms_total"), 0, "none were sent");
        assert_eq!(metric(&relay, "prometheus_remote_storage_samples_failed_total"), 10);
    }
}

#[tokio::test]
async fn what_had_arrived_before_its_answer_was_lost_is_not_called_lost() {
    let relay = relay(spec(Version::V2, 100, 1 << 20), &SimDisk::default());
    put(&relay, 1, 0..100);
    let is_lost = AtomicBool::new(true);
    let written = Some(Written { samples: 1, histograms: 0 });
    let does = move || {
        if is_lost.swap(false, Ordering::Relaxed) {
            Answer::Later { after: None, why: "the connection broke".to_owned(), perhaps: true }
        } else {
            Answer::Refused { status: 400, why: "out of order sample".to_owned(), written }
        }
    };
    sent(&relay, does).await;
    assert_eq!(metric(&relay, "prometheus_remote_storage_samples_total"), 100);
    assert_eq!(metric(&relay, "prometheus_remote_storage_samples_failed_total"), 0);
}

/// Panics so many times, and then takes everything.
struct Panicking(Arc<Receiver>, AtomicU64);

impl Carrier for Panicking {
    fn carry(&self, body: Bytes, version: Version) -> Carrying {
        let left = self.1.load(Ordering::Relaxed);
        if left > 0 {
            self.1.store(left - 1, Ordering::Relaxed);
            unreachable!("a mistake of ours");
        }
        self.0.carry(body, version)
    }
}

#[tokio::test]
async fn a_lane_that_panics_is_told_and_goes_on() {
    let relay = relay(spec(Version::V1, 5, 1 << 20), &SimDisk::default());
    put(&relay, 1, 0..23);
    assert_eq!(relay.trouble(), None);
    let receiver = Receiver::new(0, 0);
    let panics = AtomicU64::new(2);
    let (sender, stop) = (Arc::clone(&relay), CancellationToken::new());
    let (carrier, stopped) = (Arc::new(Panicking(Arc::clone(&receiver), panics)), stop.clone());
    let sending = tokio::spawn(async move { sender.run(carrier, stopped, PATIENCE).await });
    until_empty(&relay).await;
    stop.cancel();
    assert!(sending.await.unwrap());
    assert_eq!(metric(&relay, "homeostat_relay_panics_total"), 2);
    assert!(relay.trouble().unwrap().contains("2 times"));
    let stored = receiver.stored.lock().unwrap();
    assert!(stored.len() == 1 && stored.values().all(|times| times.iter().copied().eq(0..23)), "{stored:?}");
}

#[tokio::test]
async fn a_stuck_disk_does_not_hold_up_the_end() {
    let disk = SimDisk::default();
    let relay = relay(spec(Version::V1, 5, 1 << 20), &disk);
    put(&relay, 1, 0..5);
    let (stop, stuck) = (CancellationToken::new(), disk.clone());
    let stopping = stop.clone();
    // From the answer on nothing can be noted any more. The lane asks the disk before anybody else comes to run.
    let carrier = Does(move || {
        stuck.set(|faults| faults.stuck = true);
        stopping.cancel();
        Answer::Taken { written: None }
    });
    let ended = relay.run(Arc::new(carrier), stop, Duration::from_millis(20)).await;
    assert!(!ended, "the disk still has what the lane gave it");
    disk.set(|faults| faults.stuck = false);
}

#[test]
fn what_there_was_room_for_is_taken() {
    let disk = SimDisk::default();
    let relay = relay(spec(Version::V1, 1, 1 << 30), &disk);
    disk.set(|faults| faults.stuck = true);
    let mut batches = 0;
    // Each sample is a record of its own, and some thousands of them cross the limit in the middle of a batch.
    while relay.room(1).is_ok() {
        let mut batch = relay.begin();
        let times: Vec<(i64, f64)> = (0..3001).map(|at| (batches * 3001 + at, 1.0)).collect();
        batch.series([("__name__", "s")], &times, &[], (&[], &[]));
        relay.commit(batch).unwrap();
        batches += 1;
    }
    assert_eq!(metric(&relay, "prometheus_remote_storage_samples_pending"), batches as u64 * 3001);
    disk.set(|faults| faults.stuck = false);
    relay.close(PATIENCE).unwrap();
}

#[test]
fn nobody_waits_for_a_disk_that_removes_the_oldest_part() {
    const QUEUE_BYTES: u64 = 1 << 20;
    let disk = SimDisk::default();
    let relay = relay(spec(Version::V1, 500, QUEUE_BYTES), &disk);
    let mut next = 0;
    while metric(&relay, "homeostat_relay_queue_bytes") <= QUEUE_BYTES {
        put(&relay, 16, next..next + 200);
        next += 200;
    }
    let commit = |relay: &Relay, t_ms: i64| {
        let mut batch = relay.begin();
        batch.series([("__name__", "s")], &[(t_ms, 1.0)], &[], (&[], &[]));
        relay.commit(batch).unwrap()
    };
    disk.set(|faults| faults.stuck = true);
    let before = metric(&relay, "prometheus_remote_storage_samples_pending");
    let removing = std::thread::spawn({
        let relay = Arc::clone(&relay);
        move || drop(commit(&relay, next))
    });
    while metric(&relay, "prometheus_remote_storage_samples_pending") == before {
        std::thread::yield_now();
    }
    let (done, came) = std::sync::mpsc::channel();
    std::thread::spawn({
        let relay = Arc::clone(&relay);
        move || {
            drop(commit(&relay, next + 1));
            done.send(()).unwrap();
        }
    });
    came.recv_timeout(PATIENCE).unwrap();
    disk.set(|faults| faults.stuck = false);
    removing.join().unwrap();
    relay.close(PATIENCE).unwrap();
}

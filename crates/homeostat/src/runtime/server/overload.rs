//! Intake at ten times what the disk takes: senders are told to come again, memory stays within its bound, and nothing
//! that was acknowledged is lost with the power.
//!
//! The disk lets one commit through each time ten times as much was offered as was acknowledged. A writer offers again only
//! when it was answered, so this goes on only if the rest is told to come again. Sender, server and disk are one process
//! of their own here, so its memory is a bound on the server's.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use homeostat_sense_receive::{ReceiveLimits, Receiver};
use homeostat_store_series::{Batch, SeriesStore, StoreOptions};
use homeostat_store_wal::SimDisk;
use homeostat_wire::{intake::FloatSample, remote_write::EncoderV1, snappy};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{door::Door, intake::StoreIntake, relays::Relays};

const WRITERS: usize = 256;
const SERIES: usize = 50;
const SAMPLES: i64 = 10;
/// What this test is called, and the argument with which it runs itself as a process of its own.
const NAME: &str = "runtime::server::overload::ten_times_what_the_disk_takes_is_shed_and_nothing_acknowledged_is_lost";
const ALONE: &str = "HOMEOSTAT_TEST_ALONE";
/// When a server that sheds nothing, or takes nothing, is given up: the test takes seconds, on a busy machine tens of them.
const PATIENCE: Duration = Duration::from_mins(2);
/// Requests that are to be acknowledged in the end.
const ACKNOWLEDGED: u64 = 200;
/// Offered for each one that is acknowledged.
const OVERLOAD: u64 = 10;

/// Bytes that wait for the disk.
const QUEUE_BYTES: usize = 256 << 10;
/// Bytes of bodies on their way in.
const BODIES_BYTES: usize = 4 << 20;
/// What the process may grow by: the two limits above; of each of the two workers a decoded request (500 samples with their
/// labels, 0.1 MiB, twice for the batch); 256 requests in the senders' hands at 25 KiB; 2,000 bytes for each of the 12,800
/// series; and what was acknowledged, 20 bytes a sample on the disk of the test and as many in memory. 0.3 + 4 + 0.4 + 6.3
/// + 25 + 4 MiB, and a fifth for the allocator.
const GROWN_BYTES_MAX: u64 = 48 << 20;

fn body(writer: usize, round: i64) -> Bytes {
    let mut encoder = EncoderV1::default();
    let writer = writer.to_string();
    for number in 0..SERIES {
        let number = number.to_string();
        let labels = [("__name__", "overload"), ("n", number.as_str()), ("writer", writer.as_str())];
        let samples: Vec<FloatSample> =
            times(round).map(|t_ms| FloatSample { t_ms, value: t_ms as f64, start_ms: None }).collect();
        encoder.series(labels, &samples, &[], &[]);
    }
    snappy::compress(encoder.as_bytes()).unwrap().into()
}

fn times(round: i64) -> std::ops::Range<i64> {
    round * SAMPLES..(round + 1) * SAMPLES
}

#[derive(Debug, Default)]
struct Tally {
    offered: AtomicU64,
    acknowledged: AtomicU64,
    later: AtomicU64,
}

/// Sends rounds until it is stopped; gives how many were acknowledged.
async fn write(router: Router, writer: usize, tally: Arc<Tally>, stop: CancellationToken) -> i64 {
    let mut round = 0;
    while !stop.is_cancelled() {
        tally.offered.fetch_add(1, Ordering::Relaxed);
        let request = Request::post("/api/v1/write").body(Body::from(body(writer, round))).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let (parts, answer) = response.into_parts();
        match parts.status {
            StatusCode::NO_CONTENT => {
                tally.acknowledged.fetch_add(1, Ordering::Relaxed);
                round += 1;
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                assert_eq!(parts.headers["retry-after"], "1");
                tally.later.fetch_add(1, Ordering::Relaxed);
                // It does not do as it is told: that is what makes the overload.
                tokio::task::yield_now().await;
            }
            other => panic!("{other}: {:?}", answer.collect().await.unwrap().to_bytes()),
        }
    }
    round
}

fn resident_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Lets the disk fall behind until enough was acknowledged.
async fn overload(disk: &SimDisk, tally: &Tally) {
    while tally.acknowledged.load(Ordering::Relaxed) < ACKNOWLEDGED {
        let taken = tally.acknowledged.load(Ordering::Relaxed);
        if OVERLOAD * taken <= tally.offered.load(Ordering::Relaxed) {
            let syncs = disk.syncs();
            disk.set(|faults| faults.stuck = false);
            while disk.syncs() == syncs {
                tokio::task::yield_now().await;
            }
            disk.set(|faults| faults.stuck = true);
        }
        tokio::task::yield_now().await;
    }
    while tally.offered.load(Ordering::Relaxed) < OVERLOAD * tally.acknowledged.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
}

/// Tests of one program share a process where `cargo test` runs them, and its peak of memory counts all of them.
#[test]
fn ten_times_what_the_disk_takes_is_shed_and_nothing_acknowledged_is_lost() {
    if std::env::var_os(ALONE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(alone());
    }
    let mut itself = std::process::Command::new(std::env::current_exe().unwrap());
    let ran = itself.args([NAME, "--exact", "--nocapture"]).env(ALONE, "1").output().unwrap();
    let [out, errors] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    println!("{out}");
    assert!(ran.status.success() && out.contains("1 passed"), "{}: {out}{errors}", ran.status);
}

async fn alone() {
    let disk = SimDisk::default();
    let options = StoreOptions { queue_bytes_max: QUEUE_BYTES, ..StoreOptions::default() };
    let (store, _) = SeriesStore::open_on(Arc::new(disk.clone()), Path::new("/data"), options).unwrap();
    let door = Arc::new(Door::default());
    door.open(store.clone(), Arc::new(Relays::default()));
    let limits = ReceiveLimits {
        bodies_bytes_max: BODIES_BYTES,
        body_bytes_max: BODIES_BYTES,
        workers: 2,
        ..ReceiveLimits::default()
    };
    let receiver = Receiver::new(Arc::new(StoreIntake::new(door, None)), limits);
    let before = resident_bytes_max();
    disk.set(|faults| faults.stuck = true);
    let (tally, stop) = (Arc::new(Tally::default()), CancellationToken::new());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(receiver.router(), writer, Arc::clone(&tally), stop.clone())))
        .collect();
    let ended = tokio::time::timeout(PATIENCE, overload(&disk, &tally)).await;
    assert!(ended.is_ok(), "no end after {PATIENCE:?}: {tally:?}");
    let [offered, taken, later] =
        [&tally.offered, &tally.acknowledged, &tally.later].map(|counter| counter.load(Ordering::Relaxed));
    stop.cancel();
    disk.set(|faults| faults.stuck = false);
    let mut rounds = Vec::new();
    for writer in writers {
        rounds.push(writer.await.unwrap());
    }
    let grown = resident_bytes_max() - before;
    println!("{offered} offered, {taken} acknowledged, {later} told to come again, {grown} bytes grown");
    assert!(grown < GROWN_BYTES_MAX, "{grown} bytes, more than {GROWN_BYTES_MAX}");

    drop((receiver, store));
    disk.lose_power(7);
    let options = StoreOptions { out_of_order_window: Duration::from_hours(1), ..StoreOptions::default() };
    let (store, _) = SeriesStore::open_on(Arc::new(disk), Path::new("/data"), options).unwrap();
    for (writer, acknowledged) in rounds.into_iter().enumerate() {
        let (writer, mut batch) = (writer.to_string(), Batch::default());
        for number in 0..SERIES {
            let number = number.to_string();
            batch.series([("__name__", "overload"), ("n", number.as_str()), ("writer", writer.as_str())]).unwrap();
            for t_ms in 0..acknowledged * SAMPLES {
                batch.float(t_ms, t_ms as f64);
            }
        }
        let report = store.append(&mut batch).unwrap();
        // What is there already is a repetition; what is missing would be new.
        let expected = acknowledged as u64 * SERIES as u64 * SAMPLES as u64;
        assert_eq!(report.accepted.repeated, expected, "writer {writer} after {acknowledged} rounds");
    }
}

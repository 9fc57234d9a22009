//! The queue and the courier against a server that refuses, forgets to answer and counts, on a disk that fills up and is killed.

#![cfg(test)]

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use homeostat_model::{
    Labels,
    profile::{Frame, LabelSet, Profile, Stack, Text, ValueType},
};
use homeostat_relay_profiles::{
    Answer, Carrier, Carrying, Dropped, Hindrance, NotQueued, OpenError, QueueSpec, WindowId, WindowQueue,
    limits::{ATTEMPTS_MAX, QUEUE_BYTES_MIN},
};
use homeostat_store_wal::{Disk as _, SimDisk, Ticket};
use homeostat_wire::{
    pprof::{self, PprofLimits},
    pyroscope::decode_push,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_mins(1);
const DIR: &str = "/agent/queue";

/// What the clock says, all the time.
const NOW_MS: i64 = 1_750_000_000_000;

/// Takes windows as a server does: a number of a sender once.
#[derive(Clone, Debug, Default)]
struct Server(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    last: BTreeMap<u64, u64>,
    /// Values of the windows that counted, in the order in which they came.
    taken: Vec<i64>,
    /// What it says next; afterwards it takes everything.
    script: VecDeque<Answer>,
    /// It answers nothing else.
    is_away: bool,
    /// Whether the window counts though the answer is another one: the answer was lost.
    takes_all_the_same: bool,
}

impl Server {
    fn says(answers: impl IntoIterator<Item = Answer>) -> Self {
        let server = Self::default();
        server.0.lock().unwrap().script = answers.into_iter().collect();
        server
    }

    fn taken(&self) -> Vec<i64> {
        self.0.lock().unwrap().taken.clone()
    }
}

impl Carrier for Server {
    fn carry(&self, window: WindowId, body: Bytes) -> Carrying {
        let mut inner = self.0.lock().unwrap();
        let away = later(Hindrance::Server, None);
        let said = if inner.is_away { Some(away) } else { inner.script.pop_front() };
        let last = *inner.last.get(&window.sender).unwrap_or(&0);
        let repeated = window.number <= last;
        if !repeated && (said.is_none() || inner.takes_all_the_same) {
            let sent = decode_push(&body).unwrap();
            let profile = pprof::read(&sent[0].profile, &PprofLimits::default()).unwrap();
            inner.last.insert(window.sender, window.number);
            inner.taken.push(profile.total(0));
        }
        let answer = said.unwrap_or(Answer::Taken { repeated });
        Box::pin(async move { answer })
    }
}

fn open(disk: &SimDisk, bytes_max: u64) -> Arc<WindowQueue> {
    open_with(disk, QueueSpec { bytes_max, ..QueueSpec::default() })
}

fn open_with(disk: &SimDisk, spec: QueueSpec) -> Arc<WindowQueue> {
    Arc::new(WindowQueue::open(Path::new(DIR), Arc::new(disk.mounted()), spec).unwrap())
}

/// A profile that is known by its value; `ballast` bytes of a function's name make it large.
fn profile(value: i64, ballast: usize) -> Profile {
    let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
    // Does not pack: a sequence without a pattern.
    let mut state = value as u64 + 1;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + (state >> 33) as u8 % 90)
    });
    let function = profile.intern(&noise.take(ballast).collect::<String>());
    let (file, module) = (Text::EMPTY, Text::EMPTY);
    let stack = profile.push_frame(Stack::EMPTY, Frame { function, file, line: 0, module, address: 0, inlined: false });
    profile.add(stack, LabelSet::NONE, &[value]);
    profile
}

fn labels() -> Labels {
    Labels::new([("service_name", "shop")])
}

fn queue_window(queue: &WindowQueue, value: i64, ballast: usize) -> Result<Ticket, NotQueued> {
    queue.push(&labels(), &profile(value, ballast), NOW_MS)
}

fn ship(queue: &Arc<WindowQueue>, server: &Server, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
    tokio::spawn(Arc::clone(queue).ship(Arc::new(server.clone()), Arc::new(|| NOW_MS), stop.clone()))
}

/// Queues a window and waits for the disk, without the runtime, whose time may be its own.
fn queue_durably(queue: &WindowQueue, value: i64, ballast: usize) {
    let ticket = queue_window(queue, value, ballast).unwrap();
    let _durable = ticket.wait(PATIENCE).unwrap();
}

fn later(hindrance: Hindrance, after: Option<Duration>) -> Answer {
    Answer::Later { hindrance, after, why: "not now".to_owned() }
}

/// Ships until nothing waits.
async fn ship_all(queue: &Arc<WindowQueue>, server: &Server) {
    let stop = CancellationToken::new();
    let shipping = ship(queue, server, &stop);
    tokio::time::timeout(PATIENCE, queue.until_empty()).await.expect("everything is shipped in time");
    stop.cancel();
    shipping.await.unwrap();
}

fn dropped(queue: &WindowQueue, why: Dropped) -> u64 {
    let at = Dropped::ALL.iter().position(|reason| *reason == why).unwrap();
    queue.tally().dropped[at]
}

#[tokio::test(start_paused = true)]
async fn windows_arrive_in_order_and_once_whatever_the_server_says() {
    let disk = SimDisk::default();
    let queue = open(&disk, QUEUE_BYTES_MIN);
    for value in 1..=5 {
        queue_durably(&queue, value, 10);
    }
    let later = |after| later(Hindrance::Server, after);
    let server = Server::says([
        later(None),
        later(Some(Duration::from_millis(1))),
        Answer::Refused { why: "bad".to_owned() },
        later(None),
    ]);
    ship_all(&queue, &server).await;
    assert_eq!(server.taken(), [2, 3, 4, 5], "the first was refused for good");
    let tally = queue.tally();
    assert_eq!((tally.queued, tally.shipped, tally.repeated, tally.retried), (5, 4, 0, 3));
    assert_eq!((dropped(&queue, Dropped::Refused), tally.server_trouble.as_str(), queue.waiting()), (1, "", 0));
    // An answer that is lost: the window has arrived, and counts once.
    queue_durably(&queue, 6, 10);
    let lost = Server::says([later(None), later(None)]);
    lost.0.lock().unwrap().takes_all_the_same = true;
    ship_all(&queue, &lost).await;
    assert_eq!((lost.taken(), queue.tally().repeated), (vec![6], 1));
    assert_eq!(queue.close(PATIENCE), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_window_that_the_server_fails_over_does_not_keep_the_others_for_ever() {
    let disk = SimDisk::default();
    let queue = open(&disk, QUEUE_BYTES_MIN);
    for value in 1..=3 {
        queue_durably(&queue, value, 10);
    }
    // A server that is away for long is no reason to give anything up.
    let attempts = ATTEMPTS_MAX as usize;
    let away = vec![later(Hindrance::Server, None); 3 * attempts];
    let fails = |attempts| vec![later(Hindrance::Window, None); attempts];
    let server = Server::says([away, fails(attempts), fails(attempts - 1)].concat());
    let stop = CancellationToken::new();
    let shipping = ship(&queue, &server, &stop);
    // Two hundred waits of half a minute, of tokio's time.
    tokio::time::timeout(Duration::from_hours(24), queue.until_empty()).await.expect("nothing is kept for ever");
    stop.cancel();
    shipping.await.unwrap();
    assert_eq!(server.taken(), [2, 3]);
    let tally = queue.tally();
    assert_eq!((dropped(&queue, Dropped::GivenUp), tally.shipped), (1, 2));
    assert_eq!(tally.retried as usize, 3 * attempts + 2 * (attempts - 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_a_window_is_well() {
    let disk = SimDisk::default();
    let queue = open(&disk, QUEUE_BYTES_MIN);
    queue_durably(&queue, 1, 10);
    let server = Server::says([later(Hindrance::Server, None), Answer::Refused { why: "bad".to_owned() }]);
    ship_all(&queue, &server).await;
    assert_eq!((queue.tally().retried, queue.tally().server_trouble.as_str()), (1, ""));
}

#[tokio::test]
async fn what_can_be_read_of_a_damaged_queue_is_shipped() {
    let disk = SimDisk::default();
    let queue = open(&disk, QUEUE_BYTES_MIN);
    // Some three to a segment.
    for value in 0..9 {
        queue_durably(&queue, value, 20_000);
    }
    let second = Path::new(DIR).join("00000002.wal");
    let damaged_at = 10_000;
    assert!((damaged_at as u64) < disk.len(&second).unwrap());
    disk.edit(&second, |bytes| bytes[damaged_at] ^= 1).unwrap();
    let (server, stop) = (Server::default(), CancellationToken::new());
    let shipping = ship(&queue, &server, &stop);
    let told = async {
        while queue.tally().queue_trouble.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it is told");
    let taken = server.taken();
    assert!(!taken.is_empty() && taken.len() < 9, "{taken:?}");
    assert_eq!(taken, (0..taken.len() as i64).collect::<Vec<_>>());
    let tally = queue.tally();
    assert!(tally.queue_trouble.contains("damaged") || tally.queue_trouble.contains("00000002"), "{tally:?}");
    assert_eq!(tally.server_trouble, "", "the server is well");
    // Somebody mends it.
    disk.edit(&second, |bytes| bytes[damaged_at] ^= 1).unwrap();
    tokio::time::timeout(PATIENCE, queue.until_empty()).await.expect("everything is shipped in time");
    stop.cancel();
    shipping.await.unwrap();
    assert_eq!(server.taken(), (0..9).collect::<Vec<_>>());
    assert_eq!(queue.tally().queue_trouble, "");
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_counts_them() {
    let disk = SimDisk::default();
    let queue = open(&disk, QUEUE_BYTES_MIN);
    let windows = 60;
    for value in 0..windows {
        let ticket = queue_window(&queue, value, 20_000).unwrap();
        let _durable = ticket.wait(PATIENCE).unwrap();
    }
    assert!(queue.health().bytes <= QUEUE_BYTES_MIN);
    let lost = dropped(&queue, Dropped::QueueFull) as i64;
    assert!(0 < lost && lost < windows, "{lost}");
    assert_eq!(queue.waiting() as i64, windows - lost);
    // What a restart finds is the same.
    assert_eq!(queue.close(PATIENCE), Ok(()));
    drop(queue);
    let (queue, server) = (open(&disk, QUEUE_BYTES_MIN), Server::default());
    assert_eq!(queue.waiting() as i64, windows - lost);
    ship_all(&queue, &server).await;
    assert_eq!(server.taken(), (lost..windows).collect::<Vec<_>>());
}

/// A service with windows of 15 s and some 10 KiB: 2.4 MiB an hour.
const HOUR_WINDOWS: i64 = 240;
const WINDOW_BYTES: usize = 12_000;
/// Not half of it.
const SHORT_BYTES: u64 = 1 << 20;

/// Time is tokio's: it jumps whenever all wait for it.
#[tokio::test(start_paused = true)]
async fn of_an_hour_without_a_server_that_does_not_fit_the_newest_windows_are_kept_in_order() {
    let (queue, server) = (open(&SimDisk::default(), SHORT_BYTES), Server::default());
    server.0.lock().unwrap().is_away = true;
    let stop = CancellationToken::new();
    let shipping = ship(&queue, &server, &stop);
    for value in 0..HOUR_WINDOWS {
        let _durable = queue_window(&queue, value, WINDOW_BYTES).unwrap().wait(PATIENCE).unwrap();
        // The first one is on its way from the beginning, again and again.
        while queue.tally().retried == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(queue.health().bytes <= SHORT_BYTES, "{}", queue.health().bytes);
    assert_eq!(server.taken(), Vec::<i64>::new(), "nothing was taken while it was away");
    let lost = dropped(&queue, Dropped::QueueFull) as i64;
    // A segment, an eighth, may just have gone.
    assert!((HOUR_WINDOWS / 2..HOUR_WINDOWS * 3 / 4).contains(&lost), "{lost}");
    assert_eq!(queue.waiting() as i64, HOUR_WINDOWS - lost - 1, "and the one on its way, which is in memory only");

    server.0.lock().unwrap().is_away = false;
    tokio::time::timeout(Duration::from_hours(1), queue.until_empty()).await.expect("everything is shipped");
    stop.cancel();
    shipping.await.unwrap();
    let kept: Vec<i64> = std::iter::once(0).chain(lost + 1..HOUR_WINDOWS).collect();
    assert_eq!(server.taken(), kept);
    assert_eq!(dropped(&queue, Dropped::QueueFull) as i64, lost, "nothing more was lost");
}

#[tokio::test]
async fn a_full_disk_costs_windows_that_are_counted_and_nothing_else() {
    let disk = SimDisk::default();
    let queue = open_with(&disk, QueueSpec { unwritten_bytes_max: 128 << 10, ..QueueSpec::default() });
    let _durable = queue_window(&queue, 0, 10).unwrap().wait(PATIENCE).unwrap();
    disk.set(|faults| faults.capacity_bytes = Some(64 << 10));
    let (mut taken, mut refused) = (vec![0], 0);
    for value in 1..30 {
        match queue_window(&queue, value, 15_000) {
            Ok(_ticket) => taken.push(value),
            Err(NotQueued::Disk(_)) => refused += 1,
            Err(other) => unreachable!("{other}"),
        }
    }
    assert!(0 < refused && 5 < taken.len(), "memory takes some of them: {refused}");
    assert_eq!(dropped(&queue, Dropped::DiskFull), refused);
    disk.set(|faults| faults.capacity_bytes = None);
    let server = Server::default();
    ship_all(&queue, &server).await;
    assert_eq!(server.taken(), taken);
}

#[tokio::test]
async fn what_is_too_old_or_too_large_is_dropped_and_counted() {
    let disk = SimDisk::default();
    let queue = open_with(&disk, QueueSpec { window_bytes_max: 2_000, ..QueueSpec::default() });
    queue.push(&labels(), &profile(1, 10), NOW_MS - 25 * 3_600_000).unwrap();
    // The clock was ahead for a moment.
    queue.push(&labels(), &profile(4, 10), NOW_MS + 25 * 3_600_000).unwrap();
    queue_window(&queue, 2, 10).unwrap();
    let large = queue_window(&queue, 3, 5_000).unwrap_err();
    assert!(matches!(large, NotQueued::TooLarge { .. }), "{large}");
    let server = Server::default();
    ship_all(&queue, &server).await;
    assert_eq!(server.taken(), [2]);
    assert_eq!((dropped(&queue, Dropped::TooOld), dropped(&queue, Dropped::TooLarge)), (2, 1));
}

#[tokio::test]
async fn killed_at_every_change_of_the_disk_nothing_durable_is_lost_or_counts_twice() {
    let mut kill_after = 0;
    loop {
        let (disk, server) = (SimDisk::default(), Server::default());
        disk.set(|faults| faults.kill_after = Some(kill_after));
        let durable = live(&disk, &server).await;
        let is_whole = disk.changes() < kill_after;
        disk.kill();
        let queue = open(&disk, QUEUE_BYTES_MIN);
        ship_all(&queue, &server).await;
        let taken = server.taken();
        assert!(taken.is_sorted_by(|a, b| a < b), "killed after {kill_after}: {taken:?}");
        assert!(durable.iter().all(|value| taken.contains(value)), "killed after {kill_after}: {taken:?} {durable:?}");
        if is_whole {
            assert_eq!((durable.len(), taken.len()), (4, 4));
            break;
        }
        kill_after += 1;
    }
    assert!(20 < kill_after, "a life of four windows changes more than {kill_after} things");
}

/// One life: four windows come and are shipped, unless the disk ends it before; gives those that were durable.
async fn live(disk: &SimDisk, server: &Server) -> Vec<i64> {
    let mut durable = Vec::new();
    let spec = QueueSpec { bytes_max: QUEUE_BYTES_MIN, ..QueueSpec::default() };
    let Ok(queue) = WindowQueue::open(Path::new(DIR), Arc::new(disk.mounted()), spec) else { return durable };
    let (queue, stop) = (Arc::new(queue), CancellationToken::new());
    let shipping = ship(&queue, server, &stop);
    for value in 1..=4 {
        let Ok(ticket) = queue_window(&queue, value, 10) else { break };
        if ticket.await.is_err() {
            break;
        }
        durable.push(value);
    }
    if durable.len() == 4 {
        tokio::time::timeout(PATIENCE, queue.until_empty()).await.expect("in time");
    }
    stop.cancel();
    shipping.await.unwrap();
    durable
}

#[test]
fn a_folder_that_is_not_whole_is_told() {
    let refused = |prepare: &dyn Fn(&SimDisk)| {
        let disk = SimDisk::default();
        let queue = open(&disk, QUEUE_BYTES_MIN);
        let _durable = queue_window(&queue, 1, 10).unwrap().wait(PATIENCE).unwrap();
        assert_eq!(queue.close(PATIENCE), Ok(()));
        drop(queue);
        prepare(&disk);
        WindowQueue::open(Path::new(DIR), Arc::new(disk.mounted()), QueueSpec::default()).unwrap_err()
    };
    let put = |disk: &SimDisk, name: &str, text: &str| {
        homeostat_store_wal::disk::replace(disk, Path::new(DIR), name, text.as_bytes()).unwrap();
    };
    let ahead = refused(&|disk| put(disk, "shipped", "shipped 2\n"));
    assert!(matches!(ahead, OpenError::Ahead { shipped: 2, last: 1, .. }), "{ahead}");
    for (name, text) in [("shipped", "2"), ("shipped", "shipped x"), ("ID", "7"), ("ID", "")] {
        let nonsense = refused(&|disk| put(disk, name, text));
        assert!(matches!(nonsense, OpenError::Nonsense { .. }), "{nonsense}");
    }
}

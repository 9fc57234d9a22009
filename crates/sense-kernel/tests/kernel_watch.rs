//! Waits for a CPU and TCP connections of running programs, under real load on this machine.

#![cfg(feature = "bpf")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

mod probe;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use homeostat_sense_kernel::{Activity, Connections, KernelWatch, Targets, Waits};
use probe::works;
use rustix::net::{AddressFamily, SocketAddrV4, SocketType};

/// A program that works until the test ends.
struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Busy {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

/// Connections of this process are counted exactly, and tests of one file may run in one process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `tests/programs/peer.rs`, until the test ends.
struct Peer {
    child: Child,
    said: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Peer {
    fn build(dir: &Path) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/peer.rs");
        let program = dir.join("peer");
        let built = Command::new("rustc").args(["--edition=2024", "-o"]).arg(&program).arg(source).status();
        assert!(built.unwrap().success());
        program
    }

    /// Runs it and waits until it has said what it did; `None` when it could not.
    fn run(mut command: Command) -> Option<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let peer = Self { child, said: said.trim().to_owned() };
        (!peer.said.is_empty()).then_some(peer)
    }

    fn listen(program: &Path) -> (Self, u16) {
        let mut command = Command::new(program);
        command.args(["listen", "0"]);
        let peer = Self::run(command).unwrap();
        let port = peer.said.parse().unwrap();
        (peer, port)
    }
}

fn own() -> Targets {
    Targets::processes([std::process::id()]).unwrap()
}

fn activity(watch: &KernelWatch, pid: u32) -> Activity {
    watch.read().unwrap().remove(&pid).unwrap_or_default()
}

fn tcp(watch: &KernelWatch) -> Connections {
    activity(watch, std::process::id()).tcp.unwrap_or_default()
}

/// Asks again until it is so; the machine may be busy, so there is no time limit but the test runner's.
fn until<T>(ask: impl Fn() -> T, is_so: impl Fn(&T) -> bool) -> T {
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        thread::yield_now();
    }
}

#[test]
fn those_that_share_a_cpu_wait_for_it() {
    if !works("run-queue") {
        return;
    }
    let cpus = thread::available_parallelism().unwrap().get();
    let busy: Vec<Busy> = (0..2 * cpus).map(|_| Busy::start()).collect();
    let pids: Vec<u32> = busy.iter().map(|busy| busy.0.id()).collect();
    let watch = KernelWatch::start(&Targets::processes(pids.iter().copied()).unwrap()).unwrap();
    let waits = |pid: u32| activity(&watch, pid).waits.unwrap_or_default();
    for pid in &pids {
        let waits = until(|| waits(*pid), |waits: &Waits| 200_000_000 < waits.sum_ns);
        let (median, high) = (waits.quantile_ms(0.5).unwrap(), waits.quantile_ms(0.99).unwrap());
        assert!(median <= high && 0.1 < high, "{waits:?}");
        let mean_ms = waits.sum_ns as f64 / 1e6 / waits.by_length.count() as f64;
        let most_ms = waits.quantile_ms(1.0).unwrap();
        assert!(mean_ms <= most_ms, "{mean_ms} ms of at most {most_ms} ms");
    }
    let seen: Vec<u32> = watch.read().unwrap().into_keys().filter(|pid| !pids.contains(pid) && *pid != 0).collect();
    assert!(seen.is_empty(), "nobody else is watched, and there are {seen:?}");
    assert!(Duration::ZERO < watch.kernel_time());
}

#[test]
fn what_is_paused_counts_nothing() {
    if !works("run-queue") {
        return;
    }
    let busy: Vec<Busy> = (0..3 * thread::available_parallelism().unwrap().get()).map(|_| Busy::start()).collect();
    let pids: Vec<u32> = busy.iter().map(|busy| busy.0.id()).collect();
    let mut watch = KernelWatch::start(&Targets::processes(pids.iter().copied()).unwrap()).unwrap();
    let waits = |watch: &KernelWatch, pid: u32| activity(watch, pid).waits.unwrap_or_default();
    let count = |watch: &KernelWatch| pids.iter().map(|pid| waits(watch, *pid).by_length.count()).sum::<u64>();
    until(|| count(&watch), |count| 0 < *count);
    // Nanoseconds that they have waited, as the kernel counts for itself.
    let waited = || -> u64 {
        let of = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
            text.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
        };
        pids.iter().map(of).sum()
    };
    // Most of them wait when it begins and when it ends.
    for _ in 0..5 {
        watch.pause();
        let (paused, since) = (watch.read().unwrap(), waited());
        until(waited, |now| since + 1_000_000_000 < *now);
        assert_eq!(watch.read().unwrap(), paused);
        let (before, resumed) = (count(&watch), Instant::now());
        watch.resume().unwrap();
        until(|| count(&watch), |now| before + 2 * pids.len() as u64 <= *now);
        let now = watch.read().unwrap();
        let since_ns = u64::try_from(resumed.elapsed().as_nanos()).unwrap();
        for pid in &pids {
            let (before, now) =
                (paused.get(pid).cloned().unwrap_or_default(), now.get(pid).cloned().unwrap_or_default());
            let more_ns = now.since(&before).waits.unwrap_or_default().sum_ns;
            assert!(more_ns <= since_ns, "one thread has waited {more_ns} of {since_ns} ns");
        }
    }
}

#[test]
fn of_too_many_processes_some_are_watched() {
    if !works("tcp") {
        return;
    }
    // Nobody needs to have these numbers.
    let own = std::process::id();
    let many: BTreeSet<u32> = (0..5000).map(|at| u32::MAX - at).chain([own]).collect();
    let _alone = alone();
    let watch = KernelWatch::start(&Targets::Processes(many.clone())).unwrap();
    let said: Vec<String> = watch.refused().iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|said| said.contains("watching 5001 processes: 4096")), "{said:?}");
    assert!(watch.watch(&many).unwrap_err().to_string().contains("4096"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(tcp(&watch).accepted, 1, "the lowest numbers are watched");
    watch.watch(&[own].into()).unwrap();
}

#[test]
fn connections_are_counted_for_who_begins_and_who_accepts_them() {
    if !works("tcp") {
        return;
    }
    let _alone = alone();
    // One that was there before, and is asked for by its port.
    let earlier = TcpListener::bind("127.0.0.1:0").unwrap();
    let watch = KernelWatch::start(&own()).unwrap();
    let later = TcpListener::bind("127.0.0.1:0").unwrap();
    for listener in [&earlier, &later] {
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"question").unwrap();
        let mut question = [0; 8];
        server.read_exact(&mut question).unwrap();
        drop(server);
        client.read_to_end(&mut Vec::new()).unwrap();
    }
    // It has a port and does not listen.
    let deaf = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&deaf, &SocketAddrV4::new([127, 0, 0, 1].into(), 0)).unwrap();
    let nobody: SocketAddrV4 = rustix::net::getsockname(&deaf).unwrap().try_into().unwrap();
    assert!(TcpStream::connect(nobody).is_err());
    let seen = until(|| tcp(&watch), |tcp| 4 <= tcp.ended);
    assert_eq!((seen.connected, seen.accepted, seen.failed, seen.ended), (2, 2, 1, 4), "{seen:?}");
    assert_eq!(seen.round_trips.count(), 4);
    // Each connection sends at least its part of three handshakes and the question.
    assert!(8 <= seen.segments, "{seen:?}");
    let ms = seen.round_trip_ms().unwrap();
    assert!(0.0 < ms && ms < 1000.0, "a round trip within one machine takes {ms} ms");
}

/// Containers have ports of their own: the same number is nothing to us.
#[test]
fn listeners_of_another_network_take_nothing_from_ours() {
    if !works("tcp") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = Peer::build(dir.path());
    let _alone = alone();
    let watch = KernelWatch::start(&own()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut elsewhere = Command::new("unshare");
    elsewhere.arg("--net").arg(program).args(["listen", &address.port().to_string()]);
    let Some(elsewhere) = Peer::run(elsewhere) else {
        println!("SKIPPED: ports of another network: none can be had");
        return;
    };
    let _client = TcpStream::connect(address).unwrap();
    let seen = tcp(&watch);
    assert_eq!((seen.connected, seen.accepted), (1, 1), "{seen:?}");
    drop(elsewhere);
}

/// The kernel gives a socket's memory to the next one: what became of it during a pause is not known.
#[test]
fn sockets_that_end_during_a_pause_are_not_mistaken_for_others() {
    const SOCKETS: usize = 400;
    if !works("tcp") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = Peer::build(dir.path());
    let _alone = alone();
    let (other, port) = Peer::listen(&program);
    let mut watch = KernelWatch::start(&own()).unwrap();
    let ours: Vec<_> = (0..SOCKETS).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let before = tcp(&watch);
    assert_eq!((before.connected, before.accepted), (SOCKETS as u64, 0));
    watch.pause();
    drop(ours);
    watch.resume().unwrap();
    let mut connect = Command::new(program);
    connect.args(["connect", &port.to_string(), &SOCKETS.to_string()]);
    let client = Peer::run(connect).unwrap();
    let seen = tcp(&watch);
    assert_eq!((seen.connected, seen.accepted), (SOCKETS as u64, 0), "others connect to others: {seen:?}");
    drop((client, other));
}

/// A listener that has no room for more connections ignores who knocks; the kernel knocks again after a second.
#[test]
fn segments_that_are_sent_again_are_counted() {
    if !works("tcp") {
        return;
    }
    let _alone = alone();
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    // Room for one more than the backlog; the standard library asks for 128 and more.
    let address = full.local_addr().unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let watch = KernelWatch::start(&own()).unwrap();
    let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(1500));
    let connections: Vec<_> = (0..4).map(|_| knock()).collect();
    assert!(connections.iter().any(Result::is_err), "there is room for all");
    let seen = tcp(&watch);
    assert!(0 < seen.sent_again && 0 < seen.failed, "{seen:?}");
}

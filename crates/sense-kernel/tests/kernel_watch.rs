//! Waits for a CPU and TCP connections of running programs, under real load on this machine.

#![cfg(feature = "bpf")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    thread,
    time::Duration,
};

use homeostat_sense_kernel::{Activity, Connections, KernelWatch, ProbeState, Targets, Waits, examine};

/// Whether something works here; says so aloud when it does not.
fn works(name: &str) -> bool {
    let probe = examine().into_iter().find(|probe| probe.name == name).unwrap();
    if let ProbeState::Refused(refused) = &probe.state {
        println!("SKIPPED: {}: {refused}", probe.gives);
    }
    probe.state == ProbeState::Ok
}

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
    let busy = Busy::start();
    let other: Vec<Busy> = (0..thread::available_parallelism().unwrap().get()).map(|_| Busy::start()).collect();
    let pid = busy.0.id();
    let mut watch = KernelWatch::start(&Targets::processes([pid]).unwrap()).unwrap();
    until(|| activity(&watch, pid).waits.unwrap_or_default(), |waits| 0 < waits.by_length.count());
    watch.pause();
    // Nanoseconds that it has waited, as the kernel counts for itself.
    let waited = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    let (paused, since) = (activity(&watch, pid), waited());
    until(waited, |now| since + 50_000_000 < *now);
    assert_eq!(activity(&watch, pid), paused);
    watch.resume().unwrap();
    until(|| activity(&watch, pid), |now| *now != paused);
    drop(other);
}

#[test]
fn connections_are_counted_for_who_begins_and_who_accepts_them() {
    if !works("tcp") {
        return;
    }
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
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(TcpStream::connect(nobody).is_err());
    let seen = until(|| tcp(&watch), |tcp| 4 <= tcp.ended);
    assert_eq!((seen.connected, seen.accepted, seen.failed, seen.ended), (2, 2, 1, 4), "{seen:?}");
    assert_eq!(seen.round_trips.count(), 4);
    // Each connection sends at least its part of three handshakes and the question.
    assert!(8 <= seen.segments, "{seen:?}");
    let ms = seen.round_trip_ms().unwrap();
    assert!(0.0 < ms && ms < 1000.0, "a round trip within one machine takes {ms} ms");
}

/// A listener that has no room for more connections ignores who knocks; the kernel knocks again after a second.
#[test]
fn segments_that_are_sent_again_are_counted() {
    if !works("tcp") {
        return;
    }
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

//! Resident memory of idle keep-alive connections: as many as the limit of open files allows, 100,000 at most.
//!
//! The gateway runs in a child process, so that its memory is seen alone and both sides have the whole limit of files.
//! Each connection serves one request and then stays idle. `--quick` opens 2,000. Exits with an error above the bound.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]
#![expect(unsafe_code, reason = "the shared support has a counting allocator, which is not installed here")]

#[path = "../tests/counting/mod.rs"]
#[expect(dead_code, reason = "the counters are for another benchmark")]
mod counting;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

/// What an idle connection may cost in the gateway's process, kernel buffers not included.
const BYTES_MAX: u64 = 8 * 1024;
const CONNECTIONS_MAX: usize = 100_000;
/// Files a process needs for itself: upstream connections, epoll, standard streams.
const FILES_SPARE: usize = 200;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|a| a == "--gateway") {
        return serve();
    }
    let files = open_files_max();
    let wanted = if arguments.iter().any(|a| a == "--quick") { 2_000 } else { CONNECTIONS_MAX };
    let count = wanted.min(files.saturating_sub(FILES_SPARE));
    println!("limit of open files {files}: opening {count} connections (wanted {wanted})");
    let mut gateway = Gateway::spawn();
    let mut first = counting::connect(gateway.address);
    for _ in 0..100 {
        counting::exchange(&mut first);
    }
    let (_, _, before) = gateway.report();
    let mut clients: Vec<TcpStream> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = counting::connect(gateway.address);
        counting::exchange(&mut client);
        clients.push(client);
    }
    let (open, after) = loop {
        let (connections, parked, rss) = gateway.report();
        if connections == parked {
            break (connections, rss);
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    for client in clients.iter_mut().step_by(97) {
        counting::exchange(client);
    }
    let bytes = after.saturating_sub(before) / open.max(1);
    println!("open and idle: {open}; resident {} MiB before, {} MiB after", before >> 20, after >> 20);
    println!("{bytes} bytes per idle connection; 100,000 would take {} MiB beside sockets", (bytes * 100_000) >> 20);
    if bytes <= BYTES_MAX {
        ExitCode::SUCCESS
    } else {
        println!("above the bound of {BYTES_MAX} bytes");
        ExitCode::FAILURE
    }
}

/// The child: a gateway that answers each line on its input with connections, parked ones, and resident bytes.
fn serve() -> ExitCode {
    let gateway = counting::gateway();
    println!("{}", gateway.local_addrs().first().expect("bound"));
    for _ in std::io::stdin().lines() {
        let stats = gateway.handle().stats();
        println!("{} {} {}", stats.connections(), stats.parked, resident_bytes());
    }
    ExitCode::SUCCESS
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib * 1024
}

fn open_files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX)
}

struct Gateway {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
    address: std::net::SocketAddr,
}

impl Gateway {
    fn spawn() -> Self {
        let program = std::env::current_exe().expect("path");
        let mut child = Command::new(program)
            .arg("--gateway")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("child starts");
        let mut answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("address");
        let address = line.trim().parse().expect("address");
        Self { child, answers, address }
    }

    /// Connections, parked ones, resident bytes.
    fn report(&mut self) -> (u64, u64, u64) {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("asked");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("report");
        let mut numbers = line.split_whitespace().map(|n| n.parse().expect("a number"));
        let mut next = || numbers.next().expect("three numbers");
        (next(), next(), next())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

//! Resident memory of 100,000 idle keep-alive connections.
//!
//! Clients and gateways run in child processes, in as many pairs as the limit of open files makes necessary: one pair
//! where a process may have 100,000 files, six where it may have 20,000. Each connection serves one request and then
//! stays idle; all are open at the same time when memory is read, and still answer afterwards. Exits with an error above
//! the bound. `--quick` opens 2,000 and knows no bound: of so few, most is what the allocator keeps from the burst in which
//! they were opened, when each still had its buffers.
//!
//! Clients bind to ports below those that the system gives out by itself, on addresses of their own: a hundred thousand
//! connections would otherwise leave no port to anybody else on the machine.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]
#![expect(unsafe_code, reason = "the shared support has a counting allocator, which is not installed here")]

#[path = "../tests/counting/mod.rs"]
#[expect(dead_code, reason = "the counters are for another benchmark")]
mod counting;

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// The allocator of the real binary: how much of what a burst has freed stays resident is its doing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What an idle connection may cost in the gateway's process, kernel buffers not included.
const BYTES_MAX: u64 = 8 * 1024;
const CONNECTIONS_WANTED: usize = 100_000;
/// Files a process needs for itself: upstream connections, epoll, standard streams.
const FILES_SPARE: usize = 200;
/// First port of the clients; behind it there are as many as one address gives: the system itself begins at 32,768.
const PORT_FIRST: u16 = 2_000;
const PORTS: usize = 30_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "--gateway", ..] => serve(),
        [_, "--clients", address, pair, count, ..] => clients(address, pair, count),
        arguments => measure(if arguments.contains(&"--quick") { 2_000 } else { CONNECTIONS_WANTED }),
    }
}

fn measure(wanted: usize) -> ExitCode {
    let files = open_files_max();
    // A client's address has ports for so many.
    let per_pair = files.saturating_sub(FILES_SPARE).clamp(1, PORTS);
    let pairs = wanted.div_ceil(per_pair);
    println!("{wanted} connections; a process may open {files} files: {pairs} gateways with as many clients");
    let mut gateways: Vec<Role> = (0..pairs).map(|_| Role::spawn(&["--gateway".to_owned()])).collect();
    let before: u64 = gateways.iter_mut().map(|gateway| gateway.report().resident).sum();
    let share = |pair: usize| (wanted * (pair + 1) / pairs - wanted * pair / pairs).to_string();
    let arguments = |(pair, gateway): (usize, &Role)| {
        Role::spawn(&["--clients".to_owned(), gateway.first_line.clone(), pair.to_string(), share(pair)])
    };
    let mut clients: Vec<Role> = gateways.iter().enumerate().map(arguments).collect();
    // All at once, then wait for each.
    clients.iter_mut().for_each(Role::tell);
    for client in &mut clients {
        assert_eq!(client.line(), "open", "a client has opened its connections");
    }
    let reports = loop {
        let reports: Vec<Report> = gateways.iter_mut().map(Role::report).collect();
        if reports.iter().all(|report| report.connections == report.parked) {
            break reports;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    for client in &mut clients {
        assert_eq!(client.ask(), "answered", "idle connections still answer");
    }
    let open: u64 = reports.iter().map(|report| report.connections).sum();
    let after: u64 = reports.iter().map(|report| report.resident).sum();
    let bytes = after.saturating_sub(before) / open.max(1);
    println!(
        "open and idle at the same time: {open}; resident {} MiB before, {} MiB after, in {pairs} processes",
        before >> 20,
        after >> 20
    );
    println!("{bytes} bytes per idle connection, sockets not included");
    println!("the kernel's own: {}", kernel_sockets());
    if open < wanted as u64 {
        println!("fewer than the {wanted} that were wanted");
        ExitCode::FAILURE
    } else if bytes <= BYTES_MAX || wanted < CONNECTIONS_WANTED {
        ExitCode::SUCCESS
    } else {
        println!("above the bound of {BYTES_MAX} bytes");
        ExitCode::FAILURE
    }
}

/// A child: a gateway that says where it listens and answers each line on its input with connections, parked ones, and
/// resident bytes.
fn serve() -> ExitCode {
    let gateway = counting::gateway();
    let address = *gateway.local_addrs().first().expect("bound");
    // What every gateway has after a little traffic is no cost of a connection.
    let mut first = counting::connect(address);
    for _ in 0..100 {
        counting::exchange(&mut first);
    }
    drop(first);
    println!("{address}");
    for _ in std::io::stdin().lines() {
        let stats = gateway.handle().stats();
        println!("{} {} {}", stats.connections(), stats.parked, resident_bytes());
    }
    ExitCode::SUCCESS
}

/// A child: opens its connections at the first line on its input, uses some of them again at the second, and keeps them
/// until its input ends.
fn clients(address: &str, pair: &str, count: &str) -> ExitCode {
    println!("ready");
    let gateway: SocketAddr = address.parse().expect("an address");
    let (pair, count): (u8, usize) = (pair.parse().expect("a number"), count.parse().expect("a number"));
    let own = Ipv4Addr::new(127, 0, 1, pair + 1);
    let mut lines = std::io::stdin().lines();
    let mut asked = || lines.next().is_some();
    if !asked() {
        return ExitCode::FAILURE;
    }
    let mut open: Vec<TcpStream> = Vec::with_capacity(count);
    for port in PORT_FIRST..=u16::MAX {
        if open.len() == count {
            break;
        }
        // A port that somebody has is left out.
        let Some(mut client) = connect_from(SocketAddr::from((own, port)), gateway) else { continue };
        counting::exchange(&mut client);
        open.push(client);
    }
    println!("open");
    if asked() {
        for client in open.iter_mut().step_by(97) {
            counting::exchange(client);
        }
        println!("answered");
    }
    while asked() {}
    ExitCode::SUCCESS
}

fn connect_from(own: SocketAddr, gateway: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Ports of an earlier run may still wait for late packets.
    socket.set_reuse_address(true).expect("allowed");
    socket.bind(&own.into()).ok()?;
    socket.connect(&gateway.into()).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("timeout");
    Some(stream)
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

/// TCP sockets of the whole machine and the pages of their buffers.
fn kernel_sockets() -> String {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    text.lines().find(|line| line.starts_with("TCP:")).unwrap_or("unknown").to_owned()
}

/// What a gateway says of itself.
struct Report {
    connections: u64,
    parked: u64,
    resident: u64,
}

/// A child process that is asked by a line and answers with one.
struct Role {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
    first_line: String,
}

impl Role {
    fn spawn(arguments: &[String]) -> Self {
        let program = std::env::current_exe().expect("path");
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("child starts");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut role = Self { child, answers, first_line: String::new() };
        role.first_line = role.line();
        role
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim().to_owned()
    }

    fn tell(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("asked");
    }

    fn ask(&mut self) -> String {
        self.tell();
        self.line()
    }

    fn report(&mut self) -> Report {
        let line = self.ask();
        let mut numbers = line.split_whitespace().map(|n| n.parse().expect("a number"));
        let mut next = || numbers.next().expect("three numbers");
        Report { connections: next(), parked: next(), resident: next() }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
    }
}

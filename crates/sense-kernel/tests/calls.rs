//! Calls of running programs, under real load on this machine, counted by who sent them.

#![cfg(feature = "bpf")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

mod nginx;
mod probe;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use homeostat_calls::{Call, Protocol, Side};
use homeostat_model::OutcomeClass;
use homeostat_sense_kernel::KernelCalls;
use nginx::Nginx;

fn works() -> bool {
    probe::works("calls")
}

/// A client that reads each answer to its end.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(nginx: &Nginx) -> Self {
        Self(BufReader::new(TcpStream::connect(nginx.address).unwrap()))
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn get(&mut self, path: &str) -> u16 {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n"));
        self.answer()
    }

    fn answer(&mut self) -> u16 {
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = line.strip_prefix("Content-Length: ") {
                length = rest.trim().parse().unwrap();
            } else if line.trim().is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
        status
    }
}

/// Takes calls until there are so many; only the test runner gives up.
fn until(calls: &mut KernelCalls, count: usize) -> Vec<Call> {
    let mut all = Vec::new();
    while all.len() < count {
        calls.take(&mut all);
        thread::yield_now();
    }
    all
}

/// How often each path was answered with each status.
fn by_kind(calls: &[Call]) -> BTreeMap<(&str, &str, Option<u16>), usize> {
    let mut kinds = BTreeMap::new();
    for call in calls {
        *kinds.entry((call.method, call.path.as_str(), call.status)).or_default() += 1;
    }
    kinds
}

#[test]
fn every_request_to_a_real_server_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nginx) = works().then(|| Nginx::start(dir.path(), "")).flatten() else { return };
    let mut calls = KernelCalls::start(&[nginx.child.id()].into()).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::of(&nginx);
                for number in 0..250 {
                    assert_eq!(client.get(&format!("/orders/{number}?user=secret")), 200);
                    if number % 10 == 0 {
                        assert_eq!(client.get("/down"), 503);
                        assert_eq!(client.get("/large"), 200);
                        assert_eq!(client.get("/none"), 404);
                    }
                }
            });
        }
    });
    let mut seen = until(&mut calls, 4 * (250 + 75));
    // What would be told twice would be told before what comes later.
    assert_eq!(Client::of(&nginx).get("/last"), 404);
    seen.extend(until(&mut calls, 1));
    assert_eq!(seen.pop().map(|call| call.path.as_str().to_owned()).as_deref(), Some("/last"));
    let expected = BTreeMap::from([
        (("GET", "/orders/{id}", Some(200)), 1000),
        (("GET", "/down", Some(503)), 100),
        (("GET", "/large", Some(200)), 100),
        (("GET", "/none", Some(404)), 100),
    ]);
    assert_eq!(by_kind(&seen), expected);
    assert!(!format!("{seen:?}").contains("secret"));
    for call in &seen {
        assert_eq!((call.process, call.port, call.side), (nginx.child.id(), nginx.address.port(), Side::Server));
        assert!(0 < call.latency_ns && call.latency_ns < 60_000_000_000, "{call:?}");
    }
    assert_eq!(seen.iter().filter(|call| call.outcome == Some(OutcomeClass::ServerError)).count(), 100);
    let counts = calls.counts();
    assert_eq!((counts.lost, counts.unanswered, counts.unasked), (0, 0, 0));
}

#[test]
fn requests_that_are_sent_ahead_and_in_pieces_are_counted_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nginx) = works().then(|| Nginx::start(dir.path(), "")).flatten() else { return };
    let mut calls = KernelCalls::start(&[nginx.child.id()].into()).unwrap();
    let mut client = Client::of(&nginx);
    client.send("GET /orders/1 HTTP/1.1\r\nHost: x\r\n\r\nGET /down HTTP/1.1\r\nHost: x\r\n\r\nGET /no");
    assert_eq!((client.answer(), client.answer()), (200, 503));
    client.send("ne HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer(), 404);
    // A body that looks like a request is none.
    let body = "GET /orders/9 HTTP/1.1\r\n\r\n";
    client.send(&format!("POST /down HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()));
    client.send(body);
    assert_eq!(client.answer(), 503);
    assert_eq!(client.get("/orders/2"), 200);
    let seen = until(&mut calls, 5);
    let got: Vec<_> = seen.iter().map(|call| (call.method, call.path.as_str(), call.status.unwrap())).collect();
    let expected = [
        ("GET", "/orders/{id}", 200),
        ("GET", "/down", 503),
        ("GET", "/none", 404),
        ("POST", "/down", 503),
        ("GET", "/orders/{id}", 200),
    ];
    assert_eq!(got, expected);
}

#[test]
fn streams_of_http_2_are_counted_each_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nginx) = works().then(|| Nginx::start(dir.path(), "http2")).flatten() else { return };
    let mut calls = KernelCalls::start(&[nginx.child.id()].into()).unwrap();
    let ask = |path: &str, count: &str| {
        let url = format!("http://{}{path}", nginx.address);
        Command::new("h2load").args(["-n", count, "-c", "3", "-m", "8", &url]).stdout(Stdio::null()).status()
    };
    let Ok(asked) = ask("/orders/7?user=secret", "600") else {
        println!("SKIPPED: there is no h2load");
        return;
    };
    assert!(asked.success() && ask("/down", "60").unwrap().success());
    let seen = until(&mut calls, 660);
    let expected = BTreeMap::from([(("GET", "/orders/{id}", Some(200)), 600), (("GET", "/down", Some(503)), 60)]);
    assert_eq!(by_kind(&seen), expected);
    assert!(seen.iter().all(|call| call.protocol == Protocol::Http2 && 0 < call.latency_ns));
}

/// A server within this process that does what a test wants; it is its own client as well.
fn own_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

const QUESTION: &[u8] = b"GET /a HTTP/1.1\r\n\r\n";

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    to.read_exact(&mut vec![0; bytes.len()]).unwrap();
}

#[test]
fn both_ends_are_told_apart_and_requests_that_nobody_answers_are_failures() {
    if !works() {
        return;
    }
    let mut calls = KernelCalls::start(&[std::process::id()].into()).unwrap();
    let (mut client, mut server) = own_pair();
    pass(&mut client, &mut server, QUESTION);
    pass(&mut server, &mut client, b"HTTP/1.1 204 No Content\r\n\r\n");
    pass(&mut client, &mut server, QUESTION);
    drop(server);
    drop(client);
    let (mut client, mut server) = own_pair();
    pass(&mut client, &mut server, QUESTION);
    drop(client);
    drop(server);
    // A client that has not read everything breaks the connection off; whoever is on the CPU then has nothing to do with it.
    let (mut client, mut server) = own_pair();
    pass(&mut client, &mut server, QUESTION);
    server.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    client.peek(&mut [0]).unwrap();
    drop(client);
    drop(server);
    let seen = until(&mut calls, 8);
    let of = |side| seen.iter().filter(|call| call.side == side).map(|call| call.outcome).collect::<Vec<_>>();
    let expected =
        [OutcomeClass::Ok, OutcomeClass::Reset, OutcomeClass::ClientError, OutcomeClass::ClientError].map(Some);
    assert_eq!((of(Side::Server), of(Side::Client)), (expected.to_vec(), expected.to_vec()));
}

#[test]
fn what_is_not_http_is_given_up_and_what_is_paused_is_not_seen() {
    if !works() {
        return;
    }
    let mut calls = KernelCalls::start(&[std::process::id()].into()).unwrap();
    let (mut client, mut server) = own_pair();
    for _ in 0..40 {
        pass(&mut client, &mut server, b"*1\r\n$4\r\nPING\r\n");
        pass(&mut server, &mut client, b"+PONG\r\n");
    }
    assert_eq!(calls.counts().given_up, 2, "at both ends");
    let (mut client, mut server) = own_pair();
    pass(&mut client, &mut server, QUESTION);
    let mut seen = Vec::new();
    calls.take(&mut seen);
    calls.pause();
    pass(&mut server, &mut client, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    calls.resume().unwrap();
    calls.take(&mut seen);
    assert_eq!((seen.len(), calls.counts().unanswered), (0, 2), "nobody knows what became of it");
    pass(&mut client, &mut server, QUESTION);
    pass(&mut server, &mut client, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(until(&mut calls, 2).len(), 2);
    assert!(std::time::Duration::ZERO < calls.kernel_time() && 1 << 20 < calls.kernel_bytes());
}

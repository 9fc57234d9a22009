//! Bodies do not leave the kernel: all bytes that do are searched for what real programs send in them.

#![cfg(feature = "bpf")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

mod grpc_peers;
mod nginx;
mod probe;

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use grpc_peers::{Asking, Serving};
use homeostat_calls::Call;
use homeostat_sense_kernel::KernelCalls;
use nginx::{Nginx, SECRET};

/// Everything that left the kernel, and the calls in it.
#[derive(Default)]
struct Told {
    bytes: Vec<u8>,
    calls: Vec<Call>,
}

impl Told {
    /// Until there are so many calls; only the test runner gives up.
    fn until(&mut self, calls: &mut KernelCalls, count: usize) {
        while self.calls.len() < count {
            self.take(calls);
            std::thread::yield_now();
        }
    }

    fn take(&mut self, calls: &mut KernelCalls) {
        calls.take(&mut self.calls);
        for piece in calls.told() {
            self.bytes.extend_from_slice(piece);
            self.bytes.push(b'\n');
        }
    }

    fn has(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|some| some == text.as_bytes())
    }

    #[track_caller]
    fn has_no_bodies(&self) {
        assert!(self.bytes.iter().any(|byte| *byte != b'\n'), "nothing was searched");
        for part in ["the-body", "is-a-secret", "body-is"] {
            assert!(!self.has(part), "{}", String::from_utf8_lossy(&self.bytes));
        }
    }
}

#[test]
fn bodies_of_http_stay_in_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nginx) = probe::works("calls").then(|| Nginx::start(dir.path(), "")).flatten() else { return };
    let mut calls = KernelCalls::start(&[nginx.child.id()].into()).unwrap();
    let curl = |arguments: &[&str], path: &str| {
        let urls = vec![format!("http://{}{path}", nginx.address); 5];
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail-early"]).args(arguments).args(urls).stdout(Stdio::null());
        assert!(command.status().unwrap().success(), "{arguments:?}");
    };
    // Small and large bodies, on one connection: behind the head in the same write, in writes of their own, in chunks.
    let large = format!("@{}", dir.path().join("large").display());
    curl(&["-X", "POST", "-d", SECRET], "/told");
    curl(&["-X", "POST", "--data-binary", &large], "/told");
    curl(&["-X", "POST", "-H", "Transfer-Encoding: chunked", "-d", SECRET], "/told");
    curl(&[], "/large");
    let mut seen = Told::default();
    seen.until(&mut calls, 20);
    seen.has_no_bodies();
    assert!(seen.calls.len() == 20 && seen.calls.iter().all(|call| call.status == Some(200)), "{:?}", seen.calls);
    assert_eq!(calls.counts().lost, 0);
    assert!(seen.has("POST /told HTTP/1.1"), "what is searched are the bytes of heads");
}

#[test]
fn bodies_of_many_streams_at_a_time_stay_in_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nginx) = probe::works("calls").then(|| Nginx::start(dir.path(), "http2")).flatten() else { return };
    let mut calls = KernelCalls::start(&[nginx.child.id()].into()).unwrap();
    let body = dir.path().join("body");
    std::fs::write(&body, SECRET.repeat(100)).unwrap();
    let body = format!("--data={}", body.display());
    let urls = [format!("http://{}/told", nginx.address), format!("http://{}/large", nginx.address)];
    for (url, arguments) in [(&urls[0], vec!["-n", "200", &body]), (&urls[1], vec!["-n", "40"])] {
        let mut command = Command::new("h2load");
        let Ok(asked) = command.args(["-c", "2", "-m", "8"]).args(arguments).arg(url).stdout(Stdio::null()).status()
        else {
            println!("SKIPPED: there is no h2load");
            return;
        };
        assert!(asked.success());
    }
    let mut seen = Told::default();
    seen.until(&mut calls, 240);
    seen.has_no_bodies();
    assert_eq!((seen.calls.len(), calls.counts().lost), (240, 0));
}

#[test]
fn messages_of_grpc_stay_in_the_kernel_also_for_who_joins_late() {
    let Some(serving) = probe::works("calls").then(Serving::start).flatten() else { return };
    let mut asking = Asking::idle();
    let mut calls = KernelCalls::start(&[serving.pid(), asking.pid()].into()).unwrap();
    let mut seen = Told::default();
    asking.connect(&serving);
    let lines =
        ["/shop.Cart/Get small 50", "/shop.Cart/Put large 10", "/shop.Cart/Watch watch 10", "/shop.Cart/Send send 10"];
    for line in lines {
        asking.tell(line);
    }
    seen.until(&mut calls, 2 * 80);
    // Nothing is known any more of the connection that goes on.
    calls.pause();
    calls.resume().unwrap();
    for line in lines {
        asking.tell(line);
    }
    seen.until(&mut calls, 4 * 80);
    seen.has_no_bodies();
    assert_eq!((seen.calls.len(), calls.counts().lost), (4 * 80, 0));
}

/// Both ends of a connection within this process.
fn own_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).unwrap();
    to.read_exact(&mut vec![0; text.len()]).unwrap();
}

/// This process, both ends of whose connections are followed.
struct Own(KernelCalls);

impl Own {
    fn start() -> Option<Self> {
        probe::works("calls").then(|| Self(KernelCalls::start(&[std::process::id()].into()).unwrap()))
    }

    /// A connection on which this is passed: requests with `>`, answers with `<`, each piece in a write of its own. It makes so many
    /// calls at each end.
    #[track_caller]
    fn check(&mut self, pieces: &[(char, &str)], calls_expected: usize) -> Told {
        let (mut client, mut server) = own_pair();
        for (way, text) in pieces {
            match way {
                '>' => pass(&mut client, &mut server, text),
                _ => pass(&mut server, &mut client, text),
            }
        }
        let mut seen = Told::default();
        seen.until(&mut self.0, 2 * calls_expected);
        seen.take(&mut self.0);
        assert_eq!(seen.calls.len(), 2 * calls_expected, "{pieces:?}");
        seen.has_no_bodies();
        seen
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_body_that_looks_like_a_head_is_none_wherever_it_begins() {
    let body = "GET /the-body-is-a-secret HTTP/1.1\r\nX: the-body-is-a-secret\r\n\r\n";
    let head =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: x\r\nconTENT-length:{}\r\nX-Y: z\r\n\r\n", body.len());
    let whole = head("/whole") + body + "GET /behind HTTP/1.1\r\n\r\n";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let alone = head("/own");
    let Some(mut own) = Own::start() else { return };
    let seen = own.check(
        &[
            ('>', &whole),
            ('<', &answer),
            ('<', &answer),
            // In writes of their own.
            ('>', &alone),
            ('>', body),
            ('<', answer.strip_suffix(body).unwrap()),
            ('<', body),
            ('>', "GET /last HTTP/1.1\r\n\r\n"),
            ('<', OK),
        ],
        4,
    );
    let paths: Vec<&str> = seen.calls.iter().map(|call| call.path.as_str()).collect();
    for path in ["/whole", "/behind", "/own", "/last"] {
        assert_eq!(paths.iter().filter(|told| **told == path).count(), 2, "{paths:?}");
    }
}

#[test]
fn a_head_in_any_two_pieces_ends_where_it_ends() {
    let head = "POST /pieces HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\nA: b\r\n\r\n";
    let whole = format!("{head}{SECRET}");
    let Some(mut own) = Own::start() else { return };
    // Not within the first word: what begins with less than that may be anything.
    for cut in 12..whole.len() {
        let (first, second) = whole.split_at(cut);
        own.check(&[('>', "GET / HTTP/1.1\r\n\r\n"), ('<', OK), ('>', first), ('>', second), ('<', OK)], 2);
    }
}

#[test]
fn bodies_of_which_the_length_is_not_known_are_not_taken_for_heads() {
    let Some(mut own) = Own::start() else { return };
    let chunks = "15\r\nthe-body-is-a-secret \r\n0\r\n\r\n";
    own.check(
        &[
            ('>', "POST /chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ('>', chunks),
            ('>', "POST the-body-is-a-secret to somebody\r\n"),
            ('>', "GET the-body-is-a-secret"),
            ('<', "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\nthe-body-is-a-secret \r\n"),
            ('<', "0\r\n\r\n"),
            ('>', "GET /behind HTTP/1.1\r\n\r\n"),
            ('<', OK),
        ],
        2,
    );
    // What is spoken behind a change of protocol is nobody's.
    own.check(
        &[
            ('>', "GET /socket HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
            ('<', "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nthe-body-is-a-secret"),
            ('>', "GET /the-body-is-a-secret HTTP/1.1\r\n\r\n"),
            ('<', "HTTP/1.1 200 the-body-is-a-secret\r\n\r\n"),
        ],
        1,
    );
    own.check(
        &[
            ('>', "CONNECT elsewhere:80 HTTP/1.1\r\n\r\n"),
            ('<', "HTTP/1.1 200 Connected\r\n\r\n"),
            ('>', "GET /the-body-is-a-secret HTTP/1.1\r\n\r\n"),
            ('<', "HTTP/1.1 200 the-body-is-a-secret\r\n\r\n"),
        ],
        1,
    );
    // An answer without a body says how long it would be; the next one is seen.
    own.check(
        &[
            ('>', "HEAD /large HTTP/1.1\r\n\r\n"),
            ('<', "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            ('>', "GET /small HTTP/1.1\r\n\r\n"),
            ('<', "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\nthe-body-is-a-secret "),
            ('>', "GET /more HTTP/1.1\r\n\r\n"),
            ('<', OK),
        ],
        3,
    );
}

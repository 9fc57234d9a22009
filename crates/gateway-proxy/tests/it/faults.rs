//! Upstreams that refuse, reset, hang, trickle or close behind our back: what the client gets and what is counted.

use std::{
    io::Write,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use homeostat_gateway_route::spec::{Endpoint, UpstreamProtocol};
use homeostat_model::{OutcomeClass, Span};

use crate::support::{Setup, read_request, read_until, recording_upstream, status, upstream};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("address")
}

fn http1(address: SocketAddr) -> Endpoint {
    Endpoint { address, protocol: UpstreamProtocol::Http1 }
}

/// Closes so that the other side gets a reset.
fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)).expect("linger");
}

/// One request to an upstream that behaves like `serve`, with short time limits: the answer's status and the one class
/// that was counted.
fn check(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static, expected_status: u16, class: OutcomeClass) -> String {
    let address = upstream(move |mut stream| {
        if read_request(&mut stream).is_some() {
            serve(&mut stream);
        }
    });
    let gateway = Setup::http1(address)
        .with(|s| {
            s.timeouts.first_byte = Span::from_ms(150);
            s.timeouts.idle = Span::from_ms(150);
        })
        .start();
    let answer = gateway.raw(GET);
    assert_eq!(status(&answer), expected_status, "{answer}");
    gateway.expect_one(class);
    assert_eq!(gateway.handle.stats().workers[0].running, 0);
    answer
}

/// Keeps a connection open, silently, until the gateway closes it.
fn hang(stream: &mut TcpStream) {
    while read_request(stream).is_some() {}
}

#[test]
fn nobody_listens() {
    let gateway = Setup::http1(nobody()).start();
    let answer = gateway.raw(GET);
    assert_eq!(status(&answer), 502, "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("check that it runs"), "{answer}");
    gateway.expect_one(OutcomeClass::Refused);
    assert_eq!(gateway.handle.stats().upstream_connect_failures, 1);
}

#[test]
fn no_endpoints_at_all() {
    let gateway = Setup::new(Vec::new()).start();
    let answer = gateway.raw(GET);
    assert_eq!(status(&answer), 503, "{answer}");
    gateway.expect_one(OutcomeClass::Refused);
}

#[test]
fn a_refused_connection_leads_to_the_other_endpoint() {
    let (alive, _seen) = recording_upstream();
    let gateway = Setup::new(vec![http1(nobody()), http1(alive)]).start();
    for _ in 0..20 {
        assert_eq!(status(&gateway.raw(GET)), 200);
    }
    assert_eq!(gateway.outcomes(20).class(OutcomeClass::Ok), 20);
    let stats = gateway.handle.stats();
    assert!((1..20).contains(&stats.upstream_connect_failures), "the dead one is left out after a while: {stats:?}");
}

#[test]
fn closes_without_an_answer() {
    check(|stream| drop(stream.shutdown(Shutdown::Both)), 502, OutcomeClass::Reset);
    check(|stream| reset(stream), 502, OutcomeClass::Reset);
}

#[test]
fn answers_nonsense() {
    check(|stream| stream.write_all(b"SSH-2.0-OpenSSH\r\n").expect("sent"), 502, OutcomeClass::Reset);
}

#[test]
fn answers_101_unasked() {
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    check(|stream| stream.write_all(answer).expect("sent"), 502, OutcomeClass::Reset);
}

#[test]
fn hangs() {
    check(hang, 504, OutcomeClass::Timeout);
}

#[test]
fn hangs_before_the_handshake_of_a_connection() {
    // A full accept queue drops the connect; an address that swallows packets cannot be had on loopback, a listener
    // with a backlog of zero that is never accepted from can.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("address").into()).expect("bind");
    socket.listen(0).expect("listen");
    let address = socket.local_addr().expect("address").as_socket().expect("ip");
    let mut fill = Vec::new();
    for _ in 0..8 {
        let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
        filler.set_nonblocking(true).expect("nonblocking");
        let _in_progress = filler.connect(&address.into());
        fill.push(filler);
    }
    let gateway = Setup::http1(address).with(|s| s.timeouts.connect = Span::from_ms(100)).start();
    let answer = gateway.raw(GET);
    assert_eq!(status(&answer), 504, "{answer}");
    gateway.expect_one(OutcomeClass::Timeout);
}

#[test]
fn stops_in_the_middle_of_its_answer() {
    let part = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart";
    let silent = check(
        |stream| {
            stream.write_all(part).expect("sent");
            hang(stream);
        },
        200,
        OutcomeClass::Timeout,
    );
    assert!(silent.ends_with("part"), "{silent}");
    check(
        |stream| {
            stream.write_all(part).expect("sent");
            drop(stream.shutdown(Shutdown::Both));
        },
        200,
        OutcomeClass::Reset,
    );
}

#[test]
fn breaks_its_chunks() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n";
    check(|stream| stream.write_all(answer).expect("sent"), 200, OutcomeClass::Reset);
}

#[test]
fn trickles_for_ever() {
    // Never silent for long enough to be idle, so only the total limit ends it. That is nobody's fault: a long download looks
    // the same.
    let address = upstream(|mut stream| {
        read_request(&mut stream);
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut more = stream.write_all(head);
        while more.is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(10));
            more = stream.write_all(b"1\r\nx\r\n");
        }
    });
    let gateway = Setup::http1(address)
        .with(|s| {
            s.timeouts.total = Span::from_ms(300);
            s.timeouts.idle = Span::from_secs(60);
        })
        .start();
    let answer = gateway.raw(GET);
    assert!(answer.contains("1\r\nx\r\n") && !answer.contains("\r\n0\r\n"), "{answer}");
    gateway.expect_one(OutcomeClass::Ok);
}

#[test]
fn is_silent_for_most_of_the_total_limit() {
    let address = upstream(|mut stream| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart").expect("sent");
        hang(&mut stream);
    });
    let gateway = Setup::http1(address).with(|s| s.timeouts.total = Span::from_ms(300)).start();
    assert!(gateway.raw(GET).ends_with("part"));
    gateway.expect_one(OutcomeClass::Timeout);
}

/// An upstream whose connections serve one request, then close just as the next one has been read.
fn closes_on_the_second() -> (SocketAddr, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let address = upstream(move |mut stream| {
        let mut first = true;
        while read_request(&mut stream).is_some() {
            count.fetch_add(1, Ordering::SeqCst);
            if !first {
                return;
            }
            first = false;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("sent");
        }
    });
    (address, requests)
}

#[test]
fn a_stale_connection_is_replaced_when_the_request_is_safe() {
    let (address, requests) = closes_on_the_second();
    let gateway = Setup::http1(address).start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(status(&read_until(&mut client, "\r\n\r\nok")), 200);
    }
    assert_eq!(gateway.outcomes(3).class(OutcomeClass::Ok), 3);
    assert_eq!(gateway.handle.stats().upstream_retries, 2);
    assert_eq!(requests.load(Ordering::SeqCst), 5);
}

#[test]
fn what_may_have_taken_effect_is_not_repeated() {
    let (address, requests) = closes_on_the_second();
    let gateway = Setup::http1(address).start();
    let mut client = gateway.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    read_until(&mut client, "\r\n\r\nok");
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").expect("sent");
    let answer = read_until(&mut client, "}\n");
    assert_eq!(status(&answer), 502, "{answer}");
    assert_eq!(gateway.outcomes(2).class(OutcomeClass::Reset), 1);
    assert_eq!(requests.load(Ordering::SeqCst), 2);
}

#[test]
fn slow_answers_are_counted_against_the_thresholds_and_kept_as_exemplars() {
    let address = upstream(|mut stream| {
        while read_request(&mut stream).is_some() {
            std::thread::sleep(std::time::Duration::from_millis(5));
            stream.write_all(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").expect("sent");
            read_request(&mut stream);
            std::thread::sleep(std::time::Duration::from_millis(5));
            stream.write_all(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n").expect("sent");
        }
    });
    let gateway = Setup::http1(address).start();
    let mut client = gateway.connect();
    for path in ["/orders/4711?token=secret", "/b"] {
        let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{trace}\r\n\r\n").as_bytes()).expect("sent");
        read_until(&mut client, "\r\n\r\n");
    }
    let counts = gateway.outcomes(2);
    assert_eq!((counts.class(OutcomeClass::ServerError), counts.class(OutcomeClass::ClientError)), (1, 1));
    // Both took over 1 ms, but only the answered one counts as slow; none took 30 s.
    assert_eq!(counts.slow, [1, 0, 0, 0]);
    let (mut latencies, mut exemplars) = (Vec::new(), Vec::new());
    gateway.handle.latencies(&mut latencies);
    assert_eq!(latencies[0].buckets.iter().map(|(_, count)| count).sum::<u64>(), 2);
    assert!(latencies[0].buckets.iter().all(|(bound_us, _)| *bound_us > 1_000), "{latencies:?}");
    gateway.handle.take_exemplars(&mut exemplars);
    let first = &exemplars[0];
    assert_eq!((first.status, first.class, first.path.as_str()), (500, OutcomeClass::ServerError, "/orders/*"));
    assert_eq!(first.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(first.endpoint.as_deref(), Some(address.to_string().as_str()));
    assert_eq!(exemplars.len(), 2);
}

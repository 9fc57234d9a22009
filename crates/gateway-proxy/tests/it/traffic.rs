//! Ordinary traffic: what reaches the upstream, what comes back, and that nothing is added or lost.

use std::{
    io::{Read, Write},
    sync::mpsc,
};

use homeostat_model::OutcomeClass;

use crate::support::{PATIENCE, Setup, eventually, read_request, read_until, recording_upstream, status, upstream};

#[test]
fn a_connection_serves_many_requests_and_each_is_counted() {
    let (backend, seen) = recording_upstream();
    let gateway = Setup::http1(backend).start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").expect("sent");
        let answer = read_until(&mut client, "\r\n\r\nok");
        assert_eq!(status(&answer), 200, "{answer}");
    }
    assert_eq!(gateway.outcomes(3).class(OutcomeClass::Ok), 3);
    let first = seen.recv().expect("request");
    assert_eq!(first.header("host").as_deref(), Some("shop.example"));
    assert_eq!(first.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(gateway.handle.stats().upstream_connects, 1);
}

#[test]
fn forwarding_headers_are_replaced_or_extended_as_configured() {
    let (backend, seen) = recording_upstream();
    let request = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nX-Forwarded-For: 10.0.0.9\r\n\
        X-Forwarded-Proto: https\r\nForwarded: for=10.0.0.9\r\n\r\n";
    for (trust, chain, proto) in [(false, "127.0.0.1", "http"), (true, "10.0.0.9, 127.0.0.1", "https")] {
        let gateway = Setup::http1(backend).with(|s| s.trust_forwarded = trust).start();
        assert_eq!(status(&gateway.raw(request)), 200);
        let seen = seen.recv_timeout(PATIENCE).expect("request");
        assert_eq!(seen.header("x-forwarded-for").as_deref(), Some(chain));
        assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some(proto));
        assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("shop.example"));
        let forwarded = seen.header("forwarded").expect("forwarded");
        assert!(forwarded.ends_with("for=127.0.0.1;host=\"shop.example\";proto=http"), "{forwarded}");
        assert_eq!(forwarded.contains("10.0.0.9"), trust);
    }
}

#[test]
fn fields_of_a_hop_stay_on_their_hop() {
    let address = upstream(|mut stream| {
        let request = read_request(&mut stream).expect("request");
        assert!(!request.head.to_lowercase().contains("x-hop"), "{}", request.head);
        let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-internal\r\nKeep-Alive: timeout=5\r\n\
            X-Internal: secret\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).expect("sent");
    });
    let gateway = Setup::http1(address).start();
    let answer =
        gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x-hop\r\nX-Hop: 1\r\n\r\n").to_lowercase();
    assert!(answer.contains("x-kept: 1"), "{answer}");
    assert!(!answer.contains("secret") && !answer.contains("keep-alive"), "{answer}");
}

#[test]
fn answers_without_a_body_are_complete_with_their_head() {
    for (request, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let address = upstream(move |mut stream| {
            while read_request(&mut stream).is_some() {
                stream.write_all(answer.as_bytes()).expect("sent");
            }
        });
        let gateway = Setup::http1(address).start();
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.write_all(format!("{request} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("sent");
            let got = read_until(&mut client, "\r\n\r\n").to_lowercase();
            assert_eq!(got.contains("content-length: 1234"), answer.contains("1234"), "{got}");
        }
        assert_eq!(gateway.outcomes(2).class(OutcomeClass::Ok), 2, "{answer}");
        assert_eq!(gateway.handle.stats().upstream_connects, 1);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (backend, seen) = recording_upstream();
    let gateway = Setup::http1(backend).start();
    let requests: Vec<String> = (0..5).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let requests = requests.concat();
    let answer = gateway.raw(format!("{requests}GET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
    assert_eq!(answer.matches("200 OK").count(), 6, "{answer}");
    let paths: Vec<_> = seen.try_iter().map(|seen| seen.head.split(' ').nth(1).expect("path").to_owned()).collect();
    assert_eq!(paths, ["/0", "/1", "/2", "/3", "/4", "/5"]);
}

/// An answer with a coding and a length: the coding decides, and the length does not travel on.
#[test]
fn a_void_length_is_not_passed_on() {
    let address = upstream(|mut stream| {
        read_request(&mut stream);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}3\r\nabc\r\n0\r\n\r\n").as_bytes()).expect("sent");
    });
    let gateway = Setup::http1(address).start();
    let answer = gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").to_lowercase();
    assert!(!answer.contains("content-length") && answer.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{answer}");
    gateway.expect_one(OutcomeClass::Ok);
}

#[test]
fn an_old_client_gets_an_old_answer() {
    let address = upstream(|mut stream| {
        read_request(&mut stream);
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        stream.write_all(answer).expect("sent");
    });
    let gateway = Setup::http1(address).start();
    let answer = gateway.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nabc"), "{answer}");
    gateway.expect_one(OutcomeClass::Ok);
}

/// Both bodies flow while the other is still open, and a trailer follows each.
#[test]
fn bodies_stream_in_both_directions_at_once() {
    let address = upstream(|mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("head");
            head.push(byte[0]);
        }
        let head = "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        // Echoes each chunk as it comes, before the next one is sent.
        let mut line = Vec::new();
        loop {
            stream.read_exact(&mut byte).expect("body");
            line.push(byte[0]);
            if line.ends_with(b"0\r\n\r\n") || line.ends_with(b"x-up: 1\r\n\r\n") {
                break;
            }
            if byte[0].is_ascii_uppercase() {
                stream.write_all(format!("1\r\n{}\r\n", byte[0] as char).as_bytes()).expect("sent");
            }
        }
        stream.write_all(b"0\r\nx-sum: 3\r\n\r\n").expect("sent");
    });
    let gateway = Setup::http1(address).start();
    let mut client = gateway.connect();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).expect("sent");
    read_until(&mut client, "\r\n\r\n");
    for letter in ["A", "B", "C"] {
        client.write_all(format!("1\r\n{letter}\r\n").as_bytes()).expect("sent");
        assert_eq!(read_until(&mut client, &format!("{letter}\r\n")), format!("1\r\n{letter}\r\n"));
    }
    client.write_all(b"0\r\n\r\n").expect("sent");
    assert_eq!(read_until(&mut client, "\r\n\r\n"), "0\r\nx-sum: 3\r\n\r\n");
    gateway.expect_one(OutcomeClass::Ok);
}

/// A client that reads slowly holds its upstream back; the gateway does not buffer what lies between.
#[test]
fn a_slow_reader_holds_the_upstream_back() {
    const ALL: usize = 64 << 20;
    let (sent, progress) = mpsc::channel();
    let address = upstream(move |mut stream| {
        read_request(&mut stream);
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {ALL}\r\n\r\n").as_bytes()).expect("sent");
        let chunk = vec![b'x'; 1 << 16];
        for _ in 0..ALL >> 16 {
            stream.write_all(&chunk).expect("sent");
            let _ = sent.send(chunk.len());
        }
    });
    let gateway = Setup::http1(address).start();
    let mut client = gateway.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    read_until(&mut client, "xxx");
    let mut taken = 0;
    // The upstream stops on its own long before the end: what is on the way are socket buffers and one read.
    while let Ok(count) = progress.recv_timeout(std::time::Duration::from_millis(500)) {
        taken += count;
    }
    assert!(taken < ALL / 2, "{taken} bytes were taken from the upstream for a client that read three");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("rest");
    assert_eq!(rest.len() + 3, ALL);
    gateway.expect_one(OutcomeClass::Ok);
}

/// Idle connections give their buffers back after a second and wake up as if nothing had been.
#[test]
fn a_parked_connection_wakes_up() {
    let (backend, _seen) = recording_upstream();
    let gateway = Setup::http1(backend).start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(status(&read_until(&mut client, "\r\n\r\nok")), 200);
        eventually("the connection to be parked", || gateway.handle.stats().parked == 1);
    }
    assert_eq!(gateway.handle.stats().connections(), 1);
    drop(client);
    eventually("the parked connection to be gone", || gateway.handle.stats().connections() == 0);
    assert_eq!(gateway.handle.stats().parked, 0);
}

#[test]
fn an_idle_connection_is_closed_after_keep_alive() {
    let (backend, _seen) = recording_upstream();
    for keep_alive_ms in [100, 1_200] {
        let keep_alive = homeostat_model::Span::from_ms(keep_alive_ms);
        let gateway = Setup::http1(backend).with(|s| s.limits.keep_alive = keep_alive).start();
        let answer = gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    }
}

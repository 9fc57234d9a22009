//! Clients that vanish, stall, trickle or send too much: what is counted, and that nothing stays held for them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
};

use homeostat_model::{OutcomeClass, Span};

use crate::support::{
    PATIENCE, Setup, eventually, read_request, read_to_end, read_until, recording_upstream, status, upstream,
};

/// An upstream that reports when its connection has ended, after `serve`.
fn watched_upstream(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> (SocketAddr, mpsc::Receiver<()>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    let address = upstream(move |mut stream| {
        serve(&mut stream);
        let mut rest = [0; 1024];
        while matches!(stream.read(&mut rest), Ok(1..)) {}
        let _ = sender.send(());
    });
    (address, receiver)
}

#[test]
fn vanishes_in_the_middle_of_its_body() {
    let (address, closed) = watched_upstream(|_| {});
    let gateway = Setup::http1(address).start();
    let mut client = gateway.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart").expect("sent");
    eventually("the request to run", || gateway.handle.stats().workers[0].running == 1);
    drop(client);
    gateway.expect_one(OutcomeClass::ClientError);
    closed.recv_timeout(PATIENCE).expect("the upstream connection is closed too");
}

#[test]
fn vanishes_while_the_upstream_thinks() {
    let (address, closed) = watched_upstream(|stream| drop(read_request(stream)));
    let gateway = Setup::http1(address).start();
    let mut client = gateway.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    eventually("the request to run", || gateway.handle.stats().workers[0].running == 1);
    drop(client);
    gateway.expect_one(OutcomeClass::ClientError);
    closed.recv_timeout(PATIENCE).expect("the upstream connection is closed too");
}

/// An upstream that answers without end.
fn endless() -> (SocketAddr, mpsc::Receiver<()>) {
    watched_upstream(|stream| {
        read_request(stream);
        let mut more = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
        while more.is_ok() {
            more = stream.write_all(chunk.as_bytes());
        }
    })
}

#[test]
fn vanishes_in_the_middle_of_its_answer() {
    let (address, closed) = endless();
    let gateway = Setup::http1(address).start();
    let mut client = gateway.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    read_until(&mut client, "xxx");
    drop(client);
    gateway.expect_one(OutcomeClass::ClientError);
    closed.recv_timeout(PATIENCE).expect("the upstream connection is closed too");
}

#[test]
fn does_not_read_its_answer() {
    let (address, closed) = endless();
    let gateway = Setup::http1(address).with(|s| s.timeouts.idle = Span::from_ms(200)).start();
    let mut client = gateway.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    // The client's own silence is counted as its own doing, the upstream is let go, and so is the client.
    gateway.expect_one(OutcomeClass::ClientError);
    closed.recv_timeout(PATIENCE).expect("the upstream connection is closed too");
    eventually("the stalled client to be let go", || gateway.handle.stats().connections() == 0);
    assert_eq!(gateway.handle.stats().stalled_clients, 1);
}

#[test]
fn stops_sending_its_body() {
    let (address, closed) = watched_upstream(|_| {});
    let gateway = Setup::http1(address).with(|s| s.timeouts.idle = Span::from_ms(150)).start();
    let mut client = gateway.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart").expect("sent");
    let answer = read_until(&mut client, "}\n");
    assert_eq!(status(&answer), 408, "{answer}");
    gateway.expect_one(OutcomeClass::ClientError);
    closed.recv_timeout(PATIENCE).expect("the upstream connection is closed too");
}

/// An upstream that begins its answer as soon as it has seen the head, then echoes nothing until the request's end.
fn eager() -> SocketAddr {
    upstream(|mut stream| {
        read_until(&mut stream, "\r\n\r\n");
        if stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n").is_ok() {
            let mut rest = [0; 1024];
            while matches!(stream.read(&mut rest), Ok(1..)) {}
        }
    })
}

/// Whatever a client does to its own body while the answer already flows is not the version's fault.
#[test]
fn breaks_its_body_while_the_answer_flows() {
    for rest in [Some("zz\r\n"), Some("8\r\n12345678\r\n8\r\n12345678\r\n"), None] {
        let gateway = Setup::http1(eager()).with(|s| s.limits.body_bytes_max = 10).start();
        let mut client = gateway.connect();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n").expect("sent");
        read_until(&mut client, "part");
        match rest {
            Some(rest) => client.write_all(rest.as_bytes()).expect("sent"),
            None => drop(client),
        }
        gateway.expect_one(OutcomeClass::ClientError);
    }
}

/// A conversation in which it is the client's turn: its silence is not the version's fault.
#[test]
fn is_silent_when_it_is_its_turn() {
    let gateway = Setup::http1(eager()).with(|s| s.timeouts.idle = Span::from_ms(150)).start();
    let mut client = gateway.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n").expect("sent");
    read_until(&mut client, "part");
    gateway.expect_one(OutcomeClass::ClientError);
}

/// An early answer leaves the rest of the request body unread. It must neither be waited for nor be read as a request, whatever it
/// looks like, and neither side of the exchange may stay held for it.
#[test]
fn the_rest_of_a_body_that_was_answered_early_is_never_a_request() {
    for reads_its_connection in [true, false] {
        let (sender, paths) = mpsc::channel();
        let address = upstream(move |mut stream| {
            let head = read_until(&mut stream, "\r\n\r\n");
            sender.send(head.split(' ').nth(1).expect("path").to_owned()).expect("test waits");
            let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
            if stream.write_all(answer).is_err() {
                return;
            }
            if reads_its_connection {
                while read_request(&mut stream).is_some() {}
            } else {
                std::thread::sleep(PATIENCE);
            }
        });
        let gateway = Setup::http1(address).start();
        let mut client = gateway.connect();
        let head = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n0123456789";
        client.write_all(head).expect("sent");
        assert_eq!(status(&read_until(&mut client, "\r\n\r\nno")), 401);
        eventually("the connection to end", || gateway.handle.stats().connections() == 0);
        // The socket is closed; what is still sent into it reaches nobody.
        let _ = client.write_all(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(read_to_end(&mut client), "");
        gateway.expect_one(OutcomeClass::ClientError);
        assert_eq!(paths.try_iter().collect::<Vec<_>>(), ["/a"]);
        assert_eq!(gateway.handle.stats().parked, 0);
    }
}

#[test]
fn an_upstream_that_does_not_take_the_body_is_to_blame() {
    let address = upstream(|_stream| std::thread::sleep(PATIENCE));
    let gateway = Setup::http1(address).with(|s| s.timeouts.idle = Span::from_ms(200)).start();
    let client = gateway.connect();
    let mut writer = client.try_clone().expect("clone");
    let sending = std::thread::spawn(move || {
        let chunk = vec![b'x'; 1 << 20];
        let mut more = writer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
        while more.is_ok() {
            more = writer.write_all(&chunk);
        }
    });
    gateway.expect_one(OutcomeClass::Timeout);
    drop(gateway);
    sending.join().expect("sender ends");
}

#[test]
fn sends_more_than_allowed() {
    let (address, _seen) = recording_upstream();
    let limited = || Setup::http1(address).with(|s| s.limits.body_bytes_max = 10).start();
    let gateway = limited();
    let answer = gateway.raw(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 11\r\n\r\n");
    assert_eq!(status(&answer), 413, "{answer}");
    assert_eq!(gateway.rejected("body_large"), 1);
    let gateway = limited();
    let chunked =
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n3\r\n123\r\n0\r\n\r\n";
    let mut client = gateway.connect();
    client.write_all(chunked).expect("sent");
    let answer = read_until(&mut client, "}\n");
    assert_eq!(status(&answer), 413, "{answer}");
    gateway.expect_one(OutcomeClass::ClientError);
    let gateway = limited();
    let exact = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\n1234567890";
    assert_eq!(status(&gateway.raw(exact)), 200);
}

#[test]
fn trickles_its_head() {
    let (address, _seen) = recording_upstream();
    for opening in ["", "G", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let gateway = Setup::http1(address).with(|s| s.limits.header_timeout = Span::from_ms(200)).start();
        let mut client = gateway.connect();
        client.write_all(opening.as_bytes()).expect("sent");
        // A byte now and then must not extend the time.
        let mut drip = client.try_clone().expect("clone");
        let dripping = (!opening.is_empty()).then(|| {
            std::thread::spawn(move || {
                while drip.write_all(b"a").is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            })
        });
        let answer = read_to_end(&mut client);
        eventually("the connection to be gone", || gateway.handle.stats().connections() == 0);
        let timeouts = gateway.handle.stats().header_timeouts;
        assert_eq!((timeouts, answer.contains("200 OK")), (1, false), "{opening:?}: {answer:?}");
        drop((client, gateway));
        if let Some(thread) = dripping {
            thread.join().expect("drip ends");
        }
    }
}

#[test]
fn trickles_its_second_head() {
    let (address, _seen) = recording_upstream();
    let gateway = Setup::http1(address).with(|s| s.limits.header_timeout = Span::from_ms(200)).start();
    let mut client = gateway.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /second").expect("sent");
    let answer = read_to_end(&mut client);
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    gateway.expect_one(OutcomeClass::Ok);
}

#[test]
fn more_connections_than_allowed_are_closed_and_counted() {
    let (address, _seen) = recording_upstream();
    let gateway = Setup::http1(address).with(|s| s.limits.connections_max = 2).start();
    let (first, _second) = (gateway.connect(), gateway.connect());
    eventually("two connections", || gateway.handle.stats().connections() == 2);
    assert_eq!(read_to_end(&mut gateway.connect()), "");
    assert_eq!(gateway.handle.stats().listeners[0].refused, 1);
    drop(first);
    eventually("a free place", || gateway.handle.stats().connections() == 1);
    let answer = gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&answer), 200, "{answer}");
}

#[test]
fn waits_for_100_continue() {
    let (address, seen) = recording_upstream();
    let gateway = Setup::http1(address).start();
    let mut client = gateway.connect();
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").expect("sent");
    assert_eq!(read_until(&mut client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"body").expect("sent");
    assert_eq!(status(&read_until(&mut client, "\r\n\r\nok")), 200);
    let seen = seen.recv_timeout(PATIENCE).expect("request");
    assert_eq!((seen.body.as_str(), seen.header("expect")), ("body", None));
    // A request that is refused gets its refusal instead of the go-ahead.
    let refused = gateway.raw(
        b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    assert_eq!(status(&refused), 400, "{refused}");
}

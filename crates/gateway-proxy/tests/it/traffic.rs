//! Ordinary and broken traffic: what is counted, what is answered, what reaches the upstream.

use std::io::Write;

use homeostat_model::OutcomeClass;

use crate::support::{Setup, read_until, recording_upstream, status};

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

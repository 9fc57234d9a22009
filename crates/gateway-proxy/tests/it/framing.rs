//! The framing table: hostile HTTP/1.1 requests over raw sockets, before a backend that records what reaches it.
//!
//! What matters is not only the status but what the backend sees: never a request that the client did not visibly send,
//! never a body that ends somewhere else.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them when it updates")]

use expect_test::{Expect, expect};

use std::fmt::Write as _;

use crate::support::{Setup, recording_upstream};

/// Sends `request`, closes nothing by itself, and renders all statuses that came back, whether the connection was closed,
/// and what the backend saw (request line, framing headers, body).
fn check(request: &str, expected: &Expect) {
    let (backend, seen) = recording_upstream();
    let gateway = Setup::http1(backend).with(|s| s.limits.keep_alive = homeostat_model::Span::from_ms(100)).start();
    let answer = gateway.raw(request.as_bytes());
    let statuses: Vec<&str> = answer.split("HTTP/1.").skip(1).map(|part| part.get(2..5).unwrap_or_default()).collect();
    let mut shown = String::new();
    let _ = writeln!(shown, "-> {}", if statuses.is_empty() { "closed".to_owned() } else { statuses.join(" ") });
    for seen in seen.try_iter() {
        let line = seen.head.lines().next().unwrap_or_default().to_owned();
        let _ = write!(shown, "backend: {line}");
        for name in ["host", "content-length", "transfer-encoding", "upgrade", "connection"] {
            if let Some(value) = seen.header(name) {
                let _ = write!(shown, " | {name}: {value}");
            }
        }
        let _ = writeln!(shown, " | {:?}", seen.body);
    }
    expected.assert_eq(&shown);
}

const HOST: &str = "Host: a.example\r\n";

#[test]
fn plain_request() {
    check(
        &format!("GET /x?y=1 HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 200
        backend: GET /x?y=1 HTTP/1.1 | host: a.example | ""
    "#]],
    );
}

#[test]
fn content_length_and_transfer_encoding() {
    check(
        &format!(
            "POST / HTTP/1.1\r\n{HOST}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\n{HOST}\r\n"
        ),
        &expect![[r#"
            -> 200
            backend: POST / HTTP/1.1 | host: a.example | transfer-encoding: chunked | "0\r\n\r\n"
        "#]],
    );
    check(
        &format!(
            "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\n{HOST}\r\n"
        ),
        &expect![[r#"
            -> 200
            backend: POST / HTTP/1.1 | host: a.example | transfer-encoding: chunked | "0\r\n\r\n"
        "#]],
    );
}

/// A body is a body, whatever the method.
#[test]
fn bodies_of_unusual_methods() {
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
        &expect![[r#"
        -> 200
        backend: GET / HTTP/1.1 | host: a.example | transfer-encoding: chunked | "2\r\nab\r\n0\r\n\r\n"
    "#]],
    );
    check(
        &format!("DELETE / HTTP/1.1\r\n{HOST}Content-Length: 2\r\n\r\nab"),
        &expect![[r#"
        -> 200
        backend: DELETE / HTTP/1.1 | host: a.example | content-length: 2 | "ab"
    "#]],
    );
}

#[test]
fn two_lengths() {
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        &expect![[r#"
        -> 200
        backend: POST / HTTP/1.1 | host: a.example | content-length: 3 | "abc"
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 3, 3\r\n\r\nabc"),
        &expect![[r#"
        -> 400
    "#]],
    );
}

#[test]
fn strange_lengths() {
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Content-Length: +2\r\n\r\nab"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 0x2\r\n\r\nab"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Content-Length: -1\r\n\r\nab"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Content-Length : 2\r\n\r\nab"),
        &expect![[r#"
        -> 400
    "#]],
    );
}

#[test]
fn strange_codings() {
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        &expect![[r#"
            -> 400
        "#]],
    );
    check(
        &format!("POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
}

#[test]
fn strange_chunks() {
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n2;ext=1\r\nab\r\n0\r\n\r\n"),
        &expect![[r#"
        -> 200
        backend: POST / HTTP/1.1 | host: a.example | transfer-encoding: chunked | "2\r\nab\r\n0\r\n\r\n"
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nab\r\n0\r\n\r\n"),
        &expect![[r#"
            -> 400
        "#]],
    );
}

#[test]
fn obsolete_line_folding() {
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}X-Folded: a\r\n b\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
}

#[test]
fn bare_line_feeds() {
    check(
        "GET / HTTP/1.1\nHost: a.example\n\n",
        &expect![[r#"
        -> 200
        backend: GET / HTTP/1.1 | host: a.example | ""
    "#]],
    );
}

#[test]
fn hosts() {
    check(
        "GET / HTTP/1.1\r\n\r\n",
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        "GET / HTTP/1.0\r\n\r\n",
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        "GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n",
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        "GET / HTTP/1.1\r\nHost: user:pw@a.example\r\n\r\n",
        &expect![[r#"
        -> 400
    "#]],
    );
}

#[test]
fn targets() {
    check(
        &format!("GET http://a.example/x HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 200
        backend: GET /x HTTP/1.1 | host: a.example | ""
    "#]],
    );
    check(
        &format!("GET http://b.example/x HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET http://user@a.example/x HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET ftp://a.example/x HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET x HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET /public/../admin HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET /public/%2e%2e/admin HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
}

#[test]
fn dot_segments_in_disguise() {
    for path in
        ["/public/..%2fadmin", "/a/%2e%2e%2fadmin", "/a/%2e%2e;x/admin", "/a/..%3bx/b", "/a/%2E./b", "/caf\u{e9}"]
    {
        check(
            &format!("GET {path} HTTP/1.1\r\n{HOST}\r\n"),
            &expect![[r#"
            -> 400
        "#]],
        );
    }
}

#[test]
fn connect() {
    check(
        "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n",
        &expect![[r#"
        -> 405
    "#]],
    );
}

#[test]
fn upgrade_and_a_second_request() {
    check(
        &format!(
            "GET /a HTTP/1.1\r\n{HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\nGET /b HTTP/1.1\r\n{HOST}\r\n"
        ),
        &expect![[r#"
            -> 200 200
            backend: GET /a HTTP/1.1 | host: a.example | ""
            backend: GET /b HTTP/1.1 | host: a.example | ""
        "#]],
    );
    check(
        &format!(
            "GET /a HTTP/1.1\r\n{HOST}Connection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /b HTTP/1.1\r\n{HOST}\r\n"
        ),
        &expect![[r#"
            -> 200 200
            backend: GET /a HTTP/1.1 | host: a.example | upgrade: websocket | connection: upgrade | ""
            backend: GET /b HTTP/1.1 | host: a.example | ""
        "#]],
    );
}

#[test]
fn hostile_names_and_values() {
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}X-Null: a\0b\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}X Y: 1\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}: 1\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}X-Cr: a\rb\r\n\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GE\x01T / HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET / HTTP/9.9\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 400
    "#]],
    );
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}Connection: close, content-length, x-a\r\nX-A: 1\r\n\r\n"),
        &expect![[r#"
        -> 200
        backend: GET / HTTP/1.1 | host: a.example | ""
    "#]],
    );
}

#[test]
fn limits_of_heads() {
    let long = "a".repeat(70 * 1024);
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}X-Long: {long}\r\n\r\n"),
        &expect![[r#"
        -> 431
    "#]],
    );
    check(
        &format!("GET /{long} HTTP/1.1\r\n{HOST}\r\n"),
        &expect![[r#"
        -> 431
    "#]],
    );
    let many = "X-Many: 1\r\n".repeat(150);
    check(
        &format!("GET / HTTP/1.1\r\n{HOST}{many}\r\n"),
        &expect![[r#"
        -> 431
    "#]],
    );
}

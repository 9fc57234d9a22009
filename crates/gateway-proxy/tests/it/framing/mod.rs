//! The framing table: hostile HTTP/1.1 requests over raw sockets, before a backend that records what reaches it.
//!
//! What matters is not only the status but what the backend sees: never a request that the client did not visibly send,
//! never a body that ends somewhere else. The same requests go through nginx and HAProxy where they are installed, and
//! `docs/gateway.md` explains every difference.

mod differential;
mod requests;

use std::fmt::Write as _;

use expect_test::expect_file;

use self::requests::requests;
use crate::support::{Setup, recording_upstream};

/// Sends a request, closes nothing by itself, and renders all statuses that came back, whether the connection was closed
/// without any, and what the backend saw (request line, framing headers, body).
#[test]
fn hostile_requests_are_refused_or_pass_with_one_reading() {
    let mut shown = String::new();
    for request in requests() {
        let (backend, seen) = recording_upstream();
        let gateway = Setup::http1(backend).with(|s| s.limits.keep_alive = homeostat_model::Span::from_ms(100)).start();
        let answer = gateway.raw(&request.bytes);
        let _ = writeln!(shown, "{}\n  -> {}", request.name, statuses(&answer));
        for seen in seen.try_iter() {
            let line = seen.head.lines().next().unwrap_or_default().to_owned();
            let _ = write!(shown, "  backend: {line}");
            for name in ["host", "content-length", "transfer-encoding", "upgrade", "connection"] {
                if let Some(value) = seen.header(name) {
                    let _ = write!(shown, " | {name}: {value}");
                }
            }
            let _ = writeln!(shown, " | {:?}", seen.body);
        }
    }
    expect_file!["ours.txt"].assert_eq(&shown);
}

/// The statuses of all answers in what came back.
fn statuses(answer: &str) -> String {
    let statuses: Vec<&str> = answer.split("HTTP/1.").skip(1).map(|part| part.get(2..5).unwrap_or_default()).collect();
    if statuses.is_empty() { "closed".to_owned() } else { statuses.join(" ") }
}

//! The data plane against real sockets: clients and upstreams of our own making that misbehave, and clients that others wrote.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on stops"
)]

mod clients;
mod faults;
mod framing;
mod http2;
mod independence;
mod lifecycle;
mod peers;
mod support;
mod traffic;
mod websocket;

//! The data plane against real sockets: clients and upstreams of our own making that misbehave, and clients that others wrote.

mod framing;
mod support;
mod traffic;

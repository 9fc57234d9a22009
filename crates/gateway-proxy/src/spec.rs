//! Settings of the data plane that are not routes: sockets, workers, limits.

use std::{net::SocketAddr, path::PathBuf};

use homeostat_model::Span;

/// Everything the data plane needs to start. Listeners and workers are fixed for the life of a process;
/// routes are swapped while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxySpec {
    /// Sockets to accept on, at least one.
    pub listeners: Vec<ListenerSpec>,
    /// Worker threads, each with its own runtime, sockets, pools and counters; 1 to 256.
    pub workers: usize,
    /// Bounds on what clients may ask for.
    pub limits: ProxyLimits,
    /// Whether `X-Forwarded-*` and `Forwarded` of clients are believed and extended, or replaced.
    pub trust_forwarded: bool,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSpec {
    /// For logs and metrics.
    pub name: String,
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Certificate and key; cleartext HTTP/1.1 and HTTP/2 with prior knowledge when absent.
    pub tls: Option<TlsFiles>,
}

/// PEM files of a TLS listener, read at start and again at every reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Bounds on what clients may ask for; beyond them they get an error and the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Request line and headers together.
    pub header_bytes_max: usize,
    /// Header fields.
    pub headers_max: usize,
    /// Request body; 413 beyond it.
    pub body_bytes_max: u64,
    /// Open client connections, over all workers; beyond it new ones are closed at once and counted.
    pub connections_max: usize,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams_max: u32,
    /// From accept, or from a head's first byte, to its last; also the TLS handshake.
    pub header_timeout: Span,
    /// A kept-alive connection without a request is closed after this long.
    pub keep_alive: Span,
    /// Idle upstream connections kept per endpoint and worker.
    pub upstream_idle_max: usize,
    /// How long running requests may go on once a stop was asked for.
    pub drain: Span,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            header_bytes_max: 64 * 1024,
            headers_max: 100,
            body_bytes_max: 1 << 30,
            connections_max: 120_000,
            streams_max: 256,
            header_timeout: Span::from_secs(10),
            keep_alive: Span::from_secs(75),
            upstream_idle_max: 64,
            drain: Span::from_secs(10),
        }
    }
}

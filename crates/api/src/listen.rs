//! Listening: accepting connections within their limits, one HTTP server each, and the end.
//!
//! Which routes are served is the caller's business. Invariant: when [`Listener::run`] returns, no connection is left.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::limits::{
    DRAIN_TIMEOUT, HEAD_BYTES_MAX, HEAD_TIMEOUT, KEEP_ALIVE, STREAMS_MAX, WINDOW_CONNECTION_BYTES, WINDOW_STREAM_BYTES,
};

/// What a connection beyond the limit is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How long accepting pauses when the system has no descriptors left: trying at once again would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 from the first byte on, as gRPC has it.
    Http2,
}

/// Connections, open and refused.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounters {
    pub(crate) open: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// A bound socket; connections queue in the kernel until [`Listener::run`].
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    pub(crate) local: SocketAddr,
    connections_max: usize,
    protocol: Protocol,
}

impl Listener {
    /// Takes the address. Port 0 means any free one.
    pub(crate) async fn bind(listen: SocketAddr, connections_max: usize, protocol: Protocol) -> io::Result<Self> {
        let socket = TcpListener::bind(listen).await?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, connections_max, protocol })
    }

    /// Serves until `stop`, then takes no more connections, cancels `stopping` for answers that would never end by
    /// themselves, and lets those that have begun end within [`DRAIN_TIMEOUT`].
    pub(crate) async fn run(
        self,
        app: Router,
        counters: Arc<ConnectionCounters>,
        stop: CancellationToken,
        stopping: &CancellationToken,
    ) {
        let service = TowerToHyperService::new(app);
        let places = Arc::new(Semaphore::new(self.connections_max));
        let mut connections = JoinSet::new();
        while let Some(accepted) = stop.run_until_cancelled(self.socket.accept()).await {
            // Ended connections leave their results behind; there is nothing in them.
            while connections.try_join_next().is_some() {}
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept connections");
                    stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                if self.protocol == Protocol::Http1 {
                    refuse(&stream);
                }
                continue;
            };
            let (counters, service, stop) = (Arc::clone(&counters), service.clone(), stop.clone());
            let protocol = self.protocol;
            connections.spawn(async move {
                counters.open.fetch_add(1, Ordering::Relaxed);
                // Answers are small and awaited by people.
                drop(stream.set_nodelay(true));
                match protocol {
                    Protocol::Http1 => serve(stream, service, &stop).await,
                    Protocol::Http2 => serve_http2(stream, service, &stop).await,
                }
                counters.open.fetch_sub(1, Ordering::Relaxed);
                drop(place);
            });
        }
        drop(self.socket);
        stopping.cancel();
        let drained = timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(open = connections.len(), "connections of the API did not end in time and are cut off");
            connections.shutdown().await;
        }
    }
}

async fn serve(stream: TcpStream, service: TowerToHyperService<Router>, stop: &CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // A client that vanishes or sends nonsense ends its own connection; nobody needs to hear of it.
    if stop.run_until_cancelled(connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        drop(connection.await);
    }
}

/// Silent connections are asked whether they live; one that does not answer is closed.
async fn serve_http2(stream: TcpStream, service: TowerToHyperService<Router>, stop: &CancellationToken) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(HEAD_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_connection_window_size(WINDOW_CONNECTION_BYTES)
        .initial_stream_window_size(WINDOW_STREAM_BYTES);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    if stop.run_until_cancelled(connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        drop(connection.await);
    }
}

/// Says that the server is full, if the socket takes it at once.
fn refuse(stream: &TcpStream) {
    drop(stream.try_write(FULL));
}

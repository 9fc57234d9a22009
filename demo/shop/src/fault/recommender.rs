//! The second server: a recommender that v2 asks, and that answers as late as it is told to.
//!
//! It is a real HTTP server on a loopback port of its own, with a connection a call, so that `lock` and `dependency`
//! wait on a socket as a real release does. It counts calls and how many it had at once: `lock` brings that down to one.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::{Request, Response, body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Calls in progress at most: a thousand sockets fit the usual limit of open files with room for the shop's own.
const CALLS_MAX: usize = 400;
/// Bytes of an answer: a short list.
const ANSWER_BYTES_MAX: usize = 4_096;
const ANSWER: &str = r#"{"recommended":[3,5,8]}"#;

/// What the server saw.
#[derive(Debug, Default)]
pub struct Calls {
    total: AtomicU64,
    now: AtomicU64,
    peak: AtomicU64,
}

impl Calls {
    /// Calls so far.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Most calls at once.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The server, bound and not yet running.
#[derive(Debug)]
pub struct Recommender {
    listener: TcpListener,
    calls: Arc<Calls>,
}

impl Recommender {
    /// Takes a free loopback port; returns the server and the way to ask it.
    pub async fn bind() -> io::Result<(Self, Client)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let calls = Arc::new(Calls::default());
        let client = Client { server: listener.local_addr()?, calls: calls.clone(), slots: Semaphore::new(CALLS_MAX) };
        Ok((Self { listener, calls }, client))
    }

    /// Serves until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            while connections.try_join_next().is_some() {}
            if let Ok((socket, _)) = accepted {
                let calls = self.calls.clone();
                connections.spawn(async move {
                    let answer = service_fn(|request| recommend(request, &calls));
                    let served = server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer);
                    if let Err(error) = served.await {
                        tracing::debug!(%error, "a caller of the recommender went away");
                    }
                });
            }
        }
        connections.shutdown().await;
    }
}

async fn recommend(request: Request<Incoming>, calls: &Calls) -> Result<Response<Full<Bytes>>, Infallible> {
    calls.begin();
    let delay_ms = request.uri().query().and_then(|query| query.strip_prefix("after_ms=")?.parse().ok()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    calls.end();
    Ok(Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes()))))
}

/// The way to ask the server.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    calls: Arc<Calls>,
    slots: Semaphore,
}

/// The recommender did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("the recommender cannot be reached")]
    Connect(#[from] io::Error),
    /// No answer.
    #[error("the recommender broke off")]
    Http(#[from] hyper::Error),
    /// An answer that cannot be used.
    #[error("the recommender's answer is too long or broken")]
    Body,
}

impl Client {
    /// Asks once, over a new connection; the server answers after `delay`. Waits when too many calls are in progress.
    pub async fn ask(&self, delay: Duration) -> Result<Bytes, CallError> {
        // The semaphore is never closed, so a refusal cannot happen; going on without a slot would be harmless.
        let _slot = self.slots.acquire().await.ok();
        let socket = TcpStream::connect(self.server).await?;
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(socket)).await?;
        let request = Request::get(format!("/?after_ms={}", delay.as_millis()))
            .header("host", self.server.to_string())
            .body(Empty::<Bytes>::new())
            .map_err(|_| CallError::Body)?;
        let answered = async {
            let response = sender.send_request(request).await?;
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            drop(sender);
            Ok(body.map_err(|_| CallError::Body)?.to_bytes())
        };
        let (driven, answer) = tokio::join!(connection, answered);
        driven?;
        answer
    }

    /// Asks once as a client without async does: the calling thread waits for the answer, which comes after `delay`.
    pub fn ask_and_block(&self, delay: Duration) -> Result<(), CallError> {
        let mut socket = std::net::TcpStream::connect(self.server)?;
        let (after_ms, host) = (delay.as_millis(), self.server);
        write!(socket, "GET /?after_ms={after_ms} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        socket.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer)?;
        if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(CallError::Body) }
    }

    /// What the server saw.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }
}

//! The way to ask the recommender: over connections that are kept, or blocking as code did before async.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use super::{PATH, Recommended};

/// Calls in progress at most: a thousand sockets fit the usual limit of open files with room for the shop's own.
const CALLS_MAX: usize = 400;
/// Bytes of an answer: a short list.
const ANSWER_BYTES_MAX: usize = 4_096;
/// Longer than the latest answer that a fault can order.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);

type Sender = http1::SendRequest<Empty<Bytes>>;

/// The recommender did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("the recommender cannot be reached")]
    Connect(#[from] io::Error),
    /// No answer.
    #[error("the recommender broke off")]
    Http(#[from] hyper::Error),
    /// No answer in time.
    #[error("the recommender has not answered within {} s", ANSWERED_WITHIN.as_secs())]
    Late,
    /// An answer that cannot be used.
    #[error("the recommender's answer cannot be used")]
    Body,
}

/// Asks one recommender.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    slots: Semaphore,
    /// Connections that wait for their next call, newest last: surplus ones age, and the server closes them.
    idle: Mutex<Vec<Sender>>,
}

impl Client {
    /// Asks the server that listens there.
    pub fn new(server: SocketAddr) -> Self {
        Self { server, slots: Semaphore::new(CALLS_MAX), idle: Mutex::default() }
    }

    /// Asks once, for something that takes the server `effort`. Waits when too many calls are in progress.
    pub async fn ask(&self, effort: Duration) -> Result<Recommended, CallError> {
        // The semaphore is never closed, so a refusal cannot happen; going on without a slot would be harmless.
        let _slot = self.slots.acquire().await.ok();
        timeout(ANSWERED_WITHIN, self.ask_now(effort)).await.map_err(|_| CallError::Late)?
    }

    async fn ask_now(&self, effort: Duration) -> Result<Recommended, CallError> {
        let mut sender = match self.kept() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = Request::get(path(effort))
            .header("host", self.server.to_string())
            .body(Empty::new())
            .map_err(|_| CallError::Body)?;
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(CallError::Body);
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|_| CallError::Body)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        serde_json::from_slice(&body.to_bytes()).map_err(|_| CallError::Body)
    }

    /// A connection that is still good; those that the server closed are forgotten.
    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(Sender::is_ready)
    }

    async fn connect(&self) -> Result<Sender, CallError> {
        let socket = TcpStream::connect(self.server).await?;
        socket.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        // It ends when the sender is dropped, or when the server closes.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the recommender ended badly");
            }
        });
        sender.ready().await?;
        Ok(sender)
    }

    /// Asks once as a client without async does: the calling thread waits for the answer, which comes after `effort`.
    pub fn ask_and_block(&self, effort: Duration) -> Result<(), CallError> {
        let mut socket = std::net::TcpStream::connect(self.server)?;
        let (path, host) = (path(effort), self.server);
        write!(socket, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        socket.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer)?;
        if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(CallError::Body) }
    }
}

/// The recommender that a shop asks for its pages, once it is told of one.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<OnceLock<Client>>);

impl Known {
    /// Tells where it is. The first word counts.
    pub fn tell(&self, server: SocketAddr) {
        self.0.get_or_init(|| Client::new(server));
    }

    pub(crate) fn get(&self) -> Option<&Client> {
        self.0.get()
    }
}

fn path(effort: Duration) -> String {
    format!("{PATH}?after_ms={}", effort.as_millis())
}

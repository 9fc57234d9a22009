//! The person who is told: a webhook that notes when a message arrives and whether it says firing or resolved.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use homeostat_load::Moment;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::Failed;

/// Bytes of a message: Alertmanager's payload with a few alerts.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Messages that may wait to be looked at; a trial sees two or three.
const MESSAGES_MAX: usize = 1_024;

/// One message of Alertmanager's webhook format, version 4.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// When its last byte was there.
    pub(crate) at: Moment,
    /// `firing` or `resolved`.
    pub(crate) status: String,
}

#[derive(Deserialize)]
struct Payload {
    status: String,
}

/// The receiver. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Webhook {
    address: SocketAddr,
    messages: mpsc::Receiver<Message>,
    task: JoinHandle<()>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhook {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (arrived, messages) = mpsc::channel(MESSAGES_MAX);
        Ok(Self { address, messages, task: tokio::spawn(listen(listener, arrived)) })
    }

    /// Where to send.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Forgets what has arrived.
    pub(crate) fn clear(&mut self) {
        while self.messages.try_recv().is_ok() {}
    }

    /// The next message with this status.
    pub(crate) async fn next(&mut self, status: &str, within: Duration) -> Result<Message, Failed> {
        let waiting = async {
            loop {
                let message = self.messages.recv().await.ok_or("the webhook ended")?;
                if message.status == status {
                    return Ok(message);
                }
            }
        };
        timeout(within, waiting).await.map_err(|_| format!("no `{status}` message within {within:?}"))?
    }
}

async fn listen(listener: TcpListener, arrived: mpsc::Sender<Message>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let arrived = arrived.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| take(request, arrived.clone()));
            // A sender that breaks off has sent nothing; the trial then runs into its limit and says so.
            drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

async fn take(request: Request<Incoming>, arrived: mpsc::Sender<Message>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = Response::new(Full::default());
    let body = Limited::new(request.into_body(), MESSAGE_BYTES_MAX).collect().await;
    let at = Moment::now();
    let payload = body.ok().and_then(|body| serde_json::from_slice::<Payload>(&body.to_bytes()).ok());
    match payload {
        Some(Payload { status }) => drop(arrived.try_send(Message { at, status })),
        None => *answer.status_mut() = hyper::StatusCode::BAD_REQUEST,
    }
    Ok(answer)
}

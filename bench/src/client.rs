//! Small HTTP questions to the processes under measurement: a connection each, a time limit, JSON answers.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::Failed;

/// A process that does not answer a small question in this time is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an answer; a query of a hundred thousand series is below.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Asks once. Returns status and body.
pub(crate) async fn ask(at: SocketAddr, method: Method, path: &str, body: &str) -> Result<(u16, Bytes), Failed> {
    ask_within(at, method, path, body, ANSWER_WITHIN).await
}

async fn ask_within(
    at: SocketAddr,
    method: Method,
    path: &str,
    body: &str,
    within: Duration,
) -> Result<(u16, Bytes), Failed> {
    let asking = async {
        let socket = TcpStream::connect(at).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", at.to_string())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        let answering = async {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
            drop(sender);
            Ok::<_, Failed>((status, body))
        };
        let (_, answer) = tokio::join!(connection, answering);
        answer
    };
    timeout(within, asking).await.map_err(|_| format!("{at}{path} did not answer within {within:?}"))?
}

/// As [`ask`], and anything but 2xx is a failure.
pub(crate) async fn must(at: SocketAddr, method: Method, path: &str, body: &str) -> Result<Bytes, Failed> {
    let (status, answer) = ask(at, method.clone(), path, body).await?;
    accepted(&format!("{method} {at}{path}"), status, answer)
}

/// As [`must`] for what may take long, without a body.
pub(crate) async fn must_within(at: SocketAddr, method: Method, path: &str, within: Duration) -> Result<Bytes, Failed> {
    let (status, answer) = ask_within(at, method.clone(), path, "", within).await?;
    accepted(&format!("{method} {at}{path}"), status, answer)
}

fn accepted(what: &str, status: u16, answer: Bytes) -> Result<Bytes, Failed> {
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    Err(format!("{what} answered {status}: {}", String::from_utf8_lossy(&answer)).into())
}

/// Asks until the answer is 200.
pub(crate) async fn ready(at: SocketAddr, path: &str, within: Duration) -> Result<(), Failed> {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if let Ok((200, _)) = ask(at, Method::GET, path, "").await {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(format!("{at}{path} was not ready within {within:?}").into())
}

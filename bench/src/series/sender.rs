//! Sends prepared requests as fast as a server takes them: a kept connection each lane, one request after the other.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

use crate::{
    Failed,
    series::{
        bodies::{Lane, Load},
        servers::Server,
    },
};

/// Pauses of a server that says "later" (429 or 503), in all, before the measurement gives up on it.
const PUT_OFF_MAX: Duration = Duration::from_mins(2);

/// What sending a load took.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// From the first request to the last acknowledgement.
    pub(crate) wall: Duration,
    /// Time from request to acknowledgement, each in milliseconds.
    pub(crate) acknowledged_ms: Vec<f64>,
    /// Requests that were put off and sent again.
    pub(crate) put_off: usize,
}

/// Sends all lanes at once.
pub(crate) async fn send(at: SocketAddr, load: &Load) -> Result<Sent, Failed> {
    let began = Instant::now();
    let mut lanes = JoinSet::new();
    for lane in load.lanes.clone() {
        lanes.spawn(send_lane(at, lane));
    }
    let mut sent = Sent::default();
    while let Some(lane) = lanes.join_next().await {
        let lane = lane??;
        sent.acknowledged_ms.extend(lane.acknowledged_ms);
        sent.put_off += lane.put_off;
    }
    sent.wall = began.elapsed();
    Ok(sent)
}

async fn send_lane(at: SocketAddr, lane: Lane) -> Result<Sent, Failed> {
    let socket = TcpStream::connect(at).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection);
    let mut sent = Sent::default();
    for body in lane.bodies {
        let began = Instant::now();
        loop {
            sender.ready().await?;
            let response = sender.send_request(request(at, body.clone())?).await?;
            let status = response.status().as_u16();
            let answer = response.into_body().collect().await?.to_bytes();
            match status {
                200..300 => break,
                429 | 503 if began.elapsed() < PUT_OFF_MAX => {
                    sent.put_off += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                _ => return Err(format!("{at} answered {status}: {}", String::from_utf8_lossy(&answer)).into()),
            }
        }
        sent.acknowledged_ms.push(began.elapsed().as_secs_f64() * 1e3);
    }
    drop(sender);
    connection.await??;
    Ok(sent)
}

fn request(at: SocketAddr, body: Bytes) -> Result<Request<Full<Bytes>>, Failed> {
    let request = Request::post(Server::write_path())
        .header("host", at.to_string())
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(Full::new(body))?;
    Ok(request)
}

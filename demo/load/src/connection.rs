//! Client connections that are reused, driven by whoever uses them: no task of their own, nothing detached.

use std::{collections::BTreeMap, net::SocketAddr, pin::Pin};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::tally::{Failure, Moment};

/// Bytes of an answer that are accepted; a longer one is a broken one. The shop's are below 1 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// One connection with the half that moves its bytes.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<Driver>>,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    /// When the status was known: bad news need not wait for its explanation.
    pub(crate) head_at: Moment,
}

impl Connection {
    pub(crate) async fn open(target: SocketAddr) -> Result<Self, Failure> {
        let socket = TcpStream::connect(target).await.map_err(|_| Failure::Connect)?;
        socket.set_nodelay(true).map_err(|_| Failure::Connect)?;
        let (sender, driver) = http1::handshake(TokioIo::new(socket)).await.map_err(|_| Failure::Connect)?;
        Ok(Self { sender, driver: Box::pin(driver) })
    }

    /// Whether it can take a request; notices that the server closed it meanwhile.
    pub(crate) async fn is_usable(&mut self) -> bool {
        tokio::select! {
            biased;
            _ended = self.driver.as_mut() => false,
            ready = self.sender.ready() => ready.is_ok(),
        }
    }

    /// Sends a request and takes the whole answer.
    pub(crate) async fn ask(&mut self, request: http::Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let answering = async {
            let response = self.sender.send_request(request).await.map_err(|_| Failure::Reset)?;
            let head_at = Moment::now();
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|_| Failure::Reset)?;
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes(), head_at })
        };
        let mut answering = std::pin::pin!(answering);
        tokio::select! {
            biased;
            answer = answering.as_mut() => answer,
            // The connection ended, perhaps right after a complete answer that is still to be picked up.
            _ended = self.driver.as_mut() => answering.await,
        }
    }
}

/// Connections that wait for their next request, newest first so that surplus ones age and are closed by the server.
#[derive(Default)]
pub(crate) struct Pool {
    idle: BTreeMap<SocketAddr, Vec<Connection>>,
}

impl Pool {
    pub(crate) fn take(&mut self, target: SocketAddr) -> Option<Connection> {
        self.idle.get_mut(&target)?.pop()
    }

    pub(crate) fn put(&mut self, target: SocketAddr, connection: Connection) {
        self.idle.entry(target).or_default().push(connection);
    }
}

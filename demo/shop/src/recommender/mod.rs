//! The recommender: the server that a shop asks what else a customer may like, and that answers as late as it is told to.
//!
//! It is a real HTTP server on a loopback port. Each shop brings one along, for its faults: `lock` and `dependency` wait on a
//! socket as a real release does. The demonstration runs one as a process of its own, which both versions ask. It counts
//! calls and how many it had at once: `lock` brings that down to one.

mod client;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::client::{CallError, Client, Known};

/// Where it is asked.
pub const PATH: &str = "/recommended";

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommended {
    /// Items, the best first.
    pub recommended: Vec<u32>,
}

/// What the server saw, and how late it answers.
#[derive(Debug, Default)]
pub struct Calls {
    total: AtomicU64,
    now: AtomicU64,
    peak: AtomicU64,
    after_ms: AtomicU64,
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

    /// From now on every call takes so long, whatever is asked.
    pub fn answer_after(&self, delay: Duration) {
        self.after_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
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
    /// Takes the port; port 0 takes a free one.
    pub async fn bind(listen: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(listen).await?, calls: Arc::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What it sees, and how late it answers.
    pub fn calls(&self) -> Arc<Calls> {
        self.calls.clone()
    }

    /// Serves until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((socket, _)) => {
                    let calls = self.calls.clone();
                    connections.spawn(async move {
                        let answer = service_fn(|request| recommend(request, &calls));
                        let served = server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer);
                        if let Err(error) = served.await {
                            tracing::debug!(%error, "a caller of the recommender went away");
                        }
                    });
                }
                // Out of files: leave the others a moment to end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        connections.shutdown().await;
    }
}

/// A list that takes as long as the caller wants, and as long as the server itself needs. What a caller wants stands for a
/// question that is that dear.
async fn recommend(request: Request<Incoming>, calls: &Calls) -> Result<Response<Full<Bytes>>, Infallible> {
    calls.begin();
    let wanted_ms = request.uri().query().and_then(|query| query.strip_prefix("after_ms=")?.parse().ok()).unwrap_or(0);
    let own_ms = calls.after_ms.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(own_ms.saturating_add(wanted_ms))).await;
    calls.end();
    let answer = serde_json::to_vec(&Recommended { recommended: vec![3, 5, 8] }).unwrap_or_default();
    Ok(Response::new(Full::new(Bytes::from(answer))))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_answers_as_late_as_it_is_told_whoever_asks() {
        let recommender = Recommender::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (at, calls, stop) = (recommender.address().unwrap(), recommender.calls(), CancellationToken::new());
        let running = tokio::spawn(recommender.run(stop.clone()));
        let client = Client::new(at);
        assert_eq!(client.ask(Duration::ZERO).await.unwrap().recommended, [3, 5, 8]);
        calls.answer_after(Duration::from_millis(30));
        let began = Instant::now();
        client.ask(Duration::from_millis(20)).await.unwrap();
        assert!(Duration::from_millis(50) <= began.elapsed());
        assert_eq!((calls.total(), calls.peak()), (2, 1));
        stop.cancel();
        running.await.unwrap();
    }
}

//! Stands where the server would be, and keeps each window as it was shipped.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use homeostat_wire::profiles::{WINDOW_HEADER, WindowId};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use crate::Failed;

/// Bytes of a window: an agent packs none larger.
const WINDOW_BYTES_MAX: usize = 16 << 20;

/// The receiver. Stops when dropped.
#[derive(Debug)]
pub(super) struct Recorder {
    address: SocketAddr,
    kept: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    /// Takes windows into this folder.
    pub(super) async fn start(dir: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, kept) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let task = tokio::spawn(listen(listener, Arc::new(dir), Arc::clone(&kept)));
        Ok(Self { address, kept, task })
    }

    /// Where an agent ships to.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends; without a window there is nothing to measure.
    pub(super) fn stop(self) -> Result<(), Failed> {
        if self.kept.load(Ordering::Relaxed) == 0 {
            return Err("the agent has shipped no window".into());
        }
        Ok(())
    }
}

async fn listen(listener: TcpListener, dir: Arc<PathBuf>, kept: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (dir, kept) = (Arc::clone(&dir), Arc::clone(&kept));
        connections.spawn(async move {
            let service = service_fn(move |request| keep(request, Arc::clone(&dir), Arc::clone(&kept)));
            // An agent that breaks off sends the window again.
            drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
        });
    }
}

/// What cannot be kept is answered like a server in trouble: the agent comes again.
async fn keep(
    request: Request<Incoming>,
    dir: Arc<PathBuf>,
    kept: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = Response::new(Full::default());
    let header = request.headers().get(WINDOW_HEADER).and_then(|value| value.to_str().ok());
    let window = header.and_then(|text| text.parse::<WindowId>().ok());
    let body = Limited::new(request.into_body(), WINDOW_BYTES_MAX).collect().await;
    let is_kept = match (window, body) {
        (Some(window), Ok(body)) => {
            // Sent again, it is the same file.
            tokio::fs::write(dir.join(format!("{:08}.window", window.number)), body.to_bytes()).await.is_ok()
        }
        _ => false,
    };
    if is_kept {
        kept.fetch_add(1, Ordering::Relaxed);
    } else {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(answer)
}

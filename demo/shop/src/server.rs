//! Accepts connections and serves the shop over HTTP/1.1 and HTTP/2 with prior knowledge, until told to stop.
//!
//! Ends in order: no new connections, requests in progress finish within the drain time, the ledger's writer ends.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::HeaderValue;
use hyper::service::{Service, service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    ShopConfig,
    fault::{Switches, leak::Leak, log::DebugLog},
    http::{Peer, Shop, router},
    ledger::{Ledger, OpenError, Writer},
    metrics::Metrics,
    recommender::{Client, Known, Recommender},
};

/// Connections at once: far more than the load generator opens, and within the usual limit of 1,024 open files.
const CONNECTIONS_MAX: usize = 800;
/// Time for requests in progress at the end: a database sync or the slowest dependency that is still worth waiting for.
const DRAIN: Duration = Duration::from_secs(2);

/// The shop cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {dir}")]
    Dir {
        /// The directory.
        dir: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The order store cannot be opened.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The version cannot be sent in a header.
    #[error("version `{0}` must be 1 to 63 letters, digits, dots, dashes or underscores")]
    Version(String),
}

/// A shop that listens and does not answer yet.
#[derive(Debug)]
pub struct BoundShop {
    listener: TcpListener,
    address: SocketAddr,
    shop: Arc<Shop>,
    recommender: Recommender,
    writer: Writer,
}

impl BoundShop {
    /// Opens the store, takes the port and switches the configured faults on.
    pub async fn bind(config: ShopConfig) -> Result<Self, ShopError> {
        let version_header = checked_version(&config.version)?;
        let dir_failed = |source| ShopError::Dir { dir: config.data_dir.display().to_string(), source };
        std::fs::create_dir_all(&config.data_dir).map_err(dir_failed)?;
        let log = DebugLog::open(&config.data_dir.join("debug.log")).map_err(dir_failed)?;
        let (ledger, writer) = Ledger::open(&config.data_dir.join("orders"), config.items, config.stock)?;
        let listen_failed = |source| ShopError::Listen { listen: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_failed)?;
        let address = listener.local_addr().map_err(listen_failed)?;
        let recommender = Recommender::bind((Ipv4Addr::LOCALHOST, 0).into()).await.map_err(listen_failed)?;
        let own_recommender = Client::new(recommender.address().map_err(listen_failed)?);
        let switches = Switches::default();
        config.faults.iter().for_each(|setting| switches.set(*setting));
        let shop = Arc::new(Shop {
            version: config.version,
            version_header,
            ledger,
            switches,
            metrics: Metrics::default(),
            leak: Leak::default(),
            log,
            own_recommender,
            own_calls: recommender.calls(),
            recommender: Known::default(),
            gate: Mutex::new(()),
        });
        Ok(Self { listener, address, shop, recommender, writer })
    }

    /// Where it listens; the real port when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is told of a recommender.
    pub fn recommender(&self) -> Known {
        self.shop.recommender.clone()
    }

    /// Serves until told to stop, then drains and closes the order book.
    pub async fn run(self, stop: CancellationToken) {
        let recommender = tokio::spawn(self.recommender.run(stop.clone()));
        accept(self.listener, &self.shop, &stop).await;
        if let Err(error) = recommender.await {
            tracing::error!(%error, "the recommender ended badly");
        }
        drop(self.shop);
        let writer = self.writer;
        if tokio::task::spawn_blocking(|| writer.join()).await.is_err() {
            tracing::error!("the order book was not closed in good order; acknowledged orders are on disk");
        }
    }
}

/// A version that fits a header, a label and the first part of an order's id.
fn checked_version(version: &str) -> Result<HeaderValue, ShopError> {
    let fits = (1..64).contains(&version.len())
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let header = HeaderValue::from_str(version).ok().filter(|_| fits);
    header.ok_or_else(|| ShopError::Version(version.chars().take(64).collect()))
}

async fn accept(listener: TcpListener, shop: &Arc<Shop>, stop: &CancellationToken) {
    let service = TowerToHyperService::new(router(shop));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((socket, peer)) => {
                    connections.spawn(connection(socket, peer, service.clone(), stop.clone()));
                }
                // Out of files or a connection that vanished: leave the others a moment to end.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    service: TowerToHyperService<axum::Router>,
    stop: CancellationToken,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch Nagle's algorithm off");
    }
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        service.call(request)
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), service));
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error, "a connection ended badly");
    }
}

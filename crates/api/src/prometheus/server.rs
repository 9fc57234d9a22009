//! A server of its own for the Prometheus API: listening, health, metrics, and what every request passes.

use std::{io, net::SocketAddr, sync::Arc, sync::atomic::Ordering};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use homeostat_wire::exposition::{self, Exposition, FamilyKind};
use http::{HeaderValue, StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::{PrometheusApi, error::ApiError, limits::CONNECTIONS_MAX};
use crate::{
    browser::{self, HostRule},
    listen::{ConnectionCounters, Listener, Protocol},
};

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// The option that says so, for errors.
    pub option: &'static str,
    /// Loopback, unless `open` says that everybody may read and write.
    pub listen: SocketAddr,
    /// Whether everybody who reaches an address beyond loopback may read and write.
    pub open: bool,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Everybody could read and write.
    #[error(
        "{listen} can be reached by others, and everybody who reaches it may read and write: listen on 127.0.0.1, or say \
         `--open-to-network` if that is what you want"
    )]
    NotOpen {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {listen}: choose another `{option}` address or stop what holds it")]
    Listen {
        /// The option that says so.
        option: &'static str,
        /// Where it was to listen.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl ServerSpec {
    /// Takes the address.
    pub(super) async fn bind(self, protocol: Protocol) -> Result<Listener, ServeError> {
        let Self { option, listen, open } = self;
        if !listen.ip().is_loopback() && !open {
            return Err(ServeError::NotOpen { listen });
        }
        let listener = Listener::bind(listen, CONNECTIONS_MAX, protocol).await;
        listener.map_err(|source| ServeError::Listen { option, listen, source })
    }

    /// What `Host` may say.
    pub(super) fn hosts(self) -> HostRule {
        if self.open { HostRule::Any } else { HostRule::OursOnly }
    }
}

/// A bound server; connections queue in the kernel until [`PrometheusServer::run`].
#[derive(Debug)]
pub struct PrometheusServer {
    listener: Listener,
    shared: Arc<Shared>,
    app: Router,
}

#[derive(Debug)]
struct Shared {
    api: Arc<PrometheusApi>,
    local: SocketAddr,
    hosts: HostRule,
    connections: Arc<ConnectionCounters>,
}

impl PrometheusServer {
    /// Takes the address. Port 0 means any free one. `intake` are routes that take samples in.
    pub async fn bind(spec: ServerSpec, api: Arc<PrometheusApi>, intake: Router) -> Result<Self, ServeError> {
        let listener = spec.bind(Protocol::Http1).await?;
        let shared = Arc::new(Shared { local: listener.local, hosts: spec.hosts(), connections: Arc::default(), api });
        let app = app(&shared, intake);
        Ok(Self { listener, shared, app })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// Serves until `stop`, then takes no more connections and lets answers that have begun end within some seconds.
    pub async fn run(self, stop: CancellationToken) {
        let connections = Arc::clone(&self.shared.connections);
        self.listener.run(self.app, connections, stop, &CancellationToken::new()).await;
    }
}

fn app(shared: &Arc<Shared>, intake: Router) -> Router {
    let own = Router::new()
        .route("/", get(hello))
        .route("/-/healthy", get(healthy).head(healthy))
        .route("/-/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(shared));
    own.merge(shared.api.router())
        .merge(intake)
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(Arc::clone(shared), around))
}

/// Around everything: refuses hostile pages, and gives every answer the security headers.
async fn around(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match browser::check(shared.hosts, shared.local, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in browser::SECURITY_HEADERS {
        headers.insert(name, value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn hello() -> &'static str {
    "Homeostat's metrics server: queries at /api/v1/query, remote write at /api/v1/write, its own metrics at /metrics\n"
}

/// 200 as long as it answers: a restart would mend nothing that is told here.
async fn healthy(State(shared): State<Arc<Shared>>) -> String {
    let troubles = shared.api.backend.troubles().into_iter().map(|trouble| trouble + "\n");
    "the process runs\n".to_owned() + &troubles.collect::<String>()
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.api.backend.not_ready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = String::new();
    shared.api.metrics(&mut text);
    let mut exposition = Exposition::new(&mut text);
    let connections = &shared.connections;
    exposition
        .family("homeostat_api_connections", FamilyKind::Gauge, "Open connections.")
        .count(&[], connections.open.load(Ordering::Relaxed));
    exposition
        .family(
            "homeostat_api_connections_refused_total",
            FamilyKind::Counter,
            "Connections refused because the limit was reached.",
        )
        .count(&[], connections.refused.load(Ordering::Relaxed));
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE));
    response
}

async fn unknown(request: Request) -> ApiError {
    super::unknown(request).await
}

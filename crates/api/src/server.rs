//! The server around the router: listening, limits of connections and heads, what every request passes, and the end.

use std::{io, net::SocketAddr, sync::Arc, sync::atomic::Ordering, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    assets::Console,
    backend::Backend,
    browser::{self, HostRule},
    endpoints,
    limits::{CONNECTIONS_MAX, DRAIN_TIMEOUT, HEAD_BYTES_MAX, HEAD_TIMEOUT},
    problem::Problem,
    shared::{ApiHandle, Shared, TokensRefused, check_tokens},
    spec::ApiSpec,
};

/// What a connection beyond the limit is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// How long accepting pauses when the system has no descriptors left: trying at once again would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The tokens do not fit the address.
    #[error(transparent)]
    Tokens(#[from] TokensRefused),
    /// The address is taken or not ours.
    #[error("the API cannot listen on {listen}; choose another `listen` address or stop what holds it")]
    Listen {
        /// Where it was to listen.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound server; connections queue in the kernel until [`ApiServer::run`].
#[derive(Debug)]
pub struct ApiServer {
    listener: TcpListener,
    handle: ApiHandle,
}

impl ApiServer {
    /// Takes the address. Port 0 means any free one; see [`ApiServer::local_addr`].
    pub async fn bind(spec: ApiSpec, backend: Arc<dyn Backend>, console: Console) -> Result<Self, BindError> {
        check_tokens(spec.listen, &spec.tokens)?;
        let refused = |source| BindError::Listen { listen: spec.listen, source };
        let listener = TcpListener::bind(spec.listen).await.map_err(refused)?;
        let local = listener.local_addr().map_err(refused)?;
        let shared = Shared::new(backend, console, local, &spec.tokens)?;
        Ok(Self { listener, handle: ApiHandle(Arc::new(shared)) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.handle.0.local
    }

    /// To change the tokens while it runs.
    pub fn handle(&self) -> ApiHandle {
        self.handle.clone()
    }

    /// Serves until `stop`, then takes no more connections, ends event streams, and lets answers that have begun end
    /// within [`DRAIN_TIMEOUT`].
    pub async fn run(self, stop: CancellationToken) {
        let shared = self.handle.0;
        let service = TowerToHyperService::new(app(&shared));
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            // Ended connections leave their results behind; there is nothing in them.
            while connections.try_join_next().is_some() {}
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept connections");
                    stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                shared.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
                refuse(&stream);
                continue;
            };
            let (shared, service, stop) = (Arc::clone(&shared), service.clone(), stop.clone());
            connections.spawn(async move {
                shared.counters.connections.fetch_add(1, Ordering::Relaxed);
                serve(stream, service, &stop).await;
                shared.counters.connections.fetch_sub(1, Ordering::Relaxed);
                drop(place);
            });
        }
        drop(self.listener);
        shared.stop.cancel();
        let drained = timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(open = connections.len(), "connections of the API did not end in time and are cut off");
            connections.shutdown().await;
        }
    }
}

async fn serve(stream: TcpStream, service: TowerToHyperService<Router>, stop: &CancellationToken) {
    // Answers are small and awaited by people.
    drop(stream.set_nodelay(true));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // A client that vanishes or sends nonsense ends its own connection; nobody needs to hear of it.
    if stop.run_until_cancelled(connection.as_mut()).await.is_none() {
        connection.as_mut().graceful_shutdown();
        drop(connection.await);
    }
}

/// Says that the server is full, if the socket takes it at once.
fn refuse(stream: &TcpStream) {
    drop(stream.try_write(FULL));
}

/// The whole application: the table of endpoints, the console behind it, and what every request passes.
pub(crate) fn app(shared: &Arc<Shared>) -> Router {
    endpoints::router(shared)
        .fallback(console)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(shared), around))
        .with_state(Arc::clone(shared))
}

/// Around everything: refuses hostile pages, and gives every answer the security headers.
async fn around(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let rule = if shared.tokens().is_empty() { HostRule::OursOnly } else { HostRule::Any };
    let mut response = match browser::check(rule, shared.local, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    for (name, value) in browser::SECURITY_HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

async fn console(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.console.answer(&request.into_parts().0)
}

async fn method_not_allowed() -> Problem {
    let detail = "this method is not served here; the header `Allow` lists those that are";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

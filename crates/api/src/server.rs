//! The server around the router: what every request passes, and from which address.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::{
    assets::Console,
    backend::Backend,
    browser::{self, HostRule},
    endpoints,
    limits::CONNECTIONS_MAX,
    listen::{Listener, Protocol},
    problem::Problem,
    shared::{ApiHandle, Shared, TokensRefused, check_tokens},
    spec::ApiSpec,
};

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
    listener: Listener,
    handle: ApiHandle,
}

impl ApiServer {
    /// Takes the address. Port 0 means any free one; see [`ApiServer::local_addr`].
    pub async fn bind(spec: ApiSpec, backend: Arc<dyn Backend>, console: Console) -> Result<Self, BindError> {
        check_tokens(spec.listen, &spec.tokens)?;
        let refused = |source| BindError::Listen { listen: spec.listen, source };
        let listener = Listener::bind(spec.listen, CONNECTIONS_MAX, Protocol::Http1).await.map_err(refused)?;
        let shared = Shared::new(backend, console, listener.local, &spec.tokens)?;
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
    /// within [`DRAIN_TIMEOUT`](crate::limits::DRAIN_TIMEOUT).
    pub async fn run(self, stop: CancellationToken) {
        let shared = self.handle.0;
        self.listener.run(app(&shared), Arc::clone(&shared.connections), stop, &shared.stop).await;
    }
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

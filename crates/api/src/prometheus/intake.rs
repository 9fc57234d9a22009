//! A server of its own for routes that only take samples in, such as OTLP's.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tokio_util::sync::CancellationToken;

use super::server::{ServeError, ServerSpec};
use crate::{
    browser::{self, HostRule},
    listen::Listener,
};

pub use crate::listen::Protocol;

/// A bound server; connections queue in the kernel until [`IntakeServer::run`].
#[derive(Debug)]
pub struct IntakeServer {
    listener: Listener,
    app: Router,
}

impl IntakeServer {
    /// Takes the address. Port 0 means any free one.
    pub async fn bind(spec: ServerSpec, protocol: Protocol, routes: Router) -> Result<Self, ServeError> {
        let listener = spec.bind(protocol).await?;
        // No page speaks HTTP/2 without TLS.
        let app = match protocol {
            Protocol::Http1 => {
                let guard = (spec.hosts(), listener.local);
                routes.layer(middleware::from_fn_with_state(guard, refuse_pages))
            }
            Protocol::Http2 => routes,
        };
        Ok(Self { listener, app })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local
    }

    /// Serves until `stop`, then takes no more connections and lets answers that have begun end within some seconds.
    pub async fn run(self, stop: CancellationToken) {
        self.listener.run(self.app, Arc::default(), stop, &CancellationToken::new()).await;
    }
}

async fn refuse_pages(State((hosts, local)): State<(HostRule, SocketAddr)>, request: Request, next: Next) -> Response {
    match browser::check(hosts, local, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

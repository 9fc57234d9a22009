//! What all requests share: the backend, the tokens, the bounded number of event streams.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    assets::Console,
    backend::Backend,
    limits::{SUBSCRIBERS_MAX, TOKENS_MAX},
    listen::ConnectionCounters,
    metrics::Counters,
    spec::TokenSpec,
};

/// State of one API server.
pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) console: Console,
    pub(crate) local: SocketAddr,
    pub(crate) counters: Counters,
    pub(crate) connections: Arc<ConnectionCounters>,
    pub(crate) subscribers: Arc<Semaphore>,
    /// Ends event streams, which otherwise never end.
    pub(crate) stop: CancellationToken,
    /// Swapped whole on reload; a request keeps the list it began with.
    tokens: RwLock<Arc<[TokenSpec]>>,
}

/// Why a set of tokens was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensRefused {
    /// Nobody could be told apart on an address that others reach.
    #[error("the API listens on {listen}, which others can reach: declare at least one token, or listen on 127.0.0.1")]
    NoneBeyondLoopback {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// Comparing with each would cost too much.
    #[error("{count} tokens are declared, {TOKENS_MAX} are the limit")]
    TooMany {
        /// How many were declared.
        count: usize,
    },
}

impl Shared {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        console: Console,
        local: SocketAddr,
        tokens: &[TokenSpec],
    ) -> Result<Self, TokensRefused> {
        check_tokens(local, tokens)?;
        Ok(Self {
            backend,
            console,
            local,
            counters: Counters::default(),
            connections: Arc::default(),
            subscribers: Arc::new(Semaphore::new(SUBSCRIBERS_MAX)),
            stop: CancellationToken::new(),
            tokens: RwLock::new(tokens.into()),
        })
    }

    /// The tokens in force; empty when everybody on loopback may do everything.
    pub(crate) fn tokens(&self) -> Arc<[TokenSpec]> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Also used before binding, so that a refused list never opens a port.
pub(crate) fn check_tokens(listen: SocketAddr, tokens: &[TokenSpec]) -> Result<(), TokensRefused> {
    if tokens.is_empty() && !listen.ip().is_loopback() {
        return Err(TokensRefused::NoneBeyondLoopback { listen });
    }
    if tokens.len() > TOKENS_MAX {
        return Err(TokensRefused::TooMany { count: tokens.len() });
    }
    Ok(())
}

/// Changes a running server; cheap to clone.
#[derive(Clone)]
pub struct ApiHandle(pub(crate) Arc<Shared>);

impl ApiHandle {
    /// Replaces the tokens for all requests that begin from now on. On error the old ones stay in force.
    /// Streams that are open keep running.
    pub fn set_tokens(&self, tokens: &[TokenSpec]) -> Result<(), TokensRefused> {
        check_tokens(self.0.local, tokens)?;
        *self.0.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
        Ok(())
    }
}

impl std::fmt::Debug for ApiHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiHandle").field("local", &self.0.local).finish_non_exhaustive()
    }
}

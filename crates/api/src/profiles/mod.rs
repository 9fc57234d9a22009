//! Questions about profiles, as Pyroscope answers them: `/pyroscope/render`, `/pyroscope/render-diff` and the methods of
//! `querier.v1` over Connect, in JSON and protobuf.
//!
//! A question runs on a thread of its own up to the bytes of its answer, so many at once, and is given up when its time is
//! over or nobody waits for it any more. Parts of the
//! store that are damaged are no part of an answer; the header `x-homeostat-left-out` says which.
//!
//! Not here: keeping and adding up (`store-profiles`), flame graphs as trees (`profile`).
//! Sources: `grafana/pyroscope` `docs/sources/reference-server-api`, `api/querier/v1/querier.proto`,
//! `api/types/v1/types.proto`; connectrpc.com, "Connect Protocol Reference".

mod ask;
mod messages;
mod problem;
mod querier;
mod render;
mod selector;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    routing::{get, post},
};
use homeostat_store_profiles::ProfileStore;
use tokio::sync::Semaphore;

/// Nodes of a flame graph, unless a request asks for more or fewer: what fits on a screen many times over.
pub const NODES_DEFAULT: usize = 8_192;
/// Nodes that a request may ask for: some ten MiB of JSON.
pub const NODES_MAX: usize = 262_144;

/// Answers from a store, as soon as there is one.
#[derive(Debug)]
pub struct ProfilesApi {
    store: Arc<OnceLock<ProfileStore>>,
    turns: Arc<Semaphore>,
    /// How long a question may take once it has its turn.
    time: Duration,
}

impl ProfilesApi {
    /// Answers `concurrency` questions at once, each for `time` at most; others wait.
    pub fn new(store: Arc<OnceLock<ProfileStore>>, concurrency: usize, time: Duration) -> Arc<Self> {
        Arc::new(Self { store, turns: Arc::new(Semaphore::new(concurrency.max(1))), time })
    }

    /// Its routes, to be merged into a server's.
    pub fn router(self: &Arc<Self>) -> Router {
        let mut router = Router::new()
            .route("/pyroscope/render", get(render::render))
            .route("/render", get(render::render))
            .route("/pyroscope/render-diff", get(render::render_diff))
            .route("/render-diff", get(render::render_diff));
        for (path, method) in querier::METHODS {
            let handler = move |state, request| querier::answer(method, state, request);
            router = router.route(path, post(handler));
        }
        router.with_state(Arc::clone(self))
    }
}

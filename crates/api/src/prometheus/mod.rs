//! The Prometheus HTTP API: queries, the index of series, and what clients probe, over any [`SeriesBackend`].
//!
//! ```text
//! request ── params ──▶ parsed query ── turns ──▶ thread: evaluate ──▶ write JSON, piece by piece ──▶ client
//! ```
//!
//! Existing clients must not notice a difference: paths, parameters, envelopes, statuses and the texts that they compare
//! are those of Prometheus 3 (`web/api/v1`, prometheus.io/docs/prometheus/latest/querying/api).
//!
//! Not here: the language itself (`promql`), storage (`store-series`), taking samples in (`sense-receive`).
//! Invariants: nothing is evaluated on a thread of the async runtime; memory for answers is bounded, whatever their
//! length; a query ends soon after its time limit or its client.

mod admin;
pub mod backend;
pub mod limits;

mod ast_json;
mod error;
mod federate;
mod index;
mod intake;
mod json;
mod language;
mod metrics;
mod names;
mod number;
mod params;
mod query;
mod result;
mod rules;
mod server;
mod status;
mod stream;
mod turns;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::IntoResponse as _,
    routing::{MethodRouter, get, post},
};
use homeostat_promql::{ParseOptions, eval::Options};
use http::{HeaderMap, HeaderValue};

pub use backend::SeriesBackend;
pub use intake::{IntakeServer, Protocol};
pub use server::{PrometheusServer, ServeError, ServerSpec};
pub use status::SPEAKS_VERSION;

use error::{ApiError, ErrorKind};
use metrics::Counters;
use turns::{Turns, Wanted};

/// How queries are treated.
#[derive(Clone, Debug)]
pub struct QueryPolicy {
    /// The longest that a query may take; a request may ask for less.
    pub timeout: Duration,
    /// Queries that run at once; others wait.
    pub concurrency: usize,
    /// How expressions are evaluated, and what one may cost.
    pub options: Options,
    /// What of the language is switched on.
    pub language: ParseOptions,
    /// Whether series may be deleted and snapshots taken over the API.
    pub admin: bool,
    /// Whether the configuration may be read again over the API.
    pub lifecycle: bool,
}

impl Default for QueryPolicy {
    /// The defaults of Prometheus, with the whole language switched on.
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(2),
            concurrency: 20,
            options: Options::default(),
            language: ParseOptions::all(),
            admin: false,
            lifecycle: false,
        }
    }
}

/// What the process says about itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Options in force by name, for `status/flags`.
    pub flags: BTreeMap<String, String>,
    /// How long and how much is kept, such as `30d or 10GiB`.
    pub retention: String,
}

/// The API's state. Make one, and mount [`PrometheusApi::router`].
pub struct PrometheusApi {
    backend: Arc<dyn SeriesBackend>,
    policy: QueryPolicy,
    about: About,
    turns: Turns,
    counters: Counters,
    started_at: jiff::Timestamp,
}

impl std::fmt::Debug for PrometheusApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrometheusApi").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// Makes the service of a path.
type Service = fn() -> MethodRouter<Arc<PrometheusApi>>;

/// Everything that is served, with the name that its metrics have.
#[rustfmt::skip]
const ROUTES: [(&str, &str, Service); 29] = [
    ("/api/v1/query", "query", || get(query::instant).post(query::instant)),
    ("/api/v1/query_range", "query_range", || get(query::range).post(query::range)),
    ("/api/v1/query_exemplars", "query_exemplars", || get(index::exemplars).post(index::exemplars)),
    ("/api/v1/format_query", "format_query", || get(language::format_query).post(language::format_query)),
    ("/api/v1/parse_query", "parse_query", || get(language::parse_query).post(language::parse_query)),
    ("/api/v1/series", "series", || get(index::series).post(index::series)),
    ("/api/v1/labels", "labels", || get(index::label_names).post(index::label_names)),
    ("/api/v1/label/{name}/values", "label_values", || get(index::label_values)),
    ("/api/v1/metadata", "metadata", || get(index::metadata)),
    ("/api/v1/targets", "targets", || get(status::targets)),
    ("/api/v1/targets/metadata", "targets_metadata", || get(status::target_metadata)),
    ("/api/v1/scrape_pools", "scrape_pools", || get(status::scrape_pools)),
    ("/api/v1/rules", "rules", || get(rules::rules)),
    ("/api/v1/alerts", "alerts", || get(rules::alerts)),
    ("/api/v1/alertmanagers", "alertmanagers", || get(rules::alertmanagers)),
    ("/api/v1/admin/tsdb/snapshot", "admin_snapshot", || post(admin::snapshot).put(admin::snapshot)),
    ("/api/v1/admin/tsdb/delete_series", "admin_delete_series", || post(admin::delete_series).put(admin::delete_series)),
    ("/api/v1/admin/tsdb/clean_tombstones", "admin_clean_tombstones", || post(admin::clean_tombstones).put(admin::clean_tombstones)),
    ("/api/v1/status/buildinfo", "status_buildinfo", || get(status::buildinfo)),
    ("/api/v1/status/config", "status_config", || get(status::config)),
    ("/api/v1/status/flags", "status_flags", || get(status::flags)),
    ("/api/v1/status/runtimeinfo", "status_runtimeinfo", || get(status::runtimeinfo)),
    ("/api/v1/status/tsdb", "status_tsdb", || get(status::tsdb)),
    ("/api/v1/status/walreplay", "status_walreplay", || get(status::walreplay)),
    ("/api/v1/{*rest}", "unknown", || axum::routing::any(unknown)),
    ("/api/v1", "unknown", || axum::routing::any(unknown)),
    ("/api/v1/", "unknown", || axum::routing::any(unknown)),
    ("/-/reload", "reload", || post(admin::reload).put(admin::reload)),
    ("/federate", "federate", || get(federate::federate)),
];

impl PrometheusApi {
    /// An API over a backend.
    pub fn new(backend: Arc<dyn SeriesBackend>, policy: QueryPolicy, about: About) -> Arc<Self> {
        let turns = Turns::new(policy.concurrency);
        let started_at = jiff::Timestamp::now();
        Arc::new(Self { backend, policy, about, turns, counters: Counters::default(), started_at })
    }

    /// Routes under `/api/v1/` and `/federate`, to be merged into a server's.
    pub fn router(self: &Arc<Self>) -> Router {
        let routes = ROUTES.iter().fold(Router::new(), |router, (path, name, service)| {
            let api = Arc::clone(self);
            let count = middleware::from_fn(move |request: Request, next: Next| {
                let api = Arc::clone(&api);
                async move {
                    let began = std::time::Instant::now();
                    let response = match api.backend.not_ready() {
                        None => next.run(request).await,
                        Some(reason) => ApiError::new(ErrorKind::Unavailable, reason).into_response(),
                    };
                    api.counters.answered(name, response.status().as_u16(), began.elapsed());
                    response
                }
            });
            router.route(path, service().layer(count))
        });
        routes.with_state(Arc::clone(self))
    }

    /// Appends metrics of the API and of its backend.
    pub fn metrics(&self, out: &mut String) {
        self.backend.metrics(out);
        self.counters.write(&self.turns, out);
    }

    /// What answers to a request look like unless its parameters say otherwise.
    fn wanted(&self, headers: &HeaderMap) -> Wanted {
        Wanted {
            timeout: self.policy.timeout,
            content_type: HeaderValue::from_static("application/json"),
            gzip: stream::accepts_gzip(headers),
        }
    }
}

async fn unknown(request: Request) -> ApiError {
    let path: String = request.uri().path().chars().take(200).collect();
    ApiError::new(ErrorKind::NotFound, format!("there is no {} {path} here", request.method()))
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

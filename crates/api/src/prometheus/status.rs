//! What clients probe before they trust a server: `status/…`, and what is scraped.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::Response,
};
use homeostat_model::Labels;
use serde_json::{Value, json};

use super::{
    PrometheusApi,
    backend::{ScrapePool, ScrapedTarget},
    error::ApiError,
    json::{self as writing, Remarks},
    params::Params,
    stream::Writer,
};

/// The Prometheus whose language and API we speak. Clients switch features on by it: Grafana asks for it at every start.
pub const SPEAKS_VERSION: &str = "3.10.0";
/// Entries of each list of `status/tsdb` unless asked otherwise, as in Prometheus.
const STATS_DEFAULT: usize = 10;
/// Entries of each list of `status/tsdb` at most.
const STATS_MAX: usize = 10_000;

pub(super) fn success(data: Value) -> Json<Value> {
    Json(json!({ "status": "success", "data": data }))
}

pub(crate) async fn buildinfo() -> Json<Value> {
    success(json!({
        "version": SPEAKS_VERSION,
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": "Homeostat",
        "applicationVersion": env!("CARGO_PKG_VERSION"),
    }))
}

pub(crate) async fn config(State(api): State<Arc<PrometheusApi>>) -> Json<Value> {
    success(json!({ "yaml": api.backend.config() }))
}

pub(crate) async fn flags(State(api): State<Arc<PrometheusApi>>) -> Json<Value> {
    success(json!(api.about.flags))
}

pub(crate) async fn runtimeinfo(State(api): State<Arc<PrometheusApi>>) -> Json<Value> {
    success(json!({
        "startTime": api.started_at.to_string(),
        "CWD": "",
        "hostname": "",
        "serverTime": jiff::Timestamp::now().to_string(),
        "reloadConfigSuccess": true,
        "lastConfigTime": api.started_at.to_string(),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, usize::from),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": api.about.retention,
    }))
}

/// The log is read before the server answers at all.
pub(crate) async fn walreplay() -> Json<Value> {
    success(json!({ "min": 0, "max": 0, "current": 0 }))
}

pub(crate) async fn tsdb(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Response, ApiError> {
    let wanted = api.wanted(request.headers());
    let params = Params::of(request).await?;
    let limit = params.limit()?.unwrap_or(STATS_DEFAULT);
    if limit > STATS_MAX {
        return Err(ApiError::parameter("limit", format!("limit must not be greater than {STATS_MAX}")));
    }
    let backend = Arc::clone(&api.backend);
    api.turns
        .run(wanted, move |stop| {
            let stats = backend.index_stats(limit).map_err(|error| ApiError::of_source(&error, stop))?;
            let named = |list: &[(String, u64)]| -> Vec<Value> {
                list.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
            };
            let data = json!({
                "headStats": {
                    "numSeries": stats.series,
                    "numLabelPairs": stats.label_pairs,
                    "chunkCount": stats.chunks,
                    "minTime": stats.start_ms,
                    "maxTime": stats.end_ms,
                },
                "seriesCountByMetricName": named(&stats.series_by_metric),
                "labelValueCountByLabelName": named(&stats.values_by_label),
                "memoryInBytesByLabelName": named(&stats.bytes_by_label),
                "seriesCountByLabelValuePair": named(&stats.series_by_pair),
            });
            Ok(move |writer: &mut Writer| {
                writing::success(writer, &Remarks::default(), |writer| {
                    writer.buffer.extend_from_slice(data.to_string().as_bytes());
                    Ok(())
                })
            })
        })
        .await
}

/// Targets with their state; `state` and `scrapePool` choose some.
pub(crate) async fn targets(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Json<Value>, ApiError> {
    let params = Params::of(request).await?;
    let (state, pool) = (params.get("state"), params.get("scrapePool"));
    if !matches!(state, "" | "any" | "active" | "dropped") {
        return Err(ApiError::parameter("state", "state must be one of any, active and dropped".to_owned()));
    }
    let mut pools = pools(&api).await;
    pools.retain(|found| pool.is_empty() || pool == found.name);
    let wants = |kind| matches!(state, "" | "any") || state == kind;
    let active = pools.iter().filter(|_| wants("active"));
    let active = active.flat_map(|pool| pool.active.iter().map(|target| target_json(&pool.name, target)));
    let dropped = pools.iter().filter(|_| wants("dropped")).flat_map(|pool| &pool.dropped);
    let dropped = dropped.map(|labels| json!({ "discoveredLabels": labels_json(labels) }));
    let counts = pools.iter().map(|pool| (pool.name.clone(), json!(pool.dropped_count)));
    Ok(success(json!({
        "activeTargets": active.collect::<Vec<_>>(),
        "droppedTargets": dropped.collect::<Vec<_>>(),
        "droppedTargetCounts": counts.collect::<serde_json::Map<_, _>>(),
    })))
}

/// Jobs with all of their targets; collecting them takes a while when there are thousands.
async fn pools(api: &PrometheusApi) -> Vec<ScrapePool> {
    let backend = Arc::clone(&api.backend);
    // A panic has told so already.
    tokio::task::spawn_blocking(move || backend.scrape_pools()).await.unwrap_or_default()
}

fn target_json(pool: &str, target: &ScrapedTarget) -> Value {
    let health = match (target.last_scrape_ms, &target.last_error) {
        (None, _) => "unknown",
        (Some(_), None) => "up",
        (Some(_), Some(_)) => "down",
    };
    let at = target.last_scrape_ms.and_then(|t_ms| jiff::Timestamp::from_millisecond(t_ms).ok());
    json!({
        "discoveredLabels": labels_json(&target.discovered),
        "labels": labels_json(&target.labels),
        "scrapePool": pool,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": target.last_error.as_deref().unwrap_or_default(),
        "lastScrape": at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string()),
        "lastScrapeDuration": target.took.as_secs_f64(),
        "health": health,
        "scrapeInterval": seconds(target.interval),
        "scrapeTimeout": seconds(target.timeout),
    })
}

fn seconds(duration: std::time::Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

fn labels_json(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into()
}

/// Names of the jobs.
pub(crate) async fn scrape_pools(State(api): State<Arc<PrometheusApi>>) -> Json<Value> {
    let names: Vec<_> = pools(&api).await.into_iter().map(|pool| pool.name).collect();
    success(json!({ "scrapePools": names }))
}

/// Nor what targets say about their metrics.
pub(crate) async fn target_metadata() -> Json<Value> {
    success(json!([]))
}

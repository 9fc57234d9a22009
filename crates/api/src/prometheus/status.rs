//! What clients probe before they trust a server: `status/…`, and lists of things that this process does not have.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::Response,
};
use serde_json::{Value, json};

use super::{
    PrometheusApi,
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

fn success(data: Value) -> Json<Value> {
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
    success(json!({ "yaml": api.about.config }))
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

/// Nothing is scraped by this process.
pub(crate) async fn targets() -> Json<Value> {
    success(json!({ "activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {} }))
}

/// No pools of targets either.
pub(crate) async fn scrape_pools() -> Json<Value> {
    success(json!({ "scrapePools": [] }))
}

/// Nor what targets say about their metrics.
pub(crate) async fn target_metadata() -> Json<Value> {
    success(json!([]))
}

/// No rules are evaluated.
pub(crate) async fn rules() -> Json<Value> {
    success(json!({ "groups": [] }))
}

/// So no alerts are firing.
pub(crate) async fn alerts() -> Json<Value> {
    success(json!({ "alerts": [] }))
}

/// And none are sent anywhere.
pub(crate) async fn alertmanagers() -> Json<Value> {
    success(json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }))
}

//! What an operator may ask the store for: a snapshot, the deletion of series, giving freed space back.
//!
//! Off unless the process was started with it, as in Prometheus: whoever reaches the address could delete.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use homeostat_model::error_chain::chain;
use homeostat_promql::SourceError;
use serde_json::{Value, json};

use super::{
    PrometheusApi, SeriesBackend,
    error::{ApiError, ErrorKind},
    language,
    params::Params,
};

/// Takes a snapshot of everything and names it.
pub(crate) async fn snapshot(State(api): State<Arc<PrometheusApi>>) -> Result<Json<Value>, ApiError> {
    let name = run(&api, SeriesBackend::snapshot).await?;
    Ok(Json(json!({ "status": "success", "data": { "name": name } })))
}

/// Deletes samples of the series that are meant by `match[]`, from `start` to `end`.
pub(crate) async fn delete_series(
    State(api): State<Arc<PrometheusApi>>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let params = Params::of(request).await?;
    let selectors = language::selectors(&params)?;
    if selectors.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let (start_ms, end_ms) = (params.time_or("start", i64::MIN)?, params.time_or("end", i64::MAX)?);
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    run(&api, move |backend| backend.delete(&selectors, start_ms, end_ms)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rewrites blocks, so that the space of deleted samples is free.
pub(crate) async fn clean_tombstones(State(api): State<Arc<PrometheusApi>>) -> Result<StatusCode, ApiError> {
    run(&api, SeriesBackend::compact).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the configuration again, and answers once it is in force.
pub(crate) async fn reload(State(api): State<Arc<PrometheusApi>>) -> Result<(), (StatusCode, String)> {
    if !api.policy.lifecycle {
        let text = "Lifecycle API is not enabled; start the server with `--enable-lifecycle`, or send it a SIGHUP\n";
        return Err((StatusCode::FORBIDDEN, text.to_owned()));
    }
    let refused = |problem| (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {problem}\n"));
    api.backend.reload().await.map_err(refused)
}

/// Runs what may take long on a thread of its own.
async fn run<T: Send + 'static>(
    api: &PrometheusApi,
    work: impl FnOnce(&dyn SeriesBackend) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, ApiError> {
    if !api.policy.admin {
        let text = "admin APIs disabled; start the server with `--enable-admin-api`";
        return Err(ApiError::new(ErrorKind::Unavailable, text));
    }
    let backend = Arc::clone(&api.backend);
    let done = tokio::task::spawn_blocking(move || work(&*backend)).await;
    let internal = |text: String| ApiError::new(ErrorKind::Internal, text);
    done.map_err(|error| internal(error.to_string()))?.map_err(|error| internal(chain(&error)))
}

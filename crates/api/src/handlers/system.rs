//! The process itself: configuration, audit, health, metrics, and the description of this API.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use homeostat_wire::exposition;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::Answered;
use crate::{
    auth::Identity,
    backend::{AuditEntry, ConfigStatus, Health},
    extract::Params,
    limits::{PAGE_DEFAULT, PAGE_MAX},
    openapi,
    problem::Problem,
    shared::Shared,
};

pub(crate) async fn config(State(shared): State<Arc<Shared>>) -> Json<ConfigStatus> {
    Json(shared.backend.config())
}

pub(crate) async fn reload(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
) -> Json<ConfigStatus> {
    Json(shared.backend.reload(identity.actor).await)
}

/// How much of the audit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    limit: Option<usize>,
}

pub(crate) async fn audit(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<AuditQuery>,
) -> Answered<Vec<AuditEntry>> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` lies between 1 and {PAGE_MAX}, {limit} does not")));
    }
    Ok(Json(shared.backend.audit(limit).await?))
}

pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Json<Health> {
    Json(shared.backend.health())
}

pub(crate) async fn healthy() -> &'static str {
    "the process runs\n"
}

pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Result<&'static str, Problem> {
    let health = shared.backend.health();
    if health.ready {
        return Ok("ready\n");
    }
    let broken: Vec<String> =
        health.parts.iter().filter(|part| !part.ok).map(|part| format!("{}: {}", part.part, part.detail)).collect();
    let detail = if broken.is_empty() { "not ready yet".to_owned() } else { broken.join("; ") };
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail))
}

pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = String::new();
    shared.backend.metrics(&mut text);
    shared.counters.write(&shared.connections, &mut text);
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE));
    response
}

pub(crate) async fn openapi() -> Json<serde_json::Value> {
    Json(openapi::document())
}

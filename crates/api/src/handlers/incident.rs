//! Reading the past: incidents, their recordings, and the bundle of everything.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use homeostat_model::{IncidentId, incident::BlackBox};
use http::{HeaderValue, header};
use serde::Deserialize;

use super::Answered;
use crate::{
    backend::IncidentDetail,
    body::{BUNDLE_FORMAT, Bundle, IncidentPage},
    extract::{Params, Segments, incident_id},
    limits::{PAGE_DEFAULT, PAGE_MAX},
    problem::Problem,
    shared::Shared,
};

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// Only incidents older than this one.
    before: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn incidents(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<PageQuery>,
) -> Answered<IncidentPage> {
    let before = query.before.as_deref().map(incident_id).transpose()?;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("`limit` lies between 1 and {PAGE_MAX}, {limit} does not")));
    }
    // One more than asked for tells whether there is a next page.
    let mut incidents = shared.backend.incidents(before, limit + 1).await?;
    let more = incidents.len() > limit;
    incidents.truncate(limit);
    let next_before = incidents.last().map(|incident| incident.id).filter(|_| more);
    Ok(Json(IncidentPage { incidents, next_before }))
}

pub(crate) async fn incident(State(shared): State<Arc<Shared>>, id: Segments<String>) -> Answered<IncidentDetail> {
    detail(&shared, incident_id(&id.0)?).await.map(Json)
}

pub(crate) async fn black_box(State(shared): State<Arc<Shared>>, id: Segments<String>) -> Answered<BlackBox> {
    let id = incident_id(&id.0)?;
    let found = shared.backend.black_box(id).await?;
    found.map(Json).ok_or_else(|| Problem::not_found(format!("no recording is kept with {id}")))
}

pub(crate) async fn bundle(State(shared): State<Arc<Shared>>, id: Segments<String>) -> Result<Response, Problem> {
    let id = incident_id(&id.0)?;
    let bundle = Bundle {
        format: BUNDLE_FORMAT.to_owned(),
        written_by: concat!("homeostat ", env!("CARGO_PKG_VERSION")).to_owned(),
        detail: detail(&shared, id).await?,
        black_box: shared.backend.black_box(id).await?,
    };
    let mut response = Json(bundle).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{id}.json\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

async fn detail(shared: &Shared, id: IncidentId) -> Result<IncidentDetail, Problem> {
    let found = shared.backend.incident(id).await?;
    found.ok_or_else(|| Problem::not_found(format!("there is no {id}; `/homeostat/v1/incidents` lists those kept")))
}

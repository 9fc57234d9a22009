//! `GET /homeostat/v1/series/top`: what the series in memory are made of, largest first.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use homeostat_model::labels::METRIC_NAME;
use homeostat_store_series::SeriesStore;
use serde::{Deserialize, Serialize};

use super::door::{Door, OPENING};

/// Entries of each list unless asked otherwise.
pub const ENTRIES_DEFAULT: usize = 20;
/// Entries of each list at most: a thousand names are 100 KiB.
pub const ENTRIES_MAX: usize = 1_000;

/// What the series in memory are made of. Lists are sorted by their number, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesTop {
    /// Series in memory.
    pub series: u64,
    /// Metrics with most series.
    pub metrics: Vec<Counted>,
    /// Metrics that have most series more than in the newest block; empty as long as there is no block.
    pub growth: Vec<Counted>,
    /// Labels with most values.
    pub labels: Vec<Counted>,
}

/// A name with its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Metric or label.
    pub name: String,
    /// Series or values.
    pub count: u64,
}

#[derive(Debug, Deserialize)]
struct Asked {
    limit: Option<usize>,
}

/// The route.
pub(super) fn router(door: &Arc<Door>) -> Router {
    Router::new().route("/homeostat/v1/series/top", get(top)).with_state(Arc::clone(door))
}

async fn top(State(door): State<Arc<Door>>, Query(asked): Query<Asked>) -> Response {
    let limit = asked.limit.unwrap_or(ENTRIES_DEFAULT).min(ENTRIES_MAX);
    let look = move || door.store().map(|store| look(store, limit)).ok_or_else(|| OPENING.to_owned())?;
    match tokio::task::spawn_blocking(look).await.map_err(|error| error.to_string()).flatten() {
        Ok(top) => Json(top).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "detail": why }))).into_response(),
    }
}

fn look(store: &SeriesStore, limit: usize) -> Result<SeriesTop, String> {
    let counted = |entry: homeostat_store_series::TopEntry| Counted { name: entry.text, count: entry.count };
    let metrics = store.top_values(METRIC_NAME, usize::MAX);
    let before = store.top_values_before(METRIC_NAME, usize::MAX).map_err(|error| error.to_string())?;
    let before: HashMap<String, u64> = before.into_iter().map(|entry| (entry.text, entry.count)).collect();
    let mut growth = Vec::new();
    if !before.is_empty() {
        let grown = metrics.iter().filter_map(|entry| {
            let count = entry.count.checked_sub(before.get(&entry.text).copied().unwrap_or(0))?;
            (count > 0).then(|| Counted { name: entry.text.clone(), count })
        });
        growth.extend(grown);
        growth.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        growth.truncate(limit);
    }
    Ok(SeriesTop {
        series: store.stats().head_series,
        metrics: metrics.into_iter().take(limit).map(counted).collect(),
        growth,
        labels: store.top_labels(limit).into_iter().map(counted).collect(),
    })
}

//! Which series, labels and metrics there are: `series`, `labels`, `label/…/values`, `metadata`, `query_exemplars`.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    response::Response,
};
use homeostat_model::TimeMs;
use homeostat_promql::Matcher;

use super::{
    PrometheusApi,
    backend::{ExemplarSeries, MetricMetadata, Selection, Stop},
    error::ApiError,
    json::{self, Remarks, push_labels, push_text},
    language, names,
    number::{push_time, push_value},
    params::Params,
    stream::{Gone, Writer},
};

/// What the index is asked for.
struct Asked {
    selectors: Vec<Vec<Matcher>>,
    start_ms: TimeMs,
    end_ms: TimeMs,
    limit: Option<usize>,
}

impl Asked {
    fn of(params: &Params) -> Result<Self, ApiError> {
        let asked = Self {
            start_ms: params.time_or("start", i64::MIN)?,
            end_ms: params.time_or("end", i64::MAX)?,
            limit: params.limit()?,
            selectors: language::selectors(params)?,
        };
        if asked.end_ms < asked.start_ms {
            return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
        }
        Ok(asked)
    }

    /// One more than the client wants tells whether there are more.
    fn selection<'a>(&'a self, stop: &'a Stop) -> Selection<'a> {
        let limit = self.limit.map(|limit| limit.saturating_add(1));
        Selection { selectors: &self.selectors, start_ms: self.start_ms, end_ms: self.end_ms, limit, stop }
    }

    /// Cuts a list at the limit, and says so.
    fn cut<T>(&self, list: &mut Vec<T>) -> Remarks {
        let mut remarks = Remarks::default();
        if let Some(limit) = self.limit
            && limit < list.len()
        {
            list.truncate(limit);
            remarks.truncated();
        }
        remarks
    }
}

pub(crate) async fn series(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Response, ApiError> {
    let wanted = api.wanted(request.headers());
    let params = Params::of(request).await?;
    let asked = Asked::of(&params)?;
    if asked.selectors.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let backend = Arc::clone(&api.backend);
    api.turns
        .run(wanted, move |stop| {
            let mut found = backend.series(asked.selection(stop)).map_err(|error| ApiError::of_source(&error, stop))?;
            let remarks = asked.cut(&mut found);
            Ok(move |writer: &mut Writer| {
                json::success(writer, &remarks, |writer| json::list(writer, &found, push_labels))
            })
        })
        .await
}

pub(crate) async fn label_names(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Response, ApiError> {
    let wanted = api.wanted(request.headers());
    let params = Params::of(request).await?;
    let asked = Asked::of(&params)?;
    let backend = Arc::clone(&api.backend);
    api.turns
        .run(wanted, move |stop| {
            let found =
                backend.label_names(asked.selection(stop)).map_err(|error| ApiError::of_source(&error, stop))?;
            Ok(texts(asked, found))
        })
        .await
}

pub(crate) async fn label_values(
    State(api): State<Arc<PrometheusApi>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let name = names::unescape(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
    }
    let wanted = api.wanted(request.headers());
    let params = Params::of(request).await?;
    let asked = Asked::of(&params)?;
    let backend = Arc::clone(&api.backend);
    api.turns
        .run(wanted, move |stop| {
            let found = backend
                .label_values(&name, asked.selection(stop))
                .map_err(|error| ApiError::of_source(&error, stop))?;
            Ok(texts(asked, found))
        })
        .await
}

/// Writes a list of names or values.
fn texts(asked: Asked, mut found: Vec<String>) -> impl FnOnce(&mut Writer) -> Result<(), Gone> {
    let remarks = asked.cut(&mut found);
    move |writer: &mut Writer| {
        json::success(writer, &remarks, |writer| json::list(writer, &found, |out, text| push_text(out, text)))
    }
}

pub(crate) async fn exemplars(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Response, ApiError> {
    let wanted = api.wanted(request.headers());
    let params = Params::of(request).await?;
    let (start_ms, end_ms) = (params.time_or("start", i64::MIN)?, params.time_or("end", i64::MAX)?);
    if end_ms < start_ms {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let selectors = language::selectors_within(&api.parse(params.get("query"))?);
    let backend = Arc::clone(&api.backend);
    api.turns
        .run(wanted, move |stop| {
            // A query without selectors has no exemplars; without selectors the backend would give those of all series.
            let found = if selectors.is_empty() {
                Vec::new()
            } else {
                let selection = Selection { selectors: &selectors, start_ms, end_ms, limit: None, stop };
                backend.exemplars(selection).map_err(|error| ApiError::of_source(&error, stop))?
            };
            Ok(move |writer: &mut Writer| {
                json::success(writer, &Remarks::default(), |writer| json::list(writer, &found, push_exemplars))
            })
        })
        .await
}

fn push_exemplars(out: &mut Vec<u8>, series: &ExemplarSeries) {
    out.extend_from_slice(br#"{"seriesLabels":"#);
    push_labels(out, &series.labels);
    out.extend_from_slice(br#","exemplars":["#);
    for (index, exemplar) in series.exemplars.iter().enumerate() {
        out.extend_from_slice(if index == 0 { br#"{"labels":"# } else { br#",{"labels":"# });
        push_labels(out, &exemplar.labels);
        out.extend_from_slice(br#","value":""#);
        push_value(out, exemplar.value);
        out.extend_from_slice(br#"","timestamp":"#);
        push_time(out, exemplar.t_ms);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}

pub(crate) async fn metadata(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Response, ApiError> {
    let wanted = api.wanted(request.headers());
    let params = Params::of(request).await?;
    let limit = params.limit()?;
    // We know one description of a metric: one a metric is always within the limit.
    params.count("limit_per_metric")?;
    let metric = Some(params.get("metric").to_owned()).filter(|metric| !metric.is_empty());
    let backend = Arc::clone(&api.backend);
    api.turns
        .run(wanted, move |stop| {
            let found =
                backend.metadata(metric.as_deref(), limit).map_err(|error| ApiError::of_source(&error, stop))?;
            Ok(move |writer: &mut Writer| {
                json::success(writer, &Remarks::default(), |writer| write_metadata(writer, &found))
            })
        })
        .await
}

fn write_metadata(writer: &mut Writer, found: &[MetricMetadata]) -> Result<(), Gone> {
    writer.buffer.push(b'{');
    for (index, metric) in found.iter().enumerate() {
        let out = &mut writer.buffer;
        if index > 0 {
            out.push(b',');
        }
        push_text(out, &metric.metric);
        out.extend_from_slice(br#":[{"type":"#);
        push_text(out, metric.kind.as_str());
        out.extend_from_slice(br#","help":"#);
        push_text(out, &metric.help);
        out.extend_from_slice(br#","unit":"#);
        push_text(out, &metric.unit);
        out.extend_from_slice(b"}]");
        writer.checkpoint()?;
    }
    writer.buffer.push(b'}');
    Ok(())
}

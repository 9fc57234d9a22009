//! `query` and `query_range`: from parameters to an evaluated answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    response::Response,
};
use homeostat_model::TimeMs;
use homeostat_promql::{
    Expr, NoteLevel, SourceError,
    ast::ValueType,
    eval::{Answer, EvalError, Options, Value, evaluate_instant, evaluate_range},
};
use http::HeaderMap;
use serde_json::json;

use super::{
    PrometheusApi,
    backend::Stop,
    error::{ApiError, ErrorKind},
    json::{self, Remarks},
    limits::RANGE_POINTS_MAX,
    now_ms,
    params::Params,
    result,
    stream::{Gone, Writer},
    turns::Wanted,
};

/// What both kinds of queries are asked with.
struct Asked {
    /// As written: remarks name places in it.
    text: String,
    expr: Expr,
    options: Options,
    /// Series in the answer at most.
    limit: Option<usize>,
    with_stats: bool,
    wanted: Wanted,
    began: Instant,
}

impl Asked {
    fn of(api: &PrometheusApi, headers: &HeaderMap, params: &Params) -> Result<Self, ApiError> {
        let began = Instant::now();
        let limit = params.limit()?;
        let mut wanted = api.wanted(headers);
        if let Some(timeout_ms) = params.duration_if("timeout")? {
            let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
            wanted.timeout = wanted.timeout.min(timeout);
        }
        let mut options = api.policy.options;
        if let Some(lookback_ms) = params.duration_if("lookback_delta")? {
            if lookback_ms <= 0 {
                return Err(ApiError::parameter("lookback_delta", "it must be positive"));
            }
            options.lookback_ms = lookback_ms;
        }
        let text = params.get("query").to_owned();
        let expr = api.parse(&text)?;
        let with_stats = !params.get("stats").is_empty();
        Ok(Self { text, expr, options, limit, with_stats, wanted, began })
    }

    /// Evaluates when it is its turn, and writes the answer.
    async fn answer(
        self,
        api: &Arc<PrometheusApi>,
        evaluate: impl FnOnce(&PrometheusApi, &Self, &Stop) -> Result<Answer, EvalError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let held = Arc::clone(api);
        let wanted = self.wanted.clone();
        let queued = Instant::now();
        let work = move |stop: &Stop| {
            let waited = queued.elapsed();
            let evaluating = Instant::now();
            let mut answer = evaluate(&held, &self, stop).map_err(|error| failed(error, stop))?;
            let evaluated = evaluating.elapsed();
            let mut remarks = self.remarks(&answer);
            if self.cut(&mut answer.value) {
                remarks.truncated();
            }
            let stats = self.with_stats.then(|| self.stats(waited, evaluated));
            Ok(move |writer: &mut Writer| {
                json::success(writer, &remarks, |writer| write_data(writer, &answer.value, stats.as_deref()))
            })
        };
        api.turns.run(wanted, work).await
    }

    fn remarks(&self, answer: &Answer) -> Remarks {
        let mut remarks = Remarks::default();
        for note in answer.notes.iter() {
            let list = match note.level {
                NoteLevel::Warning => &mut remarks.warnings,
                NoteLevel::Info => &mut remarks.infos,
            };
            list.push(note.render(&self.text));
        }
        remarks.shortened()
    }

    /// Cuts the result at the limit; true when something was cut off.
    fn cut(&self, value: &mut Value) -> bool {
        let Some(limit) = self.limit else { return false };
        let before = match value {
            Value::Scalar { .. } | Value::Text { .. } => return false,
            Value::Vector(elements) => {
                let before = elements.len();
                elements.truncate(limit);
                before
            }
            Value::Matrix(series) => {
                let before = series.len();
                series.truncate(limit);
                before
            }
        };
        limit < before
    }

    /// Where the time went, under the names that explorers know.
    fn stats(&self, waited: Duration, evaluated: Duration) -> String {
        let prepared = self.began.elapsed().saturating_sub(waited + evaluated);
        let timings = json!({
            "queryPreparationTime": prepared.as_secs_f64(),
            "execQueueTime": waited.as_secs_f64(),
            "innerEvalTime": evaluated.as_secs_f64(),
            "evalTotalTime": evaluated.as_secs_f64(),
            "execTotalTime": self.began.elapsed().as_secs_f64(),
        });
        json!({ "timings": timings }).to_string()
    }
}

pub(crate) async fn instant(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let params = Params::of(request).await?;
    let t_ms = params.time_or("time", now_ms())?;
    let asked = Asked::of(&api, &headers, &params)?;
    let evaluate = move |api: &PrometheusApi, asked: &Asked, stop: &Stop| {
        let source = api.backend.source(stop);
        evaluate_instant(&*source, &asked.expr, t_ms, &asked.options, &|| stop.reached())
    };
    asked.answer(&api, evaluate).await
}

pub(crate) async fn range(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Response, ApiError> {
    let headers = request.headers().clone();
    let params = Params::of(request).await?;
    let steps = steps(&params)?;
    let asked = Asked::of(&api, &headers, &params)?;
    let kind = asked.expr.value_type();
    if matches!(kind, ValueType::Text | ValueType::Matrix) {
        let kind = kind.documented();
        let text = format!("invalid expression type {kind:?} for range query, must be Scalar or instant Vector");
        return Err(ApiError::parameter("query", text));
    }
    let evaluate = move |api: &PrometheusApi, asked: &Asked, stop: &Stop| {
        let source = api.backend.source(stop);
        evaluate_range(&*source, &asked.expr, steps, &asked.options, &|| stop.reached())
    };
    asked.answer(&api, evaluate).await
}

/// Start, end and step of a range query.
fn steps(params: &Params) -> Result<(TimeMs, TimeMs, i64), ApiError> {
    let (start_ms, end_ms) = (params.time("start")?, params.time("end")?);
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = params.duration("step")?;
    if step_ms <= 0 {
        let text = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", text));
    }
    if i128::from(end_ms) - i128::from(start_ms) > i128::from(step_ms) * i128::from(RANGE_POINTS_MAX) {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok((start_ms, end_ms, step_ms))
}

fn failed(error: EvalError, stop: &Stop) -> ApiError {
    match error {
        EvalError::Cancelled => ApiError::stopped(stop),
        EvalError::Source(error @ SourceError::Storage(_)) => ApiError::of_source(&error, stop),
        error => ApiError::new(ErrorKind::Execution, error.to_string()),
    }
}

fn write_data(writer: &mut Writer, value: &Value, stats: Option<&str>) -> Result<(), Gone> {
    writer.buffer.extend_from_slice(br#"{"resultType":""#);
    let kind = match value {
        Value::Scalar { .. } => ValueType::Scalar,
        Value::Text { .. } => ValueType::Text,
        Value::Vector(_) => ValueType::Vector,
        Value::Matrix(_) => ValueType::Matrix,
    };
    writer.buffer.extend_from_slice(kind.as_str().as_bytes());
    writer.buffer.extend_from_slice(br#"","result":"#);
    result::write(writer, value)?;
    if let Some(stats) = stats {
        writer.buffer.extend_from_slice(br#","stats":"#);
        writer.buffer.extend_from_slice(stats.as_bytes());
    }
    writer.buffer.push(b'}');
    Ok(())
}

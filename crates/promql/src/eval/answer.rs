//! The two questions, at an instant and over a range, and their answer.

use std::{cell::RefCell, sync::Arc};

use homeostat_model::{Histogram, Labels, SampleValue, TimeMs};

use super::{
    budget::Budget,
    error::{EvalError, execution},
    evaluator::{Evaluator, IsCancelled, Matrix, Query},
    label_functions,
    limits::Options,
    raw::RawSeries,
    series::Series,
    spared::Buckets,
    steps::Steps,
};
use crate::{
    ast::{Expr, ValueType},
    note::Notes,
    source::SeriesSource,
};

/// What a query gives.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its value.
    pub value: Value,
    /// What the reader should know beside it.
    pub notes: Notes,
}

/// The value of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number, of an instant query.
    Scalar {
        /// The instant.
        t_ms: TimeMs,
        /// The number.
        value: f64,
    },
    /// A text, of an instant query.
    Text {
        /// The instant.
        t_ms: TimeMs,
        /// The text.
        text: String,
    },
    /// Elements with different labels, of an instant query; in the order of a sorting or ranking function.
    Vector(Vec<VectorElement>),
    /// Series sorted by their labels, of a range query or of a range at an instant.
    Matrix(Vec<MatrixSeries>),
}

/// An element of a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorElement {
    /// Its labels.
    pub labels: Labels,
    /// The instant of the query.
    pub t_ms: TimeMs,
    /// Its value.
    pub value: SampleValue,
}

/// A series of a matrix. No instant stands in both columns.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    /// Its labels.
    pub labels: Labels,
    /// Numbers in order of time.
    pub floats: Vec<(TimeMs, f64)>,
    /// Histograms in order of time.
    pub histograms: Vec<(TimeMs, Arc<Histogram>)>,
}

/// Evaluates an expression at an instant. `is_cancelled` is asked often, at least once per series and on any thread that works; once it says yes the
/// query ends with [`EvalError::Cancelled`].
pub fn evaluate_instant(
    source: &dyn SeriesSource,
    expr: &Expr,
    t_ms: TimeMs,
    options: &Options,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Answer, EvalError> {
    let query = query(source, options, is_cancelled, (t_ms, t_ms, 0));
    let ev = Evaluator { query: &query, steps: Steps::instant(t_ms), buckets: Buckets::Kept };
    let value = match expr.value_type() {
        ValueType::Text => Value::Text { t_ms, text: label_functions::text(expr)?.to_owned() },
        ValueType::Scalar => Value::Scalar { t_ms, value: ev.scalar(expr)?.at(0) },
        ValueType::Matrix => {
            let mut series = ev.raw(expr)?;
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            Value::Matrix(series.into_iter().map(MatrixSeries::from).collect())
        }
        ValueType::Vector => Value::Vector(elements(finished(&ev, expr)?, t_ms)),
    };
    check_points(&value, options)?;
    Ok(Answer { value, notes: query.notes.into_inner() })
}

/// Evaluates an expression at `start_ms`, `start_ms + step_ms`, … up to `end_ms`. The step is positive.
pub fn evaluate_range(
    source: &dyn SeriesSource,
    expr: &Expr,
    (start_ms, end_ms, step_ms): (TimeMs, TimeMs, i64),
    options: &Options,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Answer, EvalError> {
    let query = query(source, options, is_cancelled, (start_ms, end_ms, step_ms));
    let ev = Evaluator { query: &query, steps: Steps::range(start_ms, end_ms, step_ms)?, buckets: Buckets::Kept };
    if matches!(expr.value_type(), ValueType::Text | ValueType::Matrix) {
        let kind = if expr.value_type() == ValueType::Text { "string" } else { "range vector" };
        return Err(execution(format!(
            "invalid expression type {kind:?} for range query, must be Scalar or instant Vector"
        )));
    }
    let mut series = finished(&ev, expr)?;
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let value = Value::Matrix(series.into_iter().map(|series| matrix_series(series, &ev.steps)).collect());
    check_points(&value, options)?;
    Ok(Answer { value, notes: query.notes.into_inner() })
}

fn query<'q>(
    source: &'q dyn SeriesSource,
    options: &Options,
    is_cancelled: &'q IsCancelled<'q>,
    (start_ms, end_ms, step_ms): (TimeMs, TimeMs, i64),
) -> Query<'q> {
    Query {
        source,
        options: *options,
        start_ms,
        end_ms,
        step_ms,
        is_cancelled,
        budget: Budget::new(options.limits),
        notes: RefCell::new(Notes::default()),
    }
}

/// All series of a query, with their final names.
fn finished(ev: &Evaluator<'_>, expr: &Expr) -> Result<Vec<Series>, EvalError> {
    let mut matrix = Matrix::new(ev.query);
    ev.any(expr, &mut |series| {
        series.finish_name();
        matrix.push(series)
    })?;
    Ok(matrix.merged()?.series)
}

fn elements(series: Vec<Series>, t_ms: TimeMs) -> Vec<VectorElement> {
    let elements = series.into_iter().filter_map(|series| {
        let value = series.value(0)?;
        Some(VectorElement { labels: series.labels, t_ms, value })
    });
    elements.collect()
}

fn matrix_series(series: Series, steps: &Steps) -> MatrixSeries {
    let range = series.first()..series.end();
    let floats = range.clone().filter_map(|step| Some((steps.time(step), series.float(step)?))).collect();
    let histograms = range.filter_map(|step| Some((steps.time(step), Arc::clone(series.histogram(step)?)))).collect();
    MatrixSeries { labels: series.labels, floats, histograms }
}

impl From<RawSeries> for MatrixSeries {
    fn from(raw: RawSeries) -> Self {
        Self { labels: raw.labels, floats: raw.floats, histograms: raw.histograms }
    }
}

fn check_points(value: &Value, options: &Options) -> Result<(), EvalError> {
    let limit = options.limits.points_max;
    let points = match value {
        Value::Scalar { .. } | Value::Text { .. } => 1,
        Value::Vector(elements) => elements.len(),
        Value::Matrix(series) => series.iter().map(|series| series.floats.len() + series.histograms.len()).sum(),
    };
    if points as u64 > limit { Err(EvalError::TooManyPoints { limit }) } else { Ok(()) }
}

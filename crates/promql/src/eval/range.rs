//! Ranges: the windows of a range selector or a subquery, and what functions make of them.
//!
//! ```text
//! series ──windows──▶ Asker: the function's answer at each step ──▶ Giver: names, notes, the sink
//! ```
//!
//! Asking is a matter of one series, so that several may be asked about at a time (`shared`); giving keeps their order.

mod asking;
mod giving;
mod shared;

use self::{
    asking::{Asker, Asking, Question},
    giving::Giver,
};
use super::{
    columns::{Columns, Visitor, Windows},
    error::{EvalError, execution},
    evaluator::{Evaluator, Matrix, Sink},
    range_functions::{RangeFunction, check_factors},
    scalar::Scalar,
    series::Series,
    steps::Steps,
    window::Window,
};
use crate::{
    ast::{ByteSpan, Call, Expr, ExprKind, Extend, MatrixSelector, Subquery, ValueType},
    functions::{anchored_functions, smoothed_functions},
};

/// Visits the windows of all series of a range.
pub(super) fn visit(ev: &Evaluator<'_>, range: &Expr, visitor: &mut impl Visitor) -> Result<(), EvalError> {
    match &range.unwrap_parens().kind {
        ExprKind::Matrix(matrix) => visit_selected(ev, matrix, visitor),
        ExprKind::Subquery(subquery) => visit_evaluated(ev, subquery, visitor),
        _ => Err(execution("this expression is no range")),
    }
}

fn visit_selected(ev: &Evaluator<'_>, matrix: &MatrixSelector, visitor: &mut impl Visitor) -> Result<(), EvalError> {
    let selector = &matrix.vector;
    let windows = selected_windows(ev, matrix)?;
    let mut columns = Columns::new(ev.query);
    for selected in ev.select(&selector.matchers, windows.looked_at())? {
        ev.check_cancelled()?;
        visitor.begin(&Series::new(selected.labels, false));
        columns.slide(ev.runs(selected.runs), &windows, visitor)?;
        visitor.end()?;
    }
    Ok(())
}

/// The windows of a range selector.
fn selected_windows(ev: &Evaluator<'_>, matrix: &MatrixSelector) -> Result<Windows, EvalError> {
    let selector = &matrix.vector;
    Ok(Windows::new(ev, ev.shifted(&selector.shift)?, ev.positive_ms(&matrix.range)?, selector.extend))
}

fn visit_evaluated(ev: &Evaluator<'_>, subquery: &Subquery, visitor: &mut impl Visitor) -> Result<(), EvalError> {
    let windows = Windows::new(ev, ev.shifted(&subquery.shift)?, ev.positive_ms(&subquery.range)?, Extend::None);
    let steps = inner_steps(ev, subquery, &windows)?;
    let mut columns = Columns::new(ev.query);
    ev.at(steps).needing_buckets().any(&subquery.expr, &mut |series| {
        visitor.begin(series);
        columns.slide_evaluated(series, &steps, &windows, visitor)?;
        visitor.end()
    })
}

/// The steps of a subquery: multiples of its step within all of its windows, the same whenever it is asked.
pub(super) fn inner_steps(ev: &Evaluator<'_>, subquery: &Subquery, windows: &Windows) -> Result<Steps, EvalError> {
    let step_ms = match &subquery.step {
        Some(step) => ev.positive_ms(step)?,
        None => ev.query.options.subquery_step_ms,
    };
    let after_ms = windows.reach_start_ms(0);
    let first_ms = after_ms.div_euclid(step_ms).saturating_mul(step_ms).saturating_add(step_ms);
    Steps::range(first_ms, windows.reach_end_ms(windows.last()), step_ms)
}

/// Hands on the results of a function over a range.
pub(super) fn rows(ev: &Evaluator<'_>, call: &Call, span: ByteSpan, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let loses_name = !matches!(call.function.name, "last_over_time" | "first_over_time");
    if !loses_name || ev.delays_names() || call.args.iter().any(fixes_name) {
        return called(ev, call, span, loses_name, sink);
    }
    // Series of several metrics may be one once the name is gone.
    let mut matrix = Matrix::new(ev.query);
    called(ev, call, span, loses_name, &mut |series| matrix.push(series))?;
    matrix.merged()?.drain(sink)
}

fn fixes_name(range: &Expr) -> bool {
    matches!(&range.unwrap_parens().kind, ExprKind::Matrix(matrix) if matrix.vector.metric().is_some())
}

fn called(
    ev: &Evaluator<'_>,
    call: &Call,
    span: ByteSpan,
    loses_name: bool,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let name = call.function.name;
    let function = RangeFunction::find(name).ok_or_else(|| execution(format!("function {name} is unknown")))?;
    let mut range = None;
    let mut params = Vec::new();
    for arg in &call.args {
        match arg.value_type() {
            ValueType::Matrix => range = Some(arg),
            _ => params.push(ev.scalar(arg)?),
        }
    }
    let range = range.ok_or_else(|| execution(format!("function {name} needs a range")))?;
    check_extend(name, range)?;
    let refusal = if name == "double_exponential_smoothing" { refused_factors(ev, &params) } else { None };
    let args = call.args.iter().map(|arg| arg.unwrap_parens().span).collect();
    let question = Question::new(name, params, refusal, span, args);
    let merges = !call.args.iter().any(fixes_name);
    let mut giver = Giver::new(ev, &question, loses_name, merges, sink);
    if let ExprKind::Matrix(matrix) = &range.unwrap_parens().kind {
        return shared::rows(ev, matrix, &question, &mut giver);
    }
    visit(ev, range, &mut Asking::new(Asker::new(&question, function), &mut giver))
}

fn check_extend(name: &str, range: &Expr) -> Result<(), EvalError> {
    let ExprKind::Matrix(matrix) = &range.unwrap_parens().kind else { return Ok(()) };
    let (modifier, functions) = match matrix.vector.extend {
        Extend::None => return Ok(()),
        Extend::Anchored => ("anchored", anchored_functions()),
        Extend::Smoothed => ("smoothed", smoothed_functions()),
    };
    if functions.contains(&name) {
        return Ok(());
    }
    let functions = functions.join(", ");
    Err(execution(format!("{modifier} modifier can only be used with: {functions} - not with {name}")))
}

/// Why the factors of a smoothing are none. It is told as soon as there is a series to smooth.
fn refused_factors(ev: &Evaluator<'_>, params: &[Scalar]) -> Option<String> {
    let [smoothing, trend, ..] = params else { return None };
    let mut checks = (0..ev.steps.count).map(|step| check_factors(&[smoothing.at(step), trend.at(step)]));
    checks.find_map(|check| check.err().map(|error| error.to_string()))
}

/// `absent_over_time(range)`: the steps at which no series has a sample.
pub(super) fn absent_steps(ev: &Evaluator<'_>, range: &Expr) -> Result<Vec<bool>, EvalError> {
    let mut presence = Presence { absent: vec![true; ev.steps.count] };
    visit(ev, range, &mut presence)?;
    Ok(presence.absent)
}

struct Presence {
    absent: Vec<bool>,
}

impl Visitor for Presence {
    fn begin(&mut self, _: &Series) {}

    fn visit(&mut self, step: usize, _: &Window<'_>) {
        if let Some(cell) = self.absent.get_mut(step) {
            *cell = false;
        }
    }

    fn end(&mut self) -> Result<(), EvalError> {
        Ok(())
    }
}

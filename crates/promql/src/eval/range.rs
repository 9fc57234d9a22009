//! Ranges: the windows of a range selector or a subquery, and what functions make of them.

use homeostat_model::Labels;

use super::{
    columns::{Columns, Visitor, Windows},
    error::{EvalError, execution, same_labels},
    evaluator::{Evaluator, Matrix, Sink},
    range_functions::{RangeFunction, check_factors},
    scalar::Scalar,
    series::{Series, is_metadata},
    steps::Steps,
    window::{Place, Window},
};
use crate::{
    ast::{ByteSpan, Call, Expr, ExprKind, Extend, MatrixSelector, Subquery, ValueType},
    functions::{anchored_functions, smoothed_functions},
    map::HashSet,
    quote::quote,
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
    let windows = Windows::new(ev, ev.shifted(&selector.shift)?, ev.positive_ms(&matrix.range)?, selector.extend);
    let mut columns = Columns::new(ev);
    for selected in ev.select(&selector.matchers, windows.looked_at())? {
        ev.check_cancelled()?;
        visitor.begin(&Series::new(selected.labels, false));
        columns.slide(ev.runs(selected.runs), &windows, visitor)?;
        visitor.end()?;
    }
    Ok(())
}

fn visit_evaluated(ev: &Evaluator<'_>, subquery: &Subquery, visitor: &mut impl Visitor) -> Result<(), EvalError> {
    let windows = Windows::new(ev, ev.shifted(&subquery.shift)?, ev.positive_ms(&subquery.range)?, Extend::None);
    let steps = inner_steps(ev, subquery, &windows)?;
    let mut columns = Columns::new(ev);
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
    let args: Vec<_> = call.args.iter().map(|arg| arg.unwrap_parens().span).collect();
    let mut caller = Caller {
        ev,
        function,
        buffer: params.iter().map(|param| param.at(0)).collect(),
        varies: params.iter().any(|param| matches!(param, Scalar::Column(_))),
        params,
        call: span,
        args: &args,
        loses_name,
        merges: !call.args.iter().any(fixes_name),
        counts: matches!(name, "rate" | "increase"),
        doubted: None,
        seen: HashSet::default(),
        refusal,
        asked: false,
        metric: String::new(),
        from: Series::default(),
        result: Series::default(),
        sink,
    };
    visit(ev, range, &mut caller)
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

/// Asks the function about each window and hands on what it answers.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the function or the series")]
struct Caller<'c, 's, 'q> {
    ev: &'c Evaluator<'q>,
    function: RangeFunction,
    params: Vec<Scalar>,
    buffer: Vec<f64>,
    varies: bool,
    call: ByteSpan,
    args: &'c [ByteSpan],
    loses_name: bool,
    /// Results of numbers are those of a counter.
    counts: bool,
    /// The metric last told not to look like a counter.
    doubted: Option<String>,
    /// Results with the same labels are put together by who gets them.
    merges: bool,
    /// Labels of results, where names go at once and types and units may be missed.
    seen: HashSet<Labels>,
    /// Why the function cannot be asked at all.
    refusal: Option<String>,
    asked: bool,
    metric: String,
    from: Series,
    result: Series,
    sink: &'c mut Sink<'s>,
}

impl Visitor for Caller<'_, '_, '_> {
    fn begin(&mut self, series: &Series) {
        self.metric.clear();
        self.metric.push_str(series.labels.metric().unwrap_or_default());
        self.from = Series::new(series.labels.clone(), series.drop_name);
        self.result.clear();
        self.function.begin();
    }

    #[inline]
    fn visit(&mut self, step: usize, window: &Window<'_>) {
        self.asked = true;
        if self.varies {
            for (cell, param) in self.buffer.iter_mut().zip(&self.params) {
                *cell = param.at(step);
            }
        }
        let place = Place { call: self.call, args: self.args, metric: &self.metric };
        let notes = &mut self.ev.query.notes.borrow_mut();
        if let Some(value) = self.function.answer(window, &self.buffer, &place, notes) {
            self.result.push(step, value);
        }
    }

    fn end(&mut self) -> Result<(), EvalError> {
        if let (Some(why), true) = (&self.refusal, self.asked) {
            return Err(execution(why.clone()));
        }
        if self.result.is_empty() {
            return Ok(());
        }
        self.doubt_counter();
        self.result.labels = self.from.labels.clone();
        self.result.drop_name = self.from.drop_name;
        if self.loses_name {
            self.ev.without_name(&mut self.result);
            let lost = !self.ev.delays_names() && self.from.labels.iter().any(|(name, _)| is_metadata(name));
            if lost && !self.merges && !self.seen.insert(self.result.labels.clone()) {
                return Err(same_labels());
            }
        }
        (self.sink)(&mut self.result)
    }
}

impl Caller<'_, '_, '_> {
    /// Tells when a rate is taken of what does not look like a counter.
    fn doubt_counter(&mut self) {
        let told = self.doubted.as_deref() == Some(self.metric.as_str());
        if !self.counts || self.metric.is_empty() || told || !has_numbers(&self.result) {
            return;
        }
        let place = self.args.first().copied().unwrap_or(self.call);
        if self.ev.query.options.type_and_unit_labels {
            let kind = self.from.labels.value("__type__");
            if !matches!(kind, "counter" | "histogram") {
                let text = format!(
                    "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got \
                     {}: {}",
                    quote(kind),
                    quote(&self.metric)
                );
                self.ev.note(|notes| notes.info(place, text));
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|end| self.metric.ends_with(end)) {
            let what = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
            self.ev.note(|notes| notes.info(place, format!("{what} {}", quote(&self.metric))));
            self.doubted = Some(self.metric.clone());
        }
    }
}

fn has_numbers(series: &Series) -> bool {
    !series.has_histograms() || series.present().any(|step| series.float(step).is_some())
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

//! Calls of functions that give a vector.

use homeostat_model::Labels;

use super::{
    absent, date,
    error::{EvalError, execution},
    evaluator::{Evaluator, Sink},
    histogram_functions, info, label_functions, maths, range, range_functions,
    selector::{self, Take},
    series::Series,
    sorting,
};
use crate::ast::{ByteSpan, Call, Expr, ExprKind, ValueType};

/// Hands on the series of a call.
pub(super) fn rows(ev: &Evaluator<'_>, call: &Call, span: ByteSpan, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    if call.function.returns == ValueType::Scalar {
        return Err(execution("this expression is no instant vector"));
    }
    let name = call.function.name;
    match (name, call.args.as_slice()) {
        ("vector", [scalar]) => sink(&mut ev.scalar(scalar)?.into_series(ev.steps.count)),
        ("timestamp", [vector]) => timestamps(ev, vector, sink),
        ("start_timestamp", [vector]) => start_timestamps(ev, vector, sink),
        ("absent", [vector]) => absent::absent(ev, vector, sink),
        ("absent_over_time", [range]) => absent::absent_over_time(ev, range, sink),
        ("label_replace", args) => label_functions::label_replace(ev, args, sink),
        ("label_join", args) => label_functions::label_join(ev, args, sink),
        ("info", args) => info::rows(ev, args, sink),
        ("sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc", args) => {
            sorting::rows(ev, name, args, span, sink)
        }
        (name, _) if name.starts_with("histogram_") => histogram_functions::rows(ev, call, sink),
        (name, _) if range_functions::find(name).is_some() => range::rows(ev, call, span, sink),
        (name, args) => {
            if let Some(part) = date::part(name) {
                return date::rows(ev, part, args.first(), sink);
            }
            maths::rows(ev, name, args, sink)
        }
    }
}

/// `timestamp(v)`: when the samples were taken, for a selector; for anything else the time of the step.
fn timestamps(ev: &Evaluator<'_>, vector: &Expr, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    if let ExprKind::Vector(selector) = &vector.unwrap_parens().kind {
        let shift = ev.shifted(&selector.shift)?;
        return selector::taken(ev, &selector.matchers, shift, Take::Seconds, &mut |series| {
            ev.without_name(series);
            sink(series)
        });
    }
    let steps = ev.steps;
    ev.rows_losing_names(
        vector,
        &mut |series| {
            let mut timed = Series::new(series.labels.clone(), series.drop_name);
            for step in series.present() {
                timed.push_float(step, steps.time(step) as f64 / 1000.0);
            }
            *series = timed;
        },
        sink,
    )
}

/// `start_timestamp(v)`: since when the samples of a selector count, 0 where they do not say; of anything else nothing.
fn start_timestamps(ev: &Evaluator<'_>, vector: &Expr, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let ExprKind::Vector(selector) = &vector.unwrap_parens().kind else { return Ok(()) };
    if !ev.query.options.start_timestamps {
        return Ok(());
    }
    let shift = ev.shifted(&selector.shift)?;
    selector::taken(ev, &selector.matchers, shift, Take::StartSeconds, &mut |series| {
        ev.without_name(series);
        sink(series)
    })
}

/// A vector with one series without labels.
pub(super) fn unlabelled(column: Vec<f64>) -> Series {
    Series::from_column(Labels::empty(), false, 0, column)
}

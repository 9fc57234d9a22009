//! Functions of histograms.
//!
//! `histogram_count` and its relatives look at each native histogram by itself and at nothing else. Quantiles and
//! fractions also answer for classic histograms, whose buckets are series of their own and must be put together first
//! (`estimates`).
//!
//! Not here: what is computed of one histogram (`crate::histogram`).

mod estimates;
mod told;

use homeostat_model::Histogram;

use self::estimates::{Question, estimates};
use super::{
    error::{EvalError, execution},
    evaluator::{Evaluator, Sink},
    label_functions::text,
    series::Series,
};
use crate::{
    ast::{Call, Expr},
    histogram::variance,
};

/// Hands on the series of a function whose name begins with `histogram_`.
pub(super) fn rows(ev: &Evaluator<'_>, call: &Call, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    match (call.function.name, call.args.as_slice()) {
        ("histogram_count", [vector]) => of_each(ev, vector, |histogram| histogram.count, sink),
        ("histogram_sum", [vector]) => of_each(ev, vector, |histogram| histogram.sum, sink),
        ("histogram_avg", [vector]) => of_each(ev, vector, |histogram| histogram.sum / histogram.count, sink),
        ("histogram_stdvar", [vector]) => of_each(ev, vector, variance, sink),
        ("histogram_stddev", [vector]) => of_each(ev, vector, |histogram| variance(histogram).sqrt(), sink),
        ("histogram_quantile", [q, vector]) => {
            let question = quantile(ev, q)?;
            estimates(ev, vector, &[question], None, sink)
        }
        ("histogram_quantiles", [vector, label, quantiles @ ..]) => {
            let questions = quantiles.iter().map(|q| quantile(ev, q)).collect::<Result<Vec<_>, _>>()?;
            estimates(ev, vector, &questions, Some(text(label)?), sink)
        }
        ("histogram_fraction", [lower, upper, vector]) => {
            let question = Question::Fraction { lower: ev.scalar(lower)?, upper: ev.scalar(upper)? };
            estimates(ev, vector, &[question], None, sink)
        }
        (name, _) => Err(execution(format!("function {name} is unknown or lacks arguments"))),
    }
}

/// Hands on a number for every native histogram; numbers in the vector are ignored.
fn of_each(
    ev: &Evaluator<'_>,
    vector: &Expr,
    number: fn(&Histogram) -> f64,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let mut change = |series: &mut Series| {
        let mut numbers = Series::new(series.labels.clone(), series.drop_name);
        for (step, histogram) in present_histograms(series) {
            numbers.push_float(step, number(histogram));
        }
        *series = numbers;
    };
    ev.rows_losing_names(vector, &mut change, sink)
}

/// The native histograms of a series with their steps.
fn present_histograms(series: &Series) -> impl Iterator<Item = (usize, &Histogram)> {
    let cells = series.histograms().iter().enumerate();
    cells.filter_map(|(at, cell)| Some((series.first() + at, &**cell.as_ref()?)))
}

/// The question for a quantile; one outside of 0 to 1 is told whether or not there is anything to answer for.
fn quantile(ev: &Evaluator<'_>, q: &Expr) -> Result<Question, EvalError> {
    let values = ev.scalar(q)?;
    for value in values.values().iter().filter(|value| !(0.0..=1.0).contains(*value)) {
        ev.note(|notes| told::invalid_quantile(*value, q.span, notes));
    }
    Ok(Question::Quantile(values))
}

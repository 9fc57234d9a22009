//! `limitk` and `limit_ratio`: some series of each group, whatever their values.

use homeostat_model::number_text::shortest;

use super::{cells::Cells, fold::column_of, groups::Groups, hash::hash64, quantile::extremes, ranking::count_param};
use crate::{
    ast::Aggregate,
    eval::{
        error::{EvalError, execution},
        evaluator::{Evaluator, Sink},
        series::Series,
    },
};

/// `limitk(k, v)`: the first k series of each group.
pub(super) fn first(ev: &Evaluator<'_>, aggregate: &Aggregate, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let k = count_param(ev, aggregate)?;
    let mut groups = Groups::new(&aggregate.grouping);
    let mut counts: Vec<Cells<usize>> = Vec::new();
    ev.rows(&aggregate.expr, &mut |series| {
        let first = series.first();
        let counts = column_of(&mut counts, groups.number(series)).cover(first, series.end());
        let present: Vec<_> = (first..series.end()).map(|step| series.has(step)).collect();
        series.retain(|step| {
            let (Some(count), Some(true)) = (counts.get_mut(step - first), present.get(step - first)) else {
                return false;
            };
            *count += 1;
            *count <= k(step)
        });
        if series.is_empty() { Ok(()) } else { sink(series) }
    })
}

/// `limit_ratio(r, v)`: about this share of the series, chosen by a hash of their labels. A negative share is the rest of
/// what the positive one would leave: `r` and `r - 1` together give every series once.
pub(super) fn share(ev: &Evaluator<'_>, aggregate: &Aggregate, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let param = aggregate.param.as_ref().ok_or_else(|| execution("limit_ratio needs a parameter"))?;
    let ratio = ev.scalar(param)?;
    let (lowest, highest) = extremes(&ratio);
    if highest.is_nan() || lowest.is_nan() {
        return Err(execution("Ratio value is NaN"));
    }
    for (is_outside, value, capped) in [(highest > 1.0, highest, "1"), (lowest < -1.0, lowest, "-1")] {
        if is_outside {
            let got = shortest(value);
            let text = format!("ratio value should be between -1 and 1, got {got}, capping to {capped}");
            ev.note(|notes| notes.warn(param.unwrap_parens().span, text));
        }
    }
    ev.rows(&aggregate.expr, &mut |series: &mut Series| {
        let place = hash64(series.labels.as_packed().as_bytes()) as f64 / u64::MAX as f64;
        series.retain(|step| is_chosen(ratio.at(step).clamp(-1.0, 1.0), place));
        if series.is_empty() { Ok(()) } else { sink(series) }
    })
}

/// Whether a series at a place between 0 and 1 is part of a share.
fn is_chosen(ratio: f64, place: f64) -> bool {
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

#[cfg(test)]
mod tests {
    use super::is_chosen;

    #[test]
    fn a_share_and_its_rest_are_everything() {
        for place in [0.0, 0.2, 0.31, 0.999, 1.0] {
            assert!(is_chosen(0.3, place) != is_chosen(-0.7, place), "{place}");
        }
    }
}

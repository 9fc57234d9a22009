//! `topk` and `bottomk`: the k largest or smallest numbers of each group at every step.
//!
//! Per group and step the k best are held in a heap with the worst of them on top; what is worse than that is forgotten
//! at once. Of series only the labels of those are held that were among the best at some step.

use std::{cmp::Ordering, collections::BinaryHeap};

use homeostat_model::{Labels, number_text::shortest};

use super::{cells::Cells, fold::column_of, groups::Groups, note_ignored, quantile::extremes};
use crate::{
    ast::{Aggregate, ByteSpan},
    eval::{
        budget::Held,
        error::{EvalError, execution},
        evaluator::{Evaluator, Sink},
        scalar::Scalar,
        series::Series,
    },
    map::HashMap,
};

/// Which numbers are the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `topk`
    Largest,
    /// `bottomk`
    Smallest,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Largest => "topk",
            Self::Smallest => "bottomk",
        }
    }
}

/// A number among the best. A greater entry is a worse one: `NaN` before all, then by value, then the later series.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The number, negated for [`Order::Smallest`].
    merit: f64,
    series: usize,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_merit = other.merit.partial_cmp(&self.merit);
        let by_merit = by_merit.unwrap_or_else(|| self.merit.is_nan().cmp(&other.merit.is_nan()));
        by_merit.then(self.series.cmp(&other.series))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

type Best = BinaryHeap<Entry>;

/// Hands on the best series of each group; at a single step in the order of their merit.
pub(super) fn rows(
    ev: &Evaluator<'_>,
    aggregate: &Aggregate,
    span: ByteSpan,
    order: Order,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let k = count_param(ev, aggregate)?;
    let mut groups = Groups::new(&aggregate.grouping);
    let mut columns: Vec<Cells<Best>> = Vec::new();
    let mut candidates: Vec<(Labels, bool)> = Vec::new();
    let mut held = Held::new(&ev.query.budget);
    ev.rows(&aggregate.expr, &mut |series| {
        if series.has_histograms() {
            note_ignored(ev, order.name(), span);
            series.drop_histograms();
            if series.is_empty() {
                return Ok(());
            }
        }
        let cells = column_of(&mut columns, groups.number(series)).cover(series.first(), series.end());
        let (number, mut grown, mut enters) = (candidates.len(), 0, false);
        for (step, best) in (series.first()..).zip(cells) {
            let Some(value) = series.float(step) else { continue };
            let merit = if order == Order::Largest { value } else { -value };
            let len = best.len();
            if offer(best, k(step), Entry { merit, series: number }) {
                enters = true;
                grown += (best.len() - len) as u64;
            }
        }
        if enters {
            candidates.push((series.labels.clone(), series.drop_name));
            held.add(0, series.labels.heap_bytes() as u64)?;
        }
        held.add(grown, grown * size_of::<Entry>() as u64)
    })?;
    let mut chosen = Chosen { candidates: &candidates, of_candidate: HashMap::default(), series: Vec::new() };
    for column in columns {
        let first = column.first();
        for (at, best) in column.into_all().into_iter().enumerate() {
            for entry in best.into_sorted_vec() {
                let value = if order == Order::Largest { entry.merit } else { -entry.merit };
                chosen.push(entry.series, first + at, value);
            }
        }
    }
    chosen.series.iter_mut().try_for_each(sink)
}

/// Keeps an entry if it is among the k best.
#[inline]
fn offer(best: &mut Best, k: usize, entry: Entry) -> bool {
    if best.len() < k {
        best.push(entry);
        return true;
    }
    match best.peek_mut() {
        // With a k of zero there is no worst entry either.
        Some(mut worst) if entry < *worst => {
            *worst = entry;
            true
        }
        _ => false,
    }
}

/// The parameter k at every step: how many of each group.
pub(super) fn count_param(
    ev: &Evaluator<'_>,
    aggregate: &Aggregate,
) -> Result<impl Fn(usize) -> usize + use<>, EvalError> {
    let param = aggregate.param.as_ref().ok_or_else(|| execution("the aggregation needs a parameter"))?;
    let k: Scalar = ev.scalar(param)?;
    let (lowest, highest) = extremes(&k);
    if highest.is_nan() || lowest.is_nan() {
        return Err(execution("Parameter value is NaN"));
    }
    if highest >= 1.0 {
        if lowest <= i64::MIN as f64 {
            return Err(execution(format!("Scalar value {} underflows int64", shortest(lowest))));
        }
        // The largest number that is no more than the largest i64.
        if highest >= 9_223_372_036_854_774_784.0 {
            return Err(execution(format!("Scalar value {} overflows int64", shortest(highest))));
        }
    }
    Ok(move |step: usize| k.at(step).max(0.0) as usize)
}

/// The chosen series, in the order in which they were first chosen.
struct Chosen<'c> {
    candidates: &'c [(Labels, bool)],
    of_candidate: HashMap<usize, usize>,
    series: Vec<Series>,
}

impl Chosen<'_> {
    fn push(&mut self, candidate: usize, step: usize, value: f64) {
        let Some((labels, drop_name)) = self.candidates.get(candidate) else { return };
        let at = *self.of_candidate.entry(candidate).or_insert_with(|| {
            self.series.push(Series::new(labels.clone(), *drop_name));
            self.series.len() - 1
        });
        if let Some(series) = self.series.get_mut(at) {
            series.push_float(step, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(k: usize, merits: &[f64]) -> Vec<(usize, f64)> {
        let mut best = Best::new();
        for (series, merit) in merits.iter().enumerate() {
            offer(&mut best, k, Entry { merit: *merit, series });
        }
        best.into_sorted_vec().into_iter().map(|entry| (entry.series, entry.merit)).collect()
    }

    #[test]
    fn the_best_come_in_order_and_nan_last() {
        let series = |k, merits: &[f64]| best(k, merits).into_iter().map(|(series, _)| series).collect::<Vec<_>>();
        assert_eq!(series(2, &[1.0, 3.0, 2.0]), [1, 2]);
        assert_eq!(series(3, &[f64::NAN, 3.0, 2.0]), [1, 2, 0]);
        assert_eq!(series(2, &[f64::NAN, f64::NAN, 2.0]), [2, 0]);
        assert_eq!(series(2, &[5.0, 5.0, 5.0]), [0, 1]);
        assert!(series(0, &[1.0]).is_empty());
    }
}

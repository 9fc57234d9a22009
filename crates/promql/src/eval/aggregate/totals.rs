//! `sum` and `avg`, of numbers and of histograms, though not of both at once.
//!
//! Numbers are added with compensated summation. A mean is a sum divided at the end; only when the sum would overflow it
//! goes on as a running mean, which cannot.

use std::{collections::BTreeMap, sync::Arc};

use homeostat_model::Histogram;

use super::{cells::Cells, fold::column_of, groups::Groups, inner_span};
use crate::{
    ast::Aggregate,
    eval::{
        budget::Held,
        error::EvalError,
        evaluator::{Evaluator, Sink},
        range_functions::kahan::KahanSum,
        series::{Series, histogram_samples, is_absent},
    },
    histogram::{HistogramMean, HistogramSum, IncompatibleSchemas, Summed},
};

/// What numbers and histograms become together.
pub(super) trait Total {
    /// Of numbers; the default is of none.
    type Cell: Clone + Default;
    /// Of histograms.
    type Histograms;

    fn add(cell: &mut Self::Cell, value: f64);
    /// `None` when there was no number.
    fn result(cell: &Self::Cell) -> Option<f64>;
    fn begin(histogram: &Histogram) -> Self::Histograms;
    fn add_histogram(sum: &mut Self::Histograms, histogram: &Histogram) -> Result<(), IncompatibleSchemas>;
    fn finish(sum: Self::Histograms) -> Summed;
}

/// A total of histograms, or what is left of it after two that do not fit together.
enum Histograms<H> {
    Some(H),
    Incompatible,
}

/// The columns of a group: numbers at all steps, histograms where there are any.
struct Column<T: Total> {
    numbers: Cells<T::Cell>,
    histograms: BTreeMap<usize, Histograms<T::Histograms>>,
}

/// Hands on the groups of a sum or mean.
pub(super) fn rows<T: Total>(ev: &Evaluator<'_>, aggregate: &Aggregate, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let mut groups = Groups::new(&aggregate.grouping);
    let mut numbers: Vec<Cells<T::Cell>> = Vec::new();
    let mut histograms: BTreeMap<usize, BTreeMap<usize, Histograms<T::Histograms>>> = BTreeMap::new();
    let mut held = Held::new(&ev.query.budget);
    ev.rows(&aggregate.expr, &mut |series| {
        let number = groups.number(series);
        let column = column_of(&mut numbers, number);
        let before = column.all().len();
        let cells = column.cover(series.first(), series.end());
        for (cell, value) in cells.iter_mut().zip(series.floats()) {
            if !is_absent(*value) {
                T::add(cell, *value);
            }
        }
        let grown = (column.all().len() - before) as u64;
        held.add(grown, grown * size_of::<T::Cell>() as u64)?;
        if series.has_histograms() {
            let grown = add_histograms::<T>(ev, aggregate, series, histograms.entry(number).or_default());
            held.add(grown, grown * 16)?;
        }
        Ok(())
    })?;
    for (number, ((labels, drop_name), column)) in groups.into_labels().zip(numbers).enumerate() {
        let column: Column<T> = Column { numbers: column, histograms: histograms.remove(&number).unwrap_or_default() };
        let mut series = Series::new(labels, drop_name);
        finish(ev, aggregate, column, &mut series);
        if !series.is_empty() {
            sink(&mut series)?;
        }
    }
    Ok(())
}

/// Adds the histograms of a series; returns by how many samples what is held has grown.
fn add_histograms<T: Total>(
    ev: &Evaluator<'_>,
    aggregate: &Aggregate,
    series: &Series,
    totals: &mut BTreeMap<usize, Histograms<T::Histograms>>,
) -> u64 {
    let mut grown = 0;
    for step in series.first()..series.end() {
        let Some(histogram) = series.histogram(step) else { continue };
        let Some(total) = totals.get_mut(&step) else {
            grown += histogram_samples(histogram);
            totals.insert(step, Histograms::Some(T::begin(histogram)));
            continue;
        };
        if let Histograms::Some(sum) = total
            && T::add_histogram(sum, histogram).is_err()
        {
            let metric = series.labels.metric().unwrap_or_default();
            let what =
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
            ev.note(|notes| notes.warn(inner_span(aggregate), format!("{what} {metric:?}")));
            *total = Histograms::Incompatible;
        }
    }
    grown
}

/// Makes a series of a group's columns.
fn finish<T: Total>(ev: &Evaluator<'_>, aggregate: &Aggregate, column: Column<T>, series: &mut Series) {
    let place = inner_span(aggregate);
    let mut histograms = column.histograms;
    let first = column.numbers.first();
    for (at, cell) in column.numbers.all().iter().enumerate() {
        let step = first + at;
        let value = T::result(cell);
        // Nearly always there are none at all.
        let histogram = if histograms.is_empty() { None } else { histograms.remove(&step) };
        match (value, histogram) {
            (Some(value), None) => series.push_float(step, value),
            (Some(_), Some(_)) => {
                let text = "encountered a mix of histograms and floats for aggregation";
                ev.note(|notes| notes.warn(place, text));
            }
            (None, Some(Histograms::Some(sum))) => {
                let Summed { histogram, combined } = T::finish(sum);
                if combined.resets_conflict {
                    let text = "conflicting counter resets during histogram aggregation";
                    ev.note(|notes| notes.warn(place, text));
                }
                if combined.bounds_reconciled {
                    let text = "mismatched custom buckets were reconciled during aggregation";
                    ev.note(|notes| notes.info(place, text));
                }
                series.push_histogram(step, Arc::new(histogram));
            }
            (None, Some(Histograms::Incompatible) | None) => {}
        }
    }
}

/// `sum`
pub(super) struct Sum;

/// A sum, and whether there is anything in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SumCell {
    sum: KahanSum,
    has_any: bool,
}

impl Total for Sum {
    type Cell = SumCell;
    type Histograms = HistogramSum;

    #[inline]
    fn add(cell: &mut SumCell, value: f64) {
        // Not added to zero: the sum of negative zeros is one.
        cell.sum = if cell.has_any { cell.sum.plus(value) } else { KahanSum::new(value) };
        cell.has_any = true;
    }

    fn result(cell: &SumCell) -> Option<f64> {
        cell.has_any.then(|| cell.sum.total())
    }

    fn begin(histogram: &Histogram) -> HistogramSum {
        HistogramSum::new(histogram)
    }

    fn add_histogram(sum: &mut HistogramSum, histogram: &Histogram) -> Result<(), IncompatibleSchemas> {
        sum.add(histogram)
    }

    fn finish(sum: HistogramSum) -> Summed {
        sum.finish()
    }
}

/// `avg`
pub(super) struct Mean;

/// A sum of `count` numbers; their mean when it is `running`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MeanCell {
    sum: KahanSum,
    count: f64,
    running: bool,
}

impl Total for Mean {
    type Cell = MeanCell;
    type Histograms = HistogramMean;

    #[inline]
    fn add(cell: &mut MeanCell, value: f64) {
        let before = cell.count;
        cell.count += 1.0;
        if before == 0.0 {
            cell.sum = KahanSum::new(value);
            return;
        }
        if !cell.running {
            let sum = cell.sum.plus(value);
            if !sum.sum.is_infinite() {
                cell.sum = sum;
                return;
            }
            cell.running = true;
            cell.sum = KahanSum { sum: cell.sum.sum / before, correction: cell.sum.correction / before };
        }
        let share = before / cell.count;
        let shrunk = KahanSum { sum: share * cell.sum.sum, correction: share * cell.sum.correction };
        cell.sum = shrunk.plus(value / cell.count);
    }

    fn result(cell: &MeanCell) -> Option<f64> {
        let KahanSum { sum, correction } = cell.sum;
        (cell.count > 0.0)
            .then(|| if cell.running { sum + correction } else { sum / cell.count + correction / cell.count })
    }

    fn begin(histogram: &Histogram) -> HistogramMean {
        HistogramMean::new(histogram)
    }

    fn add_histogram(sum: &mut HistogramMean, histogram: &Histogram) -> Result<(), IncompatibleSchemas> {
        sum.add(histogram)
    }

    fn finish(sum: HistogramMean) -> Summed {
        sum.finish()
    }
}

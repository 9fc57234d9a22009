//! Aggregations that look at each number once and at no histogram's content.

use super::{cells::Cells, groups::Groups, inner_span, note_ignored};
use crate::{
    ast::Aggregate,
    eval::{
        budget::Held,
        error::EvalError,
        evaluator::{Evaluator, Sink},
        series::{Series, absent, is_absent},
    },
};

/// How numbers are folded into a cell.
pub(super) trait Fold {
    /// What is known of the numbers so far; the default is known of none.
    type Cell: Clone + Default;
    /// The name for notes when histograms are left out; `None` when they count.
    const IGNORES_HISTOGRAMS: Option<&'static str>;

    fn add(cell: &mut Self::Cell, value: f64);
    /// The result, or [`absent`].
    fn result(cell: &Self::Cell) -> f64;
}

/// Hands on the groups of an aggregation.
pub(super) fn rows<F: Fold>(ev: &Evaluator<'_>, aggregate: &Aggregate, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let mut groups = Groups::new(&aggregate.grouping);
    let mut columns: Vec<Cells<F::Cell>> = Vec::new();
    let mut held = Held::new(&ev.query.budget);
    ev.rows(&aggregate.expr, &mut |series| {
        if let (true, Some(name)) = (series.has_histograms(), F::IGNORES_HISTOGRAMS) {
            note_ignored(ev, name, inner_span(aggregate));
            series.drop_histograms();
            if series.is_empty() {
                return Ok(());
            }
        }
        let column = column_of(&mut columns, groups.number(series));
        let before = column.all().len();
        let cells = column.cover(series.first(), series.end());
        for (cell, value) in cells.iter_mut().zip(series.floats()) {
            if !is_absent(*value) {
                F::add(cell, *value);
            }
        }
        for (cell, _) in cells.iter_mut().zip(series.histograms()).filter(|(_, histogram)| histogram.is_some()) {
            F::add(cell, 0.0);
        }
        let grown = (column.all().len() - before) as u64;
        held.add(grown, grown * size_of::<F::Cell>() as u64)
    })?;
    for ((labels, drop_name), column) in groups.into_labels().zip(columns) {
        let results = column.all().iter().map(F::result).collect();
        let mut series = Series::from_column(labels, drop_name, column.first(), results);
        if !series.is_empty() {
            sink(&mut series)?;
        }
    }
    Ok(())
}

/// The column of a group, made if need be.
pub(super) fn column_of<C: Clone + Default>(columns: &mut Vec<Cells<C>>, number: usize) -> &mut Cells<C> {
    if columns.len() <= number {
        columns.resize_with(number + 1, Cells::default);
    }
    // The index exists: the line above has seen to it.
    let last = columns.len() - 1;
    columns.split_at_mut(number.min(last)).1.first_mut().unwrap_or_else(|| unreachable!("resized above"))
}

/// `count`
pub(super) struct Count;

impl Fold for Count {
    type Cell = u64;
    const IGNORES_HISTOGRAMS: Option<&'static str> = None;

    #[inline]
    fn add(cell: &mut u64, _: f64) {
        *cell += 1;
    }

    fn result(cell: &u64) -> f64 {
        if *cell == 0 { absent() } else { *cell as f64 }
    }
}

/// `group`
pub(super) struct Any;

impl Fold for Any {
    type Cell = bool;
    const IGNORES_HISTOGRAMS: Option<&'static str> = None;

    #[inline]
    fn add(cell: &mut bool, _: f64) {
        *cell = true;
    }

    fn result(cell: &bool) -> f64 {
        if *cell { 1.0 } else { absent() }
    }
}

/// A number, or none yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extreme(f64);

impl Default for Extreme {
    fn default() -> Self {
        Self(absent())
    }
}

impl Extreme {
    /// `NaN` gives way to every number; the empty cell is a `NaN` too.
    #[inline]
    fn replace_if(&mut self, value: f64, better: bool) {
        if better || self.0.is_nan() {
            self.0 = value;
        }
    }
}

/// `min`
pub(super) struct Min;

impl Fold for Min {
    type Cell = Extreme;
    const IGNORES_HISTOGRAMS: Option<&'static str> = Some("min");

    #[inline]
    fn add(cell: &mut Extreme, value: f64) {
        cell.replace_if(value, cell.0 > value);
    }

    fn result(cell: &Extreme) -> f64 {
        cell.0
    }
}

/// `max`
pub(super) struct Max;

impl Fold for Max {
    type Cell = Extreme;
    const IGNORES_HISTOGRAMS: Option<&'static str> = Some("max");

    #[inline]
    fn add(cell: &mut Extreme, value: f64) {
        cell.replace_if(value, cell.0 < value);
    }

    fn result(cell: &Extreme) -> f64 {
        cell.0
    }
}

/// Count, mean and sum of squared distances from it (Welford).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    #[inline]
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count > 1.0 {
            let delta = value - self.mean;
            self.mean += delta / self.count;
            self.squares += delta * (value - self.mean);
        } else {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
        }
    }

    fn variance(&self) -> f64 {
        if self.count > 0.0 { self.squares / self.count } else { absent() }
    }
}

/// `stddev`
pub(super) struct Deviation;

impl Fold for Deviation {
    type Cell = Spread;
    const IGNORES_HISTOGRAMS: Option<&'static str> = Some("stddev");

    #[inline]
    fn add(cell: &mut Spread, value: f64) {
        cell.add(value);
    }

    fn result(cell: &Spread) -> f64 {
        let variance = cell.variance();
        if is_absent(variance) { variance } else { variance.sqrt() }
    }
}

/// `stdvar`
pub(super) struct Variance;

impl Fold for Variance {
    type Cell = Spread;
    const IGNORES_HISTOGRAMS: Option<&'static str> = Some("stdvar");

    #[inline]
    fn add(cell: &mut Spread, value: f64) {
        cell.add(value);
    }

    fn result(cell: &Spread) -> f64 {
        cell.variance()
    }
}

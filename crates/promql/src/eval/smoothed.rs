//! `selector smoothed`: at every step the value on the line between the samples around it.
//!
//! Not here: how a value is interpolated (`range_functions::smoothed`).
//! Source: Prometheus' extended range selectors (proposal PROM-52).

use super::{
    columns::{Columns, Visitor, Windows},
    error::EvalError,
    evaluator::{Evaluator, Sink},
    range_functions::smoothed::value_at_end,
    series::Series,
    window::{Place, Window},
};
use crate::ast::{ByteSpan, Extend, VectorSelector};

/// Hands on the series of a smoothed selector.
pub(super) fn rows(
    ev: &Evaluator<'_>,
    selector: &VectorSelector,
    span: ByteSpan,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let shift = ev.shifted(&selector.shift)?;
    let windows = Windows::new(ev, shift, 0, Extend::Smoothed);
    let mut columns = Columns::new(ev.query);
    let mut smoother = Smoother { ev, span, result: Series::default(), sink };
    for selected in ev.select(&selector.matchers, windows.looked_at())? {
        ev.check_cancelled()?;
        smoother.begin(&Series::new(selected.labels, false));
        columns.slide(ev.runs(selected.runs), &windows, &mut smoother)?;
        smoother.end()?;
    }
    Ok(())
}

struct Smoother<'c, 's, 'q> {
    ev: &'c Evaluator<'q>,
    span: ByteSpan,
    result: Series,
    sink: &'c mut Sink<'s>,
}

impl Visitor for Smoother<'_, '_, '_> {
    fn begin(&mut self, series: &Series) {
        self.result.clear();
        self.result.labels = series.labels.clone();
    }

    fn visit(&mut self, step: usize, window: &Window<'_>) {
        let metric = self.result.labels.metric().unwrap_or_default();
        let place = Place { call: self.span, args: &[], metric };
        let notes = &mut self.ev.query.notes.borrow_mut();
        if let Some(value) = value_at_end(window, &place, notes) {
            self.result.push(step, value);
        }
    }

    fn end(&mut self) -> Result<(), EvalError> {
        if self.result.is_empty() { Ok(()) } else { (self.sink)(&mut self.result) }
    }
}

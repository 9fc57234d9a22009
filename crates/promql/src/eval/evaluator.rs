//! The walk over the syntax tree: every node hands its series, one after the other, to a sink.
//!
//! ```text
//! selector ──series──▶ rate() ──series──▶ sum by (job) ──series──▶ > 5 ──series──▶ result
//! ```
//!
//! A node that looks at one series at a time (a selector, a function of a range, a negation) passes each one on as soon
//! as it is computed, so that an aggregation over a hundred thousand series holds its groups and one series. A node that
//! must see all of them (matching, sorting) collects a [`Matrix`] and lets go of it when it is done.
//!
//! Not here: what the nodes compute (the files beside this one).
//! Invariants: a sink gets a series only when it has a value at some step; no two series of a node have the same labels;
//! values at steps that a series is not asked for do not exist.

use std::{cell::RefCell, sync::Arc};

use homeostat_model::{Labels, TimeMs};

use super::{
    aggregate, binary,
    budget::{Budget, Held},
    call,
    error::{EvalError, execution},
    invariant,
    limits::Options,
    raw::RawSeries,
    scalar::Scalar,
    selector,
    series::{Series, is_metadata},
    spared::Buckets,
    steps::Steps,
};
use crate::{
    ast::{Expr, ExprKind, UnaryOp, ValueType},
    matcher::Matcher,
    note::Notes,
    source::{Select, SelectedSeries, SeriesSource, Windows},
};

/// Takes the series of a node, one by one. It may change a series as it likes: the producer begins anew with the next.
pub(super) type Sink<'s> = dyn FnMut(&mut Series) -> Result<(), EvalError> + 's;

/// Says whether a query has to end; asked on whichever thread works.
pub(super) type IsCancelled<'c> = dyn Fn() -> bool + Sync + 'c;

/// One query: where its data comes from, what it may cost, what it has to tell.
pub(super) struct Query<'q> {
    pub(super) source: &'q dyn SeriesSource,
    pub(super) options: Options,
    /// First instant of the whole query.
    pub(super) start_ms: TimeMs,
    /// Last instant of the whole query.
    pub(super) end_ms: TimeMs,
    /// Step of the whole query; 0 for an instant.
    pub(super) step_ms: i64,
    pub(super) is_cancelled: &'q IsCancelled<'q>,
    pub(super) budget: Arc<Budget>,
    pub(super) notes: RefCell<Notes>,
}

/// Which samples of a selector are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookedAt {
    pub(super) windows: Windows,
    /// Right end of the last window.
    pub(super) last_ms: TimeMs,
}

/// Evaluates at certain steps: those of the query, or those of a subquery.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'q> {
    pub(super) query: &'q Query<'q>,
    pub(super) steps: Steps,
    pub(super) buckets: Buckets,
}

/// Series that are held together, with their share of the budget.
pub(super) struct Matrix {
    pub(super) series: Vec<Series>,
    held: Held,
}

impl Matrix {
    pub(super) fn new(query: &Query<'_>) -> Self {
        Self { series: Vec::new(), held: Held::new(&query.budget) }
    }

    /// Keeps a series without slack.
    pub(super) fn push(&mut self, series: &mut Series) -> Result<(), EvalError> {
        let kept = series.take();
        let bytes = kept.heap_bytes() + kept.labels.heap_bytes() as u64 + size_of::<Series>() as u64;
        self.held.add(kept.samples(), bytes)?;
        self.series.push(kept);
        Ok(())
    }

    /// Hands all series to a sink and lets go of each.
    pub(super) fn drain(self, sink: &mut Sink<'_>) -> Result<(), EvalError> {
        for mut series in self.series {
            sink(&mut series)?;
        }
        Ok(())
    }
}

impl<'q> Evaluator<'q> {
    /// The same query at other steps.
    pub(super) fn at(&self, steps: Steps) -> Self {
        Self { steps, ..*self }
    }

    /// Ends the query when its client no longer waits.
    pub(super) fn check_cancelled(&self) -> Result<(), EvalError> {
        if (self.query.is_cancelled)() { Err(EvalError::Cancelled) } else { Ok(()) }
    }

    /// Adds to what the query has to tell.
    pub(super) fn note(&self, tell: impl FnOnce(&mut Notes)) {
        tell(&mut self.query.notes.borrow_mut());
    }

    /// Whether functions keep the name until the end.
    pub(super) fn delays_names(&self) -> bool {
        self.query.options.delayed_name_removal
    }

    /// Hands all series of a vector expression to the sink.
    pub(super) fn rows(&self, expr: &Expr, sink: &mut Sink<'_>) -> Result<(), EvalError> {
        self.check_cancelled()?;
        if self.steps.count == 0 {
            return Ok(());
        }
        if self.steps.count > 1 && invariant::is_worth_computing_once(expr) {
            return self.rows_computed_once(expr, sink);
        }
        match &expr.kind {
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => self.rows(inner, sink),
            ExprKind::Unary(UnaryOp::Minus, inner) => binary::negated(self, inner, sink),
            ExprKind::Binary(binary) => binary::rows(&self.within_operator(), binary, expr.span, sink),
            ExprKind::Aggregate(aggregate) => aggregate::rows(self, aggregate, expr.span, sink),
            ExprKind::Call(call) => call::rows(&self.within_function(call.function.name), call, expr.span, sink),
            ExprKind::Vector(vector) => selector::rows(self, vector, expr.span, sink),
            ExprKind::Number(_)
            | ExprKind::Seconds(_)
            | ExprKind::Text(_)
            | ExprKind::Matrix(_)
            | ExprKind::Subquery(_) => Err(execution("this expression is no instant vector")),
        }
    }

    /// Evaluates at the first step only, and repeats the values at all others.
    fn rows_computed_once(&self, expr: &Expr, sink: &mut Sink<'_>) -> Result<(), EvalError> {
        let count = self.steps.count;
        self.at(Steps::instant(self.steps.start_ms)).rows(expr, &mut |series| {
            series.repeat(count);
            sink(series)
        })
    }

    /// Collects all series of a vector expression.
    pub(super) fn matrix(&self, expr: &Expr) -> Result<Matrix, EvalError> {
        let mut matrix = Matrix::new(self.query);
        self.rows(expr, &mut |series| matrix.push(series))?;
        Ok(matrix)
    }

    /// Collects all series of any expression but a text, also those of a scalar and of a range at a single instant.
    pub(super) fn any(&self, expr: &Expr, sink: &mut Sink<'_>) -> Result<(), EvalError> {
        match expr.value_type() {
            ValueType::Scalar => {
                let mut series = self.scalar(expr)?.into_series(self.steps.count);
                if series.is_empty() { Ok(()) } else { sink(&mut series) }
            }
            ValueType::Vector => self.rows(expr, sink),
            ValueType::Matrix | ValueType::Text => Err(execution("this expression is neither a vector nor a scalar")),
        }
    }

    /// The values of a scalar expression.
    pub(super) fn scalar(&self, expr: &Expr) -> Result<Scalar, EvalError> {
        super::scalar::scalar(self, expr)
    }

    /// The labels that a function's result has, and whether its name goes later: now, or at the end of the query.
    pub(super) fn without_name(&self, series: &mut Series) {
        if self.delays_names() {
            series.drop_name = true;
        } else {
            series.labels = strip_name(&series.labels);
        }
    }

    /// Hands on the series of an operation that changed each by itself and took its name. Where names go at once, what
    /// has the same labels afterwards becomes one series.
    pub(super) fn rows_losing_names(
        &self,
        inner: &Expr,
        change: &mut dyn FnMut(&mut Series),
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        if self.delays_names() {
            return self.rows(inner, &mut |series| {
                change(series);
                series.drop_name = true;
                if series.is_empty() { Ok(()) } else { sink(series) }
            });
        }
        let mut matrix = Matrix::new(self.query);
        self.rows(inner, &mut |series| {
            change(series);
            series.labels = strip_name(&series.labels);
            if series.is_empty() { Ok(()) } else { matrix.push(series) }
        })?;
        matrix.merged()?.drain(sink)
    }

    /// The series of a selector, of which the samples within windows are looked at.
    pub(super) fn select(&self, matchers: &[Matcher], looks: LookedAt) -> Result<Vec<SelectedSeries<'q>>, EvalError> {
        let LookedAt { windows, last_ms } = looks;
        let start_ms = windows.first_ms.saturating_sub(windows.width_ms).saturating_add(1);
        let select = Select { matchers, start_ms: self.reading_from(start_ms), end_ms: last_ms };
        let source = self.query.source;
        let has_gaps = windows.width_ms < windows.step_ms && windows.first_ms < last_ms;
        Ok(if has_gaps && self.buckets != Buckets::Spared {
            source.select_windows(&select, &windows)?
        } else {
            source.select(&select)?
        })
    }

    /// The samples of a range at a single instant, as the result of a query.
    pub(super) fn raw(&self, expr: &Expr) -> Result<Vec<RawSeries>, EvalError> {
        super::raw::raw(self, expr)
    }
}

/// The labels without the metric's name, its type and its unit.
pub(super) fn strip_name(labels: &Labels) -> Labels {
    labels.filtered(|name| !is_metadata(name))
}

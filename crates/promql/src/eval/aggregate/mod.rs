//! Aggregations: many series become one per group, or a choice of each group's series.
//!
//! Series arrive one by one and are folded into the columns of their group, so that what is held is the groups and not
//! the series. The group of a series is looked up once; then its values run over slices.
//!
//! Source: prometheus.io/docs/prometheus/latest/querying/operators, "Aggregation operators".

mod cells;
mod choice;
mod count_values;
mod fold;
mod groups;
mod hash;
mod quantile;
mod ranking;
mod totals;

use super::{
    error::EvalError,
    evaluator::{Evaluator, Sink},
};
use crate::ast::{Aggregate, AggregateOp, ByteSpan};

/// Hands on the series of an aggregation.
pub(super) fn rows(
    ev: &Evaluator<'_>,
    aggregate: &Aggregate,
    span: ByteSpan,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    match aggregate.op {
        AggregateOp::Sum => totals::rows::<totals::Sum>(ev, aggregate, sink),
        AggregateOp::Avg => totals::rows::<totals::Mean>(ev, aggregate, sink),
        AggregateOp::Count => fold::rows::<fold::Count>(ev, aggregate, sink),
        AggregateOp::Group => fold::rows::<fold::Any>(ev, aggregate, sink),
        AggregateOp::Min => fold::rows::<fold::Min>(ev, aggregate, sink),
        AggregateOp::Max => fold::rows::<fold::Max>(ev, aggregate, sink),
        AggregateOp::Stddev => fold::rows::<fold::Deviation>(ev, aggregate, sink),
        AggregateOp::Stdvar => fold::rows::<fold::Variance>(ev, aggregate, sink),
        AggregateOp::Quantile => quantile::rows(ev, aggregate, sink),
        AggregateOp::CountValues => count_values::rows(ev, aggregate, sink),
        AggregateOp::Topk => ranking::rows(ev, aggregate, span, ranking::Order::Largest, sink),
        AggregateOp::Bottomk => ranking::rows(ev, aggregate, span, ranking::Order::Smallest, sink),
        AggregateOp::Limitk => choice::first(ev, aggregate, sink),
        AggregateOp::LimitRatio => choice::share(ev, aggregate, sink),
    }
}

/// Tells that histograms are left out.
fn note_ignored(ev: &Evaluator<'_>, name: &str, place: ByteSpan) {
    ev.note(|notes| notes.info(place, format!("ignored histogram in {name} aggregation")));
}

/// Where what is aggregated stands, parentheses left out: the place of most notes.
fn inner_span(aggregate: &Aggregate) -> ByteSpan {
    aggregate.expr.unwrap_parens().span
}

//! `and`, `or`, `unless`: which series of two vectors stay, step by step. Values are those of the side they come from.

use super::matching::MatchGroups;
use crate::{
    ast::{Binary, BinaryOp},
    eval::{
        error::EvalError,
        evaluator::{Evaluator, Matrix, Sink},
        series::Series,
    },
};

/// Hands on the series of a set operator.
pub(super) fn rows(ev: &Evaluator<'_>, binary: &Binary, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    match binary.op {
        BinaryOp::Or => either(ev, binary, sink),
        op => filtered(ev, binary, op == BinaryOp::And, sink),
    }
}

/// At which steps a match group has a series.
#[derive(Default)]
struct Presence {
    steps: Vec<Vec<bool>>,
}

impl Presence {
    fn add(&mut self, group: usize, series: &Series, count: usize) {
        if self.steps.len() <= group {
            self.steps.resize(group + 1, Vec::new());
        }
        let Some(steps) = self.steps.get_mut(group) else { return };
        steps.resize(count, false);
        for step in series.present() {
            if let Some(cell) = steps.get_mut(step) {
                *cell = true;
            }
        }
    }

    fn has(&self, group: Option<usize>, step: usize) -> bool {
        group.and_then(|group| self.steps.get(group)?.get(step)).copied().unwrap_or_default()
    }
}

/// Hands on the left series where the right side has (`and`) or has not (`unless`) a series of their group.
fn filtered(ev: &Evaluator<'_>, binary: &Binary, where_present: bool, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let mut groups = MatchGroups::new(&binary.matching.labels);
    let mut presence = Presence::default();
    ev.rows(&binary.right, &mut |series| {
        presence.add(groups.number(&series.labels), series, ev.steps.count);
        Ok(())
    })?;
    ev.rows(&binary.left, &mut |series| {
        let group = groups.known(&series.labels);
        series.retain(|step| presence.has(group, step) == where_present);
        if series.is_empty() { Ok(()) } else { sink(series) }
    })
}

/// Hands on the left series, and the right ones where the left side has none of their group.
fn either(ev: &Evaluator<'_>, binary: &Binary, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let mut groups = MatchGroups::new(&binary.matching.labels);
    let mut presence = Presence::default();
    let mut all = Matrix::new(ev.query);
    ev.rows(&binary.left, &mut |series| {
        presence.add(groups.number(&series.labels), series, ev.steps.count);
        all.push(series)
    })?;
    ev.rows(&binary.right, &mut |series| {
        let group = groups.known(&series.labels);
        series.retain(|step| !presence.has(group, step));
        if series.is_empty() { Ok(()) } else { all.push(series) }
    })?;
    all.merged()?.drain(sink)
}

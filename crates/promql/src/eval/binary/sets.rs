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

/// At which steps a match group has a series: one bit each, group after group.
struct Presence {
    bits: Vec<u64>,
    /// Words of a group.
    words: usize,
}

impl Presence {
    fn new(steps: usize) -> Self {
        Self { bits: Vec::new(), words: steps.div_ceil(64) }
    }

    fn add(&mut self, group: usize, series: &Series) {
        let end = (group + 1) * self.words;
        if self.bits.len() < end {
            self.bits.resize(end, 0);
        }
        for step in series.present() {
            if let Some(word) = self.bits.get_mut(group * self.words + step / 64) {
                *word |= 1 << (step % 64);
            }
        }
    }

    fn has(&self, group: Option<usize>, step: usize) -> bool {
        let word = group.and_then(|group| self.bits.get(group * self.words + step / 64));
        word.is_some_and(|word| word >> (step % 64) & 1 == 1)
    }
}

/// Hands on the left series where the right side has (`and`) or has not (`unless`) a series of their group.
fn filtered(ev: &Evaluator<'_>, binary: &Binary, where_present: bool, sink: &mut Sink<'_>) -> Result<(), EvalError> {
    let mut groups = MatchGroups::new(&binary.matching.labels);
    let mut presence = Presence::new(ev.steps.count);
    ev.rows(&binary.right, &mut |series| {
        presence.add(groups.number(&series.labels), series);
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
    let mut presence = Presence::new(ev.steps.count);
    let mut all = Matrix::new(ev.query);
    ev.rows(&binary.left, &mut |series| {
        presence.add(groups.number(&series.labels), series);
        all.push(series)
    })?;
    ev.rows(&binary.right, &mut |series| {
        let group = groups.known(&series.labels);
        series.retain(|step| !presence.has(group, step));
        if series.is_empty() { Ok(()) } else { all.push(series) }
    })?;
    all.merged()?.drain(sink)
}

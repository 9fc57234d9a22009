//! The samples of one series as columns, and windows that slide over them.
//!
//! Runs are appended as they are read and what no later window reaches is dropped, so that the columns hold about one
//! window and one run. The window of each step is found from that of the step before; nothing is searched from scratch.
//!
//! Invariants: as those of [`Window`]; windows move to the right or stand still.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homeostat_model::{
    Histogram, SampleRun, TimeMs,
    histogram::ResetHint,
    sample::{append_starts, is_stale},
};

use super::{
    budget::{Budget, Held},
    duration::Shifted,
    error::EvalError,
    evaluator::{Evaluator, LookedAt, Query},
    selector::gallop,
    series::{Series, histogram_samples},
    steps::Steps,
    window::Window,
};
use crate::{
    ast::Extend,
    source::{self, SourceError},
};

/// Where the window of each step lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    steps: Steps,
    shift: Shifted,
    range_ms: i64,
    extend: Extend,
    lookback_ms: i64,
}

impl Windows {
    pub(super) fn new(ev: &Evaluator<'_>, shift: Shifted, range_ms: i64, extend: Extend) -> Self {
        Self { steps: ev.steps, shift, range_ms, extend, lookback_ms: ev.query.options.lookback_ms }
    }

    /// Right end of a step's window, inclusive.
    fn end_ms(&self, step: usize) -> TimeMs {
        self.shift.reference(self.steps.time(step))
    }

    /// The time up to which samples matter to a step, inclusive.
    pub(super) fn reach_end_ms(&self, step: usize) -> TimeMs {
        let beyond = if self.extend == Extend::Smoothed { self.lookback_ms } else { 0 };
        self.end_ms(step).saturating_add(beyond)
    }

    /// The time from which samples matter to a step, exclusive.
    pub(super) fn reach_start_ms(&self, step: usize) -> TimeMs {
        let beyond = if self.extend == Extend::None { 0 } else { self.lookback_ms };
        self.end_ms(step).saturating_sub(self.range_ms).saturating_sub(beyond)
    }

    /// The samples that matter to any step.
    pub(super) fn looked_at(&self) -> LookedAt {
        let (first_ms, last_ms) = (self.reach_end_ms(0), self.reach_end_ms(self.last()));
        let width_ms = first_ms.saturating_sub(self.reach_start_ms(0));
        // With `@` all windows are the same one.
        let windows = source::Windows { first_ms, step_ms: self.steps.step_ms, width_ms };
        LookedAt { windows, last_ms }
    }

    /// The last step.
    pub(super) fn last(&self) -> usize {
        self.steps.count.saturating_sub(1)
    }
}

/// Looks at the windows of one series after the other.
pub(super) trait Visitor {
    /// The next series begins.
    fn begin(&mut self, series: &Series);
    /// The window of a step has samples.
    fn visit(&mut self, step: usize, window: &Window<'_>);
    /// All windows of the series were visited.
    fn end(&mut self) -> Result<(), EvalError>;
}

/// Bytes of a sample in the columns, with its start.
pub(super) const SAMPLE_BYTES_MAX: u64 = 24;

/// Lets one worker at a time look at a large window. What smaller windows hold is not part of the budget, so that no query
/// fails because others helped.
#[derive(Debug)]
pub(super) struct Gate<'g> {
    turn: &'g Mutex<()>,
    window_samples_max: u64,
    taken: Option<MutexGuard<'g, ()>>,
}

impl<'g> Gate<'g> {
    /// A window of more samples is large.
    pub(super) fn new(turn: &'g Mutex<()>, window_samples_max: u64) -> Self {
        Self { turn, window_samples_max, taken: None }
    }

    /// Returns true for a window that is large; waits until no other is.
    fn passes(&mut self, samples: u64) -> bool {
        if samples <= self.window_samples_max && self.taken.is_none() {
            return false;
        }
        self.taken.get_or_insert_with(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        true
    }
}

/// The samples of one series: floats apart from histograms, stale markers left out.
#[derive(Debug)]
pub(super) struct Columns<'g> {
    floats_t: Vec<TimeMs>,
    floats: Vec<f64>,
    /// Empty until a sample says since when it counts; then as many as floats. Likewise for histograms.
    float_starts: Vec<TimeMs>,
    histograms_t: Vec<TimeMs>,
    histograms: Vec<Arc<Histogram>>,
    histogram_starts: Vec<TimeMs>,
    float_window: Slot,
    histogram_window: Slot,
    /// Starts are looked at.
    with_starts: bool,
    held: Held,
    gate: Option<Gate<'g>>,
}

/// The part of a column that a window covers.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    from: usize,
    to: usize,
}

impl Slot {
    /// Moves to the times in `(start_ms, end_ms]`, neither of which goes back.
    #[inline]
    fn slide(&mut self, times: &[TimeMs], start_ms: TimeMs, end_ms: TimeMs) {
        self.from += gallop(times.get(self.from..).unwrap_or_default(), start_ms);
        self.to = self.to.max(self.from);
        self.to += gallop(times.get(self.to..).unwrap_or_default(), end_ms);
    }

    fn cut<T>(self, column: &[T]) -> &[T] {
        column.get(self.from..self.to).unwrap_or_default()
    }

    fn is_empty(self) -> bool {
        self.from == self.to
    }
}

impl<'g> Columns<'g> {
    /// With starts where they are looked at.
    pub(super) fn new(query: &Query<'_>) -> Self {
        Self::within(&query.budget, query.options.start_timestamps, None)
    }

    /// Of a budget that several use.
    pub(super) fn within(budget: &Arc<Budget>, with_starts: bool, gate: Option<Gate<'g>>) -> Self {
        Self {
            floats_t: Vec::new(),
            floats: Vec::new(),
            float_starts: Vec::new(),
            histograms_t: Vec::new(),
            histograms: Vec::new(),
            histogram_starts: Vec::new(),
            float_window: Slot::default(),
            histogram_window: Slot::default(),
            with_starts,
            held: Held::new(budget),
            gate,
        }
    }

    fn clear(&mut self) {
        self.floats_t.clear();
        self.floats.clear();
        self.float_starts.clear();
        self.histograms_t.clear();
        self.histograms.clear();
        self.histogram_starts.clear();
        self.float_window = Slot::default();
        self.histogram_window = Slot::default();
        if let Some(taken) = self.gate.as_mut().and_then(|gate| gate.taken.take()) {
            self.held.let_go();
            drop(taken);
        }
    }

    /// Reads the runs of a series and visits the windows of all steps that have samples.
    pub(super) fn slide(
        &mut self,
        runs: impl Iterator<Item = Result<SampleRun, SourceError>>,
        windows: &Windows,
        visitor: &mut impl Visitor,
    ) -> Result<(), EvalError> {
        self.clear();
        let mut step = 0;
        for run in runs {
            let run = run?;
            self.append(&run, windows.reach_start_ms(step))?;
            let Some(last_ms) = run.times().last() else { continue };
            while step <= windows.last() && windows.reach_end_ms(step) <= *last_ms {
                self.visit(step, windows, visitor);
                step += 1;
            }
            if step > windows.last() {
                return Ok(());
            }
            self.discard(windows.reach_start_ms(step));
        }
        self.visit_rest(step, windows, visitor);
        Ok(())
    }

    /// Takes the values of an evaluated series as samples, and visits the windows of all steps that have some.
    pub(super) fn slide_evaluated(
        &mut self,
        series: &Series,
        steps: &Steps,
        windows: &Windows,
        visitor: &mut impl Visitor,
    ) -> Result<(), EvalError> {
        self.fill(series, steps)?;
        self.visit_rest(0, windows, visitor);
        Ok(())
    }

    fn fill(&mut self, series: &Series, steps: &Steps) -> Result<(), EvalError> {
        self.clear();
        for step in series.first()..series.end() {
            if let Some(value) = series.float(step) {
                self.floats_t.push(steps.time(step));
                self.floats.push(value);
            } else if let Some(histogram) = series.histogram(step) {
                self.histograms_t.push(steps.time(step));
                self.histograms.push(with_unknown_reset(histogram));
            }
        }
        self.account()
    }

    fn visit_rest(&mut self, mut step: usize, windows: &Windows, visitor: &mut impl Visitor) {
        let newest = self.floats_t.last().max(self.histograms_t.last()).copied();
        let Some(newest_ms) = newest else { return };
        while step <= windows.last() && windows.reach_start_ms(step) < newest_ms {
            self.visit(step, windows, visitor);
            step += 1;
        }
    }

    #[inline]
    fn visit(&mut self, step: usize, windows: &Windows, visitor: &mut impl Visitor) {
        let (start_ms, end_ms) = (windows.reach_start_ms(step), windows.reach_end_ms(step));
        self.float_window.slide(&self.floats_t, start_ms, end_ms);
        if !self.histograms_t.is_empty() {
            self.histogram_window.slide(&self.histograms_t, start_ms, end_ms);
        }
        if self.float_window.is_empty() && self.histogram_window.is_empty() {
            return;
        }
        let end_ms = windows.end_ms(step);
        // Extended ranges do not look at starts.
        let starts = |slot: Slot, column| if windows.extend == Extend::None { slot.cut(column) } else { &[] };
        let window = Window {
            floats_t: self.float_window.cut(&self.floats_t),
            floats: self.float_window.cut(&self.floats),
            float_starts: starts(self.float_window, &self.float_starts),
            histograms_t: self.histogram_window.cut(&self.histograms_t),
            histograms: self.histogram_window.cut(&self.histograms),
            histogram_starts: starts(self.histogram_window, &self.histogram_starts),
            start_ms: end_ms.saturating_sub(windows.range_ms),
            end_ms,
            range_ms: windows.range_ms,
            eval_ms: windows.steps.time(step),
            extend: windows.extend,
        };
        visitor.visit(step, &window);
    }

    /// Appends what of a run lies after an instant.
    fn append(&mut self, run: &SampleRun, after_ms: TimeMs) -> Result<(), EvalError> {
        let from = run.times().partition_point(|t_ms| *t_ms <= after_ms);
        let times = run.times().get(from..).unwrap_or_default();
        let starts = run.starts().get(from..).filter(|_| self.with_starts).unwrap_or_default();
        match run {
            SampleRun::Floats { values, .. } => {
                let values = values.get(from..).unwrap_or_default();
                let living = (0..).zip(values).filter(|(_, value)| !is_stale(**value)).map(|(at, _)| at);
                append_starts(&mut self.float_starts, self.floats.len(), starts, living);
                if values.iter().any(|value| is_stale(*value)) {
                    let living = times.iter().zip(values).filter(|(_, value)| !is_stale(**value));
                    for (t_ms, value) in living {
                        self.floats_t.push(*t_ms);
                        self.floats.push(*value);
                    }
                } else {
                    self.floats_t.extend_from_slice(times);
                    self.floats.extend_from_slice(values);
                }
            }
            SampleRun::Histograms { values, .. } => {
                let values = values.get(from..).unwrap_or_default();
                let living = (0..).zip(values).filter(|(_, value)| !is_stale(value.sum)).map(|(at, _)| at);
                append_starts(&mut self.histogram_starts, self.histograms.len(), starts, living);
                let living = times.iter().zip(values).filter(|(_, value)| !is_stale(value.sum));
                for (t_ms, value) in living {
                    self.histograms_t.push(*t_ms);
                    self.histograms.push(Arc::clone(value));
                }
            }
        }
        self.account()
    }

    fn account(&mut self) -> Result<(), EvalError> {
        let histograms = self.histograms.iter().map(|histogram| histogram_samples(histogram)).sum::<u64>();
        let samples = self.floats.len() as u64 + histograms;
        let starts = self.float_starts.len() + self.histogram_starts.len();
        if self.gate.as_mut().is_some_and(|gate| !gate.passes(samples)) {
            return Ok(());
        }
        self.held.set(samples, samples * (SAMPLE_BYTES_MAX - 8) + starts as u64 * 8)
    }

    /// Drops samples at or before an instant, once they are more than half of all: each is moved at most once then.
    fn discard(&mut self, until_ms: TimeMs) {
        let old = gallop(&self.floats_t, until_ms);
        if old > self.floats_t.len() / 2 {
            self.floats_t.drain(..old);
            self.floats.drain(..old);
            self.float_starts.drain(..old.min(self.float_starts.len()));
            self.float_window = Slot::default();
        }
        let old = gallop(&self.histograms_t, until_ms);
        if old > self.histograms_t.len() / 2 {
            self.histograms_t.drain(..old);
            self.histograms.drain(..old);
            self.histogram_starts.drain(..old.min(self.histogram_starts.len()));
            self.histogram_window = Slot::default();
        }
    }
}

/// The steps of a subquery may leave out the sample at which a counter was reset, or repeat it: what its hint says is
/// not true of them.
fn with_unknown_reset(histogram: &Arc<Histogram>) -> Arc<Histogram> {
    match histogram.reset_hint {
        ResetHint::Reset | ResetHint::NotReset => {
            Arc::new(Histogram { reset_hint: ResetHint::Unknown, ..Histogram::clone(histogram) })
        }
        ResetHint::Unknown | ResetHint::Gauge => Arc::clone(histogram),
    }
}

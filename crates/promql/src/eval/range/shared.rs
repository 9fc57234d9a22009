//! Many series of a selector, asked about by several workers at a time.
//!
//! ```text
//! series that wait ──handfuls──▶ workers: read, ask ──▶ parts in the order of their series ──▶ the query's own thread
//! ```
//!
//! The query's own thread hands on what is next; while that is not ready it works as the others do. So sums are the same
//! to the last bit whoever helped. How far the others are ahead is limited, and what they hold is part of the budget.
//!
//! Invariant: a part is in the line from when its series are taken until it is handed on.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use homeostat_model::{Histogram, Labels};

use super::{
    asking::{Asker, Question},
    giving::{Giver, OneByOne},
    selected_windows,
};
use crate::{
    ast::MatrixSelector,
    eval::{
        budget::{Budget, Held},
        columns::{Columns, Visitor, Windows},
        error::{EvalError, execution},
        evaluator::{Evaluator, IsCancelled},
        range_functions::RangeFunction,
        series::Series,
        spared::Buckets,
        window::Window,
    },
    note::Notes,
    source::SelectedSeries,
};

/// Series from which on others are asked to help: reading as many takes about a millisecond, beginning to help a
/// twentieth of one.
const WORTH_SHARING: usize = 512;
/// Series that are taken at a time.
const HANDFUL: usize = 32;
/// Parts in the line at most, for each worker: when one is late the others go on.
const PARTS_PER_WORKER: usize = 8;
/// Cells of answers in the line at most, by steps: 8 MiB.
const CELLS_MAX: usize = 1 << 20;

/// Hands on the answers about all series of a range selector.
pub(super) fn rows(
    ev: &Evaluator<'_>,
    matrix: &MatrixSelector,
    question: &Question,
    giver: &mut Giver<'_, '_, '_>,
) -> Result<(), EvalError> {
    let windows = selected_windows(ev, matrix)?;
    let selected = ev.select(&matrix.vector.matchers, windows.looked_at())?;
    let workers = ev.query.source.workers();
    let width = workers.width();
    let parts_max = (CELLS_MAX / (HANDFUL * ev.steps.count.max(1))).min(width.saturating_mul(PARTS_PER_WORKER));
    let work = Work {
        question,
        windows,
        buckets: ev.buckets,
        budget: &ev.query.budget,
        with_starts: ev.query.options.start_timestamps,
        is_cancelled: ev.query.is_cancelled,
    };
    if width < 2 || parts_max < width || selected.len() < WORTH_SHARING {
        let mut one_by_one = OneByOne { asker: work.asker()?, giver };
        return work.through(selected, &mut one_by_one);
    }
    let line = Line::new(selected, parts_max);
    let mut outcome = Err(execution("nobody worked on the query"));
    workers.together(&|| line.help(&work), &mut || outcome = line.hand_on(&work, giver));
    outcome
}

/// Series that wait to be asked about, and answers that wait to be handed on.
struct Line<'l> {
    state: Mutex<State<'l>>,
    moved: Condvar,
    parts_max: usize,
}

struct State<'l> {
    waiting: std::vec::IntoIter<SelectedSeries<'l>>,
    /// In the order of their series; `None` while somebody works on it.
    parts: VecDeque<Option<Result<Answered, EvalError>>>,
    /// The number of the first of these parts.
    first: usize,
    /// Nobody wants more.
    is_over: bool,
}

/// What is to be done next.
enum Next<'l> {
    HandOn(Result<Answered, EvalError>),
    WorkOn(Taken<'l>),
    Nothing,
}

/// A handful of series and the number of their part.
struct Taken<'l> {
    number: usize,
    series: Vec<SelectedSeries<'l>>,
}

impl<'l> Line<'l> {
    fn new(selected: Vec<SelectedSeries<'l>>, parts_max: usize) -> Self {
        let (waiting, parts) = (selected.into_iter(), VecDeque::with_capacity(parts_max));
        let state = Mutex::new(State { waiting, parts, first: 0, is_over: false });
        Self { state, moved: Condvar::new(), parts_max }
    }

    fn lock(&self) -> MutexGuard<'_, State<'l>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, state: MutexGuard<'g, State<'l>>) -> MutexGuard<'g, State<'l>> {
        self.moved.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until no series waits.
    fn help(&self, work: &Work<'_>) {
        while let Some(taken) = self.take() {
            self.work_on(taken, work);
        }
    }

    /// Takes a handful once there is room for its part.
    fn take(&self) -> Option<Taken<'l>> {
        let mut state = self.lock();
        loop {
            if state.is_over || state.waiting.len() == 0 {
                return None;
            }
            match state.take(self.parts_max) {
                None => state = self.wait(state),
                taken => return taken,
            }
        }
    }

    fn work_on(&self, taken: Taken<'_>, work: &Work<'_>) {
        let mut place = Place { line: self, number: taken.number, answered: None };
        place.answered = Some(work.answers(taken.series));
    }

    /// Hands on all parts in their order, and works while the next one is not ready.
    fn hand_on(&self, work: &Work<'_>, giver: &mut Giver<'_, '_, '_>) -> Result<(), EvalError> {
        let _over = Over(self);
        let mut series = Series::default();
        loop {
            match self.next() {
                Next::HandOn(answered) => {
                    self.moved.notify_all();
                    answered?.hand_on(&mut series, giver)?;
                }
                Next::WorkOn(taken) => self.work_on(taken, work),
                Next::Nothing => return Ok(()),
            }
        }
    }

    fn next(&self) -> Next<'l> {
        let mut state = self.lock();
        loop {
            if let Some(answered) = state.pop() {
                return Next::HandOn(answered);
            }
            if let Some(taken) = state.take(self.parts_max) {
                return Next::WorkOn(taken);
            }
            if state.parts.is_empty() {
                return Next::Nothing;
            }
            state = self.wait(state);
        }
    }
}

impl<'l> State<'l> {
    fn take(&mut self, parts_max: usize) -> Option<Taken<'l>> {
        if self.parts.len() >= parts_max || self.waiting.len() == 0 {
            return None;
        }
        let number = self.first + self.parts.len();
        self.parts.push_back(None);
        Some(Taken { number, series: self.waiting.by_ref().take(HANDFUL).collect() })
    }

    /// Takes the first part out if it is ready.
    fn pop(&mut self) -> Option<Result<Answered, EvalError>> {
        let answered = self.parts.front_mut()?.take()?;
        self.parts.pop_front();
        self.first += 1;
        Some(answered)
    }
}

/// Where the answers of a part go; an error goes there when whoever worked on it panics.
struct Place<'p, 'l> {
    line: &'p Line<'l>,
    number: usize,
    answered: Option<Result<Answered, EvalError>>,
}

impl Drop for Place<'_, '_> {
    fn drop(&mut self) {
        let lost = || Err(execution("a part of the query was not worked on"));
        let answered = self.answered.take().unwrap_or_else(lost);
        let mut state = self.line.lock();
        let at = self.number - state.first;
        if let Some(part) = state.parts.get_mut(at) {
            *part = Some(answered);
        }
        drop(state);
        self.line.moved.notify_all();
    }
}

/// Sends everybody home when it goes.
struct Over<'o, 'l>(&'o Line<'l>);

impl Drop for Over<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.moved.notify_all();
    }
}

/// What every worker has to know.
struct Work<'w> {
    question: &'w Question,
    windows: Windows,
    buckets: Buckets,
    budget: &'w Arc<Budget>,
    with_starts: bool,
    is_cancelled: &'w IsCancelled<'w>,
}

impl<'w> Work<'w> {
    fn asker(&self) -> Result<Asker<'w>, EvalError> {
        let name = self.question.name;
        let function = RangeFunction::find(name).ok_or_else(|| execution(format!("function {name} is unknown")))?;
        Ok(Asker::new(self.question, function))
    }

    /// Visits the windows of all these series.
    fn through(&self, selected: Vec<SelectedSeries<'_>>, visitor: &mut impl Visitor) -> Result<(), EvalError> {
        let mut columns = Columns::within(self.budget, self.with_starts);
        for SelectedSeries { labels, runs } in selected {
            if (self.is_cancelled)() {
                return Err(EvalError::Cancelled);
            }
            visitor.begin(&Series::new(labels, false));
            columns.slide(self.buckets.runs(runs), &self.windows, visitor)?;
            visitor.end()?;
        }
        Ok(())
    }

    fn answers(&self, handful: Vec<SelectedSeries<'_>>) -> Result<Answered, EvalError> {
        let mut keeper = Keeper {
            asker: self.asker()?,
            rows: Vec::with_capacity(handful.len()),
            cells: Vec::new(),
            held: Held::new(self.budget),
        };
        self.through(handful, &mut keeper)?;
        let Keeper { asker, rows, cells, held } = keeper;
        Ok(Answered { rows, cells, notes: asker.notes, _held: held })
    }
}

/// The answers about a handful of series: a column for all of them, so that what goes from thread to thread is one piece.
struct Answered {
    rows: Vec<Row>,
    cells: Vec<f64>,
    notes: Notes,
    _held: Held,
}

struct Row {
    labels: Labels,
    drop_name: bool,
    first: usize,
    cells: Range<usize>,
    histograms: Vec<Option<Arc<Histogram>>>,
}

impl Answered {
    fn hand_on(mut self, series: &mut Series, giver: &mut Giver<'_, '_, '_>) -> Result<(), EvalError> {
        giver.tell(&mut self.notes);
        for Row { labels, drop_name, first, cells, histograms } in self.rows {
            series.refill(first, self.cells.get(cells).unwrap_or_default(), histograms);
            (series.labels, series.drop_name) = (labels, drop_name);
            giver.give(series)?;
        }
        Ok(())
    }
}

/// Asks about series and keeps the answers.
struct Keeper<'k> {
    asker: Asker<'k>,
    rows: Vec<Row>,
    cells: Vec<f64>,
    held: Held,
}

impl Visitor for Keeper<'_> {
    fn begin(&mut self, series: &Series) {
        self.asker.begin(series);
    }

    #[inline]
    fn visit(&mut self, step: usize, window: &Window<'_>) {
        self.asker.ask(step, window);
    }

    fn end(&mut self) -> Result<(), EvalError> {
        self.asker.end()?;
        let series = &mut self.asker.result;
        if series.is_empty() {
            return Ok(());
        }
        self.held.add(series.samples(), series.heap_bytes())?;
        let from = self.cells.len();
        self.cells.extend_from_slice(series.floats());
        self.rows.push(Row {
            labels: series.labels.clone(),
            drop_name: series.drop_name,
            first: series.first(),
            cells: from..self.cells.len(),
            histograms: series.take_histograms(),
        });
        Ok(())
    }
}

//! Many series of a selector, asked about by several workers at a time.
//!
//! ```text
//! series that wait ──handfuls──▶ workers: read, ask ──▶ parts in the order of their series ──▶ the query's own thread
//! ```
//!
//! The query's own thread hands on what is next; while that is not ready it works as the others do. So sums are the same
//! to the last bit whoever helped.
//!
//! Nor does help ever take from the budget: what workers hold beside the query is not part of it, and is bounded by itself.
//! Answers in the line take [`LINE_BYTES_MAX`] and what is under way; windows a quarter of what a query may hold, and a
//! larger one waits for its turn and is counted then, beside no more answers than there would be without help.
//!
//! Invariants: a part is in the line from when its series are taken until its answers are taken out; whatever happens to
//! whoever works on it, something is put there.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use homeostat_model::{Histogram, Labels};

use super::{
    asking::{Asker, Asking, Question, Taker},
    giving::Giver,
    selected_windows,
};
use crate::{
    ast::MatrixSelector,
    eval::{
        budget::Budget,
        columns::{Columns, Gate, SAMPLE_BYTES_MAX, Visitor, Windows},
        error::{EvalError, execution},
        evaluator::{Evaluator, IsCancelled},
        limits::Options,
        range_functions::RangeFunction,
        series::Series,
        spared::Buckets,
    },
    note::Notes,
    source::SelectedSeries,
};

/// Series from which on others are asked to help: reading as many takes about a millisecond, beginning to help a
/// twentieth of one.
const WORTH_SHARING: usize = 512;
/// Series that are taken at a time, at most.
const HANDFUL_MAX: usize = 32;
/// Parts in the line at most, for each worker: when one is late the others go on.
const PARTS_PER_WORKER: usize = 8;
/// Bytes of answers in the line at which nobody takes more.
const LINE_BYTES_MAX: usize = 8 << 20;

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
    let work = Work { ev: Shared::of(ev), question, windows, turn: Mutex::default(), width };
    if width < 2 || selected.len() < WORTH_SHARING {
        let mut columns = Columns::new(ev.query);
        return work.through(selected, &mut columns, &mut Asking::new(work.asker()?, giver));
    }
    let line = Line::new(selected, ev.steps.count, width);
    let mut outcome = Err(execution("nobody worked on the query"));
    workers.together(line.helpers_wanted(), &|| line.help(&work), &mut || outcome = line.hand_on(&work, giver));
    outcome
}

/// Series that wait to be asked about, and answers that wait to be handed on.
struct Line<'l> {
    state: Mutex<State<'l>>,
    moved: Condvar,
    /// Nobody wants more.
    is_over: AtomicBool,
    handful: usize,
    parts_max: usize,
    /// Bytes of answers at which a worker leaves the rest of its handful.
    part_bytes_max: usize,
}

struct State<'l> {
    waiting: std::vec::IntoIter<SelectedSeries<'l>>,
    /// In the order of their series; `None` while somebody works on it.
    parts: VecDeque<Option<Result<Answered<'l>, EvalError>>>,
    /// The number of the first of these parts.
    first: usize,
    /// What those that are ready take.
    bytes: usize,
}

/// What is to be done next.
enum Next<'l> {
    HandOn(Result<Answered<'l>, EvalError>),
    WorkOn(Taken<'l>),
    Nothing,
}

/// A handful of series and the number of their part.
struct Taken<'l> {
    number: usize,
    series: Vec<SelectedSeries<'l>>,
}

impl<'l> Line<'l> {
    fn new(selected: Vec<SelectedSeries<'l>>, steps: usize, width: usize) -> Self {
        let series_bytes = steps.max(1).saturating_mul(size_of::<f64>());
        let handful = (LINE_BYTES_MAX / series_bytes.saturating_mul(2 * width)).clamp(1, HANDFUL_MAX);
        let parts_max = width.saturating_mul(PARTS_PER_WORKER);
        let (waiting, parts) = (selected.into_iter(), VecDeque::with_capacity(parts_max));
        Self {
            state: Mutex::new(State { waiting, parts, first: 0, bytes: 0 }),
            moved: Condvar::new(),
            is_over: AtomicBool::new(false),
            handful,
            parts_max,
            part_bytes_max: LINE_BYTES_MAX / (2 * width),
        }
    }

    /// How many can be of use beside the query's own thread.
    fn helpers_wanted(&self) -> usize {
        self.lock().waiting.len().div_ceil(self.handful).saturating_sub(1)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
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
            if self.is_over() || state.waiting.len() == 0 {
                return None;
            }
            match self.take_from(&mut state) {
                None => state = self.wait(state),
                taken => return taken,
            }
        }
    }

    fn work_on(&self, taken: Taken<'l>, work: &Work<'_>) {
        let mut place = Place { line: self, number: taken.number, answered: None };
        place.answered = Some(work.answers(taken.series, self));
    }

    /// Hands on all parts in their order, and works while the next one is not ready.
    fn hand_on(&self, work: &Work<'_>, giver: &mut Giver<'_, '_, '_>) -> Result<(), EvalError> {
        let _over = Over(self);
        let mut series = Series::default();
        loop {
            match self.next() {
                Next::HandOn(answered) => {
                    self.moved.notify_all();
                    answered?.hand_on(work, &mut series, giver)?;
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
            if let Some(taken) = self.take_from(&mut state) {
                return Next::WorkOn(taken);
            }
            if state.parts.is_empty() {
                return Next::Nothing;
            }
            state = self.wait(state);
        }
    }
}

impl<'l> Line<'l> {
    fn take_from(&self, state: &mut State<'l>) -> Option<Taken<'l>> {
        let is_full = self.parts_max <= state.parts.len() || LINE_BYTES_MAX <= state.bytes;
        if is_full || state.waiting.len() == 0 {
            return None;
        }
        let series = state.waiting.by_ref().take(self.handful).collect();
        let number = state.first + state.parts.len();
        state.parts.push_back(None);
        Some(Taken { number, series })
    }
}

impl<'l> State<'l> {
    /// Takes the first part out if it is ready.
    fn pop(&mut self) -> Option<Result<Answered<'l>, EvalError>> {
        let answered = self.parts.front_mut()?.take()?;
        self.parts.pop_front();
        self.first += 1;
        self.bytes = self.bytes.saturating_sub(bytes_of(&answered));
        Some(answered)
    }
}

/// Where the answers of a part go; an error goes there when whoever worked on it panics.
struct Place<'p, 'l> {
    line: &'p Line<'l>,
    number: usize,
    answered: Option<Result<Answered<'l>, EvalError>>,
}

impl Drop for Place<'_, '_> {
    fn drop(&mut self) {
        let lost = || Err(execution("a part of the query was not worked on"));
        let answered = self.answered.take().unwrap_or_else(lost);
        let mut state = self.line.lock();
        let at = self.number - state.first;
        state.bytes += bytes_of(&answered);
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
        // Under the lock: nobody is between looking and waiting.
        let state = self.0.lock();
        self.0.is_over.store(true, Ordering::Relaxed);
        drop(state);
        self.0.moved.notify_all();
    }
}

fn bytes_of(answered: &Result<Answered<'_>, EvalError>) -> usize {
    answered.as_ref().map_or(0, |answered| answered.bytes)
}

/// What of the evaluator every worker needs.
struct Shared<'w> {
    buckets: Buckets,
    budget: &'w Arc<Budget>,
    options: Options,
    is_cancelled: &'w IsCancelled<'w>,
}

impl<'w> Shared<'w> {
    fn of(ev: &Evaluator<'w>) -> Self {
        let query = ev.query;
        Self { buckets: ev.buckets, budget: &query.budget, options: query.options, is_cancelled: query.is_cancelled }
    }
}

/// What every worker has to know.
struct Work<'w> {
    ev: Shared<'w>,
    question: &'w Question,
    windows: Windows,
    /// Whose turn it is to look at a large window.
    turn: Mutex<()>,
    width: usize,
}

impl<'w> Work<'w> {
    fn asker(&self) -> Result<Asker<'w>, EvalError> {
        let name = self.question.name;
        let function = RangeFunction::find(name).ok_or_else(|| execution(format!("function {name} is unknown")))?;
        Ok(Asker::new(self.question, function))
    }

    /// Visits the windows of all these series.
    fn through(
        &self,
        selected: Vec<SelectedSeries<'_>>,
        columns: &mut Columns<'_>,
        visitor: &mut impl Visitor,
    ) -> Result<(), EvalError> {
        selected.into_iter().try_for_each(|series| self.visit(series, columns, visitor))
    }

    fn visit(
        &self,
        series: SelectedSeries<'_>,
        columns: &mut Columns<'_>,
        visitor: &mut impl Visitor,
    ) -> Result<(), EvalError> {
        if (self.ev.is_cancelled)() {
            return Err(EvalError::Cancelled);
        }
        visitor.begin(&Series::new(series.labels, false));
        columns.slide(self.ev.buckets.runs(series.runs), &self.windows, visitor)?;
        visitor.end()
    }

    /// The columns of a worker beside others.
    fn columns(&self) -> Columns<'_> {
        // Windows of all workers together: a quarter of what the query may hold, in samples and in bytes.
        let limits = &self.ev.options.limits;
        let held_max = limits.samples_max.min(limits.memory_bytes_max / SAMPLE_BYTES_MAX);
        let gate = Gate::new(&self.turn, held_max / (4 * self.width as u64));
        Columns::within(self.ev.budget, self.ev.options.start_timestamps, Some(gate))
    }

    fn answers<'l>(&self, handful: Vec<SelectedSeries<'l>>, line: &Line<'_>) -> Result<Answered<'l>, EvalError> {
        let mut columns = self.columns();
        let rows = Vec::with_capacity(handful.len());
        let kept =
            Answered { rows, cells: Vec::new(), notes: Notes::default(), bytes: 0, then: Ok(()), rest: Vec::new() };
        let mut asking = Asking::new(self.asker()?, kept);
        let (mut handful, mut then) = (handful.into_iter(), Ok(()));
        while then.is_ok() && asking.taker.bytes < line.part_bytes_max && !line.is_over() {
            let Some(series) = handful.next() else { break };
            then = self.visit(series, &mut columns, &mut asking);
        }
        Ok(Answered { then, rest: handful.collect(), ..asking.taker })
    }
}

/// The answers about a handful of series: a column for all of them, so that what goes from thread to thread is one piece.
struct Answered<'l> {
    rows: Vec<Row>,
    cells: Vec<f64>,
    notes: Notes,
    /// What all this takes, about.
    bytes: usize,
    /// How it went on behind these series.
    then: Result<(), EvalError>,
    /// Series that were not asked about: answers about them would have been too large to wait in the line.
    rest: Vec<SelectedSeries<'l>>,
}

struct Row {
    labels: Labels,
    drop_name: bool,
    first: usize,
    cells: Range<usize>,
    histograms: Vec<Option<Arc<Histogram>>>,
}

impl Answered<'_> {
    fn hand_on(mut self, work: &Work<'_>, series: &mut Series, giver: &mut Giver<'_, '_, '_>) -> Result<(), EvalError> {
        giver.tell(&mut self.notes);
        for Row { labels, drop_name, first, cells, histograms } in self.rows {
            series.refill(first, self.cells.get(cells).unwrap_or_default(), histograms);
            (series.labels, series.drop_name) = (labels, drop_name);
            giver.give(series)?;
        }
        self.then?;
        if self.rest.is_empty() {
            return Ok(());
        }
        work.through(self.rest, &mut work.columns(), &mut Asking::new(work.asker()?, giver))
    }
}

impl Taker for Answered<'_> {
    fn take(&mut self, asker: &mut Asker<'_>) -> Result<(), EvalError> {
        self.notes.merge(std::mem::take(&mut asker.notes));
        let series = &mut asker.result;
        if series.is_empty() {
            return Ok(());
        }
        // A sample of a histogram stands for sixteen of its bytes.
        self.bytes += size_of::<Row>() + 16 * series.samples() as usize + series.heap_bytes() as usize;
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

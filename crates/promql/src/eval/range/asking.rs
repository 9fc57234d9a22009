//! Asking a function about the windows of one series after the other.

use crate::{
    ast::ByteSpan,
    eval::{
        columns::Visitor,
        error::{EvalError, execution},
        range_functions::RangeFunction,
        scalar::Scalar,
        series::Series,
        window::{Place, Window},
    },
    note::Notes,
};

/// A call of a function over a range: what is the same for all series.
pub(super) struct Question {
    /// The function's name.
    pub(super) name: &'static str,
    /// Its scalar arguments.
    params: Vec<Scalar>,
    /// Some argument differs between steps.
    varies: bool,
    /// Why the function cannot be asked at all.
    refusal: Option<String>,
    /// Where the call stands.
    pub(super) call: ByteSpan,
    /// Where its arguments stand.
    pub(super) args: Vec<ByteSpan>,
}

impl Question {
    pub(super) fn new(
        name: &'static str,
        params: Vec<Scalar>,
        refusal: Option<String>,
        call: ByteSpan,
        args: Vec<ByteSpan>,
    ) -> Self {
        let varies = params.iter().any(|param| matches!(param, Scalar::Column(_)));
        Self { name, params, varies, refusal, call, args }
    }
}

/// Asks about each window of a series and keeps the answers.
pub(super) struct Asker<'a> {
    question: &'a Question,
    function: RangeFunction,
    /// The arguments at the present step.
    params: Vec<f64>,
    metric: String,
    asked: bool,
    /// What is to be told of the answers so far.
    pub(super) notes: Notes,
    /// The answers about the present series, with its labels.
    pub(super) result: Series,
}

impl<'a> Asker<'a> {
    pub(super) fn new(question: &'a Question, function: RangeFunction) -> Self {
        let params = question.params.iter().map(|param| param.at(0)).collect();
        Self {
            question,
            function,
            params,
            metric: String::new(),
            asked: false,
            notes: Notes::default(),
            result: Series::default(),
        }
    }

    fn begin(&mut self, series: &Series) {
        self.metric.clear();
        self.metric.push_str(series.labels.metric().unwrap_or_default());
        self.result.clear();
        self.result.labels = series.labels.clone();
        self.result.drop_name = series.drop_name;
        self.function.begin();
    }

    #[inline]
    fn ask(&mut self, step: usize, window: &Window<'_>) {
        self.asked = true;
        if self.question.varies {
            for (cell, param) in self.params.iter_mut().zip(&self.question.params) {
                *cell = param.at(step);
            }
        }
        let place = Place { call: self.question.call, args: &self.question.args, metric: &self.metric };
        if let Some(value) = self.function.answer(window, &self.params, &place, &mut self.notes) {
            self.result.push(step, value);
        }
    }

    /// An error when the function could not be asked.
    fn end(&self) -> Result<(), EvalError> {
        match &self.question.refusal {
            Some(why) if self.asked => Err(execution(why.clone())),
            _ => Ok(()),
        }
    }
}

/// Takes the answers about a series, when it was asked about.
pub(super) trait Taker {
    /// The series and its answers are those of the asker.
    fn take(&mut self, asker: &mut Asker<'_>) -> Result<(), EvalError>;
}

/// Asks about the windows of each series, and has the answers taken.
pub(super) struct Asking<'a, T> {
    asker: Asker<'a>,
    pub(super) taker: T,
}

impl<'a, T: Taker> Asking<'a, T> {
    pub(super) fn new(asker: Asker<'a>, taker: T) -> Self {
        Self { asker, taker }
    }
}

impl<T: Taker> Visitor for Asking<'_, T> {
    fn begin(&mut self, series: &Series) {
        self.asker.begin(series);
    }

    #[inline]
    fn visit(&mut self, step: usize, window: &Window<'_>) {
        self.asker.ask(step, window);
    }

    fn end(&mut self) -> Result<(), EvalError> {
        self.asker.end()?;
        self.taker.take(&mut self.asker)
    }
}

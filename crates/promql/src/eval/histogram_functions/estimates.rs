//! Quantiles and fractions of native and classic histograms.
//!
//! A native histogram is answered for as soon as its series is seen. Of classic ones the buckets are collected: those
//! with the same labels but `le` are one histogram. Labels are looked at once per series, not per step.
//! Where a native and a classic histogram have the same labels at the same step, neither is answered for.

use std::collections::BTreeMap;

use homeostat_model::{Histogram, Labels, number_text::open_metrics};

use super::{
    present_histograms,
    told::{self, FilledUpNotes, NanNote},
};
use crate::{
    ast::Expr,
    eval::{
        budget::Held,
        error::EvalError,
        evaluator::{Evaluator, Matrix, Sink},
        scalar::Scalar,
        series::Series,
    },
    histogram::{
        ClassicBucket, FilledUp, Fraction, NanEffect, Quantile, classic_fraction, classic_quantile, fraction,
        parse_bound, quantile,
    },
    map::HashMap,
};

/// The label of a bucket's upper bound.
const BOUND: &str = "le";

/// What is asked about a histogram.
pub(super) enum Question {
    /// The value with this share of the observations at or below it.
    Quantile(Scalar),
    /// The share of the observations between two values.
    Fraction { lower: Scalar, upper: Scalar },
}

impl Question {
    fn native(&self, step: usize, histogram: &Histogram) -> (f64, Option<NanNote>) {
        match self {
            Self::Quantile(q) => {
                let Quantile { value, nan } = quantile(q.at(step), histogram);
                let note = match nan {
                    NanEffect::None => None,
                    NanEffect::IsNan => Some(NanNote::QuantileIsNan),
                    NanEffect::Higher => Some(NanNote::QuantileIsHigher),
                };
                (value, note)
            }
            Self::Fraction { lower, upper } => {
                let Fraction { value, has_nan } = fraction(lower.at(step), upper.at(step), histogram);
                (value, has_nan.then_some(NanNote::NotInFraction))
            }
        }
    }

    fn classic(&self, step: usize, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<FilledUp>) {
        match self {
            Self::Quantile(q) => classic_quantile(q.at(step), buckets),
            Self::Fraction { lower, upper } => (classic_fraction(lower.at(step), upper.at(step), buckets), None),
        }
    }
}

/// Hands on the answers to all questions for each histogram of a vector. With a label, each series says in it which
/// quantile it is.
pub(super) fn estimates(
    ev: &Evaluator<'_>,
    vector: &Expr,
    questions: &[Question],
    label: Option<&str>,
    sink: &mut Sink<'_>,
) -> Result<(), EvalError> {
    let mut histograms = Histograms::new(ev, vector, questions);
    ev.rows(vector, &mut |series| histograms.take(series))?;
    let answers = histograms.finish()?;
    let mut matrix = Matrix::new(ev.query);
    for Answered { labels, drop_name, answers } in answers {
        for (question, mut answer) in questions.iter().zip(answers) {
            (answer.labels, answer.drop_name) = (labels.clone(), drop_name);
            ev.without_name(&mut answer);
            match (label, question) {
                (Some(label), Question::Quantile(q)) => {
                    for mut part in split_by_quantile(&answer, q, label) {
                        matrix.push(&mut part)?;
                    }
                }
                _ if answer.is_empty() => {}
                // Distinct labels stay distinct, so nothing has to be put together.
                _ if ev.delays_names() => sink(&mut answer)?,
                _ => matrix.push(&mut answer)?,
            }
        }
    }
    matrix.merged()?.drain(sink)
}

/// A series for each quantile that was asked for at some step, with a label that says which.
fn split_by_quantile(answer: &Series, q: &Scalar, label: &str) -> Vec<Series> {
    let mut parts: BTreeMap<u64, Series> = BTreeMap::new();
    for step in answer.present() {
        let (q, Some(value)) = (q.at(step), answer.float(step)) else { continue };
        let part = parts.entry(q.to_bits()).or_insert_with(|| {
            let labels = answer.labels.with(label, &open_metrics(q));
            Series::new(labels, answer.drop_name)
        });
        part.push_float(step, value);
    }
    parts.into_values().collect()
}

/// The answers for one histogram, one series per question.
struct Answered {
    labels: Labels,
    drop_name: bool,
    answers: Vec<Series>,
}

/// A classic histogram: the series of its buckets.
struct Classic {
    /// Without `le`.
    labels: Labels,
    drop_name: bool,
    buckets: Vec<(f64, Series)>,
}

/// All histograms of a vector: native ones answered for, classic ones put together.
struct Histograms<'h, 'q> {
    ev: &'h Evaluator<'q>,
    vector: &'h Expr,
    questions: &'h [Question],
    natives: Vec<Answered>,
    native_at: HashMap<Labels, usize>,
    /// What is to be told of natives: which, at what step.
    nan_notes: Vec<(usize, usize, NanNote)>,
    classics: Vec<Classic>,
    classic_at: HashMap<Labels, usize>,
    held: Held,
}

impl<'h, 'q> Histograms<'h, 'q> {
    fn new(ev: &'h Evaluator<'q>, vector: &'h Expr, questions: &'h [Question]) -> Self {
        Self {
            ev,
            vector,
            questions,
            natives: Vec::new(),
            native_at: HashMap::default(),
            nan_notes: Vec::new(),
            classics: Vec::new(),
            classic_at: HashMap::default(),
            held: Held::new(&ev.query.budget),
        }
    }

    /// Takes a series of the vector in; it may hold numbers, native histograms, or both at different steps.
    fn take(&mut self, series: &mut Series) -> Result<(), EvalError> {
        if series.has_histograms() {
            self.take_native(series)?;
            series.drop_histograms();
        }
        if series.is_empty() { Ok(()) } else { self.take_bucket(series) }
    }

    fn take_native(&mut self, series: &Series) -> Result<(), EvalError> {
        let index = self.natives.len();
        let mut answers = vec![Series::default(); self.questions.len()];
        for (step, histogram) in present_histograms(series) {
            for (question, answer) in self.questions.iter().zip(&mut answers) {
                let (value, note) = question.native(step, histogram);
                answer.push_float(step, value);
                self.nan_notes.extend(note.map(|note| (index, step, note)));
            }
        }
        self.hold(answers.iter())?;
        self.native_at.insert(series.labels.clone(), index);
        self.natives.push(Answered { labels: series.labels.clone(), drop_name: series.drop_name, answers });
        Ok(())
    }

    fn take_bucket(&mut self, series: &Series) -> Result<(), EvalError> {
        let le = series.labels.value(BOUND);
        let Some(upper) = parse_bound(le) else {
            let metric = series.labels.metric().unwrap_or_default();
            self.ev.note(|notes| told::bad_bound(le, metric, self.vector.span, notes));
            return Ok(());
        };
        self.hold(std::iter::once(series))?;
        let labels = series.labels.filtered(|name| name != BOUND);
        let next = self.classics.len();
        let at = *self.classic_at.entry(labels.clone()).or_insert(next);
        if at == next {
            self.classics.push(Classic { labels, drop_name: series.drop_name, buckets: Vec::new() });
        }
        if let Some(classic) = self.classics.get_mut(at) {
            classic.buckets.push((upper, series.clone()));
        }
        Ok(())
    }

    fn hold<'s>(&mut self, mut series: impl Iterator<Item = &'s Series>) -> Result<(), EvalError> {
        series.try_for_each(|series| self.held.add(series.samples(), series.heap_bytes() + size_of::<Series>() as u64))
    }

    /// The answers for all histograms, native ones first.
    fn finish(mut self) -> Result<Vec<Answered>, EvalError> {
        let mut filled_up = FilledUpNotes::default();
        let mut answered = Vec::new();
        for classic in std::mem::take(&mut self.classics) {
            self.ev.check_cancelled()?;
            let native = self.native_at.get(&classic.labels).copied();
            let contested = native.map(|native| self.contest(native, &classic)).unwrap_or_default();
            let mut answer = self.answer(classic, &contested, &mut filled_up);
            match native.and_then(|native| self.natives.get_mut(native)) {
                // They never meet any more, and have the same labels.
                Some(native) => {
                    for (mine, theirs) in native.answers.iter_mut().zip(&mut answer.answers) {
                        let _ = mine.absorb(theirs);
                    }
                }
                None => answered.push(answer),
            }
        }
        self.tell(filled_up);
        self.natives.append(&mut answered);
        Ok(self.natives)
    }

    /// Takes the answers of a native histogram away where a classic one has the same labels; returns those steps,
    /// ascending.
    fn contest(&mut self, native: usize, classic: &Classic) -> Vec<usize> {
        let Some(answered) = self.natives.get_mut(native) else { return Vec::new() };
        let is_classic = |step: usize| classic.buckets.iter().any(|(_, bucket)| bucket.float(step).is_some());
        let steps: Vec<_> = match answered.answers.first() {
            Some(answer) => answer.present().filter(|step| is_classic(*step)).collect(),
            None => Vec::new(),
        };
        if !steps.is_empty() {
            let metric = classic.labels.metric().unwrap_or_default();
            self.ev.note(|notes| told::mixed(metric, self.vector.span, notes));
            for answer in &mut answered.answers {
                answer.retain(|step| steps.binary_search(&step).is_err());
            }
            self.nan_notes.retain(|(index, step, _)| *index != native || steps.binary_search(step).is_err());
        }
        steps
    }

    /// Answers for a classic histogram but at the contested steps.
    fn answer(&self, mut classic: Classic, contested: &[usize], filled_up: &mut FilledUpNotes) -> Answered {
        classic.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let first = classic.buckets.iter().map(|(_, bucket)| bucket.first()).min().unwrap_or(0);
        let end = classic.buckets.iter().map(|(_, bucket)| bucket.end()).max().unwrap_or(0);
        let metric = self.metric(&classic.labels);
        let mut answers = vec![Series::default(); self.questions.len()];
        let mut buckets = Vec::with_capacity(classic.buckets.len());
        for step in (first..end).filter(|step| contested.binary_search(step).is_err()) {
            buckets.clear();
            let present = classic.buckets.iter();
            buckets.extend(
                present.filter_map(|(upper, bucket)| Some(ClassicBucket { upper: *upper, count: bucket.float(step)? })),
            );
            if buckets.is_empty() {
                continue;
            }
            for (question, answer) in self.questions.iter().zip(&mut answers) {
                let (value, filled) = question.classic(step, &mut buckets);
                answer.push_float(step, value);
                if let Some(filled) = filled {
                    filled_up.add(metric, self.ev.steps.time(step), filled);
                }
            }
        }
        Answered { labels: classic.labels, drop_name: classic.drop_name, answers }
    }

    fn tell(&mut self, filled_up: FilledUpNotes) {
        let place = self.vector.span;
        let mut told: Vec<_> = self.nan_notes.iter().map(|(index, _, note)| (*index, *note)).collect();
        told.sort_unstable();
        told.dedup();
        self.ev.note(|notes| {
            for (index, note) in told {
                let metric = self.natives.get(index).map_or("", |native| self.metric(&native.labels));
                note.tell(metric, place, notes);
            }
            filled_up.tell(place, notes);
        });
    }

    /// The name that notes about an answer show: none where names go at once.
    fn metric<'l>(&self, labels: &'l Labels) -> &'l str {
        if self.ev.delays_names() { labels.metric().unwrap_or_default() } else { "" }
    }
}

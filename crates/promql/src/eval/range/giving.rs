//! Handing on what a function over a range answered: names that go, notes, the order of series.

use homeostat_model::Labels;

use super::asking::{Asker, Question, Taker};
use crate::{
    eval::{
        error::{EvalError, same_labels},
        evaluator::{Evaluator, Sink},
        series::{Series, is_metadata},
    },
    map::HashSet,
    note::Notes,
    quote::quote,
};

/// Hands on the answers about one series after the other.
pub(super) struct Giver<'g, 's, 'q> {
    ev: &'g Evaluator<'q>,
    question: &'g Question,
    loses_name: bool,
    /// Results of numbers are those of a counter.
    counts: bool,
    /// The metric last told not to look like a counter.
    doubted: Option<String>,
    /// Results with the same labels are put together by who gets them.
    merges: bool,
    /// Labels of results, where names go at once and types and units may be missed.
    seen: HashSet<Labels>,
    sink: &'g mut Sink<'s>,
}

impl<'g, 's, 'q> Giver<'g, 's, 'q> {
    pub(super) fn new(
        ev: &'g Evaluator<'q>,
        question: &'g Question,
        loses_name: bool,
        merges: bool,
        sink: &'g mut Sink<'s>,
    ) -> Self {
        let counts = matches!(question.name, "rate" | "increase");
        Self { ev, question, loses_name, counts, doubted: None, merges, seen: HashSet::default(), sink }
    }

    /// Tells what was found out while asking.
    pub(super) fn tell(&self, notes: &mut Notes) {
        if !notes.is_empty() {
            self.ev.note(|all| all.merge(std::mem::take(notes)));
        }
    }

    /// Hands on a series; an empty one is nothing.
    pub(super) fn give(&mut self, result: &mut Series) -> Result<(), EvalError> {
        if result.is_empty() {
            return Ok(());
        }
        self.doubt_counter(result);
        if self.loses_name {
            let lost = !self.ev.delays_names() && result.labels.iter().any(|(name, _)| is_metadata(name));
            self.ev.without_name(result);
            if lost && !self.merges && !self.seen.insert(result.labels.clone()) {
                return Err(same_labels());
            }
        }
        (self.sink)(result)
    }

    /// Tells when a rate is taken of what does not look like a counter.
    fn doubt_counter(&mut self, result: &Series) {
        if !self.counts {
            return;
        }
        let metric = result.labels.metric().unwrap_or_default();
        let told = self.doubted.as_deref() == Some(metric);
        if metric.is_empty() || told || !has_numbers(result) {
            return;
        }
        let place = self.question.args.first().copied().unwrap_or(self.question.call);
        if self.ev.query.options.type_and_unit_labels {
            let kind = result.labels.value("__type__");
            if !matches!(kind, "counter" | "histogram") {
                let text = format!(
                    "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got \
                     {}: {}",
                    quote(kind),
                    quote(metric)
                );
                self.ev.note(|notes| notes.info(place, text));
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|end| metric.ends_with(end)) {
            let what = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
            self.ev.note(|notes| notes.info(place, format!("{what} {}", quote(metric))));
            self.doubted = Some(metric.to_owned());
        }
    }
}

fn has_numbers(series: &Series) -> bool {
    !series.has_histograms() || series.present().any(|step| series.float(step).is_some())
}

impl Taker for &mut Giver<'_, '_, '_> {
    fn take(&mut self, asker: &mut Asker<'_>) -> Result<(), EvalError> {
        self.tell(&mut asker.notes);
        self.give(&mut asker.result)
    }
}

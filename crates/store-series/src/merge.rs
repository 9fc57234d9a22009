//! Several sequences of samples of one series become one: in order of time, no time twice.
//!
//! Of two samples at the same time the one of the earlier sequence stays; callers put what was written first before.
//! Sequences that do not overlap are passed on as they are.

use std::{ops::Range, sync::Arc};

use homeostat_model::{Histogram, SampleRun, TimeMs, sample::append_starts};
use homeostat_promql::SourceError;

/// Runs of one sequence, in order of time.
pub(crate) type Runs<'a> = Box<dyn Iterator<Item = Result<SampleRun, SourceError>> + Send + 'a>;

/// Leaves out what lies in one of some ranges of time, all inclusive.
pub(crate) fn without<'a>(
    runs: impl Iterator<Item = Result<SampleRun, SourceError>> + Send + 'a,
    gone: Vec<(TimeMs, TimeMs)>,
) -> impl Iterator<Item = Result<SampleRun, SourceError>> + Send + 'a {
    runs.filter_map(move |run| match run {
        Ok(run) => {
            let kept = remove(run, &gone);
            (!kept.is_empty()).then_some(Ok(kept))
        }
        Err(error) => Some(Err(error)),
    })
}

fn remove(mut run: SampleRun, gone: &[(TimeMs, TimeMs)]) -> SampleRun {
    for (start_ms, end_ms) in gone {
        let from = run.times().partition_point(|t| t < start_ms);
        let to = run.times().partition_point(|t| t <= end_ms).max(from);
        match &mut run {
            SampleRun::Floats { t_ms, values, starts } => {
                t_ms.drain(from..to);
                values.drain(from..to);
                remove_starts(starts, from..to);
            }
            SampleRun::Histograms { t_ms, values, starts } => {
                t_ms.drain(from..to);
                values.drain(from..to);
                remove_starts(starts, from..to);
            }
        }
    }
    run
}

fn remove_starts(starts: &mut Vec<TimeMs>, range: Range<usize>) {
    if !starts.is_empty() {
        starts.drain(range);
    }
}

/// Floats between two instants; of starts there are none, or as many as of times.
pub(crate) fn floats_within(
    mut t_ms: Vec<TimeMs>,
    mut values: Vec<f64>,
    mut starts: Vec<TimeMs>,
    start_ms: TimeMs,
    end_ms: TimeMs,
) -> Option<SampleRun> {
    cut(&mut t_ms, &mut values, &mut starts, start_ms, end_ms);
    (!t_ms.is_empty()).then_some(SampleRun::Floats { t_ms, values, starts })
}

/// Histograms between two instants.
pub(crate) fn histograms_within(
    mut t_ms: Vec<TimeMs>,
    mut values: Vec<Arc<Histogram>>,
    mut starts: Vec<TimeMs>,
    start_ms: TimeMs,
    end_ms: TimeMs,
) -> Option<SampleRun> {
    cut(&mut t_ms, &mut values, &mut starts, start_ms, end_ms);
    (!t_ms.is_empty()).then_some(SampleRun::Histograms { t_ms, values, starts })
}

fn cut<V>(t_ms: &mut Vec<TimeMs>, values: &mut Vec<V>, starts: &mut Vec<TimeMs>, start_ms: TimeMs, end_ms: TimeMs) {
    let to = t_ms.partition_point(|t| *t <= end_ms);
    t_ms.truncate(to);
    values.truncate(to);
    starts.truncate(to);
    let from = t_ms.partition_point(|t| *t < start_ms);
    if from > 0 {
        t_ms.drain(..from);
        values.drain(..from);
        remove_starts(starts, 0..from);
    }
}

/// Samples of one run at most where sequences interleave; where they do not, runs keep their length.
const INTERLEAVED_MAX: usize = 256;

/// Merges sequences; the earlier one wins.
pub(crate) struct Merge<'a> {
    inputs: Vec<Input<'a>>,
}

struct Input<'a> {
    runs: Runs<'a>,
    /// The run at hand; `None` at the end.
    run: Option<SampleRun>,
    /// How many of its samples are gone.
    gone: usize,
    failed: Option<SourceError>,
}

impl Input<'_> {
    /// Gets the next run when nothing is left of this one.
    fn fill(&mut self) {
        while self.run.as_ref().is_none_or(|run| run.len() <= self.gone) {
            self.gone = 0;
            self.run = match self.runs.next() {
                Some(Ok(run)) => Some(run),
                Some(Err(error)) => {
                    self.failed = Some(error);
                    return self.run = None;
                }
                None => return self.run = None,
            }
        }
    }

    fn first_t(&self) -> Option<TimeMs> {
        self.run.as_ref()?.times().get(self.gone).copied()
    }

    /// The samples before `until` that are left, one at least.
    fn count_until(&self, until: Option<TimeMs>) -> usize {
        let left = self.run.as_ref().and_then(|run| run.times().get(self.gone..)).unwrap_or_default();
        until.map_or(left.len(), |until| left.partition_point(|t| *t < until).max(1))
    }

    fn skip(&mut self, count: usize) {
        self.gone += count;
        self.fill();
    }
}

impl<'a> Merge<'a> {
    pub(crate) fn new(inputs: impl IntoIterator<Item = Runs<'a>>) -> Self {
        let open = |runs| Input { runs, run: None, gone: 0, failed: None };
        let mut inputs: Vec<Input<'a>> = inputs.into_iter().map(open).collect();
        inputs.iter_mut().for_each(Input::fill);
        Self { inputs }
    }

    /// One sequence out of several; a single one is passed through.
    pub(crate) fn runs(mut inputs: Vec<Runs<'a>>) -> Runs<'a> {
        if inputs.len() == 1
            && let Some(only) = inputs.pop()
        {
            return only;
        }
        Box::new(Merge::new(inputs))
    }

    /// Leaves out what the others have up to `last`: it was given already.
    fn skip_until(&mut self, last: TimeMs) {
        for input in &mut self.inputs {
            while input.first_t().is_some_and(|t| t <= last) {
                let count = input.count_until(last.checked_add(1));
                input.skip(count);
            }
        }
    }

    fn step(&mut self, out: &mut Option<SampleRun>) -> Step {
        let Some((at, _)) = first_input(&self.inputs) else { return Step::Done };
        let others = self.inputs.iter().enumerate().filter(|(other, _)| *other != at);
        let until = others.filter_map(|(_, input)| input.first_t()).min();
        let Some(input) = self.inputs.get_mut(at) else { return Step::Done };
        let count = input.count_until(until);
        let Some(run) = &mut input.run else { return Step::Done };
        match out {
            None if input.gone == 0 && count == run.len() => {
                let whole = input.run.take();
                input.fill();
                *out = whole;
                return Step::Done;
            }
            None => *out = Some(part(run, input.gone, count)),
            Some(out) => {
                if !append(out, run, input.gone, count) {
                    return Step::Done;
                }
            }
        }
        input.skip(count);
        if out.as_ref().is_some_and(|out| INTERLEAVED_MAX <= out.len()) { Step::Done } else { Step::More }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    More,
    Done,
}

impl Iterator for Merge<'_> {
    type Item = Result<SampleRun, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut out = None;
        loop {
            if let Some(error) = self.inputs.iter_mut().find_map(|input| input.failed.take()) {
                self.inputs.clear();
                return Some(Err(error));
            }
            let step = self.step(&mut out);
            if let Some(last) = out.as_ref().and_then(|run| run.times().last().copied()) {
                self.skip_until(last);
            }
            if step == Step::Done {
                return out.map(Ok);
            }
        }
    }
}

/// The input that goes on first: the earliest time, of equal ones the first input.
fn first_input(inputs: &[Input<'_>]) -> Option<(usize, TimeMs)> {
    inputs.iter().enumerate().filter_map(|(at, input)| Some((at, input.first_t()?))).min_by_key(|(_, t)| *t)
}

fn part(run: &SampleRun, from: usize, count: usize) -> SampleRun {
    let range = from..from + count;
    match run {
        SampleRun::Floats { t_ms, values, starts } => SampleRun::Floats {
            t_ms: t_ms.get(range.clone()).unwrap_or_default().to_vec(),
            values: values.get(range.clone()).unwrap_or_default().to_vec(),
            starts: starts.get(range).unwrap_or_default().to_vec(),
        },
        SampleRun::Histograms { t_ms, values, starts } => SampleRun::Histograms {
            t_ms: t_ms.get(range.clone()).unwrap_or_default().to_vec(),
            values: values.get(range.clone()).unwrap_or_default().to_vec(),
            starts: starts.get(range).unwrap_or_default().to_vec(),
        },
    }
}

/// Appends a part of a run; false when it is of the other kind.
fn append(out: &mut SampleRun, run: &SampleRun, from: usize, count: usize) -> bool {
    let range = from..from + count;
    match (out, run) {
        (
            SampleRun::Floats { t_ms, values, starts },
            SampleRun::Floats { t_ms: more_t, values: more, starts: more_starts },
        ) => {
            append_starts(starts, t_ms.len(), more_starts, range.clone());
            t_ms.extend_from_slice(more_t.get(range.clone()).unwrap_or_default());
            values.extend_from_slice(more.get(range).unwrap_or_default());
        }
        (
            SampleRun::Histograms { t_ms, values, starts },
            SampleRun::Histograms { t_ms: more_t, values: more, starts: more_starts },
        ) => {
            append_starts(starts, t_ms.len(), more_starts, range.clone());
            t_ms.extend_from_slice(more_t.get(range.clone()).unwrap_or_default());
            values.extend_from_slice(more.get(range).unwrap_or_default());
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use homeostat_model::sample::{START_UNKNOWN, start_at};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_sequence_wins_and_nothing_is_lost(
            inputs in proptest::collection::vec(proptest::collection::btree_set(-20_i64..60, 0..20), 0..5),
            chop in 1_usize..6,
        ) {
            let mut expected = BTreeMap::new();
            for (at, times) in inputs.iter().enumerate() {
                for t in times {
                    expected.entry(*t).or_insert(at as f64);
                }
            }
            let sequences = inputs.iter().enumerate().map(|(at, times)| {
                let times: Vec<TimeMs> = times.iter().copied().collect();
                let runs: Vec<_> = times
                    .chunks(chop)
                    .map(|t| Ok(SampleRun::Floats {
                        t_ms: t.to_vec(),
                        values: vec![at as f64; t.len()],
                        // Odd ones say nothing: starts come and go with their samples.
                        starts: if at % 2 == 0 { t.iter().map(|t| t - 100).collect() } else { Vec::new() },
                    }))
                    .collect();
                Box::new(runs.into_iter()) as Runs<'_>
            });
            let mut merged = Vec::new();
            for run in Merge::runs(sequences.collect()) {
                let Ok(SampleRun::Floats { t_ms, values, starts }) = run else { panic!("floats only") };
                prop_assert!(!t_ms.is_empty());
                prop_assert!(starts.is_empty() || starts.len() == t_ms.len());
                for (at, (t, value)) in t_ms.iter().zip(&values).enumerate() {
                    let expected = if (*value as usize).is_multiple_of(2) { t - 100 } else { START_UNKNOWN };
                    prop_assert_eq!(start_at(&starts, at), expected);
                }
                merged.extend(t_ms.into_iter().zip(values));
            }
            prop_assert_eq!(merged, expected.into_iter().collect::<Vec<_>>());
        }
    }
}

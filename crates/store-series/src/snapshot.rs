//! Reading: the store as one query sees it.
//!
//! Not here: evaluation (`promql`).

use std::{collections::BTreeSet, sync::Arc};

use homeostat_model::{Labels, SampleRun, TimeMs};
use homeostat_promql::{Matcher, Select, SelectedSeries, SeriesSource, SourceError};

use crate::{
    exemplar::SeriesExemplars,
    head::{Head, HeadSeries, HeadView},
    merge::{Merge, Runs},
    select::select,
    store::Shared,
};

/// The store for one query.
#[derive(Clone, Debug)]
pub struct Snapshot {
    shared: Arc<Shared>,
}

/// What a question about labels or series covers.
#[derive(Clone, Copy, Debug)]
pub struct LabelQuery<'a> {
    /// Series that meet all matchers of one of the sets; without a set all series.
    pub sets: &'a [&'a [Matcher]],
    /// First instant, inclusive.
    pub start_ms: TimeMs,
    /// Last instant, inclusive.
    pub end_ms: TimeMs,
    /// Entries of the answer at most.
    pub limit: usize,
}

impl Default for LabelQuery<'_> {
    fn default() -> Self {
        Self { sets: &[], start_ms: TimeMs::MIN, end_ms: TimeMs::MAX, limit: usize::MAX }
    }
}

impl Snapshot {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Names of the labels of all series that the question covers, sorted.
    pub fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<String>, SourceError> {
        let head = self.shared.head();
        if covers_everything(&head, query) {
            let names = head.index().names().iter().map(|name| name.text.to_string());
            return Ok(sorted(names, query.limit));
        }
        let mut names = BTreeSet::new();
        for_each_series(&head, query, |labels| {
            for (name, _) in labels {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        });
        Ok(names.into_iter().take(query.limit).collect())
    }

    /// Values of a label among all series that the question covers, sorted.
    pub fn label_values(&self, name: &str, query: &LabelQuery<'_>) -> Result<Vec<String>, SourceError> {
        let head = self.shared.head();
        if covers_everything(&head, query) {
            let values = head.index().name(name).map(crate::head::Name::values).unwrap_or_default();
            return Ok(sorted(values.iter().map(|value| value.text.to_string()), query.limit));
        }
        let mut values = BTreeSet::new();
        for_each_series(&head, query, |labels| {
            if let Some(value) = labels.get(name)
                && !values.contains(value)
            {
                values.insert(value.to_owned());
            }
        });
        Ok(values.into_iter().take(query.limit).collect())
    }

    /// All series that the question covers, sorted.
    pub fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, SourceError> {
        let mut series = Vec::new();
        for_each_series(&self.shared.head(), query, |labels| series.push(labels.clone()));
        series.sort_unstable();
        series.truncate(query.limit);
        Ok(series)
    }

    /// Exemplars of all series that the question covers, sorted by series; per series in order of time.
    pub fn exemplars(&self, query: &LabelQuery<'_>) -> Vec<SeriesExemplars> {
        let sets = if query.sets.is_empty() { &[&[][..]][..] } else { query.sets };
        let mut found = self.shared.exemplars().select(sets, query.start_ms, query.end_ms);
        found.truncate(query.limit);
        found
    }
}

fn sorted(texts: impl Iterator<Item = String>, limit: usize) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_unstable();
    texts.truncate(limit);
    texts
}

/// Returns true when every series of the head belongs to the answer, so that the index alone can give it. A series
/// stays in the head for a while after its last sample; the precise question costs a look at each.
fn covers_everything(head: &Head, query: &LabelQuery<'_>) -> bool {
    query.sets.is_empty()
        && query.start_ms == TimeMs::MIN
        && head.newest_t().is_none_or(|newest| newest <= query.end_ms)
}

fn for_each_series(head: &Head, query: &LabelQuery<'_>, mut visit: impl FnMut(&Labels)) {
    let everything: [&[Matcher]; 1] = [&[]];
    let sets = if query.sets.is_empty() { &everything[..] } else { query.sets };
    let mut ids: Vec<u32> = sets.iter().flat_map(|set| select(head, set)).collect();
    if sets.len() > 1 {
        ids.sort_unstable();
        ids.dedup();
    }
    for id in ids {
        if head.has_samples(id, query.start_ms, query.end_ms)
            && let Some(series) = head.get(id)
        {
            visit(&series.labels);
        }
    }
}

impl SeriesSource for Snapshot {
    fn select<'a>(&'a self, wanted: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        let HeadView { mut series, pages } = {
            let head = self.shared.head();
            let ids = select(&head, wanted.matchers);
            head.view(&ids, wanted.start_ms, wanted.end_ms)
        };
        series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        let (start_ms, end_ms) = (wanted.start_ms, wanted.end_ms);
        let open = |series: HeadSeries| {
            let labels = series.labels.clone();
            let pages = Arc::clone(&pages);
            // Unpacked when it is asked for, one series after the other.
            let runs = std::iter::once_with(move || merged(series.runs(&pages, start_ms, end_ms))).flatten();
            SelectedSeries { labels, runs: Box::new(runs) }
        };
        Ok(series.into_iter().map(open).collect())
    }
}

fn merged<'a>(sequences: Vec<SampleRun>) -> Runs<'a> {
    Merge::runs(sequences.into_iter().map(|run| Box::new(std::iter::once(Ok(run))) as Runs<'a>).collect())
}

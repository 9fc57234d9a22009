//! What a query takes out of the head: copies of the pages it needs, so that it reads on while the head is written.
//!
//! Copying packed pages under the lock takes a tenth of a microsecond a series; unpacking happens outside.
//!
//! Invariant: a view shows the head as it was at one instant.

use std::{ops::Range, sync::Arc};

use homeostat_model::{Histogram, Labels, SampleRun, TimeMs};

use super::{
    Head, Part,
    late::Late,
    page::Page,
    starts::{self, NO_STARTS, Since},
};
use crate::{
    merge::{floats_within, histograms_within},
    sieve::Sieve,
};

/// Pages of all series of a query.
#[derive(Debug, Default)]
pub(crate) struct HeadView {
    pub(crate) series: Vec<HeadSeries>,
    pub(crate) pages: Arc<Vec<Page>>,
}

/// One series of a query.
#[derive(Debug)]
pub(crate) struct HeadSeries {
    pub(crate) labels: Labels,
    /// Its pages, newest first.
    pub(super) pages: Range<usize>,
    pub(super) beside: Beside,
}

/// What of a series lies beside its pages.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) histograms: Vec<(TimeMs, Arc<Histogram>)>,
    pub(super) late: Option<Late>,
    /// Since when samples in order count.
    pub(super) starts: Vec<Since>,
}

impl Head {
    /// Returns true when a series may have a sample between two instants: only pages are looked at, not into them.
    pub(crate) fn has_samples(&self, id: u32, start_ms: TimeMs, end_ms: TimeMs) -> bool {
        let Some(entry) = self.series.get(id as usize) else { return false };
        if entry.newest_t < start_ms {
            return false;
        }
        self.pages.chain(entry.page).any(|page| page.first_t() <= end_ms) || {
            self.beside(id, start_ms, end_ms).has_samples()
        }
    }

    pub(super) fn parts(&self) -> [&Part; 2] {
        [&self.frozen, &self.active]
    }

    fn beside(&self, id: u32, start_ms: TimeMs, end_ms: TimeMs) -> Beside {
        let mut beside = Beside::default();
        let starts = self.get(id).map_or(NO_STARTS, |series| series.starts);
        for part in self.parts() {
            part.add_to(&mut beside, (id, starts), start_ms, end_ms);
        }
        beside
    }

    /// Copies what the series have from `start_ms` to `end_ms`; those without a sample there are left out, as far as
    /// that can be seen without unpacking. Gives as well how many of the first `ranked` ones are left.
    pub(crate) fn view(
        &self,
        ids: &[u32],
        ranked: usize,
        start_ms: TimeMs,
        end_ms: TimeMs,
        sieve: Option<&Sieve>,
    ) -> (HeadView, usize) {
        let mut pages = Vec::new();
        let mut series = Vec::with_capacity(ids.len());
        let mut ranked_left = 0;
        for (at, id) in ids.iter().enumerate() {
            let Some(entry) = self.series.get(*id as usize) else { continue };
            let first_page = pages.len();
            let mut until_ms = end_ms;
            for page in self.pages.chain(entry.page) {
                let first_t = page.first_t();
                if first_t <= end_ms && sieve.is_none_or(|sieve| sieve.reaches(first_t, until_ms)) {
                    pages.push(*page);
                }
                if first_t <= start_ms {
                    break;
                }
                until_ms = end_ms.min(first_t);
            }
            // The newest sample of a series without histograms is a float of its last page.
            if entry.newest_t < start_ms {
                pages.truncate(first_page);
            }
            let beside = self.beside(*id, start_ms, end_ms);
            if first_page < pages.len() || beside.has_samples() {
                series.push(HeadSeries { labels: entry.labels.clone(), pages: first_page..pages.len(), beside });
                ranked_left += usize::from(at < ranked);
            }
        }
        (HeadView { series, pages: Arc::new(pages) }, ranked_left)
    }
}

impl Beside {
    fn has_samples(&self) -> bool {
        !self.histograms.is_empty() || self.late.is_some()
    }
}

impl Part {
    /// Adds what it has of a series, which has its starts at a place of its own; parts come in the order in which they were
    /// written.
    pub(super) fn add_to(&self, beside: &mut Beside, (id, starts): (u32, u32), start_ms: TimeMs, end_ms: TimeMs) {
        if let Some(all) = self.histograms.get(&id) {
            beside.histograms.extend(within(all, start_ms, end_ms));
        }
        beside.starts.extend(starts::within(self.starts.of(starts), start_ms, end_ms));
        if let Some(all) = self.late.get(&id) {
            let (floats, histograms) =
                (within(&all.floats, start_ms, end_ms), within(&all.histograms, start_ms, end_ms));
            if !floats.is_empty() || !histograms.is_empty() {
                let starts = within(&all.starts, start_ms, end_ms);
                beside.late.get_or_insert_default().absorb(Late { floats, histograms, starts });
            }
        }
    }
}

fn within<V: Clone>(samples: &[(TimeMs, V)], start_ms: TimeMs, end_ms: TimeMs) -> Vec<(TimeMs, V)> {
    let from = samples.partition_point(|(t, _)| *t < start_ms);
    let to = samples.partition_point(|(t, _)| *t <= end_ms);
    samples.get(from..to).unwrap_or_default().to_vec()
}

impl HeadSeries {
    /// Its samples as up to four sequences in order of time: floats, histograms, and the late ones of both. With a
    /// sieve, floats that it does not let through may be missing.
    pub(crate) fn runs(
        self,
        pages: &[Page],
        start_ms: TimeMs,
        end_ms: TimeMs,
        sieve: Option<&Sieve>,
    ) -> Vec<SampleRun> {
        let mut runs = Vec::new();
        let Self { beside, .. } = self;
        let pages = pages.get(self.pages).unwrap_or_default();
        if !pages.is_empty() {
            let (mut t_ms, mut values) = (Vec::new(), Vec::new());
            if let Some(sieve) = sieve {
                let mut sieve = *sieve;
                pages.iter().rev().for_each(|page| page.decode_through(&mut sieve, &mut t_ms, &mut values));
            } else {
                let count = pages.iter().map(Page::count).sum();
                (t_ms, values) = (Vec::with_capacity(count), Vec::with_capacity(count));
                pages.iter().rev().for_each(|page| page.decode(&mut t_ms, &mut values));
            }
            let since = starts::of(&beside.starts, &t_ms);
            runs.extend(floats_within(t_ms, values, since, start_ms, end_ms));
        }
        let (t_ms, values): (Vec<_>, _) = beside.histograms.into_iter().unzip();
        let since = starts::of(&beside.starts, &t_ms);
        runs.extend(histograms_within(t_ms, values, since, start_ms, end_ms));
        let mut late = beside.late.unwrap_or_default();
        let (t_ms, values): (Vec<_>, _) = std::mem::take(&mut late.histograms).into_iter().unzip();
        let since = late.starts_of(&t_ms);
        runs.extend(histograms_within(t_ms, values, since, start_ms, end_ms));
        let (t_ms, values): (Vec<_>, _) = std::mem::take(&mut late.floats).into_iter().unzip();
        let since = late.starts_of(&t_ms);
        runs.extend(floats_within(t_ms, values, since, start_ms, end_ms));
        runs
    }
}

//! Label governance on the way into the store, where a file of limits asks for it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use homeostat_model::TimeMs;
use homeostat_sense_receive::{
    Rejected,
    fold::{Folded, FoldedSeries},
    govern::{Governor, Limits, Verdict, Whole},
};
use homeostat_store_series::Batch;
use homeostat_wire::{
    exposition::{Exposition, FamilyKind},
    intake::{Label, SeriesView},
};

use super::intake::{BAD_LABELS, add, add_ahead, shown};

/// The governor, with what it has done.
#[derive(Debug)]
pub(super) struct Governed {
    governor: Governor,
    folded: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// A request's part of it.
#[derive(Debug)]
pub(super) struct Governing {
    governed: Arc<Governed>,
    whole: Whole,
    now_ms: TimeMs,
    folded: Folded,
    refused: BTreeMap<&'static str, Option<Rejected>>,
}

impl Governed {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let governor = Governor::new(limits);
        Arc::new(Self { governor, folded: AtomicU64::new(0), refused: Mutex::default() })
    }

    /// Begins a request.
    pub(super) fn begin(self: &Arc<Self>, whole: Whole, now_ms: TimeMs) -> Governing {
        let governed = Arc::clone(self);
        Governing { governed, whole, now_ms, folded: Folded::default(), refused: BTreeMap::new() }
    }

    /// Appends what it has done, and what is active.
    pub(super) fn metrics(&self, out: &mut String) {
        let mut exposition = Exposition::new(out);
        let help = "Samples that were added up in series of the value `__other__`.";
        exposition
            .family("homeostat_governance_folded_samples_total", FamilyKind::Counter, help)
            .count(&[], self.folded.load(Ordering::Relaxed));
        let help = "Samples that were not stored because of a budget or a white list, by reason.";
        let mut family = exposition.family("homeostat_governance_refused_samples_total", FamilyKind::Counter, help);
        for (reason, count) in self.refused.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            family.count(&[("reason", reason)], *count);
        }
        let (series, values) = self.governor.active();
        for (name, help, count) in [
            ("homeostat_governance_active_series", "Active series.", series),
            ("homeostat_governance_active_values", "Values of labels that have a budget.", values),
        ] {
            exposition.family(name, FamilyKind::Gauge, help).count(&[], count as u64);
        }
    }
}

impl Governing {
    /// Whether a series is stored as it is. Otherwise it is added to another one, or told as refused in the end.
    ///
    /// Samples after `newest_ms` are added to nothing, and counted in `ahead`: one from a year to come would make all that
    /// follow look old.
    pub(super) fn admits(
        &mut self,
        labels: &[Label<'_>],
        series: &SeriesView<'_>,
        newest_ms: TimeMs,
        ahead: &mut Option<Rejected>,
    ) -> bool {
        let why = match self.governed.governor.judge(labels, self.whole, self.now_ms) {
            Verdict::Admit => return true,
            Verdict::Fold(into) if series.histograms.is_empty() => {
                let in_time = series.samples.iter().filter(|sample| sample.t_ms <= newest_ms);
                let late = series.samples.len() - in_time.clone().count();
                self.folded.add(into, in_time);
                add_ahead(ahead, late, labels);
                return false;
            }
            Verdict::Fold(_) => ("label values limit", "native histograms are not added up".to_owned()),
            Verdict::Refuse(why) => (why.reason(), why.to_string()),
        };
        let lost = series.samples.len() + series.histograms.len() + series.exemplars().count();
        let entry = self.refused.entry(why.0).or_default();
        add(entry, why.0, lost, || format!("{}: {}", shown(labels), why.1));
        false
    }

    /// Puts the sums into the batch, and gives what was refused.
    pub(super) fn finish(mut self, batch: &mut Batch) -> Vec<Rejected> {
        for FoldedSeries { labels, samples, sums } in std::mem::take(&mut self.folded).into_series() {
            // The other value may be the longer one.
            if let Err(error) = batch.series(labels.iter().map(|(name, value)| (name, value))) {
                let labels: Vec<Label<'_>> =
                    labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let entry = self.refused.entry(BAD_LABELS).or_default();
                add(entry, BAD_LABELS, samples, || format!("{}: {error}", shown(&labels)));
                continue;
            }
            self.governed.folded.fetch_add(samples as u64, Ordering::Relaxed);
            for (t_ms, sum) in sums {
                batch.float(t_ms, sum);
            }
        }
        let rejected: Vec<Rejected> = self.refused.into_values().flatten().collect();
        if !rejected.is_empty() {
            let mut refused = self.governed.refused.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in &rejected {
                if let Some(reason) = REASONS.iter().find(|reason| **reason == entry.reason) {
                    *refused.entry(*reason).or_default() += entry.count;
                }
            }
        }
        rejected
    }
}

/// The words for why a series is refused.
const REASONS: [&str; 5] =
    ["not listed", "label values limit", "metric series limit", "tenant series limit", "active series limit"];

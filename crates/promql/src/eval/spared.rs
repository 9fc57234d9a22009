//! Queries that look at nothing but counts and sums of histograms read them without buckets.
//!
//! `histogram_count`, `histogram_sum` and `histogram_avg` do, whatever stands between them and the selector, unless
//! that needs buckets itself. A subquery does: it leaves samples out, and only buckets show all resets in between. So
//! does an operator between two expressions: it reconciles layouts, and tells when it had to.
//!
//! What is seen of it: resets are found while samples are read, so that hints say what they did not say in the store,
//! and an aggregation can tell that they contradict each other.

use std::sync::Arc;

use homeostat_model::{Histogram, SampleRun, TimeMs, sample::is_stale};

use super::evaluator::Evaluator;
use crate::{histogram::without_buckets, source::SourceError};

/// What is needed of histograms' buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Buckets {
    /// They are part of the result, as far as is known.
    #[default]
    Kept,
    /// Nobody looks at them.
    Spared,
    /// Somebody on the way looks at them, whatever stands further out.
    Needed,
}

impl Evaluator<'_> {
    /// For the arguments of a function.
    pub(super) fn within_function(&self, name: &str) -> Self {
        match name {
            "histogram_count" | "histogram_sum" | "histogram_avg" if self.buckets == Buckets::Kept => {
                Self { buckets: Buckets::Spared, ..*self }
            }
            "histogram_count" | "histogram_sum" | "histogram_avg" => *self,
            name if name.starts_with("histogram_") => self.needing_buckets(),
            _ => *self,
        }
    }

    /// For the sides of an operator, which may look at buckets whoever looks at the result.
    pub(super) fn within_operator(&self) -> Self {
        Self { buckets: Buckets::Kept, ..*self }
    }

    /// For what looks at buckets.
    pub(super) fn needing_buckets(&self) -> Self {
        Self { buckets: Buckets::Needed, ..*self }
    }

    /// Where reading begins so that a sample is known to be a reset or not from `start_ms` on: earlier, when it is the
    /// buckets' last use to tell.
    pub(super) fn reading_from(&self, start_ms: TimeMs) -> TimeMs {
        match self.buckets {
            Buckets::Spared => start_ms.saturating_sub(self.query.options.lookback_ms),
            Buckets::Kept | Buckets::Needed => start_ms,
        }
    }

    /// As [`Buckets::runs`].
    pub(super) fn runs<'r>(&self, runs: Runs<'r>) -> Runs<'r> {
        self.buckets.runs(runs)
    }
}

impl Buckets {
    /// The runs of a series, without buckets where they are not needed.
    pub(super) fn runs(self, runs: Runs<'_>) -> Runs<'_> {
        if self != Self::Spared {
            return runs;
        }
        let mut before: Option<Arc<Histogram>> = None;
        Box::new(runs.map(move |run| run.map(|run| spared(run, &mut before))))
    }
}

/// The samples of a series, run by run.
pub(super) type Runs<'r> = Box<dyn Iterator<Item = Result<SampleRun, SourceError>> + Send + 'r>;

fn spared(run: SampleRun, before: &mut Option<Arc<Histogram>>) -> SampleRun {
    let SampleRun::Histograms { t_ms, values, starts } = run else { return run };
    let values = values.into_iter().map(|value| {
        if is_stale(value.sum) {
            return value;
        }
        let spared = without_buckets(&value, before.as_deref());
        *before = Some(value);
        spared
    });
    SampleRun::Histograms { t_ms, values: values.collect(), starts }
}

//! Samples of one series that came out of order, until they move into a block.
//!
//! Few series have any, so they lie beside the chain of pages, sorted as they come.
//!
//! Invariant: sorted by time, no time twice within a kind; the caller has checked the other kind and the chain.

use std::sync::Arc;

use homeostat_model::{Histogram, TimeMs, sample::START_UNKNOWN};

/// Late samples of one series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Late {
    pub(crate) floats: Vec<(TimeMs, f64)>,
    pub(crate) histograms: Vec<(TimeMs, Arc<Histogram>)>,
    /// Since when samples count, by their times; of those that say so.
    pub(crate) starts: Vec<(TimeMs, TimeMs)>,
}

impl Late {
    pub(crate) fn float(&mut self, t_ms: TimeMs, value: f64, start_ms: TimeMs) {
        insert(&mut self.floats, t_ms, value);
        self.start(t_ms, start_ms);
    }

    pub(crate) fn histogram(&mut self, t_ms: TimeMs, value: Arc<Histogram>, start_ms: TimeMs) {
        insert(&mut self.histograms, t_ms, value);
        self.start(t_ms, start_ms);
    }

    fn start(&mut self, t_ms: TimeMs, start_ms: TimeMs) {
        if start_ms != START_UNKNOWN {
            insert(&mut self.starts, t_ms, start_ms);
        }
    }

    /// Since when the samples at these times count; nothing when none says.
    pub(crate) fn starts_of(&self, t_ms: &[TimeMs]) -> Vec<TimeMs> {
        if self.starts.is_empty() {
            return Vec::new();
        }
        t_ms.iter().map(|t_ms| find(&self.starts, *t_ms).copied().unwrap_or(START_UNKNOWN)).collect()
    }

    /// Takes over samples that were written later; of two at the same time its own stays.
    pub(crate) fn absorb(&mut self, later: Self) {
        let starts = later.starts;
        let start = |t_ms: TimeMs| find(&starts, t_ms).copied().unwrap_or(START_UNKNOWN);
        for (t_ms, value) in later.floats {
            if find(&self.floats, t_ms).is_none() {
                self.float(t_ms, value, start(t_ms));
            }
        }
        for (t_ms, value) in later.histograms {
            if find(&self.histograms, t_ms).is_none() {
                self.histogram(t_ms, value, start(t_ms));
            }
        }
    }

    pub(crate) fn float_at(&self, t_ms: TimeMs) -> Option<f64> {
        find(&self.floats, t_ms).copied()
    }

    pub(crate) fn histogram_at(&self, t_ms: TimeMs) -> Option<Arc<Histogram>> {
        find(&self.histograms, t_ms).cloned()
    }
}

fn insert<V>(samples: &mut Vec<(TimeMs, V)>, t_ms: TimeMs, value: V) {
    let at = samples.partition_point(|(t, _)| *t < t_ms);
    samples.insert(at, (t_ms, value));
}

fn find<V>(samples: &[(TimeMs, V)], t_ms: TimeMs) -> Option<&V> {
    samples.get(samples.binary_search_by_key(&t_ms, |(t, _)| *t).ok()?).map(|(_, value)| value)
}

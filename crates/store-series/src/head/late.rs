//! Samples of one series that came out of order, until they move into a block.
//!
//! Few series have any, so they lie beside the chain of pages, sorted as they come.
//!
//! Invariant: sorted by time, no time twice within a kind; the caller has checked the other kind and the chain.

use std::sync::Arc;

use homeostat_model::{Histogram, TimeMs};

/// Late samples of one series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Late {
    pub(crate) floats: Vec<(TimeMs, f64)>,
    pub(crate) histograms: Vec<(TimeMs, Arc<Histogram>)>,
}

impl Late {
    pub(crate) fn float(&mut self, t_ms: TimeMs, value: f64) {
        insert(&mut self.floats, t_ms, value);
    }

    pub(crate) fn histogram(&mut self, t_ms: TimeMs, value: Arc<Histogram>) {
        insert(&mut self.histograms, t_ms, value);
    }

    /// Takes over samples that were written later; of two at the same time its own stays.
    pub(crate) fn absorb(&mut self, later: Self) {
        for (t_ms, value) in later.floats {
            if find(&self.floats, t_ms).is_none() {
                self.float(t_ms, value);
            }
        }
        for (t_ms, value) in later.histograms {
            if find(&self.histograms, t_ms).is_none() {
                self.histogram(t_ms, value);
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

//! Figures about a store, for its own metrics and for people.

use std::sync::atomic::{AtomicU64, Ordering};

use homeostat_model::TimeMs;

use crate::report::{Accepted, Reason, Rejections};

/// The state of a store at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Series in memory.
    pub head_series: u64,
    /// Samples in memory.
    pub head_samples: u64,
    /// Bytes of the pages that hold them.
    pub head_bytes: u64,
    /// Series created since the store was opened.
    pub series_created: u64,
    /// Time of the newest sample.
    pub newest_ms: Option<TimeMs>,
    /// Floats, histograms and exemplars accepted since the store was opened.
    pub accepted: Accepted,
    /// Samples rejected since then, by reason.
    pub rejected: Vec<(Reason, u64)>,
    /// Batches refused because the disk did not keep up.
    pub busy: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Bytes that wait for the disk.
    pub log_queue_bytes: u64,
    /// What the disk says, when it refuses the log.
    pub log_error: Option<String>,
    /// Exemplars in memory.
    pub exemplars: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of their files.
    pub block_bytes: u64,
    /// Series in them; one that is in several blocks counts several times.
    pub block_series: u64,
    /// Samples in them.
    pub block_samples: u64,
    /// Bytes of pages of blocks in memory.
    pub cache_bytes: u64,
    /// Blocks written from memory since the store was opened.
    pub flushes: u64,
    /// Merges of blocks since then.
    pub merges: u64,
    /// Blocks dropped because of age or size since then.
    pub dropped: u64,
    /// Why samples cannot be moved into a block at present.
    pub flush_error: Option<String>,
    /// Why blocks cannot be merged at present.
    pub merge_error: Option<String>,
}

/// A value and how many series have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopEntry {
    /// Name of a label, or its value.
    pub text: String,
    /// Series, or different values.
    pub count: u64,
}

/// The largest entries, largest first, equal ones by text.
pub(crate) fn top(mut entries: Vec<TopEntry>, limit: usize) -> Vec<TopEntry> {
    entries.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text)));
    entries.truncate(limit);
    entries
}

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    floats: AtomicU64,
    histograms: AtomicU64,
    exemplars: AtomicU64,
    repeated: AtomicU64,
    rejected: [AtomicU64; Reason::ALL.len()],
    pub(crate) busy: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, accepted: Accepted, rejections: &Rejections) {
        self.floats.fetch_add(accepted.floats, Ordering::Relaxed);
        self.histograms.fetch_add(accepted.histograms, Ordering::Relaxed);
        self.exemplars.fetch_add(accepted.exemplars, Ordering::Relaxed);
        self.repeated.fetch_add(accepted.repeated, Ordering::Relaxed);
        if !rejections.is_empty() {
            for (count, reason) in self.rejected.iter().zip(Reason::ALL) {
                count.fetch_add(rejections.count(reason), Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn accepted(&self) -> Accepted {
        Accepted {
            floats: self.floats.load(Ordering::Relaxed),
            histograms: self.histograms.load(Ordering::Relaxed),
            exemplars: self.exemplars.load(Ordering::Relaxed),
            repeated: self.repeated.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn rejected(&self) -> Vec<(Reason, u64)> {
        Reason::ALL.into_iter().zip(&self.rejected).map(|(r, count)| (r, count.load(Ordering::Relaxed))).collect()
    }
}

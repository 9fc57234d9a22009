//! Settings of the journal.

use std::path::PathBuf;

use homeostat_model::Span;

/// Where the journal lives and how long it remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// The data directory.
    pub dir: PathBuf,
    /// When an append counts as durable.
    pub commit: CommitSpec,
    /// Tick deltas older than this are dropped; decisions are kept.
    pub ticks_kept: Span,
    /// Closed incidents, actions and decisions older than this are dropped.
    pub incidents_kept: Span,
    /// Most bytes of the whole directory; the oldest ticks go first, then the oldest closed incidents.
    pub bytes_max: u64,
}

/// When an append is forced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitSpec {
    /// Every record by itself.
    EveryRecord,
    /// Records that arrive within `interval`, or until `bytes` have gathered, share one fsync.
    Group {
        /// Longest wait of the first record.
        interval: Span,
        /// Bytes that end the wait early.
        bytes: usize,
    },
}

impl Default for CommitSpec {
    fn default() -> Self {
        Self::Group { interval: Span::from_ms(5), bytes: 64 * 1024 }
    }
}

impl StoreSpec {
    /// The usual settings for a data directory, which are those of a configuration that says nothing: ticks for a day,
    /// incidents for a year, 10 GiB in all.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            commit: CommitSpec::default(),
            ticks_kept: Span::from_hours(24),
            incidents_kept: Span::from_days(365),
            bytes_max: 10 << 30,
        }
    }
}

//! Settings of a store and the arithmetic of their defaults.

use std::time::Duration;

/// When an append counts as acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk.
    #[default]
    Durable,
    /// As soon as it is in memory: a crash may lose the last group of commits, a power loss too. Chosen by name only.
    Relaxed,
}

/// Settings of a store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreOptions {
    /// When an append counts as acknowledged.
    pub durability: Durability,
    /// Longest wait of an append for others to share its commit.
    pub commit_interval: Duration,
    /// Bytes that end the wait early.
    pub commit_bytes: usize,
    /// Bytes of appends that wait for the disk at most; beyond it appends are refused as busy. 16 MiB are some four
    /// million samples: seconds of the fastest intake, which a slow `fdatasync` may take.
    pub queue_bytes_max: usize,
    /// How far behind the newest sample of its series a sample may come. 0 as in Prometheus: clients that rely on the
    /// answer to an out-of-order sample get the one they know.
    pub out_of_order_window: Duration,
    /// Series in memory at most; samples of further ones are rejected. A series takes about a kilobyte with its labels
    /// and index, so the default of ten millions is what a machine of 16 GB can hold.
    pub series_max: usize,
    /// Exemplars kept; the oldest one makes room. As many as Prometheus keeps by default: about 30 MB when full.
    pub exemplars_max: usize,
    /// Size at which a segment of the log is ended. Opening holds two segments in memory.
    pub segment_bytes: u64,
    /// Bytes of samples in memory beyond which they are moved into a block; beyond four times as much appends are refused
    /// as busy. Never less than [`HEAD_SERIES_BYTES`] a series: blocks of a few samples a series would be mostly index.
    pub head_bytes: usize,
    /// Bytes of log beyond which samples are moved into a block, so that a start reads no more; a second of reading per
    /// 100 MiB. Never less than [`LOG_SERIES_BYTES`] a series.
    pub log_bytes: u64,
    /// Age beyond which samples are dropped, counted from the newest ones; `None` keeps them. 15 days as in Prometheus.
    pub retention: Option<Duration>,
    /// Bytes of all blocks beyond which the oldest ones are dropped.
    pub retention_bytes: Option<u64>,
    /// Memory for pages of blocks that were read lately.
    pub cache_bytes: usize,
    /// Series that one selector may choose; beyond it a query is refused.
    pub select_series_max: usize,
}

/// Bytes of samples a series, below which they stay in memory: two to three pages, some 200 samples.
pub const HEAD_SERIES_BYTES: usize = 320;
/// Bytes of log a series, below which samples stay in memory: some 150 of six bytes, and the labels.
pub const LOG_SERIES_BYTES: u64 = 1024;
/// Longest time that a block covers, however long samples are kept: a month, so that old files need not be rewritten.
const BLOCK_SPAN_MAX: Duration = Duration::from_hours(31 * 24);
/// Shortest: the usual length of a first block.
const BLOCK_SPAN_MIN: Duration = Duration::from_hours(2);

impl StoreOptions {
    /// Time that a block covers at most: a tenth of the retention, so that samples go soon after they are too old.
    pub(crate) fn block_span(&self) -> Duration {
        self.retention.map_or(BLOCK_SPAN_MAX, |retention| (retention / 10).clamp(BLOCK_SPAN_MIN, BLOCK_SPAN_MAX))
    }

    /// Bytes of samples in memory beyond which they are moved into a block.
    pub(crate) fn head_bytes_for(&self, series: usize) -> usize {
        self.head_bytes.max(series * HEAD_SERIES_BYTES)
    }

    /// Bytes of log beyond which samples are moved into a block.
    pub(crate) fn log_bytes_for(&self, series: usize) -> u64 {
        self.log_bytes.max(series as u64 * LOG_SERIES_BYTES)
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Durable,
            commit_interval: Duration::from_millis(5),
            commit_bytes: 64 << 10,
            queue_bytes_max: 16 << 20,
            out_of_order_window: Duration::ZERO,
            series_max: 10_000_000,
            exemplars_max: 100_000,
            segment_bytes: 8 << 20,
            head_bytes: 32 << 20,
            log_bytes: 64 << 20,
            retention: Some(Duration::from_hours(15 * 24)),
            retention_bytes: None,
            cache_bytes: 32 << 20,
            select_series_max: 5_000_000,
        }
    }
}

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
        }
    }
}

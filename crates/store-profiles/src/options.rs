//! How profiles are kept.

use std::time::Duration;

use homeostat_profile::Redaction;

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// What must not be kept.
    pub redaction: Redaction,
    /// How long profiles are kept; whole shards go when all of them is older. For ever when `None`.
    pub retention: Option<Duration>,
    /// Memory of profiles that are not in objects yet. Beyond it the largest shard is written early; at twice as much
    /// nothing is taken until there is room.
    pub head_bytes_max: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            redaction: Redaction::default(),
            retention: Some(Duration::from_hours(14 * 24)),
            head_bytes_max: 256 << 20,
        }
    }
}

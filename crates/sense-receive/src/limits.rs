//! Limits of intake, with their arithmetic.

use std::time::Duration;

use homeostat_wire::intake::{DECODED_BYTES_MAX, IntakeLimits};

/// Largest compressed body. A body may unpack to 32 MiB; one that does not shrink at all has that size.
pub const BODY_BYTES_MAX: usize = DECODED_BYTES_MAX;

/// Bytes of all bodies that are being read or wait for a worker: 64 requests of 1 MiB, some 10 M samples.
pub const BODIES_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(BODY_BYTES_MAX <= BODIES_BYTES_MAX, "the largest body must fit into the empty budget");

/// How long a request may wait for its share of the budget, holding nothing. Long enough to ride out one slow sync.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// From a request's head to the end of its body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an answer waits for the disk. Prometheus gives up after 30 s and sends again.
pub const DURABLE_TIMEOUT: Duration = Duration::from_secs(25);

/// How often series of deltas are looked through for silent ones: 100,000 of them take some milliseconds.
pub const DELTAS_SWEEP_MS: u64 = 60_000;

/// What senders are asked to wait when there is no room, in seconds.
pub const RETRY_AFTER_S: u64 = 1;

/// Complaints that are spelled out in an answer; the rest is counted.
pub const COMPLAINTS_MAX: usize = 5;

/// Limits that a process may set.
#[derive(Clone, Debug)]
pub struct ReceiveLimits {
    /// Bytes of all bodies that are being read or wait for a worker.
    pub bodies_bytes_max: usize,
    /// Bytes of one body.
    pub body_bytes_max: usize,
    /// Requests that are decoded at once. Each may hold 32 MiB of text and as much again of samples.
    pub workers: usize,
    /// What one request may bring.
    pub intake: IntakeLimits,
}

impl Default for ReceiveLimits {
    fn default() -> Self {
        Self {
            bodies_bytes_max: BODIES_BYTES_MAX,
            body_bytes_max: BODY_BYTES_MAX,
            workers: std::thread::available_parallelism().map_or(2, usize::from).max(2),
            intake: IntakeLimits::default(),
        }
    }
}

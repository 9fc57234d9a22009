//! Limits of the Prometheus API, with their arithmetic.

use std::time::Duration;

/// Largest form. Dashboards build queries of some 100 KiB out of lists of hosts; ten times that is a mistake.
pub const FORM_BYTES_MAX: usize = 1 << 20;

/// Connections at once: a Prometheus writes with up to 50 shards and there may be a dozen of them, beside the queries of
/// a few dashboards. At most 1,024 × (head + form) = 1.03 GiB, which nobody reaches who does not mean harm.
pub const CONNECTIONS_MAX: usize = 1024;

/// Requests that wait for their turn. Each holds its parameters only; more of them would be answered too late anyhow.
pub const QUERIES_WAITING_MAX: usize = 512;
const _: () = assert!(QUERIES_WAITING_MAX < CONNECTIONS_MAX, "connections alone must not bound the queue");

/// Points of one series in an answer to a range query: a week at 60 s, a year at 1 h. Prometheus has the same limit.
pub const RANGE_POINTS_MAX: i64 = 11_000;

/// Bytes of an answer that are handed over at once. Answers up to this size are sent whole.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// Pieces of an answer on their way to the client: enough that writer and socket need not wait for each other.
/// A slow reader holds 4 × 64 KiB beside the result.
pub(super) const CHUNKS_IN_FLIGHT: usize = 4;

/// Until a client takes the next piece of an answer. Its query holds one of few places meanwhile.
pub(super) const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);

/// Beyond the time limit of a query until its answer is given up although its thread has not noticed: it hangs in the
/// disk, most likely.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Answers below this size are not compressed: one packet stays one packet.
pub(super) const GZIP_FROM_BYTES: usize = 1024;

/// Notes of each level in an answer, as in Prometheus; the rest is counted.
pub(super) const NOTES_SHOWN_MAX: usize = 10;

/// Selectors in one request: each is a walk through the index.
pub(super) const SELECTORS_MAX: usize = 1000;

//! Limits of the way out, with their arithmetic.

use std::time::Duration;

/// Lanes of a destination. Fixed, because a series must find its lane again after a restart; `max_shards` says how many
/// of them send at once.
pub const LANES: usize = 8;

/// Bytes of a destination's log: at 10 packed bytes a sample some 100 M samples, more than a day of 1,000 samples/s.
pub const QUEUE_BYTES_MAX: u64 = 1 << 30;

/// Age beyond which samples are not sent: a receiver's block of two hours is long closed by then.
pub const AGE_MAX: Duration = Duration::from_hours(24);

/// Largest segment of a log; the smallest piece that is dropped when the log is full.
pub const SEGMENT_BYTES_MAX: u64 = 4 << 20;
/// A log has so many segments at least, so that dropping one loses little.
pub const SEGMENTS_MIN: u64 = 8;
const _: () = assert!(SEGMENTS_MIN * SEGMENT_BYTES_MAX <= QUEUE_BYTES_MAX);

/// Bytes that a lane keeps in memory at either end of its queue; what does not fit in between is read from the log. Eight
/// lanes with two ends: 16 MiB a destination.
pub const LANE_END_BYTES_MAX: usize = 1 << 20;

/// Bytes of an unpacked request: limits of receivers begin at some MB.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Longest wait that a receiver may ask for. One that says more is asked again all the same: it may have restarted.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// How long a lane waits before it asks again for a record that the disk has refused.
pub const NOT_DURABLE_WAIT: Duration = Duration::from_millis(10);

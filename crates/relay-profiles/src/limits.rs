//! Limits of the queue and of the way out, with their arithmetic.

use std::time::Duration;

/// Bytes of the queue unless somebody says otherwise: a window of a busy service packs to some 20 KiB, so ten services at 15 s
/// write 50 MiB an hour, and half a day fits into half a gibibyte.
pub const QUEUE_BYTES_DEFAULT: u64 = 512 << 20;
/// The smallest queue: eight segments of the smallest size.
pub const QUEUE_BYTES_MIN: u64 = SEGMENTS_MIN * SEGMENT_BYTES_MIN;

/// Age beyond which windows are not shipped unless somebody says otherwise: nobody asks for the always-on profile of the day
/// before yesterday first.
pub const AGE_DEFAULT: Duration = Duration::from_hours(24);
/// The longest such age: servers take no profiles from before.
pub const AGE_MAX: Duration = Duration::from_hours(7 * 24);

/// Largest segment of the log; the smallest piece that is dropped when it is full.
pub const SEGMENT_BYTES_MAX: u64 = 4 << 20;
/// Smallest one: below, every window is a file.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// The log has so many segments at least, so that dropping one loses an eighth.
pub const SEGMENTS_MIN: u64 = 8;
const _: () = assert!(SEGMENTS_MIN * SEGMENT_BYTES_MAX <= QUEUE_BYTES_DEFAULT);

/// A window, packed: servers read profiles of 64 MiB unpacked, which pack to a quarter or less.
pub const WINDOW_BYTES_MAX: usize = 16 << 20;

/// Bytes that wait in memory for a disk that does not answer or is full; beyond it windows are dropped and counted. Two of the
/// largest: while one is being written another one may come.
pub const UNWRITTEN_BYTES_MAX: usize = 2 * WINDOW_BYTES_MAX;
const _: () = assert!(WINDOW_BYTES_MAX < UNWRITTEN_BYTES_MAX);

/// Bytes that are read of the log at once.
pub const BATCH_BYTES: usize = 1 << 20;

/// First wait before a window is sent again.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest such wait: a server that is back is found within half a minute.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Longest wait that a server may ask for. One that says more is asked again all the same: it may have restarted.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);
/// How long a request may take. The server itself gives up on a body after 30 s, on room for it after two more and on its disk
/// after another 25, so it is heard in any case.
pub const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes per second that a way carries at least on which the largest window comes through before the server gives up on its
/// body: some 4.5 Mbit/s. On a slower one a window of that size is dropped after [`ATTEMPTS_MAX`].
pub const WAY_BYTES_PER_S: u64 = 560 << 10;
/// Attempts of one window over which the server fails: their waits take a quarter of an hour, in which a server that fails over
/// everything is restarted, and the attempts what they take, half a minute each on a way that is too slow. Afterwards the window
/// goes, so that it does not keep the others.
pub const ATTEMPTS_MAX: u32 = 40;

/// How long before a window that the disk has refused is asked for again.
pub const NOT_DURABLE_WAIT: Duration = Duration::from_millis(50);

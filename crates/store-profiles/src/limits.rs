//! How much is kept in memory and taken at once, with the arithmetic.

use std::time::Duration;

use homeostat_wire::profiles::PART_BYTES_MAX;

/// Length of a shard: an hour that is asked for touches two objects at most, and what a service writes in it is some
/// hundred KiB, worth a request to a bucket.
pub const SHARD_MS: i64 = 2 * 3600 * 1000;

/// How long after its end a shard is still kept open for what is on its way: a push of a minute that waited for its turn,
/// and clocks that are a minute apart.
pub const GRACE_MS: i64 = 5 * 60 * 1000;

/// How far ahead of our clock a profile may begin.
pub const FUTURE_MAX_MS: i64 = 10 * 60 * 1000;

/// How old a profile may be when it comes. With [`SHARD_MS`] it bounds the shards that are open at once: 85.
pub const LATE_MAX_MS: i64 = 7 * 24 * 3600 * 1000;

/// Content of a page before the next one begins: some hundred profiles of a service, of which a query reads all or none.
pub const PAGE_BYTES: usize = 256 << 10;

/// Series of a shard: a fleet of ten thousand programs with ten kinds of profile each.
pub const SERIES_MAX: usize = 100_000;

/// Bytes of a series' labels and types together.
pub const LABELS_BYTES_MAX: usize = 16 << 10;

/// Symbols of a service in one object: beyond it the shard becomes an object early. Half of what can be read again.
pub const SYMBOLS_BYTES_MAX: usize = 128 << 20;
const _: () = assert!(2 * SYMBOLS_BYTES_MAX <= PART_BYTES_MAX);

/// Footer of an object as it is counted while profiles come in: beyond it the shard becomes an object early.
pub const FOOTER_BYTES_FULL: usize = 32 << 20;
const _: () = assert!(2 * FOOTER_BYTES_FULL as u64 <= FOOTER_BYTES_MAX && FOOTER_BYTES_MAX <= PART_BYTES_MAX as u64);
const _: () = assert!(4 * LABELS_BYTES_MAX <= FOOTER_BYTES_FULL);

/// Senders of windows that are remembered at once, some 100 bytes each in memory and 64 on disk: 10 MiB. Others are refused
/// until one of them has been silent for as long as a profile may be late.
pub const SENDERS_MAX: usize = 100_000;

/// Stacks of a merged profile: some 40 bytes each in memory, 160 MiB.
pub const MERGED_STACKS_MAX: usize = 1 << 22;

/// Series that a question for names or series may give.
pub const SERIES_SHOWN_MAX: usize = 100_000;

/// Points of a series of totals.
pub const POINTS_MAX: usize = 11_000;

/// Points of all series of totals together: some 60 bytes each in memory.
pub const POINTS_ALL_MAX: usize = 1 << 20;
const _: () = assert!(POINTS_MAX <= POINTS_ALL_MAX);

/// Size at which a segment of the log ends; only whole ones are forgotten.
pub const LOG_SEGMENT_BYTES: u64 = 8 << 20;

/// Footers kept in memory, as they are unpacked: a hundred services are some ten KiB, so thousands of objects fit; one of the
/// largest fits as well.
pub const FOOTERS_BYTES_MAX: u64 = 64 << 20;
const _: () = assert!(FOOTER_BYTES_MAX <= FOOTERS_BYTES_MAX);

/// What is read of an object's end at once: nearly every footer.
pub const TAIL_BYTES: u64 = 64 << 10;

/// Largest footer that is read: twice what a shard may bring.
pub const FOOTER_BYTES_MAX: u64 = 64 << 20;

/// How often shards are looked at.
pub const MAINTAIN_EVERY: Duration = Duration::from_secs(15);

/// How often the list of objects is read again, where others write as well.
pub const LIST_EVERY_MS: i64 = 60 * 1000;

/// How long an operation waits for the log before it is tried again later.
pub const LOG_WAIT: Duration = Duration::from_secs(30);

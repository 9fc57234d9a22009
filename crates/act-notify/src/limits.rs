//! Every limit of notifying with its arithmetic.

use std::time::Duration;

use homeostat_model::Span;

/// Notices between `enqueue` and the task. A reload of the worst kind, a thousand objectives firing at once, fits.
pub const QUEUE_NOTICES_MAX: usize = 1_024;

/// Notices waiting per receiver. At about 2 KiB each, 64 receivers that are all down hold 128 MiB at the very worst;
/// a receiver that is down for a day collects some hundred.
pub const PENDING_MAX: usize = 1_000;

/// Alerts in one message: 50 of 1 KiB stay below the 64 KiB that small webhook receivers read.
pub const ALERTS_PER_MESSAGE_MAX: usize = 50;

/// How long keys of notices that have ended are remembered, in time that the process runs. The journal hands over again
/// what came after its last snapshot or the one before, half an hour of it; a day is ample.
pub const SEEN_RETENTION: Duration = Duration::from_hours(24);

/// An absence longer than this is written down at the next notice, so that it does not make keys older at a later start.
pub const AWAY_WRITTEN_FROM: Span = Span::from_mins(10);

/// Keys remembered at most, oldest forgotten first: 20,000 at about 100 bytes are 2 MiB.
pub const SEEN_MAX: usize = 20_000;
const _: () = assert!(QUEUE_NOTICES_MAX + PENDING_MAX <= SEEN_MAX, "a full burst must not forget itself");

/// The waiting rate's window.
pub const RATE_WINDOW: Duration = Duration::from_mins(1);

/// Upper bound of the wait after the first failed attempt; doubles with each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);

/// Upper bound of any wait: a receiver that was away for hours hears within a minute of its return.
pub const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// Lower bound of any wait: full jitter alone could try again at once.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
const _: () = assert!(BACKOFF_MIN.as_millis() < BACKOFF_FIRST.as_millis(), "the jitter needs room");

/// Longest `Retry-After` that is honoured; beyond it the receiver is asked again anyhow.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// A notice older than this when it is sent says so.
pub const DELAYED_AFTER: Duration = Duration::from_mins(1);

/// Answer of a receiver that is read; bots answer with some hundred bytes.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// On stop, how long a delivery under way may take to end; it is repeated after the restart otherwise.
pub const STOP_GRACE: Duration = Duration::from_secs(3);

/// On stop, how long the outbox may take to reach the disk.
pub const STOP_DISK: Duration = Duration::from_secs(2);

/// Records in the outbox after which it is written anew as one snapshot: 4,096 of 2 KiB are 8 MiB to read at a start.
pub const COMPACT_RECORDS: u64 = 4_096;

/// Steps of one template: the largest default takes about 3,000 for 50 alerts.
pub const TEMPLATE_FUEL: u64 = 200_000;

/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 200;

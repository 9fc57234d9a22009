//! Every limit of the API with its arithmetic.

use std::time::Duration;

use homeostat_model::Span;

/// Largest request body. The largest sensible one is a decision with a reason of [`REASON_CHARS_MAX`] characters,
/// about 5 KiB; 64 KiB leaves room for whatever a pipeline adds.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Largest request head. Browsers send up to 8 KiB of cookies for `localhost` that other tools have set.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Connections at once. 64 event streams, a browser's six each for a dozen people, scrapers and pipelines: 200 or so.
/// At most 256 × (head + body) = 24 MiB of requests in memory.
pub const CONNECTIONS_MAX: usize = 256;

/// Event streams at once. Each is encoded by itself, at most about 100 KiB/s: 64 cost 6.4 MiB/s of JSON, some 5 % of
/// a core.
pub const SUBSCRIBERS_MAX: usize = 64;
const _: () = assert!(SUBSCRIBERS_MAX * 2 <= CONNECTIONS_MAX, "event streams must not starve people out of the API");

/// From a connection's first byte, or the end of the previous answer, to a complete request head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// From a request's head to the end of its body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Until an answer begins. Operations answer within 2 s, the store normally within milliseconds.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
const _: () = assert!(BODY_TIMEOUT.as_secs() < ANSWER_TIMEOUT.as_secs(), "a slow body has its own, better error");

/// Calls at once on one HTTP/2 connection: a collector's queue has ten senders.
pub const STREAMS_MAX: u32 = 64;

/// Bytes that one HTTP/2 connection may send before they are read; [`CONNECTIONS_MAX`] of them are 64 MiB.
pub const WINDOW_CONNECTION_BYTES: u32 = 256 * 1024;

/// The same for one call: four of them fill the connection's window.
pub const WINDOW_STREAM_BYTES: u32 = 64 * 1024;
const _: () = assert!(WINDOW_STREAM_BYTES < WINDOW_CONNECTION_BYTES, "one slow call must not hold up the others");

/// On stop, how long answers that have begun may take to end.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Silence on an event stream after which a comment is sent, so that proxies and clients see that it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a browser waits before it opens a broken event stream again.
pub const RECONNECT: Duration = Duration::from_secs(1);

/// Length of a reason given by a person, in characters.
pub const REASON_CHARS_MAX: usize = 1_000;

/// Length of an announced change's summary, in characters: a line of a terminal, and what it takes to name a commit.
pub const SUMMARY_CHARS_MAX: usize = 300;

/// How long ago an announced change may have taken effect: beyond that no open incident began after it.
pub const ANNOUNCED_WITHIN: Span = Span::from_hours(24);

/// Incidents on a page unless asked otherwise.
pub const PAGE_DEFAULT: usize = 50;

/// Incidents on a page, and lines of the audit, at most: 500 incidents of 10 KiB or so are 5 MiB.
pub const PAGE_MAX: usize = 500;

/// Tokens at most: each request compares with every one.
pub const TOKENS_MAX: usize = 256;

/// Length of a presented token in bytes; longer ones are not even hashed.
pub const TOKEN_BYTES_MAX: usize = 1_024;

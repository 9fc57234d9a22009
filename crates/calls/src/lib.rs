//! Calls out of bytes: who reads what a process sent and received on its connections, in pieces and with gaps, learns which
//! requests it answered, how, and how long that took.
//!
//! ```text
//! pieces of messages ──▶ connection ──▶ heads in order ──▶ request meets answer ──▶ Call ──▶ Tally
//! ```
//!
//! HTTP/2 and gRPC are read frame by frame; fields that were said before anybody looked are told as such.
//!
//! Of HTTP/1 only heads are needed: where the next one begins follows from `Content-Length` and from where each piece lies in its
//! stream; of HTTP/2 only blocks of fields and the heads of frames that end a stream. What was lost, or began before anybody
//! looked, is counted and never guessed.
//!
//! Privacy: of a head only the request line without its query, the status and what says where the message ends are looked at.
//! Nothing else of it leaves [`CallReader`], bodies least of all.
//!
//! Not here: where the bytes come from (`sense-kernel`), who judges the outcomes (`judge-slo`).
//! Invariants: memory is bounded whatever the bytes are; calls of one connection come in the order of their answers.
//! Sources: RFC 9110 (methods, status), RFC 9112 (HTTP/1.1 messages), RFC 9113 (HTTP/2), RFC 7541 (its fields).

mod call;
mod exchange;
mod head;
mod http2;
mod latency;
mod path;
mod reader;
mod tally;

pub use call::{Call, Protocol, Side};
pub use latency::Latencies;
pub use path::{OTHER, Path};
pub use reader::{CONNECTIONS_MAX, CallReader, Event, ReaderStats, Told, What};
pub use tally::{Key, LINES_MAX, Line, PATHS_MAX, Tally};

//! What clients of Pyroscope send: `/ingest` with pprof, folded stacks or lines, and the messages of `push.v1`.
//!
//! Not here: HTTP (`sense-receive`), pprof itself (`pprof`). JFR and Pyroscope's own binary tries are not read.
//! Sources: `grafana/pyroscope` `docs/sources/reference-server-api`, `api/push/v1/push.proto`; Grafana's documentation of
//! the Pyroscope server API.

mod ingest;
mod multipart;
mod push;
mod stacks;

pub use ingest::{BadName, Counted, Named, application, counted, metric_of, parse_instant_ns, parse_name};
pub use multipart::{BadMultipart, Parts, boundary, parts};
pub use push::{BadPush, PushSample, decode_push, decode_push_json, encode_push};
pub use stacks::{BadStacks, TextFormat, read_stacks};

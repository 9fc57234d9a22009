//! Profiles pulled from programs that serve `/debug/pprof`, on a schedule and on demand.
//!
//! ```text
//! files, URLs, DNS ── sense-scrape ──▶ targets, a puller each
//!                                        │ GET …/profile?seconds=N beside heap, mutex, block, goroutine
//!                                        ▼
//!            sink ◀── profile: own deltas of what only grows, labels of the target
//! ```
//!
//! Discovery, relabelling and HTTP are those of scraping: a job of `scrape_configs` names the targets, and whatever
//! `metrics_path` it has is not asked. A CPU profile is exclusive: when somebody else measures, the target says 500 and is
//! left alone for longer each time. What a program does not measure is told apart from what did not happen.
//!
//! Not here: reading configuration (the binary), keeping profiles (`store-profiles`), what a profile means.
//! Invariants: at most one CPU profile is asked of a target at a time; an answer is bounded in bytes and time; the time of a
//! profile is when it was asked for, whatever the target says.
//! Source: `golang/go` `src/net/http/pprof`, `src/runtime/pprof`.

pub mod ask;
pub mod kind;
pub mod puller;
pub mod sink;

pub use ask::{Asked, PullError, ask, ask_within};
pub use kind::Kind;
pub use puller::{Pace, PullJob, Pulling, base_of, service_of};
pub use sink::{ProfileSink, Storing};

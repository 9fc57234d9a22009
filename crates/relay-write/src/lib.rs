//! Samples on to other stores by remote write: the way to an existing metrics cluster.
//!
//! ```text
//! taken by the store ──▶ relabel ──▶ log of the destination ──▶ 8 lanes ──▶ remote write 1.0 or 2.0
//!                                    (durable before the          each in order, one request
//!                                     write is acknowledged)      under way at a time
//! ```
//!
//! A series always takes the same lane, so its samples stay in order. Before a lane sends, it notes on disk what it is
//! about to send; after a crash it sends exactly the same again, and takes a 400 for the word that it had arrived. So
//! every acknowledged sample arrives, and none is seen twice by a receiver that refuses what it has already.
//!
//! A destination that is away costs disk, not memory: beyond a limit lanes read from the log. The log is bounded in
//! bytes; when it is full the oldest samples go, counted. What is older than the age limit is not sent any more.
//!
//! Not here: HTTP and credentials (the binary brings a [`Carrier`]), which samples the store takes (`store-series`).
//! Invariants: a lane sends only what is durable here; a position on disk never runs ahead of what was answered.
//! Source: prometheus.io/docs/specs/prw/remote_write_spec; names of settings and metrics as in Prometheus.

pub mod limits;

mod batch;
mod carrier;
mod counters;
mod entry;
mod lane;
mod position;
mod queue;
mod relay;

pub use batch::RelayBatch;
pub use carrier::{Answer, Carrier, Carrying, Version, Written};
pub use queue::OpenError;
pub use relay::{Relay, RelaySpec};

//! Samples that others push to us: Prometheus remote write 1.0 and 2.0.
//!
//! ```text
//! body ── budget of bytes ──▶ worker: unpack, decode, append ──▶ wait for the disk ──▶ 204
//!              │ full: 503           │ nonsense: 400/413/415          │ full, broken: 503
//! ```
//!
//! An answer in the 200s is only given when everything that was taken is as durable as the store promises. Good samples
//! of a request are kept when others are bad; the answer then is 400 and says what was lost, so that a sender does not
//! send it again.
//!
//! Under overload memory stays bounded: bodies share one budget, few requests are decoded at once, and the store's queue
//! has its own limit. Who does not fit is told 503 with `Retry-After`, before anything was taken.
//!
//! Not here: the formats (`wire`), order and age of samples (`store-series`).
//! Sources: prometheus.io/docs/specs/prw/remote_write_spec and remote_write_spec_2_0.

pub mod intake;
pub mod limits;

mod body;
mod counters;
mod media;
mod remote_write;

pub use intake::{Durable, Intake, NotTaken, Rejected, Taken, Written};
pub use limits::ReceiveLimits;
pub use remote_write::Receiver;

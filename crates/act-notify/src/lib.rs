//! Notifications: notices become messages in each receiver's own form, and arrive even if the receiver or this process
//! is away for a while.
//!
//! ```text
//! control ── enqueue ──▶ queue (bounded) ──▶ Notify (one task)
//!                                             │  outbox: a log on disk, so that nothing is forgotten by a restart
//!                                             │  lanes: one per receiver: order, rate, backoff
//!                                             └─▶ at most one delivery under way per lane ──▶ the world
//! ```
//!
//! The first message leaves at once; what arrives while a lane is busy, backing off or at its rate limit is grouped
//! into the next message. A lane never waits for another one.
//!
//! Not here: who is told what (`control`), signatures of incoming requests, the console.
//! Invariants: a notice ends exactly once per key and receiver (delivered, refused, given up, displaced); delivery is at
//! least once across crashes, once otherwise; secrets and addresses of receivers appear in no error, log or metric.

pub mod limits;
pub mod message;
pub mod outbox_log;
pub mod payload;
pub mod sign;
pub mod spec;
pub mod stats;
pub mod template;
pub mod transport;

mod aside;
mod lane;
mod notify;
mod outbox;
mod reply;

pub use notify::{EnqueueError, Notify, NotifyHandle, NotifyOptions, OpenError, WallClock};
pub use stats::{NotifyStats, ReceiverStats};

//! Windows of profiles on to a server, through a queue on disk: what an agent has sensed is shipped once, in order, whatever
//! ends in between.
//!
//! ```text
//! window ─▶ log (numbered, group commit) ─▶ courier ─▶ POST push.v1, `x-homeostat-window: SENDER-NUMBER` ─▶ server
//!             ▲ full: the oldest segment goes  │
//!             └──────── `shipped N` ◀── answer ┘
//! ```
//!
//! A window's number is that of its record in the log. It is given once: nothing leaves before it is durable, so a number that
//! a crash gives again was never seen by anybody. The server takes a number of a sender once, see
//! `homeostat_wire::profiles::WindowId`; the file `shipped` only saves repetitions.
//!
//! Not here: sensing, redaction and HTTP (the binary), what the server does (`store-profiles`). `relay-write` is the same idea
//! for samples: lanes that send beside each other and a note before each request, for receivers that know no numbers.
//! Invariants: windows leave in order, one at a time, and none keeps the others for ever, but for one that the disk damages while
//! the agent runs: that is told, tried again, and goes as the oldest of a full queue. What is dropped is counted by reason.
//! Memory holds a batch to send and what waits for the disk, both bounded in `limits`.
//! `docs/format/windows.md` has every byte.

pub mod limits;

mod carrier;
mod counters;
mod courier;
mod entry;
mod queue;

pub use carrier::{Answer, Carrier, Carrying, Hindrance};
pub use counters::{Dropped, Tally};
pub use courier::WallClock;
pub use entry::{BadEntry, Entry};
pub use homeostat_wire::profiles::WindowId;
pub use queue::{NotQueued, OpenError, QueueSpec, WindowQueue};

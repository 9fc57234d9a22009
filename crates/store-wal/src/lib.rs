//! Append-only, checksummed log with group commit: what it has acknowledged survives `kill -9` and power loss.
//!
//! One writer thread owns the file. Callers hand it records over a bounded queue and get a [`Ticket`] back at once;
//! records that arrive within a few milliseconds share one `fdatasync`. The thread never appends to a file of an
//! earlier run and never trusts a file again after a failed write, so a segment's bytes have one author and one life.
//!
//! ```text
//! caller ── append ──▶ queue (bounded) ──▶ writer thread ── write, fdatasync ──▶ 00000007.wal
//!    ▲                                         │
//!    └────────────── Ticket::wait ◀── durable ─┘
//! ```
//!
//! Not here: what a record means (`store-events`), frames and headers as bytes (`homeostat_wire::wal_record`).
//! Invariants: sequence numbers count from 1 without a gap; damage is reported with segment and byte, never skipped;
//! opening a log changes none of its files. `docs/format/wal.md` describes every byte.

pub mod disk;
pub mod error;
mod queue;
mod reader;
pub mod repair;
pub mod segment;
pub mod sim_disk;
pub mod survey;
pub mod wal;
mod writer;

pub use disk::{Disk, RealDisk};
pub use error::{Damage, DamageKind, Full, OpenError, ReadError, RepairError, WaitError};
pub use queue::{Durable, Flush, Ticket, Trouble, WalHealth};
pub use reader::{Reader, Record};
pub use sim_disk::SimDisk;
pub use survey::{Survey, survey};
pub use wal::{Commit, Recovered, TornTail, Wal, WalOptions};

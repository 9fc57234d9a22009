//! Profiles kept: symbols once, samples many, in shards of two hours, in a directory or an S3-compatible bucket.
//!
//! ```text
//! push ── redact ──▶ log (group commit) ──▶ ticket              acknowledged: survives kill -9
//!                └─▶ head: a shard for each two hours, a trie of stacks for each service
//! roll: a shard that is over ──▶ one object, visible when whole ──▶ its records may leave the log
//! query: heads and objects ──▶ sums by stack ──▶ one profile
//! ```
//!
//! A shard is chosen by a profile's own time, so what comes late goes where it belongs: into another object of the same
//! shard. An object names the records of the log that it holds; after a crash between writing it and forgetting them they
//! are not counted twice. A sender's window is known by its number, which stands in the same record: it counts once, however
//! often it is sent.
//!
//! Not here: bytes (`homeostat_wire::profiles`), what profiles mean (`profile`, `explain-profile`), HTTP.
//! Invariants: nothing is written before it is redacted; every part has a checksum, and one that does not fit is told with
//! object and byte and never part of an answer; memory is bounded by what [`StoreOptions`] and [`limits`] say.
//! `docs/format/profiles.md` has every byte.

pub mod limits;

mod block;
mod error;
mod head;
mod maintain;
mod names;
mod open;
mod options;
mod push;
mod query;
mod senders;
mod store;
mod sum;

pub use error::{Damage, DamageKind, NotStored, OpenError, QueryError};
pub use homeostat_store_wal::{Ticket, WaitError};
pub use homeostat_wire::profiles::{Subject, WindowId};
pub use open::Recovery;
pub use options::StoreOptions;
pub use push::Pushed;
pub use query::{Columns, Group, Merged, Query};
pub use store::{ProfileStore, Stats};

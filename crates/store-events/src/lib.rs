//! The journal: every event and command of control, and the incidents, actions and recordings that follow from them.
//!
//! Intuition: control is a pure function, so its inputs are the truth and everything else can be computed again. The
//! journal keeps the inputs (and the commands, as a check) in one sequence; incidents and actions are an index over
//! the commands, rebuilt at every start, so that there is no second truth that a crash could leave behind.
//!
//! ```text
//! data directory
//! ├── journal/       segments of the log: ticks, steps, snapshots; a snapshot begins each segment
//! ├── archive/       steps of journal segments that were dropped: what incidents and the audit rest on
//! └── black-boxes/   one recording per incident, LZ4 frames of JSON
//! ```
//!
//! Not here: bytes of entries (`homeostat_wire::journal`), segments and fsync (`store-wal`), deciding anything.
//! Invariants: a step and its commands are one record; an entry leaves the journal only after its steps are durable in
//! the archive; the snapshot that recovery would begin with is never dropped.

mod archive;
mod audit;
mod black_box;
pub mod error;
pub mod journal;
mod late;
mod records;
pub mod recovery;
mod retention;
pub mod spec;

pub use audit::AuditLine;
pub use black_box::FILE_BYTES_MAX as RECORDING_BYTES_MAX;
pub use error::{JournalError, Lost};
pub use homeostat_store_wal::{Disk, Flush, RealDisk, WaitError, sim_disk::SimDisk};
pub use journal::{Journal, JournalHealth};
pub use late::StepTicket;
pub use recovery::{Body, DecodedEntry, Entries, JournalFiles, RecoveredSnapshot, Recovery};
pub use retention::Retained;
pub use spec::{CommitSpec, StoreSpec};

//! The metrics store: samples become durable, findable, and small.
//!
//! ```text
//! Batch ── append ──▶ head (memory) ──▶ queries (SeriesSource, labels, exemplars, metadata)
//!             │          │
//!             ▼          └── full or old: flushed ──▶ blocks (immutable) ── merged, dropped by retention
//!          log (store-wal, group commit) ──▶ Ticket: durable
//! ```
//!
//! Use: open a [`SeriesStore`]; fill a [`Batch`] per request (it keeps its memory: one per connection or a pool);
//! [`SeriesStore::append`] answers at once with an [`AppendReport`]: what was accepted, what was rejected and why, and a
//! [`Ticket`] to await (or wait for) before the request is acknowledged. What is appended is visible to the query that
//! follows. [`SeriesStore::snapshot`] gives the [`homeostat_promql::SeriesSource`] for one query.
//!
//! ```
//! use homeostat_store_series::{Batch, SeriesStore, StoreOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path();
//! let (store, _recovery) = SeriesStore::open(dir, StoreOptions::default())?;
//! let mut batch = Batch::default();
//! batch.series([("__name__", "up"), ("job", "api")])?.float(1_000, 1.0);
//! let report = store.append(&mut batch)?;
//! assert_eq!(report.accepted.floats, 1);
//! report.ticket.wait(std::time::Duration::from_secs(10))?; // Or `.await`: it is a future.
//! # Ok(()) }
//! ```
//!
//! Order and time: samples of one series come in order of time, as far as the out-of-order window does not allow
//! otherwise; series are independent of each other, so one may begin in 1970 while another one is at today. No clock is
//! read: age means distance to the newest sample.
//!
//! Not here: HTTP, remote write and OTLP as bytes (`wire`), evaluation (`promql`), which labels are allowed
//! (governance comes before `Batch`).
//! Invariants: what a ticket called durable is found again after `kill -9` and power loss, once; memory is bounded by
//! the options; the same time and value sent twice is no error and stored once.

mod batch;
mod block;
mod catalog;
mod compact;
mod error;
mod exemplar;
mod files;
mod flush;
mod head;
mod merge;
mod metadata;
mod options;
mod pattern;
mod plan;
mod recovery;
mod repair;
mod report;
mod select;
mod sieve;
mod snapshot;
mod stats;
mod store;
mod upkeep;
mod worker;

pub use batch::{Batch, LABELS_BYTES_MAX, LABELS_MAX, LabelError, TakenSeries};
pub use block::{BlockError, BlockFault, Parts};
pub use error::{AppendError, Busy, CatalogError, CompactError, FlushError, OpenError, UpkeepError};
pub use exemplar::SeriesExemplars;
pub use files::{BlockFiles, Deletion, Fault, Inventory, Progress, Verified, inspect, verify};
pub use homeostat_wire::series::manifest::BlockEntry;
pub use metadata::Metadata;
pub use options::{Durability, HEAD_SERIES_BYTES, LOG_SERIES_BYTES, StoreOptions};
pub use recovery::Recovery;
pub use repair::{Lost, Mended, RepairError, repair};
pub use report::{Accepted, AppendReport, Reason, Rejection, Rejections, Ticket};
pub use snapshot::{LabelQuery, Snapshot};
pub use stats::{Stats, TopEntry};
pub use store::SeriesStore;

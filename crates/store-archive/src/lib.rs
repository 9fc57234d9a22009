//! Backups: files that never change, in a directory or an S3-compatible bucket.
//!
//! ```text
//! PREFIX/objects/SHA256          a file's contents, under their own name: sent once, whoever has them
//! PREFIX/backups/NAME.json       which files made up one backup, with their checksums; written last
//! ```
//!
//! Because contents are named by their checksum, a backup sends what is not there yet, one that was interrupted goes on
//! where it stopped, and a restore proves every byte that it has got. A place is for one store: blocks of two stores have
//! the same names, and a place whose latest backup has other blocks than the store is refused.
//!
//! Not here: which files make a consistent store (`store-series`, snapshots), when to back up, and removing old backups.
//! Invariants: an index is written when every object that it names is there; nothing is ever overwritten or deleted;
//! a restore gives a file its name when its checksum fits.

mod backup;
mod error;
mod files;
mod index;
mod place;
mod restore;

pub use backup::BackedUp;
pub use error::ArchiveError;
pub use homeostat_store_objects::Waits;
pub use index::{FORMAT, Index, IndexedFile};
pub use place::Archive;
pub use restore::{Marks, Restored};

/// How far a backup or a restore has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are where they belong.
    pub done: u64,
    /// Bytes of all files.
    pub all: u64,
}

//! What can go wrong between a disk and a bucket, in words for the operator.

use std::{io, path::PathBuf};

use homeostat_store_objects::PlaceError;
use thiserror::Error;

/// Why a backup was not made or not restored.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The place cannot be opened.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The place refused something, after retries.
    #[error("cannot {what} {object} in {place}")]
    Remote {
        /// What was tried.
        what: &'static str,
        /// On which object.
        object: String,
        /// Where.
        place: String,
        /// Its answer.
        #[source]
        source: Box<object_store::Error>,
    },
    /// The file system refused something.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is no backup of this name, or none at all.
    #[error("there is no backup{} in {place}", .name.as_deref().map(|name| format!(" `{name}`")).unwrap_or_default())]
    NoBackup {
        /// The name that was asked for.
        name: Option<String>,
        /// Where it was looked for.
        place: String,
    },
    /// An index that cannot be read.
    #[error("the index of backup `{name}` is damaged or of a newer format: {detail}")]
    Index {
        /// The backup.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Contents that are not what was stored.
    #[error("object {object} in {place} is damaged: its checksum is {found}; the backup needs this file again")]
    Damaged {
        /// Its name, which is the checksum that it should have.
        object: String,
        /// Where.
        place: String,
        /// The checksum of what was read.
        found: String,
    },
    /// A file changed while it was sent.
    #[error("{path} has changed while it was sent; back up a snapshot or a stopped store")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A backup of this name exists already.
    #[error("there is a backup `{name}` in {place} already; nothing was overwritten")]
    Exists {
        /// The name.
        name: String,
        /// Where.
        place: String,
    },
    /// The place holds another store's backups.
    #[error(
        "{path} is not the one that backup `{name}` in {place} has under this name: they are backups of another store, or of this one before an older backup was restored; give each store a directory or a prefix of its own"
    )]
    Foreign {
        /// The block.
        path: PathBuf,
        /// The latest backup.
        name: String,
        /// Where.
        place: String,
    },
    /// A directory that holds something already.
    #[error("{dir} holds a store already; restore into a directory that does not exist yet")]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
}

//! What can go wrong with the journal, in words for the operator.

use std::{io, path::PathBuf};

use homeostat_store_wal::{Full, OpenError, ReadError, WaitError};
use homeostat_wire::journal::DecodeError;
use thiserror::Error;

/// Why the journal cannot be opened, read or tidied up.
#[derive(Debug, Error)]
pub enum JournalError {
    /// One of its logs cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A record cannot be read back.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record is intact but not an entry that this program knows.
    #[error("record {seq} of the journal is not readable")]
    Entry {
        /// Its number.
        seq: u64,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// A snapshot is intact but cannot be decompressed.
    #[error("the snapshot in record {seq} cannot be decompressed: {reason}")]
    Snapshot {
        /// Its number.
        seq: u64,
        /// Why.
        reason: String,
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
    /// A recording cannot be read back.
    #[error("the recording in {path} is damaged: {reason}; remove it to go without")]
    BlackBox {
        /// Its file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A recording is larger than what is read back.
    #[error(
        "the recording in {path} would have {bytes} bytes {what}, and {bytes_max} are read at most; it stays as it was, \
         shorter windows of `profiling` and fewer programs make it smaller"
    )]
    TooLarge {
        /// Its file.
        path: PathBuf,
        /// Of what it has so many.
        what: &'static str,
        /// How many.
        bytes: u64,
        /// How many are read at most.
        bytes_max: u64,
    },
    /// The archive did not take old entries; they stay in the journal and are tried again.
    #[error("old entries cannot be archived; they stay in the journal")]
    Archive(#[source] WaitError),
    /// The archive's queue did not take an old entry; it stays in the journal and is tried again.
    #[error("old entries cannot be archived; they stay in the journal")]
    ArchiveFull(#[source] Full),
}

/// A step that is not recorded: neither the disk nor the memory set aside for its absence could take it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the step is not recorded: the disk has been out for too long; {cause}")]
pub struct Lost {
    /// What the log said.
    #[source]
    pub cause: Full,
}

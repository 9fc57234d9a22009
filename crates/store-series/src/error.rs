//! What can go wrong, in words for the operator.

use std::{io, path::PathBuf, time::Duration};

use homeostat_promql::SourceError;
use homeostat_store_wal::{Full, WaitError};
use homeostat_wire::series::{Malformed, manifest::ManifestError};
use thiserror::Error;

use crate::block::BlockError;

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log cannot be opened or is damaged.
    #[error("the log of the metrics store cannot be opened")]
    Log(#[from] homeostat_store_wal::OpenError),
    /// A record is intact but says nothing that this program understands.
    #[error("record {seq} of the log in {dir} cannot be read; a newer program may have written it")]
    Record {
        /// Its number.
        seq: u64,
        /// The log's directory.
        dir: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Malformed,
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
    /// The list of blocks is damaged.
    #[error("{path} is damaged; `homeostat series repair` makes a new one of the blocks that are there")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// There are blocks and no list of them.
    #[error(
        "{path} is missing and there are blocks: it was removed, or a restore has not ended; `homeostat series repair` makes a new one of the blocks that are there"
    )]
    NoManifest {
        /// Where it should be.
        path: PathBuf,
    },
    /// A block that the manifest names is missing or damaged.
    #[error("a block is missing or damaged; `homeostat series repair` sets it aside and keeps the others")]
    Block(#[from] BlockError),
    /// The list of blocks could not be brought up to date.
    #[error(transparent)]
    Catalog(CatalogError),
    /// The system refused a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Why a whole batch was refused. Nothing of it was stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The disk does not keep up: come back later.
    #[error("the metrics store is busy")]
    Busy {
        /// When it makes sense to try again.
        retry_after: Duration,
        /// What is full.
        #[source]
        source: Busy,
    },
    /// The store is being closed.
    #[error("the metrics store is closed")]
    Closed,
}

/// What is full.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Busy {
    /// The queue before the log.
    #[error(transparent)]
    Log(#[from] Full),
    /// The memory for samples: they cannot be moved into blocks fast enough, or not at all.
    #[error("{bytes} bytes of samples wait to be written into a block{}", .trouble.as_deref().map(|t| format!("; the disk says: {t}")).unwrap_or_default())]
    Head {
        /// Bytes in memory.
        bytes: usize,
        /// Why the last attempt failed, if it did.
        trouble: Option<String>,
    },
}

/// Why the set of blocks was not changed.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The manifest could not be written.
    #[error("the list of blocks cannot be written")]
    Manifest(#[source] io::Error),
    /// A new block cannot be read back.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// Something else changed the same blocks first.
    #[error("the blocks have changed in the meantime")]
    Overtaken,
}

/// Why the head was not moved into a block. Its samples are still there, in memory and in the log.
#[derive(Debug, Error)]
pub enum FlushError {
    /// The block could not be written.
    #[error("a block cannot be written")]
    Write(#[from] io::Error),
    /// The block could not be put into use.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The head could not be read, which is a fault of ours.
    #[error("samples in memory cannot be read")]
    Read(#[source] SourceError),
    /// The log took no more.
    #[error("the log is full")]
    Full(#[from] Full),
    /// The log did not become durable.
    #[error("the log cannot be written")]
    Wait(#[from] WaitError),
    /// Old segments of the log could not be removed; everything else is done.
    #[error("old segments of the log cannot be removed")]
    Log(#[source] io::Error),
}

/// Why blocks were not merged. They are as before.
#[derive(Debug, Error)]
pub enum CompactError {
    /// The new block could not be written.
    #[error("a block cannot be written")]
    Write(#[from] io::Error),
    /// A block cannot be read.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// Samples cannot be read.
    #[error("samples cannot be read")]
    Read(#[source] SourceError),
    /// The new block could not be put into use.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store is being closed.
    #[error("the store is being closed")]
    Stopped,
}

/// Why something that covers the whole store was not done.
#[derive(Debug, Error)]
pub enum UpkeepError {
    /// The head could not be moved into a block.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// Blocks could not be merged.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// The set of blocks could not be changed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Series could not be chosen.
    #[error("series cannot be chosen")]
    Select(#[from] SourceError),
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
}

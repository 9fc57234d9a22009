//! What can go wrong, in words for the operator.

use std::{path::PathBuf, time::Duration};

use homeostat_store_wal::Full;
use homeostat_wire::series::Malformed;
use thiserror::Error;

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
        source: Full,
    },
    /// The store is being closed.
    #[error("the metrics store is closed")]
    Closed,
}

//! What can go wrong, in words for the operator.

use std::{fmt, io, path::PathBuf};

use homeostat_store_objects::PlaceError;
use thiserror::Error;

/// Why the store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The place of the objects.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The log.
    #[error("cannot open the log of profiles")]
    Log(#[from] homeostat_store_wal::OpenError),
    /// The log's directory.
    #[error("cannot use {path}")]
    Io {
        /// What.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The objects cannot be listed.
    #[error("cannot list the profiles in {place}")]
    List {
        /// Where.
        place: String,
        /// The answer.
        source: Box<object_store::Error>,
    },
    /// What an object of this log holds cannot be asked now; without it profiles would count twice.
    #[error("cannot read which profiles {object} holds")]
    Footer {
        /// The object.
        object: String,
        /// The answer.
        source: Box<object_store::Error>,
    },
    /// A newer program has written into this log.
    #[error("a newer program has written {what}; run that one, or move the log's directory away to begin anew")]
    Newer {
        /// What.
        what: String,
    },
    /// How far senders have come cannot be read.
    #[error(
        "{path} does not say how far senders have come; restore it, or remove it: what they send again may then count twice"
    )]
    Senders {
        /// The file.
        path: PathBuf,
    },
    /// The log's number cannot be read.
    #[error("{path} does not hold the log's number; restore it, or move the log's directory away to begin anew")]
    LogId {
        /// The file.
        path: PathBuf,
    },
}

/// Why a profile was not taken.
#[derive(Debug, Error)]
pub enum NotStored {
    /// It began too long ago.
    #[error(
        "the profile began at {started_ms} ms since 1970, which is longer ago than profiles are taken: seven days, or as long as \
         they are kept"
    )]
    Late {
        /// When it began.
        started_ms: i64,
    },
    /// It began later than now.
    #[error(
        "the profile began at {started_ms} ms since 1970, which is more than ten minutes ahead of our clock; set the clocks, \
         and send it again when its time has come"
    )]
    Ahead {
        /// When it began.
        started_ms: i64,
    },
    /// Its labels and types.
    #[error("the labels and types have {bytes} bytes, more than the {limit} that are taken")]
    Labels {
        /// How many they have.
        bytes: usize,
        /// How many they may have.
        limit: usize,
    },
    /// It counts nothing.
    #[error("the profile does not say what it counts")]
    NoTypes,
    /// Too many series.
    #[error("these two hours have {limit} series already; use fewer labels with many values")]
    Series {
        /// How many there may be.
        limit: usize,
    },
    /// Too many senders of windows.
    #[error(
        "there are {limit} senders of windows already; keep the data directory of an agent, which holds its number"
    )]
    Senders {
        /// How many there may be.
        limit: usize,
    },
    /// It is larger than what can be kept and read again.
    #[error("the profile has {bytes} bytes, more than can be kept of one")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// There is no room now.
    #[error("profiles wait for the disk or the bucket; send again later")]
    Busy,
}

/// Bytes that are not what was written. They are no part of any answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Damage {
    /// The object.
    pub object: String,
    /// Where in it the damaged part begins.
    pub offset: u64,
    /// Whose fault it is.
    pub kind: DamageKind,
    /// What is wrong.
    pub what: String,
}

/// Why bytes are no part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DamageKind {
    /// They are not what was written.
    Damaged,
    /// A newer program has written them.
    Newer,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, offset, kind, what } = self;
        match kind {
            DamageKind::Damaged => write!(f, "{object} is damaged at byte {offset} and left out from there: {what}"),
            DamageKind::Newer => write!(f, "{object} is left out: {what}"),
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The place of the objects does not answer.
    #[error("cannot read {object}")]
    Remote {
        /// What was read.
        object: String,
        /// The answer.
        source: Box<object_store::Error>,
    },
    /// There is too much of something.
    #[error("the answer has more than {limit} {what}; ask for a shorter time or fewer series")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// Nobody waits for the answer any more, or its time is over.
    #[error("the query was given up")]
    GivenUp,
}

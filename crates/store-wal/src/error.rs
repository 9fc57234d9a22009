//! What can go wrong with a log, in words for the operator.

use std::{io, path::PathBuf};

use homeostat_wire::wal_record::{Corruption, HeaderError, PayloadLength};
use thiserror::Error;

/// Bytes of a segment that are not what was written. Nothing before the offset is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("segment {segment:08} is corrupt at byte {offset}")]
pub struct Damage {
    /// Number of the segment.
    pub segment: u32,
    /// First byte that cannot be trusted, counted from the beginning of the file.
    pub offset: u64,
    /// What is wrong there.
    #[source]
    pub kind: DamageKind,
}

/// Kinds of damage.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DamageKind {
    /// The segment's header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A frame.
    #[error(transparent)]
    Frame(#[from] Corruption),
    /// The segment ends before the next one begins.
    #[error("records {from} to {to} are missing: the next segment begins behind them")]
    Missing {
        /// First missing sequence number.
        from: u64,
        /// Last missing one.
        to: u64,
    },
    /// A frame that looks cut short, although later records had been written behind it.
    #[error("a record is cut short, but later commits stand behind it")]
    CutShort,
    /// The seal frame contradicts the records before it.
    #[error("the seal at the end does not fit the records before it")]
    Seal,
    /// Something stands behind the seal.
    #[error("{bytes} bytes stand behind the end of the segment")]
    BehindSeal {
        /// How many.
        bytes: u64,
    },
    /// The segment begins with a sequence number that an earlier one already used up.
    #[error("it begins with record {first_seq}, but the segment before it reaches record {reached}")]
    Overlap {
        /// Where it begins.
        first_seq: u64,
        /// Where the one before it ends.
        reached: u64,
    },
}

/// Why a log cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error("{dir} is in use by another process; stop it first, or choose another data directory")]
    Locked {
        /// The directory.
        dir: PathBuf,
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
    /// Acknowledged records are damaged. The first damage is named; `homeostat wal inspect` lists all.
    #[error(
        "segment {:08} in {dir} is corrupt at byte {}; `homeostat wal repair {dir} --segment {}` keeps every record before it",
        .source.segment, .source.offset, .source.segment
    )]
    Damaged {
        /// The log's directory.
        dir: PathBuf,
        /// The damage.
        #[source]
        source: Damage,
    },
    /// The system refused a thread.
    #[error("cannot start the writer thread")]
    Thread(#[source] io::Error),
}

/// The queue takes no more: the disk has not kept up for a long time. The record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Full {
    /// Too many records or bytes wait.
    #[error("{records} records ({bytes} bytes) wait for the disk already{}", .trouble.as_deref().map(|t| format!("; it says: {t}")).unwrap_or_default())]
    Queue {
        /// Records waiting.
        records: usize,
        /// Bytes waiting.
        bytes: usize,
        /// The disk's last error, if it answers at all.
        trouble: Option<String>,
    },
    /// The record can never be taken.
    #[error(transparent)]
    Length(#[from] PayloadLength),
    /// The log is being closed.
    #[error("the log is closed")]
    Closed,
}

/// Why a record is not known to be durable.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WaitError {
    /// The time is over and the disk has not answered. The record stays in the queue.
    #[error("the disk has not answered in time")]
    NotYet,
    /// The disk has refused the record. It stays in the queue and is tried again.
    #[error("the disk refuses the record for now: {0}")]
    Failing(String),
    /// The log was closed before the record reached the disk.
    #[error("the log was closed before the record reached the disk")]
    Closed,
}

/// Why a record cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file system refused a segment; it may have been removed by retention meanwhile.
    #[error("cannot read {path}")]
    Io {
        /// The segment's file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The segment is damaged; it was intact when the log was opened.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// Why a segment was not repaired.
#[derive(Debug, Error)]
pub enum RepairError {
    /// There is no such segment.
    #[error("there is no segment {segment:08} in {dir}")]
    NoSegment {
        /// Its number.
        segment: u32,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Nothing is wrong with it.
    #[error("segment {segment:08} is intact; nothing was changed")]
    Intact {
        /// Its number.
        segment: u32,
    },
    /// A newer program wrote it; cutting it off would destroy what that program can read.
    #[error("segment {segment:08} was written by a newer program; nothing was changed")]
    Newer {
        /// Its number.
        segment: u32,
    },
    /// The directory cannot be taken, read or written.
    #[error(transparent)]
    Open(#[from] OpenError),
}

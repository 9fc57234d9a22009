//! Where series come from: the one door between evaluation and storage.
//!
//! Evaluation asks for all series of a selector at once and then reads each as a sequence of runs, chunk by chunk, so
//! that a year of samples never has to be in memory as a whole.

use homeostat_model::{Labels, SampleRun, TimeMs};

use crate::matcher::Matcher;

/// What a selector needs.
#[derive(Clone, Debug)]
pub struct Select<'a> {
    /// All of them must be met. At least one does not match the empty value (the parser checks it).
    pub matchers: &'a [Matcher],
    /// First instant that is read, inclusive.
    pub start_ms: TimeMs,
    /// Last instant that is read, inclusive.
    pub end_ms: TimeMs,
}

/// Why a source gave no series.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Data is damaged or cannot be read.
    #[error("cannot read series")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More than the source is willing to give to one query.
    #[error("the query reads more than {limit} {what}; narrow its selectors or its time range")]
    Limit {
        /// `series` or `samples`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The query was given up: its time is over or its client is gone.
    #[error("the query was cancelled")]
    Cancelled,
}

/// A series that a selector chose.
pub struct SelectedSeries<'a> {
    /// Its labels.
    pub labels: Labels,
    /// Its samples from `start_ms` to `end_ms` as runs in order of time, without two samples at the same instant.
    /// Runs are not empty; neighbours may be of the same or of different kinds. Stale markers are among them.
    pub runs: Box<dyn Iterator<Item = Result<SampleRun, SourceError>> + Send + 'a>,
}

impl std::fmt::Debug for SelectedSeries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelectedSeries").field("labels", &self.labels).finish_non_exhaustive()
    }
}

/// A store of series, as evaluation sees it.
pub trait SeriesSource {
    /// The series that meet all matchers and have a sample in the time range (a source may also give series without
    /// one), each once, sorted by their labels.
    fn select<'a>(&'a self, select: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError>;
}

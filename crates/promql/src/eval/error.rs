//! Why a query has no result.

use crate::source::SourceError;

use super::steps::STEPS_MAX;

/// Why a query has no result.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The query cannot be carried out on this data. Texts are those of Prometheus, because clients compare them.
    #[error("{0}")]
    Execution(String),
    /// More samples would be held at once than allowed.
    #[error(
        "query processing would load too many samples into memory in query execution: more than {limit} (limit \
         samples_max); narrow its selectors, shorten its time range or make its step larger"
    )]
    TooManySamples {
        /// The limit.
        limit: u64,
    },
    /// More memory would be held at once than allowed.
    #[error(
        "the query needs more than {limit} bytes of memory (limit memory_bytes_max); narrow its selectors, shorten its \
         time range or make its step larger"
    )]
    TooMuchMemory {
        /// The limit.
        limit: u64,
    },
    /// The result has more points than allowed.
    #[error(
        "the result has more than {limit} points (limit points_max); aggregate it, shorten its time range or make its \
         step larger"
    )]
    TooManyPoints {
        /// The limit.
        limit: u64,
    },
    /// A query or subquery has more instants than can be computed.
    #[error("the query has more than {limit} steps (at most {STEPS_MAX}); make its step larger or its range shorter")]
    TooManySteps {
        /// The limit.
        limit: usize,
    },
    /// The series could not be read.
    #[error("expanding series: {0}")]
    Source(#[source] SourceError),
    /// The query was given up: its time is over or its client is gone.
    #[error("the query was cancelled")]
    Cancelled,
}

impl From<SourceError> for EvalError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Cancelled => Self::Cancelled,
            error => Self::Source(error),
        }
    }
}

/// An error with a text that clients compare.
pub(super) fn execution(text: impl Into<String>) -> EvalError {
    EvalError::Execution(text.into())
}

/// Two elements of a vector would have the same labels at the same instant.
pub(super) fn same_labels() -> EvalError {
    execution("vector cannot contain metrics with the same labelset")
}

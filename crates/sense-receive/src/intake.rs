//! Where samples go: the store, as the receivers see it. The binary implements it; tests implement it too.

use std::pin::Pin;

use homeostat_model::TimeMs;
use homeostat_wire::intake::SeriesSink;

/// A store that takes requests.
pub trait Intake: Send + Sync + 'static {
    /// Collects what one request brings; nothing is stored when it is dropped.
    type Batch: SeriesSink + Send;

    /// Begins a batch. `now_ms` is the time of its arrival.
    fn begin(&self, now_ms: TimeMs) -> Self::Batch;

    /// Takes a batch: what is good in it can be seen by the queries that follow, and is durable when
    /// [`Taken::durable`] says so. May block for as long as a lock is held, never for the disk.
    fn commit(&self, batch: Self::Batch) -> Result<Taken, NotTaken>;
}

/// Ends when everything that was taken is as durable as the store promises.
pub type Durable = Pin<Box<dyn Future<Output = Result<(), NotTaken>> + Send>>;

/// What became of a batch.
pub struct Taken {
    /// What was stored.
    pub written: Written,
    /// What was not, one entry a reason.
    pub rejected: Vec<Rejected>,
    /// When it is durable.
    pub durable: Durable,
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (written, rejected) = (&self.written, &self.rejected);
        f.debug_struct("Taken").field("written", written).field("rejected", rejected).finish_non_exhaustive()
    }
}

/// How much was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples that are numbers.
    pub samples: u64,
    /// Samples that are native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

/// Samples that were not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Why, in words that senders know, such as `out of order sample`.
    pub reason: String,
    /// How many, exemplars included.
    pub count: u64,
    /// One of the series.
    pub example: String,
}

impl Rejected {
    /// Whether exemplars were lost rather than samples. Stores tell by the reason's words.
    pub(crate) fn is_exemplar(&self) -> bool {
        self.reason.contains("exemplar")
    }
}

/// Nothing of a batch was taken, or nobody knows whether it is durable; the sender should try again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There is no room now.
    #[error("{0}")]
    Busy(String),
    /// The store cannot write.
    #[error("{0}")]
    Broken(String),
}

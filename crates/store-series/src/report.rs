//! What became of a batch: how much was accepted, what was rejected and why, and when it is durable.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use homeostat_model::{Labels, TimeMs};
use homeostat_store_wal::WaitError;

/// Why a sample was rejected. Repeating it changes nothing: a client is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Older than the newest sample of its series, and there is no out-of-order window.
    OutOfOrder,
    /// Older than the out-of-order window.
    TooOld,
    /// Another value at the same time is stored already.
    Duplicate,
    /// No valid native histogram.
    InvalidHistogram,
    /// The store holds as many series as it may.
    SeriesLimit,
    /// An exemplar that is older than the newest one of its series, or whose labels are too long.
    Exemplar,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::OutOfOrder, Self::TooOld, Self::Duplicate, Self::InvalidHistogram, Self::SeriesLimit, Self::Exemplar];

    /// A word for a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfOrder => "out_of_order",
            Self::TooOld => "too_old",
            Self::Duplicate => "duplicate_timestamp",
            Self::InvalidHistogram => "invalid_histogram",
            Self::SeriesLimit => "series_limit",
            Self::Exemplar => "exemplar",
        }
    }
}

/// As Prometheus words it (`storage/interface.go`).
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfOrder => "out of order sample",
            Self::TooOld => "too old sample",
            Self::Duplicate => "duplicate sample for timestamp",
            Self::InvalidHistogram => "invalid native histogram",
            Self::SeriesLimit => "series limit reached",
            Self::Exemplar => "out of order exemplar",
        })
    }
}

/// The first sample that was rejected for a reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// Its series.
    pub labels: Labels,
    /// Its time.
    pub t_ms: TimeMs,
    /// More about it, where there is more to say.
    pub detail: Option<String>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: series {}, time {} ms", self.reason, self.labels, self.t_ms)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

/// Everything that was rejected of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejections {
    counts: [u64; Reason::ALL.len()],
    first: Vec<Rejection>,
}

impl Rejections {
    /// Returns true when nothing was rejected.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Samples that were rejected for a reason.
    pub fn count(&self, reason: Reason) -> u64 {
        self.counts.get(reason as usize).copied().unwrap_or(0)
    }

    /// All samples that were rejected.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The first sample of each reason, in order of appearance.
    pub fn first(&self) -> &[Rejection] {
        &self.first
    }

    /// Counts a rejection; `describe` is called for the first one of its reason.
    pub(crate) fn add(&mut self, reason: Reason, count: u64, describe: impl FnOnce() -> Rejection) {
        if let Some(slot) = self.counts.get_mut(reason as usize) {
            if *slot == 0 && count > 0 {
                self.first.push(describe());
            }
            *slot += count;
        }
    }
}

/// What was accepted; a sample that is stored already with the same value counts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Floats.
    pub floats: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Among the floats and histograms those that were stored before.
    pub repeated: u64,
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct AppendReport {
    /// What was accepted.
    pub accepted: Accepted,
    /// What was not.
    pub rejected: Rejections,
    /// Tells when everything that was accepted is on disk.
    pub ticket: Ticket,
}

/// Tells when an append is durable: a future, or wait for it. Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Ticket(pub(crate) Option<homeostat_store_wal::Ticket>);

impl Ticket {
    /// Waits until the append is durable, `timeout` at most. Returns early when the disk refuses it; it is tried again
    /// all the same.
    pub fn wait(&self, timeout: Duration) -> Result<(), WaitError> {
        self.0.as_ref().map_or(Ok(()), |ticket| ticket.wait(timeout).map(|_| ()))
    }
}

impl Future for Ticket {
    type Output = Result<(), WaitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            None => Poll::Ready(Ok(())),
            Some(ticket) => Pin::new(ticket).poll(context).map(|fate| fate.map(|_| ())),
        }
    }
}

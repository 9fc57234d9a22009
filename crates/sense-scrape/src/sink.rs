//! Where samples go. The scraper knows nothing of stores; the binary connects the two.

use std::{future::Future, pin::Pin};

use homeostat_model::TimeMs;
use homeostat_wire::intake::SeriesSink;

/// Takes what scrapes bring.
pub trait Sink: Send + Sync + 'static {
    /// Collects one scrape; nothing is stored when it is dropped.
    type Batch: SeriesSink + Send;

    /// Begins a batch.
    fn begin(&self, now_ms: TimeMs) -> Self::Batch;

    /// Stores a batch. Ends when it is as durable as the store promises, or says why it was not taken.
    fn commit(&self, batch: Self::Batch) -> Storing;
}

/// A batch on its way; the error says what to do about it.
pub type Storing = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

//! What the tests of jobs share.

use homeostat_model::TimeMs;
use homeostat_sense_scrape::sink::{Sink, Storing};
use homeostat_wire::intake::Collected;
use tokio::sync::mpsc;

/// Hands every batch to the test.
#[derive(Debug)]
pub(crate) struct Batches(pub(crate) mpsc::Sender<Collected>);

impl Sink for Batches {
    type Batch = Collected;
    fn begin(&self, _: TimeMs) -> Collected {
        Collected::default()
    }
    fn commit(&self, batch: Collected) -> Storing {
        let sent = self.0.try_send(batch).map_err(|_| "the test is over".to_owned());
        Box::pin(async move { sent })
    }
}

//! From decoded requests into the store.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use homeostat_model::{Labels, TimeMs, sample::START_UNKNOWN};
use homeostat_sense_receive::{Intake, NotTaken, Rejected, Taken, Written, govern::Whole};
use homeostat_store_series::{AppendError, Batch, Rejections};
use homeostat_store_wal::Full;
use homeostat_wire::intake::{Label, MetadataView, Refusal, SeriesKey, SeriesSink, SeriesView};

use super::{
    door::{Door, OPENING},
    governed::{Governed, Governing},
};
use homeostat_model::error_chain::chain;

/// How far ahead of our clock a sample may be. Clocks differ by seconds; a sample from next year would make everything
/// before it look old. Prometheus has the same limit.
const AHEAD_MAX_MS: i64 = 10 * 60 * 1000;
/// Batches kept for the next requests: as many as workers there are on a large machine.
const SPARE_BATCHES_MAX: usize = 16;
/// Samples above which a batch is not kept: its memory would stay. 16 bytes each, 1.6 MB.
const SPARE_SAMPLES_MAX: usize = 100_000;

/// The store as the receivers see it.
#[derive(Debug)]
pub(super) struct StoreIntake {
    door: Arc<Door>,
    /// Emptied batches with their memory.
    spare: Mutex<Vec<Batch>>,
    /// Where there are limits.
    governed: Option<Arc<Governed>>,
}

/// One request on its way into the store.
#[derive(Debug)]
pub(super) struct RequestBatch {
    batch: Batch,
    newest_ms: TimeMs,
    ahead: Option<Rejected>,
    bad_labels: Option<Rejected>,
    governing: Option<Governing>,
}

impl StoreIntake {
    pub(super) fn new(door: Arc<Door>, governed: Option<Arc<Governed>>) -> Self {
        Self { door, spare: Mutex::default(), governed }
    }

    /// Begins a batch that has all of its source, or a part of it.
    pub(super) fn begin_as(&self, whole: Whole, now_ms: TimeMs) -> RequestBatch {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let newest_ms = now_ms.saturating_add(AHEAD_MAX_MS);
        let governing = self.governed.as_ref().map(|governed| governed.begin(whole, now_ms));
        RequestBatch { batch: spare.unwrap_or_default(), newest_ms, ahead: None, bad_labels: None, governing }
    }

    fn keep(&self, mut batch: Batch) {
        if batch.samples_len() > SPARE_SAMPLES_MAX {
            return;
        }
        batch.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_BATCHES_MAX {
            spare.push(batch);
        }
    }
}

impl Intake for StoreIntake {
    type Batch = RequestBatch;

    fn begin(&self, now_ms: TimeMs) -> RequestBatch {
        self.begin_as(Whole::Part, now_ms)
    }

    fn commit(&self, request: RequestBatch) -> Result<Taken, NotTaken> {
        let Some((store, relays)) = self.door.both() else { return Err(NotTaken::Busy(OPENING.to_owned())) };
        let RequestBatch { mut batch, ahead, bad_labels, governing, .. } = request;
        let refused = governing.map(|governing| governing.finish(&mut batch)).unwrap_or_default();
        let busy = |full: Full| NotTaken::Busy(chain(&full));
        let order = relays.hold();
        relays.room(&batch).map_err(busy)?;
        let report = store.append(&mut batch);
        let queued = relays.queue(&batch);
        drop(order);
        self.keep(batch);
        let report = report.map_err(|error| match error {
            AppendError::Busy { .. } => NotTaken::Busy(chain(&error)),
            AppendError::Closed => NotTaken::Broken(chain(&error)),
        })?;
        let accepted = report.accepted;
        let written =
            Written { samples: accepted.floats, histograms: accepted.histograms, exemplars: accepted.exemplars };
        let rejected = rejections(&report.rejected).chain(ahead).chain(bad_labels).chain(refused).collect();
        let ticket = report.ticket;
        let queued = queued.map_err(busy)?;
        let durable = async {
            ticket.await.map_err(|error| NotTaken::Broken(chain(&error)))?;
            for ticket in queued {
                let _durable = ticket.await.map_err(|error| NotTaken::Broken(chain(&error)))?;
            }
            Ok(())
        };
        Ok(Taken { written, rejected, durable: Box::pin(durable) })
    }
}

fn rejections(rejections: &Rejections) -> impl Iterator<Item = Rejected> {
    rejections.first().iter().map(|first| Rejected {
        reason: first.reason.to_string(),
        count: rejections.count(first.reason),
        example: match &first.detail {
            None => format!("{} at {} ms", first.labels, first.t_ms),
            Some(detail) => format!("{} at {} ms: {detail}", first.labels, first.t_ms),
        },
    })
}

impl SeriesSink for RequestBatch {
    type Known = Infallible;

    fn series(&mut self, key: SeriesKey<'_, Infallible>, series: SeriesView<'_>) {
        let SeriesKey::Labels { labels, .. } = key;
        if let Some(governing) = &mut self.governing
            && !governing.admits(labels, &series, self.newest_ms, &mut self.ahead)
        {
            return;
        }
        if let Err(error) = self.batch.series(labels.iter().copied()) {
            let lost = series.samples.len() + series.histograms.len() + series.exemplars().count();
            add(&mut self.bad_labels, BAD_LABELS, lost, || format!("{}: {error}", shown(labels)));
            return;
        }
        let newest_ms = self.newest_ms;
        let mut ahead = 0;
        for sample in series.samples {
            if sample.t_ms <= newest_ms {
                self.batch.float_since(sample.t_ms, sample.value, sample.start_ms.unwrap_or(START_UNKNOWN));
            } else {
                ahead += 1;
            }
        }
        for sample in series.histograms {
            if sample.t_ms <= newest_ms {
                let start_ms = sample.start_ms.unwrap_or(START_UNKNOWN);
                self.batch.histogram_since(sample.t_ms, Arc::clone(&sample.histogram), start_ms);
            } else {
                ahead += 1;
            }
        }
        for exemplar in series.exemplars() {
            // One without a time belongs to the newest sample of its series.
            let latest = series.samples.last().map(|sample| sample.t_ms);
            let t_ms = exemplar.t_ms.or(latest).unwrap_or(newest_ms);
            if self.batch.exemplar(exemplar.labels.iter().copied(), t_ms, exemplar.value).is_err() {
                add(&mut self.bad_labels, BAD_LABELS, 1, || format!("an exemplar of {}", shown(labels)));
            }
        }
        add_ahead(&mut self.ahead, ahead, labels);
    }

    fn metadata(&mut self, metadata: MetadataView<'_>) {
        self.batch.metadata(metadata.family, metadata.kind, metadata.help, metadata.unit);
    }

    /// The receiver tells its own refusals.
    fn refused(&mut self, _: Refusal<'_>) {}
}

/// The word for labels that the store does not take.
pub(super) const BAD_LABELS: &str = "invalid labels";

/// Notes samples that are too far ahead of our clock, if there are any.
pub(super) fn add_ahead(entry: &mut Option<Rejected>, count: usize, labels: &[Label<'_>]) {
    if count > 0 {
        add(entry, "out of bounds", count, || {
            format!("{}: more than {} minutes ahead of this server's clock", shown(labels), AHEAD_MAX_MS / 60_000)
        });
    }
}

pub(super) fn shown(labels: &[Label<'_>]) -> String {
    Labels::new(labels.iter().copied()).to_string()
}

pub(super) fn add(entry: &mut Option<Rejected>, reason: &str, count: usize, example: impl FnOnce() -> String) {
    let entry = entry.get_or_insert_with(|| Rejected { reason: reason.to_owned(), count: 0, example: example() });
    entry.count += count as u64;
}

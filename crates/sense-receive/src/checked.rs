//! The store's batch, with what every receiver checks before it.

use homeostat_wire::intake::{
    Fault, MetadataView, Refusal, SeriesKey, SeriesSink, SeriesView, labels_builder, metric_name,
};

use crate::{intake::Rejected, limits::COMPLAINTS_MAX};

/// A batch with what did not even reach it.
pub(crate) struct Checked<B> {
    pub(crate) batch: B,
    /// One entry a reason.
    pub(crate) refused: Vec<Rejected>,
}

impl<B> Checked<B> {
    pub(crate) fn new(batch: B) -> Self {
        Self { batch, refused: Vec::new() }
    }

    fn refuse(&mut self, reason: &str, count: usize, example: impl FnOnce() -> String) {
        match self.refused.iter_mut().find(|entry| entry.reason == reason) {
            Some(entry) => entry.count += count as u64,
            None => {
                self.refused.push(Rejected { reason: reason.to_owned(), count: count as u64, example: example() });
            }
        }
    }
}

/// The few words that metrics have for what is wrong.
fn reason(fault: &Fault) -> &'static str {
    match fault {
        Fault::Histogram { .. } | Fault::HistogramRange { .. } | Fault::Scale { .. } => "invalid histogram",
        Fault::Unsupported { .. } => "unsupported",
        Fault::DeltaOrder { .. } => "out of order delta",
        Fault::DeltaSeries { .. } => "too many deltas",
        _ => "invalid labels",
    }
}

impl<B: SeriesSink> SeriesSink for Checked<B> {
    type Known = B::Known;

    fn recognise(&mut self, bytes: &[u8]) -> Option<B::Known> {
        self.batch.recognise(bytes)
    }

    fn series(&mut self, key: SeriesKey<'_, B::Known>, series: SeriesView<'_>) {
        if let SeriesKey::Labels { labels, .. } = &key
            && metric_name(labels).is_empty()
        {
            let count = series.samples.len() + series.histograms.len() + series.exemplars().count();
            self.refuse("invalid labels", count, || {
                format!("{}: it has no metric name", labels_builder(labels).finish())
            });
            return;
        }
        self.batch.series(key, series);
    }

    fn metadata(&mut self, metadata: MetadataView<'_>) {
        self.batch.metadata(metadata);
    }

    fn refused(&mut self, refusal: Refusal<'_>) {
        let count = refusal.samples + refusal.exemplars;
        self.refuse(reason(&refusal.fault), count, || refusal.to_string());
    }
}

/// What was lost, in words for the sender.
pub(crate) fn complaints(rejected: &[Rejected]) -> String {
    let complaints: Vec<String> = rejected
        .iter()
        .take(COMPLAINTS_MAX)
        .map(|entry| {
            let s = if entry.count == 1 { "" } else { "s" };
            format!("{}: {} sample{s}, such as in {}", entry.reason, entry.count, entry.example)
        })
        .collect();
    complaints.join("; ")
}

//! What one write brings for a destination: relabelled, split by lanes, packed.

use std::sync::Arc;

use homeostat_model::{
    Histogram, TimeMs,
    labels::LabelsBuilder,
    sample::{self, START_UNKNOWN},
};
use homeostat_relabel::{Fate, relabel};
use homeostat_wire::{
    intake::{FloatSample, HistogramSample},
    remote_write::EncoderV1,
    snappy,
};

use crate::{
    carrier::Version,
    entry::Head,
    limits::{LANES, REQUEST_BYTES_MAX},
    relay::RelaySpec,
};

/// Records on their way into a destination's log.
#[derive(Debug)]
pub struct RelayBatch<'s> {
    spec: &'s RelaySpec,
    arrived_ms: TimeMs,
    open: [(Head, EncoderV1); LANES],
    pub(crate) ready: Vec<(Head, Vec<u8>)>,
}

impl<'s> RelayBatch<'s> {
    pub(crate) fn new(spec: &'s RelaySpec, arrived_ms: TimeMs) -> Self {
        let open = std::array::from_fn(|lane| (empty(lane, arrived_ms), EncoderV1::default()));
        Self { spec, arrived_ms, open, ready: Vec::new() }
    }

    /// Adds a series, unless the rules drop it. The last are the starts of floats and of histograms, each empty or as many as
    /// there are samples; only destinations of version 2.0 get them.
    pub fn series<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        floats: &[(TimeMs, f64)],
        histograms: &[(TimeMs, Arc<Histogram>)],
        (float_starts, histogram_starts): (&[TimeMs], &[TimeMs]),
    ) {
        let mut builder = LabelsBuilder::default();
        for (name, value) in &self.spec.external_labels {
            builder.set(name, value);
        }
        // A series' own labels win over external ones.
        for (name, value) in labels {
            builder.set(name, value);
        }
        if relabel(&mut builder, &self.spec.relabel) == Fate::Dropped {
            return;
        }
        let labels = builder.finish();
        if labels.is_empty() {
            return;
        }
        let histograms = if self.spec.native_histograms { histograms } else { &[] };
        let lane = crc32c::crc32c(labels.as_packed().as_bytes()) as usize % LANES;
        let sends_starts = self.spec.version == Version::V2;
        let start_at = |starts: &[TimeMs], at: usize| {
            Some(sample::start_at(starts, at)).filter(|start_ms| sends_starts && *start_ms != START_UNKNOWN)
        };
        let float = |(at, (t_ms, value)): (usize, &(TimeMs, f64))| FloatSample {
            t_ms: *t_ms,
            value: *value,
            start_ms: start_at(float_starts, at),
        };
        let histogram = |(at, (t_ms, histogram)): (usize, &(TimeMs, Arc<Histogram>))| HistogramSample {
            t_ms: *t_ms,
            histogram: Arc::clone(histogram),
            start_ms: start_at(histogram_starts, at),
        };
        let mut floats: Vec<FloatSample> = floats.iter().enumerate().map(float).collect();
        let mut histograms: Vec<HistogramSample> = histograms.iter().enumerate().map(histogram).collect();
        // A series with more samples than a request may have is sent in several.
        while !floats.is_empty() || !histograms.is_empty() {
            let room = self.spec.samples_per_send_max;
            let (floats_rest, histograms_rest) = (tail(&mut floats, room), tail(&mut histograms, room));
            self.add(lane, &labels, &floats, &histograms);
            (floats, histograms) = (floats_rest, histograms_rest);
        }
    }

    fn add(
        &mut self,
        lane: usize,
        labels: &homeostat_model::Labels,
        floats: &[FloatSample],
        histograms: &[HistogramSample],
    ) {
        let Some((head, encoder)) = self.open.get_mut(lane) else { return };
        encoder.series(labels, floats, histograms, &[]);
        head.samples += floats.len() as u32;
        head.histograms += histograms.len() as u32;
        let newest = floats.last().map(|s| s.t_ms).max(histograms.last().map(|s| s.t_ms));
        head.newest_ms = head.newest_ms.max(newest.unwrap_or(TimeMs::MIN));
        let full = self.spec.samples_per_send_max as u64 <= head.all() || REQUEST_BYTES_MAX <= encoder.as_bytes().len();
        if full {
            self.finish(lane);
        }
    }

    /// Packs what a lane has so far.
    fn finish(&mut self, lane: usize) {
        let Some((head, encoder)) = self.open.get_mut(lane) else { return };
        if encoder.as_bytes().is_empty() {
            return;
        }
        // Only messages beyond 4 GiB cannot be packed, and this one has about a megabyte.
        if let Ok(packed) = snappy::compress(encoder.as_bytes()) {
            self.ready.push((*head, packed));
        }
        *head = empty(lane, self.arrived_ms);
        encoder.clear();
    }

    /// All records, of each lane in order.
    pub(crate) fn into_records(mut self) -> Vec<(Head, Vec<u8>)> {
        for lane in 0..LANES {
            self.finish(lane);
        }
        self.ready
    }
}

fn empty(lane: usize, arrived_ms: TimeMs) -> Head {
    Head { lane: lane as u8, newest_ms: TimeMs::MIN, arrived_ms, ..Head::default() }
}

/// What lies beyond the first `len`.
fn tail<T>(list: &mut Vec<T>, len: usize) -> Vec<T> {
    if list.len() <= len { Vec::new() } else { list.split_off(len) }
}

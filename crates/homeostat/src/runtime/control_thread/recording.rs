//! What is recorded beside the steps: latencies and examples from the gateway, traffic for the event stream, frozen copies
//! for incidents.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use homeostat_api::backend::{StreamItem, TrafficSample};
use homeostat_control::Recorder;
use homeostat_model::{CellId, OutcomeCounts, ServiceName, Timestamp, evidence::EventCounts};

use super::{
    super::{
        files::Kept,
        shared::{bump, lock},
    },
    ControlThread, Freeze,
};

/// How often latency histograms are read: reading them costs a microsecond per cell and worker.
const LATENCIES_EVERY: Duration = Duration::from_secs(1);

/// How often traffic goes to the event stream, and exemplars and latencies into the recorder.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

impl ControlThread {
    /// Keeps the recordings that a crash may have prevented, before cell ids get new meanings; then, unless ids have kept
    /// their meaning, the recorder begins anew.
    pub(in crate::runtime) fn keep_old_recordings(&mut self, ids_kept: bool) {
        // A later recording of the same incident is the longer one.
        let mut latest = BTreeMap::new();
        for freeze in std::mem::take(&mut self.state.freezes) {
            latest.insert(freeze.incident, freeze);
        }
        self.freeze(latest.into_values().rev().collect());
        if !ids_kept {
            self.recorder = Recorder::new(self.clock.now());
            self.state.cells.clear();
        }
    }

    /// Every 100 ms: traffic to the stream, exemplars and (every second) latencies into the recorder.
    pub(super) fn sample(&mut self) {
        let now = Instant::now();
        if now < self.state.sample_due {
            return;
        }
        self.state.sample_due = now + SAMPLE_EVERY;
        let at = self.clock.now();
        self.record_exemplars();
        if self.state.latencies_due <= now {
            self.state.latencies_due = now + LATENCIES_EVERY;
            self.record_latencies(at);
        }
        let counts = std::mem::take(&mut self.state.sample);
        self.shared.publish(StreamItem::Traffic { at, versions: self.by_version(&counts) });
    }

    fn record_exemplars(&mut self) {
        let mut exemplars = Vec::new();
        self.gateway.take_exemplars(&mut exemplars);
        for exemplar in exemplars {
            self.recorder.exemplar(exemplar);
        }
    }

    fn record_latencies(&mut self, at: Timestamp) {
        let mut latencies = Vec::new();
        self.gateway.latencies(&mut latencies);
        lock(&self.shared.totals).add_latencies(&latencies);
        self.recorder.latencies(at, latencies);
    }

    fn by_version(&self, counts: &BTreeMap<CellId, OutcomeCounts>) -> Vec<TrafficSample> {
        let mut versions = BTreeMap::<(&ServiceName, &str), EventCounts>::new();
        for (cell, counts) in counts {
            if let Some(key) = self.state.cells.get(cell) {
                *versions.entry((&key.service, key.version.as_str())).or_default() +=
                    EventCounts { good: counts.answered(), bad: counts.bad() };
            }
        }
        let sample = |((service, version), counts): ((&ServiceName, &str), EventCounts)| TrafficSample {
            service: service.as_str().to_owned(),
            version: version.to_owned(),
            good: counts.good,
            bad: counts.bad,
        };
        versions.into_iter().map(sample).collect()
    }

    /// Freezes recordings whose last instant has come.
    pub(super) fn freeze_due(&mut self) {
        let now = self.clock.now();
        let (due, later) = std::mem::take(&mut self.state.freezes).into_iter().partition(|freeze| freeze.to <= now);
        self.state.freezes = later;
        self.freeze(due);
    }

    pub(super) fn freeze(&mut self, due: Vec<Freeze>) {
        if let Some(last) = due.iter().map(|freeze| freeze.to).max() {
            // What the gateway still holds belongs to the recording.
            self.record_exemplars();
            self.record_latencies(last);
        }
        for freeze in due {
            let black_box = self.recorder.freeze(&freeze.cells, freeze.from, freeze.to, &self.state.cells);
            if self.files.keep(freeze.incident, Kept::Recording(black_box)).is_err() {
                bump(&self.shared.counters.black_boxes_dropped);
                tracing::warn!(incident = %freeze.incident, "too many recordings wait for the disk; this one was dropped");
            }
        }
    }
}

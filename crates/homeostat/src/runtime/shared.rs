//! What the parts of a running process show each other: snapshots that readers take without waiting for control.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use homeostat_api::backend::{ConfigStatus, StreamItem};
use homeostat_control::ControlSpec;
use homeostat_model::{
    CellId, CellKey, ObjectiveName, OutcomeCounts, OutcomeDelta, ServiceName, Timestamp,
    incident::{CellLatency, Incident, Stage},
    objective::Indicator,
    view::View,
};
use tokio::sync::broadcast;

use super::{
    explaining::{Discovered, Opened, ProfilingState},
    kernel_calls::CallsState,
    kernel_strip::{KernelStrips, Served},
};
use crate::config::{CheckedConfig, Profiled, SensingSpec, Sought};

/// Items that a slow reader of the event stream may lag behind. Traffic comes 10 times a second: a reader may pause
/// for about 20 s.
const STREAM_ITEMS_MAX: usize = 256;

/// Locks, whatever happened to another holder: all critical sections here are single assignments.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An objective whose events are counted by queries.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Indicated {
    /// Where its events are recorded.
    pub(super) cell: CellId,
    pub(super) objective: ObjectiveName,
    pub(super) indicator: Indicator,
}

impl Indicated {
    /// Those of a configuration, ascending by cell.
    pub(super) fn all_of(spec: &ControlSpec) -> Vec<Self> {
        let of = |(cell, name): &(CellId, ObjectiveName)| {
            let objective = spec.objectives.iter().find(|objective| objective.name == *name)?;
            Some(Self { cell: *cell, objective: name.clone(), indicator: objective.indicator.clone()? })
        };
        let mut all: Vec<Self> = spec.indicators.iter().filter_map(of).collect();
        all.sort_by_key(|indicated| indicated.cell);
        all
    }
}

/// How the metrics server inside the process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum MetricsHealth {
    /// The configuration wants none.
    #[default]
    Off,
    /// It runs, and listens here.
    Fine(SocketAddr),
    /// It does not, for this reason.
    Trouble(String),
}

/// Snapshots and counters of one process.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) view: ArcSwap<View>,
    pub(super) stream: broadcast::Sender<Arc<StreamItem>>,
    pub(super) config: Mutex<ConfigStatus>,
    pub(super) totals: Mutex<Totals>,
    /// When control last finished a round, on the process's time line; tells a stuck control from a quiet one.
    control_alive_ns: AtomicI64,
    /// The process has been asked to stop: it finishes what runs and wants no new traffic.
    pub(super) stopping: AtomicBool,
    /// What keeps the journal from opening, if anything does.
    pub(super) journal_trouble: Mutex<Option<String>>,
    /// How the metrics server is.
    pub(super) metrics: Mutex<MetricsHealth>,
    /// Services and objectives of the configuration in force, and what else control knows of it.
    pub(super) spec: ArcSwap<ControlSpec>,
    /// Programs whose profiles are taken, as the configuration in force has them.
    pub(super) profiled: ArcSwap<Vec<Profiled>>,
    /// Services whose programs scraping finds, as the configuration in force has them.
    pub(super) sought: ArcSwap<Vec<Sought>>,
    /// What scraping has found, while anybody asks for that.
    pub(super) discovered: ArcSwap<Vec<Discovered>>,
    /// How much memory profiles may take, as the configuration in force has it.
    pub(super) sensing: ArcSwap<SensingSpec>,
    /// What is held of them.
    pub(super) profiling: Mutex<ProfilingState>,
    /// Where versions answer, as the configuration in force has it.
    pub(super) served: ArcSwap<Vec<Served>>,
    /// Services that others call, by who calls them, as the configuration in force has it.
    pub(super) depends_on: ArcSwap<BTreeMap<ServiceName, Vec<ServiceName>>>,
    /// Those of them whose requests the kernel is asked for.
    pub(super) called: ArcSwap<Vec<Served>>,
    /// How following these requests is.
    pub(super) calls: Mutex<CallsState>,
    /// What the kernel sees of them.
    pub(super) kernel: Mutex<KernelStrips>,
    /// Who looks into incidents, once somebody does.
    pub(super) opened: OnceLock<Opened>,
    /// Objectives whose events are counted by queries, as the configuration in force has them.
    pub(super) indicators: ArcSwap<Vec<Indicated>>,
    pub(super) counters: Counters,
}

/// Counters of the process itself, exported at `/metrics`.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) steps: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) shifts: AtomicU64,
    pub(super) shifts_ahead_of_disk: AtomicU64,
    pub(super) steps_refused: AtomicU64,
    pub(super) steps_waiting: AtomicU64,
    pub(super) black_boxes_dropped: AtomicU64,
    pub(super) config_accepted: AtomicU64,
    pub(super) config_rejected: AtomicU64,
    pub(super) clock_steps: AtomicU64,
}

/// Adds one.
pub(super) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    /// Has profiles taken as a configuration says.
    pub(super) fn profile_as(&self, config: &CheckedConfig) {
        self.sensing.store(Arc::new(config.sensing));
        self.sought.store(Arc::new(config.sought.clone()));
        self.profiled.store(Arc::new(config.profiled.clone()));
    }

    /// Whether the configuration in force has profiles taken of a service.
    pub(super) fn is_profiled(&self, service: &ServiceName) -> bool {
        let named = self.profiled.load().iter().any(|profiled| profiled.service == *service);
        named || self.sought.load().iter().any(|sought| sought.service == *service)
    }

    pub(super) fn new(config: ConfigStatus) -> Self {
        Self {
            view: ArcSwap::from_pointee(View::default()),
            stream: broadcast::Sender::new(STREAM_ITEMS_MAX),
            config: Mutex::new(config),
            totals: Mutex::new(Totals::default()),
            control_alive_ns: AtomicI64::new(0),
            stopping: AtomicBool::new(false),
            journal_trouble: Mutex::new(None),
            metrics: Mutex::default(),
            spec: ArcSwap::default(),
            profiled: ArcSwap::default(),
            sought: ArcSwap::default(),
            discovered: ArcSwap::default(),
            sensing: ArcSwap::default(),
            profiling: Mutex::default(),
            served: ArcSwap::default(),
            depends_on: ArcSwap::default(),
            called: ArcSwap::default(),
            calls: Mutex::default(),
            kernel: Mutex::default(),
            opened: OnceLock::new(),
            indicators: ArcSwap::default(),
            counters: Counters::default(),
        }
    }

    /// Tells whoever looks into incidents of one that is on disk. When too many come at once, it goes without an explanation
    /// unless it is told again in time.
    pub(super) fn tell_opened(&self, incident: Box<Incident>) {
        let is_new = incident.stage < Stage::Recovered && incident.explanation.is_none();
        if let Some(opened) = self.opened.get().filter(|_| is_new) {
            let id = incident.id;
            if opened.try_send(incident).is_err() {
                tracing::warn!(incident = %id, "too many incidents at once; nobody looks into this one yet");
            }
        }
    }

    /// Sends to whoever follows the event stream; nobody following is fine.
    pub(super) fn publish(&self, item: StreamItem) {
        if self.stream.receiver_count() > 0 {
            // The only error is that the last reader has just left.
            let _nobody_listens = self.stream.send(Arc::new(item));
        }
    }

    pub(super) fn control_is_alive(&self, now: Timestamp) {
        self.control_alive_ns.store(now.unix_ns(), Ordering::Relaxed);
    }

    pub(super) fn control_last_alive(&self) -> Timestamp {
        Timestamp::from_unix_ns(self.control_alive_ns.load(Ordering::Relaxed))
    }
}

/// All outcomes since the process started, per cell: what `/metrics` shows.
#[derive(Debug, Default)]
pub(super) struct Totals {
    by_cell: Vec<OutcomeCounts>,
    latencies: BTreeMap<CellId, LatencyTotals>,
    keys: BTreeMap<CellId, CellKey>,
}

/// Upper bounds of the exported latency buckets in microseconds: from a cache hit to the usual time-outs.
pub(super) const LATENCY_BOUNDS_US: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Latencies of one cell since the process started, in coarse buckets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LatencyTotals {
    /// Requests up to each bound of [`LATENCY_BOUNDS_US`], not cumulative; the last entry holds those beyond all bounds.
    pub(super) buckets: [u64; LATENCY_BOUNDS_US.len() + 1],
    /// Sum of the upper bounds of the gateway's own buckets, which are 12.5 % wide at most.
    pub(super) sum_us: u64,
}

impl Totals {
    /// Adds a tick.
    pub(super) fn add(&mut self, deltas: &[OutcomeDelta]) {
        for delta in deltas {
            let index = usize::from(delta.cell.0);
            if self.by_cell.len() <= index {
                self.by_cell.resize(index + 1, OutcomeCounts::default());
            }
            if let Some(total) = self.by_cell.get_mut(index) {
                *total += delta.counts;
            }
        }
    }

    /// Adds the gateway's histograms of an interval.
    pub(super) fn add_latencies(&mut self, cells: &[CellLatency]) {
        for cell in cells {
            let totals = self.latencies.entry(cell.cell).or_default();
            for (bound_us, count) in &cell.buckets {
                let at = LATENCY_BOUNDS_US.partition_point(|bound| bound < bound_us);
                if let Some(bucket) = totals.buckets.get_mut(at) {
                    *bucket += count;
                }
                totals.sum_us = totals.sum_us.saturating_add(bound_us.saturating_mul(*count));
            }
        }
    }

    /// Named cells with their latencies, ascending; cells without requests are left out.
    pub(super) fn latencies(&self) -> impl Iterator<Item = (&CellKey, &LatencyTotals)> {
        self.keys.iter().filter_map(|(id, key)| Some((key, self.latencies.get(id)?)))
    }

    /// Tells what the cells mean from now on. Ids are never given to another key, so counts stay right.
    pub(super) fn name_cells(&mut self, cells: impl Iterator<Item = (CellId, CellKey)>) {
        self.keys = cells.collect();
    }

    /// Named cells with their counts, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&CellKey, OutcomeCounts)> {
        self.keys.iter().map(|(id, key)| (key, self.by_cell.get(usize::from(id.0)).copied().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_the_first_bucket_that_holds_them() {
        let mut totals = Totals::default();
        let buckets = vec![(500, 1), (501, 2), (10_000_000, 4), (10_000_001, 8)];
        totals.add_latencies(&[CellLatency { cell: CellId(0), buckets }]);
        let sums = totals.latencies[&CellId(0)];
        assert_eq!((sums.buckets[0], sums.buckets[1], sums.buckets[13], sums.buckets[14]), (1, 2, 4, 8));
        assert_eq!(sums.sum_us, 500 + 1_002 + 40_000_000 + 80_000_008);
    }
}

//! Which processes are followed, and which cell each of their calls counts in.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use homeostat_calls::{Call, Side};
use homeostat_control::ControlSpec;
use homeostat_model::{
    CellId, CellKey, ObjectiveName, OutcomeClass, OutcomeCounts, OutcomeDelta, RouteName, ServiceName, Span, Timestamp,
    outcome::merge_deltas,
};
use homeostat_sense_kernel::{HAS_PROGRAMS, HOW_TO_BUILD, KernelCalls, thread_time};

use super::{
    super::kernel_strip::{Governor, Served, Whereabouts},
    CallsState,
    coverage::{Coverage, Unmeasured},
};
use crate::config::KERNEL;

/// Share of one CPU that following calls may cost, all services together: some thousand requests a second, see
/// `./dev bench sense-kernel`. More than other sensing, because somebody asked for it.
const BUDGET: f64 = 0.03;

/// Who is followed, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Following {
    whereabouts: Whereabouts,
    kernel: Option<Kernel>,
    /// The kernel refuses it, or it was not built in: nobody asks again until the process begins anew.
    is_refused: bool,
    /// By port.
    cells: BTreeMap<u16, Cell>,
    coverage: Coverage,
    calls: Vec<Call>,
    state: CallsState,
}

/// The program in the kernel, following or paused.
#[derive(Debug)]
struct Kernel {
    calls: KernelCalls,
    pids: BTreeSet<u32>,
    governor: Governor,
    counts: bool,
    /// Time in the kernel and here, and when that was.
    spent: Duration,
    at: Instant,
}

/// What calls to an endpoint count in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cell {
    id: CellId,
    thresholds: Vec<Span>,
}

impl Following {
    /// Whether calls are followed now.
    pub(super) fn counts(&self) -> bool {
        self.kernel.as_ref().is_some_and(|kernel| kernel.counts)
    }

    pub(super) fn state(&self) -> CallsState {
        self.state.clone()
    }

    /// What has ended since the last time, by cell, ascending.
    pub(super) fn take(&mut self) -> Vec<OutcomeDelta> {
        let Some(kernel) = self.kernel.as_mut().filter(|kernel| kernel.counts) else { return Vec::new() };
        kernel.calls.take(&mut self.calls);
        deltas(self.calls.drain(..), &self.cells)
    }

    /// Finds processes, weighs the cost; says which time of objectives was not measured.
    pub(super) fn look(&mut self, now: Timestamp, wanted: &[Served], spec: &ControlSpec) -> Unmeasured {
        self.cells = cells(wanted, spec);
        self.whereabouts.look(wanted.iter().map(|served| served.endpoint).collect());
        let pids: BTreeSet<u32> = self.whereabouts.processes().values().flatten().copied().collect();
        self.follow(&pids);
        let here = |served: &Served| self.counts() && self.whereabouts.processes().contains_key(&served.endpoint);
        let mut counted = BTreeMap::<ObjectiveName, bool>::new();
        for objective in spec.objectives.iter().filter(|objective| objective.indicator.is_none()) {
            let mut of = wanted.iter().filter(|served| served.service == objective.service).peekable();
            if of.peek().is_some() {
                let version = |served: &&Served| objective.version.as_ref().is_none_or(|v| *v == served.version);
                counted.insert(objective.name.clone(), of.filter(version).any(here));
            }
        }
        self.coverage.look(now, counted)
    }

    pub(super) fn rest(&mut self, now: Timestamp) -> Unmeasured {
        self.coverage.rest(now)
    }

    pub(super) fn put_back(&mut self, refused: Unmeasured) {
        self.coverage.put_back(refused);
    }

    /// Loads, tells, pauses or lets go of the program in the kernel.
    fn follow(&mut self, pids: &BTreeSet<u32>) {
        if pids.is_empty() {
            // Nobody is here: what was loaded goes, and with it what every message costs.
            self.kernel = None;
        } else if self.kernel.is_none() && !self.is_refused {
            match KernelCalls::start(pids).map(|calls| Kernel::new(calls, pids)) {
                Ok(kernel) => self.kernel = Some(kernel),
                Err(refused) => {
                    self.is_refused = true;
                    let remedy = if HAS_PROGRAMS { "" } else { HOW_TO_BUILD };
                    tracing::warn!("calls cannot be followed, their objectives are unmeasured: {refused} {remedy}");
                }
            }
        }
        if let Some(kernel) = &mut self.kernel {
            kernel.look(pids);
        }
        self.state = CallsState {
            processes: pids.len(),
            runs: (!pids.is_empty()).then_some(self.kernel.is_some()),
            counted: self.kernel.as_ref().map_or(0.0, |kernel| kernel.governor.share()),
            cost: self.kernel.as_ref().map_or(0.0, |kernel| kernel.governor.average()),
            kernel_bytes: self.kernel.as_ref().map_or(0, |kernel| kernel.calls.kernel_bytes()),
            counts: self.kernel.as_ref().map(|kernel| kernel.calls.counts()).unwrap_or_default(),
        };
    }
}

impl Kernel {
    fn new(calls: KernelCalls, pids: &BTreeSet<u32>) -> Self {
        let (spent, at) = (spent(&calls), Instant::now());
        Self { calls, pids: pids.clone(), governor: Governor::within(BUDGET), counts: true, spent, at }
    }

    fn look(&mut self, pids: &BTreeSet<u32>) {
        if self.pids != *pids {
            if let Err(refused) = self.calls.watch(pids) {
                tracing::warn!("the program in the kernel cannot be told whose calls to follow: {refused}");
            }
            self.pids.clone_from(pids);
        }
        let (spent, elapsed) = (spent(&self.calls), self.at.elapsed());
        let cost = spent.saturating_sub(self.spent);
        (self.spent, self.at) = (spent, Instant::now());
        // The first look comes right after loading, which is no cost of going on.
        if elapsed < Duration::from_millis(100) {
            return;
        }
        let counts = self.governor.step(cost.as_secs_f64() / elapsed.as_secs_f64());
        if counts == self.counts {
            return;
        }
        if counts {
            if let Err(refused) = self.calls.resume() {
                tracing::warn!("calls cannot be followed again: {refused}");
                return;
            }
        } else {
            self.calls.pause();
        }
        self.counts = counts;
    }
}

/// Time in the kernel's programs and of this thread so far.
fn spent(calls: &KernelCalls) -> Duration {
    thread_time() + calls.kernel_time()
}

/// What calls to each port count in, as far as control knows it.
fn cells(wanted: &[Served], spec: &ControlSpec) -> BTreeMap<u16, Cell> {
    let Ok(route) = RouteName::new(KERNEL) else { return BTreeMap::new() };
    let cell = |served: &Served| {
        let key = CellKey { route: route.clone(), service: served.service.clone(), version: served.version.clone() };
        let (id, _) = spec.cells.iter().find(|(_, known)| *known == key)?;
        Some((served.endpoint.port(), Cell { id: *id, thresholds: thresholds(&served.service, spec) }))
    };
    wanted.iter().filter_map(cell).collect()
}

fn thresholds(service: &ServiceName, spec: &ControlSpec) -> Vec<Span> {
    spec.services.iter().find(|known| known.name == *service).map(|known| known.thresholds.clone()).unwrap_or_default()
}

/// Calls that were answered at known ports, counted as the gateway counts.
fn deltas(calls: impl Iterator<Item = Call>, cells: &BTreeMap<u16, Cell>) -> Vec<OutcomeDelta> {
    let mut deltas = Vec::new();
    for call in calls.filter(|call| call.side == Side::Server) {
        // How a call went that cannot be read is not guessed.
        let (Some(cell), Some(outcome)) = (cells.get(&call.port), call.outcome) else { continue };
        let mut counts = OutcomeCounts::of(outcome, 1);
        if matches!(outcome, OutcomeClass::Ok | OutcomeClass::ClientError) {
            for (slow, threshold) in counts.slow.iter_mut().zip(&cell.thresholds) {
                *slow = u64::from(threshold.ns() < call.latency_ns);
            }
        }
        merge_deltas(&mut deltas, &[OutcomeDelta { cell: cell.id, counts }]);
    }
    deltas
}

#[cfg(test)]
mod tests {
    use homeostat_calls::{Path, Protocol};
    use homeostat_model::OutcomeClass::{ClientError, Ok, Reset, ServerError};

    use super::*;

    fn call(port: u16, side: Side, outcome: impl Into<Option<OutcomeClass>>, ms: u64) -> Call {
        Call {
            process: 7,
            port,
            side,
            protocol: Protocol::Http1,
            method: "GET",
            path: Path::default(),
            status: None,
            grpc_status: None,
            outcome: outcome.into(),
            began_ns: 0,
            latency_ns: 1_000_000 * ms,
        }
    }

    #[test]
    fn calls_count_like_requests_of_the_gateway() {
        let cell = |id| Cell { id: CellId(id), thresholds: vec![Span::from_ms(10), Span::from_ms(100)] };
        let cells = BTreeMap::from([(80, cell(5)), (81, cell(2))]);
        let calls = [
            call(80, Side::Server, Ok, 10),
            call(80, Side::Server, Ok, 11),
            call(80, Side::Server, ClientError, 101),
            call(80, Side::Server, ServerError, 500),
            call(81, Side::Server, Reset, 1),
            call(80, Side::Client, ServerError, 1),
            call(9999, Side::Server, ServerError, 1),
            call(80, Side::Server, None, 1),
        ];
        let got = deltas(calls.into_iter(), &cells);
        assert_eq!(got.iter().map(|delta| delta.cell.0).collect::<Vec<_>>(), [2, 5]);
        let [reset, all] = got.as_slice() else { panic!("{got:?}") };
        assert_eq!((reset.counts.bad(), reset.counts.slow[0]), (1, 0));
        assert_eq!((all.counts.total(), all.counts.bad(), all.counts.slow), (4, 1, [2, 1, 0, 0]));
    }
}

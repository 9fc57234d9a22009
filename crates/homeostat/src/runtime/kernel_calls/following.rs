//! Which processes are followed, and which cell each of their calls counts in.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use homeostat_calls::{Call, Side};
use homeostat_control::ControlSpec;
use homeostat_model::{
    CellId, CellKey, ObjectiveName, OutcomeClass, OutcomeCounts, OutcomeDelta, RouteName, ServiceName, Span, Timestamp,
    outcome::merge_deltas,
};
use homeostat_sense_kernel::{KernelCalls, Refused, thread_time};

use super::{
    super::kernel_strip::{Cost, Governor, Served},
    CallsState, Found,
    coverage::{Coverage, Unmeasured},
};
use crate::config::KERNEL;

/// Share of one CPU that following calls may cost, all services together: some thousand requests a second, see
/// `./dev bench sense-kernel`. More than other sensing, because somebody asked for it.
const BUDGET: f64 = 0.03;
/// How long after the kernel has refused it, it is asked again.
const AGAIN_AFTER: Duration = Duration::from_mins(5);

/// Who is followed, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Following {
    kernel: Option<Kernel>,
    /// The kernel refuses it, or it was not built in: nobody asks again before.
    refused_until: Option<Instant>,
    cells: Cells,
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
    /// Time in the kernel and of this thread, time that searching took, and when that was.
    spent: Duration,
    searched: Duration,
    at: Instant,
    /// Why not all are followed; empty when they are.
    told: String,
}

/// What calls count in, by who answers them and at which port. `None` where two versions answer there: a process that has one
/// port at two addresses does not tell at which one.
type Cells = BTreeMap<(u32, u16), Option<Cell>>;

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
        if let Some(kernel) = self.kernel.as_mut().filter(|kernel| kernel.counts) {
            kernel.calls.take(&mut self.calls);
        }
        // Also those that were taken before a pause.
        deltas(self.calls.drain(..), &self.cells)
    }

    /// Follows who was found, weighs the cost; says which time of objectives was not measured.
    pub(super) fn look(&mut self, now: Timestamp, wanted: &[Served], spec: &ControlSpec, found: &Found) -> Unmeasured {
        self.set_cells(cells(wanted, spec, &found.processes));
        let pids: BTreeSet<u32> = found.processes.values().flatten().copied().collect();
        self.follow(&pids, found.spent);
        let here = |served: &Served| {
            let Some(pids) = found.processes.get(&served.endpoint) else { return false };
            let is_told = |pid: &u32| self.cells.get(&(*pid, served.endpoint.port())).is_some_and(Option::is_some);
            self.counts() && pids.iter().all(is_told)
        };
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

    /// Says once where two versions cannot be told apart.
    fn set_cells(&mut self, cells: Cells) {
        for ((pid, port), _) in cells.iter().filter(|(_, cell)| cell.is_none()) {
            if self.cells.get(&(*pid, *port)).is_none_or(Option::is_some) {
                tracing::warn!(
                    "process {pid} answers for two versions at port {port}, at two addresses: their calls cannot be told apart, and \
                     their objectives are unmeasured; give each version a port of its own"
                );
            }
        }
        self.cells = cells;
    }

    /// Loads, tells, pauses or lets go of the program in the kernel.
    fn follow(&mut self, pids: &BTreeSet<u32>, searched: Duration) {
        if pids.is_empty() {
            // Nobody is here: what was loaded goes, and with it what every message costs.
            self.kernel = None;
        } else if self.kernel.is_none() && self.refused_until.is_none_or(|until| until <= Instant::now()) {
            match KernelCalls::start(pids).map(|calls| Kernel::new(calls, searched)) {
                Ok(kernel) => (self.kernel, self.refused_until) = (Some(kernel), None),
                Err(refused) => {
                    self.refused_until = Some(Instant::now() + AGAIN_AFTER);
                    let minutes = AGAIN_AFTER.as_secs() / 60;
                    tracing::warn!(
                        "calls cannot be followed, their objectives are unmeasured; it is tried again every {minutes} min: {refused}"
                    );
                }
            }
        }
        if let Some(kernel) = &mut self.kernel {
            kernel.look(pids, searched, &mut self.calls);
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
    fn new(calls: KernelCalls, searched: Duration) -> Self {
        let (spent, at) = (spent(&calls), Instant::now());
        // Nobody yet: the first look tells the kernel again, because only `watch` says when they are too many.
        let pids = BTreeSet::new();
        Self { calls, pids, governor: Governor::within(BUDGET), counts: true, spent, searched, at, told: String::new() }
    }

    /// Takes what has ended before a pause.
    fn look(&mut self, pids: &BTreeSet<u32>, searched: Duration, calls: &mut Vec<Call>) {
        // What fails is tried again at the next look.
        if self.pids != *pids {
            match self.calls.watch(pids) {
                Ok(()) => (self.pids, self.told) = (pids.clone(), String::new()),
                Err(refused) => self.tell_once(&refused),
            }
        }
        let (spent, elapsed) = (spent(&self.calls), self.at.elapsed());
        let (counting, anyway) = (spent.saturating_sub(self.spent), searched.saturating_sub(self.searched));
        (self.spent, self.searched, self.at) = (spent, searched, Instant::now());
        // The first look comes right after loading, which is no cost of going on.
        if elapsed < Duration::from_millis(100) {
            return;
        }
        let counts = self.governor.step(Cost::of(counting, anyway, elapsed));
        if counts == self.counts {
            return;
        }
        if counts {
            if let Err(refused) = self.calls.resume() {
                tracing::warn!("calls cannot be followed again: {refused}");
                return;
            }
        } else {
            self.calls.take(calls);
            self.calls.pause();
        }
        self.counts = counts;
    }

    fn tell_once(&mut self, refused: &Refused) {
        let text = refused.to_string();
        if self.told != text {
            tracing::warn!("not all calls are followed: {text}");
            self.told = text;
        }
    }
}

/// Time in the kernel's programs and of this thread so far.
fn spent(calls: &KernelCalls) -> Duration {
    thread_time() + calls.kernel_time()
}

/// What calls count in, as far as control knows it and somebody was found who answers them.
fn cells(wanted: &[Served], spec: &ControlSpec, found: &BTreeMap<SocketAddr, BTreeSet<u32>>) -> Cells {
    let Ok(route) = RouteName::new(KERNEL) else { return Cells::new() };
    let mut cells = Cells::new();
    for served in wanted {
        let key = CellKey { route: route.clone(), service: served.service.clone(), version: served.version.clone() };
        let Some((id, _)) = spec.cells.iter().find(|(_, known)| *known == key) else { continue };
        let cell = Some(Cell { id: *id, thresholds: thresholds(&served.service, spec) });
        for pid in found.get(&served.endpoint).into_iter().flatten() {
            let known = cells.entry((*pid, served.endpoint.port())).or_insert_with(|| cell.clone());
            if *known != cell {
                *known = None;
            }
        }
    }
    cells
}

fn thresholds(service: &ServiceName, spec: &ControlSpec) -> Vec<Span> {
    spec.services.iter().find(|known| known.name == *service).map(|known| known.thresholds.clone()).unwrap_or_default()
}

/// Calls that were answered at known ports, counted as the gateway counts.
fn deltas(calls: impl Iterator<Item = Call>, cells: &Cells) -> Vec<OutcomeDelta> {
    let mut deltas = Vec::new();
    for call in calls.filter(|call| call.side == Side::Server) {
        // How a call went that cannot be read is not guessed.
        let cell = cells.get(&(call.process, call.port)).and_then(Option::as_ref);
        let (Some(cell), Some(outcome)) = (cell, call.outcome) else { continue };
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
        let cell = |id| Some(Cell { id: CellId(id), thresholds: vec![Span::from_ms(10), Span::from_ms(100)] });
        let cells = Cells::from([((7, 80), cell(5)), ((7, 81), cell(2)), ((7, 82), None), ((8, 80), cell(9))]);
        let calls = [
            call(80, Side::Server, Ok, 10),
            call(80, Side::Server, Ok, 11),
            call(80, Side::Server, ClientError, 101),
            call(80, Side::Server, ServerError, 500),
            call(81, Side::Server, Reset, 1),
            call(80, Side::Client, ServerError, 1),
            call(9999, Side::Server, ServerError, 1),
            call(82, Side::Server, ServerError, 1),
            call(80, Side::Server, None, 1),
        ];
        let got = deltas(calls.into_iter(), &cells);
        assert_eq!(got.iter().map(|delta| delta.cell.0).collect::<Vec<_>>(), [2, 5]);
        let [reset, all] = got.as_slice() else { panic!("{got:?}") };
        assert_eq!((reset.counts.bad(), reset.counts.slow[0]), (1, 0));
        assert_eq!((all.counts.total(), all.counts.bad(), all.counts.slow), (4, 1, [2, 1, 0, 0]));
    }

    #[test]
    fn a_call_belongs_to_the_process_that_was_found_at_an_endpoint() {
        let endpoint = |text: &str| text.parse::<SocketAddr>().unwrap();
        let served = |version: &str, at: &str| Served {
            service: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
            endpoint: endpoint(at),
        };
        let known = |id, version: &str| {
            let key = CellKey {
                route: KERNEL.parse().unwrap(),
                service: "shop".parse().unwrap(),
                version: version.parse().unwrap(),
            };
            (CellId(id), key)
        };
        let spec = ControlSpec { cells: vec![known(1, "v1"), known(2, "v2")], ..ControlSpec::default() };
        // The second version is on another machine, and has the same port there.
        let wanted = [served("v1", "127.0.0.1:80"), served("v2", "192.0.2.1:80")];
        let found = BTreeMap::from([(endpoint("127.0.0.1:80"), BTreeSet::from([7, 8]))]);
        let of = |cells: &Cells| {
            let id = |cell: &Option<Cell>| cell.as_ref().map(|cell| cell.id.0);
            cells.iter().map(|(key, cell)| (*key, id(cell))).collect::<Vec<_>>()
        };
        assert_eq!(of(&cells(&wanted, &spec, &found)), [((7, 80), Some(1)), ((8, 80), Some(1))]);
        // Both are here, each at an address of its own: processes tell them apart, but for the one that answers for both.
        let wanted = [served("v1", "127.0.0.1:80"), served("v2", "127.0.0.2:80")];
        let found = BTreeMap::from([
            (endpoint("127.0.0.1:80"), BTreeSet::from([7, 9])),
            (endpoint("127.0.0.2:80"), BTreeSet::from([8, 9])),
        ]);
        assert_eq!(of(&cells(&wanted, &spec, &found)), [((7, 80), Some(1)), ((8, 80), Some(2)), ((9, 80), None)]);
    }
}

//! One worker: a thread with a runtime of its own, its listeners, its pools, its counters.
//!
//! Workers share nothing that is written per request: the route table is read through one swapped pointer, counters are
//! read from outside. The kernel spreads new connections over the workers' sockets (`SO_REUSEPORT`).
//! A worker never waits for the collector, the control thread or a disk: nothing here knows them.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Cache};
use homeostat_gateway_route::{RouteTable, SplitSequence, balance::EndpointState};
use homeostat_model::Timestamp;
use tokio::{net::TcpListener, runtime::LocalOptions, task::spawn_local, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    cells::CellShard,
    client,
    exchange::{Running, SWEEP},
    exemplar::{ExemplarRing, Quota},
    hop::Trust,
    pool::Upstreams,
    spec::ProxyLimits,
    stats::WorkerCounts,
    tls::TlsSlot,
};

/// How long accepting pauses after it failed: descriptors have run out, and trying at once again would only burn CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What other threads see of a worker.
#[derive(Debug)]
pub(crate) struct WorkerShared {
    pub(crate) cells: Arc<CellShard>,
    pub(crate) counts: Arc<WorkerCounts>,
    pub(crate) exemplars: Arc<ExemplarRing>,
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) table: Arc<ArcSwap<RouteTable>>,
    pub(crate) connections: AtomicUsize,
    pub(crate) limits: ProxyLimits,
    pub(crate) trust: Trust,
    /// Where the monotone clock and the wall clock met when the gateway started.
    pub(crate) anchor: (Instant, Timestamp),
}

/// Everything a worker's thread starts with.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) index: usize,
    pub(crate) common: Arc<Common>,
    pub(crate) shared: Arc<WorkerShared>,
    pub(crate) listeners: Vec<(std::net::TcpListener, Option<Arc<TlsSlot>>)>,
    /// Stop accepting, finish what runs.
    pub(crate) stop: CancellationToken,
    /// Stop now.
    pub(crate) abort: CancellationToken,
}

/// One worker, from the inside. Everything in here is used by its thread only.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) common: Arc<Common>,
    pub(crate) cells: Arc<CellShard>,
    pub(crate) counts: Arc<WorkerCounts>,
    pub(crate) exemplars: Arc<ExemplarRing>,
    pub(crate) quota: Quota,
    pub(crate) running: Running,
    pub(crate) upstreams: Upstreams,
    pub(crate) sequence: RefCell<SplitSequence>,
    pub(crate) stop: CancellationToken,
    table: RefCell<TableCache>,
    random: Cell<u64>,
    states: RefCell<Vec<EndpointState>>,
}

/// The table that some requests began with.
#[derive(Debug)]
pub(crate) struct Snapshot(Arc<RouteTable>);

impl std::ops::Deref for Snapshot {
    type Target = RouteTable;
    fn deref(&self) -> &RouteTable {
        &self.0
    }
}

struct TableCache {
    cache: Cache<Arc<ArcSwap<RouteTable>>, Arc<RouteTable>>,
    /// The same table behind a local count: requests share it without touching the atomic one.
    local: Rc<Snapshot>,
}

impl std::fmt::Debug for TableCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableCache").finish_non_exhaustive()
    }
}

impl Worker {
    fn new(seed: &Seed) -> Rc<Self> {
        let mut cache = Cache::new(seed.common.table.clone());
        let local = Rc::new(Snapshot(cache.load().clone()));
        Rc::new(Self {
            common: seed.common.clone(),
            cells: seed.shared.cells.clone(),
            counts: seed.shared.counts.clone(),
            exemplars: seed.shared.exemplars.clone(),
            quota: Quota::new(Instant::now()),
            running: Running::default(),
            upstreams: Upstreams::new(seed.common.limits.upstream_idle_max, seed.shared.counts.clone()),
            sequence: RefCell::new(SplitSequence::new(seed.index as u64)),
            stop: seed.stop.clone(),
            table: RefCell::new(TableCache { cache, local }),
            random: Cell::new((seed.index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            states: RefCell::default(),
        })
    }

    pub(crate) fn limits(&self) -> &ProxyLimits {
        &self.common.limits
    }

    /// The table in force. A request takes it once and keeps it.
    pub(crate) fn table(&self) -> Rc<Snapshot> {
        let mut table = self.table.borrow_mut();
        let TableCache { cache, local } = &mut *table;
        let current = cache.load();
        if !Arc::ptr_eq(current, &local.0) {
            let before = std::mem::replace(local, Rc::new(Snapshot(current.clone())));
            // A shift of traffic comes many times, and on a request's path: it costs no walk over pools and endpoints.
            if !current.has_same_endpoints(&before) {
                self.upstreams.retain(current);
            }
        }
        local.clone()
    }

    /// The wall-clock time of an instant, on the line that began when the gateway started.
    pub(crate) fn timestamp(&self, at: Instant) -> Timestamp {
        let (began, wall) = self.common.anchor;
        wall + at.saturating_duration_since(began).into()
    }

    /// A scratch list for the balancer, so that choosing does not allocate.
    pub(crate) fn with_states<R>(&self, f: impl FnOnce(&mut Vec<EndpointState>) -> R) -> R {
        let mut states = self.states.borrow_mut();
        states.clear();
        f(&mut states)
    }

    /// The next number of a splitmix64 sequence: spreads load, decides nothing that must not be guessed.
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Marks the worker dead when its thread ends, however it ends.
struct Alive(Arc<WorkerShared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.counts.alive.store(false, Ordering::Release);
        if std::thread::panicking() {
            tracing::error!("a gateway worker has died of a bug; the others go on, restart the process to replace it");
        }
    }
}

/// Runs a worker to its end. Returns how many connections were cut off because the deadline of a drain had passed.
pub(crate) fn run(seed: Seed) -> u64 {
    seed.shared.counts.alive.store(true, Ordering::Release);
    let _alive = Alive(seed.shared.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a gateway worker could not start its runtime; raise the limit of open files");
            return 0;
        }
    };
    runtime.block_on(serve(seed))
}

async fn serve(seed: Seed) -> u64 {
    let worker = Worker::new(&seed);
    let watch = spawn_local(watch(worker.clone()));
    let mut accepting = Vec::new();
    for (index, (listener, tls)) in seed.listeners.into_iter().enumerate() {
        match TcpListener::from_std(listener) {
            Ok(listener) => accepting.push(spawn_local(accept(worker.clone(), index, listener, tls))),
            Err(error) => tracing::error!(%error, "a gateway worker could not listen; raise the limit of open files"),
        }
    }
    worker.stop.cancelled().await;
    for task in accepting {
        // A panic in accept is a bug that the stop must not depend on.
        let _ended = task.await;
    }
    let _in_time = seed.abort.run_until_cancelled(all_closed(&worker)).await;
    watch.abort();
    worker.counts.connections.get()
}

/// Waits until no client connection is open. Looked at as often as time limits are.
async fn all_closed(worker: &Worker) {
    while worker.counts.connections.get() > 0 {
        tokio::time::sleep(SWEEP).await;
    }
}

/// The watchdog: time limits of requests every sweep, idle upstream connections once a second.
async fn watch(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pruned_at = Instant::now();
    loop {
        ticks.tick().await;
        let now = Instant::now();
        worker.running.sweep(now);
        if now.saturating_duration_since(pruned_at) > Duration::from_secs(1) {
            pruned_at = now;
            worker.upstreams.prune(now);
            // Lets go of a replaced table even if no request comes.
            drop(worker.table());
        }
    }
}

async fn accept(worker: Rc<Worker>, index: usize, listener: TcpListener, tls: Option<Arc<TlsSlot>>) {
    while let Some(accepted) = worker.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, address)) => welcome(&worker, index, stream, address, tls.as_deref()),
            Err(error) => {
                worker.counts.accept_failures.up();
                tracing::warn!(%error, "accepting a connection failed; if files ran out, raise their limit");
                let _stopped = worker.stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
            }
        }
    }
}

fn welcome(
    worker: &Rc<Worker>,
    listener: usize,
    stream: tokio::net::TcpStream,
    address: std::net::SocketAddr,
    tls: Option<&TlsSlot>,
) {
    let Some((accepted, refused)) = worker.counts.listeners.get(listener) else { return };
    let before = worker.common.connections.fetch_add(1, Ordering::Relaxed);
    let open = OpenConnection::new(worker);
    if worker.limits().connections_max <= before {
        refused.up();
        return;
    }
    accepted.up();
    // If this fails, answers are a little later.
    let _ = stream.set_nodelay(true);
    let tls = tls.map(TlsSlot::config);
    spawn_local(async move {
        client::run(&open.0, stream, address, tls).await;
        drop(open);
    });
}

/// One open client connection in the counts.
struct OpenConnection(Rc<Worker>);

impl OpenConnection {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.counts.connections.up();
        Self(worker.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.counts.connections.down();
        self.0.common.connections.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            self.0.counts.panics.up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_worker_is_seen() {
        let shared = Arc::new(WorkerShared {
            cells: Arc::new(CellShard::new()),
            counts: Arc::new(WorkerCounts::new(0)),
            exemplars: Arc::new(ExemplarRing::default()),
        });
        shared.counts.alive.store(true, Ordering::Release);
        let health = || crate::stats::sum(std::iter::empty(), std::iter::once(&*shared.counts)).is_healthy();
        assert!(health());
        let alive = Alive(shared.clone());
        let dead = std::thread::spawn(move || {
            let _alive = alive;
            panic!("a bug");
        });
        assert!(dead.join().is_err());
        assert!(!health());
    }
}

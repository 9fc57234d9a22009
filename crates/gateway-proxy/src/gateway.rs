//! The data plane as its owner sees it: start, swap tables, read counters, drain.
//!
//! [`Gateway`] owns the threads, [`GatewayHandle`] is what others may do while it runs. Nothing that is called here makes a
//! worker wait: a table is swapped by one pointer, counters are read where they are, exemplars are taken from a ring
//! whose lock the workers only try.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use homeostat_gateway_route::RouteTable;
use homeostat_model::{
    OutcomeDelta, Timestamp,
    incident::{CellLatency, Exemplar},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cells::CellShard,
    collect::Collector,
    exemplar::ExemplarRing,
    hop::Trust,
    listen,
    spec::ProxySpec,
    stats::{self, GatewayStats, WorkerCounts},
    tls::{TlsError, TlsSlot},
    worker::{self, Common, Seed, WorkerShared},
};

/// Worker threads at most: the largest machines we know have as many cores.
pub const WORKERS_MAX: usize = 256;

/// Why the data plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing to listen on.
    #[error("no listener is configured; add at least one address to the gateway document")]
    NoListener,
    /// A number of workers that cannot be.
    #[error("{workers} workers are configured; use 1 to {WORKERS_MAX}, at most one for each core")]
    Workers {
        /// What was configured.
        workers: usize,
    },
    /// An address could not be listened on.
    #[error("listener `{name}` cannot listen on {address}: {}", remedy(source))]
    Bind {
        /// Name of the listener.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Certificate or key of a listener cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread could not be made.
    #[error("worker thread {index} cannot be started; raise the limit of threads of this user or service")]
    Thread {
        /// Which one.
        index: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege; choose a higher port or grant CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address; use one of its own or 0.0.0.0",
        _ => "check the address and the limit of open files",
    }
}

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections cut off because the deadline had passed.
    pub cut_off: u64,
    /// Workers that had died before.
    pub workers_dead: usize,
}

/// A running data plane. Dropping it without [`Gateway::drain`] cuts all connections off.
#[derive(Debug)]
pub struct Gateway {
    handle: GatewayHandle,
    threads: Vec<JoinHandle<u64>>,
    stop: CancellationToken,
    abort: CancellationToken,
}

/// What may be done with a running data plane, from any thread.
#[derive(Clone, Debug)]
pub struct GatewayHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    common: Arc<Common>,
    workers: Vec<Arc<WorkerShared>>,
    listeners: Vec<(String, SocketAddr)>,
    tls: Vec<Arc<TlsSlot>>,
    collector: Mutex<Collector>,
}

impl Gateway {
    /// Binds all listeners, reads all certificates and starts the workers. On an error nothing runs.
    pub fn start(spec: ProxySpec, table: Arc<RouteTable>) -> Result<Self, StartError> {
        if spec.listeners.is_empty() {
            return Err(StartError::NoListener);
        }
        if !(1..=WORKERS_MAX).contains(&spec.workers) {
            return Err(StartError::Workers { workers: spec.workers });
        }
        let (sockets, listeners, tls) = open_listeners(&spec)?;
        let common = Arc::new(Common {
            table: Arc::new(ArcSwap::new(table)),
            connections: AtomicUsize::new(0),
            limits: spec.limits,
            trust: if spec.trust_forwarded { Trust::Extend } else { Trust::Replace },
            anchor: (Instant::now(), wall_clock()),
        });
        let shared = || {
            Arc::new(WorkerShared {
                cells: Arc::new(CellShard::new()),
                counts: Arc::new(WorkerCounts::new(listeners.len())),
                exemplars: Arc::new(ExemplarRing::default()),
            })
        };
        let workers: Vec<_> = (0..spec.workers).map(|_| shared()).collect();
        let inner = Inner { common, workers, listeners, tls, collector: Mutex::default() };
        let mut gateway = Self {
            handle: GatewayHandle { inner: Arc::new(inner) },
            threads: Vec::new(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
        };
        gateway.handle.prepare_cells(&gateway.handle.table());
        gateway.spawn(sockets)?;
        Ok(gateway)
    }

    fn spawn(&mut self, sockets: Vec<WorkerSockets>) -> Result<(), StartError> {
        let inner = self.handle.inner.clone();
        for (index, (shared, listeners)) in inner.workers.iter().zip(sockets).enumerate() {
            let seed = Seed {
                index,
                common: inner.common.clone(),
                shared: shared.clone(),
                listeners,
                // Children of their own keep the workers out of each other's locks.
                stop: self.stop.child_token(),
                abort: self.abort.child_token(),
            };
            shared.counts.alive.store(true, std::sync::atomic::Ordering::Release);
            let thread = std::thread::Builder::new().name(format!("gateway-{index}"));
            let thread = thread.spawn(move || worker::run(seed));
            // Those that run already stop when `self` is dropped.
            self.threads.push(thread.map_err(|source| StartError::Thread { index, source })?);
        }
        Ok(())
    }

    /// What others may do with it.
    pub fn handle(&self) -> GatewayHandle {
        self.handle.clone()
    }

    /// The bound addresses, in the order of the listeners; real ports where 0 was asked for.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.handle.inner.listeners.iter().map(|(_, address)| *address).collect()
    }

    /// Stops accepting, lets running requests finish, tells HTTP/2 clients to go elsewhere, closes what is idle, and cuts
    /// off what is left after `deadline`. Blocks until all workers have ended.
    pub fn drain(mut self, deadline: Duration) -> DrainReport {
        self.stop.cancel();
        let ends = Instant::now() + deadline;
        while self.threads.iter().any(|thread| !thread.is_finished()) && Instant::now() < ends {
            std::thread::sleep(Duration::from_millis(5).min(deadline));
        }
        self.abort.cancel();
        let mut report = DrainReport { cut_off: 0, workers_dead: 0 };
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(cut_off) => report.cut_off += cut_off,
                Err(_) => report.workers_dead += 1,
            }
        }
        report
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so.
            let _ended = thread.join();
        }
    }
}

impl GatewayHandle {
    /// The table in force.
    pub fn table(&self) -> Arc<RouteTable> {
        self.inner.common.table.load_full()
    }

    /// Puts a table into force. Requests that run keep the one they began with; the next ones use this.
    pub fn swap_table(&self, table: Arc<RouteTable>) {
        self.prepare_cells(&table);
        self.inner.common.table.store(table);
    }

    fn prepare_cells(&self, table: &RouteTable) {
        for worker in &self.inner.workers {
            for (cell, _) in table.cells() {
                worker.cells.prepare(*cell);
            }
        }
    }

    /// Replaces `into` by what all workers counted since the previous call: changed cells only, ascending, one entry each.
    /// There is one collector: two callers would each see a part.
    pub fn collect(&self, into: &mut Vec<OutcomeDelta>) {
        self.collector().outcomes(self.shards(), into);
    }

    /// Replaces `into` by the latency histograms of what was counted since the previous call of this function, ascending by
    /// cell, cells without requests left out. A bucket's bound is the largest latency in it, in microseconds; buckets are
    /// those of [`crate::histogram`], 12.5 % wide at most. Costs about a microsecond per cell and worker: call it once a
    /// second or so. One caller, as for [`Self::collect`].
    pub fn latencies(&self, into: &mut Vec<CellLatency>) {
        self.collector().latencies(self.shards(), into);
    }

    /// Moves the kept exemplars to `into`, in order of their end.
    pub fn take_exemplars(&self, into: &mut Vec<Exemplar>) {
        let begin = into.len();
        for worker in &self.inner.workers {
            worker.exemplars.take(into);
        }
        if let Some(taken) = into.get_mut(begin..) {
            taken.sort_by_key(|exemplar| exemplar.at);
        }
    }

    /// What the data plane says about itself.
    pub fn stats(&self) -> GatewayStats {
        let listeners = self.inner.listeners.iter().map(|(name, address)| (name.as_str(), *address));
        stats::sum(listeners, self.inner.workers.iter().map(|worker| &*worker.counts))
    }

    /// Reads all certificates and keys anew. All are replaced or, if one is bad, none.
    pub fn reload_tls(&self) -> Result<(), TlsError> {
        let fresh = self.inner.tls.iter().map(|slot| slot.read_again()).collect::<Result<Vec<_>, _>>()?;
        for (slot, config) in self.inner.tls.iter().zip(fresh) {
            slot.replace(config);
        }
        Ok(())
    }

    /// Takes every lock that callers of this handle ever hold, and keeps them until the result is dropped. For tests that
    /// show that the workers do not care.
    #[doc(hidden)]
    pub fn hold_everything(&self) -> impl Sized + '_ {
        let rings: Vec<_> = self.inner.workers.iter().map(|worker| worker.exemplars.hold()).collect();
        (self.collector(), self.inner.common.table.load(), rings)
    }

    fn collector(&self) -> std::sync::MutexGuard<'_, Collector> {
        // A collector that panicked half way has at worst reported a part twice; counting goes on.
        self.inner.collector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shards(&self) -> impl Iterator<Item = &CellShard> {
        self.inner.workers.iter().map(|worker| &*worker.cells)
    }
}

/// The sockets of one worker, in the order of the listeners.
type WorkerSockets = Vec<(std::net::TcpListener, Option<Arc<TlsSlot>>)>;
type Listeners = (Vec<WorkerSockets>, Vec<(String, SocketAddr)>, Vec<Arc<TlsSlot>>);

fn open_listeners(spec: &ProxySpec) -> Result<Listeners, StartError> {
    let mut sockets: Vec<WorkerSockets> = (0..spec.workers).map(|_| Vec::new()).collect();
    let (mut listeners, mut slots) = (Vec::new(), Vec::new());
    for listener in &spec.listeners {
        let slot = listener.tls.as_ref().map(|files| TlsSlot::load(&listener.name, files)).transpose()?.map(Arc::new);
        let bound = listen::bind(listener.address, spec.workers);
        let (address, bound) = bound.map_err(|source| StartError::Bind {
            name: listener.name.clone(),
            address: listener.address,
            source,
        })?;
        for (worker, socket) in sockets.iter_mut().zip(bound) {
            worker.push((socket, slot.clone()));
        }
        slots.extend(slot);
        listeners.push((listener.name.clone(), address));
    }
    Ok((sockets, listeners, slots))
}

/// The wall clock, read once at the start; afterwards only the monotone clock counts.
fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ns(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

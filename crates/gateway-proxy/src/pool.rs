//! Connections to upstreams: one pool per endpoint and worker.
//!
//! HTTP/1.1 connections carry one request at a time; idle ones are kept on a stack, so that the warmest is used and the rest
//! grow old and go. HTTP/2 connections are shared; a further one is opened when all have their streams full.
//! A pool belongs to one worker, so nothing here locks, and what is in flight is known exactly: the balancer needs it.
//!
//! Not here: which endpoint serves a request (`gateway_route::balance`), when to try again (`forward`).
//! Invariant: an HTTP/1.1 connection comes back only after request and answer are complete.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use homeostat_gateway_route::{
    RouteTable,
    balance::{EjectionPolicy, EndpointState},
    spec::{Endpoint, UpstreamProtocol},
};
use homeostat_model::{CellId, Timestamp};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, task::AbortHandle};

use crate::{body::RequestBody, exec::LocalExec, stats::WorkerCounts};

/// An idle upstream connection older than this is closed: a little less than the 60 s after which common servers close
/// theirs, so that fewer requests meet a closing connection.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(50);

/// HTTP/2 connections per endpoint and worker. One carries 100 streams with most servers; eight carry what a worker can
/// move. Beyond that, requests queue in the last one.
const H2_CONNECTIONS_MAX: usize = 8;

/// HTTP/1.1 connections per endpoint and worker, busy and idle. As many requests at once are in trouble already: at 10 ms
/// each this is 400,000 a second. Further ones are refused with 503.
const H1_CONNECTIONS_MAX: usize = 4_096;

/// Flow-control windows towards HTTP/2 upstreams: 1 MiB a stream fills a 10 Gbit/s path of 0.8 ms.
const H2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
const H2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// An HTTP/2 upstream that does not answer a ping this long after traffic stalled is given up.
const H2_PING_EVERY: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no connection could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// Refused, unreachable, or the handshake failed.
    Refused,
    /// No answer within the connect time-out.
    TimedOut,
    /// All connections that are allowed are busy.
    Limit,
}

/// Everything a worker holds towards upstreams.
#[derive(Debug)]
pub(crate) struct Upstreams {
    pools: RefCell<HashMap<Endpoint, Rc<EndpointPool>, RandomState>>,
    groups: RefCell<Vec<Option<Group>>>,
    idle_max: usize,
    counts: Arc<WorkerCounts>,
}

/// The pools of one version's endpoints, in their order; found by cell, valid as long as the endpoints are the same ones.
#[derive(Debug)]
struct Group {
    endpoints: Arc<[Endpoint]>,
    pools: Rc<[Rc<EndpointPool>]>,
}

impl Upstreams {
    pub(crate) fn new(idle_max: usize, counts: Arc<WorkerCounts>) -> Self {
        Self { pools: RefCell::default(), groups: RefCell::default(), idle_max, counts }
    }

    /// Returns the pools of `endpoints`, which serve `cell`. Allocates only when the endpoints are new.
    pub(crate) fn group(&self, cell: CellId, endpoints: &Arc<[Endpoint]>) -> Rc<[Rc<EndpointPool>]> {
        let index = usize::from(cell.0);
        let mut groups = self.groups.borrow_mut();
        if let Some(Some(group)) = groups.get(index)
            && Arc::ptr_eq(&group.endpoints, endpoints)
        {
            return group.pools.clone();
        }
        let pools: Rc<[Rc<EndpointPool>]> = endpoints.iter().map(|endpoint| self.pool(*endpoint)).collect();
        if groups.len() <= index {
            groups.resize_with(index + 1, || None);
        }
        if let Some(place) = groups.get_mut(index) {
            *place = Some(Group { endpoints: endpoints.clone(), pools: pools.clone() });
        }
        pools
    }

    fn pool(&self, endpoint: Endpoint) -> Rc<EndpointPool> {
        let make = || Rc::new(EndpointPool::new(endpoint, self.idle_max, self.counts.clone()));
        self.pools.borrow_mut().entry(endpoint).or_insert_with(make).clone()
    }

    /// Forgets the endpoints that `table` does not have. Requests that use one keep it to their end.
    pub(crate) fn retain(&self, table: &RouteTable) {
        let in_use = |endpoint: &Endpoint| {
            table.services().iter().flat_map(|s| s.versions()).any(|v| v.endpoints().contains(endpoint))
        };
        self.groups.borrow_mut().clear();
        self.pools.borrow_mut().retain(|endpoint, _| in_use(endpoint));
    }

    /// Closes connections that were idle for too long and notes how many are left.
    pub(crate) fn prune(&self, now: Instant) {
        let idle: usize = self.pools.borrow().values().map(|pool| pool.prune(now)).sum();
        self.counts.upstream_idle.set(idle as u64);
    }
}

/// The connections of one worker to one endpoint.
#[derive(Debug)]
pub(crate) struct EndpointPool {
    endpoint: Endpoint,
    state: Cell<EndpointState>,
    idle: RefCell<Vec<Idle>>,
    idle_max: usize,
    open: Rc<Cell<usize>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// Held while an HTTP/2 connection is made, so that a burst opens one and not a hundred.
    connecting: tokio::sync::Mutex<()>,
    counts: Arc<WorkerCounts>,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<RequestBody>,
    task: ConnectionTask,
    since: Instant,
}

/// An HTTP/2 connection and how many streams it carries.
#[derive(Debug)]
pub(crate) struct Shared {
    sender: http2::SendRequest<RequestBody>,
    streams: Cell<usize>,
    /// How many the upstream allows, as of its last settings.
    streams_max: Rc<Cell<usize>>,
}

/// A connection, or a place on one, taken for one request.
#[derive(Debug)]
pub(crate) enum Lease {
    /// A whole HTTP/1.1 connection.
    Http1 {
        pool: Rc<EndpointPool>,
        sender: http1::SendRequest<RequestBody>,
        /// Whether it has carried requests before, and may be closing just now.
        reused: bool,
        /// Ends the connection unless it is given back: nobody reads the rest of an answer, or sends the rest of a request,
        /// and an upstream that does not read would otherwise hold its task for ever.
        task: ConnectionTask,
    },
    /// One stream of an HTTP/2 connection.
    Http2 { stream: StreamPlace, reused: bool },
}

/// The task that drives an HTTP/1.1 connection; ends with this.
#[derive(Debug)]
pub(crate) struct ConnectionTask(Option<AbortHandle>);

impl ConnectionTask {
    /// Lets the task go on by itself.
    fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A stream's place on a shared connection, free again when dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace(Rc<Shared>);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
    }
}

/// One request's place among those an endpoint is serving; given back when dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Rc<EndpointPool>);

impl InFlight {
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.endpoint.address
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.update(|state| state.in_flight = state.in_flight.saturating_sub(1));
    }
}

impl EndpointPool {
    fn new(endpoint: Endpoint, idle_max: usize, counts: Arc<WorkerCounts>) -> Self {
        Self {
            endpoint,
            state: Cell::default(),
            idle: RefCell::default(),
            idle_max,
            open: Rc::default(),
            shared: RefCell::default(),
            connecting: tokio::sync::Mutex::default(),
            counts,
        }
    }

    pub(crate) fn protocol(&self) -> UpstreamProtocol {
        self.endpoint.protocol
    }

    /// What the balancer needs to know.
    pub(crate) fn state(&self) -> EndpointState {
        self.state.get()
    }

    fn update(&self, change: impl FnOnce(&mut EndpointState)) {
        let mut state = self.state.get();
        change(&mut state);
        self.state.set(state);
    }

    /// Counts a request as in flight until the result is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> InFlight {
        self.update(|state| state.in_flight = state.in_flight.saturating_add(1));
        InFlight(self.clone())
    }

    /// Takes a connection: an idle or shared one unless `fresh`, else a new one.
    pub(crate) async fn lease(
        self: &Rc<Self>,
        fresh: bool,
        connect_max: Duration,
        now: Timestamp,
    ) -> Result<Lease, ConnectError> {
        match self.endpoint.protocol {
            UpstreamProtocol::Http1 => self.lease_http1(fresh, connect_max, now).await,
            UpstreamProtocol::H2c => self.lease_http2(fresh, connect_max, now).await,
        }
    }

    /// Tells the balancer how making a connection went. Once for each connection: a hundred requests that wait for the
    /// same one would otherwise have its endpoint taken for dead a hundred times over.
    fn note<T>(&self, made: &Result<T, ConnectError>, now: Timestamp) {
        match made {
            Ok(_) => self.update(EndpointState::connected),
            Err(_) => self.update(|state| {
                state.connect_failed(now, &EjectionPolicy::default());
            }),
        }
    }

    async fn lease_http1(
        self: &Rc<Self>,
        fresh: bool,
        connect_max: Duration,
        now: Timestamp,
    ) -> Result<Lease, ConnectError> {
        while !fresh && let Some((mut sender, task)) = self.take_idle() {
            // Ready at once, or after the connection's task has seen the end of the answer before.
            if sender.ready().await.is_ok() {
                return Ok(Lease::Http1 { pool: self.clone(), sender, reused: true, task });
            }
        }
        if H1_CONNECTIONS_MAX <= self.open.get() {
            return Err(ConnectError::Limit);
        }
        let made = self.open_http1(connect_max).await;
        self.note(&made, now);
        made
    }

    async fn open_http1(self: &Rc<Self>, connect_max: Duration) -> Result<Lease, ConnectError> {
        let open = Open::new(&self.open);
        let stream = self.connect(connect_max).await?;
        let mut builder = http1::Builder::new();
        let handshake = builder.max_headers(256).max_header_size(256 * 1024).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|_| ConnectError::Refused)?;
        let task = tokio::task::spawn_local(async move {
            // How it ended is seen by the request it carried.
            let _ended = connection.with_upgrades().await;
            drop(open);
        });
        let task = ConnectionTask(Some(task.abort_handle()));
        Ok(Lease::Http1 { pool: self.clone(), sender, reused: false, task })
    }

    fn take_idle(&self) -> Option<(http1::SendRequest<RequestBody>, ConnectionTask)> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).map(|idle| (idle.sender, idle.task)).find(|(sender, _)| !sender.is_closed())
    }

    async fn lease_http2(
        self: &Rc<Self>,
        fresh: bool,
        connect_max: Duration,
        now: Timestamp,
    ) -> Result<Lease, ConnectError> {
        if let Some(place) = self.place(fresh) {
            return Ok(Lease::Http2 { stream: place, reused: true });
        }
        let waiting = tokio::time::timeout(connect_max, self.connecting.lock());
        let _one_at_a_time = waiting.await.map_err(|_| ConnectError::TimedOut)?;
        if let Some(place) = self.place(fresh) {
            return Ok(Lease::Http2 { stream: place, reused: true });
        }
        let made = self.open_http2(connect_max).await;
        self.note(&made, now);
        made
    }

    async fn open_http2(&self, connect_max: Duration) -> Result<Lease, ConnectError> {
        let stream = self.connect(connect_max).await?;
        let mut builder = http2::Builder::new(LocalExec);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
            .max_header_list_size(256 * 1024)
            .keep_alive_interval(H2_PING_EVERY)
            .keep_alive_timeout(H2_PING_TIMEOUT);
        let handshake = tokio::time::timeout(connect_max, builder.handshake(TokioIo::new(stream)));
        let (sender, connection) =
            handshake.await.map_err(|_| ConnectError::TimedOut)?.map_err(|_| ConnectError::Refused)?;
        let streams_max = Rc::new(Cell::new(connection.current_max_send_streams()));
        let shared = Rc::new(Shared { sender, streams: Cell::new(1), streams_max: streams_max.clone() });
        tokio::task::spawn_local(async move {
            let mut connection = pin!(connection);
            // How it ended is seen by the requests it carried.
            let _ended = poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                streams_max.set(connection.current_max_send_streams());
                polled
            })
            .await;
        });
        self.shared.borrow_mut().push(shared.clone());
        Ok(Lease::Http2 { stream: StreamPlace(shared), reused: false })
    }

    /// A place on the least busy shared connection, unless another one should be opened.
    fn place(&self, fresh: bool) -> Option<StreamPlace> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.sender.is_closed());
        let least = shared.iter().min_by_key(|connection| connection.streams.get())?;
        let is_full = least.streams_max.get() <= least.streams.get();
        if (is_full || fresh) && shared.len() < H2_CONNECTIONS_MAX {
            return None;
        }
        least.streams.set(least.streams.get() + 1);
        Some(StreamPlace(least.clone()))
    }

    async fn connect(&self, connect_max: Duration) -> Result<TcpStream, ConnectError> {
        let connected = tokio::time::timeout(connect_max, TcpStream::connect(self.endpoint.address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => {
                self.counts.upstream_connect_failures.up();
                return Err(ConnectError::Refused);
            }
            Err(_) => {
                self.counts.upstream_connect_failures.up();
                return Err(ConnectError::TimedOut);
            }
        };
        self.counts.upstream_connects.up();
        // Without it, small requests wait for the other side's delayed acknowledgement. If it fails, they do.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    fn give_back(&self, sender: http1::SendRequest<RequestBody>, task: ConnectionTask) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.idle_max {
            idle.push(Idle { sender, task, since: Instant::now() });
        }
    }

    fn prune(&self, now: Instant) -> usize {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|i| now.saturating_duration_since(i.since) < IDLE_MAX && !i.sender.is_closed());
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.sender.is_closed());
        idle.len() + shared.iter().filter(|connection| connection.streams.get() == 0).count()
    }
}

/// One open connection in the count of its pool.
#[derive(Debug)]
pub(crate) struct Open(Rc<Cell<usize>>);

impl Open {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Lease {
    pub(crate) fn is_h2(&self) -> bool {
        matches!(self, Self::Http2 { .. })
    }

    pub(crate) fn is_reused(&self) -> bool {
        matches!(self, Self::Http1 { reused: true, .. } | Self::Http2 { reused: true, .. })
    }

    /// Sends a request. The error holds the request again if nothing of it was sent.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self {
            Self::Http1 { sender, .. } => sender.try_send_request(request).await,
            Self::Http2 { stream, .. } => stream.0.sender.clone().try_send_request(request).await,
        }
    }

    /// Leaves the connection to its upgrade, and keeps its place among the open ones.
    pub(crate) fn into_tunnel(self) -> Option<Open> {
        match self {
            Self::Http1 { pool, task, .. } => {
                task.detach();
                Some(Open::new(&pool.open))
            }
            Self::Http2 { .. } => None,
        }
    }

    /// Returns the connection for reuse. Only after request and answer are complete.
    pub(crate) fn give_back(self) {
        if let Self::Http1 { pool, sender, task, .. } = self {
            pool.give_back(sender, task);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, LocalOptions};

    use super::*;

    /// A listener that is never accepted from and whose queue is full: connects neither succeed nor fail.
    fn swallowing() -> (socket2::Socket, Vec<socket2::Socket>, SocketAddr) {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
        let listener = socket();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("address").into()).expect("bind");
        listener.listen(0).expect("listen");
        let address = listener.local_addr().expect("address").as_socket().expect("ip");
        let fillers = (0..8).map(|_| {
            let filler = socket();
            filler.set_nonblocking(true).expect("nonblocking");
            let _in_progress = filler.connect(&address.into());
            filler
        });
        let fillers = fillers.collect();
        (listener, fillers, address)
    }

    #[test]
    fn requests_that_wait_for_one_connection_count_its_failure_once() {
        let (_listener, _fillers, address) = swallowing();
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).expect("runtime");
        let is_ejected = runtime.block_on(async {
            let endpoint = Endpoint { address, protocol: UpstreamProtocol::H2c };
            let pool = Rc::new(EndpointPool::new(endpoint, 1, Arc::new(WorkerCounts::new(0))));
            let lease = || async {
                pool.lease(false, Duration::from_millis(50), Timestamp::default()).await.expect_err("nobody accepts")
            };
            let errors = futures_util::future::join_all((0..50).map(|_| lease())).await;
            assert!(errors.iter().all(|error| *error == ConnectError::TimedOut), "{errors:?}");
            pool.state().is_ejected(Timestamp::default())
        });
        // Three failures would: one attempt was made, or two if a request got its turn just before its time was up.
        assert!(!is_ejected, "fifty requests that waited for one connection count as fifty failures");
    }
}

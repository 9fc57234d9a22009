//! One client connection, from accept to close.
//!
//! A connection is told apart by its first bytes: TLS by its listener, then HTTP/2 by ALPN or by the preface of prior
//! knowledge, everything else is HTTP/1.1. hyper drives the protocol; this file watches over it:
//!
//! - **Parking.** An HTTP/1.1 connection that was idle for [`PARK_AFTER`] gives hyper's state and buffers (about 17 KiB) back and
//!   keeps only its socket; the first byte of the next request brings them back. So do connections that have not sent
//!   anything yet. A hundred thousand idle clients then cost what their sockets cost.
//! - **Slow heads.** The first byte of a head starts the header time-out, whatever trickles after it.
//! - **Stalled clients.** A client that takes nothing for the idle time-out of its request is let go, together with
//!   everything it held; over HTTP/2 when all its streams are over and only its own windows hold them open. HTTP/2 clients
//!   that vanish are found by pings.
//!
//! Not here: what a request is answered with (`forward`), limits of a request towards its upstream (`exchange`).
//! Source: RFC 9112 §9, RFC 9113 §3.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, net::TcpStream, time::Sleep};
use tokio_rustls::TlsAcceptor;

use crate::{
    client_io::{ClientIo, Transport},
    exchange::remember,
    exec::LocalExec,
    forward,
    hop::Peer,
    tunnel::{self, UpstreamTunnel},
    worker::Worker,
};

/// How long an HTTP/1.1 connection is kept ready for the next request before its buffers are given back. Clients that reuse
/// a connection mostly do so within milliseconds; bringing buffers back costs a few microseconds.
pub(crate) const PARK_AFTER: Duration = Duration::from_secs(1);

/// What a client that speaks HTTP/2 without TLS sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Windows of client streams and connections: a stream's window is what one client may make us hold per request.
const H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of an answer that are taken from its upstream before the client has room for them.
const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;

/// An HTTP/2 client that has not been heard of for this long is asked for a sign of life, and given up without one.
const H2_PING_EVERY: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What the parts of a connection know of each other.
#[derive(Debug)]
pub(crate) struct ClientConn {
    pub(crate) worker: Rc<Worker>,
    pub(crate) address: IpAddr,
    pub(crate) peer: Peer,
    /// Requests being answered.
    in_flight: Cell<u32>,
    /// Those of them whose outcome is not known yet. The others only wait for the client to take what is left.
    undecided: Cell<u32>,
    /// When the outcome of a request last became known.
    decided_at: Cell<Instant>,
    /// Wakes the connection's own task.
    waker: RefCell<Option<Waker>>,
    /// Requests begun since hyper took the connection (again).
    served: Cell<u64>,
    idle_since: Cell<Instant>,
    /// When the head that is being read began.
    head_since: Cell<Option<Instant>>,
    /// Since when the client takes nothing.
    blocked_since: Cell<Option<Instant>>,
    /// How long it may.
    stall_max: Cell<Duration>,
    /// While set, hyper's closing does not close the socket.
    parking: Cell<bool>,
    tunnel: RefCell<Option<UpstreamTunnel>>,
    host: RefCell<Option<HeaderValue>>,
}

/// Keeps a connection from being idle.
#[derive(Debug)]
pub(crate) struct Busy(Rc<ClientConn>);

impl Drop for Busy {
    fn drop(&mut self) {
        let left = self.0.in_flight.get().saturating_sub(1);
        self.0.in_flight.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

impl ClientConn {
    fn new(worker: &Rc<Worker>, address: SocketAddr, is_tls: bool) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            worker: worker.clone(),
            address: address.ip().to_canonical(),
            peer: Peer::new(address.ip().to_canonical(), is_tls),
            in_flight: Cell::new(0),
            undecided: Cell::new(0),
            decided_at: Cell::new(now),
            waker: RefCell::new(None),
            served: Cell::new(0),
            idle_since: Cell::new(now),
            head_since: Cell::new(Some(now)),
            blocked_since: Cell::new(None),
            stall_max: Cell::new(worker.limits().keep_alive.into()),
            parking: Cell::new(false),
            tunnel: RefCell::new(None),
            host: RefCell::new(None),
        })
    }

    /// A request begins.
    pub(crate) fn enter(self: &Rc<Self>) -> Busy {
        self.in_flight.set(self.in_flight.get() + 1);
        self.served.set(self.served.get() + 1);
        self.head_since.set(None);
        Busy(self.clone())
    }

    /// A request is routed: its outcome is open until [`Self::decide`].
    pub(crate) fn open_outcome(&self) {
        self.undecided.set(self.undecided.get() + 1);
    }

    /// The outcome of a request is known.
    pub(crate) fn decide(&self, now: Instant) {
        self.undecided.set(self.undecided.get().saturating_sub(1));
        self.decided_at.set(now);
    }

    /// A request was refused before it was routed: nothing but its answer is left of it.
    pub(crate) fn refused(&self, now: Instant) {
        self.decided_at.set(now);
    }

    /// A limit has decided a request whose answer the client may be holding up: looks after it.
    pub(crate) fn look_again(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// The client may take nothing for this long while the answer of the current request passes.
    pub(crate) fn allow_stall(&self, longest: Duration) {
        self.stall_max.set(longest);
    }

    /// Leaves the upstream's side of a tunnel here, for when hyper lets go of the client's side.
    pub(crate) fn open_tunnel(&self, tunnel: UpstreamTunnel) {
        *self.tunnel.borrow_mut() = Some(tunnel);
    }

    /// The authority as a header value. Clients seldom change it within a connection.
    pub(crate) fn host_value(&self, authority: &str) -> Option<HeaderValue> {
        let mut cached = self.host.borrow_mut();
        if let Some(value) = &*cached
            && value.as_bytes() == authority.as_bytes()
        {
            return Some(value.clone());
        }
        let value = HeaderValue::from_str(authority).ok()?;
        *cached = Some(value.clone());
        Some(value)
    }

    pub(crate) fn is_parking(&self) -> bool {
        self.parking.get()
    }

    /// Bytes of a head, or of a body, have come.
    pub(crate) fn received(&self) {
        if self.in_flight.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
    }

    /// Whether the client took what was written.
    pub(crate) fn wrote(&self, is_blocked: bool) {
        match (is_blocked, self.blocked_since.get()) {
            (true, None) => self.blocked_since.set(Some(Instant::now())),
            (false, Some(_)) => self.blocked_since.set(None),
            _ => {}
        }
    }

    /// The next moment at which something has to be done although nothing happens, and what.
    fn next_alarm(&self, can_park: bool) -> Option<(Instant, Alarm)> {
        if let Some(since) = self.blocked_since.get() {
            return Some((since + self.stall_max.get(), Alarm::Stalled));
        }
        if 0 < self.in_flight.get() {
            // What has no upstream to wait for any more waits for the client alone.
            let is_held_up = self.undecided.get() == 0;
            return is_held_up.then(|| (self.decided_at.get() + self.stall_max.get(), Alarm::Stalled));
        }
        let limits = self.worker.limits();
        if let Some(since) = self.head_since.get() {
            return Some((since + limits.header_timeout.into(), Alarm::SlowHead));
        }
        let (wait, alarm) = if can_park && 0 < self.served.get() {
            (PARK_AFTER.min(limits.keep_alive.into()), Alarm::Park)
        } else {
            (limits.keep_alive.into(), Alarm::Idle)
        };
        Some((self.idle_since.get() + wait, alarm))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    Stalled,
    SlowHead,
    Park,
    Idle,
}

/// Serves a connection until it closes.
pub(crate) async fn run(
    worker: &Rc<Worker>,
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
) {
    let conn = ClientConn::new(worker, address, tls.is_some());
    let header_timeout = worker.limits().header_timeout.into();
    // Nothing is kept for a client that has not said anything yet.
    let spoke = tokio::time::timeout(header_timeout, worker.stop.run_until_cancelled(stream.readable())).await;
    match spoke {
        Ok(Some(Ok(()))) => {}
        Ok(_) => return,
        Err(_) => return worker.counts.header_timeouts.up(),
    }
    let begun = match tls {
        None => tokio::time::timeout(header_timeout, begin_clear(&conn, stream)).await,
        Some(config) => tokio::time::timeout(header_timeout, Box::pin(begin_tls(&conn, stream, config))).await,
    };
    match begun {
        Ok(Some((io, Protocol::Http1))) => serve_http1(&conn, io).await,
        Ok(Some((io, Protocol::Http2))) => Box::pin(serve_http2(&conn, io)).await,
        Ok(None) => {}
        Err(_) => worker.counts.header_timeouts.up(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Reads just enough to tell HTTP/2 with prior knowledge from HTTP/1.1.
async fn begin_clear(conn: &Rc<ClientConn>, mut stream: TcpStream) -> Option<(ClientIo, Protocol)> {
    let mut first = [0_u8; PREFACE.len()];
    let mut filled = 0;
    let protocol = loop {
        let read = stream.read(first.get_mut(filled..)?);
        // Readiness may be a false alarm: until the first byte is here, a stop ends the wait.
        let read = if filled == 0 { conn.worker.stop.run_until_cancelled(read).await? } else { read.await };
        let read = read.ok()?;
        filled += read;
        if first.get(..filled) != PREFACE.get(..filled) {
            break Protocol::Http1;
        }
        if filled == PREFACE.len() {
            break Protocol::Http2;
        }
        if read == 0 {
            return None;
        }
    };
    let first = Bytes::copy_from_slice(first.get(..filled)?);
    Some((ClientIo::new(Transport::Clear(stream), first, conn.clone()), protocol))
}

async fn begin_tls(
    conn: &Rc<ClientConn>,
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
) -> Option<(ClientIo, Protocol)> {
    let handshake = TlsAcceptor::from(config).accept(stream);
    let Ok(stream) = conn.worker.stop.run_until_cancelled(handshake).await? else {
        conn.worker.counts.tls_failures.up();
        return None;
    };
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = ClientIo::new(Transport::Tls(Box::new(stream)), Bytes::new(), conn.clone());
    Some((io, if is_h2 { Protocol::Http2 } else { Protocol::Http1 }))
}

/// What a stretch of HTTP/1.1 ended with.
enum Ended {
    Closed,
    Parked(ClientIo),
    Upgraded(ClientIo, UpstreamTunnel),
}

async fn serve_http1(conn: &Rc<ClientConn>, mut io: ClientIo) {
    loop {
        io = match Box::pin(drive_http1(conn, io)).await {
            Ended::Closed => return,
            Ended::Upgraded(io, upstream) => return Box::pin(tunnel::run(conn, io, upstream)).await,
            Ended::Parked(io) => io,
        };
        conn.served.set(0);
        if io.has_buffered() {
            // The beginning of a head came together with the request before.
            conn.head_since.set(Some(Instant::now()));
            continue;
        }
        let keep_alive = conn.worker.limits().keep_alive.into();
        conn.worker.counts.parked.up();
        let woken = tokio::time::timeout(keep_alive, conn.worker.stop.run_until_cancelled(io.readable())).await;
        conn.worker.counts.parked.down();
        if !matches!(woken, Ok(Some(Ok(())))) {
            return;
        }
        conn.idle_since.set(Instant::now());
    }
}

async fn drive_http1(conn: &Rc<ClientConn>, io: ClientIo) -> Ended {
    let limits = conn.worker.limits();
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max.max(64 * 1024));
    if limits.headers_max != 100 {
        builder.max_headers(limits.headers_max); // The parser's default is 100, on the stack.
    }
    let service = {
        let conn = conn.clone();
        service_fn(move |request: Request<Incoming>| answer(conn.clone(), request))
    };
    let mut hyper = builder.serve_connection(TokioIo::new(io), service);
    let mut stopping = pin!(conn.worker.stop.cancelled());
    let mut is_stopping = false;
    let mut timer = Timer::new();
    let result = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut hyper).poll(cx) {
                return Poll::Ready(Some(result));
            }
            if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                Pin::new(&mut hyper).graceful_shutdown();
                continue;
            }
            match timer.poll(cx, |now| due(conn, now, true), || conn.next_alarm(true).map(|(at, _)| at)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Alarm::Park) => {
                    conn.parking.set(true);
                    Pin::new(&mut hyper).graceful_shutdown();
                    // hyper ends at once if it is between two requests. If it goes on, something of the last request is still to
                    // be read. The connection then ends: whoever took it over would read that rest as a request.
                    return match Pin::new(&mut hyper).poll(cx) {
                        Poll::Ready(result) => Poll::Ready(Some(result)),
                        Poll::Pending => Poll::Ready(None),
                    };
                }
                Poll::Ready(alarm) => {
                    note(conn, alarm);
                    return Poll::Ready(None);
                }
            }
        }
    })
    .await;
    let is_parked = conn.parking.replace(false);
    match result {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            note_error(conn, &error);
            return Ended::Closed;
        }
        None => return Ended::Closed,
    }
    let tunnel = conn.tunnel.borrow_mut().take();
    if tunnel.is_none() && (!is_parked || is_stopping) {
        return Ended::Closed;
    }
    let parts = hyper.into_parts();
    let mut io = parts.io.into_inner();
    io.unread(parts.read_buf);
    match tunnel {
        Some(tunnel) => Ended::Upgraded(io, tunnel),
        None => Ended::Parked(io),
    }
}

async fn serve_http2(conn: &Rc<ClientConn>, io: ClientIo) {
    conn.head_since.set(None);
    let limits = conn.worker.limits();
    let mut builder = http2::Builder::new(LocalExec);
    // The limits of h2 on reset floods stay as they are: 20 streams reset before they were accepted, 1,024 errors.
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    let service = {
        let conn = conn.clone();
        service_fn(move |request: Request<Incoming>| answer(conn.clone(), request))
    };
    let mut hyper = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut stopping = pin!(conn.worker.stop.cancelled());
    let (mut is_stopping, mut is_saying_goodbye) = (false, false);
    let mut timer = Timer::new();
    poll_fn(|cx| {
        remember(&conn.waker, cx.waker());
        loop {
            conn.head_since.set(None); // Frames are not heads; idleness and stalls are what counts here.
            if let Poll::Ready(result) = hyper.as_mut().poll(cx) {
                if let Err(error) = result {
                    note_error(conn, &error);
                }
                return Poll::Ready(());
            }
            conn.head_since.set(None);
            if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                hyper.as_mut().graceful_shutdown();
                continue;
            }
            match timer.poll(cx, |now| due(conn, now, false), || conn.next_alarm(false).map(|(at, _)| at)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Alarm::Idle) if !is_saying_goodbye => {
                    // GOAWAY, and as long again for the client to hang up.
                    is_saying_goodbye = true;
                    conn.idle_since.set(Instant::now());
                    hyper.as_mut().graceful_shutdown();
                }
                Poll::Ready(alarm) => {
                    note(conn, alarm);
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
}

async fn answer(
    conn: Rc<ClientConn>,
    request: Request<Incoming>,
) -> Result<http::Response<crate::body::AnswerBody>, Infallible> {
    let busy = conn.enter();
    let response = forward::serve(&conn, request).await;
    Ok(response.map(|body| body.keeping(busy)))
}

fn due(conn: &ClientConn, now: Instant, can_park: bool) -> Option<Alarm> {
    conn.next_alarm(can_park).filter(|(at, _)| *at <= now).map(|(_, alarm)| alarm)
}

fn note(conn: &ClientConn, alarm: Alarm) {
    match alarm {
        Alarm::Stalled => conn.worker.counts.stalled_clients.up(),
        Alarm::SlowHead => conn.worker.counts.header_timeouts.up(),
        Alarm::Park | Alarm::Idle => {}
    }
}

fn note_error(conn: &ClientConn, error: &hyper::Error) {
    if error.is_parse() {
        conn.worker.counts.malformed.up();
    }
}

/// One timer for all alarms of a connection. It is armed for the earliest and only ever moved forward when it
/// rings, so that a busy connection touches it about once a second and not once a request.
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Timer {
    fn new() -> Self {
        Self { sleep: None, armed: None }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        due: impl Fn(Instant) -> Option<Alarm>,
        next: impl Fn() -> Option<Instant>,
    ) -> Poll<Alarm> {
        loop {
            if let Some(at) = next()
                && self.armed.is_none_or(|armed| at < armed)
            {
                self.arm(at);
            }
            let Some(sleep) = self.sleep.as_mut().filter(|_| self.armed.is_some()) else { return Poll::Pending };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            if let Some(alarm) = due(Instant::now()) {
                return Poll::Ready(alarm);
            }
        }
    }

    fn arm(&mut self, at: Instant) {
        self.armed = Some(at);
        let at = tokio::time::Instant::from_std(at);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }
}

//! One request from its head to the answer's head: let in, routed, sent on, and tried again where that is safe.
//!
//! A request is repeated only if nothing of it can have taken effect: the connection was refused, or the pooled
//! connection took nothing of it, or it broke without a byte of an answer and the request is safe (`GET`, `HEAD`, `OPTIONS`,
//! `TRACE`) and has no body. An HTTP/2 stream that the upstream resets is repeated only when it says that it did nothing
//! (`REFUSED_STREAM`): any other reset is about this request, not about the connection. A refused connection leads to another endpoint of the same version, once: the version was chosen
//! by the split, and moving its requests to another version would hide a broken canary from its judge.
//!
//! Not here: the rules of admission (`policy`), headers (`hop`), bodies (`body`), what is counted (`exchange`).

use std::{future::poll_fn, pin::pin, rc::Rc, task::Poll, time::Instant};

use homeostat_gateway_route::{Matched, Service, VersionChoice, balance, spec::UpstreamProtocol};
use homeostat_model::{OutcomeClass, outcome::THRESHOLDS_MAX};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request};
use hyper::body::{Body as _, Incoming};

use crate::{
    answer::{Dialect, problem},
    body::{AnswerBody, RequestBody},
    client::ClientConn,
    exchange::{BodyFault, Exchange, Expiry, Opening, Owner, UpstreamAnswer},
    hop,
    policy::{self, Rejection, Upgrade},
    pool::{ConnectError, EndpointPool, Lease},
    tunnel::UpstreamTunnel,
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Attempts at most: a stale pooled connection or two, another endpoint, and a fresh connection at last.
const ATTEMPTS_MAX: usize = 4;

/// Answers one request, always.
pub(crate) async fn serve(conn: &Rc<ClientConn>, request: Request<Incoming>) -> Response<AnswerBody> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let dialect = Dialect::of(&parts.method, &parts.headers);
    let admitted = admit(conn, &parts);
    let (host, upgrade) = match admitted {
        Ok(admitted) => admitted,
        Err(rejection) => return reject(conn, rejection, dialect),
    };
    let table = conn.worker.table();
    let authority = host.to_str().unwrap_or_default();
    let Some(matched) = table.find(&parts.method, authority, parts.uri.path(), &parts.headers) else {
        return reject(conn, Rejection::NoRoute, dialect);
    };
    let choice = choose(conn, &matched, &parts);
    let owner = Exchange::begin(conn, opening(&matched, &choice, &parts, started));
    conn.allow_stall(owner.exchange().timeouts().idle.into());
    let upstreams = conn.worker.upstreams.group(choice.cell, choice.version.endpoints());
    drop(table);
    let sent = send(conn, &owner, &upstreams, Outbound { parts, body, host, upgrade }).await;
    match sent {
        Ok((response, lease)) => pass_on(conn, owner, response, lease, upgrade, dialect),
        Err(failure) => fail(&owner, failure, dialect),
    }
}

fn reject(conn: &ClientConn, rejection: Rejection, dialect: Dialect) -> Response<AnswerBody> {
    conn.worker.counts.reject(rejection);
    conn.refused(Instant::now());
    problem(rejection.status(), rejection.detail(), dialect)
}

/// Checks a head; returns its host and the protocol switch it asks for.
fn admit(conn: &ClientConn, parts: &request::Parts) -> Result<(HeaderValue, Upgrade), Rejection> {
    let limits = conn.worker.limits();
    let accepted = policy::check(&parts.method, &parts.uri, parts.version, &parts.headers)?;
    if parts.version == Version::HTTP_2 {
        policy::check_size(&parts.headers, limits.headers_max, limits.header_bytes_max)?;
    }
    if policy::declared_length(&parts.headers).is_some_and(|length| limits.body_bytes_max < length) {
        return Err(Rejection::BodyLarge);
    }
    let host = conn.host_value(accepted.authority).ok_or(Rejection::HostInvalid)?;
    Ok((host, accepted.upgrade))
}

fn choose<'t>(conn: &ClientConn, matched: &Matched<'t>, parts: &request::Parts) -> VersionChoice<'t> {
    let mut sequence = conn.worker.sequence.borrow_mut();
    matched.choose_for(&parts.headers, conn.address, &mut sequence)
}

fn opening(matched: &Matched<'_>, choice: &VersionChoice<'_>, parts: &request::Parts, started: Instant) -> Opening {
    let service = matched.service();
    Opening {
        cell: choice.cell,
        thresholds_us: thresholds_us(service),
        timeouts: service.timeouts(),
        started,
        method: parts.method.clone(),
        uri: parts.uri.clone(),
        traceparent: parts.headers.get(TRACEPARENT).cloned(),
    }
}

fn thresholds_us(service: &Service) -> [u64; THRESHOLDS_MAX] {
    let mut thresholds_us = [u64::MAX; THRESHOLDS_MAX];
    for (to, from) in thresholds_us.iter_mut().zip(service.thresholds()) {
        *to = from.ns() / 1_000;
    }
    thresholds_us
}

/// A request as it came, about to go out.
struct Outbound {
    parts: request::Parts,
    body: Incoming,
    host: HeaderValue,
    upgrade: Upgrade,
}

/// Why there is no answer of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    NoEndpoint,
    Busy,
    Unreachable,
    ConnectTimeout,
    Broken,
    Expired(Expiry),
    BodyTooLarge,
    ClientBroke,
}

impl Failure {
    fn class(self) -> OutcomeClass {
        match self {
            Self::NoEndpoint | Self::Busy | Self::Unreachable => OutcomeClass::Refused,
            Self::ConnectTimeout => OutcomeClass::Timeout,
            Self::Broken => OutcomeClass::Reset,
            Self::Expired(expiry) => expiry.class(self.status()),
            Self::BodyTooLarge | Self::ClientBroke => OutcomeClass::ClientError,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::NoEndpoint | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::Expired(Expiry::Upstream) => StatusCode::GATEWAY_TIMEOUT,
            Self::Expired(Expiry::Client | Expiry::Nobody) => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ClientBroke => StatusCode::BAD_REQUEST,
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::NoEndpoint => "the chosen version has no endpoints; add one or give its weight to another version",
            Self::Busy => "every connection to the upstream is in use; try again later",
            Self::Unreachable => "the upstream refuses connections; check that it runs and listens",
            Self::ConnectTimeout => "the upstream does not accept the connection in time; check network and load",
            Self::Broken => "the upstream broke off before it answered; see its log",
            Self::Expired(Expiry::Upstream) => {
                "the upstream does not answer in time; see its log or raise the time-out"
            }
            Self::Expired(Expiry::Client | Expiry::Nobody) => {
                "the request body does not arrive in time; send it faster"
            }
            Self::BodyTooLarge => Rejection::BodyLarge.detail(),
            Self::ClientBroke => "the request body broke off or is malformed; send it whole",
        }
    }
}

fn fail(owner: &Owner, failure: Failure, dialect: Dialect) -> Response<AnswerBody> {
    owner.exchange().own_status(failure.status());
    owner.exchange().finish(failure.class());
    problem(failure.status(), failure.detail(), dialect)
}

/// Sends a request to one of the endpoints, and again where that is safe.
async fn send(
    conn: &ClientConn,
    owner: &Owner,
    upstreams: &[Rc<EndpointPool>],
    outbound: Outbound,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let exchange = owner.exchange();
    let mut pick = pick(conn, upstreams, None).ok_or(Failure::NoEndpoint)?;
    let mut pool = upstreams.get(pick).ok_or(Failure::NoEndpoint)?;
    let mut request = Draft::Fresh(outbound);
    let (mut fresh, mut has_moved) = (false, false);
    for _ in 0..ATTEMPTS_MAX {
        exchange.assign(pool.enter());
        let now = conn.worker.timestamp(Instant::now());
        let connect_max = exchange.timeouts().connect.into();
        let leased = supervised(exchange, pool.lease(fresh, connect_max, now)).await.map_err(Failure::Expired)?;
        let mut lease = match leased {
            Ok(lease) => lease,
            Err(error) => {
                let may_move = !has_moved && error != ConnectError::Limit;
                let next = if may_move { pick_other(conn, upstreams, pick, &request) } else { None };
                let Some(next) = next else { return Err(connect_failure(error)) };
                (pick, has_moved) = (next, true);
                pool = upstreams.get(pick).ok_or(Failure::NoEndpoint)?;
                conn.worker.counts.upstream_retries.up();
                continue;
            }
        };
        let ready = request.prepare(conn, exchange, pool.protocol());
        let replay = Replay::of(&ready, &lease);
        exchange.sending();
        match supervised(exchange, lease.send(ready)).await.map_err(Failure::Expired)? {
            Ok(response) => return Ok((response, lease)),
            Err(mut error) => {
                if let Some(fault) = exchange.body_fault() {
                    return Err(client_failure(fault));
                }
                // Not sent at all, or sent into a connection that was closing.
                let again = error.take_message();
                let again = again.or_else(|| Some(unbodied(replay.after(error.error())?, exchange)));
                let Some(again) = again else { return Err(Failure::Broken) };
                request = Draft::Ready(again, pool.protocol());
                fresh = true;
                conn.worker.counts.upstream_retries.up();
            }
        }
    }
    Err(Failure::Broken)
}

fn connect_failure(error: ConnectError) -> Failure {
    match error {
        ConnectError::Refused => Failure::Unreachable,
        ConnectError::TimedOut => Failure::ConnectTimeout,
        ConnectError::Limit => Failure::Busy,
    }
}

fn client_failure(fault: BodyFault) -> Failure {
    match fault {
        BodyFault::TooLarge => Failure::BodyTooLarge,
        BodyFault::Broken => Failure::ClientBroke,
    }
}

/// The balancer's choice among the endpoints of a version.
fn pick(conn: &ClientConn, upstreams: &[Rc<EndpointPool>], except: Option<usize>) -> Option<usize> {
    if upstreams.len() == 1 {
        return Some(0);
    }
    conn.worker.with_states(|states| {
        states.extend(upstreams.iter().map(|pool| pool.state()));
        let now = conn.worker.timestamp(Instant::now());
        balance::choose(states, except, now, conn.worker.random())
    })
}

/// Another endpoint than `current` that takes `draft` in the form it has: the balancer's choice if that one does.
fn pick_other(conn: &ClientConn, upstreams: &[Rc<EndpointPool>], current: usize, draft: &Draft) -> Option<usize> {
    let fits =
        |index: &usize| *index != current && upstreams.get(*index).is_some_and(|pool| draft.fits(pool.protocol()));
    pick(conn, upstreams, Some(current)).filter(fits).or_else(|| (0..upstreams.len()).find(fits))
}

/// A request before it is first sent, and before it is sent again.
enum Draft {
    Fresh(Outbound),
    Ready(Request<RequestBody>, UpstreamProtocol),
    Gone,
}

impl Draft {
    /// Whether it can be sent to an endpoint that speaks `protocol`.
    fn fits(&self, protocol: UpstreamProtocol) -> bool {
        match self {
            Self::Fresh(_) | Self::Gone => true,
            Self::Ready(_, form) => *form == protocol,
        }
    }

    /// Returns the request in the form for `protocol`.
    fn prepare(
        &mut self,
        conn: &ClientConn,
        exchange: &Rc<Exchange>,
        protocol: UpstreamProtocol,
    ) -> Request<RequestBody> {
        match std::mem::replace(self, Self::Gone) {
            Self::Fresh(outbound) => outbound.into_request(conn, exchange, protocol),
            Self::Ready(request, form) => {
                debug_assert_eq!(form, protocol, "a request is sent again in the form it has");
                request
            }
            Self::Gone => Request::new(RequestBody::empty(exchange.clone())),
        }
    }
}

impl Outbound {
    fn into_request(
        self,
        conn: &ClientConn,
        exchange: &Rc<Exchange>,
        protocol: UpstreamProtocol,
    ) -> Request<RequestBody> {
        let Self { mut parts, body, host, upgrade } = self;
        parts.extensions.clear();
        hop::strip(&mut parts.headers);
        parts.headers.remove(header::EXPECT); // Answered here: by asking the client for its body.
        conn.peer.announce(&mut parts.headers, &host, conn.worker.common.trust);
        match protocol {
            UpstreamProtocol::Http1 => {
                if parts.version == Version::HTTP_2 {
                    hop::join_cookies(&mut parts.headers);
                }
                parts.version = Version::HTTP_11;
                parts.uri = origin_form(parts.uri);
                parts.headers.insert(header::HOST, host);
                if upgrade == Upgrade::WebSocket {
                    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                    parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                }
                let has_unknown_length = !body.is_end_stream() && body.size_hint().exact().is_none();
                if has_unknown_length {
                    // Said aloud, because hyper's client takes a `GET` for bodyless otherwise.
                    parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                }
            }
            UpstreamProtocol::H2c => {
                parts.version = Version::HTTP_2;
                parts.uri = absolute_form(parts.uri, &host);
                parts.headers.remove(header::HOST);
            }
        }
        let body = RequestBody::new(body, exchange.clone(), conn.worker.limits().body_bytes_max);
        Request::from_parts(parts, body)
    }
}

fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    uri.into_parts().path_and_query.map_or_else(|| Uri::from_static("/"), Uri::from)
}

fn absolute_form(uri: Uri, host: &HeaderValue) -> Uri {
    let path = uri.path_and_query().cloned();
    let mut parts = uri.into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    if parts.authority.is_none() {
        parts.authority = host.to_str().ok().and_then(|text| text.parse().ok());
    }
    parts.path_and_query = path.or_else(|| Some(http::uri::PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"))
}

/// What is needed to send a request once more after it was sent: only without a body, which is gone by then.
struct Replay {
    copy: Option<Request<()>>,
    /// Whether a connection that breaks may have been closing before the request came.
    may_be_stale: bool,
    is_h2: bool,
}

impl Replay {
    fn of(request: &Request<RequestBody>, lease: &Lease) -> Self {
        let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        let is_h2 = lease.is_h2();
        let may_be_stale = is_safe && lease.is_reused();
        let is_bodyless = request.body().is_end_stream() && !request.headers().contains_key(header::UPGRADE);
        let copy = (is_bodyless && (may_be_stale || is_h2)).then(|| {
            let mut copy = Request::new(());
            *copy.method_mut() = request.method().clone();
            *copy.uri_mut() = request.uri().clone();
            *copy.version_mut() = request.version();
            *copy.headers_mut() = request.headers().clone();
            copy
        });
        Self { copy, may_be_stale, is_h2 }
    }

    /// The request again, if nothing of it can have taken effect, given how it failed.
    fn after(self, error: &hyper::Error) -> Option<Request<()>> {
        let reset = if self.is_h2 { stream_reset(error) } else { None };
        let may_repeat = reset.map_or(self.may_be_stale, |reason| reason == h2::Reason::REFUSED_STREAM);
        self.copy.filter(|_| may_repeat)
    }
}

/// Why the upstream has reset this one stream, if that is what happened.
fn stream_reset(error: &hyper::Error) -> Option<h2::Reason> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<h2::Error>() {
            return error.reason().filter(|_| error.is_reset());
        }
        source = cause.source();
    }
    None
}

fn unbodied(request: Request<()>, exchange: &Rc<Exchange>) -> Request<RequestBody> {
    request.map(|()| RequestBody::empty(exchange.clone()))
}

/// Waits for `future` under the watchdog's eyes.
async fn supervised<F: Future>(exchange: &Exchange, future: F) -> Result<F::Output, Expiry> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if let Some(expiry) = exchange.expiry() {
            return Poll::Ready(Err(expiry));
        }
        exchange.park(cx.waker());
        Poll::Pending
    })
    .await
}

/// Turns the upstream's answer into the client's.
fn pass_on(
    conn: &ClientConn,
    owner: Owner,
    response: Response<Incoming>,
    lease: Lease,
    upgrade: Upgrade,
    dialect: Dialect,
) -> Response<AnswerBody> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(conn, &owner, response, lease, upgrade, dialect);
    }
    let exchange = owner.exchange();
    let (mut parts, body) = response.into_parts();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    exchange.head(parts.status, &parts.headers);
    hop::strip(&mut parts.headers);
    let is_last = body.is_end_stream() || exchange.is_head_request();
    exchange.answering(UpstreamAnswer { body, lease });
    if is_last {
        exchange.complete();
    }
    Response::from_parts(parts, AnswerBody::upstream(owner))
}

/// A protocol switch: only if the client asked for it and the upstream agreed to exactly that.
fn switch(
    conn: &ClientConn,
    owner: &Owner,
    mut response: Response<Incoming>,
    lease: Lease,
    upgrade: Upgrade,
    dialect: Dialect,
) -> Response<AnswerBody> {
    let is_websocket = response
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if upgrade != Upgrade::WebSocket || !is_websocket {
        return fail(owner, Failure::Broken, dialect);
    }
    let exchange = owner.exchange();
    conn.open_tunnel(UpstreamTunnel {
        upgrade: hyper::upgrade::on(&mut response),
        in_flight: exchange.take_in_flight(),
        open: lease.into_tunnel(),
        idle: exchange.timeouts().idle.into(),
    });
    let mut switched = Response::new(AnswerBody::empty());
    *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *switched.headers_mut() = std::mem::take(response.headers_mut());
    hop::strip(switched.headers_mut());
    switched.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    switched.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    exchange.own_status(StatusCode::SWITCHING_PROTOCOLS);
    exchange.finish(OutcomeClass::Ok);
    switched
}

//! One running request: its clock, its limits, and the one place where its outcome is counted.
//!
//! An [`Exchange`] is shared within its worker by the parts that see different sides of a request: the service future
//! that waits for the answer's head, the request body on its way up, the answer body on its way down, and the watchdog.
//! Whoever learns first how it ended calls [`Exchange::finish`]; later calls do nothing.
//!
//! Time limits cost a request nothing but noting when something last moved. A worker's watchdog ([`Running::sweep`])
//! walks over its running requests every [`SWEEP`] and ends those that are over a limit, so limits are kept to within
//! that. Whose fault a silence is follows from who was waited for: a body that the client does not send, or an answer that it
//! does not read, is the client's doing; so is the silence of a conversation in which the client has not finished. Everything
//! else is the upstream's. A total limit that is reached while data flows is nobody's fault: the answer is cut, and counted by
//! its status, or long streams would tell against the version that serves them.
//!
//! Invariant: each exchange is counted once, when it ends; dropping its [`Owner`] without an end means that the client
//! has gone.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

use homeostat_gateway_route::spec::Timeouts;
use homeostat_model::{CellId, OutcomeClass, incident::Exemplar, outcome::THRESHOLDS_MAX};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::{
    cells::Outcome,
    classify,
    client::ClientConn,
    exemplar,
    pool::{InFlight, Lease},
    worker::Worker,
};

/// How often time limits are checked: fine enough for limits of a second, and 50 wake-ups a second of an idle worker.
pub(crate) const SWEEP: Duration = Duration::from_millis(20);

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// An endpoint is being connected; that has its own time limit.
    Connecting,
    /// The request is on its way, the answer's head has not come.
    AwaitingHead,
    /// The answer's body is passing through.
    Answering,
}

/// Which limit ended a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// The upstream kept us waiting.
    Upstream,
    /// The client kept us waiting.
    Client,
    /// The answer was still flowing when the total limit was reached.
    Nobody,
}

impl Expiry {
    /// What is counted, for an answer of this status if there is one.
    pub(crate) fn class(self, status: StatusCode) -> OutcomeClass {
        match self {
            Self::Upstream => OutcomeClass::Timeout,
            Self::Client => OutcomeClass::ClientError,
            // The status of a gRPC call would have come after the cut; its absence says nothing.
            Self::Nobody => classify::complete(status, false, None),
        }
    }
}

/// What the client did wrong while its body was passed on, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// More bytes than allowed.
    TooLarge,
    /// It broke off, or broke the framing.
    Broken,
}

/// The answer of an upstream while it passes through.
#[derive(Debug)]
pub(crate) struct UpstreamAnswer {
    pub(crate) body: Incoming,
    pub(crate) lease: Lease,
}

/// What an exchange is begun with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) cell: CellId,
    pub(crate) thresholds_us: [u64; THRESHOLDS_MAX],
    pub(crate) timeouts: Timeouts,
    pub(crate) started: Instant,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) traceparent: Option<HeaderValue>,
}

/// One running request.
#[derive(Debug)]
pub(crate) struct Exchange {
    worker: Rc<Worker>,
    client: Rc<ClientConn>,
    opening: Opening,
    slot: usize,
    phase: Cell<Phase>,
    activity: Cell<Instant>,
    status: Cell<StatusCode>,
    is_grpc: Cell<bool>,
    grpc_status: Cell<Option<u32>>,
    request_done: Cell<bool>,
    client_silent: Cell<bool>,
    upstream_silent: Cell<bool>,
    body_fault: Cell<Option<BodyFault>>,
    ended: Cell<bool>,
    expired: Cell<Option<Expiry>>,
    waker: RefCell<Option<Waker>>,
    /// What of the request body the client has yet to send. Kept here, so that the end of the exchange lets go of the client's
    /// side whether or not the upstream's side is still asking for more.
    upload: RefCell<Option<Incoming>>,
    upload_waker: RefCell<Option<Waker>>,
    in_flight: RefCell<Option<InFlight>>,
    answer: RefCell<Option<UpstreamAnswer>>,
}

/// Owns the end of an exchange: dropped before an end was found, it counts as the client's leaving.
#[derive(Debug)]
pub(crate) struct Owner(Rc<Exchange>);

impl Owner {
    pub(crate) fn exchange(&self) -> &Rc<Exchange> {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // An answer of declared length may be let go with its last byte, before trailers that HTTP/1.1 has no place for.
        if self.0.with_answer(|answer| answer.body.size_hint().exact() == Some(0)) == Some(true) {
            self.0.complete();
        }
        self.0.finish(OutcomeClass::ClientError);
    }
}

impl Exchange {
    /// Begins an exchange and puts it under the watchdog's eyes.
    pub(crate) fn begin(client: &Rc<ClientConn>, opening: Opening) -> Owner {
        let worker = &client.worker;
        worker.counts.requests.up();
        worker.counts.running.up();
        let started = opening.started;
        client.open_outcome();
        let exchange = |slot| {
            Rc::new(Self {
                worker: worker.clone(),
                client: client.clone(),
                opening,
                slot,
                phase: Cell::new(Phase::Connecting),
                activity: Cell::new(started),
                status: Cell::new(StatusCode::OK),
                is_grpc: Cell::new(false),
                grpc_status: Cell::new(None),
                request_done: Cell::new(false),
                client_silent: Cell::new(false),
                upstream_silent: Cell::new(false),
                body_fault: Cell::new(None),
                ended: Cell::new(false),
                expired: Cell::new(None),
                waker: RefCell::new(None),
                upload: RefCell::new(None),
                upload_waker: RefCell::new(None),
                in_flight: RefCell::new(None),
                answer: RefCell::new(None),
            })
        };
        Owner(worker.running.insert(exchange))
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.opening.timeouts
    }

    /// Whether the answer has no body whatever its head says.
    pub(crate) fn is_head_request(&self) -> bool {
        self.opening.method == Method::HEAD
    }

    /// Whether the outcome is already counted.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// The limit that ended this exchange, if one did.
    pub(crate) fn expiry(&self) -> Option<Expiry> {
        self.expired.get()
    }

    pub(crate) fn body_fault(&self) -> Option<BodyFault> {
        self.body_fault.get()
    }

    /// An endpoint was chosen: it counts as busy until the exchange ends.
    pub(crate) fn assign(&self, in_flight: InFlight) {
        *self.in_flight.borrow_mut() = Some(in_flight);
    }

    /// Takes the endpoint's place in its queue over, for a tunnel that outlives the exchange.
    pub(crate) fn take_in_flight(&self) -> Option<InFlight> {
        self.in_flight.borrow_mut().take()
    }

    /// The request is about to be sent.
    pub(crate) fn sending(&self) {
        self.phase.set(Phase::AwaitingHead);
        self.activity.set(Instant::now());
    }

    /// A part of the request body went on.
    pub(crate) fn request_moved(&self) {
        self.client_silent.set(false);
        self.activity.set(Instant::now());
    }

    /// The upstream wants more of the request body and the client has not sent it.
    pub(crate) fn request_waits(&self) {
        self.client_silent.set(true);
    }

    /// The request body is complete. From now on the upstream is waited for.
    pub(crate) fn request_complete(&self) {
        if !self.request_done.replace(true) {
            self.client_silent.set(false);
            self.activity.set(Instant::now());
        }
    }

    /// The request body ended badly.
    pub(crate) fn request_failed(&self, fault: BodyFault) {
        self.body_fault.set(Some(fault));
    }

    /// The answer's head has come.
    pub(crate) fn head(&self, status: StatusCode, headers: &http::HeaderMap) {
        self.phase.set(Phase::Answering);
        // A limit that was hit while the head was on its way no longer matters, and must not keep others from being hit.
        self.expired.set(None);
        self.activity.set(Instant::now());
        self.status.set(status);
        if classify::is_grpc(headers) {
            self.is_grpc.set(true);
            self.grpc_status.set(classify::grpc_status(headers));
        }
    }

    /// The status of an answer of the gateway's own.
    pub(crate) fn own_status(&self, status: StatusCode) {
        self.status.set(status);
    }

    /// Hands the answer's body over to pass through.
    pub(crate) fn answering(&self, answer: UpstreamAnswer) {
        *self.answer.borrow_mut() = Some(answer);
    }

    /// Runs `f` on the answer that passes through, if it still does.
    pub(crate) fn with_answer<R>(&self, f: impl FnOnce(&mut UpstreamAnswer) -> R) -> Option<R> {
        self.answer.borrow_mut().as_mut().map(f)
    }

    /// A part of the answer went on to the client.
    pub(crate) fn answer_moved(&self) {
        self.upstream_silent.set(false);
        self.activity.set(Instant::now());
    }

    /// The client is ready for more of the answer, which has not come.
    pub(crate) fn answer_waits(&self) {
        self.upstream_silent.set(true);
    }

    /// Trailers of the answer passed.
    pub(crate) fn trailers(&self, trailers: &http::HeaderMap) {
        if let Some(status) = classify::grpc_status(trailers) {
            self.grpc_status.set(Some(status));
        }
    }

    /// Takes the request body over until it is through or the exchange ends.
    pub(crate) fn uploading(&self, body: Incoming) {
        *self.upload.borrow_mut() = Some(body);
    }

    /// Runs `f` on the request body, if there is still some of it to come.
    pub(crate) fn with_upload<R>(&self, f: impl FnOnce(&mut Incoming) -> R) -> Option<R> {
        self.upload.borrow_mut().as_mut().map(f)
    }

    /// Remembers who to wake when a limit is hit.
    pub(crate) fn park(&self, waker: &Waker) {
        remember(&self.waker, waker);
    }

    /// Remembers who waits for more of the request body, to be woken when there will be none.
    pub(crate) fn park_upload(&self, waker: &Waker) {
        remember(&self.upload_waker, waker);
    }

    /// The answer is complete: counts it by its status and returns the upstream connection for reuse.
    pub(crate) fn complete(&self) {
        let class = classify::complete(self.status.get(), self.is_grpc.get(), self.grpc_status.get());
        let answer = self.answer.borrow_mut().take();
        self.finish(class);
        if let Some(answer) = answer
            && self.request_done.get()
        {
            answer.lease.give_back();
        }
    }

    /// Counts the outcome, unless it is counted already, and lets go of the upstream.
    pub(crate) fn finish(&self, class: OutcomeClass) {
        if self.ended.replace(true) {
            return;
        }
        let now = Instant::now();
        let latency = now.saturating_duration_since(self.opening.started);
        self.worker.cells.record(&Outcome {
            cell: self.opening.cell,
            class,
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            thresholds_us: self.opening.thresholds_us,
        });
        self.worker.counts.running.down();
        self.client.decide(now);
        if self.worker.quota.admit(now, class.is_bad()) {
            self.worker.exemplars.offer(self.exemplar(class, now, latency));
        }
        self.in_flight.borrow_mut().take();
        let answer = self.answer.borrow_mut().take();
        drop(answer);
        self.end_upload();
        self.worker.running.remove(self.slot);
    }

    /// Lets go of a request body of which nothing is wanted any more, on both sides.
    fn end_upload(&self) {
        let upload = self.upload.borrow_mut().take();
        drop(upload);
        let waiting = self.upload_waker.borrow_mut().take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn exemplar(&self, class: OutcomeClass, now: Instant, latency: Duration) -> Exemplar {
        Exemplar {
            at: self.worker.timestamp(now),
            cell: self.opening.cell,
            class,
            status: self.status.get().as_u16(),
            method: exemplar::known_method(&self.opening.method).to_owned(),
            path: exemplar::redact_path(self.opening.uri.path()),
            latency: latency.into(),
            endpoint: self.in_flight.borrow().as_ref().map(|held| held.address().to_string()),
            trace_id: self.opening.traceparent.as_ref().and_then(|value| exemplar::trace_id(value.as_bytes())),
        }
    }

    /// Ends the exchange if it is over a limit.
    fn check_limits(&self, now: Instant) {
        let Some(expiry) = self.overdue(now) else { return };
        self.expired.set(Some(expiry));
        if self.phase.get() == Phase::Answering {
            self.finish(expiry.class(self.status.get()));
            self.client.look_again();
        }
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn overdue(&self, now: Instant) -> Option<Expiry> {
        if self.ended.get() || self.expired.get().is_some() {
            return None;
        }
        let limits = &self.opening.timeouts;
        let total: Duration = limits.total.into();
        let silent = now.saturating_duration_since(self.activity.get());
        let is_over = now.saturating_duration_since(self.opening.started) > total;
        // Whoever kept us waiting for most of a total limit has used it up.
        let is_silence_most = silent.saturating_mul(2) > total;
        let client_sends = !self.request_done.get();
        match self.phase.get() {
            Phase::Connecting => is_over.then_some(Expiry::Upstream),
            Phase::AwaitingHead if client_sends => {
                let is_silent = silent > limits.idle.into() || is_over && is_silence_most;
                let whose = if self.client_silent.get() || !is_silent { Expiry::Client } else { Expiry::Upstream };
                (is_silent || is_over).then_some(whose)
            }
            Phase::AwaitingHead => {
                let is_silent = silent > limits.first_byte.into() || is_over && is_silence_most;
                // Else most of the time went into a body that the client was slow to send.
                let whose = if is_silent { Expiry::Upstream } else { Expiry::Client };
                (is_silent || is_over).then_some(whose)
            }
            Phase::Answering => {
                let is_silent = silent > limits.idle.into() || is_over && is_silence_most;
                let is_clients_turn = client_sends && self.client_silent.get();
                let whose = match self.upstream_silent.get() && !is_clients_turn {
                    _ if !is_silent => Expiry::Nobody,
                    true => Expiry::Upstream,
                    false => Expiry::Client,
                };
                (is_silent || is_over).then_some(whose)
            }
        }
    }
}

/// Keeps `waker`, unless one that wakes the same task is kept already.
pub(crate) fn remember(place: &RefCell<Option<Waker>>, waker: &Waker) {
    let mut known = place.borrow_mut();
    if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *known = Some(waker.clone());
    }
}

/// The running requests of a worker.
#[derive(Debug, Default)]
pub(crate) struct Running {
    slots: RefCell<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    exchanges: Vec<Option<Rc<Exchange>>>,
    free: Vec<usize>,
}

impl Running {
    fn insert(&self, make: impl FnOnce(usize) -> Rc<Exchange>) -> Rc<Exchange> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.free.pop().unwrap_or(slots.exchanges.len());
        let exchange = make(slot);
        match slots.exchanges.get_mut(slot) {
            Some(place) => *place = Some(exchange.clone()),
            None => slots.exchanges.push(Some(exchange.clone())),
        }
        exchange
    }

    fn remove(&self, slot: usize) {
        let mut slots = self.slots.borrow_mut();
        let removed = slots.exchanges.get_mut(slot).and_then(Option::take);
        if removed.is_some() {
            slots.free.push(slot);
        }
        drop(slots);
        // Dropping the exchange may drop more; nothing is borrowed by then.
        drop(removed);
    }

    /// Ends the requests that are over a limit.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut slot = 0;
        loop {
            let exchange = {
                let slots = self.slots.borrow();
                match slots.exchanges.get(slot) {
                    None => return,
                    Some(place) => place.clone(),
                }
            };
            if let Some(exchange) = exchange {
                exchange.check_limits(now);
            }
            slot += 1;
        }
    }
}

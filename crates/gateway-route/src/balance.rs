//! Which endpoint of a version serves a request: power of two choices, and a passive look at who is reachable.
//!
//! Intuition: of two endpoints drawn at random the one with fewer requests in flight is taken. That is nearly as good as
//! the least loaded of all, costs two looks, and does not send every worker to the same endpoint at once.
//! An endpoint that cannot be connected to several times in a row is left out for a while, longer each time. Afterwards it
//! gets one request at a time until one connection stands.
//!
//! Not here: who counts (each worker has its own states, found again by address across reloads), active probes, errors
//! after a connection stood (they are the version's, and the judge's business).
//! Invariant: when all endpoints are left out, all are tried: a guess about reachability never turns into an outage.
//! Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing".

use homeostat_model::{Span, Timestamp};

/// When to leave an endpoint out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectionPolicy {
    /// Failed connects in a row that lead to the first ejection; at least 1.
    pub failures: u32,
    /// Length of the first ejection; doubles with each further one.
    pub first: Span,
    /// Longest ejection.
    pub longest: Span,
}

impl Default for EjectionPolicy {
    /// Three in a row tell a dead process from a full accept queue; half a second is about a fast restart; beyond half a
    /// minute nobody wants to wait for a recovered endpoint.
    fn default() -> Self {
        Self { failures: 3, first: Span::from_ms(500), longest: Span::from_secs(30) }
    }
}

/// What one worker knows of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointState {
    /// Requests of this worker that the endpoint is serving; kept by the caller.
    pub in_flight: u32,
    failures: u32,
    ejections: u32,
    ejected_until: Option<Timestamp>,
}

impl EndpointState {
    /// A connection stood: forget all failures.
    pub fn connected(&mut self) {
        *self = Self { in_flight: self.in_flight, ..Self::default() };
    }

    /// A connection could not be made (refused, unreachable, timed out). Returns the length of the ejection if this
    /// failure caused one.
    pub fn connect_failed(&mut self, now: Timestamp, policy: &EjectionPolicy) -> Option<Span> {
        if self.is_ejected(now) {
            // Attempts that were under way, or made because every endpoint is out, prove nothing new.
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        if self.ejections == 0 && self.failures < policy.failures {
            return None;
        }
        let doubled = policy.first.ns().saturating_mul(1 << self.ejections.min(32));
        let length = Span::from_ns(doubled.min(policy.longest.ns()));
        self.ejections = self.ejections.saturating_add(1);
        self.ejected_until = Some(now + length);
        Some(length)
    }

    /// Whether it is left out now.
    pub fn is_ejected(&self, now: Timestamp) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    /// Whether it may get a request: not left out, and on trial only if nothing is in flight.
    fn is_available(&self, now: Timestamp) -> bool {
        !self.is_ejected(now) && (self.ejections == 0 || self.in_flight == 0)
    }
}

/// Returns the position of the endpoint for the next request, `None` only without endpoints. `random` must be uniform
/// over all of `u64`. `except` is left out if there is another choice: the endpoint that just failed, for a retry.
pub fn choose(states: &[EndpointState], except: Option<usize>, now: Timestamp, random: u64) -> Option<usize> {
    let available = |index: usize| Some(index) != except && states.get(index).is_some_and(|s| s.is_available(now));
    let (first, second) = draw_two(states.len(), random)?;
    // The usual case: everybody is reachable.
    if available(first) && available(second) {
        return Some(less_loaded(states, first, second));
    }
    choose_among(states, random, available)
        .or_else(|| choose_among(states, random, |index| Some(index) != except))
        .or_else(|| choose_among(states, random, |_| true))
}

/// Power of two choices over the positions that are allowed. Two walks over the states, no allocation.
fn choose_among(states: &[EndpointState], random: u64, allowed: impl Fn(usize) -> bool) -> Option<usize> {
    let positions = || (0..states.len()).filter(|index| allowed(*index));
    let (first, second) = draw_two(positions().count(), random)?;
    Some(less_loaded(states, positions().nth(first)?, positions().nth(second)?))
}

/// Two different positions below `len`, in random order; twice the same when there is only one.
fn draw_two(len: usize, random: u64) -> Option<(usize, usize)> {
    let len = u64::try_from(len).ok().filter(|len| 0 < *len)?;
    // Each half of the random number picks one; the bias of the multiplication is below 2^-32 times the length.
    let below = |half: u64, len: u64| (half * len) >> 32;
    let first = below(random >> 32, len);
    let offset = if len == 1 { 0 } else { 1 + below(random & u64::from(u32::MAX), len - 1) };
    Some((first as usize, ((first + offset) % len) as usize))
}

/// The one with fewer requests in flight; the first drawn when they are even.
fn less_loaded(states: &[EndpointState], first: usize, second: usize) -> usize {
    let load = |index: usize| states.get(index).map_or(u32::MAX, |state| state.in_flight);
    if load(second) < load(first) { second } else { first }
}

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: EjectionPolicy =
        EjectionPolicy { failures: 3, first: Span::from_ms(500), longest: Span::from_secs(4) };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    /// A generator for tests: SplitMix64.
    fn numbers(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    fn loads(loads: &[u32]) -> Vec<EndpointState> {
        loads.iter().map(|in_flight| EndpointState { in_flight: *in_flight, ..EndpointState::default() }).collect()
    }

    fn dead(now: Timestamp) -> EndpointState {
        let mut state = EndpointState::default();
        for _ in 0..POLICY.failures {
            state.connect_failed(now, &POLICY);
        }
        state
    }

    #[test]
    fn ejections_grow_and_one_connection_ends_them() {
        let mut state = EndpointState { in_flight: 7, ..EndpointState::default() };
        let failed = |state: &mut EndpointState, ms| state.connect_failed(at(ms), &POLICY).map(Span::ms);
        assert_eq!([failed(&mut state, 0), failed(&mut state, 1), failed(&mut state, 2)], [None, None, Some(500)]);
        assert!(state.is_ejected(at(501)) && !state.is_ejected(at(502)));
        assert_eq!(failed(&mut state, 100), None, "an attempt under way does not prolong it");
        // On trial: the first failure is enough, and the time doubles up to the limit.
        let mut now = 502;
        for expected in [1_000, 2_000, 4_000, 4_000] {
            assert_eq!(failed(&mut state, now), Some(expected));
            now += expected as i64;
        }
        state.connected();
        assert_eq!(state, EndpointState { in_flight: 7, ..EndpointState::default() });
        assert_eq!(failed(&mut state, now), None);
    }

    #[test]
    fn failures_must_be_consecutive() {
        let mut state = EndpointState::default();
        for ms in 0..100 {
            assert_eq!(state.connect_failed(at(ms), &POLICY), None);
            assert_eq!(state.connect_failed(at(ms), &POLICY), None);
            state.connected();
        }
    }

    #[test]
    fn the_less_loaded_of_two_wins_so_the_most_loaded_never_does() {
        let (states, mut random) = (loads(&[5, 0, 9, 3]), numbers(1));
        let mut hits = [0_u32; 4];
        for _ in 0..12_000 {
            hits[choose(&states, None, at(0), random()).unwrap()] += 1;
        }
        // Of six pairs the idle one wins three, the next two, the next one, the busiest none.
        for (hits, expected) in hits.iter().zip([2_000_u32, 6_000, 0, 4_000]) {
            assert!(hits.abs_diff(expected) < 300, "{hits} of {expected}");
        }
    }

    #[test]
    fn an_ejected_endpoint_gets_nothing_until_it_is_on_trial() {
        let (mut states, mut random) = (loads(&[100, 100, 0]), numbers(2));
        states[2] = dead(at(0));
        for _ in 0..1_000 {
            assert_ne!(choose(&states, None, at(499), random()), Some(2));
        }
        assert!((0..100).any(|_| choose(&states, None, at(500), random()) == Some(2)));
        states[2].in_flight = 1;
        assert!((0..1_000).all(|_| choose(&states, None, at(500), random()) != Some(2)), "one trial at a time");
    }

    proptest! {
        #[test]
        fn some_endpoint_is_always_chosen_and_a_live_one_if_there_is_any(
            kinds in prop::collection::vec((any::<bool>(), 0..5_u32), 1..9), except in prop::option::of(0..9_usize),
            random in any::<u64>(), now in 0..1_000_i64
        ) {
            let states: Vec<EndpointState> = kinds
                .iter()
                .map(|(ejected, in_flight)| {
                    let state = if *ejected { dead(at(0)) } else { EndpointState::default() };
                    EndpointState { in_flight: *in_flight, ..state }
                })
                .collect();
            let chosen = choose(&states, except, at(now), random).unwrap();
            let good = |index: usize| Some(index) != except && states[index].is_available(at(now));
            if (0..states.len()).any(good) {
                prop_assert!(good(chosen));
            } else if states.len() > 1 {
                prop_assert_ne!(Some(chosen), except);
            }
        }
    }

    #[test]
    fn nobody_is_chosen_from_nothing() {
        assert_eq!(choose(&[], None, at(0), 1), None);
        assert_eq!(choose(&loads(&[3]), Some(0), at(0), u64::MAX), Some(0));
    }
}

//! What the data plane says about itself: connections, refusals, upstream connects, health of its workers.
//!
//! Each worker writes its own counters, the reader adds them up. A count may be one request old, never torn.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::policy::Rejection;

/// Everything counted, summed over the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayStats {
    /// Per listener, in the order of the configuration.
    pub listeners: Vec<ListenerStats>,
    /// Per worker.
    pub workers: Vec<WorkerStats>,
    /// Requests refused before they reached a route, by reason, all reasons in their order.
    pub rejected: Vec<(&'static str, u64)>,
    /// Requests whose head or body was so malformed that the connection ended.
    pub malformed: u64,
    /// HTTP/1.1 connections that are idle and hold no buffers.
    pub parked: u64,
    /// Connections ended because a head took longer than the header time-out.
    pub header_timeouts: u64,
    /// Connections ended because their client took nothing for the idle time-out.
    pub stalled_clients: u64,
    /// TLS handshakes that failed.
    pub tls_failures: u64,
    /// Failures to accept a connection, for want of file descriptors for example.
    pub accept_failures: u64,
    /// Connections made to upstreams.
    pub upstream_connects: u64,
    /// Connections to upstreams that failed or timed out.
    pub upstream_connect_failures: u64,
    /// Requests repeated on another connection or endpoint because the first took nothing of them.
    pub upstream_retries: u64,
    /// Idle upstream connections kept.
    pub upstream_idle: u64,
    /// Tunnels (WebSocket) opened.
    pub tunnels: u64,
    /// Panics that ended one connection or request each.
    pub panics: u64,
}

/// Counts of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStats {
    /// Its name.
    pub name: String,
    /// The address it is bound to.
    pub address: SocketAddr,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once because `connections_max` were open.
    pub refused: u64,
}

/// Counts of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerStats {
    /// Whether its thread runs. A dead worker takes no new connections; the others share its part.
    pub alive: bool,
    /// Open client connections.
    pub connections: u64,
    /// Requests being served.
    pub running: u64,
    /// Requests routed since the start.
    pub requests: u64,
}

impl GatewayStats {
    /// Whether every worker's thread runs.
    pub fn is_healthy(&self) -> bool {
        self.workers.iter().all(|worker| worker.alive)
    }

    /// Open client connections.
    pub fn connections(&self) -> u64 {
        self.workers.iter().map(|worker| worker.connections).sum()
    }
}

/// A counter with one writer: the worker it belongs to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn up(&self) {
        self.0.store(self.get().wrapping_add(1), Ordering::Relaxed);
    }
    pub(crate) fn down(&self) {
        self.0.store(self.get().saturating_sub(1), Ordering::Relaxed);
    }
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerCounts {
    pub(crate) alive: AtomicBool,
    pub(crate) connections: Count,
    pub(crate) running: Count,
    pub(crate) requests: Count,
    pub(crate) rejected: [Count; Rejection::COUNT],
    pub(crate) malformed: Count,
    pub(crate) parked: Count,
    pub(crate) header_timeouts: Count,
    pub(crate) stalled_clients: Count,
    pub(crate) tls_failures: Count,
    pub(crate) accept_failures: Count,
    pub(crate) upstream_connects: Count,
    pub(crate) upstream_connect_failures: Count,
    pub(crate) upstream_retries: Count,
    pub(crate) upstream_idle: Count,
    pub(crate) tunnels: Count,
    pub(crate) panics: Count,
    /// Accepted and refused, per listener.
    pub(crate) listeners: Vec<(Count, Count)>,
}

impl WorkerCounts {
    pub(crate) fn new(listeners: usize) -> Self {
        Self { listeners: (0..listeners).map(|_| Default::default()).collect(), ..Self::default() }
    }

    pub(crate) fn reject(&self, rejection: Rejection) {
        if let Some(count) = self.rejected.get(rejection as usize) {
            count.up();
        }
    }
}

/// Adds up what the workers counted.
pub(crate) fn sum<'a>(
    listeners: impl Iterator<Item = (&'a str, SocketAddr)>,
    workers: impl Iterator<Item = &'a WorkerCounts> + Clone,
) -> GatewayStats {
    let total = |field: fn(&WorkerCounts) -> &Count| workers.clone().map(|w| field(w).get()).sum::<u64>();
    let listener = |(index, (name, address)): (usize, (&str, SocketAddr))| {
        let counts = workers.clone().filter_map(|w| w.listeners.get(index));
        let (accepted, refused) = counts.fold((0, 0), |(a, r), (more_a, more_r)| (a + more_a.get(), r + more_r.get()));
        ListenerStats { name: name.to_owned(), address, accepted, refused }
    };
    let worker = |w: &WorkerCounts| WorkerStats {
        alive: w.alive.load(Ordering::Acquire),
        connections: w.connections.get(),
        running: w.running.get(),
        requests: w.requests.get(),
    };
    let rejected = |r: Rejection| {
        (r.label(), workers.clone().filter_map(|w| w.rejected.get(r as usize)).map(Count::get).sum::<u64>())
    };
    GatewayStats {
        listeners: listeners.enumerate().map(listener).collect(),
        workers: workers.clone().map(worker).collect(),
        rejected: Rejection::ALL.into_iter().map(rejected).collect(),
        malformed: total(|w| &w.malformed),
        parked: total(|w| &w.parked),
        header_timeouts: total(|w| &w.header_timeouts),
        stalled_clients: total(|w| &w.stalled_clients),
        tls_failures: total(|w| &w.tls_failures),
        accept_failures: total(|w| &w.accept_failures),
        upstream_connects: total(|w| &w.upstream_connects),
        upstream_connect_failures: total(|w| &w.upstream_connect_failures),
        upstream_retries: total(|w| &w.upstream_retries),
        upstream_idle: total(|w| &w.upstream_idle),
        tunnels: total(|w| &w.tunnels),
        panics: total(|w| &w.panics),
    }
}

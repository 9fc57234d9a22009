//! What the kernel sees of each service on this machine, second by second: a strip of ten minutes for who explains incidents.
//!
//! ```text
//! endpoints of the configuration ── who listens there? ──▶ processes of each version
//!                                                            │ each second
//! /proc: processor time, TCP segments ───────────────────────┤
//! programs in the kernel: waits for a CPU, connections ──────┴──▶ strip ──▶ /metrics, explaining
//! ```
//!
//! Only services whose endpoints are served by processes of this machine have a strip. What programs in the kernel count is
//! absent where this program was built without them or the kernel refuses them; the rest needs no privileges.
//!
//! Not here: what a strip means (`explain-cause`), which side of an incident a second stands for (`explaining`).
//! Invariants: nobody waits for this role; its memory is bounded by the strip; it measures what it costs and counts a smaller
//! part of the time when that is too much.

mod governor;
mod metrics;
mod sampling;
mod strip;
mod whereabouts;

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc::RecvTimeoutError},
    time::{Duration, Instant},
};

use homeostat_gateway_route::spec::{Endpoint, ServiceSpec, VersionSpec};
use homeostat_model::{ServiceName, VersionName};

use self::sampling::Sampling;
pub(super) use self::{
    governor::{Cost, Governor},
    metrics::metrics,
    strip::{KernelStrips, Second},
    whereabouts::Whereabouts,
};
use super::{
    clock::Clock,
    shared::{Shared, lock},
    stop::Watching,
};
use crate::config::CheckedConfig;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);

/// Where a version of a service answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Served {
    pub(crate) service: ServiceName,
    pub(crate) version: VersionName,
    pub(crate) endpoint: SocketAddr,
}

/// Everywhere that versions of a configuration answer.
pub(super) fn served(config: &CheckedConfig) -> Vec<Served> {
    let of_service = |service: &ServiceSpec| {
        let name = service.name.clone();
        let of_version = move |version: &VersionSpec| {
            let (service, version_name) = (name.clone(), version.name.clone());
            let at = move |endpoint: &Endpoint| Served {
                service: service.clone(),
                version: version_name.clone(),
                endpoint: endpoint.address,
            };
            version.endpoints.iter().map(at).collect::<Vec<_>>()
        };
        service.versions.iter().flat_map(of_version).collect::<Vec<_>>()
    };
    config.gateway.services.iter().flat_map(of_service).collect()
}

/// Those of them whose requests the kernel is asked for.
pub(super) fn called(config: &CheckedConfig) -> Vec<Served> {
    let mut all = served(config);
    all.retain(|served| config.called.contains(&served.service));
    all
}

/// The role.
#[derive(Debug)]
pub(super) struct KernelStripRole(Watching);

impl KernelStripRole {
    /// Starts it on a thread of its own: reading the kernel's files blocks.
    pub(super) fn start(clock: Clock, shared: Arc<Shared>) -> std::io::Result<Self> {
        let watching = Watching::start("kernel-strip", move |stopped| {
            let mut sampling = Sampling::default();
            let mut due = Instant::now() + EVERY;
            while stopped.recv_timeout(due.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout)
            {
                let looked = sampling.look(clock.now(), &shared.served.load());
                lock(&shared.kernel).take_over(looked);
                due = next(due, Instant::now());
            }
        })?;
        Ok(Self(watching))
    }

    /// Ends it.
    pub(super) fn stop(self) {
        self.0.stop();
    }
}

/// When to look after a look that was due: in step with those before, and after one that came late a whole time later. Its cost
/// is a share of the time since the one before, which must not be short.
fn next(due: Instant, now: Instant) -> Instant {
    let in_step = due + EVERY;
    if now < in_step { in_step } else { now + EVERY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_comes_late_is_not_followed_by_another_at_once() {
        let due = Instant::now();
        let after = |ms: u64| (next(due, due + Duration::from_millis(ms)) - due).as_millis();
        assert_eq!([0, 400, 999, 1000, 1500, 7200].map(after), [1000, 1000, 1000, 2000, 2500, 8200]);
    }
}

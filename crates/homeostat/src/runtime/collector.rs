//! Reads the gateway's counters every tick and hands the differences to control.
//!
//! A thread of its own, so that neither a busy control-plane runtime nor a stuck disk delays it. It owns the only
//! cursor over the counters: reading is taking.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use homeostat_gateway_proxy::GatewayHandle;
use homeostat_model::outcome::TICK;

use super::{
    inbox::Inbox,
    shared::{Shared, lock},
};

/// The running collector; stops when told to and joined.
#[derive(Debug)]
pub(super) struct Collector {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Collector {
    /// Starts collecting from `gateway` into `inbox`, and adding up for `/metrics`.
    pub(super) fn start<M: Send + 'static>(
        gateway: GatewayHandle,
        inbox: Arc<Inbox<M>>,
        shared: Arc<Shared>,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || run(&gateway, &inbox, &shared, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Takes one last reading and ends.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the collector had ended by a panic; outcomes since then were not judged");
        }
    }
}

fn run<M>(gateway: &GatewayHandle, inbox: &Inbox<M>, shared: &Shared, stop: &AtomicBool) {
    let tick = Duration::from(TICK);
    let mut due = Instant::now() + tick;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        collect(gateway, inbox, shared);
        // A thread that overslept takes one reading for the time missed instead of several empty ones.
        due = (due + tick).max(Instant::now());
    }
    collect(gateway, inbox, shared);
}

fn collect<M>(gateway: &GatewayHandle, inbox: &Inbox<M>, shared: &Shared) {
    let mut deltas = Vec::new();
    gateway.collect(&mut deltas);
    if !deltas.is_empty() {
        lock(&shared.totals).add(&deltas);
    }
    inbox.push_tick(Instant::now(), deltas);
}

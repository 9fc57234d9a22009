//! Requests that services answer which are not behind the gateway, seen by the kernel and judged like the gateway's.
//!
//! ```text
//! `calls: kernel` ── who listens there? ──▶ processes ──▶ program in the kernel
//!                                                             │ 20 times a second
//! control's inbox ◀── outcomes by version ◀── calls ◀─────────┘
//! ```
//!
//! A call belongs to the version whose endpoint has its port. Nothing is loaded while no service wants it or none of its
//! processes is on this machine; while nobody counts, the time of the service's objectives is unmeasured.
//!
//! Not here: how calls are read (`calls`), what outcomes mean for objectives (`control`).
//! Invariants: nobody waits for this role; it measures what it costs and counts a smaller part of the time when that is too
//! much; what control did not take of unmeasured time is told again.

mod coverage;
mod following;
mod metrics;

use std::{
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use homeostat_sense_kernel::KernelCalls;

use self::following::Following;
pub(super) use self::metrics::{CallsState, metrics};
use super::{
    clock::Clock,
    inbox::Inbox,
    message::Message,
    shared::{Shared, lock},
    stop::join_within,
};

/// How often processes are looked for, and cost is weighed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long stopping waits: emptying the ring takes milliseconds, loading programs some hundred.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// The role.
#[derive(Debug)]
pub(super) struct KernelCallsRole {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl KernelCallsRole {
    /// Starts it on a thread of its own: the kernel's ring is emptied in time whatever else there is to do.
    pub(super) fn start(clock: Clock, shared: Arc<Shared>, inbox: Arc<Inbox<Message>>) -> std::io::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let thread = thread::Builder::new().name("kernel-calls".to_owned()).spawn(move || {
            let mut following = Following::default();
            let (mut look_at, mut wait) = (Instant::now(), Duration::ZERO);
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                hand_over(&mut following, &shared, &inbox);
                if look_at <= Instant::now() {
                    let wanted = shared.called.load();
                    let unmeasured = following.look(clock.now(), &wanted, &shared.spec.load());
                    following.put_back(tell(unmeasured, &inbox));
                    *lock(&shared.calls) = following.state();
                    look_at = Instant::now() + LOOK_EVERY;
                }
                let left = look_at.saturating_duration_since(Instant::now());
                wait = if following.counts() { left.min(KernelCalls::EVERY) } else { left };
            }
            hand_over(&mut following, &shared, &inbox);
            // Should control not take it, nobody is there to tell it again.
            let _refused = tell(following.rest(clock.now()), &inbox);
        })?;
        Ok(Self { stop, thread })
    }

    /// Takes a last reading and ends.
    pub(super) fn stop(self) {
        drop(self.stop);
        match join_within(self.thread, STOP_WAIT) {
            Some(Ok(())) => {}
            Some(Err(_)) => tracing::error!("whoever follows calls had ended by a panic"),
            None => tracing::warn!("whoever follows calls does not end and is left behind"),
        }
    }
}

fn hand_over(following: &mut Following, shared: &Shared, inbox: &Inbox<Message>) {
    let deltas = following.take();
    if !deltas.is_empty() {
        lock(&shared.totals).add(&deltas);
    }
    inbox.push_tick(Instant::now(), deltas);
}

/// Gives back what control did not take.
fn tell(unmeasured: coverage::Unmeasured, inbox: &Inbox<Message>) -> coverage::Unmeasured {
    if unmeasured.is_empty() {
        return unmeasured;
    }
    match inbox.push(Message::Unmeasured(unmeasured)) {
        Err(Message::Unmeasured(refused)) => refused,
        Ok(()) | Err(_) => coverage::Unmeasured::new(),
    }
}

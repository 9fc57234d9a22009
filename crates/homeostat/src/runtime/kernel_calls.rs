//! Requests that services answer which are not behind the gateway, seen by the kernel and judged like the gateway's.
//!
//! ```text
//! `calls: kernel` ── who listens there? ──▶ processes ──▶ program in the kernel
//!                                                             │ 20 times a second
//! control's inbox ◀── outcomes by version ◀── calls ◀─────────┘
//! ```
//!
//! A call belongs to the version at whose endpoint the process was found that answered it. Nothing is loaded while no service wants it or none of its
//! processes is on this machine; while nobody counts, the time of the service's objectives is unmeasured.
//!
//! Not here: how calls are read (`calls`), what outcomes mean for objectives (`control`).
//! Invariants: nobody waits for this role; it measures what it costs and counts a smaller part of the time when that is too
//! much; what control did not take of unmeasured time is told again.

mod coverage;
mod following;
mod metrics;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc::RecvTimeoutError},
    time::{Duration, Instant},
};

use homeostat_sense_kernel::{KernelCalls, thread_time};

use self::following::Following;
pub(super) use self::metrics::{CallsState, metrics};
use super::{
    clock::Clock,
    inbox::Inbox,
    kernel_strip::Whereabouts,
    message::Message,
    shared::{Shared, lock},
    stop::Watching,
};

/// How often processes are looked for, and cost is weighed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who answers where, as it was found last.
#[derive(Clone, Debug, Default)]
struct Found {
    processes: BTreeMap<SocketAddr, BTreeSet<u32>>,
    /// Time on a CPU that finding them took so far.
    spent: Duration,
}

/// The role: one thread searches for processes, which takes as long as there are many; the other one empties the kernel's ring in
/// time whatever else there is to do.
#[derive(Debug)]
pub(super) struct KernelCallsRole {
    searching: Watching,
    following: Watching,
}

impl KernelCallsRole {
    /// Starts it.
    pub(super) fn start(clock: Clock, shared: Arc<Shared>, inbox: Arc<Inbox<Message>>) -> std::io::Result<Self> {
        let found = Arc::new(Mutex::new(Found::default()));
        let (of_search, called) = (Arc::clone(&found), Arc::clone(&shared));
        let searching = Watching::start("calls-search", move |stopped| {
            let mut whereabouts = Whereabouts::default();
            let mut wait = Duration::ZERO;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                whereabouts.look(called.called.load().iter().map(|served| served.endpoint).collect());
                *lock(&of_search) = Found { processes: whereabouts.processes().clone(), spent: thread_time() };
                wait = LOOK_EVERY;
            }
        })?;
        let following = Watching::start("kernel-calls", move |stopped| {
            let mut following = Following::default();
            let (mut look_at, mut wait) = (Instant::now(), Duration::ZERO);
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                hand_over(&mut following, &shared, &inbox);
                if look_at <= Instant::now() {
                    let (wanted, found) = (shared.called.load(), lock(&found).clone());
                    let unmeasured = following.look(clock.now(), &wanted, &shared.spec.load(), &found);
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
        Ok(Self { searching, following })
    }

    /// Takes a last reading and ends.
    pub(super) fn stop(self) {
        self.following.stop();
        self.searching.stop();
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

//! Looks into incidents: holds profiles of the programs that the configuration names, and says what changed and why.
//!
//! ```text
//! targets of scraping (found) ─┐
//! configuration ───────────────┴─▶ which programs, and how much memory (programs)
//!                                                        │
//! programs ── /debug/pprof, or the kernel's samples, window after window ──▶ ring of ten minutes each (watch, kernel)
//!                                                        │
//! control ── incident opened ──▶ both sides are measured for longer (capture)
//!                                                        │ sides · shapes of the black box · changes · dependencies
//!                                                        ▼
//! control ◀── Message::Explained ◀── explain-profile, explain-cause (conclude)
//! ```
//!
//! Profiles are taken before anything breaks: a canary that was taken back after 150 ms shows nothing afterwards.
//!
//! Not here: what a profile means (`explain-profile`), which cause is likely (`explain-cause`), keeping incidents (control).
//! Invariants: nobody waits for this role; an incident that goes without an explanation is told; memory is bounded by rings;
//! what is kept is redacted before it enters a ring.

mod admission;
mod capture;
mod conclude;
mod dependencies;
mod found;
mod kernel;
mod numbers;
mod programs;
mod shapes;
mod sides;
mod strips;
#[cfg(test)]
mod testing;
mod watch;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use homeostat_model::incident::Incident;
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use self::{
    admission::{Admission, Admitted},
    capture::capture,
    conclude::{Found, Known, conclude},
    dependencies::Called,
    programs::Programs,
    sides::Held,
};
pub(super) use self::{found::Discovered, programs::ProfilingState};
use super::{
    agent::rss_bytes,
    clock::Clock,
    inbox::Inbox,
    late::LateParts,
    message::Message,
    shared::{Shared, lock},
};
use crate::cases;

/// Incidents on their way here. They are taken as fast as they come; 64 are a burst between two turns of the scheduler.
const WAITING_MAX: usize = 64;
/// Incidents concluded at a time, on threads of their own: each unpacks the windows of its service, some 100 MiB at most.
const AT_A_TIME: usize = 4;
/// How often the configuration is looked at.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// How often control is asked again to take an explanation.
const HAND_OVER_TRIES: u32 = 60;

/// Where opened incidents are told.
pub(super) type Opened = mpsc::Sender<Box<Incident>>;

/// The role.
#[derive(Debug)]
pub(super) struct Explaining {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What it needs.
#[derive(Clone, Debug)]
pub(super) struct ExplainingParts {
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox<Message>>,
    pub(super) late: Arc<LateParts>,
    /// The data directory, for the user's own cases.
    pub(super) dir: PathBuf,
}

impl Explaining {
    /// Starts it on the present runtime.
    pub(super) fn start(parts: ExplainingParts) -> Self {
        let (opened, incidents) = mpsc::channel(WAITING_MAX);
        // A process has one such role.
        let _second_role = parts.shared.opened.set(opened);
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(run(parts, incidents, stop.clone())), stop }
    }

    /// Ends it; what is under way is given up.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(problem) = self.task.await {
            tracing::error!(%problem, "whoever explains incidents had ended early");
        }
    }
}

async fn run(parts: ExplainingParts, mut incidents: mpsc::Receiver<Box<Incident>>, stop: CancellationToken) {
    let mut programs = Programs::new(parts.clock, stop.child_token());
    let mut under_way = JoinSet::new();
    let (mut admission, turns) = (Admission::new(parts.clock.now()), Arc::new(Semaphore::new(AT_A_TIME)));
    let called = Arc::new(Mutex::new(Called::default()));
    let mut follow = interval(FOLLOW_EVERY);
    follow.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = follow.tick() => {
                arrange(&mut programs, &parts.shared);
                let depends_on = parts.shared.depends_on.load();
                lock(&called).look(parts.clock.now(), depends_on.values().flatten(), &lock(&parts.shared.totals));
            }
            Some(incident) = incidents.recv() => {
                match admission.ask(&incident, parts.clock.now(), under_way.len()) {
                    Admitted::Yes => {
                        let of_all = (programs.held(), Arc::clone(&called));
                        under_way.spawn(look_into(parts.clone(), incident, of_all, Arc::clone(&turns)));
                    }
                    Admitted::No(why) => tracing::warn!(incident = %incident.id, why, "not explained"),
                    Admitted::Known => {}
                }
            }
            Some(ended) = under_way.join_next(), if !under_way.is_empty() => {
                if let Err(problem) = ended {
                    tracing::error!(%problem, "an incident could not be explained; this is our fault, please report it");
                }
            }
        }
    }
    under_way.shutdown().await;
    programs.stop().await;
}

/// Has profiles taken of the programs that the configuration in force names, or that scraping finds.
fn arrange(programs: &mut Programs, shared: &Shared) {
    let (sought, discovered) = (shared.sought.load(), shared.discovered.load());
    let mut wanted = found::programs(&sought, &discovered, |program| programs.is_watched(program));
    wanted.extend(shared.profiled.load().iter().map(|program| (program.clone(), Arc::default())));
    let limits = **shared.sensing.load();
    let rss_bytes = rss_bytes();
    programs.arrange(wanted, limits, rss_bytes);
    *lock(&shared.profiling) = programs.state(limits, rss_bytes);
}

/// Waits for evidence, concludes, and tells control.
async fn look_into(
    parts: ExplainingParts,
    incident: Box<Incident>,
    (mut held, called): (Vec<Held>, Arc<Mutex<Called>>),
    turns: Arc<Semaphore>,
) {
    held.retain(|held| held.profiled.service == incident.service);
    let missing = capture(&incident.subject, incident.opened_at, &held, parts.clock).await;
    // Waiting costs nothing, concluding does. The semaphore is never closed; without a turn it would be concluded all the same.
    let turn = turns.acquire_owned().await.ok();
    let (id, clock, shared) = (incident.id, parts.clock, Arc::clone(&parts.shared));
    let (journal, dir) = (parts.late.journal().cloned(), parts.dir.clone());
    let concluding = tokio::task::spawn_blocking(move || {
        // The journal is let go before anything that takes time: whoever stops the process closes it.
        let (black_box, latest) =
            journal.map_or((None, None), |journal| (journal.black_box(id).ok().flatten(), journal.incident(id)));
        // While it was measured the loop went on: the record says by now when harm ended.
        let incident = latest.map_or(incident, Box::new);
        let _held_until_concluded = turn;
        let strips = lock(&shared.kernel).of(&incident.service);
        let spec = shared.spec.load();
        let depends_on = shared.depends_on.load().get(&incident.service).cloned().unwrap_or_default();
        let dependencies = lock(&called).of(&depends_on, incident.began_at, &spec);
        let is_profiled = shared.is_profiled(&incident.service);
        let known = Known { spec: &spec, cases: cases::all(&dir), strips, dependencies, is_profiled };
        conclude(&incident, black_box.as_ref(), &held, known, clock.now())
    });
    let Found { mut explanation, profiles, kernel } = match concluding.await {
        Ok(found) => found,
        Err(problem) => {
            tracing::error!(incident = %id, %problem, "an incident could not be explained; this is our fault, please report it");
            return;
        }
    };
    explanation.missing.extend(missing);
    let named = explanation.hypotheses.first().map_or("not enough evidence", |cause| cause.title.as_str());
    tracing::info!(incident = %id, cause = named, "explained");
    let mut message = Message::Explained { incident: id, explanation: Box::new(explanation), profiles, kernel };
    for _ in 0..HAND_OVER_TRIES {
        match parts.inbox.push(message) {
            Ok(()) => return,
            Err(refused) => message = refused,
        }
        sleep(Duration::from_secs(1)).await;
    }
    tracing::error!(incident = %id, "control takes nothing; the explanation is lost");
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Instant};

    use homeostat_api::backend::ConfigStatus;
    use homeostat_model::{IncidentId, Timestamp};

    use super::{testing::burning, *};

    fn parts(dir: &std::path::Path) -> ExplainingParts {
        let clock = Clock::start(None);
        let shared = Shared::new(ConfigStatus {
            generation: 1,
            accepted_at: clock.now(),
            problems: Vec::new(),
            notes: Vec::new(),
            rejected_at: None,
        });
        let late = LateParts::new(dir.to_owned(), Vec::new(), String::new());
        ExplainingParts {
            clock,
            shared: Arc::new(shared),
            inbox: Arc::default(),
            late: Arc::new(late),
            dir: dir.to_owned(),
        }
    }

    /// Time is tokio's: it jumps whenever all wait for it.
    #[tokio::test(start_paused = true)]
    async fn incidents_that_come_at_once_are_all_explained() {
        let dir = tempfile::tempdir().unwrap();
        let parts = parts(dir.path());
        let role = Explaining::start(parts.clone());
        let count = 5 * AT_A_TIME as u64;
        let now: Timestamp = parts.clock.now();
        for id in 1..=count {
            parts.shared.tell_opened(Box::new(Incident { id: IncidentId(id), ..burning("shop", "shop-slow", now) }));
        }
        let mut explained = BTreeSet::new();
        let until = tokio::time::Instant::now() + Duration::from_mins(1);
        while (explained.len() as u64) < count && tokio::time::Instant::now() < until {
            sleep(Duration::from_millis(100)).await;
            for message in parts.inbox.take(Instant::now()).messages {
                let Message::Explained { incident, .. } = message else { panic!("{message:?}") };
                explained.insert(incident.0);
            }
        }
        assert_eq!(explained, (1..=count).collect());
        role.stop().await;
    }
}

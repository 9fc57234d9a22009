//! Profiles in the metrics server: pushed in, pulled, kept, asked for.
//!
//! The store is opened beside everything else and tried again while its bucket does not answer; until then doors say so. No
//! bucket keeps metrics from being taken, nor the server from ending.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use homeostat_model::{Labels, TimeMs, error_chain::chain, profile::Profile};
use homeostat_sense_pprof::{Kind, ProfileSink, PullJob, Pulling, Storing};
use homeostat_sense_receive::{
    Durable, Intake, NotTaken, Receiver,
    profiles::{Novelty, ProfileIntake, ProfileReceiver, ProfileRefused},
};
use homeostat_sense_scrape::{
    discover::ReadGroups,
    fetch::now_ms,
    manager::{ActiveTarget, Targets, run_job},
    spec::Job,
};
use homeostat_store_objects::{Place, Waits};
use homeostat_store_profiles::{NotStored, OpenError, ProfileStore, Pushed, StoreOptions, Ticket, WindowId};
use homeostat_wire::exposition::{Exposition, FamilyKind};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::door::OPENING;
use crate::config::prometheus;

/// Folder of the profiles within the data directory.
const DIR: &str = "profiles";
/// In it: the log, and the objects unless they are elsewhere.
const LOG_DIR: &str = "log";
const OBJECTS_DIR: &str = "objects";

/// How long the start waits for the profiles: a directory is read in less, and what is pushed at once finds it open.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);
/// How often opening is tried again. A bucket that is gone has been tried for minutes already.
const REOPEN_EVERY: Duration = Duration::from_secs(10);

/// How profiles are kept.
#[derive(Debug, Default)]
pub struct ProfileOptions {
    /// Where objects are: a directory or a bucket; within the data directory when `None`.
    pub place: Option<String>,
    /// Settings of a bucket, as `AWS_ACCESS_KEY_ID`.
    pub settings: Vec<(String, String)>,
    /// How they are kept.
    pub store: StoreOptions,
    /// Whose profiles are pulled.
    pub jobs: Vec<Job>,
    /// Which kinds of them.
    pub kinds: Vec<Kind>,
}

/// The store as the receiver sees it, once it is open.
#[derive(Clone, Debug, Default)]
pub(super) struct ProfileDoor(pub(super) Arc<OnceLock<ProfileStore>>);

impl ProfileDoor {
    /// The store once it is open.
    fn open(&self) -> Result<&ProfileStore, NotTaken> {
        self.0.get().ok_or_else(|| NotTaken::Busy(OPENING.to_owned()))
    }
}

impl ProfileIntake for ProfileDoor {
    fn push_all(&self, profiles: &[(Labels, Profile)], now_ms: TimeMs) -> Result<Durable, ProfileRefused> {
        Ok(all_durable(self.open()?.push_all(profiles, now_ms).map_err(refused)?))
    }

    fn push_once(
        &self,
        window: WindowId,
        labels: &Labels,
        profile: &Profile,
        now_ms: TimeMs,
    ) -> Result<(Durable, Novelty), ProfileRefused> {
        Ok(match self.open()?.push_once(window, labels, profile, now_ms).map_err(refused)? {
            Pushed::Taken(ticket) => (all_durable([ticket]), Novelty::New),
            Pushed::Repeated(ticket) => (all_durable(ticket), Novelty::Repeated),
        })
    }
}

/// What a client is told of a profile that the store does not take.
fn refused(refused: NotStored) -> ProfileRefused {
    match refused {
        NotStored::Busy => ProfileRefused::Later(NotTaken::Busy(refused.to_string())),
        // The next two hours have room, senders that end are forgotten, and a time that is ahead comes.
        NotStored::Series { .. } | NotStored::Senders { .. } | NotStored::Ahead { .. } => {
            ProfileRefused::Full(refused.to_string())
        }
        NotStored::TooLarge { .. } => ProfileRefused::TooLarge(refused.to_string()),
        other => ProfileRefused::Bad(other.to_string()),
    }
}

fn all_durable(tickets: impl IntoIterator<Item = Ticket, IntoIter: Send + 'static>) -> Durable {
    let tickets = tickets.into_iter();
    Box::pin(async move {
        for ticket in tickets {
            let _durable = ticket.await.map_err(|error| NotTaken::Broken(chain(&error)))?;
        }
        Ok(())
    })
}

impl ProfileSink for ProfileDoor {
    fn push(&self, labels: &Labels, profile: &Profile, now_ms: TimeMs) -> Result<Storing, String> {
        let store = self.open().map_err(|refused| refused.to_string())?;
        let ticket = store.push(labels, profile, now_ms).map_err(|refused| refused.to_string())?;
        Ok(Box::pin(async move { ticket.await.map(drop).map_err(|error| chain(&error)) }))
    }
}

/// What is pushed, and what is kept.
#[derive(Debug)]
pub(super) struct Profiles {
    pub(super) door: ProfileDoor,
    pub(super) receiver: Arc<ProfileReceiver<ProfileDoor>>,
    /// Whose profiles are pulled.
    pulled: Targets,
}

impl Profiles {
    pub(super) fn beside<I: Intake>(receiver: &Receiver<I>) -> Self {
        let door = ProfileDoor::default();
        let receiver = ProfileReceiver::beside(receiver, Arc::new(door.clone()));
        Self { receiver, door, pulled: Targets::default() }
    }

    /// Appends metrics of intake and store.
    pub(super) fn metrics(&self, out: &mut String) {
        self.receiver.metrics(out);
        self.pull_metrics(out);
        let Some(stats) = self.door.0.get().map(ProfileStore::stats) else { return };
        let mut exposition = Exposition::new(out);
        for (name, help, value) in [
            ("homeostat_profile_shards_in_memory", "Shards of two hours in memory.", stats.shards as u64),
            (
                "homeostat_profile_memory_bytes",
                "Memory of profiles that are in no object yet.",
                stats.head_bytes as u64,
            ),
            ("homeostat_profile_senders", "Agents whose windows are known.", stats.senders as u64),
            ("homeostat_profile_objects", "Objects with profiles.", stats.blocks as u64),
            ("homeostat_profile_object_bytes", "Bytes of these objects.", stats.block_bytes),
            ("homeostat_profile_log_bytes", "Bytes of the log of profiles.", stats.log_bytes),
            (
                "homeostat_profile_log_failing",
                "1 while the disk refuses the log of profiles.",
                u64::from(stats.log_error.is_some()),
            ),
        ] {
            exposition.family(name, FamilyKind::Gauge, help).count(&[], value);
        }
        for (name, help, value) in [
            ("homeostat_profile_stored_total", "Profiles taken.", stats.pushed),
            (
                "homeostat_profile_repeated_total",
                "Windows of agents that had been taken before and did not count again.",
                stats.repeated,
            ),
            ("homeostat_profile_busy_total", "Profiles refused because there was no room.", stats.busy),
            ("homeostat_profile_objects_written_total", "Objects written.", stats.rolled),
            ("homeostat_profile_objects_expired_total", "Objects removed because they were too old.", stats.expired),
            ("homeostat_profile_damaged_total", "Damaged parts found, each once.", stats.damaged),
        ] {
            exposition.family(name, FamilyKind::Counter, help).count(&[], value);
        }
    }

    fn pull_metrics(&self, out: &mut String) {
        let mut exposition = Exposition::new(out);
        let jobs = self.pulled.view();
        let is_up = |target: &&ActiveTarget| target.status.up == Some(true);
        let mut family = exposition.family(
            "homeostat_profile_pull_targets",
            FamilyKind::Gauge,
            "Targets whose profiles are pulled, by whether the last pull gave all kinds.",
        );
        for (job, view) in &jobs {
            let up = view.active.iter().filter(is_up).count();
            family.count(&[("job", job), ("up", "true")], up as u64);
            family.count(&[("job", job), ("up", "false")], (view.active.len() - up) as u64);
        }
        let panics = jobs.iter().map(|(_, view)| view.panics).sum();
        let help = "Pulls that ended by a mistake of this program.";
        exposition.family("homeostat_profile_pull_panics_total", FamilyKind::Counter, help).count(&[], panics);
    }
}

/// What is needed to open the store and to pull.
#[derive(Debug)]
pub(super) struct Prepared {
    dir: PathBuf,
    place: Place,
    store: StoreOptions,
    jobs: Vec<Job>,
    kinds: Vec<Kind>,
}

/// Looks at what the configuration says, without asking a bucket.
pub(super) fn prepare(dir: &Path, options: ProfileOptions) -> Result<Prepared, OpenError> {
    let dir = dir.join(DIR);
    let place = if let Some(url) = &options.place {
        Place::open(url, options.settings, Waits::default())?
    } else {
        let objects = dir.join(OBJECTS_DIR);
        Place::directory(&objects, &objects.display().to_string())?
    };
    Ok(Prepared { dir, place, store: options.store, jobs: options.jobs, kinds: options.kinds })
}

impl Prepared {
    /// Opens the store, for as long as it takes. `None` when the server stops before: then the thread that opens is left
    /// behind, because nothing ends one that waits for a disk or a bucket. What it opens is dropped at once, and the end of
    /// the process ends it.
    async fn open(&self, stop: &CancellationToken) -> Option<ProfileStore> {
        let mut told = String::new();
        loop {
            let (log, place, options) = (self.dir.join(LOG_DIR), self.place.clone(), self.store.clone());
            let runtime = tokio::runtime::Handle::current();
            let open = move || ProfileStore::open(&log, place, options, runtime, now_ms());
            match stop.run_until_cancelled(tokio::task::spawn_blocking(open)).await? {
                Ok(Ok((store, found))) => {
                    let dir = self.dir.display();
                    tracing::info!(profiles = found.profiles, objects = found.blocks, "opened {dir}");
                    return Some(store);
                }
                Ok(Err(error)) => {
                    let text = chain(&error);
                    if told != text {
                        tracing::error!(error = text, "no profiles are kept for now; opening them is tried again");
                        told = text;
                    }
                }
                Err(_panicked) => {
                    tracing::error!("opening the profiles has failed; this is our fault, please report it");
                    return None;
                }
            }
            stop.run_until_cancelled(sleep(REOPEN_EVERY)).await?;
        }
    }

    /// Opens the store, looks after it and pulls, until the server stops.
    async fn keep(self, door: ProfileDoor, pulled: Targets, stop: CancellationToken, opened: oneshot::Sender<()>) {
        let Some(store) = self.open(&stop).await else { return };
        // A second store would be our own mistake; the first one stays.
        drop(door.0.set(store.clone()));
        // Nobody may wait any more.
        let _nobody = opened.send(());
        let pulling = Arc::new(Pulling { job: PullJob { kinds: self.kinds }, sink: Arc::new(door) });
        let pull = |job: Job| {
            let read: ReadGroups = Arc::new(prometheus::target_groups);
            let (pulling, targets, stop) = (Arc::clone(&pulling), pulled.clone(), stop.clone());
            async move {
                let name = job.name.clone();
                if let Err(error) = run_job(Arc::new(job), read, pulling, targets, stop, CancellationToken::new()).await
                {
                    tracing::error!(job = name, error = chain(&error), "the job's profiles are not pulled");
                }
            }
        };
        // A set: they end with this task, if that is aborted.
        let mut pulls: JoinSet<()> = self.jobs.into_iter().map(pull).collect();
        store.run(stop).await;
        // A panicked task has told so already.
        while pulls.join_next().await.is_some() {}
    }
}

/// Looks after the store while the server runs.
#[derive(Debug)]
pub(super) struct Keeping {
    door: ProfileDoor,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeping {
    /// Begins, and waits for a store that opens soon.
    pub(super) async fn start(prepared: Prepared, profiles: &Profiles) -> Self {
        let (stop, door) = (CancellationToken::new(), profiles.door.clone());
        let (opened, is_open) = oneshot::channel();
        let task = tokio::spawn(prepared.keep(door.clone(), profiles.pulled.clone(), stop.clone(), opened));
        drop(timeout(OPEN_PATIENCE, is_open).await);
        Self { door, stop, task }
    }

    /// Gives the number of profiles that did not reach the disk in time. What is on its way to a bucket stays in the log.
    /// Takes `wait` at most, of which the log has half at least: a bucket that hangs must not cost what is acknowledged.
    pub(super) async fn stop(mut self, wait: Duration) -> usize {
        let deadline = Instant::now() + wait;
        self.stop.cancel();
        if timeout_at(deadline - wait / 2, &mut self.task).await.is_err() {
            tracing::warn!("profiles are still on their way to their bucket; they stay in the log");
            self.task.abort();
            // It ends where it waits. A thread that sends an object goes on until the process ends.
            let _aborted = self.task.await;
        }
        let Some(store) = self.door.0.get().cloned() else { return 0 };
        let left = deadline.saturating_duration_since(Instant::now());
        let closed = tokio::task::spawn_blocking(move || store.close(left)).await;
        closed.map_or(0, |closed| closed.err().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_will_never_be_taken_is_refused_for_good() {
        let later = |refused| matches!(refused, ProfileRefused::Full(_) | ProfileRefused::Later(_));
        assert!(later(refused(NotStored::Ahead { started_ms: 7 })), "a clock that is ahead is set some day");
        assert!(later(refused(NotStored::Busy)) && later(refused(NotStored::Senders { limit: 7 })));
        assert!(matches!(refused(NotStored::Late { started_ms: 7 }), ProfileRefused::Bad(_)));
        assert!(matches!(refused(NotStored::TooLarge { bytes: 7 }), ProfileRefused::TooLarge(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn keeping_that_hangs_is_over_within_its_time() {
        let held = Arc::new(());
        let hangs = Arc::clone(&held);
        let task = tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(hangs);
        });
        let began = Instant::now();
        let keeping = Keeping { door: ProfileDoor::default(), stop: CancellationToken::new(), task };
        assert_eq!(keeping.stop(Duration::from_secs(10)).await, 0);
        assert_eq!(Arc::strong_count(&held), 1, "the task is gone, and what it held with it");
        assert!(began.elapsed() <= Duration::from_secs(10), "paused time: {:?}", began.elapsed());
    }
}

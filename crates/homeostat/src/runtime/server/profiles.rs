//! Profiles in the metrics server: pushed in, kept, asked for.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use homeostat_model::{Labels, TimeMs, error_chain::chain, profile::Profile};
use homeostat_sense_pprof::{Kind, ProfileSink, PullJob, Pulling, Storing};
use homeostat_sense_receive::{
    Intake, NotTaken, Receiver,
    profiles::{ProfileIntake, ProfileReceiver, ProfileRefused},
};
use homeostat_sense_scrape::{
    discover::ReadGroups,
    manager::{Targets, run_job},
    spec::Job,
};
use homeostat_store_objects::{Place, Waits};
use homeostat_store_profiles::{NotStored, OpenError, ProfileStore, StoreOptions};
use homeostat_wire::exposition::{Exposition, FamilyKind};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::door::OPENING;
use crate::config::prometheus;

/// Folder of the profiles within the data directory.
const DIR: &str = "profiles";
/// In it: the log, and the objects unless they are elsewhere.
const LOG_DIR: &str = "log";
const OBJECTS_DIR: &str = "objects";

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

impl ProfileIntake for ProfileDoor {
    fn push(
        &self,
        labels: &Labels,
        profile: &Profile,
        now_ms: TimeMs,
    ) -> Result<homeostat_sense_receive::Durable, ProfileRefused> {
        let store = self.0.get().ok_or_else(|| NotTaken::Busy(OPENING.to_owned()))?;
        let ticket = store.push(labels, profile, now_ms).map_err(|refused| match refused {
            NotStored::Busy => ProfileRefused::Later(NotTaken::Busy(refused.to_string())),
            other => ProfileRefused::Bad(other.to_string()),
        })?;
        Ok(Box::pin(async { ticket.await.map(drop).map_err(|error| NotTaken::Broken(chain(&error))) }))
    }
}

/// Why a profile is not stored, in words.
impl ProfileSink for ProfileDoor {
    fn push(&self, labels: &Labels, profile: &Profile, now_ms: TimeMs) -> Storing {
        let taken = ProfileIntake::push(self, labels, profile, now_ms).map_err(|refused| refused.to_string());
        Box::pin(async move { taken?.await.map_err(|error| error.to_string()) })
    }
}

/// What is pushed, and what is kept.
#[derive(Debug)]
pub(super) struct Profiles {
    pub(super) door: ProfileDoor,
    pub(super) receiver: Arc<ProfileReceiver<ProfileDoor>>,
}

impl Profiles {
    pub(super) fn beside<I: Intake>(receiver: &Receiver<I>) -> Self {
        let door = ProfileDoor::default();
        Self { receiver: ProfileReceiver::beside(receiver, Arc::new(door.clone())), door }
    }

    /// Appends metrics of intake and store.
    pub(super) fn metrics(&self, out: &mut String) {
        self.receiver.metrics(out);
        let Some(stats) = self.door.0.get().map(ProfileStore::stats) else { return };
        let mut exposition = Exposition::new(out);
        for (name, help, value) in [
            ("homeostat_profile_shards_in_memory", "Shards of two hours in memory.", stats.shards as u64),
            (
                "homeostat_profile_memory_bytes",
                "Memory of profiles that are in no object yet.",
                stats.head_bytes as u64,
            ),
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
            ("homeostat_profile_busy_total", "Profiles refused because there was no room.", stats.busy),
            ("homeostat_profile_objects_written_total", "Objects written.", stats.rolled),
            ("homeostat_profile_objects_expired_total", "Objects removed because they were too old.", stats.expired),
            ("homeostat_profile_damaged_total", "Damaged parts found, each once.", stats.damaged),
        ] {
            exposition.family(name, FamilyKind::Counter, help).count(&[], value);
        }
    }
}

/// Opens the store on the calling thread.
pub(super) fn open(
    dir: &Path,
    options: ProfileOptions,
    runtime: tokio::runtime::Handle,
    now_ms: TimeMs,
) -> Result<ProfileStore, OpenError> {
    let dir = dir.join(DIR);
    let place = if let Some(url) = &options.place {
        Place::open(url, options.settings, Waits::default())?
    } else {
        let objects = dir.join(OBJECTS_DIR);
        Place::directory(&objects, &objects.display().to_string())?
    };
    let (store, found) = ProfileStore::open(&dir.join(LOG_DIR), place, options.store, runtime, now_ms)?;
    tracing::info!(profiles = found.profiles, objects = found.blocks, "opened {}", dir.display());
    if 0 < found.unreadable {
        tracing::error!(records = found.unreadable, "records of the log of profiles cannot be read and are left out");
    }
    Ok(store)
}

/// Looks after the store while the server runs.
#[derive(Debug)]
pub(super) struct Keeping {
    store: ProfileStore,
    stop: CancellationToken,
    task: JoinHandle<()>,
    pulls: Vec<JoinHandle<()>>,
}

impl Keeping {
    pub(super) fn start(store: ProfileStore, door: &ProfileDoor, jobs: Vec<Job>, kinds: Vec<Kind>) -> Self {
        // A second store would be our own mistake; the first one stays.
        drop(door.0.set(store.clone()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(store.clone().run(stop.clone()));
        let pulling = Arc::new(Pulling { job: PullJob { kinds }, sink: Arc::new(door.clone()) });
        let targets = Targets::default();
        let pull = |job: Job| {
            let read: ReadGroups = Arc::new(prometheus::target_groups);
            let (pulling, targets, stop) = (Arc::clone(&pulling), targets.clone(), stop.clone());
            tokio::spawn(async move {
                let name = job.name.clone();
                if let Err(error) = run_job(Arc::new(job), read, pulling, targets, stop, CancellationToken::new()).await
                {
                    tracing::error!(job = name, error = chain(&error), "the job's profiles are not pulled");
                }
            })
        };
        let pulls = jobs.into_iter().map(pull).collect();
        Self { store, stop, task, pulls }
    }

    /// Gives the number of profiles that did not reach the disk in time.
    pub(super) async fn stop(self, timeout: Duration) -> usize {
        self.stop.cancel();
        // A panicked task has told so already.
        drop(self.task.await);
        for pull in self.pulls {
            drop(pull.await);
        }
        let store = self.store;
        let closed = tokio::task::spawn_blocking(move || store.close(timeout)).await;
        closed.map_or(0, |closed| closed.err().unwrap_or(0))
    }
}

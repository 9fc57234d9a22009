//! A destination: its settings, its queue and its lanes.

use std::{
    panic::AssertUnwindSafe,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use homeostat_model::TimeMs;
use homeostat_relabel::Rule;
use homeostat_store_wal::{Disk, Full, Ticket};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    batch::RelayBatch,
    carrier::{Carrier, Version},
    counters::Counters,
    lane::{Lane, LaneParts},
    limits::{AGE_MAX, LANES, QUEUE_BYTES_MAX},
    queue::{OpenError, Queue},
};

/// What is sent to a destination and how; the defaults are Prometheus'.
#[derive(Clone, Debug, PartialEq)]
pub struct RelaySpec {
    /// Name in metrics and of its folder; unique.
    pub name: String,
    /// Address in metrics, without secrets.
    pub url: String,
    /// What is spoken.
    pub version: Version,
    /// Labels that every series gets unless it has them.
    pub external_labels: Vec<(String, String)>,
    /// Rewrites and chooses series.
    pub relabel: Arc<[Rule]>,
    /// Whether native histograms are sent; always with version 2.0.
    pub native_histograms: bool,
    /// Samples of a request at most; at least 1.
    pub samples_per_send_max: usize,
    /// How long a request waits to be filled.
    pub batch_deadline: Duration,
    /// Requests under way at once, at most [`LANES`].
    pub concurrency: usize,
    /// First wait before a request is sent again.
    pub backoff_min: Duration,
    /// Longest such wait.
    pub backoff_max: Duration,
    /// Bytes of the log.
    pub queue_bytes_max: u64,
    /// Age beyond which samples are not sent.
    pub age_max: Duration,
}

impl RelaySpec {
    /// A destination with defaults.
    pub fn named(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            version: Version::V1,
            external_labels: Vec::new(),
            relabel: Arc::from([]),
            native_histograms: false,
            samples_per_send_max: 2000,
            batch_deadline: Duration::from_secs(5),
            concurrency: LANES,
            backoff_min: Duration::from_millis(30),
            backoff_max: Duration::from_secs(5),
            queue_bytes_max: QUEUE_BYTES_MAX,
            age_max: AGE_MAX,
        }
    }
}

/// A destination at work.
#[derive(Debug)]
pub struct Relay {
    spec: Arc<RelaySpec>,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
}

impl Relay {
    /// Opens the queue in `dir`, made if need be.
    pub fn open(spec: RelaySpec, dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let counters = Arc::new(Counters::default());
        let queue = Queue::open(dir, disk, spec.queue_bytes_max, Arc::clone(&counters))?;
        Ok(Self { spec: Arc::new(spec), queue: Arc::new(queue), counters })
    }

    /// Begins what one write brings.
    pub fn begin(&self) -> RelayBatch<'_> {
        RelayBatch::new(&self.spec, now_ms())
    }

    /// Says beforehand whether `len` bytes would be taken. What is committed after a yes is taken, however much it became
    /// by relabelling; who asks and commits by turns goes beyond the limit by one batch at most.
    pub fn room(&self, len: usize) -> Result<(), Full> {
        self.queue.room(len)
    }

    /// Queues what a write brought; it is durable when the ticket says so. Batches of one series must come in the order
    /// of their samples. When the log is full the oldest records go. Refused only while the log is being closed.
    pub fn commit(&self, batch: RelayBatch<'_>) -> Result<Option<Ticket>, Full> {
        self.queue.push(batch.into_records())
    }

    /// Sends until `stop`; what is under way is given up then, and sent again by the next run. Lanes that the disk holds up
    /// are waited for as long as `patience`; gives false when some of them had not ended by then.
    pub async fn run(&self, carrier: Arc<dyn Carrier>, stop: CancellationToken, patience: Duration) -> bool {
        let places = Arc::new(Semaphore::new(self.spec.concurrency.clamp(1, LANES)));
        let mut lanes = JoinSet::new();
        for number in 0..LANES {
            let tended = Tended(LaneParts {
                number,
                spec: Arc::clone(&self.spec),
                queue: Arc::clone(&self.queue),
                counters: Arc::clone(&self.counters),
                carrier: Arc::clone(&carrier),
                places: Arc::clone(&places),
            });
            lanes.spawn(tended.run(stop.clone()));
        }
        stop.cancelled().await;
        let all = async { while lanes.join_next().await.is_some() {} };
        tokio::time::timeout(patience, all).await.is_ok()
    }

    /// Says what a person should know who asks how the process is; `None` when there is nothing.
    pub fn trouble(&self) -> Option<String> {
        let times = self.counters.panics();
        (times > 0).then(|| {
            let name = &self.spec.name;
            format!(
                "a sender of the destination `{name}` ended {times} times by a fault of ours, and was started again"
            )
        })
    }

    /// Ends the log; gives the number of records that did not reach the disk in time.
    pub fn close(&self, timeout: Duration) -> Result<(), usize> {
        self.queue.close(timeout)
    }

    /// Appends the metrics of destinations in the Prometheus text format 0.0.4.
    pub fn metrics(relays: &[Arc<Self>], out: &mut String) {
        let all: Vec<_> = relays
            .iter()
            .map(|relay| {
                (relay.spec.name.as_str(), relay.spec.url.as_str(), relay.counters.as_ref(), relay.queue.bytes())
            })
            .collect();
        Counters::write(&all, out);
    }
}

/// A lane that is started again when it panics.
struct Tended(LaneParts);

impl Tended {
    /// Runs the lane until `stop`. When it panics, that is told, and it goes on as after a crash: what was under way is sent
    /// again. A record that nobody survives holds up its lane, not the others.
    async fn run(self, stop: CancellationToken) {
        loop {
            let work = TaskTracker::new();
            // What a panic leaves half-done is the lane's own memory, which is forgotten with it, and counters.
            let ended =
                AssertUnwindSafe(Lane::new(self.0.clone(), work.clone()).run(stop.clone())).catch_unwind().await;
            // A note that is being written belongs to this run: the next one must not find it half-way.
            work.close();
            work.wait().await;
            let Err(panic) = ended else { return };
            let said = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
            let said = said.unwrap_or("it says nothing");
            self.0.counters.panicked();
            tracing::error!(
                remote = self.0.spec.name,
                lane = self.0.number,
                said,
                "a sender ended by a fault of ours; it is started again, please report it"
            );
            self.0.counters.trouble("a sender ended by a fault of ours");
            if stop.run_until_cancelled(tokio::time::sleep(self.0.spec.backoff_max)).await.is_none() {
                return;
            }
        }
    }
}

/// Milliseconds since 1970 by the wall clock.
pub(crate) fn now_ms() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeMs::try_from(since.as_millis()).unwrap_or(TimeMs::MAX)
}

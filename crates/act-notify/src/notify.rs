//! The task: takes notices, keeps the outbox, lets lanes send, and reports.
//!
//! It owns all state; deliveries are the only other tasks, at most one per lane, and carry no state of their own.
//!
//! Invariant: the loop never waits for a receiver or the disk.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use homeostat_model::{
    ReceiverName, Timestamp,
    notice::{Notice, NoticeStatus},
};
use homeostat_store_wal::{Disk, RealDisk, Ticket, WalOptions};
use rand::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{Id, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    lane::{Failing, Lane, Pending},
    limits::{QUEUE_NOTICES_MAX, STOP_DISK, STOP_GRACE},
    message::Message,
    outbox::{Damaged, Outbox},
    outbox_log::Kept,
    payload,
    reply::{Verdict, judge},
    spec::ReceiverSpec,
    stats::{NotifyStats, ReceiverStats},
    transport::{HttpTransport, Reply, SendError, Transport},
};

/// Reads the wall clock: for records, signatures and texts, never for decisions about waiting.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What notifying needs beside its receivers.
#[derive(Clone)]
pub struct NotifyOptions {
    /// The wall clock.
    pub clock: WallClock,
    /// Seed of the jitter.
    pub seed: u64,
    /// Where people find the console, for links in messages.
    pub external_url: Option<String>,
    /// Where the outbox lives.
    pub disk: Arc<dyn Disk>,
    /// What carries requests.
    pub transport: Arc<dyn Transport>,
    /// Settings of the outbox's log.
    pub log: WalOptions,
    /// Whether a damaged outbox moves to `NAME.damaged-N` beside it, so that notifications go on without it: logged, and
    /// counted in [`NotifyStats::outboxes_set_aside`]. Otherwise it cannot be opened until a person has looked.
    pub set_damaged_aside: bool,
}

impl NotifyOptions {
    /// The real disk and network, no links; a damaged outbox waits for a person.
    pub fn new(clock: WallClock, seed: u64) -> Self {
        let transport = Arc::new(HttpTransport::new());
        Self {
            clock,
            seed,
            external_url: None,
            disk: Arc::new(RealDisk),
            transport,
            log: WalOptions::default(),
            set_damaged_aside: false,
        }
    }
}

impl std::fmt::Debug for NotifyOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotifyOptions").field("external_url", &self.external_url).finish_non_exhaustive()
    }
}

/// Why the outbox cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log below cannot be opened.
    #[error("the outbox of notifications cannot be opened")]
    Log(#[from] homeostat_store_wal::OpenError),
    /// A record of another version, or nonsense with a valid checksum.
    #[error(
        "record {seq} of the outbox of notifications is not understood ({problem}); it was written by another version: \
         go back to that, or move the directory away and lose the notifications in it"
    )]
    Record {
        /// Its number.
        seq: u64,
        /// What does not fit.
        problem: String,
    },
    /// A damaged outbox could not be set aside.
    #[error("the outbox of notifications in {dir} is damaged and cannot be set aside")]
    Aside {
        /// Its directory.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Why a notice was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// The queue is full; counted. Hand it over again later: doing so twice does no harm.
    #[error("{QUEUE_NOTICES_MAX} notices wait already; hand it over again")]
    Full,
    /// The task has ended.
    #[error("notifications have been stopped")]
    Stopped,
}

/// What is handed over to the task, in order.
#[derive(Debug)]
enum Handed {
    Notice(Box<Notice>),
    /// Somebody wants to know when all before it is on disk.
    Mark(oneshot::Sender<Mark>),
}

/// How far the outbox has come.
#[derive(Debug)]
struct Mark {
    /// Its newest record.
    newest: Option<Ticket>,
    /// Whether the log has everything: what it refused once, a snapshot has told it since.
    is_whole: bool,
}

/// Hands notices over and reads the counters; cheap to clone.
#[derive(Clone, Debug)]
pub struct NotifyHandle {
    notices: mpsc::Sender<Handed>,
    specs: Arc<watch::Sender<Vec<ReceiverSpec>>>,
    stats: Arc<Mutex<NotifyStats>>,
}

impl NotifyHandle {
    /// Hands a notice over without waiting. Only the first of several with the same key and receiver counts.
    pub fn enqueue(&self, notice: Notice) -> Result<(), EnqueueError> {
        self.notices.try_send(Handed::Notice(Box::new(notice))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                lock(&self.stats).queue_full += 1;
                EnqueueError::Full
            }
            mpsc::error::TrySendError::Closed(_) => EnqueueError::Stopped,
        })
    }

    /// Waits until everything that was handed over before is on disk; it has left before, if its receiver answers. Says
    /// whether it is there: not when the disk refuses it, while the log lacks something that it had no room for, or when
    /// notifications have been stopped.
    pub async fn written(&self) -> bool {
        let (mark, marked) = oneshot::channel();
        if self.notices.send(Handed::Mark(mark)).await.is_err() {
            return false;
        }
        let Ok(Mark { newest, is_whole }) = marked.await else { return false };
        let is_durable = match newest {
            Some(ticket) => ticket.await.is_ok(),
            None => true,
        };
        is_durable && is_whole
    }

    /// Replaces all receivers. Notices that wait for one that is gone are dropped and counted; for one that changed
    /// they are tried again at once.
    pub fn reconfigure(&self, receivers: Vec<ReceiverSpec>) {
        self.specs.send_replace(receivers);
    }

    /// Counters now.
    pub fn stats(&self) -> NotifyStats {
        lock(&self.stats).clone()
    }
}

fn lock(stats: &Mutex<NotifyStats>) -> MutexGuard<'_, NotifyStats> {
    // Plain numbers: a panic elsewhere leaves nothing half done.
    stats.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task, before it runs.
pub struct Notify {
    lanes: BTreeMap<ReceiverName, Lane>,
    outbox: Outbox,
    notices: mpsc::Receiver<Handed>,
    specs: watch::Receiver<Vec<ReceiverSpec>>,
    stats: Arc<Mutex<NotifyStats>>,
    rng: Xoshiro256PlusPlus,
    flights: JoinSet<Result<Reply, SendError>>,
    flying: HashMap<Id, ReceiverName>,
    options: NotifyOptions,
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notify").field("receivers", &self.lanes.len()).finish_non_exhaustive()
    }
}

impl Notify {
    /// Opens the outbox in `dir` and takes up what an earlier run left in it.
    pub fn open(
        dir: &Path,
        receivers: Vec<ReceiverSpec>,
        options: NotifyOptions,
    ) -> Result<(Self, NotifyHandle), OpenError> {
        let now = (options.clock)();
        let damaged = if options.set_damaged_aside { Damaged::SetAside } else { Damaged::Refuse };
        let (outbox, kept) = Outbox::open(dir, Arc::clone(&options.disk), options.log, now, damaged)?;
        let (notices_in, notices) = mpsc::channel(QUEUE_NOTICES_MAX);
        let (specs_in, specs) = watch::channel(Vec::new());
        let outboxes_set_aside = u64::from(outbox.set_aside.is_some());
        let stats = Arc::new(Mutex::new(NotifyStats { outboxes_set_aside, ..NotifyStats::default() }));
        let handle = NotifyHandle { notices: notices_in, specs: Arc::new(specs_in), stats: Arc::clone(&stats) };
        let mut notify = Self {
            lanes: BTreeMap::new(),
            outbox,
            notices,
            specs,
            stats,
            rng: Xoshiro256PlusPlus::seed_from_u64(options.seed),
            flights: JoinSet::new(),
            flying: HashMap::new(),
            options,
        };
        notify.reconfigure(receivers);
        for Kept { notice, taken_at, failing_since } in kept {
            let failing = failing_since.map(|since| Failing::new(since, now, Instant::now()));
            notify.queue(Pending { notice, taken_at, failing }, now);
        }
        Ok((notify, handle))
    }

    /// Delivers until `stop`; then waits a little for deliveries under way and for the outbox to reach the disk.
    /// What is not delivered then is delivered after the next start. Gives whether the outbox is on disk whole.
    pub async fn run(mut self, stop: CancellationToken) -> bool {
        loop {
            self.depart();
            self.outbox.forget_old();
            self.tidy();
            let wake = self.next_departure().into_iter().chain(self.outbox.retry_at()).min();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = self.specs.changed() => {
                    let specs = self.specs.borrow_and_update().clone();
                    self.reconfigure(specs);
                }
                Some(landed) = self.flights.join_next_with_id() => self.land(landed),
                Some(handed) = self.notices.recv() => self.receive(handed),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                // Every handle is gone and nothing is left to do.
                else => break,
            }
        }
        self.finish().await
    }

    async fn finish(mut self) -> bool {
        self.notices.close();
        while let Some(handed) = self.notices.recv().await {
            self.receive(handed);
        }
        let landing = async {
            while let Some(landed) = self.flights.join_next_with_id().await {
                self.land(landed);
            }
        };
        if timeout(STOP_GRACE, landing).await.is_err() {
            tracing::warn!("deliveries under way did not end in time; they are repeated after the next start");
        }
        self.flights.shutdown().await;
        if !self.outbox.is_whole() {
            self.write_snapshot();
        }
        let is_whole = self.outbox.is_whole();
        self.outbox.close(STOP_DISK).await && is_whole
    }

    fn receive(&mut self, handed: Handed) {
        match handed {
            Handed::Notice(notice) => self.take(*notice),
            Handed::Mark(reply) => {
                let mark = Mark { newest: self.outbox.newest.clone(), is_whole: self.outbox.is_whole() };
                // Who asked may have left.
                drop(reply.send(mark));
            }
        }
    }

    fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    fn stats(&self) -> MutexGuard<'_, NotifyStats> {
        lock(&self.stats)
    }

    /// Changes the counters of one receiver, if it is still configured.
    fn count(&self, receiver: &ReceiverName, change: impl FnOnce(&mut ReceiverStats)) {
        let pending = self.lanes.get(receiver).map_or(0, Lane::len) as u64;
        if let Some(stats) = self.stats().receivers.get_mut(receiver) {
            change(stats);
            stats.pending = pending;
        }
    }

    fn take(&mut self, notice: Notice) {
        let now = self.now();
        if self.outbox.take(&notice, now) {
            self.queue(Pending { notice, taken_at: now, failing: None }, now);
        } else {
            self.stats().duplicates += 1;
        }
    }

    /// Puts a notice into its lane, or ends it if no lane wants it.
    fn queue(&mut self, pending: Pending, now: Timestamp) {
        let receiver = pending.notice.receiver.clone();
        let Some(lane) = self.lanes.get_mut(&receiver) else {
            tracing::warn!(%receiver, key = pending.notice.key, "a notice is for a receiver that is not configured");
            self.stats().unknown_receiver += 1;
            return self.outbox.end(&pending.notice, now);
        };
        if pending.notice.status == NoticeStatus::Resolved && !lane.spec.send_resolved {
            self.outbox.end(&pending.notice, now);
            return self.count(&receiver, |stats| stats.unwanted += 1);
        }
        let displaced = lane.push(pending);
        if let Some(displaced) = &displaced {
            tracing::warn!(%receiver, key = displaced.notice.key, "too many notices wait; the least useful is dropped");
            self.outbox.end(&displaced.notice, now);
        }
        self.count(&receiver, |stats| stats.displaced += u64::from(displaced.is_some()));
    }

    fn reconfigure(&mut self, specs: Vec<ReceiverSpec>) {
        let now = self.now();
        let names: HashSet<ReceiverName> = specs.iter().map(|spec| spec.name.clone()).collect();
        let gone: Vec<ReceiverName> = self.lanes.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            for dropped in self.lanes.remove(&name).into_iter().flat_map(Lane::into_all) {
                self.outbox.end(&dropped.notice, now);
                self.stats().unknown_receiver += 1;
            }
            self.stats().receivers.remove(&name);
        }
        // What is under way for a receiver that is gone must not be mistaken for one that gets its name later.
        self.flying.retain(|_, name| names.contains(name));
        for spec in specs {
            self.stats().receivers.entry(spec.name.clone()).or_default();
            match self.lanes.get_mut(&spec.name) {
                Some(lane) if lane.spec == spec => {}
                Some(lane) => lane.reconfigure(spec),
                None => drop(self.lanes.insert(spec.name.clone(), Lane::new(spec))),
            }
        }
    }

    /// Lets every lane send that may.
    fn depart(&mut self) {
        let (now, wall) = (Instant::now(), self.now());
        for (name, lane) in &mut self.lanes {
            let Some(batch) = lane.take(now) else { continue };
            let notices = batch.iter().map(|pending| (&pending.notice, pending.taken_at));
            let url = self.options.external_url.as_deref();
            // A batch is never empty.
            let Some(message) = Message::of(name.as_str(), notices, wall, url) else { continue };
            let outgoing = payload::build(&lane.spec, &message, wall);
            if outgoing.render_failures > 0 {
                tracing::warn!(receiver = %name, "a template failed; the default was sent in its place");
                if let Some(stats) = lock(&self.stats).receivers.get_mut(name) {
                    stats.render_failures += u64::from(outgoing.render_failures);
                }
            }
            let flight = self.options.transport.send(outgoing, lane.spec.timeout.into());
            self.flying.insert(self.flights.spawn(flight).id(), name.clone());
        }
    }

    fn next_departure(&self) -> Option<Instant> {
        let now = Instant::now();
        self.lanes.values().filter_map(|lane| lane.due(now)).min()
    }

    /// A delivery came to its end.
    fn land(&mut self, landed: Result<(Id, Result<Reply, SendError>), tokio::task::JoinError>) {
        let (id, result) = match landed {
            Ok(landed) => landed,
            Err(error) => (error.id(), Err(SendError::Broken)),
        };
        let Some(receiver) = self.flying.remove(&id) else { return };
        // The receiver may have been removed meanwhile; its notices have ended then.
        let Some(lane) = self.lanes.get_mut(&receiver) else { return };
        let wall = (self.options.clock)();
        match judge(&lane.spec.kind, &result) {
            Verdict::Delivered => {
                let ended = lane.delivered();
                self.end_all(&ended, wall);
                self.recovered(&receiver, ended.len() as u64);
            }
            Verdict::Refused { why } => {
                let ended = lane.refused();
                tracing::error!(%receiver, notices = ended.len(), why, "a receiver refused a message for good");
                self.end_all(&ended, wall);
                self.count(&receiver, |stats| {
                    stats.refused += ended.len() as u64;
                    stats.failing_since.get_or_insert(wall);
                    stats.last_error = Some(why);
                });
            }
            Verdict::Retry { after, why } => {
                let fresh: Vec<Notice> = lane
                    .all()
                    .filter(|pending| pending.failing.is_none())
                    .map(|pending| pending.notice.clone())
                    .collect();
                let given_up = lane.failed(Instant::now(), wall, after, &mut self.rng);
                let failing: HashSet<&str> = lane
                    .all()
                    .filter(|pending| pending.failing.is_some())
                    .map(|pending| pending.notice.key.as_str())
                    .collect();
                for notice in fresh.iter().filter(|notice| failing.contains(notice.key.as_str())) {
                    self.outbox.failing(notice, wall);
                }
                self.end_all(&given_up, wall);
                self.failed(&receiver, why, given_up.len() as u64, wall);
            }
        }
    }

    fn end_all(&mut self, ended: &[Pending], now: Timestamp) {
        for pending in ended {
            self.outbox.end(&pending.notice, now);
        }
    }

    fn recovered(&self, receiver: &ReceiverName, notices: u64) {
        self.count(receiver, |stats| {
            if stats.failing_since.take().is_some() {
                tracing::info!(%receiver, "a receiver takes messages again");
            }
            stats.last_error = None;
            stats.messages += 1;
            stats.delivered += notices;
        });
    }

    fn failed(&self, receiver: &ReceiverName, why: String, given_up: u64, now: Timestamp) {
        if given_up > 0 {
            tracing::error!(%receiver, notices = given_up, why, "notices were given up after failing for too long");
        }
        self.count(receiver, |stats| {
            if stats.failing_since.is_none() {
                tracing::warn!(%receiver, why, "a message could not be delivered; it is tried again");
            }
            stats.failing_since.get_or_insert(now);
            stats.last_error = Some(why);
            stats.retries += 1;
            stats.given_up += given_up;
        });
    }

    /// Keeps the outbox short and its trouble visible.
    fn tidy(&mut self) {
        if self.outbox.wants_snapshot(Instant::now()) {
            self.write_snapshot();
        }
        let unlogged = self.outbox.unlogged;
        self.stats().unlogged = unlogged;
    }

    fn write_snapshot(&mut self) {
        let kept = |pending: &Pending| Kept {
            notice: pending.notice.clone(),
            taken_at: pending.taken_at,
            failing_since: pending.failing.map(|failing| failing.since),
        };
        let mut all: Vec<Kept> = self.lanes.values().flat_map(Lane::all).map(kept).collect();
        all.sort_by_key(|kept| kept.taken_at);
        self.outbox.write_snapshot(all, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::Span;
    use homeostat_store_wal::SimDisk;

    use super::*;
    use crate::{
        limits::BACKOFF_FIRST,
        message::tests::notice,
        payload::Outgoing,
        spec::{ReceiverKind, Secret},
        transport::Answer,
    };

    /// Never answers: what is handed over stays.
    struct Silent;

    impl Transport for Silent {
        fn send(&self, _: Outgoing, _: std::time::Duration) -> Answer {
            Box::pin(std::future::pending())
        }
    }

    fn open(disk: &SimDisk, log: WalOptions) -> Notify {
        let mut options = NotifyOptions::new(Arc::new(|| Timestamp::from_unix_ms(1_750_000_000_000)), 1);
        (options.disk, options.transport, options.log) = (Arc::new(disk.clone()), Arc::new(Silent), log);
        let spec = ReceiverSpec {
            name: notice("", NoticeStatus::Firing, ("version", "v2")).receiver,
            kind: ReceiverKind::Webhook { url: Secret::new("http://example.org/".to_owned()), bearer: None },
            send_resolved: true,
            per_minute_max: 60,
            timeout: Span::from_secs(10),
            give_up_after: Span::from_hours(24),
            template: None,
        };
        Notify::open(Path::new("/outbox"), vec![spec], options).unwrap().0
    }

    fn is_whole(notify: &mut Notify) -> bool {
        let (mark, mut marked) = oneshot::channel();
        notify.receive(Handed::Mark(mark));
        marked.try_recv().unwrap().is_whole
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_log_refused_is_missing_at_every_mark_until_a_snapshot_has_it() {
        let disk = SimDisk::default();
        let mut notify = open(&disk, WalOptions { queue_records_max: 1, ..WalOptions::default() });
        disk.set(|faults| faults.stuck = true);
        for key in ["a", "b"] {
            let notice = notice(key, NoticeStatus::Firing, ("version", "v2"));
            notify.receive(Handed::Notice(Box::new(notice)));
        }
        assert_eq!(notify.outbox.unlogged, 1, "one record may wait");
        assert_eq!([is_whole(&mut notify), is_whole(&mut notify)], [false, false]);

        // The disk stands still: neither does a snapshot fit, which is tried seldom.
        tokio::time::advance(BACKOFF_FIRST).await;
        notify.tidy();
        notify.tidy();
        let retry_at = notify.outbox.retry_at().unwrap();
        assert_eq!((retry_at - Instant::now(), is_whole(&mut notify)), (2 * BACKOFF_FIRST, false));

        disk.set(|faults| faults.stuck = false);
        let _durable = notify.outbox.newest.clone().unwrap().await.unwrap();
        tokio::time::advance(2 * BACKOFF_FIRST).await;
        notify.tidy();
        assert_eq!((notify.outbox.retry_at(), is_whole(&mut notify)), (None, true));
        assert!(notify.finish().await);
        let kept = open(&disk, WalOptions::default()).lanes.values().map(Lane::len).sum::<usize>();
        assert_eq!(kept, 2, "nothing is forgotten by a restart");
    }
}

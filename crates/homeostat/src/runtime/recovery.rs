//! The control thread from the outside: opens the journal, finds out where things stood, then runs the loop.
//!
//! What was decided before a crash is found by replaying the journal from a snapshot. The commands of the replayed steps
//! are carried out again where that does no harm and something may have been lost with the process: records for readers,
//! notices (the outbox knows what it has), recordings that are not there yet. Shifts are not repeated one by one; the
//! splits that result are what the gateway starts with.
//!
//! Where the journal has a hole (a repair cut records out, the disk was away too long) and no snapshot behind it, the
//! past is not known: control is told so before anything else, and the audit shows it.
//!
//! A journal that does not open is tried again; meanwhile control does nothing, and the gateway serves.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use homeostat_control::{Command, Control, ControlSpec, Event, Recorder};
use homeostat_gateway_proxy::GatewayHandle;
use homeostat_model::{CellId, CellKey, ServiceName, Span, Timestamp, action::Split, notice::Notice};
use homeostat_store_events::{Body, DecodedEntry, Disk, Journal, JournalError, Recovery, StoreSpec};
use homeostat_store_wal::OpenError;

use super::{
    clock::Clock,
    control_thread::{ControlThread, Freeze, Parts, is_refused},
    data_dir,
    files::{BlackBoxFiles, Kept},
    inbox::Inbox,
    journal::Retention,
    late::LateParts,
    message::Message,
    shared::{Shared, lock},
    stop::join_within,
};
use homeostat_model::error_chain::chain;

/// Notices of the last minutes before the end are handed over again; older ones had time to reach the outbox, which
/// forgets the keys of what it has delivered after a day.
const NOTICES_REPEATED: Span = Span::from_mins(10);

/// How often a journal that does not open is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// How long stopping waits for control's last round.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// How long stopping waits for the journal's last records.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// What the first attempt to open the journal gave.
#[derive(Debug)]
pub(super) struct FirstAttempt {
    /// The splits in force when the journal ends; `None` when it could not be opened (yet).
    pub(super) splits: Option<BTreeMap<ServiceName, Split>>,
    /// The journal's last instant.
    pub(super) last_at: Option<Timestamp>,
    /// What cell ids meant.
    pub(super) cells: BTreeMap<CellId, CellKey>,
}

impl FirstAttempt {
    const UNKNOWN: Self = Self { splits: None, last_at: None, cells: BTreeMap::new() };
}

/// What control needs once everything else runs.
#[derive(Debug)]
struct Go {
    clock: Clock,
    executed: BTreeMap<ServiceName, Split>,
    gateway: GatewayHandle,
    shared: Arc<Shared>,
    /// Cell ids of the new process mean what they meant before.
    ids_kept: bool,
}

/// The control thread, from the outside.
pub(super) struct ControlHost {
    thread: JoinHandle<bool>,
    first: Option<Receiver<Result<FirstAttempt, JournalError>>>,
    go: Sender<Go>,
    late: Arc<LateParts>,
}

impl fmt::Debug for ControlHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlHost").finish_non_exhaustive()
    }
}

impl ControlHost {
    /// Starts the thread, which begins by opening the journal.
    pub(super) fn start(
        store: StoreSpec,
        disk: Arc<dyn Disk>,
        inbox: Arc<Inbox<Message>>,
        late: Arc<LateParts>,
    ) -> std::io::Result<Self> {
        let (first_attempt, first) = channel();
        let (go, ready) = channel();
        let late_parts = Arc::clone(&late);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            let waiting = Waiting { store, disk, inbox, first_attempt, ready, late: late_parts };
            waiting.run()
        })?;
        Ok(Self { thread, first: Some(first), go, late })
    }

    /// What the first attempt gave, waiting for it at most that long. An error means that another process has the
    /// directory: then nothing may run on it.
    pub(super) async fn first_attempt(&mut self, timeout: Duration) -> Result<FirstAttempt, JournalError> {
        let Some(first) = self.first.take() else { return Ok(FirstAttempt::UNKNOWN) };
        let waited = tokio::task::spawn_blocking(move || first.recv_timeout(timeout)).await;
        if let Ok(Ok(attempt)) = waited {
            attempt
        } else {
            tracing::error!("the journal has not opened within {timeout:?}; the gateway starts without it");
            Ok(FirstAttempt::UNKNOWN)
        }
    }

    /// Lets the loop begin, as soon as the journal is open.
    pub(super) fn go(
        &self,
        clock: Clock,
        executed: BTreeMap<ServiceName, Split>,
        gateway: GatewayHandle,
        shared: Arc<Shared>,
        ids_kept: bool,
    ) {
        if self.go.send(Go { clock, executed, gateway, shared, ids_kept }).is_err() {
            tracing::error!("control has ended before it began; the gateway serves on, nothing is judged");
        }
    }

    /// Waits for the loop's end, after the inbox was closed.
    pub(super) fn finish(self) -> Ended {
        drop(self.go);
        let synced = match join_within(self.thread, STOP_WAIT) {
            Some(Ok(synced)) => synced,
            Some(Err(_)) => {
                tracing::error!("control had ended by a panic; the journal holds what it had decided");
                false
            }
            None => {
                tracing::error!("control waits for a disk that does not answer and is left behind");
                false
            }
        };
        Ended { synced, late: self.late }
    }
}

/// The loop has ended; the journal is still open.
#[derive(Debug)]
pub(super) struct Ended {
    synced: bool,
    late: Arc<LateParts>,
}

impl Ended {
    /// Closes the journal; says whether everything is on disk. Waits for the disk.
    pub(super) fn close(self) -> bool {
        // A reader that is still at it closes the journal when it lets go; dropping waits for the disk too.
        let closed = match Arc::into_inner(self.late).and_then(LateParts::into_journal) {
            Some(journal) => journal.close(CLOSE_WAIT).is_ok(),
            // Never opened, or somebody still reads: nobody can vouch for the last records.
            None => false,
        };
        self.synced && closed
    }
}

/// The thread before the loop.
struct Waiting {
    store: StoreSpec,
    disk: Arc<dyn Disk>,
    inbox: Arc<Inbox<Message>>,
    first_attempt: Sender<Result<FirstAttempt, JournalError>>,
    ready: Receiver<Go>,
    late: Arc<LateParts>,
}

impl Waiting {
    fn run(self) -> bool {
        let mut go = None;
        let (journal, past) = loop {
            match self.open() {
                Ok(opened) => break opened,
                Err(problem @ JournalError::Open(OpenError::Locked { .. })) if go.is_none() => {
                    let _starter_gave_up = self.first_attempt.send(Err(problem));
                    return true;
                }
                Err(problem) => {
                    let text = chain(&problem);
                    tracing::error!(problem = %text, "the journal does not open; the gateway serves, nothing is judged, next try in {RETRY_EVERY:?}");
                    let _starter_gave_up = self.first_attempt.send(Ok(FirstAttempt::UNKNOWN));
                    go = go.or_else(|| self.ready.recv().ok());
                    let Some(go) = &go else { return true };
                    *lock(&go.shared.journal_trouble) = Some(text);
                }
            }
            if self.inbox.wait_closed(RETRY_EVERY) {
                return true;
            }
        };
        // Where replay could not be exact, nobody knows which release was rolled back: no canary gets anything.
        let known = past.control.as_ref().map_or_else(BTreeMap::new, Control::desired_splits);
        let splits = past.hole.is_none().then_some(known);
        let _starter_gave_up =
            self.first_attempt.send(Ok(FirstAttempt { splits, last_at: past.last_at, cells: past.cells.clone() }));
        let Some(go) = go.or_else(|| self.ready.recv().ok()) else { return true };
        self.drive(journal, past, go)
    }

    fn open(&self) -> Result<(Arc<Journal>, Past), JournalError> {
        let (journal, recovery) = Journal::open(self.store.clone(), Arc::clone(&self.disk))?;
        data_dir::warn_if_open_to_others(&self.store.dir);
        let past = Past::replay(&journal, recovery)?;
        Ok((Arc::new(journal), past))
    }

    fn drive(self, journal: Arc<Journal>, mut past: Past, go: Go) -> bool {
        let Go { clock, executed, gateway, shared, ids_kept } = go;
        // A journal that opened late may end after the process's own time line began.
        let clock =
            if past.last_at.is_some_and(|last| clock.now() < last) { Clock::start(past.last_at) } else { clock };
        self.late.set_journal(Arc::clone(&journal));
        *lock(&shared.journal_trouble) = None;
        let (files, retention) = match (keep_files(&journal), Retention::start(Arc::clone(&journal), clock)) {
            (Ok(files), Ok(retention)) => (files, retention),
            (Err(problem), _) | (_, Err(problem)) => {
                tracing::error!(%problem, "no thread for the journal's files; control does not run");
                return false;
            }
        };
        let (late, disk, inbox) = (Arc::clone(&self.late), Arc::clone(&self.disk), Arc::clone(&self.inbox));
        let outbox = thread::Builder::new().name("outbox".to_owned()).spawn(move || open_outbox(&late, &disk, &inbox));
        if let Err(problem) = &outbox {
            tracing::error!(%problem, "no thread to open the outbox with; nobody is told anything");
        }
        let restarted = past.control.is_some();
        let hole = past.hole.take();
        let now = clock.now();
        let notices = past.recent_notices();
        let control = past.control.unwrap_or_else(|| Control::new(now));
        let parts = Parts {
            clock,
            control,
            recorder: past.recorder.unwrap_or_else(|| Recorder::new(now)),
            journal,
            gateway,
            late: Arc::clone(&self.late),
            files,
            shared,
            inbox: self.inbox,
            executed,
            cells: past.cells,
            freezes: past.freezes,
            notices,
        };
        let mut control = ControlThread::new(parts);
        control.keep_old_recordings(ids_kept);
        if let Some(Hole { records, reason }) = hole {
            tracing::error!(%reason, "part of the past is lost: rollouts are taken back, canaries get no traffic until they are started");
            control.begin_with(Event::Forgot { records, reason });
        }
        if restarted {
            control.begin_with(Event::Restarted);
        }
        let synced = control.run();
        retention.stop();
        if outbox.is_ok_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that opens the outbox had ended by a panic");
        }
        synced
    }
}

/// Opens the outbox; while it does not open, control runs without it and keeps notices in memory, bounded.
fn open_outbox(late: &LateParts, disk: &Arc<dyn Disk>, inbox: &Inbox<Message>) {
    loop {
        match late.start_notify(Arc::clone(disk)) {
            Ok(()) => return,
            Err(problem) => {
                tracing::error!(problem = %chain(&problem), "the outbox does not open, nobody is told anything; next try in {RETRY_EVERY:?}");
            }
        }
        if inbox.wait_closed(RETRY_EVERY) {
            return;
        }
    }
}

fn keep_files(journal: &Arc<Journal>) -> std::io::Result<BlackBoxFiles> {
    let journal = Arc::clone(journal);
    BlackBoxFiles::start(move |incident, kept| match kept {
        Kept::Recording(black_box) => {
            if let Err(problem) = journal.put_black_box(incident, &black_box) {
                tracing::error!(%incident, problem = %chain(&problem), "a recording was not kept; the journal still holds its ticks");
            }
        }
        Kept::Beside(profiles, kernel) => {
            if let Err(problem) = journal.put_beside(incident, profiles, kernel) {
                tracing::error!(%incident, problem = %chain(&problem), "what was measured around an incident was not kept");
            }
        }
    })
}

/// Where things stood when the journal ends.
#[derive(Debug, Default)]
struct Past {
    control: Option<Control>,
    recorder: Option<Recorder>,
    cells: BTreeMap<CellId, CellKey>,
    /// With the time of their step.
    notices: Vec<(Timestamp, Notice)>,
    freezes: Vec<Freeze>,
    last_at: Option<Timestamp>,
    /// Behind a hole, until the next snapshot, replay only comes close: what it cannot know.
    hole: Option<Hole>,
}

/// What replay cannot know.
#[derive(Debug, Default)]
struct Hole {
    /// Records missing at most, as far as they can be counted.
    records: u64,
    /// For people.
    reason: String,
}

impl Past {
    fn replay(journal: &Journal, recovery: Recovery) -> Result<Self, JournalError> {
        let mut past = Self { last_at: recovery.last, ..Self::default() };
        if let Some(torn) = recovery.torn_tail {
            tracing::warn!(
                ?torn,
                "the journal's last record was torn by a crash; it was never acknowledged and is left out"
            );
        }
        if let Some(snapshot) = recovery.snapshot {
            past.restore(&snapshot.json);
        }
        // Without its snapshot the tail says too little; the beginning of what is kept may say enough.
        let entries = if past.hole.is_some() { journal.entries(0) } else { recovery.entries };
        for entry in entries {
            let entry = entry?;
            if past.hole.is_some()
                && let Some(snapshot) = entry.snapshot_json()
            {
                past.restore(&snapshot?);
                continue;
            }
            past.step(journal, entry);
        }
        Ok(past)
    }

    fn restore(&mut self, snapshot: &[u8]) {
        match Control::restore(snapshot) {
            Ok(control) => {
                self.name_cells(control.spec());
                (self.control, self.hole) = (Some(control), None);
            }
            Err(problem) => {
                tracing::error!(problem = %chain(&problem), "a snapshot is not readable; the entries after it are replayed without it");
                self.miss(0, "a snapshot is not readable".to_owned());
            }
        }
    }

    /// Notes that something is not known.
    fn miss(&mut self, records: u64, reason: String) {
        let hole = self.hole.get_or_insert_default();
        hole.records = hole.records.saturating_add(records);
        hole.reason = reason;
    }

    fn step(&mut self, journal: &Journal, entry: DecodedEntry) {
        let DecodedEntry { seq, now, body } = entry;
        let event = match body {
            Body::Tick { deltas, .. } => {
                self.recorder.get_or_insert_with(|| Recorder::new(now)).tick(now, &deltas);
                Event::Tick { deltas }
            }
            Body::Step { event, .. } => match serde_json::from_slice::<Event>(&event) {
                Ok(event) => event,
                Err(problem) => {
                    tracing::error!(seq, %problem, "an event in the journal is not readable and is left out");
                    return self.miss(1, format!("the event in record {seq} of the journal is not readable"));
                }
            },
            Body::Gap { steps_lost, .. } => {
                return self
                    .miss(steps_lost, format!("the disk was away for so long that {steps_lost} steps were lost"));
            }
            Body::Missing { records } => {
                tracing::warn!(
                    seq,
                    records,
                    "a repair has cut records out of the journal; what they decided is not known"
                );
                return self.miss(records, format!("a repair has cut up to {records} records out of the journal"));
            }
            Body::Snapshot(_) => return,
        };
        if let Event::Configured(spec) = &event {
            self.name_cells(spec);
        }
        let announced = if let Event::Changed(change) = &event { Some(change.clone()) } else { None };
        let commands = self.control.get_or_insert_with(|| Control::new(now)).step(now, event);
        if let Some(change) = announced.filter(|_| !is_refused(&commands)) {
            self.recorder.get_or_insert_with(|| Recorder::new(now)).change(change);
        }
        if self.hole.is_some() {
            // These are not the commands that were given.
            return;
        }
        for command in commands {
            self.repeat(journal, now, command);
        }
    }

    fn name_cells(&mut self, spec: &ControlSpec) {
        self.cells.extend(spec.cells.iter().cloned());
    }

    /// Notices that may not have reached the outbox: those whose keys it still remembers, so that none is sent twice.
    fn recent_notices(&mut self) -> VecDeque<Notice> {
        let last_at = self.last_at.unwrap_or(Timestamp::MIN);
        let recent = |at: Timestamp| last_at.since(at) <= NOTICES_REPEATED;
        std::mem::take(&mut self.notices).into_iter().filter(|(at, _)| recent(*at)).map(|(_, notice)| notice).collect()
    }

    /// Does again what may have been lost with the process and does no harm twice.
    fn repeat(&mut self, journal: &Journal, now: Timestamp, command: Command) {
        match command {
            Command::RecordAction(action) => journal.put_action(&action),
            Command::RecordIncident(incident) => journal.put_incident(&incident),
            Command::Notify(notice) => self.notices.push((now, *notice)),
            Command::FreezeBlackBox { incident, cells, from, to } => {
                self.freezes.push(Freeze { incident, cells, from, to });
            }
            Command::Shift { .. } | Command::RolloutMoved { .. } | Command::Refuse { .. } => {}
        }
    }
}

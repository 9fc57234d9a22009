//! The thread that runs the loop: takes ticks and messages, steps control, records the step, carries commands out.
//!
//! A plain thread, so that nothing asynchronous can delay it. It never waits for the disk longer than
//! [`PROTECTIVE_WAIT`] for a protective shift and [`COMMIT_WAIT`] for anything else; what is not durable by then takes
//! effect in a later round.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use homeostat_act_guard::Admitted;
use homeostat_act_notify::EnqueueError;
use homeostat_api::backend::{OperateError, Operation, StreamItem, TrafficSample};
use homeostat_control::{Command, Control, ControlSpec, Event, Recorder};
use homeostat_gateway_proxy::GatewayHandle;
use homeostat_gateway_route::RouteTable;
use homeostat_model::{
    CellId, CellKey, IncidentId, OutcomeCounts, OutcomeDelta, ServiceName, Span, Timestamp, VersionName, Weight,
    action::Split, evidence::EventCounts, notice::Notice,
};
use homeostat_store_events::{Flush, Journal, Lost, StepTicket};
use tokio::sync::oneshot;

use super::{
    clock::{Clock, STEP_MIN},
    files::BlackBoxFiles,
    inbox::{Batch, Inbox},
    late::LateParts,
    message::{Configure, Message},
    pending::Pending,
    shared::{Shared, bump, lock},
};

/// How long a protective shift waits for a disk that does not answer.
pub(super) const PROTECTIVE_WAIT: Duration = Duration::from_millis(20);

/// How long a round waits for an ordinary step to become durable: two group commits on a healthy disk. A disk that is
/// slower costs its own effects latency, not the judging of the next tick.
const COMMIT_WAIT: Duration = Duration::from_millis(10);

/// Notices that wait for the outbox's queue: an hour of a page a second.
const NOTICES_MAX: usize = 3_600;

/// How often latency histograms are read: reading them costs a microsecond per cell and worker.
const LATENCIES_EVERY: Duration = Duration::from_secs(1);

/// How often the view is taken when nothing else happens.
const VIEW_EVERY: Duration = Duration::from_millis(500);

/// How often traffic goes to the event stream, and exemplars and latencies into the recorder.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// What happens once a step is durable.
#[derive(Debug, Default)]
pub(super) struct Effects {
    at: Timestamp,
    commands: Vec<Command>,
    configure: Option<Box<Configure>>,
    reply: Option<oneshot::Sender<Result<(), OperateError>>>,
}

/// A recording that waits for its last instant.
#[derive(Debug)]
pub(super) struct Freeze {
    pub(super) incident: IncidentId,
    pub(super) cells: Vec<CellId>,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// What the loop is made of.
pub(super) struct Parts {
    pub(super) clock: Clock,
    pub(super) control: Control,
    pub(super) recorder: Recorder,
    pub(super) journal: Arc<Journal>,
    pub(super) gateway: GatewayHandle,
    pub(super) late: Arc<LateParts>,
    pub(super) files: BlackBoxFiles,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox<Message>>,
    /// Splits that the gateway's table already serves.
    pub(super) executed: BTreeMap<ServiceName, Split>,
    /// What cell ids meant before a restart.
    pub(super) cells: BTreeMap<CellId, CellKey>,
    /// Recordings asked for before a restart.
    pub(super) freezes: Vec<Freeze>,
    /// Notices from before a restart; the outbox knows which of them it has.
    pub(super) notices: VecDeque<Notice>,
}

/// Everything the loop owns.
pub(super) struct ControlThread {
    clock: Clock,
    control: Control,
    recorder: Recorder,
    journal: Arc<Journal>,
    pending: Pending<StepTicket, Effects>,
    gateway: GatewayHandle,
    late: Arc<LateParts>,
    files: BlackBoxFiles,
    shared: Arc<Shared>,
    inbox: Arc<Inbox<Message>>,
    state: LoopState,
}

/// What the loop remembers between rounds.
#[derive(Debug)]
struct LoopState {
    /// A configuration of this process has been stepped.
    configured: bool,
    /// More work waits behind the present step.
    hurried: bool,
    /// Time of the latest step.
    stepped_at: Timestamp,
    /// What cell ids mean, also those of earlier configurations: recordings may need them.
    cells: BTreeMap<CellId, CellKey>,
    /// Splits that were carried out, and so are laid over every new table.
    executed: BTreeMap<ServiceName, Split>,
    followups: VecDeque<Event>,
    freezes: Vec<Freeze>,
    /// Notices that the outbox has not taken yet.
    notices: VecDeque<Notice>,
    sample: BTreeMap<CellId, OutcomeCounts>,
    sample_due: Instant,
    latencies_due: Instant,
    view_due: Instant,
    view_stale: bool,
    clock_offset_ns: i64,
}

impl ControlThread {
    /// Puts the parts together.
    pub(super) fn new(parts: Parts) -> Self {
        let now = Instant::now();
        let state = LoopState {
            configured: false,
            hurried: false,
            stepped_at: parts.clock.now(),
            cells: parts.cells,
            executed: parts.executed,
            followups: VecDeque::new(),
            freezes: parts.freezes,
            notices: parts.notices,
            sample: BTreeMap::new(),
            sample_due: now,
            latencies_due: now,
            view_due: now,
            view_stale: true,
            clock_offset_ns: parts.clock.wall_offset_ns(),
        };
        let Parts { clock, control, recorder, journal, gateway, late, files, shared, inbox, .. } = parts;
        Self {
            clock,
            control,
            recorder,
            journal,
            pending: Pending::default(),
            gateway,
            late,
            files,
            shared,
            inbox,
            state,
        }
    }

    /// Keeps the recordings that a crash may have prevented, before cell ids get new meanings; then, unless ids have kept
    /// their meaning, the recorder begins anew.
    pub(super) fn keep_old_recordings(&mut self, ids_kept: bool) {
        // A later recording of the same incident is the longer one.
        let mut latest = BTreeMap::new();
        for freeze in std::mem::take(&mut self.state.freezes) {
            latest.insert(freeze.incident, freeze);
        }
        self.freeze(latest.into_values().rev().collect());
        if !ids_kept {
            self.recorder = Recorder::new(self.clock.now());
            self.state.cells.clear();
        }
    }

    /// Runs until the inbox is closed and everything in it has been stepped. Says whether all of it is on disk.
    pub(super) fn run(mut self) -> bool {
        loop {
            let batch = self.inbox.take(self.wake_at());
            let closed = batch.closed;
            self.round(batch);
            if closed {
                return self.finish();
            }
        }
    }

    /// Steps one event before the loop runs, for instance a restart.
    pub(super) fn begin_with(&mut self, event: Event) {
        self.step(event, None, None);
        self.settle();
    }

    fn round(&mut self, batch: Batch<Message>) {
        let quiet = batch.ticks.is_empty();
        let mut messages = VecDeque::from(batch.messages);
        // The first configuration says what cell ids mean; ticks that came before it have to wait for it.
        while !self.state.configured {
            let Some(message) = messages.pop_front() else { break };
            self.message(message);
        }
        self.state.hurried = batch.ticks.len() + messages.len() > 1;
        for (read_at, deltas) in batch.ticks {
            self.tick(self.clock.at(read_at), deltas);
        }
        while let Some(message) = messages.pop_front() {
            self.state.hurried = !messages.is_empty();
            self.message(message);
        }
        self.state.hurried = false;
        if quiet && self.control.next_deadline().is_some_and(|due| due <= self.clock.now()) {
            self.tick(self.clock.now(), Vec::new());
        }
        self.settle();
        self.run_followups();
        self.send_notices();
        self.sample();
        self.freeze_due();
        self.look_after_the_journal();
        self.publish_view();
        self.watch_the_clock();
        self.shared.control_is_alive(self.clock.now());
    }

    fn wake_at(&self) -> Instant {
        let soon = self.state.sample_due.min(self.state.view_due);
        let soon = match self.control.next_deadline() {
            Some(due) => soon.min(self.clock.instant_of(due)),
            None => soon,
        };
        // Waiting effects are looked after every tick, whether one arrives or not.
        if self.pending.is_empty() { soon } else { soon.min(Instant::now() + COMMIT_WAIT) }
    }

    fn tick(&mut self, read_at: Timestamp, deltas: Vec<OutcomeDelta>) {
        for delta in &deltas {
            *self.state.sample.entry(delta.cell).or_default() += delta.counts;
        }
        self.step_at(read_at, Event::Tick { deltas }, None, None);
        self.run_followups();
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Configure(configure) => {
                let event = Event::Configured(Box::new(configure.spec.clone()));
                self.name_cells(&configure);
                self.step(event, Some(configure), None);
            }
            // Whoever asked has been told that nothing is known about it; it must not happen hours later.
            Message::Operate { reply, .. } if reply.is_closed() => {}
            Message::Operate { operation, by, reason, reply } => {
                let event = match operation {
                    Operation::Rollout { rollout, verb } => Event::Rollout { rollout, verb, by, reason },
                    Operation::Decide { action, decision } => Event::Decide { action, decision, by, reason },
                    Operation::BreakGlass { engaged } => Event::BreakGlass { engaged, by, reason },
                };
                self.step(event, None, Some(reply));
            }
        }
        self.run_followups();
    }

    fn name_cells(&mut self, configure: &Configure) {
        self.state.configured = true;
        self.state.cells.extend(configure.spec.cells.iter().cloned());
        lock(&self.shared.totals).name_cells(&configure.spec.cells);
        if let Some(change) = &configure.change {
            self.recorder.change(change.clone());
        }
    }

    fn run_followups(&mut self) {
        while let Some(event) = self.state.followups.pop_front() {
            self.step(event, None, None);
        }
    }

    fn step(
        &mut self,
        event: Event,
        configure: Option<Box<Configure>>,
        reply: Option<oneshot::Sender<Result<(), OperateError>>>,
    ) {
        self.step_at(self.clock.now(), event, configure, reply);
    }

    /// One step: decide, record, let a protective shift go ahead, leave the rest to the ledger.
    fn step_at(
        &mut self,
        at: Timestamp,
        event: Event,
        configure: Option<Box<Configure>>,
        reply: Option<oneshot::Sender<Result<(), OperateError>>>,
    ) {
        // A tick that was read before a message was stepped counts as the later of the two: time only goes forward.
        let at = at.max(self.state.stepped_at);
        self.state.stepped_at = at;
        bump(&self.shared.counters.steps);
        let recorded = self.as_recorded(at, &event);
        let commands = self.control.step(at, event);
        if let (Recorded::Tick(deltas), true) = (&recorded, commands.is_empty()) {
            self.journal.append_tick(at, deltas);
            return;
        }
        self.state.view_stale = true;
        self.shared.counters.commands.fetch_add(commands.len() as u64, Ordering::Relaxed);
        let protective = commands.iter().any(Command::is_protective);
        let appended =
            self.append(at, &recorded, &encode(&commands), if protective { Flush::Now } else { Flush::Grouped });
        let effects = Effects { at, commands, configure, reply };
        match appended {
            Ok(ticket) => self.pending.push(ticket, effects),
            Err(lost) => return self.refuse(effects, &lost),
        }
        if protective {
            self.protect();
        } else if self.pending.len() == 1 && !self.state.hurried {
            // Behind a step that waits for a stuck disk waiting is pointless, and before other work it is harmful.
            self.pending.wait_newest(COMMIT_WAIT);
        }
        self.settle();
    }

    /// The event as the journal keeps it; the recorder sees it on the way.
    fn as_recorded(&mut self, at: Timestamp, event: &Event) -> Recorded {
        match event {
            Event::Tick { deltas } => {
                self.recorder.tick(at, deltas);
                Recorded::Tick(deltas.clone())
            }
            Event::Changed(change) => {
                self.recorder.change(change.clone());
                Recorded::Json(encode(event))
            }
            other => Recorded::Json(encode(other)),
        }
    }

    fn append(&self, at: Timestamp, event: &Recorded, commands: &[u8], flush: Flush) -> Result<StepTicket, Lost> {
        match event {
            Recorded::Tick(deltas) => self.journal.append_tick_step(at, deltas, commands, flush),
            Recorded::Json(event) => self.journal.append_step(at, event, commands, flush),
        }
    }

    /// Carries protective shifts of the newest step out, durable or not.
    fn protect(&mut self) {
        let durable = self.pending.wait_newest(PROTECTIVE_WAIT);
        let serving = self.gateway.table();
        let Some(effects) = self.pending.newest() else { return };
        if durable && effects.configure.is_some() {
            // The table that comes with it is put into force first, in a moment.
            return;
        }
        let at = effects.at;
        let may_go = |command: &Command| match command {
            Command::Shift { permit } if command.is_protective() => {
                // A split for versions that only the table in waiting knows has to wait with it.
                serving.with_split(&permit.plan().service, &permit.plan().to).is_ok()
            }
            _ => false,
        };
        let (ahead, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut effects.commands).into_iter().partition(may_go);
        effects.commands = rest;
        for command in ahead {
            self.stream_command(at, &command);
            if let Command::Shift { permit } = command {
                self.supersede(&permit.plan().service);
                self.shift(permit, !durable);
            }
        }
    }

    /// Shifts of a service that were decided earlier and still wait for the disk are void once a protective one has
    /// gone ahead of them: carried out later, they would take it back.
    fn supersede(&mut self, service: &ServiceName) {
        let newest = self.pending.len().saturating_sub(1);
        for effects in self.pending.iter_mut().take(newest) {
            effects.commands.retain(|command| shifted_service(command) != Some(service));
        }
    }

    /// The journal can take nothing any more: nothing of this step may happen but what protects, and whoever asked
    /// hears so. People are told of it all the same.
    fn refuse(&mut self, effects: Effects, lost: &Lost) {
        bump(&self.shared.counters.steps_refused);
        tracing::error!(commands = effects.commands.len(), problem = %lost, "a step was refused");
        let protective = effects.commands.iter().any(Command::is_protective);
        for command in effects.commands {
            match command {
                Command::Shift { permit } if permit.plan().purpose.is_protective() => {
                    for older in self.pending.iter_mut() {
                        older.commands.retain(|command| shifted_service(command) != Some(&permit.plan().service));
                    }
                    self.shift(permit, true);
                }
                Command::Shift { permit } => {
                    let reason = "the journal does not take records; free or repair its disk".to_owned();
                    self.state.followups.push_back(Event::Failed { action: permit.plan().id, reason });
                }
                Command::Notify(notice) if protective => self.state.notices.push_back(*notice),
                Command::FreezeBlackBox { incident, cells, from, to } if protective => {
                    self.state.freezes.push(Freeze { incident, cells, from, to });
                }
                _ => {}
            }
        }
        // Dropping a configuration tells the reloader that it was not taken.
        if let Some(reply) = effects.reply {
            let _asker_left = reply.send(Err(OperateError::Unavailable));
        }
    }

    /// Carries out what has become durable.
    fn settle(&mut self) {
        while let Some(effects) = self.pending.next_durable() {
            // Its own shifts are made for the new table.
            if let Some(configure) = effects.configure {
                self.take_over(*configure);
            }
            let mut refusal = None;
            for command in effects.commands {
                self.stream_command(effects.at, &command);
                match command {
                    Command::Shift { permit } => self.shift(permit, false),
                    Command::RecordAction(action) => self.journal.put_action(&action),
                    Command::RecordIncident(incident) => self.journal.put_incident(&incident),
                    Command::RolloutMoved { .. } => {}
                    Command::FreezeBlackBox { incident, cells, from, to } => {
                        self.state.freezes.push(Freeze { incident, cells, from, to });
                    }
                    Command::Notify(notice) => self.state.notices.push_back(*notice),
                    Command::Refuse { reason } => refusal = Some(reason),
                }
            }
            self.send_notices();
            if let Some(reply) = effects.reply {
                let _asker_left = reply.send(refusal.map_or(Ok(()), |reason| Err(OperateError::Refused(reason))));
            }
        }
    }

    /// Hands notices to the outbox; what it does not take now waits here, bounded.
    fn send_notices(&mut self) {
        let notices = &mut self.state.notices;
        if let Some(notify) = self.late.notify() {
            while let Some(notice) = notices.pop_front() {
                match notify.enqueue(notice.clone()) {
                    Ok(()) => {}
                    Err(EnqueueError::Full) => {
                        notices.push_front(notice);
                        break;
                    }
                    Err(problem @ EnqueueError::Stopped) => {
                        tracing::error!(key = notice.key, %problem, "a notice was dropped");
                    }
                }
            }
        }
        while notices.len() > NOTICES_MAX {
            let dropped = notices.pop_front().map(|notice| notice.key);
            tracing::error!(key = dropped, "a notice was dropped: too many wait for the outbox");
        }
    }

    /// Swaps a service's split into the serving table and reports back to control.
    fn shift(&mut self, permit: Admitted, ahead_of_disk: bool) {
        let plan = permit.into_plan();
        let event = match self.gateway.table().with_split(&plan.service, &plan.to) {
            Ok(table) => {
                self.gateway.swap_table(Arc::new(table));
                self.state.executed.insert(plan.service.clone(), plan.to.clone());
                bump(&self.shared.counters.shifts);
                if ahead_of_disk {
                    bump(&self.shared.counters.shifts_ahead_of_disk);
                }
                tracing::info!(action = %plan.id, purpose = plan.purpose.label(), service = %plan.service, ahead_of_disk, "shifted");
                Event::Applied { action: plan.id, ahead_of_disk }
            }
            Err(problem) => {
                tracing::error!(action = %plan.id, service = %plan.service, %problem, "could not shift; the old table serves on");
                Event::Failed { action: plan.id, reason: problem.to_string() }
            }
        };
        self.state.followups.push_back(event);
    }

    /// Puts a new table into force, under the splits that control has decided.
    fn take_over(&mut self, configure: Configure) {
        let mut splits = self.control.desired_splits();
        // A shift that is decided but not on disk yet must not slip in with the table: its service keeps its split, or,
        // where that does not fit the new versions, its canary gets nothing until then.
        let safe = safe_splits(&configure.spec);
        for service in self.pending.iter().flat_map(|effects| &effects.commands).filter_map(shifted_service) {
            let Some(decided) = splits.get_mut(service) else { continue };
            let serving =
                self.state.executed.get(service).filter(|split| configure.table.with_split(service, split).is_ok());
            if let Some(split) = serving.or_else(|| safe.get(service)) {
                decided.clone_from(split);
            }
        }
        self.state.executed = splits;
        self.gateway.swap_table(Arc::new(overlaid(configure.table, &self.state.executed)));
        if let Some(done) = configure.done {
            let _asker_left = done.try_send(());
        }
    }

    fn stream_command(&self, at: Timestamp, command: &Command) {
        if self.shared.stream.receiver_count() > 0
            && let Ok(command) = serde_json::to_value(command)
        {
            self.shared.publish(StreamItem::Command { at, command });
        }
    }

    /// Every 100 ms: traffic to the stream, exemplars and (every second) latencies into the recorder.
    fn sample(&mut self) {
        let now = Instant::now();
        if now < self.state.sample_due {
            return;
        }
        self.state.sample_due = now + SAMPLE_EVERY;
        let at = self.clock.now();
        self.record_exemplars();
        if self.state.latencies_due <= now {
            self.state.latencies_due = now + LATENCIES_EVERY;
            self.record_latencies(at);
        }
        let counts = std::mem::take(&mut self.state.sample);
        self.shared.publish(StreamItem::Traffic { at, versions: self.by_version(&counts) });
    }

    fn record_exemplars(&mut self) {
        let mut exemplars = Vec::new();
        self.gateway.take_exemplars(&mut exemplars);
        for exemplar in exemplars {
            self.recorder.exemplar(exemplar);
        }
    }

    fn record_latencies(&mut self, at: Timestamp) {
        let mut latencies = Vec::new();
        self.gateway.latencies(&mut latencies);
        lock(&self.shared.totals).add_latencies(&latencies);
        self.recorder.latencies(at, latencies);
    }

    fn by_version(&self, counts: &BTreeMap<CellId, OutcomeCounts>) -> Vec<TrafficSample> {
        let mut versions = BTreeMap::<(&ServiceName, &str), EventCounts>::new();
        for (cell, counts) in counts {
            if let Some(key) = self.state.cells.get(cell) {
                *versions.entry((&key.service, key.version.as_str())).or_default() +=
                    EventCounts { good: counts.answered(), bad: counts.bad() };
            }
        }
        let sample = |((service, version), counts): ((&ServiceName, &str), EventCounts)| TrafficSample {
            service: service.as_str().to_owned(),
            version: version.to_owned(),
            good: counts.good,
            bad: counts.bad,
        };
        versions.into_iter().map(sample).collect()
    }

    /// Freezes recordings whose last instant has come.
    fn freeze_due(&mut self) {
        let now = self.clock.now();
        let (due, later) = std::mem::take(&mut self.state.freezes).into_iter().partition(|freeze| freeze.to <= now);
        self.state.freezes = later;
        self.freeze(due);
    }

    fn freeze(&mut self, due: Vec<Freeze>) {
        if let Some(last) = due.iter().map(|freeze| freeze.to).max() {
            // What the gateway still holds belongs to the recording.
            self.record_exemplars();
            self.record_latencies(last);
        }
        for freeze in due {
            let black_box = self.recorder.freeze(&freeze.cells, freeze.from, freeze.to, &self.state.cells);
            if self.files.keep(freeze.incident, black_box).is_err() {
                bump(&self.shared.counters.black_boxes_dropped);
                tracing::warn!(incident = %freeze.incident, "too many recordings wait for the disk; this one was dropped");
            }
        }
    }

    /// Appends a snapshot when the journal asks for one or a gap has to be closed.
    fn look_after_the_journal(&mut self) {
        let now = self.clock.now();
        self.shared.counters.steps_waiting.store(self.pending.len() as u64, Ordering::Relaxed);
        self.journal.tend(now);
        if self.journal.wants_snapshot(now) {
            match self.control.snapshot() {
                // A full queue is asked again in a later round.
                Ok(state) => drop(self.journal.append_snapshot(now, &state)),
                Err(problem) => tracing::error!(%problem, "control's state could not be written down"),
            }
        }
    }

    fn publish_view(&mut self) {
        let now = Instant::now();
        if !self.state.view_stale && now < self.state.view_due {
            return;
        }
        self.state.view_due = now + VIEW_EVERY;
        self.state.view_stale = false;
        let view = Arc::new(self.control.view(self.clock.now()));
        self.shared.view.store(Arc::clone(&view));
        self.shared.publish(StreamItem::View(view));
    }

    /// The time line does not follow a stepped wall clock; people should know why times differ.
    fn watch_the_clock(&mut self) {
        let offset_ns = self.clock.wall_offset_ns();
        if offset_ns.abs_diff(self.state.clock_offset_ns) >= STEP_MIN.ns() {
            let by = Span::from_ns(offset_ns.abs_diff(self.state.clock_offset_ns));
            tracing::warn!(%by, "the wall clock was stepped; times in the journal go on from the old one until a restart");
            bump(&self.shared.counters.clock_steps);
            self.state.clock_offset_ns = offset_ns;
        }
    }

    /// The last round: what can still become durable gets two seconds, open recordings are kept as they are.
    fn finish(mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(2);
        while !(self.pending.is_empty() && self.state.notices.is_empty()) && Instant::now() < deadline {
            if !self.pending.wait_newest(COMMIT_WAIT) || !self.state.notices.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.settle();
            self.run_followups();
            self.send_notices();
        }
        let open = std::mem::take(&mut self.state.freezes);
        self.freeze(open);
        if !self.pending.is_empty() {
            tracing::error!(
                steps = self.pending.len(),
                "stopped with steps that are not on disk; their effects did not happen"
            );
        }
        self.pending.is_empty()
    }
}

/// An event on its way into the journal.
enum Recorded {
    /// Outcomes, in the journal's compact form.
    Tick(Vec<OutcomeDelta>),
    /// Anything else.
    Json(Vec<u8>),
}

/// The service whose split a command changes.
fn shifted_service(command: &Command) -> Option<&ServiceName> {
    match command {
        Command::Shift { permit } => Some(&permit.plan().service),
        _ => None,
    }
}

/// What may serve when control's own word is not there: no canary gets anything, its baseline has its share.
pub(super) fn safe_splits(spec: &ControlSpec) -> BTreeMap<ServiceName, Split> {
    let mut splits = BTreeMap::new();
    for rollout in &spec.rollouts {
        let Some(service) = spec.services.iter().find(|service| service.name == rollout.service) else { continue };
        let share = |version: &VersionName| {
            service.split.iter().find(|(v, _)| v == version).map_or(Weight::ZERO, |(_, weight)| *weight)
        };
        let safe = |version: &VersionName| match version {
            canary if *canary == rollout.canary => Weight::ZERO,
            baseline if *baseline == rollout.baseline => share(baseline).saturating_add(share(&rollout.canary)),
            other => share(other),
        };
        splits.insert(
            rollout.service.clone(),
            service.versions.iter().map(|version| (version.clone(), safe(version))).collect(),
        );
    }
    splits
}

/// A table under the given splits; a service that the table does not know, or whose versions differ, keeps its own.
pub(super) fn overlaid(table: RouteTable, splits: &BTreeMap<ServiceName, Split>) -> RouteTable {
    splits.iter().fold(table, |table, (service, split)| match table.with_split(service, split) {
        Ok(shifted) => shifted,
        Err(_unknown_here) => table,
    })
}

fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    // Our own types with string keys: encoding cannot fail, and if a later change broke that, the journal would show it.
    serde_json::to_vec(value).unwrap_or_else(|problem| format!("{{\"unencodable\":\"{problem}\"}}").into_bytes())
}

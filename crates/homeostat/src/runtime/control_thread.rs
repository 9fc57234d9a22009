//! The thread that runs the loop: takes ticks and messages, steps control, records the step, carries commands out.
//!
//! A plain thread, so that nothing asynchronous can delay it. It never waits for the disk longer than
//! [`PROTECTIVE_WAIT`](carrying_out) for a protective shift and [`COMMIT_WAIT`] for anything else; what
//! is not durable by then takes effect in a later round.
//!
//! The parts: [`carrying_out`] what commands do outside; [`recording`] what is kept beside the steps.

mod carrying_out;
mod recording;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use homeostat_api::backend::{OperateError, Operation, StreamItem};
use homeostat_control::{Command, Control, Event, Recorder};
use homeostat_gateway_proxy::GatewayHandle;
use homeostat_model::{
    CellId, CellKey, IncidentId, OutcomeCounts, OutcomeDelta, ServiceName, Span, Timestamp, action::Split,
    notice::Notice,
};
use homeostat_store_events::{Flush, Journal, Lost, StepTicket};
use tokio::sync::oneshot;

use super::{
    clock::{Clock, StepWatch, Stepped},
    files::{BlackBoxFiles, Kept},
    inbox::{Batch, Inbox},
    late::LateParts,
    message::{Configure, Message},
    pending::Pending,
    shared::{Indicated, Shared, bump, lock},
};

/// How long a round waits for an ordinary step to become durable: two group commits on a healthy disk. A disk that is
/// slower costs its own effects latency, not the judging of the next tick.
const COMMIT_WAIT: Duration = Duration::from_millis(10);

/// How often the view is taken when nothing else happens.
const VIEW_EVERY: Duration = Duration::from_millis(500);

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
    /// Answers to those who asked for something that is done now; they get them once the view shows it.
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    step_watch: StepWatch,
}

/// What becomes of an operation.
type Answer = Result<(), OperateError>;

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
            answers: Vec::new(),
            step_watch: StepWatch::new(parts.clock.readings()),
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
        self.answer();
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
            Message::ConfigRead(read) => self.step(Event::ConfigRead(*read), None, None),
            Message::Unmeasured(times) => {
                for (objective, from, to) in times {
                    self.step(Event::Unmeasured { objective, from, to }, None, None);
                }
            }
            Message::Explained { incident, explanation, profiles, kernel } => {
                let is_empty = profiles.is_empty() && kernel.is_empty();
                if !is_empty && self.files.keep(incident, Kept::Beside(profiles, kernel)).is_err() {
                    bump(&self.shared.counters.black_boxes_dropped);
                    tracing::warn!(%incident, "too many recordings wait for the disk; what was measured around the incident was dropped");
                }
                self.step(Event::Explained { incident, explanation }, None, None);
            }
            // Whoever asked has been told that nothing is known about it; it must not happen hours later.
            Message::Operate { reply, .. } if reply.is_closed() => {}
            Message::Operate { operation, by, reason, reply } => {
                let event = match operation {
                    Operation::Rollout { rollout, verb } => Event::Rollout { rollout, verb, by, reason },
                    Operation::Decide { action, decision } => Event::Decide { action, decision, by, reason },
                    Operation::BreakGlass { engaged } => Event::BreakGlass { engaged, by, reason },
                    Operation::Announce { change } => Event::Changed(change.made_by(by, self.clock.now())),
                };
                self.step(event, None, Some(reply));
            }
        }
        self.run_followups();
    }

    fn name_cells(&mut self, configure: &Configure) {
        self.state.configured = true;
        self.state.cells.extend(configure.spec.cells.iter().cloned());
        let of_queries = |id: &CellId| configure.spec.indicators.iter().any(|(indicated, _)| indicated == id);
        let served = configure.spec.cells.iter().filter(|(id, _)| !of_queries(id));
        lock(&self.shared.totals).name_cells(served.cloned());
        self.shared.indicators.store(Arc::new(Indicated::all_of(&configure.spec)));
        self.shared.spec.store(Arc::new(configure.spec.clone()));
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
        let announced = if let Event::Changed(change) = &event { Some(change.clone()) } else { None };
        let commands = self.control.step(at, event);
        if let Some(change) = announced.filter(|_| !is_refused(&commands)) {
            self.recorder.change(change);
        }
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
            other => Recorded::Json(encode(other)),
        }
    }

    fn append(&self, at: Timestamp, event: &Recorded, commands: &[u8], flush: Flush) -> Result<StepTicket, Lost> {
        match event {
            Recorded::Tick(deltas) => self.journal.append_tick_step(at, deltas, commands, flush),
            Recorded::Json(event) => self.journal.append_step(at, event, commands, flush),
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

    /// Whoever asks and looks right after the answer sees what they asked for.
    fn answer(&mut self) {
        for (reply, answer) in self.state.answers.drain(..) {
            let _asker_left = reply.send(answer);
        }
    }

    fn publish_view(&mut self) {
        let now = Instant::now();
        self.state.view_stale |= !self.state.answers.is_empty();
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
        let (way, by) = match self.state.step_watch.look(self.clock.readings()) {
            None => return,
            Some(Stepped::Ahead(by)) => ("forward", by),
            Some(Stepped::Back(by)) => ("back", by),
        };
        tracing::warn!(way, by = %Span::from_ms(by.ms()), "the wall clock was stepped; times in the journal go on from the old one until a restart");
        bump(&self.shared.counters.clock_steps);
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
        self.publish_view();
        self.answer();
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

/// Whether whoever asked was refused.
pub(super) fn is_refused(commands: &[Command]) -> bool {
    commands.iter().any(|command| matches!(command, Command::Refuse { .. }))
}

/// An event on its way into the journal.
enum Recorded {
    /// Outcomes, in the journal's compact form.
    Tick(Vec<OutcomeDelta>),
    /// Anything else.
    Json(Vec<u8>),
}

fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    // Our own types with string keys: encoding cannot fail, and if a later change broke that, the journal would show it.
    serde_json::to_vec(value).unwrap_or_else(|problem| format!("{{\"unencodable\":\"{problem}\"}}").into_bytes())
}

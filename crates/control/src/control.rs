//! The state machine's outside: `step`, deadlines, snapshot and restore.
//!
//! A step does three things: it takes the event, does what is due by now, and hands out the commands in the order in
//! which they matter. Everything else is in [`crate::rollout`] and [`crate::objective`].

use std::collections::BTreeMap;

use homeostat_model::{
    ActionId, Actor, ChangeEvent, ChangeKind, ObjectiveName, OutcomeDelta, RolloutName, ServiceName, Timestamp,
    action::{ActionState, Decision, Split},
    evidence::EventCounts,
    rollout::Verb,
};
use serde::{Deserialize, Serialize};

use crate::{
    Command, ControlSpec, Event,
    announced::Announced,
    cells::{CellTable, Side},
    objective::ObjectiveState,
    rollout::RolloutState,
    traffic::ServiceTraffic,
    world::World,
};

/// Version of the snapshot's form. A snapshot of another version is refused; the journal is replayed instead.
const SNAPSHOT_VERSION: u32 = 1;

/// The control loop's whole state. The same events at the same times give the same commands, also with
/// [`Control::snapshot`] and [`Control::restore`] in between.
#[derive(Debug, Serialize, Deserialize)]
pub struct Control {
    version: u32,
    pub(crate) world: World,
    /// Ascending by name.
    pub(crate) rollouts: Vec<RolloutState>,
    /// Ascending by name.
    pub(crate) objectives: Vec<ObjectiveState>,
    /// In the order of the configuration.
    pub(crate) traffic: Vec<ServiceTraffic>,
    /// The process is new: the next configuration builds a serving table that shows every admitted shift.
    pub(crate) rebuilds: bool,
    /// Part of the past is lost: rollouts of the next configuration do not start by themselves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) forgetful: bool,
    /// Changes announced from outside in the present minute.
    #[serde(default, skip_serializing_if = "Announced::is_empty")]
    pub(crate) announced: Announced,
}

/// Why a snapshot could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is not what [`Control::snapshot`] writes.
    #[error("the snapshot of the control state cannot be read; replay the journal from an older segment")]
    Malformed(#[source] serde_json::Error),
    /// Another version wrote it.
    #[error(
        "the snapshot of the control state has version {found}, this is version {SNAPSHOT_VERSION}; replay the journal from its beginning"
    )]
    Version {
        /// Its version.
        found: u32,
    },
}

impl Control {
    /// A loop that knows nothing yet; the first event has to be [`Event::Configured`].
    pub fn new(start: Timestamp) -> Self {
        Self {
            version: SNAPSHOT_VERSION,
            world: World::new(start),
            rollouts: Vec::new(),
            objectives: Vec::new(),
            traffic: Vec::new(),
            rebuilds: false,
            forgetful: false,
            announced: Announced::default(),
        }
    }

    /// Takes one event and returns what is to be done: shifts first, then records, recordings, notices, news, refusals.
    /// `now` never runs backwards: an earlier instant counts as the latest one. A tick that changes nothing costs no
    /// allocation.
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Command> {
        let before = self.world.now;
        self.world.now = before.max(now);
        match event {
            Event::Configured(spec) => self.configure(*spec),
            Event::Tick { deltas } => self.tick(&deltas),
            Event::Rollout { rollout, verb, by, reason } => self.order(&rollout, verb, &by, &reason),
            Event::Decide { action, decision, by, reason } => self.decide(action, decision, &by, &reason),
            Event::BreakGlass { engaged, by, reason } => self.break_glass(engaged, by, &reason),
            Event::Applied { action, ahead_of_disk } => self.applied(action, ahead_of_disk),
            Event::Failed { action, reason } => self.failed(action, &reason),
            Event::Changed(change) => self.announced(change),
            Event::ConfigRead(_) => {}
            Event::Unmeasured { objective, from, to } => self.unmeasured(&objective, from, to),
            Event::Explained { incident, explanation } => self.world.explained(incident, *explanation),
            Event::Restarted => self.restarted(before),
            Event::Forgot { records, reason } => self.forgot(records, &reason),
        }
        self.on_time();
        self.world.finish_step()
    }

    /// The next instant at which [`Event::Tick`] is due even if nothing was counted; always after the latest step.
    /// Cheap enough to ask before every tick.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let rollouts = self.rollouts.iter().flat_map(RolloutState::deadlines);
        let objectives = self.objectives.iter().filter_map(|o| o.deadline(self.world.now));
        // A release whose freeze ends may be started by a declaration that waits for it.
        let thaws = self.world.holds.iter().map(|h| h.frozen_until);
        let due = rollouts.chain(objectives).chain(thaws).chain(self.world.incidents.next_close());
        due.filter(|at| self.world.now < *at).min()
    }

    /// The split that each service should have now: what the serving table must show whenever it is built anew.
    pub fn desired_splits(&self) -> BTreeMap<ServiceName, Split> {
        let services = self.world.spec.services.iter();
        services.map(|service| (service.name.clone(), self.desired_split(&service.name))).collect()
    }

    pub(crate) fn desired_split(&self, service: &ServiceName) -> Split {
        let rollout = self.rollouts.iter().find(|r| r.declared.service == *service);
        rollout.map_or_else(|| self.world.base_split(service), |r| r.split(&self.world))
    }

    /// The configuration in force.
    pub fn spec(&self) -> &ControlSpec {
        &self.world.spec
    }

    /// The whole state as JSON, between two steps.
    pub fn snapshot(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads a snapshot back.
    pub fn restore(snapshot: &[u8]) -> Result<Self, RestoreError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(snapshot).map_err(RestoreError::Malformed)?;
        if version != SNAPSHOT_VERSION {
            return Err(RestoreError::Version { found: version });
        }
        let mut control: Self = serde_json::from_slice(snapshot).map_err(RestoreError::Malformed)?;
        control.bind_cells();
        Ok(control)
    }

    pub(crate) fn bind_cells(&mut self) {
        let objectives = self.objectives.iter().map(|o| &o.declared);
        let rollouts = self.rollouts.iter().map(|r| &r.declared);
        self.world.cells = CellTable::new(&self.world.spec, objectives, rollouts);
    }

    // Events.

    fn tick(&mut self, deltas: &[OutcomeDelta]) {
        let now = self.world.now;
        for delta in deltas {
            let Some(binding) = self.world.cells.get(delta.cell) else { continue };
            let counts = &delta.counts;
            let traffic =
                binding.traffic.and_then(|(service, version)| self.traffic.get_mut(service)?.version(version));
            if let Some(traffic) = traffic {
                traffic.record(now, EventCounts { good: counts.answered(), bad: counts.bad() });
            }
            if let Some(rollout) = binding.rollout.and_then(|(at, _)| self.rollouts.get_mut(at)) {
                let sums = &mut rollout.sums;
                match binding.rollout {
                    Some((_, Side::Canary)) => sums.canary += *counts,
                    Some((_, Side::Baseline)) => sums.baseline += *counts,
                    Some((_, Side::Other)) | None => {}
                }
                sums.service += *counts;
                sums.touched = true;
            }
            for (at, reader) in &binding.objectives {
                if let Some(objective) = self.objectives.get_mut(*at) {
                    objective.sum += reader.read(counts);
                }
            }
        }
        for rollout in &mut self.rollouts {
            rollout.record(&mut self.world);
        }
        for objective in &mut self.objectives {
            objective.record(&mut self.world, &mut self.rollouts);
        }
    }

    fn order(&mut self, name: &RolloutName, verb: Verb, by: &Actor, reason: &str) {
        let answer = match self.rollouts.iter_mut().find(|r| r.declared.name == *name) {
            Some(rollout) => rollout.order(&mut self.world, verb, by, reason),
            None => Err(self.no_such_rollout(name)),
        };
        self.refuse(answer);
    }

    fn no_such_rollout(&self, name: &RolloutName) -> String {
        let known: Vec<_> = self.rollouts.iter().map(|r| r.declared.name.as_str()).take(10).collect();
        match known.as_slice() {
            [] => format!("there is no rollout {name}: none is declared"),
            known => format!("there is no rollout {name}; declared: {}", known.join(", ")),
        }
    }

    fn decide(&mut self, action: ActionId, decision: Decision, by: &Actor, reason: &str) {
        let world = &mut self.world;
        let answer = self.rollouts.iter_mut().find_map(|r| r.decide(world, action, decision, by, reason));
        let answer = answer.unwrap_or_else(|| {
            Err(match world.ledger.get(action) {
                Some(record) => {
                    format!("{action} is {}: there is nothing left to decide", record.state.label().replace('_', " "))
                }
                None => format!("there is no action {action} that could still be decided about"),
            })
        });
        self.refuse(answer);
    }

    fn refuse(&mut self, answer: Result<(), String>) {
        if let Err(reason) = answer {
            self.world.out.push(Command::Refuse { reason });
        }
    }

    fn break_glass(&mut self, engaged: bool, by: Actor, reason: &str) {
        if self.world.guard.break_glass() == engaged {
            return;
        }
        self.world.guard.set_break_glass(engaged);
        let word = if engaged { "off" } else { "on again" };
        let colon = if reason.is_empty() { "" } else { ": " };
        self.world.note_change(ChangeEvent {
            at: self.world.now,
            kind: ChangeKind::Other,
            service: None,
            version: None,
            summary: format!("break-glass: automatic actions switched {word}{colon}{reason}"),
            by,
        });
        for rollout in &mut self.rollouts {
            rollout.unblock();
        }
    }

    pub(crate) fn applied(&mut self, action: ActionId, ahead_of_disk: bool) {
        let world = &mut self.world;
        let Some(record) = world.ledger.get(action) else { return };
        if ahead_of_disk && !record.ahead_of_disk {
            let incident = record.incident;
            world.with_action(action, |record| record.ahead_of_disk = true);
            world.milestone(incident, "late_record", format!("{action} took effect before its record was on disk"));
        }
        if !self.awaits_answer(action) {
            return;
        }
        let now = self.world.now;
        match self.rollouts.iter_mut().find(|r| r.has_in_force(action)) {
            Some(rollout) => rollout.applied(&mut self.world, action),
            None => self.world.set_action(action, ActionState::Applied { at: now }),
        }
    }

    fn failed(&mut self, action: ActionId, reason: &str) {
        if !self.awaits_answer(action) {
            return;
        }
        let now = self.world.now;
        match self.rollouts.iter_mut().find(|r| r.has_in_force(action)) {
            Some(rollout) => rollout.failed(&mut self.world, action, reason),
            None => self.world.set_action(action, ActionState::Failed { at: now, reason: reason.to_owned() }),
        }
    }

    /// Late and repeated answers, and answers to what nobody asked, change nothing.
    fn awaits_answer(&self, action: ActionId) -> bool {
        self.world.ledger.awaits_answer(action)
    }

    fn restarted(&mut self, last_seen: Timestamp) {
        let now = self.world.now;
        self.rebuilds = true;
        for rollout in &mut self.rollouts {
            rollout.resume_after_gap(last_seen, now);
        }
        for objective in &mut self.objectives {
            objective.gap(last_seen, now);
        }
    }

    fn unmeasured(&mut self, name: &ObjectiveName, from: Timestamp, to: Timestamp) {
        let (from, to) = (from.min(self.world.now), to.min(self.world.now));
        if let Some(objective) = self.objectives.iter_mut().find(|o| o.declared.name == *name).filter(|_| from < to) {
            objective.gap(from, to);
        }
    }

    /// Does what is due by now.
    fn on_time(&mut self) {
        for objective in &mut self.objectives {
            objective.on_time(&mut self.world, &mut self.rollouts);
        }
        for rollout in &mut self.rollouts {
            rollout.on_time(&mut self.world);
        }
        for incident in self.world.incidents.due(self.world.now) {
            for rollout in self.rollouts.iter().filter(|r| r.incident == Some(incident)) {
                rollout.count_harm(&mut self.world);
            }
            self.world.close_incident(incident, "the record is complete");
        }
    }
}

//! One rollout as control sees it: where it stands, what it holds, what it waits for.
//!
//! The rules, in short. At most one action is in force and at most one waits for a person; a newer one replaces both.
//! While a rollout is active its judge listens; a rollout that was taken back keeps its canary at weight 0 until somebody
//! starts it again, whatever else is declared. [`reconsider`](RolloutState::reconsider) asks at every tick and deadline
//! what ought to happen now, so nothing depends on having seen the one event at which it became due.
//!
//! The parts: [`proposing`] from a wish to an action in force; [`gates`] what ought to happen; [`verdicts`] a bad canary
//! and what comes after; [`orders`] what people ask.

mod gates;
mod orders;
mod proposing;
mod reconfigure;
mod verdicts;

use homeostat_model::{
    ActionId, IncidentId, Timestamp, Weight,
    action::{Purpose, Split},
    evidence::Evidence,
    rollout::{Gate, Phase, Rollout, Step},
    verdict::CanaryVerdict,
};
use serde::{Deserialize, Serialize};

use crate::{
    Command, splits,
    trial::{TickSums, Trial},
    verify::Watch,
    world::World,
};

/// What the rollout has decided about its service's split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Held {
    /// The canary's weight; the baseline has the rest of what both have together.
    Canary(Weight),
    /// The canary has everything.
    Promoted,
}

/// What ought to happen next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wish {
    /// Begin with the first step.
    Start,
    /// Go to this step.
    Step(usize),
    /// Give the canary everything.
    Promote,
    /// Take it back: it is worse.
    Rollback,
    /// Take it back for another reason.
    Abort(String),
    /// Put back what was before the action in force.
    Undo,
}

impl Wish {
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Start | Self::Step(_) => Purpose::Advance,
            Self::Promote => Purpose::Promote,
            Self::Rollback => Purpose::Rollback,
            Self::Abort(_) => Purpose::Abort,
            Self::Undo => Purpose::Undo,
        }
    }
}

/// A proposal that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) action: ActionId,
    pub(crate) until: Timestamp,
    pub(crate) wish: Wish,
}

/// How things were before the action in force: what undoing it means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Before {
    held: Option<Held>,
    phase: Phase,
}

/// A protective action that the actuator could not carry out and that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refit {
    /// When; `None` while the new try is under way.
    at: Option<Timestamp>,
    tries: u32,
    failed: ActionId,
}

/// The state of one declared rollout.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RolloutState {
    pub(crate) declared: Rollout,
    pub(crate) phase: Phase,
    /// `None` while it never moved anything: the declared split is in force.
    held: Option<Held>,
    trial: Option<Trial>,
    pending: Option<Pending>,
    /// The last admitted action, until its TTL ends or another replaces it.
    in_force: Option<ActionId>,
    before: Option<Before>,
    /// Exposure ends here unless it is extended.
    deadline: Option<Timestamp>,
    /// Nothing is proposed before this instant: the guard asked for patience.
    retry_at: Option<Timestamp>,
    /// Refused for good by the guard or a person; proposed again only after something changed. One entry each.
    blocked: Vec<Purpose>,
    refit: Option<Refit>,
    watch: Option<Watch>,
    /// The last rollback did not help, for this reason, and is to be undone.
    undo_due: Option<Evidence>,
    /// A rollback was undone since the start: not a second time, or it would swing for ever.
    undone: bool,
    pub(crate) incident: Option<IncidentId>,
    /// What the present tick saw.
    #[serde(skip)]
    pub(crate) sums: TickSums,
}

impl RolloutState {
    /// Declared, not begun.
    pub(crate) fn new(declared: Rollout) -> Self {
        Self {
            declared,
            phase: Phase::Idle,
            held: None,
            trial: None,
            pending: None,
            in_force: None,
            before: None,
            deadline: None,
            retry_at: None,
            blocked: Vec::new(),
            refit: None,
            watch: None,
            undo_due: None,
            undone: false,
            incident: None,
            sums: TickSums::default(),
        }
    }

    /// The split that the service should have now.
    pub(crate) fn split(&self, world: &World) -> Split {
        self.split_with(world, self.held)
    }

    fn split_with(&self, world: &World, held: Option<Held>) -> Split {
        let base = world.base_split(&self.declared.service);
        let (baseline, canary) = (&self.declared.baseline, &self.declared.canary);
        match held {
            None => base,
            Some(Held::Canary(weight)) => splits::with_canary(&base, baseline, canary, weight),
            Some(Held::Promoted) => splits::all_to(&base, canary),
        }
    }

    /// The canary's share as decided.
    pub(crate) fn weight(&self, world: &World) -> Weight {
        splits::weight_of(&self.split(world), &self.declared.canary)
    }

    /// Whether the canary may not be started now, and until when.
    pub(crate) fn frozen_until(&self, world: &World) -> Option<Timestamp> {
        let own = match self.phase {
            Phase::RolledBack { frozen_until, .. } => Some(frozen_until),
            _ => None,
        };
        let held = world.frozen_by_hold(&self.declared.service, &self.declared.canary);
        own.max(held).filter(|until| world.now < *until)
    }

    /// Decides the split without an action: for a past that nobody knows.
    pub(crate) fn hold(&mut self, held: Held) {
        self.held = Some(held);
    }

    /// No rollback of this run is undone by itself any more; gives the evidence for one that was due.
    pub(crate) fn give_up_undo(&mut self) -> Option<Evidence> {
        self.undone = true;
        self.undo_due.take()
    }

    /// The step it stands in, while it is active.
    fn step(&self) -> Option<(usize, Step)> {
        match self.phase {
            Phase::Progressing { step, .. } | Phase::Paused { step, .. } => {
                self.declared.steps.get(step).map(|found| (step, *found))
            }
            _ => None,
        }
    }

    /// Index of the step it stands in; 0 when it is not active.
    fn step_index(&self) -> usize {
        match self.phase {
            Phase::Progressing { step, .. } | Phase::Paused { step, .. } => step,
            _ => 0,
        }
    }

    pub(crate) fn set_phase(&mut self, world: &mut World, phase: Phase) {
        self.phase = phase;
        world.out.push(Command::RolloutMoved { rollout: self.declared.name.clone(), phase: self.phase.clone() });
    }

    /// What the view shows of the judge.
    pub(crate) fn verdict(&self, now: Timestamp) -> Option<CanaryVerdict> {
        self.phase.is_active().then(|| self.trial.as_ref().map(|t| t.verdict(now))).flatten()
    }

    /// Whether this is its last admitted action, not replaced by another.
    pub(crate) fn has_in_force(&self, action: ActionId) -> bool {
        self.in_force == Some(action)
    }

    /// The running or last trial.
    pub(crate) fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// The instants at which something is due although nothing happens; some may lie in the past.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Timestamp> {
        let gate = match (&self.phase, self.step()) {
            (Phase::Progressing { since, .. }, Some((_, step))) => match step.gate {
                Gate::Pause { at_least } | Gate::Evidence { at_least } => Some(*since + at_least),
                Gate::Manual => None,
            },
            _ => None,
        };
        let freeze = match self.phase {
            Phase::RolledBack { frozen_until, .. } => self.in_force.map(|_| frozen_until),
            _ => None,
        };
        let deadline = self.deadline.filter(|_| self.phase.is_active());
        [
            gate,
            freeze,
            deadline,
            self.retry_at,
            self.pending.as_ref().map(|p| p.until),
            self.refit.and_then(|r| r.at),
            self.watch.as_ref().map(|w| w.until),
        ]
        .into_iter()
        .flatten()
    }
}

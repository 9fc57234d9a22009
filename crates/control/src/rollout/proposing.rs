//! From a wish to an action in force: the plan, the guard, the permit, the actuator's answer.

use homeostat_act_guard::Admitted;
use homeostat_model::{
    ActionId, ActionMode, Actor, ChangeEvent, ChangeKind, Span, Timestamp,
    action::{ActionRecord, ActionState, Initiator, Plan, Purpose, Refusal, Split},
    evidence::Evidence,
    incident::Stage,
    rollout::Phase,
};

use super::{Before, Held, Pending, Refit, RolloutState, Wish};
use crate::{Command, splits, trial::Trial, verify::Watch, world::World};

/// First wait before a protective action that failed is tried again; doubled each time.
const REFIT_FIRST: Span = Span::from_secs(1);
/// Doublings at most: tried every 32 s from then on, for as long as it takes.
const REFIT_DOUBLINGS_MAX: u32 = 5;

impl RolloutState {
    /// What the rollout's own judge and gates act as.
    pub(super) fn initiator(&self) -> Initiator {
        Initiator::Rollout { rollout: self.declared.name.clone() }
    }

    /// The judge's numbers so far; nothing seen when there is no trial.
    pub(super) fn evidence(&self, now: Timestamp) -> Evidence {
        match &self.trial {
            Some(trial) => trial.judge().evidence(),
            None => Trial::new(&self.declared, now).judge().evidence(),
        }
    }

    /// Asks the guard. Whatever it says is recorded; `Err` tells why nothing happens yet.
    pub(crate) fn propose(
        &mut self,
        world: &mut World,
        wish: Wish,
        initiator: Initiator,
        evidence: Evidence,
        mode: ActionMode,
    ) -> Result<(), Refusal> {
        let plan = self.plan(world, &wish, initiator, evidence);
        let (now, id, routes) = (world.now, plan.id, self.routes(world));
        let record = |plan, state| ActionRecord {
            plan,
            proposed_at: now,
            state,
            incident: self.incident,
            expires_at: None,
            ahead_of_disk: false,
        };
        match world.guard.admit(now, plan, mode, routes) {
            Ok(permit) => {
                world.add_action(record(permit.plan().clone(), ActionState::Admitted { at: now }));
                self.carry_out(world, permit, wish);
                Ok(())
            }
            Err(refused) => {
                let refusal = refused.refusal;
                self.retry_at = world.guard.retry_at(now, &refusal);
                if refusal == Refusal::NeedsApproval {
                    let until = now + world.guard.limits().approval_ttl;
                    world.add_action(record(refused.plan, ActionState::AwaitingApproval { until }));
                    world.milestone(self.incident, "proposed", format!("{id} waits for approval"));
                    self.drop_pending(world, "replaced by a newer proposal");
                    self.pending = Some(Pending { action: id, until, wish });
                } else {
                    let reason = refusal.to_string();
                    world.milestone(self.incident, "refused", format!("{id}: {reason}"));
                    world.add_action(record(refused.plan, ActionState::Refused { at: now, reason }));
                    if self.retry_at.is_none() {
                        self.blocked.push(wish.purpose());
                    }
                }
                Err(refusal)
            }
        }
    }

    /// Carries out what a person approved.
    pub(super) fn approve(&mut self, world: &mut World, by: &Actor) -> Result<(), Refusal> {
        let Some(pending) = self.pending.clone() else { return Ok(()) };
        let Some(plan) = world.ledger.get(pending.action).map(|r| r.plan.clone()) else { return Ok(()) };
        let routes = self.routes(world);
        match world.guard.admit_approved(world.now, plan, by, routes) {
            Ok(permit) => {
                self.pending = None;
                world.set_action(pending.action, ActionState::Admitted { at: world.now });
                world.milestone(self.incident, "approved", format!("{} by {by}", pending.action));
                self.carry_out(world, permit, pending.wish);
                Ok(())
            }
            Err(refused) => Err(refused.refusal),
        }
    }

    /// A proposal that is no longer wanted.
    pub(crate) fn drop_pending(&mut self, world: &mut World, why: &str) {
        if let Some(pending) = self.pending.take() {
            let reason = why.to_owned();
            world.set_action(pending.action, ActionState::Refused { at: world.now, reason });
        }
    }

    fn routes(&self, world: &World) -> usize {
        world.service(&self.declared.service).map_or(0, |s| s.routes.len())
    }

    fn plan(&self, world: &mut World, wish: &Wish, initiator: Initiator, evidence: Evidence) -> Plan {
        let from = self.split(world);
        let to = self.split_with(world, self.held_after(wish));
        let ttl = self.ttl(world, wish);
        Plan {
            id: world.ledger.next_id(),
            purpose: wish.purpose(),
            service: self.declared.service.clone(),
            rollout: Some(self.declared.name.clone()),
            from,
            to,
            initiator,
            evidence,
            ttl,
        }
    }

    fn held_after(&self, wish: &Wish) -> Option<Held> {
        let step_weight = |step: usize| self.declared.steps.get(step).map(|s| Held::Canary(s.weight));
        match wish {
            Wish::Start => step_weight(0),
            Wish::Step(step) => step_weight(*step),
            Wish::Promote => Some(Held::Promoted),
            Wish::Rollback | Wish::Abort(_) => Some(Held::Canary(homeostat_model::Weight::ZERO)),
            Wish::Undo => self.before.as_ref().and_then(|b| b.held),
        }
    }

    /// Exposure holds until the progress deadline, a freeze as declared, the rest as long as the guard allows.
    fn ttl(&self, world: &World, wish: &Wish) -> Span {
        let max = world.guard.limits().ttl_max;
        let ttl = match wish {
            Wish::Start => self.declared.progress_deadline,
            Wish::Step(_) | Wish::Undo => {
                let left = self.deadline.map_or(Span::ZERO, |at| at.since(world.now));
                if left < Span::from_secs(1) { self.declared.progress_deadline } else { left }
            }
            Wish::Rollback => self.declared.freeze,
            Wish::Promote | Wish::Abort(_) => max,
        };
        ttl.min(max)
    }

    /// An admitted wish becomes the state of things: from here on the desired split is the new one.
    fn carry_out(&mut self, world: &mut World, permit: Admitted, wish: Wish) {
        let (id, now, ttl) = (permit.plan().id, world.now, permit.plan().ttl);
        self.retire_in_force(world, id, &wish);
        self.drop_pending(world, &format!("replaced by {id}"));
        let held = self.held_after(&wish);
        let undone_to = self.before.replace(Before { held: self.held, phase: self.phase.clone() });
        self.held = held;
        self.unblock();
        (self.in_force, self.refit) = (Some(id), None);
        world.milestone(self.incident, "proposed", format!("{id}: {}", permit.because()));
        world.out.push(Command::Shift { permit });
        match wish {
            Wish::Start => self.begin(world, now, ttl),
            Wish::Step(step) => {
                if let Some(trial) = &mut self.trial {
                    trial.step_requests = 0;
                }
                self.set_phase(world, Phase::Progressing { step, since: now });
            }
            Wish::Promote => {
                self.end_incident(world, "the canary was promoted");
                (self.trial, self.deadline) = (None, None);
                self.set_phase(world, Phase::Promoted { at: now });
            }
            Wish::Rollback => self.take_back(world, id, ttl),
            Wish::Abort(reason) => {
                (self.watch, self.undo_due, self.deadline) = (None, None, None);
                if let Some(trial) = &mut self.trial {
                    trial.decide();
                }
                self.set_phase(world, Phase::Aborted { at: now, reason });
            }
            Wish::Undo => self.put_back(world, id, now, ttl, undone_to),
        }
    }

    fn begin(&mut self, world: &mut World, now: Timestamp, ttl: Span) {
        self.end_incident(world, "the rollout was started again");
        let (service, canary) = (&self.declared.service, &self.declared.canary);
        world.holds.retain(|h| h.service != *service || h.canary != *canary);
        self.trial = Some(Trial::new(&self.declared, now));
        self.deadline = Some(now + ttl);
        (self.undone, self.undo_due, self.watch) = (false, None, None);
        self.set_phase(world, Phase::Progressing { step: 0, since: now });
    }

    fn take_back(&mut self, world: &mut World, id: ActionId, freeze: Span) {
        let now = world.now;
        let share_max = world.ledger.get(id).and_then(|r| share_that_fires(&r.plan.evidence));
        if let Some(trial) = &mut self.trial {
            trial.decide();
            self.watch = Some(Watch::new(id, trial, now, self.declared.verify_window, share_max));
        }
        self.set_phase(world, Phase::RolledBack { at: now, frozen_until: now + freeze });
    }

    fn put_back(&mut self, world: &mut World, id: ActionId, now: Timestamp, ttl: Span, to: Option<Before>) {
        (self.watch, self.undo_due) = (None, None);
        let step = match to.map(|b| b.phase) {
            Some(Phase::Progressing { step, .. } | Phase::Paused { step, .. }) => step,
            _ => self.declared.steps.len().saturating_sub(1),
        };
        if self.trial.as_ref().is_none_or(|t| t.decided) {
            // The old trial has given its verdict; whether the canary is worse now is a new question.
            self.trial = Some(Trial::new(&self.declared, now));
            self.undone = true;
        }
        self.deadline = Some(now + ttl);
        let reason = format!("{id} put the weights back; resume, promote or abort it");
        self.set_phase(world, Phase::Paused { step, since: now, reason });
    }

    /// The action in force gives way to a newer one.
    fn retire_in_force(&mut self, world: &mut World, by: ActionId, wish: &Wish) {
        let Some(old) = self.in_force.take() else { return };
        let now = world.now;
        world.with_action(old, |record| {
            record.expires_at = None;
            let live = !matches!(record.state, ActionState::Failed { .. } | ActionState::Undone { .. });
            let reason = match wish {
                Wish::Rollback | Wish::Abort(_) => Some(format!("taken back by {by}")),
                Wish::Undo => Some(format!("undone by {by}")),
                // A new start follows a rollback that did what it was for; it does not say that it was wrong.
                Wish::Start | Wish::Step(_) | Wish::Promote => None,
            };
            if let (true, Some(reason)) = (live, reason) {
                record.state = ActionState::Undone { at: now, reason };
            }
        });
    }

    // The actuator's answer.

    /// The serving table shows it.
    pub(crate) fn applied(&mut self, world: &mut World, id: ActionId) {
        let now = world.now;
        let Some(plan) = world.ledger.get(id).map(|r| r.plan.clone()) else { return };
        let expires_at = (plan.purpose != Purpose::Promote).then(|| now + plan.ttl);
        self.refit = None;
        world.with_action(id, |record| {
            record.state = ActionState::Applied { at: now };
            record.expires_at = expires_at;
        });
        if plan.purpose.is_protective() {
            world.milestone(self.incident, "weight_zero", format!("{id} is in force: the canary gets no new requests"));
        }
        if let Some(incident) = self.incident.filter(|_| plan.purpose.is_protective()) {
            world.with_incident(incident, |open, _| open.reach(Stage::Acted));
            if plan.purpose == Purpose::Abort {
                self.wind_up(world, "the canary was taken back by hand");
            }
        }
        match &mut self.phase {
            Phase::RolledBack { frozen_until, .. } if plan.purpose == Purpose::Rollback => {
                *frozen_until = now + plan.ttl;
                if let Some(watch) = &mut self.watch {
                    watch.applied(now, self.declared.verify_window);
                }
            }
            Phase::Progressing { .. } | Phase::Paused { .. } => self.deadline = expires_at,
            _ => {}
        }
        world.note_change(self.change(&plan, now));
    }

    fn change(&self, plan: &Plan, now: Timestamp) -> ChangeEvent {
        let canary = &self.declared.canary;
        let share = |split: &Split| splits::weight_of(split, canary);
        let by = match &plan.initiator {
            Initiator::Person { actor } => actor.clone(),
            Initiator::Rollout { .. } | Initiator::Objective { .. } => Actor::homeostat(),
        };
        let (label, from, to) = (plan.purpose.label(), share(&plan.from), share(&plan.to));
        ChangeEvent {
            at: now,
            kind: ChangeKind::Traffic,
            service: Some(plan.service.clone()),
            version: Some(canary.clone()),
            summary: format!("{label}: {canary} from {from} to {to} of {} ({})", plan.service, self.declared.name),
            by,
        }
    }

    /// The old table serves on. A protective action is tried again; exposure is given up.
    pub(crate) fn failed(&mut self, world: &mut World, id: ActionId, reason: &str) {
        let now = world.now;
        world.set_action(id, ActionState::Failed { at: now, reason: reason.to_owned() });
        let Some(purpose) = world.ledger.get(id).map(|r| r.plan.purpose) else { return };
        world.milestone(self.incident, "refused", format!("{id} could not be carried out: {reason}"));
        if purpose.is_protective() {
            let tries = self.refit.map_or(0, |r| r.tries.saturating_add(1));
            self.refit = Some(Refit::after(now, tries, id));
            if tries == 0 {
                self.call_for_help(world, "RollbackFailed", &format!("{id} could not be carried out: {reason}"));
            }
            return;
        }
        self.in_force = None;
        let Some(before) = self.before.take() else { return };
        self.held = before.held;
        let reason = format!("{id} failed: {reason}");
        let phase = match before.phase {
            Phase::Progressing { step, .. } | Phase::Paused { step, .. } => {
                if self.trial.is_none() {
                    self.trial = Some(Trial::new(&self.declared, now));
                    self.deadline = Some(now + self.declared.progress_deadline);
                }
                Phase::Paused { step, since: now, reason }
            }
            // The first step never began.
            _ if purpose == Purpose::Advance => Phase::Aborted { at: now, reason },
            other => other,
        };
        self.set_phase(world, phase);
    }

    /// Tries a failed protective action again, under a new number, for as long as it takes.
    pub(super) fn try_again(&mut self, world: &mut World) {
        let Some(refit) = self.refit.filter(|r| r.at.is_some_and(|at| at <= world.now)) else { return };
        let Some(failed) = world.ledger.get(refit.failed).cloned() else { return };
        let (now, id, routes) = (world.now, world.ledger.next_id(), self.routes(world));
        // Versions, weights and limits may have changed since it failed.
        let (to, ttl) = (self.split(world), failed.plan.ttl.min(world.guard.limits().ttl_max));
        let plan = Plan { id, to, ttl, ..failed.plan };
        // It was admitted once: who has to agree has agreed, and break-glass does not leave half of it undone.
        match world.guard.admit_approved(now, plan, &Actor::homeostat(), routes) {
            Ok(permit) => {
                world.add_action(ActionRecord {
                    plan: permit.plan().clone(),
                    proposed_at: now,
                    state: ActionState::Admitted { at: now },
                    incident: failed.incident,
                    expires_at: None,
                    ahead_of_disk: false,
                });
                self.in_force = Some(id);
                self.refit = Some(Refit { at: None, ..refit });
                if let Some(watch) = &mut self.watch {
                    watch.action = id;
                }
                world.out.push(Command::Shift { permit });
            }
            Err(_) => self.refit = Some(Refit::after(now, refit.tries.saturating_add(1), refit.failed)),
        }
    }
}

impl Refit {
    /// The next try: after a second, then after twice as long each time, up to a limit.
    fn after(now: Timestamp, tries: u32, failed: ActionId) -> Self {
        let tries = tries.min(REFIT_DOUBLINGS_MAX);
        Self { at: Some(now + Span::from_ns(REFIT_FIRST.ns() << tries)), tries, failed }
    }
}

/// The bad share at which a burn-rate rule fires.
fn share_that_fires(evidence: &Evidence) -> Option<f64> {
    let Evidence::Burn { rule, long_rate, long, .. } = evidence else { return None };
    // A rate is a share over the budget's share.
    long.bad_share().filter(|_| *long_rate > 0.0).map(|share| rule.factor * share / long_rate)
}

//! What ought to happen now: asked at every tick with traffic and at every deadline.

use homeostat_model::{
    ActionId, Weight,
    action::{ActionRecord, ActionState, Purpose},
    rollout::{Gate, Phase, Start},
    verdict::CanaryVerdict,
};

use super::{Held, RolloutState, Wish};
use crate::{splits, world::World};

impl RolloutState {
    /// Counts what the tick saw of the service, and hears the judge.
    pub(crate) fn record(&mut self, world: &mut World) {
        if !self.sums.touched {
            return;
        }
        let sums = std::mem::take(&mut self.sums);
        if let Some(trial) = &mut self.trial {
            trial.record(world.now, &sums, world.thresholds(&self.declared.service));
        }
        self.watch_tick(world, &sums);
        self.notice_worse(world);
    }

    /// Does what is due by now. Cheap when nothing is.
    pub(crate) fn on_time(&mut self, world: &mut World) {
        self.forget_closed_incident(world);
        self.lapse_pending(world);
        self.try_again(world);
        self.watch_deadline(world);
        self.lift_freeze(world);
        self.reconsider(world);
    }

    /// Something changed that may let the guard think again: limits, mode, break-glass, a person's order.
    pub(crate) fn unblock(&mut self) {
        self.blocked.clear();
        self.retry_at = None;
    }

    /// Proposes what ought to happen, unless it was refused for good or has to wait.
    pub(crate) fn reconsider(&mut self, world: &mut World) {
        let Some(wish) = self.wish(world) else { return };
        let purpose = wish.purpose();
        if self.is_blocked(purpose) {
            return;
        }
        // A retreat does not wait for anything; the rest waits as the guard asked, or for the proposal under way.
        if !purpose.is_protective() && self.retry_at.is_some_and(|at| world.now < at) {
            return;
        }
        if let Some(pending) = &self.pending {
            if purpose.is_protective() && !pending.wish.purpose().is_protective() {
                self.drop_pending(world, "overtaken by a retreat");
            } else if purpose != Purpose::Rollback || self.is_own_rollback(world, pending.action) {
                return;
            }
            // The judge's rollback replaces another retreat that waits; where it is refused, that one goes on waiting.
        }
        self.retry_at = None;
        self.propose_wish(world, wish);
    }

    fn propose_wish(&mut self, world: &mut World, wish: Wish) {
        let mode = self.declared.mode;
        let evidence = match (&wish, &self.undo_due) {
            (Wish::Undo, Some(evidence)) => evidence.clone(),
            _ => self.evidence(world.now),
        };
        let told = wish.clone();
        let answer = self.propose(world, wish, self.initiator(), evidence.clone(), mode);
        match told {
            Wish::Rollback => self.tell_of_rollback(world, answer, &evidence),
            Wish::Undo => self.tell_of_undo(world, answer),
            Wish::Start | Wish::Step(_) | Wish::Promote | Wish::Abort(_) => self.tell_of_move(world, &told, answer),
        }
    }

    fn wish(&self, world: &World) -> Option<Wish> {
        if self.undo_due.is_some() {
            return Some(Wish::Undo);
        }
        match self.phase {
            Phase::Idle => self.starts_by_itself(world).then_some(Wish::Start),
            Phase::Progressing { .. } | Phase::Paused { .. } => self.wish_of_active(world),
            Phase::Promoted { .. } | Phase::RolledBack { .. } | Phase::Aborted { .. } => None,
        }
    }

    fn wish_of_active(&self, world: &World) -> Option<Wish> {
        let worse = self.trial.as_ref().is_some_and(|t| t.decided);
        if worse && !self.is_blocked(Purpose::Rollback) {
            return Some(Wish::Rollback);
        }
        if self.deadline.is_some_and(|at| at <= world.now) {
            let limit = self.declared.progress_deadline;
            return Some(Wish::Abort(format!("it had not ended by its progress deadline of {limit}")));
        }
        // Cheap questions first: this is asked at every tick. A step that the gateway has not confirmed shows nothing yet.
        let waits = self.pending.is_some()
            || self.retry_at.is_some_and(|at| world.now < at)
            || self.in_force.is_some_and(|id| world.ledger.awaits_answer(id));
        if worse || waits {
            return None;
        }
        let next = self.next_wish();
        (!self.is_blocked(next.purpose()) && self.gate_is_open(world)).then_some(next)
    }

    /// The next step, or promotion after the last.
    pub(super) fn next_wish(&self) -> Wish {
        let next = self.step_index().saturating_add(1);
        if next < self.declared.steps.len() { Wish::Step(next) } else { Wish::Promote }
    }

    /// Not after a rollback under another name either: traffic never returns to such a release by itself.
    fn starts_by_itself(&self, world: &World) -> bool {
        self.declared.start == Start::Auto
            && self.frozen_until(world).is_none()
            && !world.is_held(&self.declared.service, &self.declared.canary)
            && self.has_pool(world)
    }

    /// Whether baseline and canary have any traffic to share.
    pub(super) fn has_pool(&self, world: &World) -> bool {
        let base = world.base_split(&self.declared.service);
        splits::pool(&base, &self.declared.baseline, &self.declared.canary) > Weight::ZERO
    }

    /// A gate opens on time and on what was seen in this very step: without canary traffic nothing was seen.
    fn gate_is_open(&self, world: &World) -> bool {
        let Phase::Progressing { since, .. } = self.phase else { return false };
        let (Some((_, step)), Some(trial)) = (self.step(), &self.trial) else { return false };
        let lasted = world.now.since(since);
        match step.gate {
            Gate::Manual => false,
            Gate::Pause { at_least } => at_least <= lasted && trial.step_requests > 0,
            Gate::Evidence { at_least } => {
                at_least <= lasted
                    && self.declared.test.min_events.max(1) <= trial.step_requests
                    && matches!(trial.verdict(world.now), CanaryVerdict::NotWorse { .. })
            }
        }
    }

    /// Whether an action is a rollback that the rollout's own judge asked for.
    fn is_own_rollback(&self, world: &World, action: ActionId) -> bool {
        let own = |r: &ActionRecord| r.plan.purpose == Purpose::Rollback && r.plan.initiator == self.initiator();
        world.ledger.get(action).is_some_and(own)
    }

    /// A proposal that nobody answered lapses, and is made anew if it is still wanted.
    fn lapse_pending(&mut self, world: &mut World) {
        if let Some(pending) = self.pending.take_if(|p| p.until <= world.now) {
            let reason = "nobody approved it in time".to_owned();
            world.milestone(self.incident, "refused", format!("{}: {reason}", pending.action));
            world.set_action(pending.action, ActionState::Refused { at: world.now, reason });
        }
    }

    /// The freeze of a rolled-back release ends. Traffic does not return by itself: somebody has to start it.
    fn lift_freeze(&mut self, world: &mut World) {
        let Phase::RolledBack { frozen_until, .. } = self.phase else { return };
        if world.now < frozen_until || self.undo_due.is_some() {
            return;
        }
        if let Some(action) = self.in_force.take() {
            (self.before, self.watch) = (None, None);
            world.set_action(action, ActionState::Expired { at: world.now });
            self.end_incident(world, "the freeze ended; the canary stays at 0 % until it is started again");
        }
    }

    /// The weight that the canary would have by its step: what reloads compare.
    pub(crate) fn held_weight(&self) -> Option<Weight> {
        match self.held {
            Some(Held::Canary(weight)) => Some(weight),
            Some(Held::Promoted) | None => None,
        }
    }

    /// Whether the last refusal stands in the way of this purpose.
    pub(super) fn is_blocked(&self, purpose: Purpose) -> bool {
        self.blocked.contains(&purpose)
    }
}

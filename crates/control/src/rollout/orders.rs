//! What people ask of a rollout and decide about its actions. Whatever is impossible is answered with the reason and
//! with what to do instead.

use homeostat_model::{
    ActionId, ActionMode, Actor, Span, Timestamp,
    action::{ActionState, Decision, Initiator, Purpose, Refusal},
    evidence::Evidence,
    rollout::{Phase, Verb},
};

use super::{RolloutState, Wish};
use crate::world::World;

/// Why an order was not followed, for the person who gave it.
type Answer = Result<(), String>;

/// Shortest extension: as for any TTL.
const EXTENSION_MIN: Span = Span::from_secs(1);

impl RolloutState {
    /// Follows an order, or says why not.
    pub(crate) fn order(&mut self, world: &mut World, verb: Verb, by: &Actor, reason: &str) -> Answer {
        let name = self.declared.name.clone();
        match verb {
            Verb::Start => self.start(world, by, reason, false),
            Verb::StartFrozen => self.start(world, by, reason, true),
            Verb::Pause => self.pause(world, by, reason),
            Verb::Resume => self.resume(world),
            Verb::Promote if self.phase.is_active() => {
                let wish = self.next_wish();
                self.command(world, wish, by, reason)
            }
            Verb::Promote => {
                Err(format!("rollout {name} is {}: only a running one can be promoted", self.state_word()))
            }
            Verb::Abort if self.phase.is_active() => {
                let why = if reason.is_empty() { format!("by {by}") } else { format!("by {by}: {reason}") };
                self.command(world, Wish::Abort(why), by, reason)
            }
            Verb::Abort => Err(match self.phase {
                Phase::Promoted { .. } => {
                    format!(
                        "rollout {name} is promoted: undo its last action, or declare a rollout the other way round"
                    )
                }
                _ => format!("rollout {name} is {}: there is nothing to abort", self.state_word()),
            }),
        }
    }

    /// Follows a decision about one of this rollout's actions, or says why not. `None` when the action is not among
    /// those that can still be decided about.
    pub(crate) fn decide(
        &mut self,
        world: &mut World,
        action: ActionId,
        decision: Decision,
        by: &Actor,
        reason: &str,
    ) -> Option<Answer> {
        let pending = self.pending.as_ref().is_some_and(|p| p.action == action);
        let in_force = self.in_force == Some(action);
        match decision {
            Decision::Approve | Decision::Reject if in_force => {
                Some(Err(format!("{action} is already in force: undo it instead")))
            }
            Decision::Undo | Decision::Extend { .. } if pending => {
                Some(Err(format!("{action} is not in force yet: approve or reject it")))
            }
            Decision::Approve if pending => Some(self.approve_pending(world, by)),
            Decision::Reject if pending => {
                self.reject_pending(world, by, reason);
                Some(Ok(()))
            }
            Decision::Undo if in_force => Some(self.undo(world, action, by, reason)),
            Decision::Extend { ttl } if in_force => Some(self.extend(world, action, ttl)),
            _ => None,
        }
    }

    fn start(&mut self, world: &mut World, by: &Actor, reason: &str, although_frozen: bool) -> Answer {
        let name = self.declared.name.clone();
        let (canary, service) = (&self.declared.canary, &self.declared.service);
        if self.phase.is_active() {
            return Err(format!("rollout {name} is {}: promote or abort it", self.state_word()));
        }
        if matches!(self.phase, Phase::Promoted { .. }) {
            return Err(format!("rollout {name} is promoted: declare a rollout of the next version"));
        }
        if !self.has_pool(world) {
            let baseline = &self.declared.baseline;
            return Err(format!("{baseline} has no traffic to give: give it a share in the split of {service}"));
        }
        let frozen = self.frozen_until(world);
        if let (Some(until), false) = (frozen, although_frozen) {
            let left = until.since(world.now).to_wait();
            return Err(format!(
                "release {canary} of {service} is frozen for another {left} after its rollback: fix it under a new \
                 version name, or start it although it is frozen (`start --frozen`)"
            ));
        }
        let reason = match (frozen, reason) {
            (None, reason) => reason.to_owned(),
            (Some(_), "") => "started although the release is frozen".to_owned(),
            (Some(_), reason) => format!("started although the release is frozen: {reason}"),
        };
        self.command(world, Wish::Start, by, &reason)
    }

    fn pause(&mut self, world: &mut World, by: &Actor, reason: &str) -> Answer {
        let Phase::Progressing { step, .. } = self.phase else {
            return Err(format!("rollout {} is {}: nothing to pause", self.declared.name, self.state_word()));
        };
        let waits_for_more =
            self.pending.as_ref().is_some_and(|p| matches!(p.wish.purpose(), Purpose::Advance | Purpose::Promote));
        if waits_for_more {
            self.drop_pending(world, "the rollout was paused");
        }
        let reason = if reason.is_empty() { format!("paused by {by}") } else { format!("paused by {by}: {reason}") };
        self.set_phase(world, Phase::Paused { step, since: world.now, reason });
        Ok(())
    }

    fn resume(&mut self, world: &mut World) -> Answer {
        let Phase::Paused { step, .. } = self.phase else {
            return Err(format!("rollout {} is {}: nothing to resume", self.declared.name, self.state_word()));
        };
        self.unblock();
        if self.trial().is_some_and(|t| !t.decided) {
            self.end_incident(world, "a person resumed the rollout");
        }
        self.set_phase(world, Phase::Progressing { step, since: world.now });
        Ok(())
    }

    /// A person's own proposal.
    pub(crate) fn command(&mut self, world: &mut World, wish: Wish, by: &Actor, reason: &str) -> Answer {
        let purpose = wish.purpose().label();
        let initiator = Initiator::Person { actor: by.clone() };
        let evidence = Evidence::Person { reason: reason.to_owned() };
        self.unblock();
        let answer = self.propose(world, wish, initiator, evidence, ActionMode::Auto);
        // What a person is refused is not retried behind their back.
        self.unblock();
        answer.map_err(|refusal| format!("{purpose} was refused: {refusal}{}", what_to_do(&refusal)))
    }

    fn approve_pending(&mut self, world: &mut World, by: &Actor) -> Answer {
        let wish = self.pending.as_ref().map(|p| p.wish.clone());
        match (self.approve(world, by), wish) {
            (Ok(()), Some(Wish::Rollback)) => {
                let evidence = self.plan_evidence(world);
                self.tell_of_rollback(world, Ok(()), &evidence);
                Ok(())
            }
            (Ok(()), Some(Wish::Undo)) => {
                self.tell_of_undo(world, Ok(()));
                Ok(())
            }
            (Ok(()), _) => Ok(()),
            (Err(refusal), _) => Err(format!("still refused: {refusal}{}", what_to_do(&refusal))),
        }
    }

    fn plan_evidence(&self, world: &World) -> Evidence {
        let plan = self.in_force.and_then(|id| world.ledger.get(id)).map(|r| r.plan.evidence.clone());
        plan.unwrap_or_else(|| self.evidence(world.now))
    }

    fn reject_pending(&mut self, world: &mut World, by: &Actor, reason: &str) {
        let Some(pending) = self.pending.take() else { return };
        let reason =
            if reason.is_empty() { format!("rejected by {by}") } else { format!("rejected by {by}: {reason}") };
        world.milestone(self.incident, "refused", format!("{}: {reason}", pending.action));
        world.set_action(pending.action, ActionState::Refused { at: world.now, reason });
        self.blocked.push(pending.wish.purpose());
        if pending.wish == Wish::Undo
            && let Some(evidence) = self.undo_due.take()
        {
            self.stay_down(world, &evidence, "undoing it was rejected");
        }
    }

    fn undo(&mut self, world: &mut World, action: ActionId, by: &Actor, reason: &str) -> Answer {
        let purpose = world.ledger.get(action).map(|r| r.plan.purpose);
        let began = self.before.as_ref().is_none_or(|b| !b.phase.is_active());
        match purpose {
            Some(Purpose::Undo) => Err(format!("{action} is itself an undo: promote or abort the rollout")),
            // Before the first step there was nothing: undoing it means taking the canary back.
            Some(Purpose::Advance) if began => {
                self.command(world, Wish::Abort(format!("{action} undone by {by}")), by, reason)
            }
            Some(_) if began => Err(format!("what was before {action} is no longer known: start the rollout again")),
            _ => {
                let was_frozen = matches!(self.phase, Phase::RolledBack { .. });
                self.command(world, Wish::Undo, by, reason)?;
                if was_frozen {
                    world.milestone(self.incident, "undone", format!("{action} by {by}"));
                    self.wind_up(world, &format!("{by} put the canary back"));
                }
                Ok(())
            }
        }
    }

    fn extend(&mut self, world: &mut World, action: ActionId, ttl: Span) -> Answer {
        let max = world.guard.limits().ttl_max;
        if ttl < EXTENSION_MIN || max < ttl {
            return Err(format!("{action} can be extended by 1 s to {max}, {ttl} is not between them"));
        }
        let until: Timestamp = world.now + ttl;
        match &mut self.phase {
            Phase::RolledBack { frozen_until, .. } => *frozen_until = until,
            Phase::Progressing { .. } | Phase::Paused { .. } => self.deadline = Some(until),
            Phase::Idle | Phase::Promoted { .. } | Phase::Aborted { .. } => {
                return Err(format!("{action} has no end that could be put off"));
            }
        }
        world.with_action(action, |record| record.expires_at = Some(until));
        Ok(())
    }

    /// The phase as people say it.
    fn state_word(&self) -> &'static str {
        match self.phase {
            Phase::Idle => "not started",
            Phase::Progressing { .. } => "already running",
            Phase::Paused { .. } => "paused",
            Phase::Promoted { .. } => "promoted",
            Phase::RolledBack { .. } => "rolled back",
            Phase::Aborted { .. } => "aborted",
        }
    }
}

/// The way out of a refusal, for people.
fn what_to_do(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Routes { .. } => "; raise the guard's limit of routes",
        Refusal::Traffic { .. } => "; take smaller steps, or raise the guard's limit of traffic",
        Refusal::Rate { .. } => "; wait, or raise the guard's limit of actions per hour",
        Refusal::Cooldown { .. } => "; wait that long",
        Refusal::Ttl { .. } => "; choose another freeze or progress deadline",
        Refusal::Evidence | Refusal::Observe | Refusal::NeedsApproval | Refusal::BreakGlass => "",
    }
}

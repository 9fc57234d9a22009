//! The guard itself: limits, switches and memory of what was done.

use homeostat_model::{
    ActionMode, Actor, Span, Timestamp,
    action::{Initiator, Plan, Purpose, Refusal},
};
use serde::{Deserialize, Serialize};

use crate::{Admitted, DONE_KEPT_MAX, GuardLimits, evidence, rate::History};

/// Shortest TTL: below a second nobody could see what was done, let alone verify it.
const TTL_MIN: Span = Span::from_secs(1);

/// A plan that did not pass, with the reason; the plan comes back so that it can be recorded, or approved later.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{} was refused: {refusal}", plan.id)]
pub struct Refused {
    /// What was proposed.
    pub plan: Plan,
    /// Why not.
    pub refusal: Refusal,
}

/// Decides what may be done. All of its state is in the snapshot of whoever owns it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    limits: GuardLimits,
    break_glass: bool,
    history: History,
}

impl Guard {
    /// A guard that has not admitted anything yet.
    pub fn new(limits: GuardLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The limits in force.
    pub fn limits(&self) -> &GuardLimits {
        &self.limits
    }

    /// Replaces the limits; what was done before still counts.
    pub fn set_limits(&mut self, limits: GuardLimits) {
        self.limits = limits;
    }

    /// Whether all automatic actions are off.
    pub fn break_glass(&self) -> bool {
        self.break_glass
    }

    /// Switches all automatic actions off (`true`) or on again. People's own commands pass either way.
    pub fn set_break_glass(&mut self, engaged: bool) {
        self.break_glass = engaged;
    }

    /// Turns a plan into a permit, or hands it back with the reason.
    ///
    /// `mode` is how far automation may go here; it does not bind a plan that a person initiated. `routes_touched` is the
    /// number of routes that lead to the plan's service. `Refusal::NeedsApproval` comes only when nothing else speaks
    /// against the plan: what is put before a person can be approved.
    pub fn admit(
        &mut self,
        now: Timestamp,
        plan: Plan,
        mode: ActionMode,
        routes_touched: usize,
    ) -> Result<Admitted, Box<Refused>> {
        let by_person = matches!(plan.initiator, Initiator::Person { .. });
        let checked = self.check(now, &plan, routes_touched, by_person).and_then(|because| {
            if by_person {
                return Ok(because);
            }
            match mode {
                _ if self.break_glass => Err(Refusal::BreakGlass),
                ActionMode::Observe => Err(Refusal::Observe),
                ActionMode::Approve => Err(Refusal::NeedsApproval),
                ActionMode::Auto => Ok(format!("{because}; mode auto")),
            }
        });
        self.settle(now, plan, checked)
    }

    /// Turns a plan that a person approved into a permit. Mode and break-glass ask for a person, so they are satisfied;
    /// everything else is checked as of now, the cool-down excepted as for any order of a person.
    pub fn admit_approved(
        &mut self,
        now: Timestamp,
        plan: Plan,
        by: &Actor,
        routes_touched: usize,
    ) -> Result<Admitted, Box<Refused>> {
        let checked =
            self.check(now, &plan, routes_touched, true).map(|because| format!("{because}; approved by {by}"));
        self.settle(now, plan, checked)
    }

    /// When a plan that was refused for its rate or cool-down is worth proposing again; `None` for other refusals.
    pub fn retry_at(&self, now: Timestamp, refusal: &Refusal) -> Option<Timestamp> {
        match refusal {
            Refusal::Cooldown { left } => Some(now + *left),
            Refusal::Rate { limit, .. } => self.history.below_limit_at(*limit),
            _ => None,
        }
    }

    fn settle(
        &mut self,
        now: Timestamp,
        plan: Plan,
        checked: Result<String, Refusal>,
    ) -> Result<Admitted, Box<Refused>> {
        match checked {
            Ok(because) => {
                self.history.note(now, &plan.service);
                Ok(Admitted::new(plan, because))
            }
            Err(refusal) => Err(Box::new(Refused { plan, refusal })),
        }
    }

    /// Everything but mode and break-glass; the reasons why it may pass.
    fn check(&mut self, now: Timestamp, plan: &Plan, routes: usize, by_person: bool) -> Result<String, Refusal> {
        let evidence = evidence::weigh(plan).ok_or(Refusal::Evidence)?;
        let ttl_max = self.limits.ttl_max;
        if plan.ttl < TTL_MIN || ttl_max < plan.ttl {
            return Err(Refusal::Ttl { ttl: plan.ttl, limit: ttl_max });
        }
        if plan.purpose.is_protective() {
            return Ok(format!("{evidence}; protective"));
        }
        let radius = self.check_radius(plan, routes)?;
        let done = self.check_rate(now)?;
        if !by_person {
            self.check_cooldown(now, plan)?;
        }
        Ok(format!("{evidence}; {radius}; {done}"))
    }

    fn check_radius(&self, plan: &Plan, routes: usize) -> Result<String, Refusal> {
        let limit = self.limits.routes_max;
        if limit < routes {
            return Err(Refusal::Routes { routes, limit });
        }
        let (moved, limit) = (plan.traffic_moved(), self.limits.traffic_max);
        let promoted_by_person = plan.purpose == Purpose::Promote && matches!(plan.initiator, Initiator::Person { .. });
        if limit < moved && !promoted_by_person {
            return Err(Refusal::Traffic { moved, limit });
        }
        Ok(format!("moves {moved} on {routes} routes"))
    }

    fn check_rate(&mut self, now: Timestamp) -> Result<String, Refusal> {
        let (done, limit) = (self.history.within_hour(now), self.limits.actions_per_hour_max.min(DONE_KEPT_MAX));
        if limit <= done {
            return Err(Refusal::Rate { done, limit });
        }
        Ok(format!("action {} of {limit} within the hour", done + 1))
    }

    fn check_cooldown(&self, now: Timestamp, plan: &Plan) -> Result<(), Refusal> {
        let left = self.history.cooldown_left(now, &plan.service, self.limits.cooldown);
        if left == Span::ZERO { Ok(()) } else { Err(Refusal::Cooldown { left }) }
    }
}

#[cfg(test)]
mod tests;

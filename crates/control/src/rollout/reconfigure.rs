//! A rollout over a change of configuration: what it keeps, and what becomes of one that is no longer declared.

use homeostat_model::{
    Actor, Weight,
    rollout::{Phase, Rollout, Verb},
};

use super::{Held, RolloutState};
use crate::{
    trial::Trial,
    world::{Hold, World},
};

impl RolloutState {
    /// Whether a declaration continues this rollout: the same service, baseline and canary under the same name.
    pub(crate) fn continues_as(&self, declared: &Rollout) -> bool {
        let old = &self.declared;
        old.service == declared.service && old.baseline == declared.baseline && old.canary == declared.canary
    }

    /// Takes a changed declaration of the same rollout. `split_changed`: the service's declared split is another one.
    pub(crate) fn reconfigure(&mut self, world: &mut World, declared: Rollout, split_changed: bool) {
        let changed = self.declared != declared;
        let old = std::mem::replace(&mut self.declared, declared);
        if changed || split_changed {
            self.drop_pending(world, "the configuration changed; it is proposed anew if it is still wanted");
        }
        if !changed || !self.phase.is_active() {
            return;
        }
        if old.steps != self.declared.steps {
            self.fit_steps(world);
        }
        if old.test != self.declared.test && self.trial().is_some_and(|t| !t.decided) {
            self.trial = Some(Trial::new(&self.declared, world.now));
        }
    }

    /// The step is kept if its weight is the one in force; otherwise a person has to say where it stands.
    fn fit_steps(&mut self, world: &mut World) {
        let index = self.step_index();
        let declared = self.declared.steps.get(index).map(|s| s.weight);
        if declared.is_some() && declared == self.held_weight() {
            return;
        }
        let step = index.min(self.declared.steps.len().saturating_sub(1));
        let weight = self.held_weight().unwrap_or(Weight::ZERO);
        let reason = format!(
            "its steps changed while the canary was at {weight}; resume it at step {}, promote or abort it",
            step + 1
        );
        self.set_phase(world, Phase::Paused { step, since: world.now, reason });
    }

    /// The declaration is gone. A canary that has traffic loses it; one that was taken back stays away.
    pub(crate) fn vanish(mut self, world: &mut World) {
        if self.phase.is_active() {
            // Whoever edits the configuration gives an order. A protective order of a person is never refused.
            let _followed = self.order(world, Verb::Abort, &Actor::new("configuration"), "it is no longer declared");
        }
        self.drop_pending(world, "its rollout is no longer declared");
        self.end_incident(world, "its rollout is no longer declared");
        let frozen_until = self.frozen_until(world).unwrap_or(world.now);
        let Some(service) = world.service(&self.declared.service) else { return };
        if self.held == Some(Held::Canary(Weight::ZERO)) {
            let hold = Hold {
                service: service.name.clone(),
                baseline: self.declared.baseline.clone(),
                canary: self.declared.canary.clone(),
                frozen_until,
                declared: service.split.clone(),
            };
            world.holds.retain(|h| h.service != hold.service || h.canary != hold.canary);
            world.holds.push(hold);
        }
    }
}

//! Taking over a configuration: what is declared anew is bound, what goes on keeps its state.

use homeostat_model::{Actor, ChangeEvent, ChangeKind, Objective, rollout::Rollout};

use crate::{Control, ControlSpec, objective::ObjectiveState, rollout::RolloutState, traffic::ServiceTraffic};

impl Control {
    /// Replaces the configuration.
    pub(crate) fn configure(&mut self, spec: ControlSpec) {
        let old = std::mem::replace(&mut self.world.spec, spec);
        let changed = old != self.world.spec;
        self.world.guard.set_limits(self.world.spec.guard.clone());
        self.drop_holds();
        self.take_rollouts(&old);
        if std::mem::take(&mut self.forgetful) {
            self.stand_down();
        }
        self.take_objectives();
        self.take_services();
        self.bind_cells();
        if std::mem::take(&mut self.rebuilds) {
            self.count_as_applied();
        }
        if changed && !old.services.is_empty() {
            self.note_reload();
        }
    }

    /// A hold ends when the freeze is over and a person has written another split, or the service is gone.
    fn drop_holds(&mut self) {
        let (now, services) = (self.world.now, &self.world.spec.services);
        self.world.holds.retain(|hold| {
            let service = services.iter().find(|s| s.name == hold.service);
            service.is_some_and(|s| now < hold.frozen_until || s.split == hold.declared)
        });
    }

    fn take_rollouts(&mut self, old: &ControlSpec) {
        let mut declared: Vec<Rollout> = self.world.spec.rollouts.clone();
        declared.sort_by(|a, b| a.name.cmp(&b.name));
        declared.dedup_by(|a, b| a.name == b.name);
        let mut states = std::mem::take(&mut self.rollouts);
        for rollout in declared {
            let known = states.iter().position(|s| s.declared.name == rollout.name).map(|at| states.remove(at));
            let state = match known {
                Some(mut state) if state.continues_as(&rollout) => {
                    let before = old.services.iter().find(|s| s.name == rollout.service).map(|s| &s.split);
                    let split_changed = before != self.world.service(&rollout.service).map(|s| &s.split);
                    state.reconfigure(&mut self.world, rollout, split_changed);
                    state.unblock();
                    state
                }
                Some(state) => {
                    state.vanish(&mut self.world);
                    RolloutState::new(rollout)
                }
                None => RolloutState::new(rollout),
            };
            self.rollouts.push(state);
        }
        for state in states {
            state.vanish(&mut self.world);
        }
    }

    fn take_objectives(&mut self) {
        let mut declared: Vec<Objective> = self.world.spec.objectives.clone();
        declared.sort_by(|a, b| a.name.cmp(&b.name));
        declared.dedup_by(|a, b| a.name == b.name);
        let mut states = std::mem::take(&mut self.objectives);
        for objective in declared {
            let known = states.iter().position(|s| s.declared.name == objective.name).map(|at| states.remove(at));
            let state = match known {
                Some(state) if state.continues_as(&objective) => state.reconfigure(objective),
                Some(state) => {
                    state.vanish(&mut self.world, "its objective was declared anew");
                    ObjectiveState::new(objective, self.world.now)
                }
                None => ObjectiveState::new(objective, self.world.now),
            };
            self.objectives.push(state);
        }
        for state in states {
            state.vanish(&mut self.world, "its objective is no longer declared");
        }
    }

    fn take_services(&mut self) {
        let mut known = std::mem::take(&mut self.traffic);
        for service in &self.world.spec.services {
            let old = known.iter().position(|t| t.name == service.name).map(|at| known.remove(at));
            self.traffic.push(ServiceTraffic::new(service, old));
        }
    }

    /// A new process builds its serving table from the desired splits: whatever was admitted is in force with it.
    fn count_as_applied(&mut self) {
        for action in self.world.ledger.unanswered() {
            self.applied(action, false);
        }
    }

    fn note_reload(&mut self) {
        let spec = &self.world.spec;
        let summary = format!(
            "configuration applied: {} services, {} objectives, {} rollouts",
            spec.services.len(),
            spec.objectives.len(),
            spec.rollouts.len()
        );
        self.world.note_change(ChangeEvent {
            at: self.world.now,
            kind: ChangeKind::Config,
            service: None,
            version: None,
            summary,
            by: Actor::new("configuration"),
        });
    }
}

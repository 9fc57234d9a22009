//! The read model: everything there is to see at one instant.

use homeostat_model::{
    Timestamp,
    view::{RolloutView, ServiceView, VersionView, View},
};

use crate::{Control, objective::ObjectiveState, splits, traffic::ServiceTraffic};

impl Control {
    /// Everything there is to see. `now` may be later than the latest step.
    pub fn view(&self, now: Timestamp) -> View {
        let now = now.max(self.world.now);
        let mut services: Vec<_> = self.traffic.iter().map(|s| self.service_view(s, now)).collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        View {
            at: now,
            services,
            objectives: self.objectives.iter().map(|o: &ObjectiveState| o.view(now)).collect(),
            rollouts: self.rollout_views(now),
            open_incidents: self.world.incidents.newest().cloned().collect(),
            actions: self.world.ledger.newest().cloned().collect(),
            changes: self.world.changes.iter().rev().cloned().collect(),
            receivers: self.world.spec.receivers.clone(),
            break_glass: self.world.guard.break_glass(),
        }
    }

    fn service_view(&self, service: &ServiceTraffic, now: Timestamp) -> ServiceView {
        let split = self.desired_split(&service.name);
        let cells: Vec<_> = self.world.cells.of_service(&service.name).collect();
        let mut versions: Vec<_> = service
            .versions()
            .map(|(name, traffic)| VersionView {
                name: name.clone(),
                weight: splits::weight_of(&split, name),
                last_10s: traffic.last_10s(now),
                cells: cells.iter().filter(|(_, k)| k.version == *name).map(|(id, k)| (*id, (*k).clone())).collect(),
            })
            .collect();
        versions.sort_by(|a, b| a.name.cmp(&b.name));
        ServiceView { name: service.name.clone(), versions }
    }

    fn rollout_views(&self, now: Timestamp) -> Vec<RolloutView> {
        let view = |r: &crate::rollout::RolloutState| RolloutView {
            rollout: r.declared.clone(),
            phase: r.phase.clone(),
            weight: r.weight(&self.world),
            verdict: r.verdict(now),
            canary: r.trial().map(|t| t.canary).unwrap_or_default(),
            baseline: r.trial().map(|t| t.baseline).unwrap_or_default(),
        };
        self.rollouts.iter().map(view).collect()
    }
}

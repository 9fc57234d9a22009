//! A canary that was rolled back has no traffic until a person starts it, undoes the rollback, or homeostat undoes it.

use std::collections::BTreeSet;

use homeostat_control::{Command, Control};
use homeostat_model::{ServiceName, Timestamp, VersionName, Weight, action::Purpose};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    away: BTreeSet<(ServiceName, VersionName)>,
}

impl Memory {
    pub(crate) fn check(&mut self, now: Timestamp, commands: &[Command], control: &Control) {
        for command in commands {
            let Command::Shift { permit } = command else { continue };
            let plan = permit.plan();
            let gained = |from: Weight, to: Weight| from == Weight::ZERO && Weight::ZERO < to;
            for (version, to) in &plan.to {
                let from = plan.from.iter().find(|(v, _)| v == version).map_or(Weight::ZERO, |(_, w)| *w);
                let id = (plan.service.clone(), version.clone());
                match plan.purpose {
                    Purpose::Rollback if *to == Weight::ZERO && Weight::ZERO < from => {
                        self.away.insert(id);
                    }
                    Purpose::Advance | Purpose::Undo | Purpose::Promote if gained(from, *to) => {
                        self.away.remove(&id);
                    }
                    _ => {}
                }
            }
        }
        // What the declared split says does not matter while a freeze lasts.
        let splits = control.desired_splits();
        let frozen = control.view(now).rollouts.into_iter().filter_map(|r| match r.phase {
            homeostat_model::rollout::Phase::RolledBack { .. } => Some((r.rollout.service, r.rollout.canary)),
            _ => None,
        });
        for (service, version) in frozen.filter(|id| self.away.contains(id)) {
            let weight = splits[&service].iter().find(|(v, _)| *v == version).map_or(Weight::ZERO, |(_, w)| *w);
            assert_eq!(weight, Weight::ZERO, "{version} of {service} was rolled back and has traffic");
        }
    }
}

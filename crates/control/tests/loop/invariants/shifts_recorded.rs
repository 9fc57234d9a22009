//! Every shift has a record in the same step; numbers are given once; records of one step are written once.

use std::collections::BTreeSet;

use homeostat_control::Command;
use homeostat_model::{ActionId, IncidentId};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    shifted: BTreeSet<ActionId>,
}

impl Memory {
    pub(crate) fn check(&mut self, commands: &[Command]) {
        let mut recorded: BTreeSet<ActionId> = BTreeSet::new();
        let mut incidents: BTreeSet<IncidentId> = BTreeSet::new();
        for command in commands {
            match command {
                Command::RecordAction(record) => assert!(recorded.insert(record.plan.id), "{} twice", record.plan.id),
                Command::RecordIncident(incident) => assert!(incidents.insert(incident.id), "{} twice", incident.id),
                _ => {}
            }
        }
        for command in commands {
            let Command::Shift { permit } = command else { continue };
            let id = permit.plan().id;
            assert!(recorded.contains(&id), "{id} has no record");
            assert!(self.shifted.insert(id), "{id} was shifted before");
        }
    }
}

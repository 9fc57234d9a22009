//! Stages of incidents only go forward, a closed one is written again at most once, for its explanation, and every story is in
//! order.

use std::collections::BTreeMap;

use homeostat_control::Command;
use homeostat_model::{
    IncidentId,
    incident::{Incident, Stage},
};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    latest: BTreeMap<IncidentId, Incident>,
}

impl Memory {
    pub(crate) fn check(&mut self, commands: &[Command]) {
        for command in commands {
            let Command::RecordIncident(incident) = command else { continue };
            if let Some(before) = self.latest.get(&incident.id) {
                assert!(before.stage <= incident.stage, "{} went back", incident.id);
                let explained = before.explanation.is_none() && incident.explanation.is_some();
                assert!(before.stage != Stage::Closed || explained, "{} was closed already", incident.id);
                assert!(before.requests_harmed <= incident.requests_harmed);
            }
            assert_eq!(incident.stage == Stage::Closed, incident.closed_at.is_some());
            assert!(incident.began_at <= incident.opened_at);
            assert!(incident.milestones.windows(2).all(|pair| pair[0].at <= pair[1].at), "{:?}", incident.milestones);
            self.latest.insert(incident.id, (**incident).clone());
        }
    }
}

//! A key is handed over once, and whatever people were told about an incident ends by the time it is closed.

use std::collections::BTreeSet;

use homeostat_control::Command;
use homeostat_model::{incident::Stage, notice::NoticeStatus};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    keys: BTreeSet<String>,
    /// Group and start of the key of notices about incidents that fire.
    firing: BTreeSet<(String, String)>,
}

impl Memory {
    pub(crate) fn check(&mut self, commands: &[Command]) {
        for command in commands {
            let Command::Notify(notice) = command else { continue };
            assert!(self.keys.insert(notice.key.clone()), "{} is handed over twice", notice.key);
            let stem = |word: &str| (notice.group.clone(), notice.key.replace(word, "/"));
            match notice.status {
                NoticeStatus::Firing => drop(self.firing.insert(stem("/firing/"))),
                NoticeStatus::Resolved => drop(self.firing.remove(&stem("/resolved/"))),
            }
        }
        for command in commands {
            let Command::RecordIncident(incident) = command else { continue };
            let group = format!("incident/{}", incident.id);
            let left: Vec<_> = self.firing.iter().filter(|(known, _)| *known == group).collect();
            assert!(incident.stage != Stage::Closed || left.is_empty(), "{left:?} never end");
        }
    }
}

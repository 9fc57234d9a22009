//! Incidents, actions and audit lines, as the latest of their records say.
//!
//! Not here: where the records come from (`journal`, `archive`).
//! Invariants: one entry an id, the latest record wins; memory is bounded by the limits below.

use std::collections::{BTreeMap, VecDeque};

use homeostat_model::{ActionId, IncidentId, Timestamp, action::ActionRecord, incident::Incident};
use homeostat_wire::journal::Entry;

use crate::audit::AuditLine;

/// Incidents in memory at most: at 4 KiB each 80 MiB, or three years of twenty a day.
pub(crate) const INCIDENTS_MAX: usize = 20_000;
/// Actions in memory at most: at 1 KiB each 60 MiB; an incident has one to three.
pub(crate) const ACTIONS_MAX: usize = 60_000;
/// Audit lines in memory at most: at 200 bytes each 2 MiB, or three years of ten operations a day.
pub(crate) const AUDIT_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Records {
    incidents: BTreeMap<IncidentId, (u64, Incident)>,
    actions: BTreeMap<ActionId, (u64, ActionRecord)>,
    audit: VecDeque<AuditLine>,
}

impl Records {
    /// Takes what a journal entry says.
    pub(crate) fn learn(&mut self, seq: u64, entry: &Entry<'_>) {
        match entry {
            Entry::Step { now, event, commands, .. } => {
                self.learn_audit(seq, *now, event, commands);
                self.learn_commands(seq, commands);
            }
            Entry::TickStep { commands, .. } => self.learn_commands(seq, commands),
            Entry::Ticks(_) | Entry::Snapshot { .. } | Entry::Gap { .. } => {}
        }
    }

    pub(crate) fn learn_audit(&mut self, seq: u64, now: Timestamp, event: &[u8], commands: &[u8]) {
        let Some(line) = AuditLine::of_step(seq, now, event, commands) else { return };
        if AUDIT_MAX <= self.audit.len() {
            self.audit.pop_front();
        }
        self.audit.push_back(line);
    }

    fn learn_commands(&mut self, seq: u64, commands: &[u8]) {
        // Most steps record nothing; looking for the word is much cheaper than parsing.
        if !std::str::from_utf8(commands).is_ok_and(|text| text.contains("\"record_")) {
            return;
        }
        let Ok(commands) = serde_json::from_slice::<Vec<serde_json::Value>>(commands) else { return };
        for command in commands {
            match command.get("command").and_then(serde_json::Value::as_str) {
                Some("record_incident") => match serde_json::from_value(command) {
                    Ok(incident) => self.put_incident(seq, incident),
                    Err(error) => tracing::warn!(seq, %error, "a recorded incident is not readable"),
                },
                Some("record_action") => match serde_json::from_value(command) {
                    Ok(action) => self.put_action(seq, action),
                    Err(error) => tracing::warn!(seq, %error, "a recorded action is not readable"),
                },
                _ => {}
            }
        }
    }

    /// The number of the first record is kept: after a restart records are put again with later numbers, and the
    /// archive must not forget what they really rest on.
    pub(crate) fn put_incident(&mut self, seq: u64, incident: Incident) {
        let first = self.incidents.get(&incident.id).map_or(seq, |(first, _)| seq.min(*first));
        self.incidents.insert(incident.id, (first, incident));
        while INCIDENTS_MAX < self.incidents.len() {
            self.incidents.pop_first();
        }
    }

    /// As [`Self::put_incident`].
    pub(crate) fn put_action(&mut self, seq: u64, action: ActionRecord) {
        let first = self.actions.get(&action.plan.id).map_or(seq, |(first, _)| seq.min(*first));
        self.actions.insert(action.plan.id, (first, action));
        while ACTIONS_MAX < self.actions.len() {
            self.actions.pop_first();
        }
    }

    pub(crate) fn incidents(&self, before: Option<IncidentId>, limit: usize) -> Vec<Incident> {
        let wanted = self.incidents.range(..before.unwrap_or(IncidentId(u64::MAX)));
        wanted.rev().take(limit).map(|(_, (_, incident))| incident.clone()).collect()
    }

    pub(crate) fn incident(&self, id: IncidentId) -> Option<Incident> {
        self.incidents.get(&id).map(|(_, incident)| incident.clone())
    }

    pub(crate) fn actions_of(&self, id: IncidentId) -> Vec<ActionRecord> {
        let of_incident = |action: &&ActionRecord| action.incident == Some(id);
        self.actions.values().map(|(_, action)| action).filter(of_incident).cloned().collect()
    }

    pub(crate) fn action(&self, id: ActionId) -> Option<ActionRecord> {
        self.actions.get(&id).map(|(_, action)| action.clone())
    }

    pub(crate) fn audit(&self, limit: usize) -> Vec<AuditLine> {
        self.audit.iter().rev().take(limit).cloned().collect()
    }

    /// Drops closed incidents that ended before `cutoff` with their actions, and older actions without incident.
    /// Gives the incidents dropped.
    pub(crate) fn expire(&mut self, cutoff: Timestamp) -> Vec<IncidentId> {
        let over = |incident: &Incident| incident.closed_at.is_some_and(|closed| closed < cutoff);
        let dropped: Vec<_> = self.incidents.iter().filter(|(_, (_, i))| over(i)).map(|(id, _)| *id).collect();
        for id in &dropped {
            self.drop_incident(*id);
        }
        self.actions.retain(|_, (_, action)| action.incident.is_some() || cutoff <= action.proposed_at);
        while self.audit.front().is_some_and(|line| line.at < cutoff) {
            self.audit.pop_front();
        }
        dropped
    }

    /// The closed incident that ended first, if any.
    pub(crate) fn oldest_closed(&self) -> Option<IncidentId> {
        let closed = self.incidents.values().filter_map(|(_, i)| i.closed_at.map(|at| (at, i.id)));
        closed.min().map(|(_, id)| id)
    }

    pub(crate) fn drop_incident(&mut self, id: IncidentId) {
        self.incidents.remove(&id);
        self.actions.retain(|_, (_, action)| action.incident != Some(id));
    }

    /// Lowest number of a journal record that one of the kept incidents or actions rests on.
    pub(crate) fn oldest_needed(&self) -> Option<u64> {
        let incidents = self.incidents.values().map(|(seq, _)| *seq);
        incidents.chain(self.actions.values().map(|(seq, _)| *seq)).min()
    }
}

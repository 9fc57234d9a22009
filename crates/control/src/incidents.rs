//! The incidents that are not closed: their story, their alerts, their end.
//!
//! Invariants: a number is given once; stages only go forward; everything that grows has a limit.

use std::collections::BTreeMap;

use homeostat_model::{
    ActionId, CellId, CellKey, IncidentId, ReceiverName, ServiceName, Timestamp,
    evidence::Evidence,
    incident::{Incident, Milestone, Stage},
};
use serde::{Deserialize, Serialize};

/// Open incidents at most: more at once are one big incident that nobody reads one by one. The oldest gives way.
pub(crate) const INCIDENTS_OPEN_MAX: usize = 64;
/// Lines of one story at most: a rollback with its verification takes seven; approvals that lapse hourly fill two days.
pub(crate) const MILESTONES_MAX: usize = 64;
/// Pieces of evidence of one incident at most: verdict, burn rules, recovery, undo.
const EVIDENCE_MAX: usize = 16;
/// Actions of one incident at most.
const ACTIONS_MAX: usize = 64;
/// Alerts of one incident that fire at the same time at most.
const ALERTS_MAX: usize = 32;

/// Something that people were told and that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    /// Stable within the incident.
    pub(crate) key: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) summary: String,
    pub(crate) started_at: Timestamp,
}

/// An incident that is not closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) incident: Incident,
    pub(crate) alerts: Vec<Alert>,
    /// How often people were told something of this name: keys never come back.
    told: BTreeMap<String, u64>,
    pub(crate) receivers: Vec<ReceiverName>,
    /// It closes by itself then.
    pub(crate) close_at: Option<Timestamp>,
    /// First instant of its recording.
    pub(crate) recorded_from: Timestamp,
    /// The cells of its service when it was opened: its recording shows them even when they are no longer served.
    pub(crate) cells: Vec<(CellId, CellKey)>,
}

impl Open {
    pub(crate) fn new(
        incident: Incident,
        receivers: Vec<ReceiverName>,
        recorded_from: Timestamp,
        cells: Vec<(CellId, CellKey)>,
    ) -> Self {
        Self { incident, alerts: Vec::new(), told: BTreeMap::new(), receivers, close_at: None, recorded_from, cells }
    }

    /// Adds a line to the story. A full story keeps its beginning, and its last line is replaced.
    pub(crate) fn milestone(&mut self, at: Timestamp, what: &str, detail: String) {
        if MILESTONES_MAX <= self.incident.milestones.len() {
            self.incident.milestones.pop();
        }
        self.incident.milestones.push(Milestone { at, what: what.to_owned(), detail });
    }

    /// Moves on; never back.
    pub(crate) fn reach(&mut self, stage: Stage) {
        self.incident.stage = self.incident.stage.max(stage);
    }

    pub(crate) fn add_evidence(&mut self, evidence: Evidence) {
        if self.incident.evidence.len() < EVIDENCE_MAX {
            self.incident.evidence.push(evidence);
        }
    }

    pub(crate) fn add_action(&mut self, action: ActionId) {
        if self.incident.actions.len() < ACTIONS_MAX && !self.incident.actions.contains(&action) {
            self.incident.actions.push(action);
        }
    }

    /// A key for an alert of this name, another one each time.
    pub(crate) fn next_key(&mut self, name: &str) -> String {
        let told = self.told.entry(name.to_owned()).or_default();
        *told = told.saturating_add(1);
        let id = self.incident.id;
        if *told == 1 { format!("{id}/{name}") } else { format!("{id}/{name}/{told}") }
    }

    /// Remembers what has to end. When that is too much, the oldest gives way: it has to end now.
    #[must_use]
    pub(crate) fn add_alert(&mut self, alert: Alert) -> Option<Alert> {
        let oldest = (ALERTS_MAX <= self.alerts.len()).then(|| self.alerts.remove(0));
        self.alerts.push(alert);
        oldest
    }
}

/// All of them, by number.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Incidents {
    last: u64,
    open: BTreeMap<IncidentId, Open>,
}

impl Incidents {
    /// A number that was never given before.
    pub(crate) fn next_id(&mut self) -> IncidentId {
        self.last = self.last.saturating_add(1);
        IncidentId(self.last)
    }

    /// Leaves numbers out.
    pub(crate) fn skip_ids(&mut self, count: u64) {
        self.last = self.last.saturating_add(count);
    }

    pub(crate) fn get(&self, id: IncidentId) -> Option<&Open> {
        self.open.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: IncidentId) -> Option<&mut Open> {
        self.open.get_mut(&id)
    }

    pub(crate) fn add(&mut self, open: Open) {
        self.open.insert(open.incident.id, open);
    }

    pub(crate) fn remove(&mut self, id: IncidentId) {
        self.open.remove(&id);
    }

    /// The one that has to give way to the next, if they are too many.
    pub(crate) fn surplus(&self) -> Option<IncidentId> {
        (INCIDENTS_OPEN_MAX <= self.open.len()).then(|| self.open.keys().next().copied()).flatten()
    }

    /// Newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Incident> {
        self.open.values().rev().map(|open| &open.incident)
    }

    /// Those of a service, or all when none is named.
    pub(crate) fn concerning(&self, service: Option<&ServiceName>) -> impl Iterator<Item = IncidentId> {
        let open = self.open.values().map(|open| &open.incident);
        open.filter(move |incident| service.is_none_or(|name| *name == incident.service)).map(|incident| incident.id)
    }

    /// The next instant at which one closes by itself.
    pub(crate) fn next_close(&self) -> Option<Timestamp> {
        self.open.values().filter_map(|open| open.close_at).min()
    }

    /// Those that close by themselves by `now`.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<IncidentId> {
        let due = |open: &&Open| open.close_at.is_some_and(|at| at <= now);
        self.open.values().filter(due).map(|open| open.incident.id).collect()
    }
}

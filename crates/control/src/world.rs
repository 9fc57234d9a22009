//! What all rollouts and objectives share: time, configuration, guard, ledgers, and the commands of the present step.
//!
//! Records are marked while a step runs and written once at its end, so that a step never contradicts itself, and the
//! commands come out in the order in which they matter: traffic first, people later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use homeostat_act_guard::Guard;
use homeostat_model::{
    ActionId, CellId, ChangeEvent, IncidentId, ReceiverName, ServiceName, Span, Timestamp, VersionName,
    action::{ActionRecord, ActionState, Split},
    evidence::Evidence,
    explanation::Explanation,
    incident::{Incident, Milestone, Stage, Subject},
    notice::{Notice, NoticeStatus},
    objective::Severity,
};
use serde::{Deserialize, Serialize};

use crate::{
    Command, ControlSpec, ControlledService,
    cells::CellTable,
    incidents::{Alert, Incidents, Open},
    ledger::Ledger,
    recorder::RECORDED,
    splits, words,
};

/// Recorded before the first bad response.
const RECORDED_BEFORE: Span = Span::from_secs(60);
/// Changes shown by the view and searched for suspects.
pub(crate) const CHANGES_KEPT: usize = 100;
/// How long before the beginning a change is a suspect, and how many are named.
const SUSPECTS_WITHIN: Span = Span::from_mins(10);
const SUSPECTS_MAX: usize = 20;
/// Closed incidents that wait for their explanation: looking takes half a minute, and incidents come minutes apart.
const UNEXPLAINED_KEPT: usize = 16;

/// A canary that stays at weight 0 although its rollout is no longer declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) service: ServiceName,
    pub(crate) baseline: VersionName,
    pub(crate) canary: VersionName,
    pub(crate) frozen_until: Timestamp,
    /// The declared split when it began: a person who writes another one takes the traffic into their own hands.
    pub(crate) declared: Split,
}

/// Shared state.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) spec: ControlSpec,
    pub(crate) guard: Guard,
    pub(crate) ledger: Ledger,
    pub(crate) incidents: Incidents,
    /// Oldest first.
    pub(crate) changes: VecDeque<ChangeEvent>,
    pub(crate) holds: Vec<Hold>,
    /// Incidents that were closed before anybody could say why they happened, oldest first.
    #[serde(default)]
    unexplained: VecDeque<Incident>,
    /// Notices without an incident, counted: part of their keys.
    pub(crate) notices: u64,
    #[serde(skip)]
    pub(crate) cells: CellTable,
    #[serde(skip)]
    pub(crate) out: Vec<Command>,
    #[serde(skip)]
    touched_actions: BTreeSet<ActionId>,
    #[serde(skip)]
    touched_incidents: BTreeSet<IncidentId>,
}

impl World {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self {
            now: start,
            spec: ControlSpec::default(),
            guard: Guard::default(),
            ledger: Ledger::default(),
            incidents: Incidents::default(),
            changes: VecDeque::new(),
            holds: Vec::new(),
            unexplained: VecDeque::new(),
            notices: 0,
            cells: CellTable::default(),
            out: Vec::new(),
            touched_actions: BTreeSet::new(),
            touched_incidents: BTreeSet::new(),
        }
    }

    /// The declaration of a service.
    pub(crate) fn service(&self, name: &ServiceName) -> Option<&ControlledService> {
        self.spec.services.iter().find(|s| s.name == *name)
    }

    /// Latency thresholds of a service's cells.
    pub(crate) fn thresholds(&self, name: &ServiceName) -> &[Span] {
        self.service(name).map_or(&[], |s| &s.thresholds)
    }

    /// The split of a service before any declared rollout touches it: as declared, with held canaries at weight 0.
    pub(crate) fn base_split(&self, name: &ServiceName) -> Split {
        let Some(service) = self.service(name) else { return Split::new() };
        let holds = self.holds.iter().filter(|h| h.service == *name);
        holds.fold(service.split.clone(), |split, hold| hold.apply(service, split))
    }

    /// Until when a release may not be started: frozen by a rollback whose declaration is gone.
    pub(crate) fn frozen_by_hold(&self, service: &ServiceName, canary: &VersionName) -> Option<Timestamp> {
        let matching = self.holds.iter().filter(|h| h.service == *service && h.canary == *canary);
        matching.map(|h| h.frozen_until).max().filter(|until| self.now < *until)
    }

    /// Whether a canary of a vanished rollout is kept at weight 0.
    pub(crate) fn is_held(&self, service: &ServiceName, canary: &VersionName) -> bool {
        self.holds.iter().any(|h| h.service == *service && h.canary == *canary)
    }

    // Actions.

    /// Adds an action to the ledger and to its incident.
    pub(crate) fn add_action(&mut self, record: ActionRecord) {
        let id = record.plan.id;
        if let Some(incident) = record.incident {
            self.with_incident(incident, |open, _| open.add_action(id));
        }
        self.ledger.add(record);
        self.touched_actions.insert(id);
    }

    /// Changes an action's record and keeps the change.
    pub(crate) fn with_action(&mut self, id: ActionId, change: impl FnOnce(&mut ActionRecord)) {
        if let Some(record) = self.ledger.get_mut(id) {
            change(record);
            self.touched_actions.insert(id);
        }
    }

    /// Moves an action to another state.
    pub(crate) fn set_action(&mut self, id: ActionId, state: ActionState) {
        self.with_action(id, |record| record.state = state);
    }

    /// Notes a change in the world.
    pub(crate) fn note_change(&mut self, change: ChangeEvent) {
        if CHANGES_KEPT <= self.changes.len() {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    /// Leaves numbers of actions, incidents and notices out that may have been given already.
    pub(crate) fn skip_numbers(&mut self, count: u64) {
        self.ledger.skip_ids(count);
        self.incidents.skip_ids(count);
        self.notices = self.notices.saturating_add(count);
    }

    // Incidents.

    /// Opens an incident and freezes the recording.
    pub(crate) fn open_incident(&mut self, opening: Opening) -> IncidentId {
        if let Some(oldest) = self.incidents.surplus() {
            self.close_incident(oldest, "closed to make room: too many incidents are open");
        }
        let id = self.incidents.next_id();
        let began_at = opening.began_at.min(self.now);
        let recorded_from = (began_at - RECORDED_BEFORE).max(self.now - RECORDED);
        let incident = Incident {
            id,
            title: opening.title,
            service: opening.service.clone(),
            subject: opening.subject,
            severity: Severity::Page,
            stage: Stage::Judged,
            began_at,
            opened_at: self.now,
            closed_at: None,
            evidence: vec![opening.evidence],
            requests_harmed: opening.harmed,
            requests_total: opening.total,
            actions: Vec::new(),
            changes: self.suspects(&opening.service, began_at),
            milestones: Vec::new(),
            explanation: None,
        };
        let cells = self.cells.of_service(&opening.service).map(|(cell, key)| (cell, key.clone())).collect();
        let mut open = Open::new(incident, opening.receivers, recorded_from, cells);
        open.milestone(began_at, "first_bad", "the first bad response that counts towards it".to_owned());
        open.milestone(self.now, "verdict", opening.verdict);
        self.incidents.add(open);
        self.touched_incidents.insert(id);
        self.freeze_black_box(id);
        id
    }

    /// Changes an open incident and keeps the change; the closure gets the time too.
    pub(crate) fn with_incident(&mut self, id: IncidentId, change: impl FnOnce(&mut Open, Timestamp)) {
        let now = self.now;
        if let Some(open) = self.incidents.get_mut(id) {
            change(open, now);
            self.touched_incidents.insert(id);
        }
    }

    /// Adds a line to an incident's story.
    pub(crate) fn milestone(&mut self, id: Option<IncidentId>, what: &str, detail: String) {
        if let Some(id) = id {
            self.with_incident(id, |open, now| open.milestone(now, what, detail));
        }
    }

    /// Closes an incident: the record is complete, what is still firing ends.
    pub(crate) fn close_incident(&mut self, id: IncidentId, why: &str) {
        if self.incidents.get(id).is_none_or(|open| open.incident.closed_at.is_some()) {
            return;
        }
        self.resolve_alerts(id, why);
        self.freeze_black_box(id);
        self.with_incident(id, |open, now| {
            open.milestone(now, "closed", why.to_owned());
            open.reach(Stage::Closed);
            open.incident.closed_at = Some(now);
            open.close_at = None;
        });
    }

    /// Keeps what somebody found out about an incident, whether it is over by now or not.
    pub(crate) fn explained(&mut self, id: IncidentId, explanation: Explanation) {
        let words = words::explanation(&explanation);
        if self.incidents.get(id).is_some() {
            return self.with_incident(id, |open, now| {
                open.milestone(now, "explained", words);
                open.incident.explanation = Some(explanation);
            });
        }
        let Some(at) = self.unexplained.iter().position(|incident| incident.id == id) else { return };
        if let Some(mut incident) = self.unexplained.remove(at) {
            incident.milestones.push(Milestone { at: self.now, what: "explained".to_owned(), detail: words });
            incident.explanation = Some(explanation);
            self.out.push(Command::RecordIncident(Box::new(incident)));
        }
    }

    /// Keeps the recording from a minute before the beginning until now, unless its beginning is already forgotten: then
    /// the recording that was kept at the opening is the better one.
    fn freeze_black_box(&mut self, id: IncidentId) {
        let Some(open) = self.incidents.get(id) else { return };
        let (from, to) = (open.recorded_from, self.now);
        if RECORDED < to.since(from) {
            return;
        }
        // Those it began with and those of now. After a restart a number may mean another cell.
        let began_with = open.cells.iter().filter(|(cell, key)| self.cells.get(*cell).is_none_or(|b| b.key == *key));
        let served = self.cells.of_service(&open.incident.service).map(|(cell, _)| cell);
        let cells: BTreeSet<CellId> = began_with.map(|(cell, _)| *cell).chain(served).collect();
        self.out.push(Command::FreezeBlackBox { incident: id, cells: cells.into_iter().collect(), from, to });
    }

    /// Changes of the ten minutes before, newest first.
    fn suspects(&self, service: &ServiceName, began_at: Timestamp) -> Vec<ChangeEvent> {
        let reaches =
            |c: &&ChangeEvent| c.service.as_ref().is_none_or(|s| s == service) && began_at - SUSPECTS_WITHIN <= c.at;
        self.changes.iter().rev().filter(reaches).take(SUSPECTS_MAX).cloned().collect()
    }

    // People.

    /// Tells the receivers of an incident that something is wrong.
    pub(crate) fn alert(&mut self, id: IncidentId, alert: AlertText) {
        let now = self.now;
        let Some(open) = self.incidents.get_mut(id) else { return };
        let mut labels = alert.labels;
        labels.insert("alertname".to_owned(), alert.name.clone());
        labels.insert("service".to_owned(), open.incident.service.to_string());
        labels.insert("severity".to_owned(), alert.severity.to_owned());
        labels.insert("incident".to_owned(), id.to_string());
        let kept = Alert { key: open.next_key(&alert.name), labels, summary: alert.summary, started_at: now };
        let displaced = open.add_alert(kept.clone());
        self.touched_incidents.insert(id);
        let (receivers, group) = (open.receivers.clone(), format!("incident/{id}"));
        self.notify(&receivers, &group, &kept, alert.description, None);
        if let Some(oldest) = displaced {
            self.notify(&receivers, &group, &oldest, format!("A newer one replaces it: {}", kept.summary), Some(now));
        }
    }

    /// Tells everybody who heard of an incident that it is over.
    pub(crate) fn resolve_alerts(&mut self, id: IncidentId, why: &str) {
        let Some(open) = self.incidents.get_mut(id) else { return };
        let (alerts, receivers) = (std::mem::take(&mut open.alerts), open.receivers.clone());
        let group = format!("incident/{id}");
        for alert in alerts {
            self.notify(&receivers, &group, &alert, why.to_owned(), Some(self.now));
        }
    }

    /// One notice per receiver.
    pub(crate) fn notify(
        &mut self,
        receivers: &[ReceiverName],
        group: &str,
        alert: &Alert,
        description: String,
        ends_at: Option<Timestamp>,
    ) {
        let (status, word) = match ends_at {
            None => (NoticeStatus::Firing, "firing"),
            Some(_) => (NoticeStatus::Resolved, "resolved"),
        };
        let all = self.spec.receivers.clone();
        for receiver in if receivers.is_empty() { &all } else { receivers } {
            let annotations = BTreeMap::from([
                ("summary".to_owned(), alert.summary.clone()),
                ("description".to_owned(), description.clone()),
            ]);
            self.out.push(Command::Notify(Box::new(Notice {
                key: format!("{}/{word}/{receiver}", alert.key),
                receiver: receiver.clone(),
                group: group.to_owned(),
                status,
                labels: alert.labels.clone(),
                annotations,
                starts_at: alert.started_at,
                ends_at,
            })));
        }
    }

    // The end of a step.

    /// Takes the commands of this step, records written once each, in the order in which they matter.
    pub(crate) fn finish_step(&mut self) -> Vec<Command> {
        if self.out.is_empty() && self.touched_actions.is_empty() && self.touched_incidents.is_empty() {
            return Vec::new();
        }
        for id in std::mem::take(&mut self.touched_actions) {
            if let Some(record) = self.ledger.get(id) {
                self.out.push(Command::RecordAction(Box::new(record.clone())));
            }
        }
        self.ledger.forget_old(self.now);
        for id in std::mem::take(&mut self.touched_incidents) {
            let Some(open) = self.incidents.get(id) else { continue };
            self.out.push(Command::RecordIncident(Box::new(open.incident.clone())));
            if open.incident.stage == Stage::Closed {
                if open.incident.explanation.is_none() {
                    if UNEXPLAINED_KEPT <= self.unexplained.len() {
                        self.unexplained.pop_front();
                    }
                    self.unexplained.push_back(open.incident.clone());
                }
                self.incidents.remove(id);
            }
        }
        let mut out = std::mem::take(&mut self.out);
        out.sort_by_key(rank);
        out
    }
}

/// Traffic first, then what must be remembered, then people.
fn rank(command: &Command) -> u8 {
    match command {
        Command::Shift { .. } => 0,
        Command::RecordAction(_) => 1,
        Command::RecordIncident(_) => 2,
        Command::FreezeBlackBox { .. } => 3,
        Command::Notify(_) => 4,
        Command::RolloutMoved { .. } => 5,
        Command::Refuse { .. } => 6,
    }
}

/// What an incident opens with.
pub(crate) struct Opening {
    pub(crate) title: String,
    pub(crate) service: ServiceName,
    pub(crate) subject: Subject,
    pub(crate) began_at: Timestamp,
    pub(crate) evidence: Evidence,
    pub(crate) verdict: String,
    pub(crate) harmed: u64,
    pub(crate) total: u64,
    pub(crate) receivers: Vec<ReceiverName>,
}

/// What people are told.
pub(crate) struct AlertText {
    pub(crate) name: String,
    pub(crate) severity: &'static str,
    /// Beside `alertname`, `service`, `severity` and `incident`.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) summary: String,
    pub(crate) description: String,
}

impl Hold {
    /// The split with the canary at weight 0. Its share goes to the baseline, or to the heaviest other version when the
    /// baseline is no longer there.
    fn apply(&self, service: &ControlledService, split: Split) -> Split {
        let heir = if service.versions.contains(&self.baseline) {
            Some(self.baseline.clone())
        } else {
            let others = split.iter().filter(|(name, _)| *name != self.canary);
            others.max_by_key(|(_, weight)| *weight).map(|(name, _)| name.clone())
        };
        match heir {
            Some(heir) if splits::weight_of(&split, &self.canary).basis_points() > 0 => {
                splits::with_canary(&split, &heir, &self.canary, homeostat_model::Weight::ZERO)
            }
            _ => split,
        }
    }
}

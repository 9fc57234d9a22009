//! A canary that is worse, from the verdict to the end of its incident.

use std::collections::BTreeMap;

use homeostat_model::{
    IncidentId, Span, Timestamp,
    action::{ActionState, Initiator, Purpose, Refusal},
    evidence::Evidence,
    incident::{Stage, Subject},
    rollout::Phase,
};

use super::{RolloutState, Wish};
use crate::{
    incidents::Alert,
    trial::TickSums,
    verify::Finding,
    words,
    world::{AlertText, Opening, World},
};

/// Recorded after the recovery before an incident is closed: the end of its recording shows that it stays well.
const CLOSED_AFTER: Span = Span::from_secs(5);

impl RolloutState {
    // The verdict.

    /// Opens the incident at the moment the judge says "worse".
    pub(super) fn notice_worse(&mut self, world: &mut World) {
        let now = world.now;
        if !self.phase.is_active() || !self.trial.as_ref().is_some_and(|t| !t.decided && t.is_worse(now)) {
            return;
        }
        self.end_incident(world, "a newer verdict fell");
        let Some(trial) = &mut self.trial else { return };
        trial.decide();
        let (began_at, harmed, total) = (trial.began().unwrap_or(now), trial.harmed(), trial.service_total());
        let evidence = trial.judge().evidence();
        let (service, canary, baseline) = (&self.declared.service, &self.declared.canary, &self.declared.baseline);
        let comparison = words::comparison(&evidence).unwrap_or_default();
        let opening = Opening {
            title: format!("{service}: canary {canary} is worse than {baseline}: {comparison}"),
            service: service.clone(),
            subject: Subject::Canary {
                rollout: self.declared.name.clone(),
                canary: canary.clone(),
                baseline: baseline.clone(),
            },
            began_at,
            verdict: words::evidence(&evidence),
            evidence,
            harmed,
            total,
            receivers: self.declared.receivers.clone(),
        };
        self.incident = Some(world.open_incident(opening));
    }

    /// People hear of the verdict and of what was done about it.
    pub(super) fn tell_of_rollback(&mut self, world: &mut World, answer: Result<(), Refusal>, evidence: &Evidence) {
        let (service, canary, baseline) = (&self.declared.service, &self.declared.canary, &self.declared.baseline);
        let brief = words::comparison(evidence).unwrap_or_else(|| words::evidence(evidence));
        // A budget blames no version: its alerts do not speak for the canary's judge.
        let by_budget = matches!(evidence, Evidence::Burn { .. });
        let named = |by_judge, by_objective| if by_budget { by_objective } else { by_judge };
        let (name, what, then) = match answer {
            Ok(()) => (
                named("CanaryRolledBack", "BudgetRollback"),
                "rolled back",
                format!("All its traffic is back on {baseline}; the release is frozen for {}.", self.declared.freeze),
            ),
            Err(Refusal::NeedsApproval) => {
                let action = self.pending.as_ref().map(|p| p.action.to_string()).unwrap_or_default();
                let name = named("CanaryWorse", "BudgetRollbackProposed");
                (name, "waits for approval to be rolled back", format!("Approve or reject {action}."))
            }
            Err(refusal) => (
                named("CanaryWorse", "BudgetRollbackRefused"),
                named("is worse and still gets traffic", "still gets traffic"),
                format!("Nothing was done: {refusal}."),
            ),
        };
        let text = AlertText {
            name: name.to_owned(),
            severity: "page",
            labels: self.labels(),
            summary: format!("{service}: canary {canary} {what}: {brief}"),
            description: format!("Rollout {}: {}. {then}", self.declared.name, words::evidence(evidence)),
        };
        if let Some(incident) = self.incident {
            world.alert(incident, text);
        }
    }

    /// A burn-rate rule asks for the canary to be taken back. `incident` is the objective's.
    pub(crate) fn rollback_for_objective(
        &mut self,
        world: &mut World,
        initiator: Initiator,
        evidence: Evidence,
        incident: Option<IncidentId>,
    ) {
        let mode = world.guard.limits().default_mode;
        let busy = self.pending.as_ref().is_some_and(|p| p.wish.purpose().is_protective());
        if !self.phase.is_active() || busy || self.is_blocked(Purpose::Rollback) {
            return;
        }
        self.drop_pending(world, "overtaken by a retreat");
        self.incident = self.incident.or(incident);
        let answer = self.propose(world, Wish::Rollback, initiator, evidence.clone(), mode);
        // What the objective is refused does not bind the rollout's own judge.
        self.unblock();
        self.tell_of_rollback(world, answer, &evidence);
    }

    // The verification.

    /// Feeds the watch; the service may have recovered.
    pub(super) fn watch_tick(&mut self, world: &mut World, sums: &TickSums) {
        let now = world.now;
        let Some(watch) = &mut self.watch else { return };
        if let Some(finding) = watch.record(now, sums, world.thresholds(&self.declared.service)) {
            self.settle_watch(world, finding);
        }
    }

    /// The verification's time is up.
    pub(super) fn watch_deadline(&mut self, world: &mut World) {
        let now = world.now;
        let Some(watch) = self.watch.as_ref().filter(|w| w.until <= now) else { return };
        let finding = watch.give_up(now);
        self.settle_watch(world, finding);
    }

    fn settle_watch(&mut self, world: &mut World, finding: Finding) {
        let Some(watch) = self.watch.take() else { return };
        let (now, action) = (world.now, watch.action);
        self.count_harm(world);
        match finding {
            Finding::Recovered(evidence) => {
                let detail = words::evidence(&evidence);
                world.set_action(action, ActionState::Verified { at: now });
                self.add_evidence(world, evidence);
                world.milestone(self.incident, "verified", detail.clone());
                self.recovered(world, &detail);
            }
            Finding::Unknown(reason) => {
                world.set_action(action, ActionState::Unverified { at: now, reason: reason.clone() });
                world.milestone(self.incident, "unverified", reason.clone());
                self.wind_up(world, &format!("the canary is at 0 %; whether that helped is unknown: {reason}"));
            }
            Finding::NotAlone(evidence) => self.stay_down(world, &evidence, "something else is wrong as well"),
            Finding::DidNotHelp(evidence) if self.undone => {
                self.stay_down(world, &evidence, "a rollback was undone before, so this one stays");
            }
            Finding::DidNotHelp(evidence) => {
                self.add_evidence(world, evidence.clone());
                self.undo_due = Some(evidence);
            }
        }
    }

    /// The rollback stays, the service is not well: people have to look.
    pub(crate) fn stay_down(&mut self, world: &mut World, evidence: &Evidence, why: &str) {
        let reason = format!("{}: {why}", words::evidence(evidence));
        if let Some(action) = self.in_force {
            world.set_action(action, ActionState::Unverified { at: world.now, reason: reason.clone() });
        }
        self.add_evidence(world, evidence.clone());
        world.milestone(self.incident, "unverified", reason.clone());
        self.call_for_help(world, "RollbackDidNotSuffice", &reason);
    }

    /// The rollback did not help; it was undone, or could not be.
    pub(super) fn tell_of_undo(&mut self, world: &mut World, answer: Result<(), Refusal>) {
        let (service, canary) = (self.declared.service.clone(), self.declared.canary.clone());
        match answer {
            Ok(()) => {
                let reason = format!("rolling {canary} back did not help {service}: its weight is restored");
                world.milestone(self.incident, "undone", reason.clone());
                self.call_for_help(world, "RollbackUndone", &reason);
            }
            Err(Refusal::NeedsApproval) => {
                let action = self.pending.as_ref().map(|p| p.action.to_string()).unwrap_or_default();
                let reason = format!("rolling {canary} back did not help; approve or reject {action} to restore it");
                self.call_for_help(world, "RollbackDidNotSuffice", &reason);
            }
            // The guard asked for patience: it is proposed again.
            Err(_) if self.retry_at.is_some() => {}
            Err(refusal) => {
                if let Some(evidence) = self.undo_due.take() {
                    self.stay_down(world, &evidence, &format!("undoing it was refused: {refusal}"));
                }
            }
        }
    }

    // The end.

    /// The service is well again: people are told at once, the record is closed a little later.
    fn recovered(&mut self, world: &mut World, detail: &str) {
        let Some(incident) = self.incident else { return };
        let about_canary = world.incidents.get(incident).is_some_and(|o| is_about_canary(&o.incident.subject));
        if about_canary {
            world.resolve_alerts(incident, &format!("Recovered: {detail}."));
            world.milestone(Some(incident), "resolved", "everybody who was called was told".to_owned());
        }
        world.with_incident(incident, |open, now| {
            open.reach(Stage::Recovered);
            // An objective's incident ends when its rule stops firing.
            if about_canary {
                open.close_at = Some(now + CLOSED_AFTER);
            }
        });
    }

    /// Nothing more is to be expected: the alerts end, the record is closed a little later.
    pub(super) fn wind_up(&mut self, world: &mut World, why: &str) {
        let Some(incident) = self.incident else { return };
        if world.incidents.get(incident).is_some_and(|o| is_about_canary(&o.incident.subject)) {
            world.resolve_alerts(incident, why);
            world.with_incident(incident, |open, now| open.close_at = Some(now + CLOSED_AFTER));
        }
    }

    /// Closes the rollout's own incident now.
    pub(crate) fn end_incident(&mut self, world: &mut World, why: &str) {
        let Some(incident) = self.incident else { return };
        self.count_harm(world);
        self.incident = None;
        if world.incidents.get(incident).is_some_and(|o| is_about_canary(&o.incident.subject)) {
            world.close_incident(incident, why);
        }
    }

    /// The book may have closed it: then its trial ends too, unless another is running.
    pub(super) fn forget_closed_incident(&mut self, world: &mut World) {
        let Some(incident) = self.incident else { return };
        let closed = world.incidents.get(incident).is_none_or(|o| o.incident.closed_at.is_some());
        if closed {
            self.incident = None;
            if !self.phase.is_active() {
                self.trial = None;
            }
        }
    }

    /// Writes the harm done so far into the incident.
    pub(crate) fn count_harm(&self, world: &mut World) {
        let (Some(incident), Some(trial)) = (self.incident, &self.trial) else { return };
        if !trial.decided {
            return;
        }
        let (harmed, total) = (trial.harmed(), trial.service_total());
        world.with_incident(incident, |open, _| {
            open.incident.requests_harmed = open.incident.requests_harmed.max(harmed);
            open.incident.requests_total = open.incident.requests_total.max(total);
        });
    }

    fn add_evidence(&self, world: &mut World, evidence: Evidence) {
        if let Some(incident) = self.incident {
            world.with_incident(incident, |open, _| open.add_evidence(evidence));
        }
    }

    /// Pages people about something that Homeostat cannot mend.
    pub(crate) fn call_for_help(&mut self, world: &mut World, name: &str, reason: &str) {
        world.milestone(self.incident, "escalated", reason.to_owned());
        let text = AlertText {
            name: name.to_owned(),
            severity: "page",
            labels: self.labels(),
            summary: format!("{}: {reason}", self.declared.service),
            description: format!("Rollout {} needs a person: {reason}.", self.declared.name),
        };
        match self.incident {
            Some(incident) => world.alert(incident, text),
            None => self.tell(world, text),
        }
    }

    /// Says what a gate or deadline did, where people should know.
    pub(super) fn tell_of_move(&mut self, world: &mut World, wish: &Wish, answer: Result<(), Refusal>) {
        let (name, summary) = match (wish, answer) {
            (Wish::Abort(reason), Ok(())) => {
                ("RolloutAborted", format!("rollout {} was taken back: {reason}", self.declared.name))
            }
            (_, Err(Refusal::NeedsApproval)) => {
                let action = self.pending.as_ref().map(|p| p.action.to_string()).unwrap_or_default();
                let purpose = wish.purpose().label();
                ("ApprovalNeeded", format!("rollout {} asks to {purpose}: approve {action}", self.declared.name))
            }
            (Wish::Promote, Ok(())) => ("RolloutPromoted", format!("{} serves all requests now", self.declared.canary)),
            _ => return,
        };
        let severity = if name == "RolloutAborted" { "ticket" } else { "info" };
        let text = AlertText {
            name: name.to_owned(),
            severity,
            labels: self.labels(),
            summary: format!("{}: {summary}", self.declared.service),
            description: format!("{}: {summary}.", self.declared.service),
        };
        self.tell(world, text);
    }

    /// A notice that belongs to no incident.
    fn tell(&self, world: &mut World, text: AlertText) {
        world.notices = world.notices.saturating_add(1);
        let mut labels = text.labels;
        labels.insert("alertname".to_owned(), text.name.clone());
        labels.insert("service".to_owned(), self.declared.service.to_string());
        labels.insert("severity".to_owned(), text.severity.to_owned());
        let alert = Alert {
            key: format!("rollout/{}/{}/{}", self.declared.name, text.name, world.notices),
            labels,
            summary: text.summary,
            started_at: world.now,
        };
        let group = format!("rollout/{}", self.declared.name);
        world.notify(&self.declared.receivers, &group, &alert, text.description, None);
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("rollout".to_owned(), self.declared.name.to_string()),
            ("version".to_owned(), self.declared.canary.to_string()),
        ])
    }

    /// Outcomes of a while were not seen: verification begins again, and no gate opens for time that nobody measured.
    pub(crate) fn resume_after_gap(&mut self, last_seen: Timestamp, now: Timestamp) {
        if let Phase::Progressing { since, .. } = &mut self.phase {
            *since = (*since + now.since(last_seen)).min(now);
        }
        if let Some(watch) = &mut self.watch {
            watch.restart(now, self.declared.verify_window);
        }
    }
}

fn is_about_canary(subject: &Subject) -> bool {
    matches!(subject, Subject::Canary { .. })
}

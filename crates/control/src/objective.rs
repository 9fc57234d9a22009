//! One objective as control sees it: feeding its judge, and telling people when its budget burns and when it stops.
//!
//! One notice per severity and turn, however many rules of that severity fire. A page opens an incident and may ask for
//! a canary of the service to be taken back; a ticket is a notice alone.

use std::collections::BTreeMap;

use homeostat_judge_slo::ObjectiveJudge;
use homeostat_model::{
    IncidentId, Objective, Span, Timestamp,
    action::Initiator,
    evidence::{EventCounts, Evidence},
    incident::{Stage, Subject},
    objective::{OnPage, Severity},
    view::{BurnRuleView, ObjectiveView},
};
use serde::{Deserialize, Serialize};

use crate::{
    bad_run::BadRun,
    incidents::Alert,
    rollout::RolloutState,
    words,
    world::{AlertText, Opening, World},
};

/// How often rules are looked at when no events come, at most: windows move on by themselves.
const LOOKED_AT_EVERY: Span = Span::from_secs(1);
/// Recorded after the end before an incident is closed.
const CLOSED_AFTER: Span = Span::from_secs(5);

/// What people were told about a burning budget, until it is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Episode {
    /// Pages have one.
    incident: Option<IncidentId>,
    /// Tickets have one of their own; a page's belongs to its incident.
    alert: Option<Alert>,
}

/// The state of one declared objective.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ObjectiveState {
    pub(crate) declared: Objective,
    judge: ObjectiveJudge,
    /// Number of the second in which the rules were last looked at.
    looked_at: i64,
    page: Option<Episode>,
    ticket: Option<Episode>,
    /// The stretch in which the budget burned faster than planned.
    run: BadRun,
    /// What the present tick saw.
    #[serde(skip)]
    pub(crate) sum: EventCounts,
}

impl ObjectiveState {
    pub(crate) fn new(declared: Objective, start: Timestamp) -> Self {
        Self {
            judge: ObjectiveJudge::new(&declared, start),
            declared,
            looked_at: i64::MIN,
            page: None,
            ticket: None,
            run: BadRun::default(),
            sum: EventCounts::default(),
        }
    }

    /// Counts what the tick saw.
    pub(crate) fn record(&mut self, world: &mut World, rollouts: &mut [RolloutState]) {
        let sum = std::mem::take(&mut self.sum);
        if sum.total() == 0 {
            return;
        }
        self.judge.record(world.now, sum);
        self.run.record(world.now, sum, sum.total(), self.declared.target.budget_share());
        self.look(world, rollouts);
    }

    /// Looks at the rules again when nothing came but time.
    pub(crate) fn on_time(&mut self, world: &mut World, rollouts: &mut [RolloutState]) {
        if self.looked_at < world.now.slot(LOOKED_AT_EVERY) && self.judge.next_change().is_some() {
            self.look(world, rollouts);
        }
    }

    /// When its rules are to be looked at again although nothing comes.
    pub(crate) fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let next_ns = now.slot(LOOKED_AT_EVERY).saturating_add(1).saturating_mul(LOOKED_AT_EVERY.ns() as i64);
        self.judge.next_change().map(|at| at.max(Timestamp::from_unix_ns(next_ns)))
    }

    /// The process was away: what happened meanwhile is unmeasured.
    pub(crate) fn gap(&mut self, from: Timestamp, to: Timestamp) {
        self.judge.gap(from, to);
    }

    /// Whether a declaration continues this objective: it counts the same events.
    pub(crate) fn continues_as(&self, declared: &Objective) -> bool {
        let old = &self.declared;
        old.service == declared.service
            && old.routes == declared.routes
            && old.version == declared.version
            && old.sli == declared.sli
            && old.indicator == declared.indicator
    }

    /// Takes a changed declaration and keeps the history.
    pub(crate) fn reconfigure(mut self, declared: Objective) -> Self {
        if self.declared != declared {
            self.judge.reconfigure(&declared);
            self.declared = declared;
        }
        self
    }

    /// The declaration is gone: whatever fires ends.
    pub(crate) fn vanish(mut self, world: &mut World, why: &str) {
        self.end_page(world, why);
        self.end_ticket(world, why);
    }

    /// What there is to see of it.
    pub(crate) fn view(&self, now: Timestamp) -> ObjectiveView {
        ObjectiveView {
            objective: self.declared.clone(),
            fast: self.judge.fast(now),
            period: self.judge.period(now),
            budget_left: self.judge.budget_left(now),
            rules: self.judge.burn(now),
        }
    }

    fn look(&mut self, world: &mut World, rollouts: &mut [RolloutState]) {
        self.looked_at = world.now.slot(LOOKED_AT_EVERY);
        let unchanged = self.judge.evaluate(world.now).is_empty();
        if unchanged && self.judge.is_firing() == (self.page.is_some() || self.ticket.is_some()) {
            return;
        }
        let rules = self.judge.burn(world.now);
        match (self.burning(&rules, Severity::Page), self.page.is_some()) {
            (Some(evidence), false) => self.begin_page(world, rollouts, evidence),
            (None, true) => self.end_page(world, "the budget no longer burns too fast"),
            _ => {}
        }
        match (self.burning(&rules, Severity::Ticket), self.ticket.is_some()) {
            (Some(evidence), false) => self.begin_ticket(world, &evidence),
            (None, true) => self.end_ticket(world, "the budget no longer burns too fast"),
            _ => {}
        }
    }

    /// The fastest-burning rule of a severity that fires.
    fn burning(&self, rules: &[BurnRuleView], severity: Severity) -> Option<Evidence> {
        let firing = rules.iter().filter(|r| r.firing && r.rule.severity == severity);
        let fastest = firing.max_by(|a, b| a.rule.factor.total_cmp(&b.rule.factor))?;
        Some(Evidence::Burn {
            objective: self.declared.name.clone(),
            rule: fastest.rule,
            long_rate: fastest.long.burn_rate.unwrap_or(0.0),
            short_rate: fastest.short.burn_rate.unwrap_or(0.0),
            long: fastest.long.events,
            coverage: fastest.long.coverage,
        })
    }

    fn begin_page(&mut self, world: &mut World, rollouts: &mut [RolloutState], evidence: Evidence) {
        let (name, service) = (&self.declared.name, &self.declared.service);
        let (harmed, total) = self.harm();
        let sentence = words::evidence(&evidence);
        let opening = Opening {
            title: format!("{service}: {sentence}"),
            service: service.clone(),
            subject: Subject::Objective { objective: name.clone() },
            began_at: self.run.began().unwrap_or(world.now),
            evidence: evidence.clone(),
            verdict: sentence.clone(),
            harmed,
            total,
            receivers: self.declared.receivers.clone(),
        };
        let incident = world.open_incident(opening);
        self.run.hold();
        let text = AlertText {
            name: "ErrorBudgetBurn".to_owned(),
            severity: Severity::Page.label(),
            labels: self.labels(),
            summary: format!("{service}: {} is at risk", self.declared.display_name),
            description: format!("Objective {name}: {sentence}."),
        };
        world.alert(incident, text);
        self.page = Some(Episode { incident: Some(incident), alert: None });
        if self.declared.on_page == OnPage::ProposeRollback
            && let Some(rollout) = rollouts.iter_mut().find(|r| r.declared.service == *service)
        {
            let initiator = Initiator::Objective { objective: name.clone() };
            rollout.rollback_for_objective(world, initiator, evidence, Some(incident));
        }
    }

    fn end_page(&mut self, world: &mut World, why: &str) {
        let Some(incident) = self.page.take().and_then(|e| e.incident) else { return };
        let (harmed, total) = self.harm();
        self.run = BadRun::default();
        world.resolve_alerts(incident, &format!("Objective {}: {why}.", self.declared.name));
        world.with_incident(incident, |open, now| {
            open.incident.requests_harmed = open.incident.requests_harmed.max(harmed);
            open.incident.requests_total = open.incident.requests_total.max(total);
            open.milestone(now, "resolved", why.to_owned());
            open.reach(Stage::Recovered);
            open.close_at = Some(now + CLOSED_AFTER);
        });
    }

    fn begin_ticket(&mut self, world: &mut World, evidence: &Evidence) {
        // Not counted here: an objective that is declared anew must not repeat a key.
        world.notices = world.notices.saturating_add(1);
        let (name, service) = (&self.declared.name, &self.declared.service);
        let mut labels = self.labels();
        labels.insert("alertname".to_owned(), "ErrorBudgetBurn".to_owned());
        labels.insert("service".to_owned(), service.to_string());
        labels.insert("severity".to_owned(), Severity::Ticket.label().to_owned());
        let alert = Alert {
            key: format!("objective/{name}/ticket/{}", world.notices),
            labels,
            summary: format!("{service}: {} spends its error budget too fast", self.declared.display_name),
            started_at: world.now,
        };
        let description = format!("Objective {name}: {}.", words::evidence(evidence));
        world.notify(&self.declared.receivers, &self.group(), &alert, description, None);
        self.ticket = Some(Episode { incident: None, alert: Some(alert) });
    }

    fn end_ticket(&mut self, world: &mut World, why: &str) {
        let Some(alert) = self.ticket.take().and_then(|e| e.alert) else { return };
        let description = format!("Objective {}: {why}.", self.declared.name);
        let now = world.now;
        world.notify(&self.declared.receivers, &self.group(), &alert, description, Some(now));
    }

    /// Requests that failed beyond what the target allows, and all requests, in the bad stretch.
    fn harm(&self) -> (u64, u64) {
        let counts = self.run.canary();
        let allowed = self.declared.target.budget_share() * counts.total() as f64;
        ((counts.bad as f64 - allowed).max(0.0).round() as u64, counts.total())
    }

    fn group(&self) -> String {
        format!("objective/{}", self.declared.name)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("objective".to_owned(), self.declared.name.to_string())])
    }
}

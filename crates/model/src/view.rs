//! Read models: what the API, the console and the CLI show. Built by `control` from its state, served by `api`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CellId, CellKey, ChangeEvent, ReceiverName, ServiceName, Span, Timestamp, VersionName, Weight,
    action::ActionRecord,
    evidence::EventCounts,
    incident::Incident,
    objective::{BurnRule, Objective},
    rollout::{Phase, Rollout},
    verdict::CanaryVerdict,
};

/// Everything there is to see at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct View {
    /// When it was taken.
    pub at: Timestamp,
    /// Services, ascending by name.
    pub services: Vec<ServiceView>,
    /// Objectives, ascending by name.
    pub objectives: Vec<ObjectiveView>,
    /// Rollouts, ascending by name.
    pub rollouts: Vec<RolloutView>,
    /// Incidents that are not closed, newest first.
    pub open_incidents: Vec<Incident>,
    /// The last 100 actions, newest first.
    pub actions: Vec<ActionRecord>,
    /// The last 100 changes, newest first.
    pub changes: Vec<ChangeEvent>,
    /// Receivers that notifications can go to.
    pub receivers: Vec<ReceiverName>,
    /// Whether a person has switched all automatic actions off.
    pub break_glass: bool,
}

/// A service and its traffic over the last 10 s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Its versions, ascending by name.
    pub versions: Vec<VersionView>,
}

/// One version's share and traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VersionView {
    /// Its name.
    pub name: VersionName,
    /// Its share of the service's traffic as decided.
    pub weight: Weight,
    /// Requests over the last 10 s: answered and failed.
    pub last_10s: EventCounts,
    /// Its cells.
    pub cells: Vec<(CellId, CellKey)>,
}

/// An objective's budget and windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectiveView {
    /// What was declared.
    pub objective: Objective,
    /// The live window.
    pub fast: WindowView,
    /// The whole period.
    pub period: WindowView,
    /// Share of the error budget left, 1 untouched, below 0 overspent; `None` when nothing was measured.
    pub budget_left: Option<f64>,
    /// One entry per burn rule, in the order of the declaration.
    pub rules: Vec<BurnRuleView>,
}

/// One window of an objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowView {
    /// Its length.
    pub window: Span,
    /// Events in it.
    pub events: EventCounts,
    /// Burn rate; `None` when nothing was measured.
    pub burn_rate: Option<f64>,
    /// Share of the window in which anything was measured, 0 to 1: what is unmeasured is not uptime.
    pub coverage: f64,
    /// Whether it holds at least the objective's minimum of events and, for the windows of a burn rule that does not fire,
    /// whether at least the short one's length was measured: otherwise it is no evidence.
    pub enough: bool,
}

/// A burn rule with both of its windows. Red only when both breach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurnRuleView {
    /// The rule.
    pub rule: BurnRule,
    /// Its long window.
    pub long: WindowView,
    /// Its short window.
    pub short: WindowView,
    /// Whether it fires.
    pub firing: bool,
}

/// A rollout and what its judge says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutView {
    /// What was declared.
    pub rollout: Rollout,
    /// Where it stands.
    pub phase: Phase,
    /// The canary's share as decided.
    pub weight: Weight,
    /// The judge's latest answer; `None` while the rollout is not active.
    pub verdict: Option<CanaryVerdict>,
    /// The canary's and the baseline's availability events since the test began.
    pub canary: EventCounts,
    /// As above.
    pub baseline: EventCounts,
}

//! Service-level objectives after all checks: what a configuration becomes before a judge sees it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ObjectiveName, ReceiverName, RouteName, ServiceName, Span, VersionName};

/// Share of events that must be good, strictly between 0 and 1 (0.999 is "three nines").
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schemars(with = "f64")]
pub struct Target(f64);

/// A target outside (0, 1).
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("a target lies strictly between 0 and 1 (0.999 is three nines), {0} does not")]
pub struct TargetError(f64);

impl Target {
    /// Refuses what is not strictly between 0 and 1.
    pub fn new(share: f64) -> Result<Self, TargetError> {
        if 0.0 < share && share < 1.0 { Ok(Self(share)) } else { Err(TargetError(share)) }
    }

    /// The share that must be good.
    pub const fn share(self) -> f64 {
        self.0
    }

    /// The share that may be bad; never 0.
    pub fn budget_share(self) -> f64 {
        1.0 - self.0
    }
}

impl TryFrom<f64> for Target {
    type Error = TargetError;
    fn try_from(share: f64) -> Result<Self, TargetError> {
        Self::new(share)
    }
}

impl From<Target> for f64 {
    fn from(target: Target) -> Self {
        target.0
    }
}

/// What counts as a good event, over outcomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Sli {
    /// Good: answered (`Ok` or `ClientError`). Bad: the service failed it. All requests count.
    Availability,
    /// Good: answered within the threshold. Bad: answered later. Only answered requests count.
    Latency {
        /// The slowest latency that is still good.
        threshold: Span,
    },
}

/// How loudly a burning budget calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Work for the next working day.
    Ticket,
    /// Wakes somebody.
    Page,
}

impl Severity {
    /// The label value used in notifications, metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

/// Fires while the burn rate over both windows is at least `factor`.
/// Source: Google, The Site Reliability Workbook, chapter "Alerting on SLOs", multiwindow, multi-burn-rate alerts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BurnRule {
    /// How loudly.
    pub severity: Severity,
    /// Times faster than planned; greater than 0.
    pub factor: f64,
    /// The sure window.
    pub long: Span,
    /// The quick window, shorter than `long`; it ends the alert soon after the burning ends.
    pub short: Span,
}

impl BurnRule {
    /// The workbook's four rules for a 30-day period.
    pub const DEFAULTS: [Self; 4] = [
        Self { severity: Severity::Page, factor: 14.4, long: Span::from_hours(1), short: Span::from_mins(5) },
        Self { severity: Severity::Page, factor: 6.0, long: Span::from_hours(6), short: Span::from_mins(30) },
        Self { severity: Severity::Ticket, factor: 3.0, long: Span::from_days(1), short: Span::from_hours(2) },
        Self { severity: Severity::Ticket, factor: 1.0, long: Span::from_days(3), short: Span::from_hours(6) },
    ];
}

/// What to propose when a page-level burn rule fires while a rollout of the service is in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnPage {
    /// Only tell people.
    #[default]
    Notify,
    /// Propose to roll the canary back; subject to the guard's mode for objectives (`approve` by default).
    ProposeRollback,
}

/// A checked objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Objective {
    /// Its name.
    pub name: ObjectiveName,
    /// For people; equals the name when the document gives none.
    pub display_name: String,
    /// The service whose requests are judged.
    pub service: ServiceName,
    /// Only these routes; all routes of the service when empty.
    pub routes: Vec<RouteName>,
    /// Only this version; all versions when `None`.
    pub version: Option<VersionName>,
    /// What a good event is.
    pub sli: Sli,
    /// Share that must be good.
    pub target: Target,
    /// Rolling period of the budget, 1 h to 30 d.
    pub period: Span,
    /// The live window shown and judged at tick resolution, 10 ms to 60 s.
    pub fast_window: Span,
    /// Windows with fewer events than this are "not enough evidence", and no rule fires on them.
    pub min_events: u64,
    /// Burn-rate rules; several may fire at once.
    pub burn_rules: Vec<BurnRule>,
    /// What a page-level burn proposes.
    pub on_page: OnPage,
    /// Who hears of it; all receivers when empty.
    pub receivers: Vec<ReceiverName>,
    /// Who counts its events, when it is not the gateway. Its SLI is then [`Sli::Availability`], over these events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indicator: Option<Indicator>,
}

/// Events that queries over stored metrics count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Indicator {
    /// PromQL of good events or of bad ones.
    pub part: String,
    /// Whether `part` counts the good ones.
    pub part_is_good: bool,
    /// PromQL of all events.
    pub total: String,
    /// What the numbers of both are.
    pub form: IndicatorForm,
}

/// What the numbers of an indicator's queries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IndicatorForm {
    /// Events since some time in the past: each series grows, and falls only when it starts anew.
    Counter,
    /// Events a second.
    Rate,
}

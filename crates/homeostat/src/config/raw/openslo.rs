//! OpenSLO v1 documents. Keys and meaning are the specification's; what Homeostat adds stands in annotations and in
//! the `spec` of metric sources of type `Homeostat`, the two places that the specification leaves to implementations.
//!
//! Source: the OpenSLO specification, version v1.

use homeostat_model::{RouteName, Span, VersionName};

use crate::config::{
    read::{Any, Entries, OneOrMany, record, words},
    scalar::Number,
    source::At,
};

record! {
    /// Who and what a document is about.
    Metadata {
        /// The name by which others refer to it.
        "name" name: String => optional;
        /// For people.
        "displayName" display_name: String => optional;
        /// Free labels; kept for others, not used.
        "labels" labels: Any => optional;
        /// Extensions. On an `SLO`: `homeostat.dev/fast-window` (`1s`), `homeostat.dev/min-events` (`200`),
        /// `homeostat.dev/on-page` (`notify` or `propose-rollback`), `homeostat.dev/receivers`,
        /// `homeostat.dev/routes` (names divided by commas) and `homeostat.dev/version`.
        "annotations" annotations: Entries<String, Any> => optional;
    }
}

record! {
    /// A service-level objective over a service's requests.
    Slo {
        /// For people.
        "description" description: String => optional;
        /// The name of a `Service` document of `homeostat/v1`.
        "service" service: String => required;
        /// The SLI, written out.
        "indicator" indicator: IndicatorItem => optional;
        /// The name of an `SLI` document.
        "indicatorRef" indicator_ref: String => optional;
        /// One rolling window, 1 h to 30 d.
        "timeWindow" time_window: Vec<At<TimeWindow>> => required;
        /// How the budget is counted. Only `Occurrences` is understood.
        "budgetingMethod" budgeting_method: Budgeting => required;
        /// Targets. Several of them become objectives of their own, numbered from 1.
        "objectives" objectives: Vec<At<Target>> => required;
        /// Policies, written out or as `alertPolicyRef`. Left out: pages at 14.4 × over 1 h/5 m and 6 × over 6 h/30 m,
        /// tickets at 3 × over 1 d/2 h and 1 × over 3 d/6 h.
        "alertPolicies" alert_policies: Vec<At<PolicyItem>> => optional;
    }
}

record! {
    /// A rolling window.
    TimeWindow {
        /// Its length, for example `30d`.
        "duration" duration: SloDuration => required;
        /// Must be `true`; calendar windows are not understood.
        "isRolling" is_rolling: bool => optional;
        /// Not understood: leave it out.
        "calendar" calendar: Any => optional;
    }
}

/// The specification's short durations: a number and one of `m`, `h`, `d`, `w` (`M`, `Q` and `Y` have no fixed length).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SloDuration(pub Span);

/// How a budget is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budgeting {
    /// By events.
    Occurrences,
    /// By good slices of time.
    Timeslices,
    /// By the ratios of slices of time.
    RatioTimeslices,
}

words! { Budgeting {
    "Occurrences" => Budgeting::Occurrences, "Good events divided by all events.";
    "Timeslices" => Budgeting::Timeslices, "Not understood.";
    "RatioTimeslices" => Budgeting::RatioTimeslices, "Not understood.";
} }

record! {
    /// What must be reached: either `target` or `targetPercent`.
    Target {
        /// For people.
        "displayName" display_name: String => optional;
        /// Share of good events, between 0 and 1.
        "target" target: Number => optional;
        /// The same in percent.
        "targetPercent" target_percent: Number => optional;
        /// For threshold metrics: `lte` or `lt`.
        "op" op: Op => optional;
        /// For threshold metrics: the slowest latency that is still good, in the metric's unit.
        "value" value: Number => optional;
        /// Not understood: leave it out.
        "timeSliceTarget" time_slice_target: Any => optional;
        /// Not understood: leave it out.
        "timeSliceWindow" time_slice_window: Any => optional;
        /// Not understood: leave it out.
        "compositeWeight" composite_weight: Any => optional;
        /// Not understood: leave it out.
        "indicator" indicator: Any => optional;
        /// Not understood: leave it out.
        "indicatorRef" indicator_ref: Any => optional;
    }
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// At most.
    Lte,
    /// Less than.
    Lt,
    /// At least.
    Gte,
    /// More than.
    Gt,
}

words! { Op {
    "lte" => Op::Lte, "At most.";
    "lt" => Op::Lt, "Less than.";
    "gte" => Op::Gte, "At least.";
    "gt" => Op::Gt, "More than.";
} }

record! {
    /// A service-level indicator: either `ratioMetric` or `thresholdMetric`.
    Sli {
        /// For people.
        "description" description: String => optional;
        /// Two counts.
        "ratioMetric" ratio_metric: RatioMetric => optional;
        /// One latency, compared with each objective's `value`.
        "thresholdMetric" threshold_metric: Metric => optional;
    }
}

record! {
    /// An SLI written out.
    IndicatorItem {
        /// `SLI`.
        "kind" kind: String => optional;
        /// `openslo/v1`.
        "apiVersion" api_version: String => optional;
        /// Its name.
        "metadata" metadata: Metadata => optional;
        /// The SLI.
        "spec" spec: Sli => required;
    }
}

record! {
    /// `good` or `bad`, over `total`.
    RatioMetric {
        /// Of queries: `true` when their series count events and only ever grow, `false` when they are events a second.
        /// Left out: `true`. Has no meaning for the gateway's own counts.
        "counter" counter: bool => optional;
        /// Good events.
        "good" good: Metric => optional;
        /// Bad events.
        "bad" bad: Metric => optional;
        /// All events.
        "total" total: Metric => optional;
        /// Not understood: leave it out.
        "raw" raw: Any => optional;
        /// Not understood: leave it out.
        "rawType" raw_type: Any => optional;
    }
}

record! {
    /// One metric.
    Metric {
        /// Where it comes from.
        "metricSource" metric_source: MetricSource => required;
    }
}

record! {
    /// A source of data; its type is given here or by the `DataSource` referred to.
    MetricSource {
        /// `Homeostat`: the outcomes of requests through the gateway. `Prometheus`: a query over the metrics that a `Metrics`
        /// document keeps.
        "type" kind: String => optional;
        /// The name of a `DataSource` document.
        "metricSourceRef" metric_source_ref: String => optional;
        /// Which outcomes, or which query.
        "spec" spec: HomeostatMetric => optional;
    }
}

record! {
    /// Which requests of the service are counted; of type `Prometheus` only `query`.
    HomeostatMetric {
        /// Of type `Prometheus`: PromQL. Its series are counters of events, which are summed up here; see `counter`.
        "query" query: String => optional;
        /// Which outcomes. Left out: `all`; for threshold metrics the latency of answered requests.
        "outcome" outcome: OutcomeWord => optional;
        /// Only answered requests that took at most this long.
        "within" within: Span => optional;
        /// Only these routes. Left out: all routes of the service.
        "routes" routes: OneOrMany<RouteName> => optional;
        /// Only this version. Left out: all.
        "version" version: VersionName => optional;
        /// For threshold metrics: the unit of `value`. Left out: `ms`.
        "unit" unit: Unit => optional;
    }
}

/// A set of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutcomeWord {
    /// Every request.
    All,
    /// Answered in good order, the client's own errors included.
    Answered,
    /// Failed by the service.
    Failed,
}

words! { OutcomeWord {
    "all" => OutcomeWord::All, "Every request.";
    "answered" => OutcomeWord::Answered, "Answered without a fault of the service; the client's own errors (4xx) are answered.";
    "failed" => OutcomeWord::Failed, "Server error, reset, time-out or refused.";
} }

/// The unit of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
}

words! { Unit {
    "ms" => Unit::Ms, "Milliseconds.";
    "s" => Unit::S, "Seconds.";
} }

record! {
    /// A policy: all of its conditions must hold (AND); any policy of an objective suffices (OR).
    AlertPolicy {
        /// For people.
        "description" description: String => optional;
        /// Has no meaning here: missing data is shown as coverage and never as health.
        "alertWhenNoData" alert_when_no_data: bool => optional;
        /// Receivers decide by `sendResolved`.
        "alertWhenResolved" alert_when_resolved: bool => optional;
        /// `false` switches the policy off.
        "alertWhenBreaching" alert_when_breaching: bool => optional;
        /// One condition, or two with the same threshold: the longer `lookbackWindow` is the sure one, the shorter the
        /// quick one. With one condition the quick window is a twelfth of it.
        "conditions" conditions: Vec<At<ConditionItem>> => required;
        /// Who hears of it, written out or as `targetRef`.
        "notificationTargets" notification_targets: Vec<At<TargetItem>> => optional;
    }
}

record! {
    /// A policy written out, or `alertPolicyRef`.
    PolicyItem {
        /// The name of an `AlertPolicy` document.
        "alertPolicyRef" alert_policy_ref: String => optional;
        /// `AlertPolicy`.
        "kind" kind: String => optional;
        /// `openslo/v1`.
        "apiVersion" api_version: String => optional;
        /// Its name.
        "metadata" metadata: Metadata => optional;
        /// The policy.
        "spec" spec: AlertPolicy => optional;
    }
}

record! {
    /// A condition written out, or `conditionRef`.
    ConditionItem {
        /// The name of an `AlertCondition` document.
        "conditionRef" condition_ref: String => optional;
        /// `AlertCondition`.
        "kind" kind: String => optional;
        /// `openslo/v1`.
        "apiVersion" api_version: String => optional;
        /// Its name.
        "metadata" metadata: Metadata => optional;
        /// The condition.
        "spec" spec: AlertCondition => optional;
    }
}

record! {
    /// A target written out, or `targetRef`.
    TargetItem {
        /// The name of an `AlertNotificationTarget` document, or of a `Receiver`.
        "targetRef" target_ref: String => optional;
        /// `AlertNotificationTarget`.
        "kind" kind: String => optional;
        /// `openslo/v1`.
        "apiVersion" api_version: String => optional;
        /// Its name.
        "metadata" metadata: Metadata => optional;
        /// The target.
        "spec" spec: NotificationTarget => optional;
    }
}

record! {
    /// When to alert.
    AlertCondition {
        /// For people.
        "description" description: String => optional;
        /// `page` (or `critical`) wakes somebody, `ticket` (or `warning`) is work for the next day.
        "severity" severity: SeverityWord => required;
        /// The condition.
        "condition" condition: BurnCondition => required;
    }
}

record! {
    /// A burn rate over a window.
    BurnCondition {
        /// `burnrate`.
        "kind" kind: ConditionKind => default "burnrate";
        /// `gte`; `gt` counts as `gte`.
        "op" op: Op => optional;
        /// Times faster than planned.
        "threshold" threshold: Number => required;
        /// Over this long.
        "lookbackWindow" lookback_window: SloDuration => required;
        /// Has no meaning here: the quick window takes its part.
        "alertAfter" alert_after: SloDuration => optional;
    }
}

/// The only kind of condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConditionKind;

words! { ConditionKind {
    "burnrate" => ConditionKind, "The speed at which the error budget is spent.";
} }

/// How loudly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeverityWord(pub homeostat_model::objective::Severity);

words! { SeverityWord {
    "page" => SeverityWord(homeostat_model::objective::Severity::Page), "Wakes somebody.";
    "critical" => SeverityWord(homeostat_model::objective::Severity::Page), "As `page`.";
    "ticket" => SeverityWord(homeostat_model::objective::Severity::Ticket), "Work for the next working day.";
    "warning" => SeverityWord(homeostat_model::objective::Severity::Ticket), "As `ticket`.";
} }

record! {
    /// Who hears of it.
    NotificationTarget {
        /// For people.
        "description" description: String => optional;
        /// The name of a `Receiver`.
        "target" target: String => required;
    }
}

record! {
    /// A team's service. What the gateway serves is declared by `Service` of `homeostat/v1`; this one only describes it.
    Service {
        /// For people.
        "description" description: String => optional;
    }
}

record! {
    /// A source of data. Only the type `Homeostat`, the gateway's own outcomes, can be used.
    DataSource {
        /// For people.
        "description" description: String => optional;
        /// Its type.
        "type" kind: String => required;
        /// Not used by the type `Homeostat`.
        "connectionDetails" connection_details: Any => optional;
    }
}

//! Groups, rules and alerts as people look at them.

use std::time::Duration;

use homeostat_model::{Labels, TimeMs};

use crate::{Alert, GroupState};

/// A group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupView {
    /// Its file.
    pub file: String,
    /// Its name.
    pub name: String,
    /// Time between two evaluations.
    pub interval_ms: i64,
    /// Series or alerts of one rule at most; 0 for any number.
    pub limit: usize,
    /// Its rules in order.
    pub rules: Vec<RuleView>,
    /// When it was last evaluated.
    pub last_evaluation_ms: Option<TimeMs>,
    /// How long that took.
    pub took: Duration,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleView {
    /// The recorded metric, or the alert.
    pub name: String,
    /// Its expression.
    pub query: String,
    /// Labels as written.
    pub labels: Vec<(String, String)>,
    /// Why the last evaluation failed.
    pub last_error: Option<String>,
    /// When it was last evaluated.
    pub last_evaluation_ms: Option<TimeMs>,
    /// How long that took.
    pub took: Duration,
    /// What only alerts have.
    pub alerting: Option<AlertingView>,
}

/// What only alerts have.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertingView {
    /// How long an element must be there.
    pub for_ms: i64,
    /// How long it fires on.
    pub keep_firing_for_ms: i64,
    /// As written.
    pub annotations: Vec<(String, String)>,
    /// Those that are pending or fire.
    pub alerts: Vec<(Labels, Alert)>,
}

impl GroupView {
    /// Looks at a group. `took` has the time of each rule's last evaluation.
    pub fn of(state: &GroupState, took: &[Duration], last_evaluation_ms: Option<TimeMs>) -> Self {
        let group = state.group();
        let plain = |pairs: &[(String, crate::template::Template)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, template)| (name.clone(), template.text().to_owned())).collect()
        };
        let rules = group.rules.iter().enumerate().map(|(at, rule)| {
            let (last_error, last_evaluation_ms) = state.health(at);
            let alerting = rule.alerting().map(|alerting| AlertingView {
                for_ms: alerting.for_ms,
                keep_firing_for_ms: alerting.keep_firing_for_ms,
                annotations: plain(&alerting.annotations),
                alerts: alive(state, at),
            });
            RuleView {
                name: rule.name.clone(),
                query: rule.query(),
                labels: plain(&rule.labels),
                last_error: last_error.map(str::to_owned),
                last_evaluation_ms,
                took: took.get(at).copied().unwrap_or_default(),
                alerting,
            }
        });
        Self {
            file: group.file.clone(),
            name: group.name.clone(),
            interval_ms: group.interval_ms,
            limit: group.limit,
            rules: rules.collect(),
            last_evaluation_ms,
            took: took.iter().sum(),
        }
    }
}

fn alive(state: &GroupState, rule: usize) -> Vec<(Labels, Alert)> {
    let alerts = state.alerts(rule).into_iter().flat_map(crate::alert::Alerts::iter);
    let alive = alerts.filter(|(_, alert)| alert.state != crate::AlertState::Inactive);
    alive.map(|(labels, alert)| (labels.clone(), alert.clone())).collect()
}

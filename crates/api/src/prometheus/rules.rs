//! `rules` and `alerts`: what is evaluated, and what fires.
//!
//! Source: prometheus.io/docs/prometheus/latest/querying/api, "Rules" and "Alerts"; `web/api/v1/api.go`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
};
use homeostat_judge_rules::{
    Alert, AlertState,
    view::{AlertingView, GroupView, RuleView},
};
use homeostat_model::{Labels, TimeMs};
use homeostat_promql::{Matcher, parse_metric_selector};
use serde_json::{Map, Value, json};

use super::{PrometheusApi, error::ApiError, params::Params, status::success};

/// Groups with their rules, chosen by name, file, group, kind and labels; page by page if wanted.
pub(crate) async fn rules(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Json<Value>, ApiError> {
    let wanted = Wanted::of(&Params::of(request).await?)?;
    let groups = api.backend.rule_groups();
    let (mut shown, mut next, mut passed) = (Vec::new(), None, wanted.after.is_none());
    for group in &groups {
        if !passed {
            passed = wanted.after.as_deref() == Some(&token(group));
            continue;
        }
        if !wanted.takes_group(group) {
            continue;
        }
        let rules: Vec<_> = group.rules.iter().filter_map(|rule| wanted.rule(rule)).collect();
        if rules.is_empty() && wanted.chooses_rules() {
            continue;
        }
        if wanted.limit.is_some_and(|limit| limit <= shown.len()) {
            next = shown.last().map(|(token, _): &(String, Value)| token.clone());
            break;
        }
        shown.push((token(group), group_json(group, rules)));
    }
    if !passed {
        let text = "invalid group_next_token: the group is gone; begin anew".to_owned();
        return Err(ApiError::parameter("group_next_token", text));
    }
    let groups: Vec<_> = shown.into_iter().map(|(_, group)| group).collect();
    let mut data = Map::from_iter([("groups".to_owned(), Value::from(groups))]);
    data.extend(next.map(|next| ("groupNextToken".to_owned(), json!(next))));
    Ok(success(Value::Object(data)))
}

/// Alerts that are pending or fire.
pub(crate) async fn alerts(State(api): State<Arc<PrometheusApi>>) -> Json<Value> {
    let groups = api.backend.rule_groups();
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerting = rules.filter_map(|rule| rule.alerting.as_ref());
    let alerts: Vec<_> = alerting.flat_map(|alerting| alerting.alerts.iter().map(alert_json)).collect();
    success(json!({ "alerts": alerts }))
}

/// Alertmanagers that alerts are sent to.
pub(crate) async fn alertmanagers(State(api): State<Arc<PrometheusApi>>) -> Json<Value> {
    let active: Vec<_> = api.backend.alertmanagers().into_iter().map(|url| json!({ "url": url })).collect();
    success(json!({ "activeAlertmanagers": active, "droppedAlertmanagers": [] }))
}

/// What a request asks for.
struct Wanted {
    /// Alerts, recordings, or both.
    alerting: Option<bool>,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    /// One of these has to fit.
    selectors: Vec<Vec<Matcher>>,
    exclude_alerts: bool,
    limit: Option<usize>,
    after: Option<String>,
}

impl Wanted {
    fn of(params: &Params) -> Result<Self, ApiError> {
        let alerting = match params.get("type").to_lowercase().as_str() {
            "" => None,
            "alert" => Some(true),
            "record" => Some(false),
            other => {
                let text = format!("not supported value {other:?}");
                return Err(ApiError::parameter("type", text));
            }
        };
        let exclude_alerts = match params.get("exclude_alerts").to_lowercase().as_str() {
            "" | "false" | "0" | "f" => false,
            "true" | "1" | "t" => true,
            other => {
                return Err(ApiError::parameter("exclude_alerts", format!("{other:?} is neither true nor false")));
            }
        };
        let all = |name| params.all(name).map(str::to_owned).collect::<Vec<String>>();
        let mut selectors = Vec::new();
        for text in params.all("match[]") {
            selectors
                .push(parse_metric_selector(text).map_err(|error| ApiError::parameter("match[]", error.to_string()))?);
        }
        let (limit, after) = (params.count("group_limit")?, params.get("group_next_token"));
        if limit.is_none() && !after.is_empty() {
            let text = "group_limit needs to be set in order to paginate over the groups".to_owned();
            return Err(ApiError::parameter("group_next_token", text));
        }
        Ok(Self {
            alerting,
            names: all("rule_name[]"),
            groups: all("rule_group[]"),
            files: all("file[]"),
            selectors,
            exclude_alerts,
            limit,
            after: (!after.is_empty()).then(|| after.to_owned()),
        })
    }

    fn takes_group(&self, group: &GroupView) -> bool {
        let among = |list: &[String], name: &str| list.is_empty() || list.iter().any(|wanted| wanted == name);
        among(&self.groups, &group.name) && among(&self.files, &group.file)
    }

    fn chooses_rules(&self) -> bool {
        !self.names.is_empty() || !self.selectors.is_empty() || self.alerting.is_some()
    }

    fn rule(&self, rule: &RuleView) -> Option<Value> {
        let named = self.names.is_empty() || self.names.contains(&rule.name);
        let kind = self.alerting.is_none_or(|alerting| alerting == rule.alerting.is_some());
        let value = |name: &str| rule.labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        let fits = |matchers: &Vec<Matcher>| matchers.iter().all(|matcher| matcher.matches(value(&matcher.name)));
        let labelled = self.selectors.is_empty() || self.selectors.iter().any(fits);
        (named && kind && labelled).then(|| rule_json(rule, self.exclude_alerts))
    }
}

/// What names a group to whoever asks for the next page.
fn token(group: &GroupView) -> String {
    format!("{};{}", group.file, group.name)
}

fn group_json(group: &GroupView, rules: Vec<Value>) -> Value {
    json!({
        "name": group.name,
        "file": group.file,
        "rules": rules,
        "interval": seconds(group.interval_ms),
        "limit": group.limit,
        "evaluationTime": group.took.as_secs_f64(),
        "lastEvaluation": time(group.last_evaluation_ms),
    })
}

fn rule_json(rule: &RuleView, exclude_alerts: bool) -> Value {
    let health = match (rule.last_evaluation_ms, &rule.last_error) {
        (None, _) => "unknown",
        (Some(_), None) => "ok",
        (Some(_), Some(_)) => "err",
    };
    let mut value = json!({
        "name": rule.name,
        "query": rule.query,
        "health": health,
        "evaluationTime": rule.took.as_secs_f64(),
        "lastEvaluation": time(rule.last_evaluation_ms),
        "type": if rule.alerting.is_some() { "alerting" } else { "recording" },
    });
    let Some(object) = value.as_object_mut() else { return value };
    if rule.alerting.is_some() || !rule.labels.is_empty() {
        object.insert("labels".to_owned(), pairs(&rule.labels));
    }
    object.extend(rule.last_error.as_ref().map(|error| ("lastError".to_owned(), json!(error))));
    if let Some(alerting) = &rule.alerting {
        let alerts = if exclude_alerts { Vec::new() } else { alerting.alerts.iter().map(alert_json).collect() };
        object.extend([
            ("state".to_owned(), json!(state(alerting).as_str())),
            ("duration".to_owned(), seconds(alerting.for_ms)),
            ("keepFiringFor".to_owned(), seconds(alerting.keep_firing_for_ms)),
            ("annotations".to_owned(), pairs(&alerting.annotations)),
            ("alerts".to_owned(), Value::from(alerts)),
        ]);
    }
    value
}

/// The worst of its alerts.
fn state(alerting: &AlertingView) -> AlertState {
    alerting.alerts.iter().map(|(_, alert)| alert.state).max().unwrap_or(AlertState::Inactive)
}

fn alert_json((labels, alert): &(Labels, Alert)) -> Value {
    let labels: Map<_, _> = labels.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let mut value = json!({
        "labels": labels,
        "annotations": pairs(&alert.annotations),
        "state": alert.state.as_str(),
        "activeAt": time(Some(alert.active_at_ms)),
        "value": exponent(alert.value),
    });
    if let (Some(object), Some(since)) = (value.as_object_mut(), alert.keep_firing_since_ms) {
        object.insert("keepFiringSince".to_owned(), time(Some(since)));
    }
    value
}

/// `1e+00`, as Prometheus writes the values of alerts.
fn exponent(value: f64) -> String {
    if !value.is_finite() {
        let words = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        return words.to_owned();
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn pairs(pairs: &[(String, String)]) -> Value {
    Value::Object(pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect())
}

/// Seconds; whole ones without decimals.
fn seconds(ms: i64) -> Value {
    if ms % 1000 == 0 { json!(ms / 1000) } else { json!(ms as f64 / 1000.0) }
}

fn time(t_ms: Option<TimeMs>) -> Value {
    let at = t_ms.and_then(|t_ms| jiff::Timestamp::from_millisecond(t_ms).ok());
    json!(at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_alerts_have_exponents() {
        for (value, expected) in
            [(1.0, "1e+00"), (0.0, "0e+00"), (-1234.5, "-1.2345e+03"), (1e-7, "1e-07"), (f64::NAN, "NaN")]
        {
            assert_eq!(exponent(value), expected);
        }
    }
}

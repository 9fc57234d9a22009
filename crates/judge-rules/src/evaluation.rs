//! One evaluation of one rule: a query, labels, the states of alerts, and the samples that come of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use homeostat_model::{
    Labels, LabelsBuilder, SampleValue, TimeMs,
    error_chain::chain,
    labels::METRIC_NAME,
    sample::{is_stale, stale_marker},
};
use homeostat_promql::{
    Expr, Matcher, MatcherOp, ParseOptions, Select, SeriesSource,
    eval::{Options, Value, VectorElement, evaluate_instant},
    parse,
};

use crate::{
    alert::{Alerts, DueAlert, Found, GRACE_MS, OUTAGE_MAX_MS, Remembered, restored_ms},
    group::{Alerting, Group, Rule, RuleKind},
    template::{Ask, Data, Sample, Template},
};

/// The label that names an alert.
pub const ALERT_NAME: &str = "alertname";
/// One series for each alert that is pending or fires, with its state.
const ALERTS: &str = "ALERTS";
/// One series for each such alert: since when it has been active, in seconds since 1970.
const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

/// What evaluations share.
#[derive(Clone, Debug)]
pub struct Environment {
    /// How expressions are evaluated.
    pub options: Options,
    /// What of the language is switched on.
    pub language: ParseOptions,
    /// Labels of this server towards others.
    pub external_labels: Labels,
    /// Where people find this server, without a slash at the end.
    pub external_url: String,
}

/// What one evaluation reads from, and when it has to end.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What is stored.
    pub source: &'a dyn SeriesSource,
    /// What evaluations share.
    pub environment: &'a Environment,
    /// Says that nobody waits any more.
    pub is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("environment", &self.environment).finish_non_exhaustive()
    }
}

/// A sample to be written.
pub type NewSample = (Labels, TimeMs, SampleValue);

/// A group with what its rules remember.
#[derive(Clone, Debug)]
pub struct GroupState {
    group: Arc<Group>,
    rules: Vec<RuleState>,
}

#[derive(Clone, Debug, Default)]
struct RuleState {
    alerts: Alerts,
    /// What an earlier run knew of its alerts has been looked for.
    restored: bool,
    /// Series of the last evaluation.
    series: BTreeSet<Labels>,
    last_error: Option<String>,
    last_evaluation_ms: Option<TimeMs>,
}

impl GroupState {
    /// A group that has not been evaluated.
    pub fn new(group: Arc<Group>) -> Self {
        let rules = vec![RuleState::default(); group.rules.len()];
        Self { group, rules }
    }

    /// Its rules.
    pub fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// What it remembers of an older form of the same group: alerts and series of the rules that are still there.
    ///
    /// A rule is still there if its name and labels are, whatever else of it was edited, as in Prometheus. Of several that
    /// are alike in this, unchanged ones meet first, and then the others in order.
    pub fn take_over(&mut self, older: Self) {
        let mut older: Vec<_> = older.group.rules.iter().cloned().zip(older.rules).map(Some).collect();
        let mut waiting: Vec<_> = self.group.rules.iter().zip(&mut self.rules).collect();
        for is_same in [Rule::eq, Rule::is_successor_of] {
            waiting.retain_mut(|(rule, state)| {
                let same = older.iter_mut().find(|entry| entry.as_ref().is_some_and(|(known, _)| is_same(rule, known)));
                same.and_then(Option::take).map(|(_, known)| **state = known).is_none()
            });
        }
    }

    /// What was made of a rule's last evaluation could not be kept: its health says so.
    pub fn spoil(&mut self, rule: usize, problem: String) {
        self.rules.get_mut(rule).into_iter().for_each(|state| state.last_error = Some(problem.clone()));
    }

    /// An evaluation broke off in the middle: the health of the rule says so, and everything else of it stays as it was.
    pub fn broke_off(&mut self, rule: usize, t_ms: TimeMs, problem: String) {
        self.rules.get_mut(rule).into_iter().for_each(|state| state.last_evaluation_ms = Some(t_ms));
        self.spoil(rule, problem);
    }

    /// All series that it wrote at last; they end when the group goes.
    pub fn series(&self) -> impl Iterator<Item = &Labels> {
        self.rules.iter().flat_map(|rule| &rule.series)
    }

    /// Error and instant of a rule's last evaluation.
    pub fn health(&self, rule: usize) -> (Option<&str>, Option<TimeMs>) {
        let state = self.rules.get(rule);
        (state.and_then(|state| state.last_error.as_deref()), state.and_then(|state| state.last_evaluation_ms))
    }

    /// The alerts of a rule.
    pub fn alerts(&self, rule: usize) -> Option<&Alerts> {
        self.rules.get(rule).map(|state| &state.alerts)
    }

    /// Whether a rule has been evaluated at least once, so that an alert that it does not have is over, not unknown.
    pub fn is_known(&self, rule: usize) -> bool {
        self.rules.get(rule).is_some_and(|state| state.restored)
    }

    /// Evaluates one rule. The error says why it cannot be; its state stays as it was, except that more alerts than the
    /// group's limit clear all of them, as in Prometheus.
    pub fn evaluate(&mut self, rule: usize, t_ms: TimeMs, around: Surroundings<'_>) -> Result<Vec<NewSample>, String> {
        let group = Arc::clone(&self.group);
        let (Some(rule), Some(state)) = (group.rules.get(rule), self.rules.get_mut(rule)) else {
            return Ok(Vec::new());
        };
        let query_ms = t_ms.saturating_sub(group.query_offset_ms);
        let evaluated = match &rule.kind {
            RuleKind::Recording => recorded(rule, &group, query_ms, around),
            RuleKind::Alerting(alerting) => state.alerted(rule, alerting, &group, t_ms, around),
        };
        state.last_evaluation_ms = Some(t_ms);
        state.last_error = evaluated.as_ref().err().cloned();
        let values = evaluated?;
        let series: BTreeSet<Labels> = values.iter().map(|(labels, _)| labels.clone()).collect();
        let mut samples: Vec<NewSample> = values.into_iter().map(|(labels, value)| (labels, query_ms, value)).collect();
        let gone = state.series.difference(&series);
        samples.extend(gone.map(|labels| (labels.clone(), query_ms, SampleValue::Float(stale_marker()))));
        state.series = series;
        Ok(samples)
    }

    /// The alerts of a rule that are due to be sent; they count as sent.
    pub fn due(&mut self, rule: usize, t_ms: TimeMs, resend_ms: i64) -> Vec<DueAlert> {
        let interval_ms = self.group.interval_ms;
        self.rules.get_mut(rule).map_or_else(Vec::new, |state| state.alerts.due(t_ms, resend_ms, interval_ms))
    }
}

type Values = Vec<(Labels, SampleValue)>;

fn recorded(rule: &Rule, group: &Group, query_ms: TimeMs, around: Surroundings<'_>) -> Result<Values, String> {
    let mut values = BTreeMap::new();
    let elements = ask(&rule.expr, query_ms, around)?;
    for element in elements {
        let mut labels = LabelsBuilder::from(&element.labels);
        labels.set(METRIC_NAME, &rule.name);
        for (name, value) in &rule.labels {
            labels.set(name, value.text());
        }
        if values.insert(labels.finish(), element.value).is_some() {
            return Err("vector contains metrics with the same labelset after applying rule labels".to_owned());
        }
    }
    check_limit(group.limit, values.len(), "series")?;
    Ok(values.into_iter().collect())
}

fn check_limit(limit: usize, found: usize, what: &str) -> Result<(), String> {
    if 0 < limit && limit < found {
        return Err(format!("exceeded limit of {limit} with {found} {what}"));
    }
    Ok(())
}

/// The elements of an expression; a scalar is one without labels.
pub(crate) fn ask(expr: &Expr, t_ms: TimeMs, around: Surroundings<'_>) -> Result<Vec<VectorElement>, String> {
    let answer = evaluate_instant(around.source, expr, t_ms, &around.environment.options, around.is_cancelled);
    match answer.map_err(|error| chain(&error))?.value {
        Value::Vector(elements) => Ok(elements),
        Value::Scalar { t_ms, value } => {
            Ok(vec![VectorElement { labels: Labels::empty(), t_ms, value: SampleValue::Float(value) }])
        }
        Value::Text { .. } | Value::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
    }
}

impl RuleState {
    fn alerted(
        &mut self,
        rule: &Rule,
        alerting: &Alerting,
        group: &Group,
        t_ms: TimeMs,
        around: Surroundings<'_>,
    ) -> Result<Values, String> {
        let query_ms = t_ms.saturating_sub(group.query_offset_ms);
        let mut found = BTreeMap::new();
        for element in ask(&rule.expr, query_ms, around)? {
            let (labels, element) = filled_in(rule, alerting, &element, t_ms, query_ms, around);
            if found.insert(labels, element).is_some() {
                return Err("vector contains metrics with the same labelset after applying alert labels".to_owned());
            }
        }
        let remembered = if self.restored { BTreeMap::new() } else { look_back(rule, alerting, t_ms, around)? };
        // Nothing fails from here on, but for the limit, which clears all alerts.
        self.restored = true;
        let there = self.alerts.meet(t_ms, found);
        self.alerts
            .restore(|labels| remembered.get(labels).map(|remembered| restored_ms(t_ms, alerting.for_ms, *remembered)));
        let alive = self.alerts.advance(t_ms, alerting, &there);
        if let Err(too_many) = check_limit(group.limit, alive, "alerts") {
            self.alerts.clear();
            return Err(too_many);
        }
        Ok(self.state_series())
    }

    /// `ALERTS` and `ALERTS_FOR_STATE`.
    fn state_series(&self) -> Values {
        let alive = self.alerts.iter().filter(|(_, alert)| alert.state != crate::AlertState::Inactive);
        let series = alive.flat_map(|(labels, alert)| {
            let mut state = LabelsBuilder::from(labels);
            state.set(METRIC_NAME, ALERTS).set("alertstate", alert.state.as_str());
            let active_at_s = alert.active_at_ms.div_euclid(1000) as f64;
            [
                (state.finish(), SampleValue::Float(1.0)),
                (labels.with(METRIC_NAME, ALERTS_FOR_STATE), SampleValue::Float(active_at_s)),
            ]
        });
        series.collect()
    }
}

/// What an earlier run knew of a rule's alerts, if they wait for so long that it matters.
fn look_back(
    rule: &Rule,
    alerting: &Alerting,
    t_ms: TimeMs,
    around: Surroundings<'_>,
) -> Result<BTreeMap<Labels, Remembered>, String> {
    if alerting.for_ms < GRACE_MS { Ok(BTreeMap::new()) } else { remembered(&rule.name, t_ms, around) }
}

/// The last samples of `ALERTS_FOR_STATE` by the labels of their alerts; none of alerts that were over.
fn remembered(alert: &str, t_ms: TimeMs, around: Surroundings<'_>) -> Result<BTreeMap<Labels, Remembered>, String> {
    let matchers: Result<Vec<Matcher>, _> = [(METRIC_NAME, ALERTS_FOR_STATE), (ALERT_NAME, alert)]
        .into_iter()
        .map(|(name, value)| Matcher::new(name, MatcherOp::Equal, value))
        .collect();
    let matchers = matchers.map_err(|error| error.to_string())?;
    let select = Select { matchers: &matchers, start_ms: t_ms.saturating_sub(OUTAGE_MAX_MS), end_ms: t_ms };
    let mut found = BTreeMap::new();
    for series in around.source.select(&select).map_err(|error| chain(&error))? {
        let mut last = None;
        for run in series.runs {
            if let homeostat_model::SampleRun::Floats { t_ms: times, values, .. } =
                run.map_err(|error| chain(&error))?
            {
                let within = times.iter().zip(values.iter()).filter(|(t, _)| (select.start_ms..=t_ms).contains(*t));
                last = within.max_by_key(|(t, _)| **t).map(|(t, value)| (*t, *value)).or(last);
            }
        }
        if let Some((t_ms, seconds)) = last.filter(|(_, value)| !is_stale(*value)) {
            let labels = series.labels.filtered(|name| name != METRIC_NAME);
            found.insert(labels, Remembered { t_ms, active_at_ms: (seconds * 1000.0) as TimeMs });
        }
    }
    Ok(found)
}

/// Labels and annotations of an element's alert.
fn filled_in(
    rule: &Rule,
    alerting: &Alerting,
    element: &VectorElement,
    t_ms: TimeMs,
    query_ms: TimeMs,
    around: Surroundings<'_>,
) -> (Labels, Found) {
    let value = match &element.value {
        SampleValue::Float(value) => *value,
        SampleValue::Histogram(histogram) => histogram.count,
    };
    let environment = around.environment;
    let data = Data {
        labels: &element.labels,
        value,
        external_labels: &environment.external_labels,
        external_url: &environment.external_url,
        t_ms,
    };
    let queries = Queries { t_ms: query_ms, around };
    let fill = |template: &Template| {
        template.render(&data, &queries).unwrap_or_else(|error| format!("<error expanding template: {error}>"))
    };
    let mut labels = LabelsBuilder::from(&element.labels);
    labels.remove(METRIC_NAME);
    for (name, template) in &rule.labels {
        labels.set(name, &fill(template));
    }
    labels.set(ALERT_NAME, &rule.name);
    let annotations = alerting.annotations.iter().map(|(name, template)| (name.clone(), fill(template)));
    (labels.finish(), Found { annotations: annotations.collect(), value })
}

/// Answers `query` of templates.
struct Queries<'a> {
    t_ms: TimeMs,
    around: Surroundings<'a>,
}

impl Ask for Queries<'_> {
    fn ask(&self, query: &str) -> Result<Vec<Sample>, String> {
        let expr = parse(query, &self.around.environment.language).map_err(|error| error.to_string())?;
        let elements = ask(&expr, self.t_ms, self.around)?;
        let samples = elements.into_iter().filter_map(|element| match element.value {
            SampleValue::Float(value) => Some(Sample {
                labels: element.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                value,
            }),
            SampleValue::Histogram(_) => None,
        });
        Ok(samples.collect())
    }
}

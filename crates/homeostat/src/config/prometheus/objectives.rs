//! Objectives whose indicator is a query: documents of OpenSLO (`openslo/v1`) and of Sloth (`prometheus/v1`).
//!
//! A query of either says with `{{.window}}` where its window goes. One of OpenSLO without that is the series of a counter
//! (`counter: true`) or of counts (`counter: false`), and its window is put around it.
//! Not here: what is recorded and alerted (`judge-rules`), objectives that the gateway measures (`check::objectives`).
//! Source: the OpenSLO specification, version v1; sloth.dev, specification `prometheus/v1`.

use std::{collections::BTreeMap, path::Path};

use homeostat_judge_rules::{
    Group,
    objectives::{Indicator, ObjectiveAlerts, QueryObjective, Severity, compile, has_window},
};

use super::{rules::RuleDefaults, scalars::Text};
use crate::config::{
    problem::{Problems, Severity as Gravity},
    read::{Any, Context, Entries, Read, lookup, record},
    scalar::Number,
    source::{At, Source, Sources},
    tree::{self, Data, Node},
};

/// Days of a period unless a document says otherwise, as in Sloth.
const PERIOD_DAYS: u32 = 30;

record! {
    /// A document of Sloth.
    SlothFile {
        /// `prometheus/v1`
        "version" version: Text => required;
        /// The service.
        "service" service: Text => required;
        /// Labels of all series.
        "labels" labels: Entries<Text, Text> => optional;
        /// Plugins are not understood.
        "slo_plugins" plugins: Any => optional;
        /// Objectives.
        "slos" slos: Vec<At<SlothSlo>> => required;
    }
}

record! {
    /// An objective of Sloth.
    SlothSlo {
        /// Its name.
        "name" name: Text => required;
        /// For people.
        "description" description: Text => optional;
        /// Percent of good events.
        "objective" objective: Number => required;
        /// Labels of its series.
        "labels" labels: Entries<Text, Text> => optional;
        /// How errors are measured.
        "sli" sli: SlothSli => required;
        /// What is alerted.
        "alerting" alerting: SlothAlerting => required;
        /// Plugins are not understood.
        "plugins" plugins: Any => optional;
    }
}

record! {
    /// How errors are measured.
    SlothSli {
        /// By events.
        "events" events: SlothEvents => optional;
        /// By a share.
        "raw" raw: SlothRaw => optional;
        /// Not understood.
        "plugin" plugin: Any => optional;
    }
}

record! {
    /// Errors and all events.
    SlothEvents {
        /// Errors in the window.
        "error_query" error_query: Text => required;
        /// All events in the window.
        "total_query" total_query: Text => required;
    }
}

record! {
    /// The share of errors.
    SlothRaw {
        /// In the window.
        "error_ratio_query" error_ratio_query: Text => required;
    }
}

record! {
    /// What is alerted.
    SlothAlerting {
        /// Name of both alerts.
        "name" name: Text => default "''";
        /// Labels of both.
        "labels" labels: Entries<Text, Text> => optional;
        /// Annotations of both.
        "annotations" annotations: Entries<Text, Text> => optional;
        /// The fast one.
        "page_alert" page: SlothAlert => default "{}";
        /// The slow one.
        "ticket_alert" ticket: SlothAlert => default "{}";
    }
}

record! {
    /// One of the two.
    SlothAlert {
        /// It is not wanted.
        "disable" disable: bool => default "false";
        /// Its labels.
        "labels" labels: Entries<Text, Text> => optional;
        /// Its annotations.
        "annotations" annotations: Entries<Text, Text> => optional;
    }
}

record! {
    /// A document of OpenSLO.
    OpenSlo {
        /// `openslo/v1`
        "apiVersion" version: Text => required;
        /// `SLO`, `SLI` and others.
        "kind" kind: Text => required;
        /// Its name.
        "metadata" metadata: OpenMetadata => required;
        /// What it says.
        "spec" spec: Any => optional;
    }
}

record! {
    /// A name.
    OpenMetadata {
        /// By which others refer to it.
        "name" name: Text => required;
        /// For people.
        "displayName" display_name: Any => optional;
        /// Labels of the objective's series, if they are texts.
        "labels" labels: Any => optional;
        /// Extensions.
        "annotations" annotations: Any => optional;
    }
}

record! {
    /// An objective of OpenSLO.
    OpenSpec {
        /// For people.
        "description" description: Any => optional;
        /// The service.
        "service" service: Text => required;
        /// The indicator, written out.
        "indicator" indicator: OpenIndicator => optional;
        /// The name of an `SLI`.
        "indicatorRef" indicator_ref: Text => optional;
        /// One rolling window of whole days.
        "timeWindow" windows: Vec<At<OpenWindow>> => optional;
        /// How the budget is counted; by events.
        "budgetingMethod" budgeting: Text => default "Occurrences";
        /// Targets.
        "objectives" objectives: Vec<At<OpenTarget>> => required;
        /// Pages and tickets are made in any case.
        "alertPolicies" alert_policies: Any => optional;
    }
}

record! {
    /// An indicator, written out.
    OpenIndicator {
        /// Its name.
        "metadata" metadata: Any => optional;
        /// What it measures.
        "spec" spec: OpenSli => required;
    }
}

record! {
    /// What is measured.
    OpenSli {
        /// For people.
        "description" description: Any => optional;
        /// Good or bad events of all.
        "ratioMetric" ratio: OpenRatio => optional;
        /// Not understood.
        "thresholdMetric" threshold: Any => optional;
    }
}

record! {
    /// Good or bad events of all.
    OpenRatio {
        /// Whether the metrics count up.
        "counter" counter: bool => default "true";
        /// Good events.
        "good" good: OpenMetric => optional;
        /// Bad events.
        "bad" bad: OpenMetric => optional;
        /// All events.
        "total" total: OpenMetric => optional;
        /// The share itself.
        "raw" raw: OpenMetric => optional;
        /// `success` or `failure`: the share of what.
        "rawType" raw_type: Text => optional;
    }
}

record! {
    /// A metric.
    OpenMetric {
        /// Where it comes from.
        "metricSource" source: OpenSource => required;
    }
}

record! {
    /// Where a metric comes from.
    OpenSource {
        /// The name of a `DataSource`; everything is in this store.
        "metricSourceRef" source_ref: Any => optional;
        /// `Prometheus`.
        "type" kind: Text => default "Prometheus";
        /// The query.
        "spec" spec: OpenQuery => required;
    }
}

record! {
    /// A query.
    OpenQuery {
        /// In PromQL.
        "query" query: Text => required;
    }
}

record! {
    /// A rolling window.
    OpenWindow {
        /// `30d` or `4w`.
        "duration" duration: Text => required;
        /// It rolls.
        "isRolling" is_rolling: bool => default "true";
        /// Not understood.
        "calendar" calendar: Any => optional;
    }
}

record! {
    /// What must be reached.
    OpenTarget {
        /// For people.
        "displayName" display_name: Any => optional;
        /// Share of good events.
        "target" target: Number => optional;
        /// The same in percent.
        "targetPercent" target_percent: Number => optional;
    }
}

/// Reads the documents of a file or of a directory's `*.yaml` files, and makes rules of them.
pub fn load(path: &Path, defaults: RuleDefaults) -> Result<Vec<Group>, Problems> {
    let (sources, _, problems) = Sources::read(path);
    let mut cx = Context::new(problems, &|_| None);
    let groups = groups(&sources, defaults, &mut cx);
    finish(groups, &sources, cx)
}

/// Checks a text; `name` stands for the file's name.
pub fn load_str(name: &str, text: &str, defaults: RuleDefaults) -> Result<Vec<Group>, Problems> {
    let sources = Sources::of_text(name, text);
    let mut cx = Context::new(Vec::new(), &|_| None);
    let groups = groups(&sources, defaults, &mut cx);
    finish(groups, &sources, cx)
}

fn finish(groups: Vec<Group>, sources: &Sources, cx: Context<'_>) -> Result<Vec<Group>, Problems> {
    let failed = cx.problems.iter().any(|problem| problem.severity == Gravity::Error);
    if failed { Err(Problems::new(cx.problems, sources, &cx.secrets)) } else { Ok(groups) }
}

/// An indicator with the place that it is written at.
type Found = At<Indicator>;

fn groups(sources: &Sources, defaults: RuleDefaults, cx: &mut Context<'_>) -> Vec<Group> {
    let mut documents: Vec<(&Source, Node)> = Vec::new();
    for (file, source) in (0_u16..).zip(&sources.0) {
        let parsed = tree::parse(&source.name, &source.text, file, &mut cx.problems);
        documents.extend(parsed.documents.into_iter().map(|document| (source, document)));
    }
    let indicators = indicators(&documents, cx);
    let mut objectives = Vec::new();
    for (source, document) in &documents {
        objectives.extend(of_document(document, &indicators, cx).into_iter().map(|objective| (*source, objective)));
    }
    let (mut groups, mut known) = (Vec::new(), std::collections::BTreeSet::new());
    for (source, objective) in objectives {
        let id = format!("{}-{}", objective.value.service, objective.value.name);
        if !known.insert(id.clone()) {
            let help = "give each objective of a service a name of its own";
            cx.error(objective.place, format!("there is a second objective `{id}`"), help);
        }
        match compile(&objective.value, &source.name, defaults.interval_ms, defaults.language) {
            Ok(made) => groups.extend(made),
            Err(problem) => {
                let help = "check the query as it stands there with `promtool query` or the console";
                cx.error(objective.place, format!("a query of `{id}` cannot be used: {problem}"), help);
            }
        }
    }
    groups
}

fn word<'n>(document: &'n Node, key: &str) -> Option<&'n str> {
    let Data::Mapping(entries) = &document.data else { return None };
    match &lookup(entries, key)?.data {
        Data::Plain(text) | Data::Quoted(text) => Some(text),
        _ => None,
    }
}

/// `SLI` documents by their names.
fn indicators(documents: &[(&Source, Node)], cx: &mut Context<'_>) -> BTreeMap<String, Found> {
    let mut indicators = BTreeMap::new();
    for (_, document) in documents.iter().filter(|(_, document)| word(document, "kind") == Some("SLI")) {
        let Some(open) = OpenSlo::read(document, cx) else { continue };
        let name = open.metadata.as_ref().and_then(|at| at.value.name.as_ref()).map(|at| at.value.0.clone());
        let sli = open.spec.and_then(|at| At::<OpenSli>::read(&at.value.0, cx));
        if let (Some(name), Some(indicator)) = (name, sli.and_then(|sli| indicator(&sli, cx))) {
            indicators.insert(name, indicator);
        }
    }
    indicators
}

fn of_document(document: &Node, known: &BTreeMap<String, Found>, cx: &mut Context<'_>) -> Vec<At<QueryObjective>> {
    match (word(document, "version"), word(document, "apiVersion"), word(document, "kind")) {
        (Some("prometheus/v1"), ..) => of_sloth(document, cx),
        (_, Some("openslo/v1"), Some("SLO")) => of_open(document, known, cx),
        (_, Some("openslo/v1"), _) => Vec::new(),
        _ if document.data == Data::Null => Vec::new(),
        _ => {
            let help = "write `version: prometheus/v1` (Sloth), or `apiVersion: openslo/v1` with `kind: SLO`";
            cx.error(document.place, "this is no objective that is understood", help);
            Vec::new()
        }
    }
}

fn pairs(raw: Option<&At<Entries<Text, Text>>>) -> Vec<(String, String)> {
    let pairs = raw.iter().flat_map(|at| &at.value.0);
    pairs.map(|(name, value)| (name.value.0.clone(), value.value.0.clone())).collect()
}

fn of_sloth(document: &Node, cx: &mut Context<'_>) -> Vec<At<QueryObjective>> {
    let Some(file) = SlothFile::read(document, cx) else { return Vec::new() };
    let (Some(service), Some(slos)) = (&file.service, &file.slos) else { return Vec::new() };
    let shared = pairs(file.labels.as_ref());
    refuse_plugin(file.plugins.as_ref(), cx);
    let mut objectives = Vec::new();
    for at in &slos.value {
        let slo = &at.value;
        refuse_plugin(slo.plugins.as_ref(), cx);
        let (Some(name), Some(target), Some(sli), Some(alerting)) =
            (&slo.name, &slo.objective, &slo.sli, &slo.alerting)
        else {
            continue;
        };
        let Some(indicator) = sloth_indicator(sli, cx) else { continue };
        let Some(target_percent) = percent(target, 1.0, cx) else { continue };
        let mut labels = shared.clone();
        for (name, value) in pairs(slo.labels.as_ref()) {
            labels.retain(|(known, _)| *known != name);
            labels.push((name, value));
        }
        objectives.push(At::new(
            QueryObjective {
                service: service.value.0.clone(),
                name: name.value.0.clone(),
                target_percent,
                period_days: PERIOD_DAYS,
                indicator,
                labels,
                alerts: sloth_alerts(&alerting.value),
            },
            name.place,
        ));
    }
    objectives
}

fn refuse_plugin(plugin: Option<&At<Any>>, cx: &mut Context<'_>) {
    if let Some(at) = plugin {
        cx.error(at.place, "plugins of Sloth are not understood", "write the queries out under `events` or `raw`");
    }
}

fn sloth_indicator(sli: &At<SlothSli>, cx: &mut Context<'_>) -> Option<Indicator> {
    let SlothSli { events, raw, plugin } = &sli.value;
    refuse_plugin(plugin.as_ref(), cx);
    match (events, raw) {
        (Some(events), None) => {
            let (errors, total) = (events.value.error_query.as_ref()?, events.value.total_query.as_ref()?);
            needs_window(errors, cx);
            needs_window(total, cx);
            Some(Indicator::Events { errors: errors.value.0.clone(), total: total.value.0.clone() })
        }
        (None, Some(raw)) => {
            let ratio = raw.value.error_ratio_query.as_ref()?;
            needs_window(ratio, cx);
            Some(Indicator::Ratio(ratio.value.0.clone()))
        }
        (None, None) if plugin.is_some() => None,
        _ => {
            cx.error(sli.place, "an indicator needs exactly one of `events` and `raw`", "keep one of them");
            None
        }
    }
}

fn needs_window(query: &At<Text>, cx: &mut Context<'_>) {
    if !has_window(&query.value.0) {
        let help = "write `{{.window}}` where its range stands, as in `rate(x[{{.window}}])`";
        cx.error(query.place, "the query does not say where its window goes", help);
    }
}

fn sloth_alerts(raw: &SlothAlerting) -> ObjectiveAlerts {
    let one = |at: &Option<At<SlothAlert>>| {
        let alert = at.as_ref().map(|at| &at.value)?;
        let disabled = alert.disable.as_ref().is_some_and(|at| at.value);
        let severity =
            Severity { labels: pairs(alert.labels.as_ref()), annotations: pairs(alert.annotations.as_ref()) };
        (!disabled).then_some(severity)
    };
    ObjectiveAlerts {
        name: raw.name.as_ref().map_or_else(String::new, |at| at.value.0.clone()),
        labels: pairs(raw.labels.as_ref()),
        annotations: pairs(raw.annotations.as_ref()),
        page: one(&raw.page),
        ticket: one(&raw.ticket),
    }
}

/// A target in percent; `factor` is what makes it one.
fn percent(target: &At<Number>, factor: f64, cx: &mut Context<'_>) -> Option<f64> {
    let percent = target.value.0 * factor;
    if percent > 0.0 && percent < 100.0 {
        // 99.9 and not 99.90000000000001.
        return Some((percent * 1e9).round() / 1e9);
    }
    let help = "an objective lies between nothing and everything, such as 99.9 percent";
    cx.error(target.place, "this objective cannot be missed, or not be reached", help);
    None
}

fn of_open(document: &Node, known: &BTreeMap<String, Found>, cx: &mut Context<'_>) -> Vec<At<QueryObjective>> {
    let Some(open) = OpenSlo::read(document, cx) else { return Vec::new() };
    let Some(spec) = open.spec.and_then(|at| OpenSpec::read(&at.value.0, cx)) else { return Vec::new() };
    let metadata = open.metadata.map(|at| at.value);
    let name = metadata.as_ref().and_then(|metadata| metadata.name.as_ref());
    let (Some(name), Some(service), Some(targets)) = (name, &spec.service, &spec.objectives) else {
        return Vec::new();
    };
    let indicator = match (&spec.indicator, &spec.indicator_ref) {
        (Some(written), None) => written.value.spec.as_ref().and_then(|sli| indicator(sli, cx)),
        (None, Some(named)) if known.contains_key(&named.value.0) => known.get(&named.value.0).cloned(),
        (None, Some(named)) => {
            let help = "give its document in the same file or directory";
            cx.error(named.place, format!("there is no `SLI` of the name `{}`", named.value.0), help);
            None
        }
        _ => {
            cx.error(name.place, "an SLO needs exactly one of `indicator` and `indicatorRef`", "write one of them");
            None
        }
    };
    if let Some(at) = spec.budgeting.as_ref().filter(|at| at.value.0 != "Occurrences") {
        cx.error(at.place, format!("budgets are not counted by `{}`", at.value.0), "write `Occurrences`");
    }
    let period_days = period(spec.windows.as_ref(), cx);
    let (Some(indicator), Some(period_days)) = (indicator, period_days) else { return Vec::new() };
    let several = targets.value.len() > 1;
    let mut objectives = Vec::new();
    for (number, at) in (1..).zip(&targets.value) {
        let target_percent = match (&at.value.target, &at.value.target_percent) {
            (Some(share), None) => percent(share, 100.0, cx),
            (None, Some(target)) => percent(target, 1.0, cx),
            _ => {
                cx.error(
                    at.place,
                    "an objective needs exactly one of `target` and `targetPercent`",
                    "write one of them",
                );
                None
            }
        };
        let Some(target_percent) = target_percent else { continue };
        let suffix = if several { format!("-{number}") } else { String::new() };
        let both = Some(Severity::default());
        objectives.push(At::new(
            QueryObjective {
                service: service.value.0.clone(),
                name: format!("{}{suffix}", name.value.0),
                target_percent,
                period_days,
                indicator: indicator.value.clone(),
                labels: Vec::new(),
                alerts: ObjectiveAlerts { page: both.clone(), ticket: both, ..ObjectiveAlerts::default() },
            },
            name.place,
        ));
    }
    objectives
}

/// Whole days of a rolling window.
fn period(windows: Option<&At<Vec<At<OpenWindow>>>>, cx: &mut Context<'_>) -> Option<u32> {
    let Some(windows) = windows else { return Some(PERIOD_DAYS) };
    let [window] = windows.value.as_slice() else {
        cx.error(windows.place, "an SLO has one time window", "write one of them");
        return None;
    };
    let rolls = window.value.is_rolling.as_ref().is_none_or(|at| at.value) && window.value.calendar.is_none();
    let duration = window.value.duration.as_ref()?;
    let text = duration.value.0.as_str();
    let days = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(days), _) => days.parse::<u32>().ok(),
        (_, Some(weeks)) => weeks.parse::<u32>().ok().and_then(|weeks| weeks.checked_mul(7)),
        _ => None,
    };
    let days = days.filter(|days| rolls && (4..=365).contains(days));
    if days.is_none() {
        let help = "write a rolling window of 4 days to a year, such as `duration: 30d` with `isRolling: true`";
        cx.error(duration.place, "this time window is not understood", help);
    }
    days
}

fn indicator(sli: &At<OpenSli>, cx: &mut Context<'_>) -> Option<Found> {
    let Some(ratio) = &sli.value.ratio else {
        let help = "write a `ratioMetric`; a threshold on a latency is the ratio of a histogram's bucket to its count";
        cx.error(sli.place, "an indicator needs a `ratioMetric`", help);
        return None;
    };
    let counter = ratio.value.counter.as_ref().is_none_or(|at| at.value);
    let OpenRatio { good, bad, total, raw, raw_type, .. } = &ratio.value;
    let mut metric = |at: &At<OpenMetric>| query(at, counter, cx);
    let found = match (good, bad, total, raw) {
        (Some(good), None, Some(total), None) => Indicator::Good { good: metric(good)?, total: metric(total)? },
        (None, Some(bad), Some(total), None) => Indicator::Events { errors: metric(bad)?, total: metric(total)? },
        (None, None, None, Some(raw)) => {
            let ratio = raw_query(raw, cx)?;
            match raw_type.as_ref().map(|at| at.value.0.as_str()) {
                Some("success") => Indicator::Ratio(format!("1 - ({ratio})")),
                _ => Indicator::Ratio(ratio),
            }
        }
        _ => {
            let help = "write `total` with one of `good` and `bad`, or `raw` alone";
            cx.error(ratio.place, "a `ratioMetric` needs two metrics or a raw one", help);
            return None;
        }
    };
    Some(At::new(found, ratio.place))
}

fn source<'a>(metric: &'a At<OpenMetric>, cx: &mut Context<'_>) -> Option<&'a At<Text>> {
    let source = &metric.value.source.as_ref()?.value;
    if let Some(kind) = source.kind.as_ref().filter(|kind| !kind.value.0.eq_ignore_ascii_case("prometheus")) {
        cx.error(kind.place, format!("metrics of `{}` are not in this store", kind.value.0), "write `Prometheus`");
        return None;
    }
    source.spec.as_ref()?.value.query.as_ref()
}

/// Events within a window. Metrics that count up grow by their events; others have their counts as samples.
fn query(metric: &At<OpenMetric>, counter: bool, cx: &mut Context<'_>) -> Option<String> {
    let query = source(metric, cx)?;
    let text = query.value.0.trim();
    Some(match counter {
        _ if has_window(text) => text.to_owned(),
        true if is_selector(text) => format!("sum(rate({text}[{{{{.window}}}}]))"),
        true => format!("sum(rate(({text})[{{{{.window}}}}:]))"),
        false if is_selector(text) => format!("sum(sum_over_time({text}[{{{{.window}}}}]))"),
        false => format!("sum(sum_over_time(({text})[{{{{.window}}}}:]))"),
    })
}

/// A share whose samples are averaged over the window.
fn raw_query(metric: &At<OpenMetric>, cx: &mut Context<'_>) -> Option<String> {
    let text = source(metric, cx)?.value.0.trim();
    Some(match text {
        _ if has_window(text) => text.to_owned(),
        _ if is_selector(text) => format!("avg(avg_over_time({text}[{{{{.window}}}}]))"),
        _ => format!("avg(avg_over_time(({text})[{{{{.window}}}}:]))"),
    })
}

fn is_selector(text: &str) -> bool {
    homeostat_promql::parse_metric_selector(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTH: &str = r#"
version: "prometheus/v1"
service: "myservice"
labels: {owner: "myteam"}
slos:
  - name: "requests-availability"
    objective: 99.9
    description: "Common SLO."
    labels: {category: availability}
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="myservice",code=~"(5..|429)"}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="myservice"}[{{.window}}]))
    alerting:
      name: "MyServiceHighErrorRate"
      labels: {category: "availability"}
      annotations: {summary: "High error rate on '{{$labels.sloth_service}}'"}
      page_alert: {labels: {severity: "pageteam"}}
      ticket_alert: {disable: true}
"#;

    const OPEN: &str = "
apiVersion: openslo/v1
kind: SLI
metadata: {name: availability}
spec:
  ratioMetric:
    counter: true
    good: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total{code!~\"5..\"}'}}}
    total: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total'}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: web, displayName: The web}
spec:
  service: shop
  indicatorRef: availability
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}, {targetPercent: 99.9}]
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: here}
spec: {type: Prometheus}
";

    fn read(text: &str) -> Vec<Group> {
        load_str("slo.yml", text, RuleDefaults::default()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn documents_of_sloth_are_read() {
        let groups = read(SLOTH);
        let [recordings, meta, alerts] = groups.as_slice() else { panic!("{groups:?}") };
        assert_eq!((recordings.rules.len(), meta.rules.len(), alerts.rules.len()), (8, 7, 1));
        let page = &alerts.rules[0];
        let labels: Vec<_> = page.labels.iter().map(|(name, value)| (name.as_str(), value.text())).collect();
        assert_eq!(labels, [("category", "availability"), ("sloth_severity", "page"), ("severity", "pageteam")]);
        assert_eq!(page.alerting().unwrap().annotations.len(), 2);
    }

    #[test]
    fn documents_of_openslo_are_read() {
        let groups = read(OPEN);
        assert_eq!(groups.len(), 6);
        assert_eq!(groups[0].name, "sloth-slo-sli-recordings-shop-web-1");
        assert_eq!(
            groups[3].rules[0].query(),
            "1 - ((sum(rate(http_requests_total{code!~\"5..\"}[5m]))) / (sum(rate(http_requests_total[5m]))))"
        );
        assert_eq!(groups[0].rules[7].name, "slo:sli_error:ratio_rate4w");
        assert_eq!(groups[1].rules[0].query(), "vector(0.99)");
    }

    proptest::proptest! {
        #[test]
        fn no_text_stops_us(open: bool, from in 0..900_usize, len in 0..40_usize, put in "[\\-:{}\\[\\]'\" \na-f.0-9]{0,8}") {
            let text = if open { OPEN } else { SLOTH };
            let text: String = text.chars().take(from).chain(put.chars()).chain(text.chars().skip(from + len)).collect();
            if let Err(problems) = load_str("slo.yml", &text, RuleDefaults::default()) {
                proptest::prop_assert!(problems.errors() > 0);
            }
        }
    }

    #[test]
    fn all_problems_are_told() {
        let bad = SLOTH.replace("objective: 99.9", "objective: 100").replace(
            "total_query: sum(rate(http_requests_total{job=\"myservice\"}[{{.window}}]))",
            "total_query: sum(x)",
        );
        let said = load_str("slo.yml", &bad, RuleDefaults::default()).unwrap_err().to_string();
        for expected in ["slo.yml:7:16", "cannot be missed", "does not say where its window goes"] {
            assert!(said.contains(expected), "{expected}:\n{said}");
        }
        let bad = SLOTH.replace(
            "sum(rate(http_requests_total{job=\"myservice\"}",
            "sum(rate(http_requests_total{job=\"myservice\"",
        );
        let said = load_str("slo.yml", &bad, RuleDefaults::default()).unwrap_err().to_string();
        assert!(said.contains("a query of `myservice-requests-availability` cannot be used"), "{said}");
        let bad =
            OPEN.replace("indicatorRef: availability", "indicatorRef: other").replace("duration: 4w", "duration: 1M");
        let said = load_str("slo.yml", &bad, RuleDefaults::default()).unwrap_err().to_string();
        assert!(said.contains("there is no `SLI` of the name `other`") && said.contains("time window"), "{said}");
        let said = load_str("slo.yml", "kind: x\n", RuleDefaults::default()).unwrap_err().to_string();
        assert!(said.contains("this is no objective"), "{said}");
    }
}

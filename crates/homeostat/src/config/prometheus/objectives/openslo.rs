//! Documents of OpenSLO whose metrics are queries.
//!
//! A query without `{{.window}}` is the series of a counter (`counter: true`) or of counts (`counter: false`), and its window
//! is put around it.
//! Source: the OpenSLO specification, version v1.

use std::collections::BTreeMap;

use homeostat_judge_rules::objectives::{Indicator, ObjectiveAlerts, QueryObjective, Severity, has_window};
use homeostat_model::Span;

use super::{super::scalars::Text, PERIOD_DAYS, labels, percent, query, word};
use crate::config::{
    raw::openslo::{Budgeting, DataSource, Target, TimeWindow},
    read::{Any, Context, Entries, Read, record, words},
    source::{At, Source},
    tree::Node,
};

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
        /// Labels of the objective's series, one text each.
        "labels" labels: Entries<Text, Text> => optional;
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
        "timeWindow" windows: Vec<At<TimeWindow>> => optional;
        /// How the budget is counted; by events.
        "budgetingMethod" budgeting: Budgeting => default "Occurrences";
        /// Targets.
        "objectives" objectives: Vec<At<Target>> => required;
        /// Left out: a page and a ticket by burn rate. An empty list: no alerts. Others are not understood.
        "alertPolicies" alert_policies: Vec<At<Any>> => optional;
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
        "rawType" raw_type: RawType => optional;
    }
}

/// What a raw metric is the share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawType {
    /// Of good events.
    Success,
    /// Of bad events.
    Failure,
}

words! { RawType {
    "success" => RawType::Success, "The share of good events.";
    "failure" => RawType::Failure, "The share of bad events.";
} }

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
        /// The name of a `DataSource` of the type `Prometheus`; everything is in this store.
        "metricSourceRef" source_ref: Text => optional;
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

/// An indicator with the place that it is written at.
type Found = At<Indicator>;

/// Types of `DataSource` documents by their names.
type DataSources = BTreeMap<String, String>;

/// Documents that others refer to.
#[derive(Debug, Default)]
pub(super) struct Named {
    sources: DataSources,
    /// `SLI` documents by their names; `None` for one that is not understood, which has been told.
    indicators: BTreeMap<String, Option<Found>>,
}

impl Named {
    /// Reads those among the documents.
    pub(super) fn of(documents: &[(&Source, Node)], cx: &mut Context<'_>) -> Self {
        let sources = data_sources(documents, cx);
        let indicators = indicators(documents, &sources, cx);
        Self { sources, indicators }
    }
}

fn data_sources(documents: &[(&Source, Node)], cx: &mut Context<'_>) -> DataSources {
    let mut sources = DataSources::new();
    for (_, document) in documents.iter().filter(|(_, document)| word(document, "kind") == Some("DataSource")) {
        let Some(open) = OpenSlo::read(document, cx) else { continue };
        let source = open.spec.and_then(|at| DataSource::read(&at.value.0, cx));
        let (Some(name), Some(kind)) = (open.metadata.and_then(|at| at.value.name), source.and_then(|s| s.kind)) else {
            continue;
        };
        if sources.insert(name.value.0.clone(), kind.value).is_some() {
            let help = "give each `DataSource` a name of its own";
            cx.error(name.place, format!("there is a second `DataSource` of the name `{}`", name.value.0), help);
        }
    }
    sources
}

/// `SLI` documents by their names.
fn indicators(
    documents: &[(&Source, Node)],
    sources: &DataSources,
    cx: &mut Context<'_>,
) -> BTreeMap<String, Option<Found>> {
    let mut indicators = BTreeMap::new();
    for (_, document) in documents.iter().filter(|(_, document)| word(document, "kind") == Some("SLI")) {
        let Some(open) = OpenSlo::read(document, cx) else { continue };
        let sli = open.spec.and_then(|at| At::<OpenSli>::read(&at.value.0, cx));
        let indicator = sli.and_then(|sli| indicator(&sli, sources, cx));
        let Some(name) = open.metadata.and_then(|at| at.value.name) else { continue };
        if indicators.insert(name.value.0.clone(), indicator).is_some() {
            let help = "give each `SLI` a name of its own";
            cx.error(name.place, format!("there is a second `SLI` of the name `{}`", name.value.0), help);
        }
    }
    indicators
}

/// The objectives of a document of the kind `SLO`.
pub(super) fn of_document(document: &Node, known: &Named, cx: &mut Context<'_>) -> Vec<At<QueryObjective>> {
    let Some(open) = OpenSlo::read(document, cx) else { return Vec::new() };
    let Some(spec) = open.spec.and_then(|at| OpenSpec::read(&at.value.0, cx)) else { return Vec::new() };
    let metadata = open.metadata.map(|at| at.value);
    let name = metadata.as_ref().and_then(|metadata| metadata.name.as_ref());
    let (Some(name), Some(service), Some(targets)) = (name, &spec.service, &spec.objectives) else {
        return Vec::new();
    };
    let indicator = match (&spec.indicator, &spec.indicator_ref) {
        (Some(written), None) => written.value.spec.as_ref().and_then(|sli| indicator(sli, &known.sources, cx)),
        (None, Some(named)) => {
            let found = known.indicators.get(&named.value.0);
            if found.is_none() {
                let help = "give its document in the same file or directory";
                cx.error(named.place, format!("there is no `SLI` of the name `{}`", named.value.0), help);
            }
            found.cloned().flatten()
        }
        _ => {
            cx.error(name.place, "an SLO needs exactly one of `indicator` and `indicatorRef`", "write one of them");
            None
        }
    };
    if let Some(at) = spec.budgeting.as_ref().filter(|at| at.value != Budgeting::Occurrences) {
        cx.error(at.place, "this budgeting method is not understood: events are counted", "write `Occurrences`");
    }
    let labels = labels(metadata.as_ref().and_then(|metadata| metadata.labels.as_ref()), cx);
    let alerts = alerts(spec.alert_policies.as_ref(), cx);
    let period_days = period(spec.windows.as_ref(), cx);
    let (Some(indicator), Some(period_days)) = (indicator, period_days) else { return Vec::new() };
    let several = targets.value.len() > 1;
    let mut objectives = Vec::new();
    for (number, at) in (1..).zip(&targets.value) {
        let Some(target_percent) = target(at, cx) else { continue };
        let suffix = if several { format!("-{number}") } else { String::new() };
        objectives.push(At::new(
            QueryObjective {
                service: service.value.0.clone(),
                name: format!("{}{suffix}", name.value.0),
                target_percent,
                period_days,
                indicator: indicator.value.clone(),
                labels: labels.clone(),
                alerts: alerts.clone(),
            },
            name.place,
        ));
    }
    objectives
}

/// The target of one entry of `objectives` in percent.
fn target(at: &At<Target>, cx: &mut Context<'_>) -> Option<f64> {
    let raw = &at.value;
    let places = [
        ("op", raw.op.as_ref().map(|at| at.place)),
        ("value", raw.value.as_ref().map(|at| at.place)),
        ("timeSliceTarget", raw.time_slice_target.as_ref().map(|at| at.place)),
        ("timeSliceWindow", raw.time_slice_window.as_ref().map(|at| at.place)),
        ("compositeWeight", raw.composite_weight.as_ref().map(|at| at.place)),
        ("indicator", raw.indicator.as_ref().map(|at| at.place)),
        ("indicatorRef", raw.indicator_ref.as_ref().map(|at| at.place)),
    ];
    for (key, place) in places {
        if let Some(place) = place {
            let help = "remove it: events are counted, by one indicator for each `SLO` document";
            cx.error(place, format!("`{key}` is not understood for indicators that are queries"), help);
        }
    }
    match (&raw.target, &raw.target_percent) {
        (Some(share), None) => percent(share, 100.0, cx),
        (None, Some(target)) => percent(target, 1.0, cx),
        _ => {
            let problem = "an objective needs exactly one of `target` and `targetPercent`";
            cx.error(at.place, problem, "write one of them");
            None
        }
    }
}

/// A page and a ticket, or nothing.
fn alerts(policies: Option<&At<Vec<At<Any>>>>, cx: &mut Context<'_>) -> ObjectiveAlerts {
    let both = Some(Severity::default());
    match policies {
        None => ObjectiveAlerts { page: both.clone(), ticket: both, ..ObjectiveAlerts::default() },
        Some(list) => {
            for policy in &list.value {
                let help =
                    "leave `alertPolicies` out for a page and a ticket by burn rate, or write `[]` for no alerts";
                cx.error(policy.place, "alert policies are not understood for indicators that are queries", help);
            }
            ObjectiveAlerts::default()
        }
    }
}

/// Whole days of a rolling window.
fn period(windows: Option<&At<Vec<At<TimeWindow>>>>, cx: &mut Context<'_>) -> Option<u32> {
    const DAY_NS: u64 = Span::from_hours(24).ns();
    let Some(windows) = windows else { return Some(PERIOD_DAYS) };
    let [window] = windows.value.as_slice() else {
        cx.error(windows.place, "an SLO has one time window", "write one of them");
        return None;
    };
    let rolls = window.value.is_rolling.as_ref().is_none_or(|at| at.value) && window.value.calendar.is_none();
    let duration = window.value.duration.as_ref()?;
    let length_ns = duration.value.0.ns();
    let days = length_ns.is_multiple_of(DAY_NS).then_some(length_ns / DAY_NS);
    let days = days.and_then(|days| u32::try_from(days).ok()).filter(|days| rolls && (4..=365).contains(days));
    if days.is_none() {
        let help = "write a rolling window of 4 days to a year, such as `duration: 30d` with `isRolling: true`";
        cx.error(duration.place, "this time window is not understood", help);
    }
    days
}

fn indicator(sli: &At<OpenSli>, sources: &DataSources, cx: &mut Context<'_>) -> Option<Found> {
    let Some(ratio) = &sli.value.ratio else {
        let help = "write a `ratioMetric`; a threshold on a latency is the ratio of a histogram's bucket to its count";
        cx.error(sli.place, "an indicator needs a `ratioMetric`", help);
        return None;
    };
    let counter = ratio.value.counter.as_ref().is_none_or(|at| at.value);
    let OpenRatio { good, bad, total, raw, raw_type, .. } = &ratio.value;
    let mut metric = |at: &At<OpenMetric>| events(at, counter, sources, cx);
    let found = match (good, bad, total, raw) {
        (Some(good), None, Some(total), None) => Indicator::Good { good: metric(good)?, total: metric(total)? },
        (None, Some(bad), Some(total), None) => Indicator::Events { errors: metric(bad)?, total: metric(total)? },
        (None, None, None, Some(raw)) => {
            let ratio = raw_query(raw, sources, cx)?;
            match raw_type.as_ref().map(|at| at.value) {
                Some(RawType::Success) => Indicator::Ratio(format!("1 - ({ratio})")),
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

fn source<'a>(metric: &'a At<OpenMetric>, sources: &DataSources, cx: &mut Context<'_>) -> Option<&'a str> {
    let source = &metric.value.source.as_ref()?.value;
    if let Some(named) = &source.source_ref {
        let name = &named.value.0;
        match sources.get(name) {
            Some(kind) if kind.eq_ignore_ascii_case("prometheus") => {}
            Some(kind) => {
                let problem = format!("the `DataSource` `{name}` is of the type `{kind}`, which is not in this store");
                cx.error(named.place, problem, "name one of the type `Prometheus`");
                return None;
            }
            None => {
                let help = "give its document in the same file or directory, or leave the reference out";
                cx.error(named.place, format!("there is no `DataSource` of the name `{name}`"), help);
                return None;
            }
        }
    }
    if let Some(kind) = source.kind.as_ref().filter(|kind| !kind.value.0.eq_ignore_ascii_case("prometheus")) {
        cx.error(kind.place, format!("metrics of `{}` are not in this store", kind.value.0), "write `Prometheus`");
        return None;
    }
    query(source.spec.as_ref()?.value.query.as_ref()?, cx)
}

/// Events within a window. Metrics that count up grow by their events; others have their counts as samples.
fn events(metric: &At<OpenMetric>, counter: bool, sources: &DataSources, cx: &mut Context<'_>) -> Option<String> {
    let text = source(metric, sources, cx)?;
    Some(match counter {
        _ if has_window(text) => text.to_owned(),
        true if is_selector(text) => format!("sum(rate({text}[{{{{.window}}}}]))"),
        true => format!("sum(rate(({text})[{{{{.window}}}}:]))"),
        false if is_selector(text) => format!("sum(sum_over_time({text}[{{{{.window}}}}]))"),
        false => format!("sum(sum_over_time(({text})[{{{{.window}}}}:]))"),
    })
}

/// A share whose samples are averaged over the window.
fn raw_query(metric: &At<OpenMetric>, sources: &DataSources, cx: &mut Context<'_>) -> Option<String> {
    let text = source(metric, sources, cx)?;
    Some(match text {
        _ if has_window(text) => text.to_owned(),
        _ if is_selector(text) => format!("avg(avg_over_time({text}[{{{{.window}}}}]))"),
        _ => format!("avg(avg_over_time(({text})[{{{{.window}}}}:]))"),
    })
}

fn is_selector(text: &str) -> bool {
    homeostat_promql::parse_metric_selector(text).is_ok()
}

//! OpenSLO indicators over the gateway's outcomes.
//!
//! The gateway counts outcomes and latency thresholds, so an indicator is one of: `answered` or `failed` over `all`
//! (availability), `answered` `within` a threshold over `answered` (latency), or a threshold metric (latency, with the
//! threshold in the objective). Or two queries over stored metrics count the events. Everything else is refused with what
//! to write.

use homeostat_model::{
    RouteName, VersionName,
    objective::{Indicator, IndicatorForm, Sli},
};
use homeostat_promql::{
    ExprKind, ParseOptions,
    ast::{Expr, ValueType},
    parse,
};

use super::{
    super::{
        document::Document,
        raw::openslo as raw,
        read::{Context, Read},
        source::{At, Place},
        tree::{Data, Node},
    },
    names::resolve,
    objectives,
    openslo::World,
};

/// The type of metric source that stands for the gateway's own counts.
const GATEWAY: &str = "Homeostat";
/// The type of metric source that stands for stored metrics.
const METRICS: &str = "Prometheus";

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Gateway,
    Metrics,
}

/// What the indicator of an SLO measures; `None` after saying why not.
pub(super) fn metric(
    document: &Document<raw::Slo>,
    raw: &raw::Slo,
    world: &World<'_>,
    cx: &mut Context<'_>,
) -> Option<Metric> {
    indicator(document, raw, world, cx).and_then(|(sli, place)| measured(sli, place, world, cx))
}

/// The SLI written out or referred to, with the place to blame.
fn indicator<'a>(
    document: &'a Document<raw::Slo>,
    raw: &'a raw::Slo,
    world: &World<'a>,
    cx: &mut Context<'_>,
) -> Option<(&'a raw::Sli, Place)> {
    match (&raw.indicator, &raw.indicator_ref) {
        (Some(inline), None) => inline.value.spec.as_ref().map(|spec| (&spec.value, spec.place)),
        (None, Some(name)) => {
            let slis = &world.documents.slis;
            let names = slis.iter().filter_map(|d| d.name.as_ref()).map(|n| n.value.as_str());
            resolve("SLI", &name.value, name.place, names, cx);
            let found = slis.iter().find(|d| d.name.as_ref().is_some_and(|n| n.value == name.value))?;
            found.spec.as_ref().map(|spec| (spec, found.place))
        }
        (Some(_), Some(name)) => {
            cx.error(name.place, "the SLO has an `indicator` as well", "keep one of the two");
            None
        }
        (None, None) if !cx.is_sound(document.spec_place) => None,
        (None, None) => {
            cx.error(
                document.spec_place,
                "the SLO has no indicator",
                "add `indicatorRef:` with the name of an `SLI`, or `indicator:`",
            );
            None
        }
    }
}

/// What an SLI measures, and on which part of the service.
pub(super) struct Metric {
    pub(super) kind: MetricKind,
    pub(super) routes: Vec<At<RouteName>>,
    pub(super) version: Option<At<VersionName>>,
}

pub(super) enum MetricKind {
    /// A ratio: what is good is settled.
    Ratio(Sli),
    /// A latency, compared with each objective's value in this unit.
    Latency(raw::Unit),
    /// Counted by queries.
    Queries(Indicator),
}

fn measured(sli: &raw::Sli, place: Place, world: &World<'_>, cx: &mut Context<'_>) -> Option<Metric> {
    match (&sli.ratio_metric, &sli.threshold_metric) {
        (Some(ratio), None) => self::ratio(ratio, world, cx),
        (None, Some(metric)) => {
            let (source, spec) = read_source(metric, world, cx)?;
            if source == Source::Metrics {
                cx.error(
                    metric.place,
                    "a threshold of a query says how things are now and then, not how many requests were good",
                    "write a `ratioMetric` of two counters, such as the buckets `le=\"0.3\"` and `le=\"+Inf\"` of a histogram",
                );
                return None;
            }
            if let Some(word) = spec.outcome.as_ref().filter(|w| w.value != raw::OutcomeWord::Answered) {
                cx.error(
                    word.place,
                    "only answered requests have a latency to compare",
                    "write `answered`, or leave it out",
                );
            }
            if let Some(within) = &spec.within {
                cx.error(
                    within.place,
                    "the threshold of a threshold metric is the objective's `value`",
                    "remove `within`",
                );
            }
            let unit = spec.unit.as_ref().map_or(raw::Unit::Ms, |u| u.value);
            Some(Metric { kind: MetricKind::Latency(unit), ..scope(&spec) })
        }
        _ if !cx.is_sound(place) => None,
        _ => {
            cx.error(place, "an SLI is either a `ratioMetric` or a `thresholdMetric`", "write one of the two");
            None
        }
    }
}

fn scope(spec: &raw::HomeostatMetric) -> Metric {
    let routes = spec.routes.as_ref().map(|r| r.value.0.clone()).unwrap_or_default();
    Metric { kind: MetricKind::Ratio(Sli::Availability), routes, version: spec.version.clone() }
}

/// `good / total` or `bad / total` over outcomes: the four combinations that mean something.
fn ratio(at: &At<raw::RatioMetric>, world: &World<'_>, cx: &mut Context<'_>) -> Option<Metric> {
    let ratio = &at.value;
    for unknown in [&ratio.raw, &ratio.raw_type].into_iter().flatten() {
        cx.error(unknown.place, "precomputed ratios are not understood", "write `good` and `total`");
    }
    let (counted, is_good) = match (&ratio.good, &ratio.bad) {
        (Some(good), None) => (good, true),
        (None, Some(bad)) => (bad, false),
        (Some(_), Some(bad)) => {
            cx.error(bad.place, "a ratio has `good` or `bad`, not both", "remove one of the two");
            return None;
        }
        (None, None) if !cx.is_sound(at.place) => return None,
        (None, None) => {
            cx.error(at.place, "a ratio needs `good` or `bad`", "add `good:` with a `metricSource`");
            return None;
        }
    };
    let Some(total) = &ratio.total else {
        cx.error(at.place, "a ratio needs `total`", "add `total:` with a `metricSource`");
        return None;
    };
    let (counted_source, total_source) = (read_source(counted, world, cx), read_source(total, world, cx));
    let ((counted_by, counted_spec), (total_by, total_spec)) = (counted_source?, total_source?);
    match (counted_by, total_by) {
        (Source::Gateway, Source::Gateway) => {}
        (Source::Metrics, Source::Metrics) => {
            let form = match ratio.counter {
                Some(At { value: false, .. }) => IndicatorForm::Rate,
                _ => IndicatorForm::Counter,
            };
            if world.documents.metrics.is_empty() {
                cx.error(
                    at.place,
                    "nobody keeps the metrics that these queries ask for",
                    "add a document with `apiVersion: homeostat/v1` and `kind: Metrics`",
                );
            }
            let part = query(&counted_spec, counted, form, cx);
            let total = query(&total_spec, total, form, cx);
            let indicator = Indicator { part: part?, part_is_good: is_good, total: total?, form };
            return Some(Metric { kind: MetricKind::Queries(indicator), routes: Vec::new(), version: None });
        }
        _ => {
            cx.error(
                total.place,
                "both parts of a ratio must come from the same source",
                "write the same `type` in both",
            );
            return None;
        }
    }
    let names = |spec: &raw::HomeostatMetric| {
        spec.routes.as_ref().map(|r| r.value.0.iter().map(|n| n.value.clone()).collect::<Vec<_>>())
    };
    let versions = |spec: &raw::HomeostatMetric| spec.version.as_ref().map(|v| v.value.clone());
    if names(&counted_spec) != names(&total_spec) || versions(&counted_spec) != versions(&total_spec) {
        cx.error(
            total.place,
            "both parts of a ratio must count the same `routes` and `version`",
            "write the same in both, or use annotations",
        );
    }
    for unit in [&counted_spec.unit, &total_spec.unit].into_iter().flatten() {
        cx.error(unit.place, "a ratio has no unit", "remove `unit`");
    }
    if let Some(within) = &total_spec.within {
        cx.error(within.place, "`within` narrows `good`, not `total`", "move it to `good`");
    }
    let outcome = |spec: &raw::HomeostatMetric| spec.outcome.as_ref().map_or(raw::OutcomeWord::All, |o| o.value);
    let sli = match (is_good, outcome(&counted_spec), &counted_spec.within, outcome(&total_spec)) {
        (true, raw::OutcomeWord::Answered, None, raw::OutcomeWord::All)
        | (false, raw::OutcomeWord::Failed, None, raw::OutcomeWord::All) => Sli::Availability,
        (true, raw::OutcomeWord::Answered, Some(within), raw::OutcomeWord::Answered) => {
            Sli::Latency { threshold: objectives::threshold(within, cx) }
        }
        _ => {
            cx.error(
                counted.place,
                "this ratio is not counted by the gateway",
                "for availability write `good: answered` (or `bad: failed`) over `total: all`; for latency `good: answered` with `within` over `total: answered`",
            );
            return None;
        }
    };
    Some(Metric { kind: MetricKind::Ratio(sli), ..scope(&counted_spec) })
}

/// The `spec` of a metric source; the type may come from the data source referred to.
fn read_source(
    metric: &At<raw::Metric>,
    world: &World<'_>,
    cx: &mut Context<'_>,
) -> Option<(Source, raw::HomeostatMetric)> {
    let source = metric.value.metric_source.as_ref()?;
    let mut kind = source.value.kind.clone();
    if let Some(name) = &source.value.metric_source_ref {
        let sources = &world.documents.sources;
        let names = sources.iter().filter_map(|d| d.name.as_ref()).map(|n| n.value.as_str());
        if !resolve("data source", &name.value, name.place, names, cx) {
            return None;
        }
        let found = sources.iter().find(|d| d.name.as_ref().is_some_and(|n| n.value == name.value));
        kind = kind.or_else(|| found.and_then(|d| d.spec.as_ref()).and_then(|s| s.kind.clone()));
    }
    let by = match kind {
        Some(At { value, .. }) if value == GATEWAY => Source::Gateway,
        Some(At { value, .. }) if value.eq_ignore_ascii_case(METRICS) => Source::Metrics,
        Some(At { value, place }) => {
            cx.error(
                place,
                format!("metrics of type `{}` cannot be read", value.escape_default()),
                format!("write `type: {GATEWAY}` to judge the gateway's own outcomes, `type: {METRICS}` to judge stored metrics"),
            );
            return None;
        }
        None => {
            cx.error(source.place, "`type` is missing", format!("add `type: {GATEWAY}`, or `type: {METRICS}`"));
            return None;
        }
    };
    let spec = match &source.value.spec {
        Some(spec) => spec.value.clone(),
        None => raw::HomeostatMetric::read(&Node { place: source.place, data: Data::Null }, cx)?,
    };
    if let (Source::Gateway, Some(query)) = (by, &spec.query) {
        cx.error(
            query.place,
            "the gateway's own outcomes are not asked for by a query",
            format!("write `outcome`, or `type: {METRICS}`"),
        );
    }
    Some((by, spec))
}

/// The query of a part of a ratio, checked.
fn query(
    spec: &raw::HomeostatMetric,
    metric: &At<raw::Metric>,
    form: IndicatorForm,
    cx: &mut Context<'_>,
) -> Option<String> {
    let of_gateway = [
        spec.outcome.as_ref().map(|w| w.place),
        spec.within.as_ref().map(|w| w.place),
        spec.routes.as_ref().map(|r| r.place),
        spec.version.as_ref().map(|v| v.place),
        spec.unit.as_ref().map(|u| u.place),
    ];
    for place in of_gateway.into_iter().flatten() {
        cx.error(place, "this chooses among the gateway's own outcomes", "remove it; the query says what is counted");
    }
    let Some(query) = &spec.query else {
        if cx.is_sound(metric.place) {
            cx.error(metric.place, "the query is missing", "add `query:` with PromQL to the source's `spec`");
        }
        return None;
    };
    if query.value.contains("{{") {
        cx.error(
            query.place,
            "the judge has windows of its own, and fills no template",
            "write the counter itself, without `rate` and a window",
        );
        return None;
    }
    let expr = match parse(&query.value, &ParseOptions::all()) {
        Ok(expr) => expr,
        Err(error) => {
            cx.error(query.place, format!("this is no PromQL: {error}"), "mend the query");
            return None;
        }
    };
    if !matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) {
        cx.error(query.place, "a query has to give numbers at an instant", "remove the range, or what makes it a text");
        return None;
    }
    if !fits(&expr, query.place, form, cx) {
        return None;
    }
    Some(query.value.clone())
}

/// Functions whose value says how fast a counter rises, or how far it rose, so that it rises no more by itself.
const RISES: [&str; 6] = ["rate", "irate", "increase", "delta", "idelta", "deriv"];

/// Whether a query asks for what its form counts; what only looks wrong is a warning.
fn fits(expr: &Expr, place: Place, form: IndicatorForm, cx: &mut Context<'_>) -> bool {
    let (mut rise, mut is_recorded) = (None, false);
    expr.walk(&mut |part| match &part.kind {
        ExprKind::Call(call) if RISES.contains(&call.function.name) => rise = rise.or(Some(call.function.name)),
        // Names of recorded series have colons, and only their rule says what they are.
        ExprKind::Vector(series) => is_recorded |= series.metric().is_some_and(|name| name.contains(':')),
        _ => {}
    });
    match (form, rise) {
        (IndicatorForm::Counter, Some(name)) => {
            cx.error(
                place,
                format!("`{name}` says how much a counter rose, and how much that grows is no number of events"),
                "write the counter itself, or `counter: false` for a `rate`",
            );
            return false;
        }
        (IndicatorForm::Counter, None) if matches!(expr.unwrap_parens().kind, ExprKind::Aggregate(_)) => cx.warn(
            place,
            "when a process starts anew, a sum falls, and nobody knows what was counted meanwhile",
            "write the series themselves; they are summed up here",
        ),
        (IndicatorForm::Rate, None) if !is_recorded => cx.warn(
            place,
            "with `counter: false` the value is taken for events a second, and the query has no `rate`",
            "write `rate`, or leave `counter` out",
        ),
        (IndicatorForm::Rate, Some(name @ ("increase" | "delta" | "idelta"))) => cx.warn(
            place,
            format!(
                "with `counter: false` the value is taken for events a second, and `{name}` gives those of its window"
            ),
            "write `rate`",
        ),
        _ => {}
    }
    true
}

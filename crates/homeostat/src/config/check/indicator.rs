//! OpenSLO indicators over the gateway's outcomes.
//!
//! The gateway counts outcomes and latency thresholds, so an indicator is one of: `answered` or `failed` over `all`
//! (availability), `answered` `within` a threshold over `answered` (latency), or a threshold metric (latency, with the
//! threshold in the objective). Everything else is refused with what to write.

use homeostat_model::{RouteName, VersionName, objective::Sli};

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

/// The type of metric source that we understand.
const SOURCE: &str = "Homeostat";

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
}

fn measured(sli: &raw::Sli, place: Place, world: &World<'_>, cx: &mut Context<'_>) -> Option<Metric> {
    match (&sli.ratio_metric, &sli.threshold_metric) {
        (Some(ratio), None) => self::ratio(ratio, world, cx),
        (None, Some(metric)) => {
            let spec = homeostat(metric, world, cx)?;
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
    let (counted_spec, total_spec) = (homeostat(counted, world, cx), homeostat(total, world, cx));
    let (counted_spec, total_spec) = (counted_spec?, total_spec?);
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

/// The `spec` of a metric source of our type; the type may come from the data source referred to.
fn homeostat(metric: &At<raw::Metric>, world: &World<'_>, cx: &mut Context<'_>) -> Option<raw::HomeostatMetric> {
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
    match kind {
        Some(At { value, .. }) if value == SOURCE => {}
        Some(At { value, place }) => {
            cx.error(
                place,
                format!("metrics of type `{}` cannot be read yet", value.escape_default()),
                format!("write `type: {SOURCE}` to judge the gateway's own outcomes"),
            );
            return None;
        }
        None => {
            cx.error(source.place, "`type` is missing", format!("add `type: {SOURCE}`"));
            return None;
        }
    }
    match &source.value.spec {
        Some(spec) => Some(spec.value.clone()),
        None => raw::HomeostatMetric::read(&Node { place: source.place, data: Data::Null }, cx),
    }
}

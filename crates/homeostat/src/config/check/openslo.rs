//! OpenSLO v1 `SLO` documents as objectives over the gateway's outcomes.
//!
//! What the specification allows and the gateway cannot measure (other data sources, calendar windows, time slices,
//! precomputed ratios) is refused with a reason, never ignored: an objective that silently means something else is
//! worse than none. Decision 0062 has the mapping.

use homeostat_model::{Objective, ObjectiveName, ServiceName, Span, objective::Sli};

use super::{
    super::{
        document::{Document, Documents},
        raw::openslo as raw,
        read::Context,
        scalar::percent_to_share,
        source::At,
    },
    annotations::{self, Annotations},
    indicator::{self, Metric, MetricKind},
    names::{Known, name_of, resolve},
    objectives::{self, PERIOD},
    policies,
    routes::Route,
    services::{self, Service},
};
use crate::config::QUERIES;

/// Everything that an SLO may refer to.
pub(super) struct World<'a> {
    pub(super) documents: &'a Documents,
    pub(super) services: &'a [Service],
    pub(super) routes: &'a [Route],
    pub(super) known: &'a Known,
}

/// Checks all `SLO` documents, and that the documents beside them are of use.
pub(super) fn check(
    documents: &Documents,
    services: &[Service],
    routes: &[Route],
    known: &Known,
    cx: &mut Context<'_>,
) -> Vec<At<Objective>> {
    let world = World { documents, services, routes, known };
    annotations::refuse_elsewhere(documents, cx);
    let objectives: Vec<_> = documents.slos.iter().flat_map(|document| slo(document, &world, cx)).collect();
    for described in documents.described.iter().filter_map(|d| d.name.as_ref()) {
        // Whether that objective is right has been said where it stands.
        let named = documents.slos.iter().filter_map(|d| d.spec.as_ref()?.service.as_ref());
        let is_judged = named.into_iter().any(|service| service.value == described.value);
        if !known.services.contains(&described.value) && !is_judged {
            cx.warn(
                described.place,
                format!("this only describes `{}`, which the gateway does not serve", described.value),
                "declare it with `apiVersion: homeostat/v1`, `kind: Service`",
            );
        }
    }
    objectives
}

fn slo(document: &Document<raw::Slo>, world: &World<'_>, cx: &mut Context<'_>) -> Vec<At<Objective>> {
    let name = name_of::<ObjectiveName, _>(document, cx);
    let mut ours = Annotations::of(document, world, cx);
    let Some(raw) = &document.spec else { return Vec::new() };
    let period = period(raw, cx);
    budgeting(raw, cx);
    let metric = indicator::metric(document, raw, world, cx);
    let is_queried = metric.as_ref().is_some_and(|metric| matches!(metric.kind, MetricKind::Queries(_)));
    let service = raw.service.as_ref().filter(|service| {
        // What queries count need not come through the gateway.
        let described = world.known.described.iter().filter(|_| is_queried);
        let known = world.known.services.iter().chain(described).map(String::as_str);
        resolve("service", &service.value, service.place, known, cx)
    });
    let service = service.and_then(|s| ServiceName::new(&s.value).ok());
    if is_queried {
        ours.refuse_scope(cx);
        refuse_twins(service.as_ref(), document, world, cx);
    } else if let Some(metric) = &metric {
        ours.narrow(metric, cx);
    }
    if let (Some(service), false) = (&service, is_queried) {
        ours.check_scope(service, world, cx);
    }
    let policy =
        raw.alert_policies.as_ref().map(|list| policies::check(list, period, world.documents, world.known, cx));
    let (rules, told) = policy.unwrap_or_else(|| (objectives::default_rules(period), Vec::new()));
    let targets = raw.objectives.as_ref().map(|o| o.value.as_slice()).unwrap_or_default();
    if let (Some(list), []) = (raw.objectives.as_ref().filter(|list| cx.is_sound(list.place)), targets) {
        cx.error(list.place, "an SLO needs at least one objective", "write `objectives: [{target: 0.999}]`");
    }
    let mut all = Vec::new();
    for (index, at) in targets.iter().enumerate() {
        let checked = target(at, metric.as_ref(), cx);
        let (Some(name), Some(service), Some((sli, target))) = (&name, &service, checked) else { continue };
        let Some(own_name) = numbered(name, index, targets.len(), cx) else { continue };
        let display = at.value.display_name.as_ref().or(document.display_name.as_ref());
        let receivers = if ours.receivers.is_empty() { told.clone() } else { ours.receivers.clone() };
        let objective = Objective {
            display_name: display.map_or_else(|| own_name.to_string(), |d| d.value.clone()),
            name: own_name,
            service: service.clone(),
            routes: ours.routes.iter().map(|r| r.value.clone()).collect(),
            version: ours.version.as_ref().map(|v| v.value.clone()),
            sli,
            target,
            period,
            fast_window: ours.fast_window,
            min_events: ours.min_events,
            burn_rules: rules.clone(),
            on_page: ours.on_page,
            receivers,
            indicator: match metric.as_ref().map(|metric| &metric.kind) {
                Some(MetricKind::Queries(indicator)) => Some(indicator.clone()),
                _ => None,
            },
        };
        all.push(At::new(objective, name.place));
    }
    all
}

/// The events of queries are recorded as those of a version of their own; a real one of that name would be mixed up with it.
fn refuse_twins(service: Option<&ServiceName>, document: &Document<raw::Slo>, world: &World<'_>, cx: &mut Context<'_>) {
    let service = service.and_then(|name| services::find(world.services, name));
    if service.is_some_and(|service| service.spec.versions.iter().any(|version| version.name.as_str() == QUERIES)) {
        cx.error(
            document.place,
            format!("the service has a version `{QUERIES}`, which stands for what queries count"),
            "give that version another name",
        );
    }
}

/// One target keeps the document's name; several are numbered from 1.
fn numbered(name: &At<ObjectiveName>, index: usize, count: usize, cx: &mut Context<'_>) -> Option<ObjectiveName> {
    if count == 1 {
        return Some(name.value.clone());
    }
    let numbered = ObjectiveName::new(&format!("{}-{}", name.value, index + 1));
    if let Err(error) = &numbered {
        cx.error(name.place, format!("with its number the name is not possible: {error}"), "shorten the name");
    }
    numbered.ok()
}

fn period(raw: &raw::Slo, cx: &mut Context<'_>) -> Span {
    let Some(list) = &raw.time_window else { return PERIOD.1 };
    let [window] = list.value.as_slice() else {
        cx.error(
            list.place,
            "an SLO has exactly one time window",
            "write `timeWindow: [{duration: 30d, isRolling: true}]`",
        );
        return PERIOD.1;
    };
    if let Some(calendar) = &window.value.calendar {
        cx.error(
            calendar.place,
            "calendar windows are not understood",
            "remove `calendar` and write `isRolling: true`",
        );
    }
    match &window.value.is_rolling {
        Some(At { value: true, .. }) => {}
        Some(rolling) => cx.error(rolling.place, "only rolling windows are understood", "write `isRolling: true`"),
        None => cx.error(
            window.place,
            "`isRolling` is missing",
            "add `isRolling: true`; calendar windows are not understood",
        ),
    }
    let Some(duration) = &window.value.duration else { return PERIOD.1 };
    let period = At::new(duration.value.0, duration.place);
    let length = super::within(Some(&period), "a period", PERIOD, cx);
    if length <= PERIOD.1 {
        objectives::check_window("a period", &period, cx);
    }
    length
}

fn budgeting(raw: &raw::Slo, cx: &mut Context<'_>) {
    if let Some(method) = raw.budgeting_method.as_ref().filter(|m| m.value != raw::Budgeting::Occurrences) {
        cx.error(
            method.place,
            "this budgeting method is not understood: the gateway counts requests, not slices of time",
            "write `Occurrences`",
        );
    }
}

/// The target and what is good, of one entry of `objectives`.
fn target(
    at: &At<raw::Target>,
    metric: Option<&Metric>,
    cx: &mut Context<'_>,
) -> Option<(Sli, homeostat_model::objective::Target)> {
    let raw = &at.value;
    for unknown in [&raw.time_slice_target, &raw.time_slice_window].into_iter().flatten() {
        cx.error(unknown.place, "slices of time are not understood", "remove it; requests are counted (`Occurrences`)");
    }
    for unknown in [&raw.composite_weight, &raw.indicator, &raw.indicator_ref].into_iter().flatten() {
        cx.error(
            unknown.place,
            "composite objectives are not understood",
            "write an `SLO` document for each indicator",
        );
    }
    let share = match (&raw.target, &raw.target_percent) {
        (Some(target), None) => objectives::target(target.value.0, target.place, cx),
        (None, Some(percent)) => objectives::target(percent_to_share(percent.value.0), percent.place, cx),
        (Some(_), Some(percent)) => {
            cx.error(percent.place, "an objective has `target` or `targetPercent`, not both", "remove one of the two");
            None
        }
        (None, None) if !cx.is_sound(at.place) => None,
        (None, None) => {
            cx.error(at.place, "the objective has no target", "add `target: 0.999` or `targetPercent: 99.9`");
            None
        }
    };
    let kind = &metric?.kind;
    if !matches!(kind, MetricKind::Latency(_)) {
        for extra in [raw.op.as_ref().map(|o| o.place), raw.value.as_ref().map(|v| v.place)].into_iter().flatten() {
            cx.error(extra, "`op` and `value` belong to threshold metrics", "remove it");
        }
    }
    let sli = match kind {
        MetricKind::Ratio(sli) => *sli,
        MetricKind::Queries(_) => Sli::Availability,
        MetricKind::Latency(unit) => latency(at, *unit, cx)?,
    };
    Some((sli, share?))
}

fn latency(at: &At<raw::Target>, unit: raw::Unit, cx: &mut Context<'_>) -> Option<Sli> {
    match &at.value.op {
        Some(At { value: raw::Op::Lte | raw::Op::Lt, .. }) => {}
        Some(op) => cx.error(op.place, "a good latency is a low one", "write `lte`"),
        None => cx.error(at.place, "`op` is missing", "add `op: lte`"),
    }
    let Some(value) = &at.value.value else {
        cx.error(at.place, "`value` is missing", "add `value:` with the slowest latency that is still good");
        return None;
    };
    let factor = if unit == raw::Unit::Ms { 1e6 } else { 1e9 };
    let threshold = Span::from_ns((value.value.0 * factor).round() as u64);
    Some(Sli::Latency { threshold: objectives::threshold(&At::new(threshold, value.place), cx) })
}

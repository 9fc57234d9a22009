//! OpenSLO v1 `SLO` documents as objectives over the gateway's outcomes.
//!
//! What the specification allows and the gateway cannot measure (other data sources, calendar windows, time slices,
//! precomputed ratios) is refused with a reason, never ignored: an objective that silently means something else is
//! worse than none. Decision 0062 has the mapping.

use homeostat_model::{
    Objective, ObjectiveName, RouteName, Span, VersionName,
    objective::{OnPage, Sli},
};

use super::{
    super::{
        document::{Document, Documents},
        raw::openslo as raw,
        read::{Any, Context, Read},
        scalar::{Whole, percent_to_share},
        source::{At, Place},
        suggest::{nearest, one_of},
        tree::{Data, Node},
    },
    names::{Known, name_of, resolve},
    objectives::{self, FAST_WINDOW, FAST_WINDOW_DEFAULT, MIN_EVENTS_DEFAULT, PERIOD},
    policies,
    routes::Route,
    services::{self, Service},
};

/// The type of metric source that we understand.
const SOURCE: &str = "Homeostat";
/// The prefix of our annotations.
const PREFIX: &str = "homeostat.dev/";
/// Our annotations on an `SLO`, without prefix.
const ANNOTATIONS: [&str; 6] = ["fast-window", "min-events", "on-page", "receivers", "routes", "version"];

/// Everything that an SLO may refer to.
struct World<'a> {
    documents: &'a Documents,
    services: &'a [Service],
    routes: &'a [Route],
    known: &'a Known,
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
    for described in documents.described.iter().filter_map(|d| d.name.as_ref()) {
        if !known.services.contains(&described.value) {
            cx.warn(
                described.place,
                format!("this only describes `{}`, which the gateway does not serve", described.value),
                "declare it with `apiVersion: homeostat/v1`, `kind: Service`",
            );
        }
    }
    for other in all_annotations(documents).filter(|(key, _)| key.value.starts_with(PREFIX)) {
        cx.error(
            other.0.place,
            format!("`{}` belongs to `SLO` documents", other.0.value),
            "move it there, or remove it",
        );
    }
    documents.slos.iter().flat_map(|document| slo(document, &world, cx)).collect()
}

/// Annotations of everything that is not an SLO.
fn all_annotations(d: &Documents) -> impl Iterator<Item = &(At<String>, At<Any>)> {
    fn of<T>(list: &[Document<T>]) -> impl Iterator<Item = &(At<String>, At<Any>)> {
        list.iter().flat_map(|d| &d.annotations)
    }
    let ours = of(&d.services).chain(of(&d.routes)).chain(of(&d.rollouts)).chain(of(&d.receivers));
    let single = of(&d.guards).chain(of(&d.gateways)).chain(of(&d.apis)).chain(of(&d.stores));
    let slo = of(&d.slis).chain(of(&d.policies)).chain(of(&d.conditions)).chain(of(&d.targets));
    ours.chain(single).chain(slo).chain(of(&d.sources)).chain(of(&d.described))
}

fn slo(document: &Document<raw::Slo>, world: &World<'_>, cx: &mut Context<'_>) -> Vec<At<Objective>> {
    let name = name_of::<ObjectiveName, _>(document, cx);
    let mut ours = Annotations::of(document, world, cx);
    let Some(raw) = &document.spec else { return Vec::new() };
    let period = period(raw, cx);
    budgeting(raw, cx);
    let service = raw.service.as_ref().filter(|service| {
        let known = world.known.services.iter().map(String::as_str);
        resolve("service", &service.value, service.place, known, cx)
    });
    let service = service.and_then(|s| homeostat_model::ServiceName::new(&s.value).ok());
    let metric = indicator(document, raw, world, cx).and_then(|(sli, place)| metric(sli, place, world, cx));
    if let Some(metric) = &metric {
        ours.narrow(metric, cx);
    }
    if let Some(service) = &service {
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
        };
        all.push(At::new(objective, name.place));
    }
    all
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
struct Metric {
    kind: MetricKind,
    routes: Vec<At<RouteName>>,
    version: Option<At<VersionName>>,
}

enum MetricKind {
    /// A ratio: what is good is settled.
    Ratio(Sli),
    /// A latency, compared with each objective's value in this unit.
    Latency(raw::Unit),
}

fn metric(sli: &raw::Sli, place: Place, world: &World<'_>, cx: &mut Context<'_>) -> Option<Metric> {
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
    let sli = match &metric?.kind {
        MetricKind::Ratio(sli) => {
            for extra in [raw.op.as_ref().map(|o| o.place), raw.value.as_ref().map(|v| v.place)].into_iter().flatten() {
                cx.error(extra, "`op` and `value` belong to threshold metrics", "remove it");
            }
            *sli
        }
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

/// What our annotations say, completed by the metric's scope.
struct Annotations {
    fast_window: Span,
    min_events: u64,
    on_page: OnPage,
    receivers: Vec<homeostat_model::ReceiverName>,
    routes: Vec<At<RouteName>>,
    version: Option<At<VersionName>>,
}

impl Annotations {
    fn of(document: &Document<raw::Slo>, world: &World<'_>, cx: &mut Context<'_>) -> Self {
        let mut ours = Self {
            fast_window: FAST_WINDOW_DEFAULT,
            min_events: MIN_EVENTS_DEFAULT,
            on_page: OnPage::Notify,
            receivers: Vec::new(),
            routes: Vec::new(),
            version: None,
        };
        for (key, at) in &document.annotations {
            let Some(word) = key.value.strip_prefix(PREFIX) else { continue };
            let node = &at.value.0;
            match word {
                "fast-window" => {
                    if let Some(window) = At::<Span>::read(node, cx) {
                        ours.fast_window = super::within(Some(&window), "a live window", FAST_WINDOW, cx);
                        if window.value <= FAST_WINDOW.1 {
                            objectives::check_window("a live window", &window, cx);
                        }
                    }
                }
                "min-events" => {
                    ours.min_events = Whole::<1, 1_000_000_000>::read(node, cx).map_or(MIN_EVENTS_DEFAULT, |w| w.0);
                }
                "on-page" => ours.on_page = OnPage::read(node, cx).unwrap_or_default(),
                "receivers" => {
                    let named: Vec<At<homeostat_model::ReceiverName>> = listed(node, cx);
                    for item in &named {
                        let known = world.known.receivers.iter().map(String::as_str);
                        resolve("receiver", item.value.as_str(), item.place, known, cx);
                    }
                    ours.receivers = super::distinct(&named, cx);
                }
                "routes" => ours.routes = listed(node, cx),
                "version" => ours.version = At::read(node, cx),
                _ => {
                    let near = nearest(word, ANNOTATIONS);
                    let help = near.map_or_else(
                        || format!("known with the prefix `{PREFIX}`: {}", one_of(ANNOTATIONS)),
                        |near| format!("write `{PREFIX}{near}`"),
                    );
                    cx.error(key.place, format!("unknown annotation `{}`", key.value), help);
                }
            }
        }
        ours
    }

    /// Takes the metric's routes and version; both may not differ from what the annotations say.
    fn narrow(&mut self, metric: &Metric, cx: &mut Context<'_>) {
        if let (Some(first), false) = (metric.routes.first(), self.routes.is_empty()) {
            cx.error(
                first.place,
                "the annotation `homeostat.dev/routes` says which routes, too",
                "keep one of the two",
            );
        } else if self.routes.is_empty() {
            self.routes.clone_from(&metric.routes);
        }
        match (&self.version, &metric.version) {
            (Some(_), Some(second)) => {
                cx.error(
                    second.place,
                    "the annotation `homeostat.dev/version` says which version, too",
                    "keep one of the two",
                );
            }
            (None, Some(version)) => self.version = Some(version.clone()),
            _ => {}
        }
    }

    /// Routes must lead to the service, and the version must be its own.
    fn check_scope(&self, service: &homeostat_model::ServiceName, world: &World<'_>, cx: &mut Context<'_>) {
        super::distinct(&self.routes, cx);
        for route in &self.routes {
            let found = world.routes.iter().find(|r| r.spec.name == route.value);
            let known =
                world.known.routes.iter().map(String::as_str).chain(world.routes.iter().map(|r| r.spec.name.as_str()));
            let exists = resolve("route", route.value.as_str(), route.place, known, cx);
            if let (true, Some(found)) = (exists, found.filter(|r| r.spec.service != *service)) {
                cx.error(
                    route.place,
                    format!("route `{}` leads to `{}`, not to `{service}`", route.value, found.spec.service),
                    "name routes that lead to the SLO's service",
                );
            }
        }
        if let (Some(version), Some(service)) = (&self.version, services::find(world.services, service)) {
            service.has_version(version, cx);
        }
    }
}

/// Names in an annotation: a text divided by commas, as Kubernetes asks, or a list.
fn listed<N: super::super::read::Key>(node: &Node, cx: &mut Context<'_>) -> Vec<At<N>> {
    let mut names = Vec::new();
    match &node.data {
        Data::Sequence(items) => names.extend(items.iter().flat_map(|item| listed(item, cx))),
        Data::Plain(text) | Data::Quoted(text) => {
            for word in text.split(',') {
                names.extend(N::of(&At::new(word.trim().to_owned(), node.place), cx));
            }
        }
        Data::Null | Data::Mapping(_) => {
            cx.error(node.place, "expected names divided by commas", "write for example `a, b`");
        }
    }
    names
}

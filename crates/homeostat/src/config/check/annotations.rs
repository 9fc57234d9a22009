//! Our annotations on OpenSLO documents: what the specification has no key for, under the prefix `homeostat.dev/`.
//!
//! The specification reserves annotations for implementations, so a document that uses them stays valid elsewhere.
//! A misspelt one of ours is an error; those of others are none of our business.

use homeostat_model::{ReceiverName, RouteName, ServiceName, Span, VersionName, objective::OnPage};

use super::{
    super::{
        document::{Document, Documents},
        raw::openslo as raw,
        read::{Any, Context, Key, Read},
        scalar::Whole,
        source::At,
        suggest::{nearest, one_of},
        tree::{Data, Node},
    },
    indicator::Metric,
    names::resolve,
    objectives::{self, FAST_WINDOW, FAST_WINDOW_DEFAULT, MIN_EVENTS_DEFAULT},
    openslo::World,
    services,
};

/// The prefix of our annotations.
const PREFIX: &str = "homeostat.dev/";
/// Our annotations on an `SLO`, without prefix.
const ANNOTATIONS: [&str; 6] = ["fast-window", "min-events", "on-page", "receivers", "routes", "version"];

/// Reports our annotations on documents that are no `SLO`, where they would have no effect.
pub(super) fn refuse_elsewhere(documents: &Documents, cx: &mut Context<'_>) {
    for other in all_annotations(documents).filter(|(key, _)| key.value.starts_with(PREFIX)) {
        cx.error(
            other.0.place,
            format!("`{}` belongs to `SLO` documents", other.0.value),
            "move it there, or remove it",
        );
    }
}

/// Annotations of everything that is not an SLO.
fn all_annotations(d: &Documents) -> impl Iterator<Item = &(At<String>, At<Any>)> {
    fn of<T>(list: &[Document<T>]) -> impl Iterator<Item = &(At<String>, At<Any>)> {
        list.iter().flat_map(|d| &d.annotations)
    }
    let ours = of(&d.services).chain(of(&d.routes)).chain(of(&d.rollouts)).chain(of(&d.receivers));
    let single = of(&d.guards).chain(of(&d.gateways)).chain(of(&d.apis)).chain(of(&d.stores)).chain(of(&d.metrics));
    let slo = of(&d.slis).chain(of(&d.policies)).chain(of(&d.conditions)).chain(of(&d.targets));
    ours.chain(single).chain(slo).chain(of(&d.sources)).chain(of(&d.described))
}

/// What our annotations say, completed by the metric's scope.
pub(super) struct Annotations {
    pub(super) fast_window: Span,
    pub(super) min_events: u64,
    pub(super) on_page: OnPage,
    pub(super) receivers: Vec<ReceiverName>,
    pub(super) routes: Vec<At<RouteName>>,
    pub(super) version: Option<At<VersionName>>,
}

impl Annotations {
    pub(super) fn of(document: &Document<raw::Slo>, world: &World<'_>, cx: &mut Context<'_>) -> Self {
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
                    let named: Vec<At<ReceiverName>> = listed(node, cx);
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
    pub(super) fn narrow(&mut self, metric: &Metric, cx: &mut Context<'_>) {
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

    /// Queries choose what they count by themselves.
    pub(super) fn refuse_scope(&mut self, cx: &mut Context<'_>) {
        let places = self.routes.iter().map(|r| r.place).chain(self.version.iter().map(|v| v.place));
        for place in places.collect::<Vec<_>>() {
            cx.error(place, "queries choose what they count by themselves", "remove the annotation");
        }
        (self.routes, self.version) = (Vec::new(), None);
    }

    /// Routes must lead to the service, and the version must be its own.
    pub(super) fn check_scope(&self, service: &ServiceName, world: &World<'_>, cx: &mut Context<'_>) {
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
fn listed<N: Key>(node: &Node, cx: &mut Context<'_>) -> Vec<At<N>> {
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

//! Names: unique within their kind, and found when referred to.

use std::collections::BTreeMap;

use super::super::{
    document::{Document, Documents},
    read::{Context, Key},
    source::{At, Place},
    suggest::{nearest, one_of},
};

/// All declared names, those of broken documents included.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) services: Vec<String>,
    /// Those of OpenSLO, which the gateway need not serve.
    pub(super) described: Vec<String>,
    pub(super) routes: Vec<String>,
    pub(super) receivers: Vec<String>,
}

impl Known {
    /// Collects names, and reports those declared twice as well as kinds that may stand only once and do not.
    pub(super) fn of(documents: &Documents, cx: &mut Context<'_>) -> Self {
        let d = documents;
        single("Guard", &d.guards, cx);
        single("Gateway", &d.gateways, cx);
        single("Api", &d.apis, cx);
        single("Store", &d.stores, cx);
        single("Metrics", &d.metrics, cx);
        single("Sensing", &d.sensings, cx);
        unique("rollout", &d.rollouts, cx);
        unique("objective", &d.slos, cx);
        unique("SLI", &d.slis, cx);
        unique("alert policy", &d.policies, cx);
        unique("alert condition", &d.conditions, cx);
        unique("notification target", &d.targets, cx);
        unique("data source", &d.sources, cx);
        Self {
            described: unique("described service", &d.described, cx),
            services: unique("service", &d.services, cx),
            routes: unique("route", &d.routes, cx),
            receivers: unique("receiver", &d.receivers, cx),
        }
    }
}

fn single<T>(kind: &str, documents: &[Document<T>], cx: &mut Context<'_>) {
    for extra in documents.iter().skip(1) {
        cx.error(extra.place, format!("there is another `{kind}` document"), "merge the two; there may be only one");
    }
}

fn unique<T>(what: &str, documents: &[Document<T>], cx: &mut Context<'_>) -> Vec<String> {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    for name in documents.iter().filter_map(|d| d.name.as_ref()) {
        if let Some(first) = seen.insert(&name.value, name.place) {
            let wherever = if first.file == name.place.file {
                format!("the other stands on line {}", first.line)
            } else {
                "the other stands in another file".to_owned()
            };
            cx.error(
                name.place,
                format!("there is another {what} `{}`", name.value),
                format!("choose another name; {wherever}"),
            );
        }
    }
    seen.into_keys().map(str::to_owned).collect()
}

/// A document's name as a checked name.
pub(super) fn name_of<N: Key, T>(document: &Document<T>, cx: &mut Context<'_>) -> Option<At<N>> {
    document.name.as_ref().and_then(|name| N::of(name, cx))
}

/// Whether `name` is one of `known`; reports it with the nearest known one if not.
pub(super) fn resolve<'k>(
    what: &str,
    name: &str,
    place: Place,
    known: impl IntoIterator<Item = &'k str>,
    cx: &mut Context<'_>,
) -> bool {
    let known: Vec<&str> = known.into_iter().collect();
    if known.contains(&name) {
        return true;
    }
    let help = match (nearest(name, known.iter().copied()), known.len()) {
        (Some(near), _) => format!("write `{near}`"),
        (None, 0) => "declare one; there is none".to_owned(),
        (None, 1..=8) => format!("declare it, or write {}", one_of(known)),
        (None, count) => format!("declare it, or write one of the {count} that are declared"),
    };
    cx.error(place, format!("there is no {what} `{name}`"), help);
    false
}

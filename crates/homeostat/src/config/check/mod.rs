//! From raw documents to the checked configuration: names resolve, numbers lie in their ranges, limits fit together.
//!
//! Each file checks one kind of document and returns what the rooms take. A document that fails is left out and its
//! name stays known, so that those who refer to it are not blamed as well.

mod annotations;
mod indicator;
pub(super) mod metrics;
mod names;
mod objectives;
mod openslo;
mod policies;
mod process;
mod receivers;
mod rollouts;
mod routes;
mod services;

use std::collections::{BTreeMap, BTreeSet};

use homeostat_act_guard::GuardLimits;
use homeostat_act_notify::spec::ReceiverSpec;
use homeostat_api::spec::ApiSpec;
use homeostat_gateway_proxy::spec::ProxySpec;
use homeostat_gateway_route::spec::GatewaySpec;
use homeostat_model::{Objective, ServiceName, objective::Sli, rollout::Rollout};
use homeostat_store_events::spec::StoreSpec;

use super::{
    Profiled, SensingSpec, Sought,
    document::Documents,
    problem::Severity,
    read::Context,
    source::{At, Place},
};

/// What the documents declare, each part as its room takes it.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// Services and routes.
    pub gateway: GatewaySpec,
    /// Sockets, workers, limits.
    pub proxy: ProxySpec,
    /// Objectives, one entry a name.
    pub objectives: Vec<Objective>,
    /// Rollouts, one entry a name, at most one per service.
    pub rollouts: Vec<Rollout>,
    /// The guard's limits.
    pub guard: GuardLimits,
    /// Programs whose profiles are taken all the time.
    pub profiled: Vec<Profiled>,
    /// Services that others call, by who calls them.
    pub depends_on: BTreeMap<ServiceName, Vec<ServiceName>>,
    /// Services whose programs scraping finds.
    pub sought: Vec<Sought>,
    /// How much sensing may take.
    pub sensing: SensingSpec,
    /// Services whose requests the kernel is asked for.
    pub called: BTreeSet<ServiceName>,
    /// Receivers, one entry a name.
    pub receivers: Vec<ReceiverSpec>,
    /// The API.
    pub api: ApiSpec,
    /// The journal.
    pub store: StoreSpec,
    /// The metrics server inside the process.
    pub metrics: Option<metrics::MetricsSpec>,
}

/// Checks all documents. `None` when any error was reported, here or before.
pub(crate) fn check(documents: &Documents, cores: usize, cx: &mut Context<'_>) -> Option<Checked> {
    let known = names::Known::of(documents, cx);
    let receivers = receivers::check(&documents.receivers, cx);
    let guard = process::guard(&documents.guards, cx);
    let mut services = services::check(&documents.services, cx);
    let routes = routes::check(&documents.routes, &documents.services, &services, &known, cx);
    let objectives = objectives::check(documents, &services, &routes, &known, cx);
    let rollouts = rollouts::check(&documents.rollouts, &services, &objectives, &guard, &known, cx);
    services::set_thresholds(&mut services, thresholds(&objectives, &rollouts), cx);
    let proxy = process::gateway(&documents.gateways, cores, cx);
    let api = process::api(&documents.apis, &proxy, cx);
    let store = process::store(&documents.stores, cx);
    let metrics = metrics::check(&documents.metrics, &proxy, &api, &receivers, cx);
    let depends_on = services::depends_on(&documents.services, &known, cx);
    let sensing = process::sensing(&documents.sensings, cx);
    services::check_sought(&services, &documents.metrics, cx);
    let profiled = services.iter().flat_map(|service| service.profiled.clone()).collect();
    let sought = services.iter().filter_map(|service| Some(service.sought.as_ref()?.value.clone())).collect();
    let called = services::called(&services, &rollouts, cx);
    let gateway = routes::compile(services, &routes, cx);
    if cx.problems.iter().any(|problem| problem.severity == Severity::Error) {
        return None;
    }
    Some(Checked {
        gateway,
        proxy,
        objectives: objectives.into_iter().map(|o| o.value).collect(),
        rollouts: rollouts.into_iter().map(|r| r.value).collect(),
        guard,
        profiled,
        depends_on,
        sought,
        sensing,
        called,
        receivers,
        api,
        store,
        metrics,
    })
}

/// Every latency threshold with its service and the place that asks for it.
fn thresholds(objectives: &[At<Objective>], rollouts: &[At<Rollout>]) -> Vec<services::Threshold> {
    let of_objectives = objectives.iter().map(|o| (&o.value.service, o.place, std::slice::from_ref(&o.value.sli)));
    let of_rollouts = rollouts.iter().map(|r| (&r.value.service, r.place, r.value.test.slis.as_slice()));
    let mut found = Vec::new();
    for (service, place, slis) in of_objectives.chain(of_rollouts) {
        for sli in slis {
            if let Sli::Latency { threshold } = sli {
                found.push(services::Threshold { service: service.clone(), threshold: *threshold, place });
            }
        }
    }
    found
}

/// The value of a field, or what stands in for it after a problem was reported.
fn value<T: Clone>(field: Option<&At<T>>, otherwise: T) -> T {
    field.map_or(otherwise, |at| at.value.clone())
}

/// Reports a duration outside `[min, max]`; returns it in any case.
fn within(
    field: Option<&At<homeostat_model::Span>>,
    what: &str,
    (min, max): (homeostat_model::Span, homeostat_model::Span),
    cx: &mut Context<'_>,
) -> homeostat_model::Span {
    let Some(at) = field else { return min };
    if at.value < min || max < at.value {
        cx.error(
            at.place,
            format!("{what} of {} is out of range", at.value),
            format!("write a duration from {min} to {max}"),
        );
    }
    at.value
}

/// Reports names that stand twice in a list; returns each once.
fn distinct<T: Ord + Clone + std::fmt::Display>(items: &[At<T>], cx: &mut Context<'_>) -> Vec<T> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for item in items {
        if seen.insert(item.value.clone()) {
            kept.push(item.value.clone());
        } else {
            cx.error(item.place, format!("`{}` stands in this list twice", item.value), "remove one of the two");
        }
    }
    kept
}

/// The place of a field, or of what it belongs to.
fn place_of<T>(field: Option<&At<T>>, otherwise: Place) -> Place {
    field.map_or(otherwise, |at| at.place)
}

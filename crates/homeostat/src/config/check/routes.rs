//! `Route` documents, and the trial compilation of the whole table.

use homeostat_gateway_route::{
    CellRegistry, CompileProblem, Place as Subject, RouteTable,
    spec::{GatewaySpec, HeaderMatch, HeaderValueMatch, HostMatch, PathMatch, RouteSpec},
};
use homeostat_model::RouteName;

use super::{
    super::{
        document::Document,
        problem::{Problem, Severity},
        raw::{route as raw, service::Service as RawService},
        read::{Context, Short},
        scalar::HeaderName,
        source::{At, Place},
    },
    names::{Known, name_of, resolve},
    services::{self, Service},
};

/// The name of the route that a lone service gets when there are no `Route` documents.
const LONE_ROUTE: &str = "all";

/// A route with the places that the compiler's problems point at.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) spec: RouteSpec,
    name: Place,
    path: Place,
    hosts: Vec<Place>,
}

/// Checks all routes. Without any, a lone service gets all requests.
pub(super) fn check(
    documents: &[Document<raw::Route>],
    raw_services: &[Document<RawService>],
    services: &[Service],
    known: &Known,
    cx: &mut Context<'_>,
) -> Vec<Route> {
    let routes: Vec<Route> = documents.iter().filter_map(|document| route(document, services, known, cx)).collect();
    if documents.is_empty() {
        return lone_route(raw_services, services, known, cx).into_iter().collect();
    }
    // Only when all routes could be read: a broken one may be the one that leads here.
    if routes.len() == documents.len() {
        for service in services.iter().filter(|s| !s.is_called && routes.iter().all(|r| r.spec.service != s.spec.name))
        {
            cx.warn(
                service.place,
                format!("no route leads to service `{}`", service.spec.name),
                "write a `Route` document for it, or remove it",
            );
        }
    }
    routes
}

fn lone_route(
    raw_services: &[Document<RawService>],
    services: &[Service],
    known: &Known,
    cx: &mut Context<'_>,
) -> Option<Route> {
    match (raw_services, services) {
        // The kernel sees their requests, wherever these come from.
        _ if !services.is_empty() && services.iter().all(|service| service.is_called) => None,
        ([_], [service]) => {
            let place = service.place;
            let spec = RouteSpec {
                name: RouteName::new(LONE_ROUTE).ok()?,
                hosts: Vec::new(),
                path: PathMatch::Prefix("/".to_owned()),
                methods: Vec::new(),
                headers: Vec::new(),
                service: service.spec.name.clone(),
                version: None,
            };
            Some(Route { spec, name: place, path: place, hosts: Vec::new() })
        }
        // Twins, and services without a name, were reported already: they may not be several.
        ([_, second, ..], _) if 1 < known.services.len() => {
            cx.error(
                second.place,
                "there are several services and no route",
                "write `Route` documents that say which requests go where",
            );
            None
        }
        _ => None,
    }
}

fn route(document: &Document<raw::Route>, services: &[Service], known: &Known, cx: &mut Context<'_>) -> Option<Route> {
    let name = name_of::<RouteName, _>(document, cx);
    let raw = document.spec.as_ref()?;
    let path = raw.path.as_ref().and_then(|at| path(at, cx));
    let headers = headers(raw, cx);
    let service = raw.service.as_ref()?;
    if !resolve("service", service.value.as_str(), service.place, known.services.iter().map(String::as_str), cx) {
        return None;
    }
    let found = services::find(services, &service.value);
    if let (Some(version), Some(service)) = (&raw.version, found) {
        service.has_version(version, cx);
    }
    if found.is_some_and(|service| service.is_called) {
        cx.error(
            service.place,
            format!("requests of service `{}` are counted by the kernel, and would be counted twice", service.value),
            "remove the route, or `calls` of the service",
        );
    }
    let name = name?;
    let hosts = raw.hosts.as_ref().map(|h| h.value.0.clone()).unwrap_or_default();
    let methods = raw.methods.as_ref().map(|m| m.value.0.as_slice()).unwrap_or_default();
    super::distinct(&methods.iter().map(|m| At::new(m.value.to_string(), m.place)).collect::<Vec<_>>(), cx);
    super::distinct(&hosts.iter().map(|h| At::new(show_host(&h.value), h.place)).collect::<Vec<_>>(), cx);
    Some(Route {
        path: super::place_of(raw.path.as_ref(), name.place),
        name: name.place,
        hosts: hosts.iter().map(|at| at.place).collect(),
        spec: RouteSpec {
            name: name.value,
            hosts: hosts.into_iter().map(|at| at.value).collect(),
            path: path?,
            methods: methods.iter().map(|m| m.value.clone()).collect(),
            headers,
            service: service.value.clone(),
            version: raw.version.as_ref().map(|v| v.value.clone()),
        },
    })
}

fn show_host(host: &HostMatch) -> String {
    match host {
        HostMatch::Exact(name) => name.clone(),
        HostMatch::Wildcard(suffix) => format!("*.{suffix}"),
    }
}

fn path(at: &At<Short<raw::Path>>, cx: &mut Context<'_>) -> Option<PathMatch> {
    match (&at.value.0.prefix, &at.value.0.exact) {
        (Some(prefix), None) => Some(PathMatch::Prefix(prefix.value.0.clone())),
        (None, Some(exact)) => Some(PathMatch::Exact(exact.value.0.clone())),
        _ => {
            if cx.is_sound(at.place) {
                cx.error(at.place, "a path is either `prefix` or `exact`", "write one of the two");
            }
            None
        }
    }
}

fn headers(raw: &raw::Route, cx: &mut Context<'_>) -> Vec<HeaderMatch> {
    let entries = raw.headers.as_ref().map(|h| h.value.0.as_slice()).unwrap_or_default();
    let mut seen: Vec<&HeaderName> = Vec::new();
    let mut matches = Vec::new();
    for (name, form) in entries {
        if seen.contains(&&name.value) {
            cx.error(
                name.place,
                format!("a second condition on `{}`", name.value),
                "keep one; the case of header names does not count",
            );
        }
        seen.push(&name.value);
        let condition = &form.value.0;
        let value = match (&condition.exact, &condition.present) {
            (Some(exact), None) => HeaderValueMatch::Exact(exact.value.clone()),
            (None, Some(At { value: true, .. })) => HeaderValueMatch::Present,
            _ => {
                cx.error(
                    form.place,
                    "a header is compared with a value, or must be `present: true`",
                    "write the value, or `{present: true}`",
                );
                continue;
            }
        };
        matches.push(HeaderMatch { name: name.value.clone(), value });
    }
    matches
}

/// Puts the specification together and compiles it once, so that nothing is accepted that the gateway would refuse.
pub(super) fn compile(services: Vec<Service>, routes: &[Route], cx: &mut Context<'_>) -> GatewaySpec {
    let service_places: Vec<Place> = services.iter().map(|s| s.place).collect();
    let spec = GatewaySpec {
        services: services.into_iter().map(|s| s.spec).collect(),
        routes: routes.iter().map(|r| r.spec.clone()).collect(),
    };
    // An incomplete specification would only repeat, less precisely, what has been reported.
    if cx.problems.iter().any(|p| p.severity == Severity::Error) {
        return spec;
    }
    if let Err(problems) = RouteTable::compile(&spec, &mut CellRegistry::new()) {
        for problem in problems {
            cx.problems.push(translate(&problem, &service_places, routes));
        }
    }
    spec
}

fn translate(problem: &CompileProblem, services: &[Place], routes: &[Route]) -> Problem {
    let place = match &problem.place {
        Subject::Service { index, .. } => services.get(*index).copied(),
        Subject::Route { index, .. } => routes.get(*index).map(|route| {
            let host =
                problem.field.strip_prefix("hosts[").and_then(|rest| rest.strip_suffix(']')?.parse::<usize>().ok());
            match host.and_then(|index| route.hosts.get(index)) {
                Some(place) => *place,
                None if problem.field.starts_with("path") => route.path,
                None => route.name,
            }
        }),
        Subject::Whole => None,
    };
    let error = Problem::error(format!("{}: {}", problem.place, problem.kind));
    match place {
        Some(place) => error.at(place),
        None => error,
    }
}

//! The compiled table against a naive model: look at every route, keep the best.

#![expect(clippy::unwrap_used, reason = "short helpers of tests, which may fail loudly")]

use std::cmp::Reverse;

use homeostat_gateway_route::{
    CellRegistry, Place, ProblemKind, RouteTable,
    spec::{
        GatewaySpec, HeaderMatch, HeaderValueMatch, HostMatch, PathMatch, RouteSpec, ServiceSpec, Timeouts, VersionSpec,
    },
};
use homeostat_model::{RouteName, ServiceName, VersionName, Weight};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Request {
    method: Method,
    host: &'static str,
    path: &'static str,
    headers: HeaderMap,
}

const HOSTS: [&str; 7] = ["a.b.c", "B.c:80", "x.b.c", "c", "y.c", "", "c.d."];
const PATHS: [&str; 10] = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "//a", "/a//b", "*"];

/// Small alphabets, so that patterns and requests meet often.
fn request() -> impl Strategy<Value = Request> {
    let headers = prop::collection::vec((prop_oneof!["x-a", "x-b"], prop_oneof!["1", "2"]), 0..3).prop_map(|pairs| {
        let header = |(name, value): &(String, String)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(header).collect()
    });
    let method = prop_oneof![Just(Method::GET), Just(Method::POST), Just(Method::PUT)];
    (method, prop::sample::select(&HOSTS[..]), prop::sample::select(&PATHS[..]), headers)
        .prop_map(|(method, host, path, headers)| Request { method, host, path, headers })
}

fn route() -> impl Strategy<Value = RouteSpec> {
    let host = prop_oneof![
        prop::sample::select(&["a.b.c", "b.C", "c", "c.d"][..]).prop_map(|name| HostMatch::Exact(name.to_owned())),
        prop::sample::select(&["b.c", "c", "d"][..]).prop_map(|name| HostMatch::Wildcard(name.to_owned())),
    ];
    let path = prop_oneof![
        prop::sample::select(&["/", "/a", "/a/", "/a/b", "/a//b"][..])
            .prop_map(|path| PathMatch::Exact(path.to_owned())),
        prop::sample::select(&["/", "/a", "/a/", "/a/b", "//a", "/b"][..])
            .prop_map(|path| PathMatch::Prefix(path.to_owned())),
    ];
    let value = prop_oneof![Just(HeaderValueMatch::Present), prop_oneof!["1", "2"].prop_map(HeaderValueMatch::Exact)];
    let header = (prop_oneof!["x-a", "x-b"], value)
        .prop_map(|(name, value)| HeaderMatch { name: HeaderName::from_bytes(name.as_bytes()).unwrap(), value });
    let methods = prop::sample::subsequence(vec![Method::GET, Method::POST], 0..=2);
    (prop::collection::vec(host, 0..3), path, methods, prop::collection::vec(header, 0..3)).prop_map(
        |(hosts, path, methods, headers)| RouteSpec {
            name: RouteName::new("r").unwrap(),
            hosts,
            path,
            methods,
            headers,
            service: ServiceName::new("s").unwrap(),
            version: None,
        },
    )
}

fn spec(mut routes: Vec<RouteSpec>) -> GatewaySpec {
    for (index, route) in routes.iter_mut().enumerate() {
        route.name = RouteName::new(&format!("r{index}")).unwrap();
    }
    let v1 = VersionName::new("v1").unwrap();
    let service = ServiceSpec {
        name: ServiceName::new("s").unwrap(),
        versions: vec![VersionSpec { name: v1.clone(), endpoints: Vec::new() }],
        split: vec![(v1, Weight::FULL)],
        sticky: None,
        forced_version_header: None,
        thresholds: Vec::new(),
        timeouts: Timeouts::default(),
    };
    GatewaySpec { services: vec![service], routes }
}

/// Class and length of a host pattern that fits; smaller is better.
fn host_rank(pattern: Option<&HostMatch>, host: &str) -> Option<(u8, Reverse<usize>)> {
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_lowercase();
    match pattern {
        None => Some((2, Reverse(0))),
        Some(HostMatch::Exact(name)) => (name.to_lowercase() == host).then_some((0, Reverse(0))),
        Some(HostMatch::Wildcard(suffix)) => {
            let fits = host.ends_with(&format!(".{}", suffix.to_lowercase()));
            fits.then_some((1, Reverse(suffix.len())))
        }
    }
}

fn path_rank(pattern: &PathMatch, path: &str) -> Option<(u8, Reverse<usize>)> {
    match pattern {
        PathMatch::Exact(exact) => (exact == path).then_some((0, Reverse(0))),
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            let fits = path == prefix || path.starts_with(&format!("{prefix}/"));
            fits.then_some((1, Reverse(prefix.len())))
        }
    }
}

fn conditions_hold(route: &RouteSpec, request: &Request) -> bool {
    (route.methods.is_empty() || route.methods.contains(&request.method))
        && route.headers.iter().all(|header| match &header.value {
            HeaderValueMatch::Present => request.headers.get(&header.name).is_some(),
            HeaderValueMatch::Exact(value) => request.headers.get_all(&header.name).iter().any(|v| v == value),
        })
}

/// The best of all (route, host) pairs that fit.
fn naive(routes: &[RouteSpec], request: &Request) -> Option<(usize, usize)> {
    let mut best = None;
    for (index, route) in routes.iter().enumerate() {
        let hosts: Vec<Option<&HostMatch>> =
            if route.hosts.is_empty() { vec![None] } else { route.hosts.iter().map(Some).collect() };
        for (at, host) in hosts.into_iter().enumerate() {
            let (Some(host), Some(path)) = (host_rank(host, request.host), path_rank(&route.path, request.path)) else {
                continue;
            };
            if conditions_hold(route, request) {
                let exact = route.headers.iter().filter(|h| h.value != HeaderValueMatch::Present).count();
                let specific = Reverse((!route.methods.is_empty(), route.headers.len(), exact));
                let rank = (host, path, specific, index, at);
                best = Some(best.map_or(rank, |best: (_, _, _, _, _)| best.min(rank)));
            }
        }
    }
    best.map(|(_, _, _, index, at)| (index, at))
}

fn host_of_field(field: &str) -> usize {
    field.strip_prefix("hosts[").and_then(|rest| rest.strip_suffix(']')).map_or(0, |index| index.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn lookups_agree_and_what_is_called_unreachable_is(
        routes in prop::collection::vec(route(), 1..9), requests in prop::collection::vec(request(), 30)
    ) {
        let mut spec = spec(routes);
        if let Err(problems) = RouteTable::compile(&spec, &mut CellRegistry::new()) {
            let mut dead = Vec::new();
            for problem in &problems {
                prop_assert!(matches!(problem.kind, ProblemKind::Shadowed { .. }), "{}", problem);
                let Place::Route { index, .. } = problem.place else { panic!("{problem}") };
                dead.push((index, host_of_field(&problem.field)));
            }
            for request in &requests {
                let chosen = naive(&spec.routes, request);
                prop_assert!(!chosen.is_some_and(|chosen| dead.contains(&chosen)), "{chosen:?} {problems:?}");
            }
            let mut index = 0..;
            spec.routes.retain(|_| { let at = index.next().unwrap(); !dead.iter().any(|(route, _)| *route == at) });
        }
        let table = RouteTable::compile(&spec, &mut CellRegistry::new()).unwrap();
        for request in &requests {
            let found = table.find(&request.method, request.host, request.path, &request.headers);
            let expected = naive(&spec.routes, request).map(|(route, _)| spec.routes[route].name.clone());
            prop_assert_eq!(found.map(|found| found.route().name().clone()), expected, "{:?}", request);
        }
    }
}

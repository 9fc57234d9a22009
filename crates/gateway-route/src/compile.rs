//! From specification to table: every check, all problems at once.
//!
//! Order: services, routes, then, when both are sound, what shadows what, and last the cells, so that a refused
//! specification leaves no trace in the registry.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use foldhash::fast::FixedState;
use homeostat_model::{CellId, CellKey, RouteName, ServiceName, Span, VersionName, outcome::THRESHOLDS_MAX};

use crate::{
    cell::CellRegistry,
    condition::Conditions,
    host::{self, HostMap},
    path,
    path_tree::{Candidate, PathTree},
    problem::{CompileProblem, Names, Place, ProblemKind},
    spec::{GatewaySpec, HeaderValueMatch, HostMatch, PathMatch, RouteSpec, ServiceSpec, Sticky, VersionSpec},
    split::SplitTable,
    sticky::{self, Salt},
    table::{Fixed, Route, RouteTable, Service, ServiceFixed, Target, Version},
};

/// See [`RouteTable::compile`].
pub(crate) fn compile(spec: &GatewaySpec, registry: &mut CellRegistry) -> Result<RouteTable, Vec<CompileProblem>> {
    let mut problems = Vec::new();
    let services = services(&spec.services, &mut problems);
    let mut service_index: HashMap<ServiceName, usize, FixedState> = HashMap::default();
    for (index, service) in spec.services.iter().enumerate() {
        service_index.entry(service.name.clone()).or_insert(index);
    }
    let mut names = HashSet::with_hasher(FixedState::default());
    for (index, route) in spec.routes.iter().enumerate() {
        let mut report = Report { place: Place::Route { index, name: route.name.clone() }, problems: &mut problems };
        if !names.insert(&route.name) {
            report.add("name", ProblemKind::DuplicateRoute);
        }
        check_matches(route, &mut report);
        check_target(route, spec, &service_index, &mut report);
    }
    let paths = paths(&spec.routes, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let (routes, cells) = match routes(spec, &service_index, registry) {
        Ok(compiled) => compiled,
        Err(full) => {
            let kind = ProblemKind::Cells(full);
            return Err(vec![CompileProblem { place: Place::Whole, field: "routes".to_owned(), kind }]);
        }
    };
    Ok(RouteTable { services, fixed: Arc::new(Fixed { service_index, routes, paths, cells }) })
}

/// Collects the problems of one service or route.
struct Report<'p> {
    place: Place,
    problems: &'p mut Vec<CompileProblem>,
}

impl Report<'_> {
    fn add(&mut self, field: impl Into<String>, kind: impl Into<ProblemKind>) {
        self.problems.push(CompileProblem { place: self.place.clone(), field: field.into(), kind: kind.into() });
    }
}

fn services(specs: &[ServiceSpec], problems: &mut Vec<CompileProblem>) -> Arc<[Arc<Service>]> {
    let mut names = HashSet::with_hasher(FixedState::default());
    let mut compiled = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let mut report = Report { place: Place::Service { index, name: spec.name.clone() }, problems };
        if !names.insert(&spec.name) {
            report.add("name", ProblemKind::DuplicateService);
        }
        check_settings(spec, &mut report);
        compiled.extend(service(spec, &mut report).map(Arc::new));
    }
    compiled.into()
}

fn check_settings(spec: &ServiceSpec, report: &mut Report<'_>) {
    if THRESHOLDS_MAX < spec.thresholds.len() {
        report.add("thresholds", ProblemKind::Thresholds(spec.thresholds.len()));
    }
    if !spec.thresholds.is_sorted_by(|a, b| a < b) || spec.thresholds.first() == Some(&Span::ZERO) {
        report.add("thresholds", ProblemKind::ThresholdOrder);
    }
    if let Some(Sticky::Cookie(name)) = &spec.sticky
        && !sticky::is_cookie_name(name)
    {
        report.add("sticky", ProblemKind::CookieName(name.clone()));
    }
    let limits = &spec.timeouts;
    for (field, limit) in [
        ("timeouts.connect", limits.connect),
        ("timeouts.first_byte", limits.first_byte),
        ("timeouts.idle", limits.idle),
        ("timeouts.total", limits.total),
    ] {
        if limit == Span::ZERO {
            report.add(field, ProblemKind::ZeroTimeout);
        }
    }
}

fn service(spec: &ServiceSpec, report: &mut Report<'_>) -> Option<Service> {
    if spec.versions.is_empty() {
        report.add("versions", ProblemKind::NoVersions);
        return None;
    }
    let mut names = BTreeSet::new();
    for (index, version) in spec.versions.iter().enumerate() {
        if !names.insert(version.name.clone()) {
            report.add(format!("versions[{index}].name"), ProblemKind::DuplicateVersion(version.name.clone()));
        }
        check_endpoints(index, version, report);
    }
    let names: Vec<VersionName> = names.into_iter().collect();
    let split = match SplitTable::new(&names, &spec.split) {
        Ok(split) => split,
        Err(problems) => {
            for problem in problems {
                report.add("split", problem);
            }
            return None;
        }
    };
    let mut versions: Vec<Version> = spec.versions.iter().map(version).collect();
    versions.sort_by(|a, b| a.name.cmp(&b.name));
    let fixed = ServiceFixed {
        name: spec.name.clone(),
        versions: versions.into(),
        salt: Salt::of(&spec.name),
        sticky: spec.sticky.clone(),
        forced_version_header: spec.forced_version_header.clone(),
        thresholds: spec.thresholds.as_slice().into(),
        timeouts: spec.timeouts,
    };
    Some(Service { fixed: Arc::new(fixed), split })
}

fn check_endpoints(index: usize, version: &VersionSpec, report: &mut Report<'_>) {
    let mut seen = HashSet::with_hasher(FixedState::default());
    for (at, endpoint) in version.endpoints.iter().enumerate() {
        let field = || format!("versions[{index}].endpoints[{at}]");
        if endpoint.address.port() == 0 {
            report.add(field(), ProblemKind::EndpointPort(endpoint.address));
        }
        if !seen.insert(endpoint.address) {
            report.add(field(), ProblemKind::DuplicateEndpoint(endpoint.address));
        }
    }
}

fn version(spec: &VersionSpec) -> Version {
    Version { name: spec.name.clone(), endpoints: spec.endpoints.as_slice().into() }
}

fn check_matches(route: &RouteSpec, report: &mut Report<'_>) {
    for (index, pattern) in route.hosts.iter().enumerate() {
        if let Err(fault) = host::check(pattern) {
            let host = match pattern {
                HostMatch::Exact(name) => name.clone(),
                HostMatch::Wildcard(suffix) => format!("*.{suffix}"),
            };
            report.add(format!("hosts[{index}]"), ProblemKind::Host { host, fault });
        }
    }
    if let Err(fault) = path::check_pattern(&route.path) {
        let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = &route.path;
        report.add("path", ProblemKind::Path { path: path.clone(), fault });
    }
    for (index, header) in route.headers.iter().enumerate() {
        if let HeaderValueMatch::Exact(value) = &header.value
            && http::HeaderValue::from_str(value).is_err()
        {
            report.add(format!("headers[{index}].value"), ProblemKind::HeaderValue(value.clone()));
        }
    }
}

fn check_target(
    route: &RouteSpec,
    spec: &GatewaySpec,
    index: &HashMap<ServiceName, usize, FixedState>,
    report: &mut Report<'_>,
) {
    let Some(service) = index.get(&route.service).and_then(|index| spec.services.get(*index)) else {
        let known = Names::of(index.keys().collect::<BTreeSet<_>>());
        report.add("service", ProblemKind::UnknownService { service: route.service.clone(), known });
        return;
    };
    if let Some(version) = &route.version
        && !service.versions.iter().any(|v| v.name == *version)
    {
        let known = Names::of(service.versions.iter().map(|v| &v.name));
        let (service, version) = (route.service.clone(), version.clone());
        report.add("version", ProblemKind::UnknownVersion { service, version, known });
    }
}

/// Enters every (host, path) of every route, sorts each list by precedence, and reports what can never match.
fn paths(routes: &[RouteSpec], problems: &mut Vec<CompileProblem>) -> HostMap<PathTree> {
    let mut paths: HostMap<PathTree> = HostMap::default();
    for (index, route) in routes.iter().enumerate() {
        let candidate =
            |host| Candidate { conditions: Conditions::new(&route.methods, &route.headers), route: index, host };
        if route.hosts.is_empty() {
            paths.entry(None).insert(&route.path, candidate(0));
        }
        for (at, pattern) in route.hosts.iter().enumerate() {
            paths.entry(Some(pattern)).insert(&route.path, candidate(at));
        }
    }
    let mut shadowed = Vec::new();
    for list in paths.values_mut().flat_map(PathTree::lists_mut) {
        // A stable sort: the order of the documents decides among equals.
        list.sort_by_key(|candidate| candidate.conditions.rank());
        shadowed.extend(list.iter().enumerate().filter_map(|(at, loser)| {
            let winner = list.iter().take(at).find(|winner| winner.conditions.cover(&loser.conditions))?;
            Some((loser.route, loser.host, winner.route))
        }));
    }
    // The maps have no order of their own; the report follows the documents.
    shadowed.sort_unstable();
    for (loser, host, winner) in shadowed {
        let (Some(route), Some(by)) = (routes.get(loser), routes.get(winner)) else { continue };
        let mut report = Report { place: Place::Route { index: loser, name: route.name.clone() }, problems };
        let field = if route.hosts.is_empty() { "path".to_owned() } else { format!("hosts[{host}]") };
        report.add(field, ProblemKind::Shadowed { by: by.name.clone() });
    }
    paths
}

type Routes = (Box<[Arc<Route>]>, Box<[(CellId, CellKey)]>);

/// Builds the routes of a specification in which every name is known, and takes their cells.
fn routes(
    spec: &GatewaySpec,
    index: &HashMap<ServiceName, usize, FixedState>,
    registry: &mut CellRegistry,
) -> Result<Routes, crate::cell::CellsFull> {
    let versions_of = |route: &RouteSpec| -> Vec<VersionName> {
        let service = index.get(&route.service).and_then(|index| spec.services.get(*index));
        let mut versions: Vec<VersionName> =
            service.map_or_else(Vec::new, |s| s.versions.iter().map(|v| v.name.clone()).collect());
        versions.sort();
        versions
    };
    let mut keys = Vec::new();
    let mut drafts = Vec::with_capacity(spec.routes.len());
    for route in &spec.routes {
        let versions = versions_of(route);
        let pinned = route.version.as_ref().and_then(|version| versions.iter().position(|v| v == version));
        let used = match pinned {
            Some(at) => versions.get(at..=at).unwrap_or_default(),
            None => versions.as_slice(),
        };
        let first = keys.len();
        keys.extend(used.iter().map(|version| cell_key(&route.name, &route.service, version)));
        drafts.push((route, pinned, first..keys.len()));
    }
    let ids = registry.register(&keys)?;
    let build = |(route, pinned, cells): (&RouteSpec, Option<usize>, std::ops::Range<usize>)| {
        let cells = ids.get(cells).unwrap_or_default();
        let target = match (pinned, cells.first()) {
            (Some(version), Some(cell)) => Target::Pinned { version, cell: *cell },
            _ => Target::Split(cells.into()),
        };
        let service = index.get(&route.service).copied().unwrap_or_default();
        Arc::new(Route { name: route.name.clone(), service, target })
    };
    let routes = drafts.into_iter().map(build).collect();
    let mut cells: Vec<(CellId, CellKey)> = ids.iter().copied().zip(keys).collect();
    cells.sort();
    Ok((routes, cells.into()))
}

fn cell_key(route: &RouteName, service: &ServiceName, version: &VersionName) -> CellKey {
    CellKey { route: route.clone(), service: service.clone(), version: version.clone() }
}

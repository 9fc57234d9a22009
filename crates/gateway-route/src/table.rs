//! The compiled route table: immutable, shared, and replaced as a whole.
//!
//! Reading order of a request: [`RouteTable::find`] gives the route and its service as of this table,
//! [`Matched::choose`] the version. Both answers borrow from the table; what must outlive it is cloned (`Arc`s).
//!
//! Which route wins, in this order: exact host, longest wildcard, any host; exact path, longest prefix by whole
//! segments; named method, more headers, more exact header values; order of the documents. A route whose conditions do
//! not hold gives way to the next one in that order, across hosts too: a host with routes of its own does not hide the
//! routes for any host.
//!
//! Not here: the checks ([`crate::CompileProblem`] lists them), counters, pools.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use foldhash::fast::FixedState;
use homeostat_model::{CellId, CellKey, RouteName, ServiceName, Span, VersionName, action::Split};
use http::{HeaderMap, HeaderName, Method};

use crate::{
    cell::CellRegistry,
    compile,
    host::HostMap,
    path_tree::PathTree,
    problem::{CompileProblem, SplitProblem},
    spec::{Endpoint, GatewaySpec, Sticky, Timeouts},
    split::{SplitSequence, SplitTable},
    sticky::{self, Salt},
};

/// All routes and services of one configuration with the splits in force. Cloning copies two pointers.
#[derive(Clone, Debug)]
pub struct RouteTable {
    pub(crate) services: Arc<[Arc<Service>]>,
    pub(crate) fixed: Arc<Fixed>,
}

/// What no split changes.
#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) service_index: HashMap<ServiceName, usize, FixedState>,
    pub(crate) routes: Box<[Arc<Route>]>,
    pub(crate) paths: HostMap<PathTree>,
    pub(crate) cells: Box<[(CellId, CellKey)]>,
}

/// A service with the split in force.
#[derive(Clone, Debug)]
pub struct Service {
    pub(crate) fixed: Arc<ServiceFixed>,
    pub(crate) split: SplitTable,
}

/// What no split changes about a service.
#[derive(Debug)]
pub(crate) struct ServiceFixed {
    pub(crate) name: ServiceName,
    pub(crate) versions: Box<[Version]>,
    pub(crate) salt: Salt,
    pub(crate) sticky: Option<Sticky>,
    pub(crate) forced_version_header: Option<HeaderName>,
    pub(crate) thresholds: Box<[Span]>,
    pub(crate) timeouts: Timeouts,
}

/// One version of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub(crate) name: VersionName,
    pub(crate) endpoints: Arc<[Endpoint]>,
}

/// A compiled route.
#[derive(Debug, PartialEq)]
pub struct Route {
    pub(crate) name: RouteName,
    pub(crate) service: usize,
    pub(crate) target: Target,
}

/// How a route finds the version.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    /// By the service's split; one cell per version, in the order of the versions.
    Split(Box<[CellId]>),
    /// Always this one.
    Pinned { version: usize, cell: CellId },
}

/// A request's route and the service it leads to, out of one table.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'t> {
    route: &'t Arc<Route>,
    service: &'t Arc<Service>,
}

/// Why a version was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// The route names it.
    Pin,
    /// The request named it in the service's forced-version header.
    Force,
    /// The hash of the request's sticky key.
    Key,
    /// The worker's walk through the buckets.
    Walk,
}

/// The version of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VersionChoice<'t> {
    /// What counts the request.
    pub cell: CellId,
    /// Position among [`Service::versions`].
    pub index: usize,
    /// Who serves it. Without endpoints the request is refused with 503.
    pub version: &'t Version,
    /// Why this one.
    pub by: ChosenBy,
}

impl RouteTable {
    /// Checks and compiles a specification. Returns all problems at once; then no cell was taken either.
    /// Costs about a microsecond a route; the result is immutable.
    pub fn compile(spec: &GatewaySpec, cells: &mut CellRegistry) -> Result<Self, Vec<CompileProblem>> {
        compile::compile(spec, cells)
    }

    /// Returns the route for a request, `None` when there is none (404). `host` is the `Host` header or `:authority`
    /// as sent, with or without port, empty when there is none; `path` is the path as sent, without query.
    /// Does not allocate.
    pub fn find(&self, method: &Method, host: &str, path: &str, headers: &HeaderMap) -> Option<Matched<'_>> {
        let candidate = self.fixed.paths.find(host, |tree| tree.find(path, |c| c.conditions.hold(method, headers)))?;
        let route = self.fixed.routes.get(candidate.route)?;
        let service = self.services.get(route.service)?;
        Some(Matched { route, service })
    }

    /// Returns a table with another split for one service. Everything else is shared with this one, so the cost is a
    /// pointer per service, whatever the number of routes.
    pub fn with_split(&self, service: &ServiceName, split: &Split) -> Result<Self, SplitProblem> {
        let unknown = || SplitProblem::UnknownService(service.clone());
        let changed = *self.fixed.service_index.get(service).ok_or_else(unknown)?;
        let before = self.services.get(changed).ok_or_else(unknown)?;
        let after = Arc::new(before.with_split(split)?);
        let pick = |(index, kept): (usize, &Arc<Service>)| Arc::clone(if index == changed { &after } else { kept });
        Ok(Self { services: self.services.iter().enumerate().map(pick).collect(), fixed: Arc::clone(&self.fixed) })
    }

    /// Whether both tables come from one compilation, so that only splits can differ: routes, versions and endpoints are
    /// the same. Compares two pointers.
    pub fn has_same_endpoints(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fixed, &other.fixed)
    }

    /// The split in force of a service, ascending by version name.
    pub fn split(&self, service: &ServiceName) -> Option<&Split> {
        self.service(service).map(|service| service.split())
    }

    /// A service by name.
    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(*self.fixed.service_index.get(name)?)
    }

    /// All services, in the order of the specification.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// All routes, in the order of the specification.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.fixed.routes
    }

    /// The cells that this table can count in, ascending by id.
    pub fn cells(&self) -> &[(CellId, CellKey)] {
        &self.fixed.cells
    }
}

impl Service {
    /// Its name.
    pub fn name(&self) -> &ServiceName {
        &self.fixed.name
    }

    /// Its versions, ascending by name.
    pub fn versions(&self) -> &[Version] {
        &self.fixed.versions
    }

    /// The split in force, ascending by version name.
    pub fn split(&self) -> &Split {
        self.split.split()
    }

    /// What keeps a client on its version.
    pub fn sticky(&self) -> Option<&Sticky> {
        self.fixed.sticky.as_ref()
    }

    /// The request header that may name a version.
    pub fn forced_version_header(&self) -> Option<&HeaderName> {
        self.fixed.forced_version_header.as_ref()
    }

    /// Latency thresholds of its cells: `OutcomeCounts::slow[i]` counts what took longer than the i-th, ascending.
    pub fn thresholds(&self) -> &[Span] {
        &self.fixed.thresholds
    }

    /// Time limits of its requests.
    pub fn timeouts(&self) -> Timeouts {
        self.fixed.timeouts
    }

    fn with_split(&self, split: &Split) -> Result<Self, SplitProblem> {
        let names: Vec<VersionName> = self.fixed.versions.iter().map(|version| version.name.clone()).collect();
        // The first problem is enough for a machine; people meet all of them when the specification is compiled.
        let first =
            |problems: Vec<SplitProblem>| problems.into_iter().next().unwrap_or(SplitProblem::Sum { basis_points: 0 });
        Ok(Self { fixed: Arc::clone(&self.fixed), split: SplitTable::new(&names, split).map_err(first)? })
    }
}

impl Version {
    /// Its name.
    pub fn name(&self) -> &VersionName {
        &self.name
    }

    /// Where it runs; may be empty.
    pub fn endpoints(&self) -> &Arc<[Endpoint]> {
        &self.endpoints
    }
}

impl Route {
    /// Its name.
    pub fn name(&self) -> &RouteName {
        &self.name
    }

    /// The cells it counts in: one per version of its service in their order, or one alone when it is pinned.
    pub fn cells(&self) -> &[CellId] {
        match &self.target {
            Target::Split(cells) => cells,
            Target::Pinned { cell, .. } => std::slice::from_ref(cell),
        }
    }
}

impl<'t> Matched<'t> {
    /// The route.
    pub fn route(&self) -> &'t Arc<Route> {
        self.route
    }

    /// The service it leads to.
    pub fn service(&self) -> &'t Arc<Service> {
        self.service
    }

    /// Chooses the version: the route's own; else the forced one, if the service has it; else by `key`; else by the
    /// walk. Versions of weight 0 are only reached in the first two ways. Whether a forced version is believed at all
    /// is for the caller, who reads the header only if [`Service::forced_version_header`] names one. No allocation.
    pub fn choose(&self, forced: Option<&str>, key: Option<&[u8]>, sequence: &mut SplitSequence) -> VersionChoice<'t> {
        let cells = match &self.route.target {
            Target::Pinned { version, cell } => return self.choice(*cell, *version, ChosenBy::Pin),
            Target::Split(cells) => cells,
        };
        let forced = forced.and_then(|name| self.service.versions().iter().position(|v| v.name.as_str() == name));
        let (index, by) = match (forced, key) {
            (Some(index), _) => (index, ChosenBy::Force),
            (None, Some(key)) => (self.service.split.version_of(self.service.fixed.salt.bucket(key)), ChosenBy::Key),
            (None, None) => {
                let walk = cells.first().map_or(0, |cell| sequence.advance(*cell));
                (self.service.split.version_of(walk), ChosenBy::Walk)
            }
        };
        #[expect(clippy::indexing_slicing, reason = "compiled with one cell per version of this very service")]
        self.choice(cells[index], index, by)
    }

    /// [`Matched::choose`] with forced version and key taken from the request as the service is set up.
    pub fn choose_for(&self, headers: &HeaderMap, client: IpAddr, sequence: &mut SplitSequence) -> VersionChoice<'t> {
        let service = self.service;
        let forced = service.forced_version_header().and_then(|name| headers.get(name)?.to_str().ok());
        let key = service.sticky().and_then(|sticky| sticky::key(sticky, headers, client));
        self.choose(forced, key.as_ref().map(sticky::StickyKey::as_bytes), sequence)
    }

    fn choice(&self, cell: CellId, index: usize, by: ChosenBy) -> VersionChoice<'t> {
        #[expect(clippy::indexing_slicing, reason = "positions come from the compiled split or pin of this service")]
        let version = &self.service.fixed.versions[index];
        VersionChoice { cell, index, version, by }
    }
}

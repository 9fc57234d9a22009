//! What can be wrong with a specification, each problem with its place.

use std::{fmt, net::SocketAddr};

use homeostat_model::{RouteName, ServiceName, VersionName, outcome::THRESHOLDS_MAX};

use crate::{cell::CellsFull, path::PathFault};

/// Which part of the specification a problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A service; the index counts `GatewaySpec::services` and tells two of the same name apart.
    Service {
        /// Position in the specification.
        index: usize,
        /// Its name.
        name: ServiceName,
    },
    /// A route; the index counts `GatewaySpec::routes` and tells two of the same name apart.
    Route {
        /// Position in the specification.
        index: usize,
        /// Its name.
        name: RouteName,
    },
    /// The specification as a whole.
    Whole,
}

/// One problem of a specification.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}, {field}: {kind}")]
pub struct CompileProblem {
    /// Whose problem.
    pub place: Place,
    /// The field of the specification, in its own names: `split`, `hosts[1]`, `versions[0].endpoints[2]`.
    pub field: String,
    /// What is wrong.
    #[source]
    pub kind: ProblemKind,
}

/// What is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProblemKind {
    /// Two services share a name.
    #[error("another service has the same name; names are unique")]
    DuplicateService,
    /// Two routes share a name.
    #[error("another route has the same name; names are unique")]
    DuplicateRoute,
    /// A service without versions.
    #[error("a service needs at least one version")]
    NoVersions,
    /// Two versions of a service share a name.
    #[error("the service has another version `{0}`; names are unique within a service")]
    DuplicateVersion(VersionName),
    /// An address is listed twice.
    #[error("{0} is listed twice; once is enough, weights belong to versions")]
    DuplicateEndpoint(SocketAddr),
    /// Port 0 cannot be connected to.
    #[error("{0} has port 0, to which nobody can connect; name the port the version listens on")]
    EndpointPort(SocketAddr),
    /// The split does not fit.
    #[error(transparent)]
    Split(#[from] SplitProblem),
    /// More thresholds than counters.
    #[error("{0} latency thresholds on one service, {THRESHOLDS_MAX} are possible; let objectives share a threshold")]
    Thresholds(usize),
    /// Thresholds out of order, twice, or zero.
    #[error("latency thresholds must be greater than zero and strictly ascending")]
    ThresholdOrder,
    /// A time limit of zero.
    #[error("a time limit of zero would end every request; give it a length")]
    ZeroTimeout,
    /// A name no cookie can have.
    #[error("`{}` is no cookie name; letters, digits and !#$%&'*+-.^_`|~ are possible", .0.escape_debug())]
    CookieName(String),
    /// A route leads to a service that does not exist.
    #[error("there is no service `{service}`; there are: {known}")]
    UnknownService {
        /// What was asked for.
        service: ServiceName,
        /// What there is.
        known: Names,
    },
    /// A route is pinned to a version that its service does not have.
    #[error("service `{service}` has no version `{version}`; it has: {known}")]
    UnknownVersion {
        /// The service.
        service: ServiceName,
        /// What was asked for.
        version: VersionName,
        /// What there is.
        known: Names,
    },
    /// A host pattern that no host can have.
    #[error("`{}` is no host pattern: {fault}", host.escape_debug())]
    Host {
        /// As written.
        host: String,
        /// What is wrong with it.
        fault: HostFault,
    },
    /// A path pattern that no path can match.
    #[error("`{}` is no path pattern: {fault}", path.escape_debug())]
    Path {
        /// As written.
        path: String,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// A header condition with a value no header can have.
    #[error("`{}` cannot be a header value: control characters are not possible there", .0.escape_debug())]
    HeaderValue(String),
    /// Every request it could match goes to another route.
    #[error(
        "it can never match: route `{by}` takes all of its requests here; remove one of the two, or add conditions"
    )]
    Shadowed {
        /// The route that comes first.
        by: RouteName,
    },
    /// Cells ran out.
    #[error(transparent)]
    Cells(#[from] CellsFull),
}

/// Why a split does not fit its service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitProblem {
    /// No such service.
    #[error("there is no service `{0}`")]
    UnknownService(ServiceName),
    /// A version of the service has no weight.
    #[error("version `{0}` has no weight in the split; give it one, 0 % is possible")]
    Missing(VersionName),
    /// A weight for a version that the service does not have.
    #[error("the split names version `{0}`, which the service does not have")]
    Unknown(VersionName),
    /// A version is listed twice.
    #[error("the split names version `{0}` twice")]
    Twice(VersionName),
    /// The weights do not add up.
    #[error("the weights add up to {}%, they must add up to 100%", f64::from(*.basis_points) / 100.0)]
    Sum {
        /// What they add up to, in units of 0.01 %.
        basis_points: u32,
    },
}

/// What is wrong with a host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// Nothing was given.
    #[error("it is empty; leave the hosts out to match any host")]
    Empty,
    /// Longer than a DNS name.
    #[error("a host name has at most 253 characters, this one has {len}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Brackets without an IPv6 address, or a wildcard over addresses.
    #[error("brackets enclose one IPv6 address, without a wildcard")]
    Address,
    /// A port.
    #[error("leave the port out, hosts are compared without it (IPv6 addresses stand in brackets)")]
    Port,
    /// A star elsewhere than in front.
    #[error("a wildcard stands in front of a whole suffix only, as in `*.example.org`")]
    Wildcard,
    /// A character that host names do not have.
    #[error("`{}` is not possible in a host name; write international names in their xn-- form", found.escape_debug())]
    Character {
        /// The first such character.
        found: char,
    },
    /// An empty or overlong label, or one with a hyphen at its end.
    #[error("`{label}` is no label of a name: 1 to 63 characters, no hyphen first or last")]
    Label {
        /// The label.
        label: String,
    },
}

/// Names to choose from, for messages: shows ten of them at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Names {
    pub(crate) fn of<T: ToString>(names: impl IntoIterator<Item = T>) -> Self {
        Self(names.into_iter().map(|name| name.to_string()).collect())
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 10;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, name) in self.0.iter().take(SHOWN_MAX).enumerate() {
            write!(f, "{}`{name}`", if index == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { name, .. } => write!(f, "service `{name}`"),
            Self::Route { name, .. } => write!(f, "route `{name}`"),
            Self::Whole => f.write_str("configuration"),
        }
    }
}

//! What a route table is compiled from: checked, plain data.

use std::net::SocketAddr;

use homeostat_model::{RouteName, ServiceName, Span, VersionName, action::Split};

/// All routes and services of one configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GatewaySpec {
    /// Services, one entry a name.
    pub services: Vec<ServiceSpec>,
    /// Routes, in the order of the documents: among equally specific routes the earlier one wins.
    pub routes: Vec<RouteSpec>,
}

/// A service, its versions and how traffic is divided among them.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// Its versions, ascending by name, at least one.
    pub versions: Vec<VersionSpec>,
    /// The share of each version; same names as `versions`, sum 100 %.
    pub split: Split,
    /// What keeps a client on its version; requests without the key are split one by one, smoothly.
    pub sticky: Option<Sticky>,
    /// A request header whose value names the version to use; off unless configured. Unknown values are ignored.
    pub forced_version_header: Option<http::HeaderName>,
    /// Latency thresholds of all objectives and rollouts on this service, strictly ascending,
    /// at most [`homeostat_model::outcome::THRESHOLDS_MAX`].
    pub thresholds: Vec<Span>,
    /// Time limits of its requests.
    pub timeouts: Timeouts,
}

/// One version: who serves it.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionSpec {
    /// Its name.
    pub name: VersionName,
    /// Where it runs; may be empty, then its requests are refused with 503.
    pub endpoints: Vec<Endpoint>,
}

/// One upstream address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// IP address and port.
    pub address: SocketAddr,
    /// What it speaks.
    pub protocol: UpstreamProtocol,
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, prior knowledge.
    H2c,
}

/// What the sticky key of a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// The value of this cookie.
    Cookie(String),
    /// The value of this header.
    Header(http::HeaderName),
    /// The client's IP address.
    ClientAddress,
}

/// Time limits of a request towards its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the TCP connection stands.
    pub connect: Span,
    /// From the request's last byte to the answer's first.
    pub first_byte: Span,
    /// Longest silence within a body, in either direction.
    pub idle: Span,
    /// The whole request. Does not apply once a connection is upgraded.
    pub total: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Span::from_secs(1),
            first_byte: Span::from_secs(30),
            idle: Span::from_secs(60),
            total: Span::from_mins(10),
        }
    }
}

/// One route: what it matches and where it leads.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    /// Its name.
    pub name: RouteName,
    /// Hosts it serves; any host when empty.
    pub hosts: Vec<HostMatch>,
    /// Which paths.
    pub path: PathMatch,
    /// Methods; any when empty.
    pub methods: Vec<http::Method>,
    /// All of these must hold.
    pub headers: Vec<HeaderMatch>,
    /// Where it leads.
    pub service: ServiceName,
    /// Always this version, whatever the split says.
    pub version: Option<VersionName>,
}

/// A host pattern; compared without regard to case and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// Exactly this name.
    Exact(String),
    /// `*.example.org`: any name with one or more labels before this suffix (stored as `example.org`).
    Wildcard(String),
}

/// A path pattern; the query never takes part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// Exactly this path.
    Exact(String),
    /// This path and everything below it, by whole segments: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(String),
}

/// A condition on one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Which header.
    pub name: http::HeaderName,
    /// What it must be.
    pub value: HeaderValueMatch,
}

/// What a header must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValueMatch {
    /// There, with whatever value.
    Present,
    /// Exactly this.
    Exact(String),
}

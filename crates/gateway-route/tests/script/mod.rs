//! Specifications and requests as text, for tests.
//!
//! ```text
//! service NAME v1=90 v2=10@127.0.0.1:80,… [force=HEADER] [sticky=cookie:NAME|header:NAME|address] [thresholds=5,10] [timeout=MS]
//! route NAME [host=a,*.b] [path=/exact|prefix=/p] [method=GET,POST] [header=NAME[:VALUE]]… -> SERVICE[@VERSION]
//! ```
//! A version without `=` has no weight. A request is `METHOD HOST/PATH [NAME:VALUE]…`.

use homeostat_gateway_route::{
    Matched, RouteTable,
    spec::{
        Endpoint, GatewaySpec, HeaderMatch, HeaderValueMatch, HostMatch, PathMatch, RouteSpec, ServiceSpec, Sticky,
        Timeouts, UpstreamProtocol, VersionSpec,
    },
};
use homeostat_model::{RouteName, ServiceName, Span, VersionName, Weight};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub(crate) fn spec(text: &str) -> GatewaySpec {
    let mut spec = GatewaySpec::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(' ') {
            Some(("service", rest)) => spec.services.push(service(rest)),
            Some(("route", rest)) => spec.routes.push(route(rest)),
            _ => panic!("neither service nor route: {line}"),
        }
    }
    spec
}

pub(crate) fn find<'t>(table: &'t RouteTable, request: &str) -> Option<Matched<'t>> {
    let mut words = request.split_whitespace();
    let method: Method = words.next().unwrap().parse().unwrap();
    let target = words.next().unwrap();
    let (host, path) = target.split_at(target.find(['/', '*']).unwrap());
    let headers: HeaderMap = words
        .map(|word| word.split_once(':').unwrap())
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect();
    table.find(&method, host, path, &headers)
}

fn service(text: &str) -> ServiceSpec {
    let mut words = text.split_whitespace();
    let mut service = ServiceSpec {
        name: ServiceName::new(words.next().unwrap()).unwrap(),
        versions: Vec::new(),
        split: Vec::new(),
        sticky: None,
        forced_version_header: None,
        thresholds: Vec::new(),
        timeouts: Timeouts::default(),
    };
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("force", header) => service.forced_version_header = Some(header.parse().unwrap()),
            ("sticky", what) => service.sticky = Some(sticky(what)),
            ("thresholds", list) => {
                service.thresholds = list.split(',').map(|ms| Span::from_ms(ms.parse().unwrap())).collect();
            }
            ("timeout", ms) => service.timeouts.idle = Span::from_ms(ms.parse().unwrap()),
            (name, share) => version(&mut service, name, share),
        }
    }
    service
}

fn version(service: &mut ServiceSpec, name: &str, share: &str) {
    let name = VersionName::new(name).unwrap();
    let (percent, endpoints) = share.split_once('@').unwrap_or((share, ""));
    if !percent.is_empty() {
        service.split.push((name.clone(), Weight::from_percent(percent.parse().unwrap()).unwrap()));
    }
    let endpoint = |address: &str| Endpoint { address: address.parse().unwrap(), protocol: UpstreamProtocol::Http1 };
    let endpoints = endpoints.split(',').filter(|address| !address.is_empty()).map(endpoint).collect();
    service.versions.push(VersionSpec { name, endpoints });
}

fn sticky(text: &str) -> Sticky {
    match text.split_once(':') {
        Some(("cookie", name)) => Sticky::Cookie(name.to_owned()),
        Some(("header", name)) => Sticky::Header(name.parse().unwrap()),
        _ => Sticky::ClientAddress,
    }
}

fn route(text: &str) -> RouteSpec {
    let (matches, target) = text.split_once("->").unwrap();
    let (service, version) = match target.trim().split_once('@') {
        Some((service, version)) => (service, Some(VersionName::new(version).unwrap())),
        None => (target.trim(), None),
    };
    let mut words = matches.split_whitespace();
    let mut route = RouteSpec {
        name: RouteName::new(words.next().unwrap()).unwrap(),
        hosts: Vec::new(),
        path: PathMatch::Prefix("/".to_owned()),
        methods: Vec::new(),
        headers: Vec::new(),
        service: ServiceName::new(service).unwrap(),
        version,
    };
    for word in words {
        match word.split_once('=') {
            Some(("host", hosts)) => route.hosts = hosts.split(',').map(host).collect(),
            Some(("path", path)) => route.path = PathMatch::Exact(path.to_owned()),
            Some(("prefix", path)) => route.path = PathMatch::Prefix(path.to_owned()),
            Some(("method", methods)) => route.methods = methods.split(',').map(|m| m.parse().unwrap()).collect(),
            Some(("header", condition)) => route.headers.push(header(condition)),
            _ => panic!("unknown word {word}"),
        }
    }
    route
}

fn host(text: &str) -> HostMatch {
    match text.strip_prefix("*.") {
        Some(suffix) => HostMatch::Wildcard(suffix.to_owned()),
        None => HostMatch::Exact(text.to_owned()),
    }
}

fn header(text: &str) -> HeaderMatch {
    let (name, value) = match text.split_once(':') {
        Some((name, value)) => (name, HeaderValueMatch::Exact(value.to_owned())),
        None => (text, HeaderValueMatch::Present),
    };
    HeaderMatch { name: name.parse().unwrap(), value }
}

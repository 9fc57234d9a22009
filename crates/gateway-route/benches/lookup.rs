//! What the decisions of one request cost: route among 200, then version by key or by walk, then endpoint of 16.
//!
//! `cargo bench -p homeostat-gateway-route` prints nanoseconds per call, best and median of 15 rounds, and what a new
//! split costs with 1,000 services.

use std::{hint::black_box, time::Instant};

use homeostat_gateway_route::{
    CellRegistry, RouteTable, SplitSequence,
    balance::{self, EndpointState},
    spec::{GatewaySpec, HostMatch, PathMatch, RouteSpec, ServiceSpec, Sticky, Timeouts, VersionSpec},
};
use homeostat_model::{RouteName, ServiceName, Timestamp, VersionName, Weight};
use http::{HeaderMap, HeaderValue, Method, header::COOKIE};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let table = compile(20, 200)?;
    let (method, client) = (Method::GET, "192.0.2.1".parse()?);
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::from_static("theme=dark; lang=en; session=3f2a9c1e77"));
    let none = HeaderMap::new();
    let paths: Vec<String> = (0..200).map(|r| format!("/api/v1/resource{r}/items/42")).collect();
    let mut turn = paths.iter().cycle();
    let mut sequence = SplitSequence::new(0);

    measure("find among 200 routes", || {
        turn.next()
            .and_then(|path| table.find(&method, "shop.example.org:8080", path, &none))
            .map(|m| m.service().name())
    });
    measure("find + choose by walk", || {
        let matched = turn.next().and_then(|path| table.find(&method, "shop.example.org", path, &none))?;
        Some(matched.choose(None, None, &mut sequence).cell)
    });
    measure("find + choose by cookie", || {
        let matched = turn.next().and_then(|path| table.find(&method, "shop.example.org", path, &headers))?;
        Some(matched.choose_for(&headers, client, &mut sequence).cell)
    });
    let mut states = [EndpointState::default(); 16];
    for (in_flight, state) in (0..5).cycle().zip(&mut states) {
        state.in_flight = in_flight;
    }
    let mut random = 0_u64;
    measure("one endpoint of 16", || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        balance::choose(&states, None, Timestamp::from_unix_ms(0), random)
    });

    let wide = compile(1_000, 1_000)?;
    let (service, split) = (ServiceName::new("service7")?, split(5_000)?);
    measure("new split, 1,000 services", || wide.with_split(&service, &split).ok().map(|table| table.cells().len()));
    Ok(())
}

/// Prints the best and the median of 15 rounds of at least 10 ms each.
fn measure<T>(what: &str, mut call: impl FnMut() -> T) {
    let mut time = |calls: u32| {
        let begin = Instant::now();
        (0..calls).for_each(|_| drop(black_box(call())));
        begin.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
    };
    let calls = (1e7 / time(1_000)).max(100.0) as u32;
    let mut rounds: Vec<f64> = (0..15).map(|_| time(calls)).collect();
    rounds.sort_by(f64::total_cmp);
    let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
    #[expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]
    {
        println!("{what:<28} best {:>9.1} ns   median {:>9.1} ns", at(0), at(7));
    }
}

fn split(canary: u16) -> Result<Vec<(VersionName, Weight)>, Failure> {
    let weight = Weight::from_basis_points;
    Ok(vec![(VersionName::new("v1")?, weight(10_000 - canary)?), (VersionName::new("v2")?, weight(canary)?)])
}

fn compile(services: usize, routes: usize) -> Result<RouteTable, Failure> {
    let mut spec = GatewaySpec::default();
    for index in 0..services {
        let version = |name: &str| VersionName::new(name).map(|name| VersionSpec { name, endpoints: Vec::new() });
        spec.services.push(ServiceSpec {
            name: ServiceName::new(&format!("service{index}"))?,
            versions: vec![version("v1")?, version("v2")?],
            split: split(500)?,
            sticky: Some(Sticky::Cookie("session".to_owned())),
            forced_version_header: None,
            thresholds: Vec::new(),
            timeouts: Timeouts::default(),
        });
    }
    for index in 0..routes {
        spec.routes.push(RouteSpec {
            name: RouteName::new(&format!("route{index}"))?,
            hosts: vec![HostMatch::Exact("shop.example.org".to_owned())],
            path: PathMatch::Prefix(format!("/api/v1/resource{index}")),
            methods: Vec::new(),
            headers: Vec::new(),
            service: ServiceName::new(&format!("service{}", index % services))?,
            version: None,
        });
    }
    RouteTable::compile(&spec, &mut CellRegistry::new()).map_err(|problems| format!("{problems:?}").into())
}

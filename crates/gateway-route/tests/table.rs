//! Route tables from small scripts: which route and version a request gets, and what is refused with which words.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them when it updates a text")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::format_collect,
    reason = "short helpers of tests, which may fail loudly"
)]

mod script;

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use homeostat_gateway_route::{BUCKETS, CellRegistry, ChosenBy, RouteTable, SplitSequence};
use homeostat_model::{ServiceName, VersionName, Weight, action::Split, outcome::CELLS_MAX};
use http::{HeaderMap, HeaderName, HeaderValue};
use script::{find, spec};

fn compile(text: &str) -> RouteTable {
    match RouteTable::compile(&spec(text), &mut CellRegistry::new()) {
        Ok(table) => table,
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// Each request: method, host and path, headers; the answer is the route's name.
fn check_routes(text: &str, requests: &str, expected: &Expect) {
    let table = compile(text);
    let answers = requests.lines().map(str::trim).filter(|line| !line.is_empty()).map(|request| {
        let route = find(&table, request).map_or("-", |matched| matched.route().name().as_str());
        format!("{request:<44} {route}\n")
    });
    expected.assert_eq(&answers.collect::<String>());
}

fn check_problems(text: &str, expected: &Expect) {
    let mut cells = CellRegistry::new();
    let problems = RouteTable::compile(&spec(text), &mut cells).err().unwrap_or_default();
    expected.assert_eq(&problems.iter().map(|problem| format!("{problem}\n")).collect::<String>());
    assert!(problems.is_empty() || cells.is_empty(), "a refused specification takes no cells");
}

#[test]
fn the_most_specific_route_wins() {
    check_routes(
        "service s v1=100
         route any                                  -> s
         route api        prefix=/api               -> s
         route api-v2     prefix=/api/v2/           -> s
         route health     path=/api/health          -> s
         route write      prefix=/api method=POST,PUT -> s
         route beta       prefix=/api header=x-beta -> s
         route beta-1     prefix=/api header=x-beta:1 -> s
         route both       prefix=/api header=x-beta header=x-team:a -> s
         route shop       host=shop.example.org     -> s
         route shop-admin host=shop.example.org prefix=/admin header=x-role:root -> s
         route wild       host=*.example.org prefix=/w -> s
         route eu         host=*.eu.example.org     -> s",
        "GET x/
         GET x/apix
         GET x/api
         GET x/api/
         GET x/api//v2
         GET x/api/v2
         GET x/api/v2/x
         GET x/api/v20
         GET x/api/health
         GET x/api/health/
         GET x/API
         GET x/%61pi
         POST x/api
         POST x/api x-beta:1 x-team:a
         GET x/api x-beta:0
         GET x/api x-beta:1
         GET x/api x-beta:1 x-team:a
         GET x/api/v2 x-beta:1
         GET Shop.Example.org:8080/api
         GET shop.example.org/admin
         GET shop.example.org/admin x-role:root
         GET cart.example.org/w/1
         GET cart.example.org/api
         GET example.org/w
         GET a.b.eu.example.org/w",
        &expect![[r#"
            GET x/                                       any
            GET x/apix                                   any
            GET x/api                                    api
            GET x/api/                                   api
            GET x/api//v2                                api
            GET x/api/v2                                 api-v2
            GET x/api/v2/x                               api-v2
            GET x/api/v20                                api
            GET x/api/health                             health
            GET x/api/health/                            api
            GET x/API                                    any
            GET x/%61pi                                  any
            POST x/api                                   write
            POST x/api x-beta:1 x-team:a                 write
            GET x/api x-beta:0                           beta
            GET x/api x-beta:1                           beta-1
            GET x/api x-beta:1 x-team:a                  both
            GET x/api/v2 x-beta:1                        api-v2
            GET Shop.Example.org:8080/api                shop
            GET shop.example.org/admin                   shop
            GET shop.example.org/admin x-role:root       shop-admin
            GET cart.example.org/w/1                     wild
            GET cart.example.org/api                     api
            GET example.org/w                            any
            GET a.b.eu.example.org/w                     eu
        "#]],
    );
}

#[test]
fn without_a_fitting_route_there_is_none() {
    check_routes(
        "service s v1=100
         route a host=a.example prefix=/a -> s
         route b path=/b method=GET -> s",
        "GET a.example/a/1
         GET a.example/b
         GET b.example/a
         POST x/b
         GET x/b/
         GET /b
         OPTIONS x*",
        &expect![[r#"
            GET a.example/a/1                            a
            GET a.example/b                              b
            GET b.example/a                              -
            POST x/b                                     -
            GET x/b/                                     -
            GET /b                                       b
            OPTIONS x*                                   -
        "#]],
    );
}

#[test]
fn all_problems_come_at_once_with_their_place() {
    check_problems(
        "service s v1=60 v2=50
         service s v1=100
         service empty
         service odd v1=100 v1=0 v3 sticky=cookie:a=b thresholds=5,5,7,8,9 timeout=0
         service ports v1=100@127.0.0.1:0,127.0.0.1:1,127.0.0.1:1
         route a -> nowhere
         route a host=a..b,*.c:1 path=x -> ports@v9
         route b host=*,[::1,bücher.example path=/a/../b -> ports
         route c prefix=/a?b=c header=x-a:\u{7} -> ports
         route d prefix=/%zz -> ports",
        &expect![[r#"
            service `s`, split: the weights add up to 110%, they must add up to 100%
            service `s`, name: another service has the same name; names are unique
            service `empty`, versions: a service needs at least one version
            service `odd`, thresholds: 5 latency thresholds on one service, 4 are possible; let objectives share a threshold
            service `odd`, thresholds: latency thresholds must be greater than zero and strictly ascending
            service `odd`, sticky: `a=b` is no cookie name; letters, digits and !#$%&'*+-.^_`|~ are possible
            service `odd`, timeouts.idle: a time limit of zero would end every request; give it a length
            service `odd`, versions[1].name: the service has another version `v1`; names are unique within a service
            service `odd`, split: the split names version `v1` twice
            service `odd`, split: version `v3` has no weight in the split; give it one, 0 % is possible
            service `ports`, versions[0].endpoints[0]: 127.0.0.1:0 has port 0, to which nobody can connect; name the port the version listens on
            service `ports`, versions[0].endpoints[2]: 127.0.0.1:1 is listed twice; once is enough, weights belong to versions
            route `a`, service: there is no service `nowhere`; there are: `empty`, `odd`, `ports`, `s`
            route `a`, name: another route has the same name; names are unique
            route `a`, hosts[0]: `a..b` is no host pattern: `` is no label of a name: 1 to 63 characters, no hyphen first or last
            route `a`, hosts[1]: `*.c:1` is no host pattern: leave the port out, hosts are compared without it (IPv6 addresses stand in brackets)
            route `a`, path: `x` is no path pattern: it must begin with `/`
            route `a`, version: service `ports` has no version `v9`; it has: `v1`
            route `b`, hosts[0]: `*` is no host pattern: a wildcard stands in front of a whole suffix only, as in `*.example.org`
            route `b`, hosts[1]: `[::1` is no host pattern: `[` is not possible in a host name; write international names in their xn-- form
            route `b`, hosts[2]: `bücher.example` is no host pattern: `ü` is not possible in a host name; write international names in their xn-- form
            route `b`, path: `/a/../b` is no path pattern: it has a `.` or `..` segment; write the path that it stands for
            route `c`, path: `/a?b=c` is no path pattern: `?` is not possible in a path; write it as a percent-escape (the query never takes part)
            route `c`, headers[0].value: `\u{7}` cannot be a header value: control characters are not possible there
            route `d`, path: `/%zz` is no path pattern: `%` must be followed by two hexadecimal digits other than 00
        "#]],
    );
}

#[test]
fn routes_that_can_never_match_are_named_with_the_one_that_takes_their_place() {
    check_problems(
        "service s v1=100
         route first  prefix=/a                       -> s
         route again  prefix=/a/                      -> s
         route exact  path=/a                         -> s
         route get    prefix=/a method=GET            -> s
         route get-2  prefix=/a method=GET header=x-a:1 -> s
         route get-3  prefix=/a method=GET,POST header=x-a -> s
         route get-4  prefix=/a method=GET header=x-a:1 -> s
         route hosts  host=a.example,A.example,*.example prefix=/a -> s
         route host-2 host=b.example,*.Example prefix=/a -> s",
        &expect![[r#"
            route `again`, path: it can never match: route `first` takes all of its requests here; remove one of the two, or add conditions
            route `get-4`, path: it can never match: route `get-2` takes all of its requests here; remove one of the two, or add conditions
            route `hosts`, hosts[1]: it can never match: route `hosts` takes all of its requests here; remove one of the two, or add conditions
            route `host-2`, hosts[1]: it can never match: route `hosts` takes all of its requests here; remove one of the two, or add conditions
        "#]],
    );
}

#[test]
fn a_table_that_needs_too_many_cells_is_refused_with_a_remedy() {
    const _: () = assert!(CELLS_MAX < 50 * 82);
    let versions: String = (0..50).map(|v| format!(" v{v}={}", if v == 0 { 100 } else { 0 })).collect();
    let routes: String = (0..82).map(|r| format!("\nroute r{r} path=/{r} -> s")).collect();
    check_problems(
        &format!("service s{versions}{routes}"),
        &expect![[r#"
        configuration, routes: the configuration needs 4100 more cells (route x version), but 0 of 4096 are taken in this process; use fewer routes or versions, or restart to release the cells of earlier configurations
    "#]],
    );
}

#[test]
fn cells_are_dense_and_outlive_a_recompile() {
    let mut cells = CellRegistry::new();
    let listed = |text: &str, cells: &mut CellRegistry| -> Vec<String> {
        let table = RouteTable::compile(&spec(text), cells).unwrap();
        let show = |(id, key): &(homeostat_model::CellId, homeostat_model::CellKey)| {
            format!("{} {}/{}", id.0, key.route, key.version)
        };
        table.cells().iter().map(show).collect()
    };
    let first = listed("service s v1=90 v2=10\nroute a -> s\nroute b path=/b -> s@v2", &mut cells);
    assert_eq!(first, ["0 a/v1", "1 a/v2", "2 b/v2"]);
    let second = listed("service s v2=100 v3=0\nroute c path=/c -> s\nroute a -> s", &mut cells);
    assert_eq!(second, ["1 a/v2", "3 c/v2", "4 c/v3", "5 a/v3"]);
    assert_eq!(cells.len(), 6);
}

fn split(weights: &[(&str, u16)]) -> Split {
    let pair = |(name, bp): &(&str, u16)| (VersionName::new(name).unwrap(), Weight::from_basis_points(*bp).unwrap());
    weights.iter().map(pair).collect()
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

#[test]
fn a_new_split_changes_one_service_and_shares_the_rest() {
    let before = compile("service s v1=90 v2=10\nservice t v1=100\nroute a -> s\nroute b path=/b -> t");
    let after = before.with_split(&service("s"), &split(&[("v2", 0), ("v1", 10_000)])).unwrap();
    assert_eq!(after.split(&service("s")), Some(&split(&[("v1", 10_000), ("v2", 0)])));
    assert_eq!(before.split(&service("s")), Some(&split(&[("v1", 9_000), ("v2", 1_000)])), "the old table stays");
    assert!(std::sync::Arc::ptr_eq(&before.services()[1], &after.services()[1]));
    assert!(std::sync::Arc::ptr_eq(&before.routes()[0], &after.routes()[0]));
    assert!(before.has_same_endpoints(&after));
    assert!(!before.has_same_endpoints(&compile("service s v1=90 v2=10\nroute a -> s")), "another compilation");
    for (name, weights, words) in [
        ("s", vec![("v1", 10_000)], "version `v2` has no weight in the split; give it one, 0 % is possible"),
        ("s", vec![("v1", 9_000), ("v2", 999)], "the weights add up to 99.99%, they must add up to 100%"),
        ("x", vec![], "there is no service `x`"),
    ] {
        assert_eq!(before.with_split(&service(name), &split(&weights)).unwrap_err().to_string(), words);
    }
}

/// Counts (version, reason) over many requests with keys `0..requests`, or without keys.
fn choices(table: &RouteTable, request: &str, forced: Option<&str>, keyed: bool) -> BTreeMap<String, u32> {
    let matched = find(table, request).unwrap();
    let mut sequence = SplitSequence::new(0);
    let mut counts = BTreeMap::new();
    for user in 0..u32::from(BUCKETS) {
        let key = user.to_le_bytes();
        let choice = matched.choose(forced, keyed.then_some(&key), &mut sequence);
        *counts.entry(format!("{} {:?} {}", choice.version.name(), choice.by, choice.cell.0)).or_insert(0) += 1;
    }
    counts
}

#[test]
fn weight_zero_means_nothing_unless_the_request_or_the_route_names_the_version() {
    let table = compile("service s v1=100 v2=0 force=x-version\nroute a -> s\nroute b path=/b -> s@v2");
    let only = |what: &str| BTreeMap::from([(what.to_owned(), u32::from(BUCKETS))]);
    assert_eq!(choices(&table, "GET x/", None, false), only("v1 Walk 0"));
    assert_eq!(choices(&table, "GET x/", None, true), only("v1 Key 0"));
    assert_eq!(choices(&table, "GET x/", Some("v2"), true), only("v2 Force 1"));
    assert_eq!(choices(&table, "GET x/", Some("v3"), false), only("v1 Walk 0"));
    assert_eq!(choices(&table, "GET x/b", None, false), only("v2 Pin 2"));
    assert_eq!(
        choices(&table, "GET x/b", Some("v1"), true),
        only("v2 Pin 2"),
        "the route's version outranks the header"
    );
}

#[test]
fn sticky_clients_stay_unless_their_version_loses_its_share() {
    let table = compile("service s v1=90 v2=10\nroute a -> s");
    let more = table.with_split(&service("s"), &split(&[("v1", 8_000), ("v2", 2_000)])).unwrap();
    let none = table.with_split(&service("s"), &split(&[("v1", 10_000), ("v2", 0)])).unwrap();
    let mut sequence = SplitSequence::new(0);
    let mut version = |table: &RouteTable, user: u32| {
        find(table, "GET x/").unwrap().choose(None, Some(&user.to_le_bytes()), &mut sequence).index
    };
    let mut moved = 0;
    for user in 0..20_000 {
        let (before, after) = (version(&table, user), version(&more, user));
        assert!(before == after || (before, after) == (0, 1), "nobody leaves the version that grows");
        moved += u32::from(before != after);
        assert_eq!(version(&none, user), 0);
    }
    // One tenth of 20,000, with a standard deviation of 42.
    assert!((1_790..2_210).contains(&moved), "{moved}");
}

#[test]
fn forced_version_and_key_are_read_as_the_service_is_set_up() {
    let table = compile(
        "service open v1=50 v2=50 force=x-version sticky=cookie:id
         service shut v1=50 v2=50 sticky=header:x-user
         route a -> open
         route b path=/b -> shut",
    );
    let client = "192.0.2.1".parse().unwrap();
    let by = |request: &str, name: &'static str, value: &'static str| {
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
        find(&table, request).unwrap().choose_for(&headers, client, &mut SplitSequence::new(0)).by
    };
    assert_eq!(by("GET x/", "x-version", "v2"), ChosenBy::Force);
    assert_eq!(by("GET x/", "x-version", "v3"), ChosenBy::Walk);
    assert_eq!(by("GET x/", "cookie", "a=b; id=7"), ChosenBy::Key);
    assert_eq!(by("GET x/b", "x-version", "v2"), ChosenBy::Walk);
    assert_eq!(by("GET x/b", "x-user", "7"), ChosenBy::Key);
}

//! Random queries over random data, answered by `homeostat server` and by the distribution's Prometheus, which are fed the
//! same remote write. Every difference fails the test, but those that [`rules`] names with a reason.
//!
//! A run prints its seed. `HOMEOSTAT_DIFFERENTIAL="SEED ROUNDS QUERIES"` takes one back, or runs more: each round has data
//! of its own, and each query of a round is asked once at an instant and once over a range.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail by panicking, and say when they have to skip; a seed comes back by the environment"
)]

#[path = "differential/compare.rs"]
mod compare;
#[path = "differential/data.rs"]
mod data;
#[path = "differential/grammar.rs"]
mod grammar;
#[path = "common/metrics_server.rs"]
mod metrics_server;
#[path = "differential/peer.rs"]
mod peer;
#[path = "differential/rules.rs"]
mod rules;

use std::{collections::BTreeMap, fmt::Write as _};

use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::Value;

use compare::difference;
use data::{END_MS, START_MS};
use grammar::Grammar;
use metrics_server::{Client, MetricsServer};
use peer::Prometheus;

/// Differences that are printed; the rest is counted.
const SHOWN_MAX: usize = 20;

/// What a run consists of. As it stands, some twenty seconds on two cores.
struct Plan {
    seed: u64,
    rounds: u64,
    queries: u64,
}

impl Plan {
    fn of_environment() -> Self {
        let given = std::env::var("HOMEOSTAT_DIFFERENTIAL").unwrap_or_default();
        let mut numbers = given.split_whitespace().map(|number| number.parse::<u64>().expect("a number"));
        let mut next = |default| numbers.next().unwrap_or(default);
        Self { seed: next(20_261_121), rounds: next(4), queries: next(800) }
    }
}

#[tokio::test]
async fn answers_are_those_of_prometheus() {
    let plan = Plan::of_environment();
    println!("HOMEOSTAT_DIFFERENTIAL=\"{} {} {}\"", plan.seed, plan.rounds, plan.queries);
    let (mut asked, mut failed, mut explained) = (0_u64, 0_u64, BTreeMap::<&str, u64>::new());
    let (mut differences, mut shown) = (0, String::new());
    for round in 0..plan.rounds {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(plan.seed + round);
        let Some(pair) = Pair::start().await else { return };
        let mut pair = pair;
        for body in data::requests(&mut rng) {
            pair.write(body).await;
        }
        for _ in 0..plan.queries {
            let query = Grammar::new(&mut rng).query();
            for path in [instant(&mut rng), range(&mut rng)] {
                let (ours, theirs) = pair.ask(&path, &query).await;
                asked += 1;
                failed += u64::from(theirs["status"] == "error");
                let Some(difference) = difference(&ours, &theirs) else { continue };
                if let Some(rule) = rules::explains(&query, &ours) {
                    *explained.entry(rule).or_default() += 1;
                    continue;
                }
                differences += 1;
                if differences <= SHOWN_MAX {
                    writeln!(shown, "seed {} {path} {query}\n  {difference}", plan.seed + round).expect("a text");
                }
            }
        }
    }
    println!("{asked} answers compared, {failed} of them errors of both; explained: {explained:?}");
    assert_eq!(differences, 0, "different answers:\n{shown}");
}

fn instant(rng: &mut Xoshiro256PlusPlus) -> String {
    let at_ms = rng.random_range(START_MS / 1000..END_MS / 1000) * 1000 + 500;
    format!("/api/v1/query?time={}.5", at_ms / 1000)
}

fn range(rng: &mut Xoshiro256PlusPlus) -> String {
    let start = rng.random_range(START_MS / 1000..END_MS / 1000);
    let steps = rng.random_range(1..12_i64);
    let step = [10, 30, 60, 120][rng.random_range(0..4_usize)];
    format!("/api/v1/query_range?start={start}.5&end={}.5&step={step}", start + steps * step)
}

/// Bytes of a query as a URL carries them.
fn escaped(query: &str) -> String {
    let mut out = String::with_capacity(query.len() * 3);
    for byte in query.bytes() {
        write!(out, "%{byte:02X}").expect("a text");
    }
    out
}

/// Both servers.
struct Pair {
    ours: Client,
    theirs: Client,
    _server: MetricsServer,
    _prometheus: Prometheus,
    _dirs: [tempfile::TempDir; 2],
}

impl Pair {
    async fn start() -> Option<Self> {
        let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
        let prometheus = Prometheus::start(dirs[1].path())?;
        // What Prometheus 2 does not know: names that go at the end of a query.
        let flags = ["--disable-feature", "promql-delayed-name-removal"];
        let server = MetricsServer::start_with(dirs[0].path(), &flags);
        let theirs = Client::connect(prometheus.address).await.expect("it listens");
        Some(Self { ours: server.client().await, theirs, _server: server, _prometheus: prometheus, _dirs: dirs })
    }

    async fn write(&mut self, body: bytes::Bytes) {
        self.ours.written(body.clone()).await;
        self.theirs.written(body).await;
    }

    async fn ask(&mut self, path: &str, query: &str) -> (Value, Value) {
        let escaped = escaped(query);
        // What has another name in Prometheus 2.
        let older = self::escaped(&query.replace("double_exponential_smoothing", "holt_winters"));
        let (_, ours) = self.ours.get(&format!("{path}&query={escaped}")).await;
        let (_, theirs) = self.theirs.get(&format!("{path}&query={older}")).await;
        (ours, theirs)
    }
}

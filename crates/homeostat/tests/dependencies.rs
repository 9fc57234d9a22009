//! A service that answers late because another one does, with real processes behind a real gateway: the incident names who is
//! slow, and not who is asked as well.

#![cfg(test)]

mod common;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use common::{around, explained, quick_objective, start, until, until_answered};
use homeostat::runtime::Running;
use homeostat_api::backend::Operation;
use homeostat_load::{Load, Mix, RunningLoad};
use homeostat_model::{
    Actor,
    explanation::{CauseKind, Hypothesis},
    incident::Incident,
    rollout::Verb,
};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

/// Later than any answer of the recommender on a machine that is merely busy, and sooner than those of a fault.
const LATE: &str = "1s";
/// How late a fault makes an answer.
const FAULT_MS: u32 = 1_500;
/// Requests a second. Those that are under way together fit what a shop asks at a time, 400.
const RATE: u32 = 200;
const _: () = assert!(RATE * FAULT_MS / 1_000 < 400);
/// How long the lock is held: at this rate there is a queue that lengthens by a request for each that is answered.
const LOCK_MS: u32 = 10;
const _: () = assert!(1_000 < RATE * LOCK_MS);
/// Calls to the recommender before anything breaks: more than a comparison needs.
const CALLS_BEFORE: u64 = 600;

/// A process of this binary; it ends with its standard input.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeostat"));
        command.args(arguments).arg("--until-stdin-closes").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("it said `{said}`"));
        Self { child, address: address.parse().unwrap() }
    }

    fn shop(version: &str, dir: &Path) -> Self {
        let data = dir.join(version).display().to_string();
        Self::start(&["shop", "--version-name", version, "--data-dir", &data])
    }

    fn order(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Switches a fault on.
    async fn suffer(&self, fault: &str, strength: u32) {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let path = format!("/faults/{fault}?strength={strength}");
        let request = Request::post(path).header("host", "shop").body(Full::<Bytes>::default()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        answer.into_body().collect().await.unwrap();
        driver.abort();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _gone_already = self.child.wait();
    }
}

/// The gateway with two versions of a shop that ask a recommender through it, and customers who look at the hot item.
struct World {
    shops: [Process; 2],
    recommender: Process,
    running: Running,
    load: RunningLoad,
    _dir: tempfile::TempDir,
}

impl World {
    /// Everything is well, and was so for a while.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut shops = ["v1", "v2"].map(|version| Process::shop(version, dir.path()));
        let recommender = Process::start(&["recommender"]);
        let running = start(dir.path(), &config(dir.path(), &shops, recommender.address)).await;
        let (_, gateway) = running.gateway_addresses().remove(0);
        for shop in &mut shops {
            shop.order(&format!("recommender {gateway}"));
        }
        let load = Load::new(gateway, f64::from(RATE), Mix::Get("/items/1".to_owned()));
        let load = load.spawn(CancellationToken::new()).unwrap();
        until_answered(&running, "recommender", CALLS_BEFORE).await;
        Self { shops, recommender, running, load, _dir: dir }
    }

    async fn end(self) {
        tokio::task::spawn_blocking(|| self.load.finish()).await.unwrap();
        let report = self.running.stop().await;
        assert!(report.journal_synced, "{report}");
    }
}

fn config(dir: &Path, [v1, v2]: &[Process; 2], recommender: SocketAddr) -> String {
    let services = format!(
        "apiVersion: homeostat/v1
kind: Service
metadata: {{name: shop}}
spec:
  versions: {{v1: 'http://{v1}', v2: 'http://{v2}'}}
  dependsOn: recommender
---
apiVersion: homeostat/v1
kind: Service
metadata: {{name: recommender}}
spec:
  versions: {{v1: 'http://{recommender}'}}
  objectives: {{latency: {{target: 99%, within: {LATE}}}}}
---
apiVersion: homeostat/v1
kind: Route
metadata: {{name: recommended}}
spec: {{service: recommender, path: /recommended}}
---
apiVersion: homeostat/v1
kind: Route
metadata: {{name: shop}}
spec: {{service: shop}}
---
apiVersion: homeostat/v1
kind: Rollout
metadata: {{name: shop-v2}}
spec: {{service: shop, canary: v2, steps: [10%, 100%]}}
",
        v1 = v1.address,
        v2 = v2.address,
    );
    let latency = "{thresholdMetric: {metricSource: {type: Homeostat, spec: {unit: ms}}}}";
    around(dir) + &services + &quick_objective("shop", latency, ", op: lte, value: 500")
}

fn hypotheses(incident: &Incident) -> &[Hypothesis] {
    &incident.explanation.as_ref().unwrap().hypotheses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_service_that_is_called_is_named_first() {
    let mut world = World::start().await;
    world.recommender.order(&format!("after {FAULT_MS}"));
    let incident = explained(&world.running, "shop").await;
    let Some(first) = hypotheses(&incident).first() else { panic!("nothing is named: {incident:#?}") };
    assert_eq!((first.kind, first.subject.as_str()), (CauseKind::Dependency, "recommender"), "{incident:#?}");
    let says =
        |line: &&str| line.starts_with("calls to recommender fail or are late: ") && line.ends_with(" 0.0 % before");
    assert!(first.evidence.iter().any(|line| line.supports && says(&line.text.as_str())), "{first:#?}");
    world.end().await;
}

/// A red herring: it is asked all the time, and is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_called_and_well_is_not_named() {
    let world = World::start().await;
    world.shops[0].suffer("lock", LOCK_MS).await;
    let incident = explained(&world.running, "shop").await;
    let named = hypotheses(&incident).iter().any(|cause| cause.kind == CauseKind::Dependency);
    assert!(!named, "{incident:#?}");
    world.end().await;
}

/// A release that asks for what takes long is what changed, though calls are late because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_whose_calls_alone_are_late_is_named_before_whom_it_calls() {
    let world = World::start().await;
    world.shops[1].suffer("dependency", FAULT_MS).await;
    until(&world.running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    let begin = Operation::Rollout { rollout: "shop-v2".parse().unwrap(), verb: Verb::Start };
    world.running.backend().operate(begin, Actor::new("test"), "a new release".to_owned()).await.unwrap();
    let incident = explained(&world.running, "shop").await;
    let Some(first) = hypotheses(&incident).first() else { panic!("nothing is named: {incident:#?}") };
    assert_eq!((first.kind, first.subject.as_str()), (CauseKind::Change, "v2"), "{incident:#?}");
    world.end().await;
}

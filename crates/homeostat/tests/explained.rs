//! An incident between two real programs ends with profiles of both sides and a cause.

#![cfg(test)]

mod common;

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use common::{PATIENCE, explained, start, until};
use homeostat_api::backend::Operation;
use homeostat_model::{
    Actor, IncidentId,
    explanation::{CauseKind, ProfileSide},
    profile::Profile,
    rollout::Verb,
};
use homeostat_wire::pprof::{self, PprofLimits};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Ten milliseconds of work for a Prometheus.
const QUERY: &str = "/api/v1/query?query=sum(count_over_time(vector(1)[4h:1s]))";

/// A Prometheus that serves queries and `/debug/pprof`; ended when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// `None` where it is not installed.
    async fn start(dir: &Path, timeout: &str) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        std::fs::write(dir.join("prometheus.yml"), "scrape_configs: []\n").unwrap();
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--query.timeout={timeout}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("SKIPPED: prometheus is not installed");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let deadline = Instant::now() + PATIENCE;
        while ask(address, "/-/ready").await != Some(200) {
            assert!(child.try_wait().unwrap().is_none() && Instant::now() < deadline, "prometheus is not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(Self { child, address })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

async fn ask(address: SocketAddr, path: &str) -> Option<u16> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header("host", "shop.test").body(Full::<Bytes>::default()).ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let status = answer.status().as_u16();
    drop(answer.into_body().collect().await);
    driver.abort();
    Some(status)
}

/// Asks one thing after the other until it is stopped.
fn load(address: SocketAddr, stop: &CancellationToken) -> JoinHandle<()> {
    let stop = stop.clone();
    tokio::spawn(async move {
        while !stop.is_cancelled() {
            if ask(address, QUERY).await.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    })
}

fn functions(profile: &Profile) -> Vec<String> {
    profile.rows().flat_map(|row| profile.stacks().walk(row.stack)).map(|frame| profile.frame_name(frame)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rolled_back_canary_is_explained_with_profiles_of_both_sides() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let Some(good) = Prometheus::start(dirs[0].path(), "1m").await else { return };
    // It gives up each query after a millisecond and answers 503.
    let bad = Prometheus::start(dirs[1].path(), "1ms").await.unwrap();
    let text = common::config(&dirs[2].path().join("data"), good.address, bad.address, None)
        .replace("  objectives:\n    availability: 99.9%\n", "  profiling: {window: 1s}\n");
    assert!(text.contains("profiling"));
    let running = start(dirs[2].path(), &text).await;
    let (_, gateway) = running.gateway_addresses().remove(0);
    until(&running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    let begin = Operation::Rollout { rollout: "shop-v2".parse().unwrap(), verb: Verb::Start };
    running.backend().operate(begin, Actor::new("test"), "a new release".to_owned()).await.unwrap();
    let stop = CancellationToken::new();
    // The canary gets nothing any more once it was taken back; what it does then, somebody else asks of it.
    let clients = [load(gateway, &stop), load(gateway, &stop), load(bad.address, &stop)];

    let incident = explained(&running, "shop").await;
    stop.cancel();
    let explanation = incident.explanation.clone().unwrap();
    let first = explanation.hypotheses.first().unwrap_or_else(|| panic!("{incident:#?}"));
    assert_eq!((first.kind, first.subject.as_str()), (CauseKind::Change, "v2"), "{explanation:#?}");
    assert!(
        first.evidence.iter().any(|line| line.supports && line.text.contains("of its requests failed")),
        "{first:#?}"
    );
    assert!(incident.milestones.iter().any(|milestone| milestone.what == "explained"));
    for (side, version, kind) in [
        (ProfileSide::Bad, "v2", "cpu"),
        (ProfileSide::Bad, "v2", "goroutine"),
        (ProfileSide::Good, "v1", "cpu"),
        (ProfileSide::Good, "v1", "goroutine"),
    ] {
        let same = |seen: &&homeostat_model::explanation::ProfileSeen| {
            (seen.side, seen.version.as_str(), seen.kind.as_str()) == (side, version, kind)
        };
        let seen = explanation.profiles.iter().find(same).unwrap_or_else(|| panic!("{:#?}", explanation.profiles));
        assert!(0 < seen.windows && 0 < seen.samples, "{seen:?}");
    }

    let profiles = profiles(&running).await;
    assert_eq!(profiles.len(), explanation.profiles.len());
    for kept in &profiles {
        let profile = pprof::read(&STANDARD.decode(&kept.pprof).unwrap(), &PprofLimits::default()).unwrap();
        let wanted = if kept.seen.kind == "cpu" { "promql." } else { "runtime.gopark" };
        assert!(functions(&profile).iter().any(|name| name.contains(wanted)), "{:?} holds no {wanted}", kept.seen);
    }
    for client in clients {
        client.await.unwrap();
    }
    let report = running.stop().await;
    assert!(report.journal_synced, "{report}");
}

/// Programs whose profiles are taken, and windows that are held of them.
fn profiled(running: &homeostat::runtime::Running) -> [u64; 2] {
    let mut metrics = String::new();
    running.backend().metrics(&mut metrics);
    ["homeostat_profiling_programs ", "homeostat_profiling_windows "].map(|name| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}in {metrics}"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_are_profiled_that_scraping_finds() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let Some(first) = Prometheus::start(dirs[0].path(), "1m").await else { return };
    let second = Prometheus::start(dirs[1].path(), "1m").await.unwrap();
    let dir = dirs[2].path();
    // The third is somebody else's, the fourth is of no version that there is.
    let scrape = dir.join("prometheus.yml");
    let jobs = format!(
        "scrape_configs:
- job_name: shop
  static_configs:
  - {{targets: ['{first}'], labels: {{version: v1}}}}
  - {{targets: ['{second}'], labels: {{version: v3}}}}
- job_name: pods
  static_configs:
  - {{targets: ['{second}'], labels: {{version: v2, service_name: shop}}}}
  - {{targets: ['{second}'], labels: {{version: v1, service_name: till}}}}
",
        first = first.address,
        second = second.address
    );
    std::fs::write(&scrape, jobs).unwrap();
    // Nobody answers at the endpoints of the versions.
    let [nobody, no_one] = ["127.0.0.1:9", "127.0.0.1:11"].map(|address| address.parse().unwrap());
    let profiling = "  profiling: {targets: scrape, window: 1s}\n";
    let text = common::config(&dir.join("data"), nobody, no_one, None)
        .replace("  objectives:\n    availability: 99.9%\n", profiling);
    assert!(text.contains(profiling));
    let metrics = format!("{{listen: '127.0.0.1:0', scrapeConfig: {}}}", scrape.display());
    let text = format!("{text}\n---\napiVersion: homeostat/v1\nkind: Metrics\nspec: {metrics}\n");
    let running = start(dir, &text).await;
    let deadline = Instant::now() + PATIENCE;
    // Of each program a window of processor time and one of goroutines, twice.
    while profiled(&running).into_iter().zip([2, 8]).any(|(is, wanted)| is < wanted) {
        assert!(Instant::now() < deadline, "waited in vain for profiles: {:?}", profiled(&running));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(profiled(&running)[0], 2, "and no others");
    let report = running.stop().await;
    assert!(report.journal_synced, "{report}");
}

/// The profiles kept with the first incident, once they are on disk.
async fn profiles(running: &homeostat::runtime::Running) -> Vec<homeostat_model::explanation::ProfileKept> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let black_box = running.backend().black_box(IncidentId(1)).await.ok().flatten().unwrap_or_default();
        if !black_box.profiles.is_empty() {
            return black_box.profiles;
        }
        assert!(Instant::now() < deadline, "waited in vain for profiles");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

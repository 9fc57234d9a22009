//! A real program, the real agent, and somebody who keeps what is shipped.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

use super::{load::load, recorder::Recorder};
use crate::{
    Failed,
    child::{Process, free_port},
    client,
};

/// Samples a second and CPU, the agent's default.
pub(crate) const HZ: u32 = 19;
/// Longest start of Prometheus.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Longest time that the agent takes to ship its last window.
const LAST_WINDOW_WITHIN: Duration = Duration::from_secs(30);
/// How often the agent is looked at: one that may not sample ends at once.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Profiles a Prometheus for so many minutes; each window becomes a file in `windows`.
pub(super) async fn capture(homeostat: &Path, minutes: u64, dir: &Path, windows: &Path) -> Result<(), Failed> {
    let recorder = Recorder::start(windows.to_owned()).await?;
    let at = free_port()?;
    let mut prometheus = prometheus(at, dir).await?;
    let mut agent = Process::start(homeostat, &arguments(&recorder, prometheus.pid()?, dir), dir.join("agent.log"))?;
    let mut loading = JoinSet::new();
    loading.spawn(load(at));
    for _ in 0..minutes * 60 / LOOK_EVERY.as_secs() {
        sleep(LOOK_EVERY).await;
        // An agent that the kernel refuses says why and ends.
        agent.running()?;
        prometheus.running()?;
    }
    loading.shutdown().await;
    agent.terminate(LAST_WINDOW_WITHIN).await?;
    recorder.stop()
}

/// A Prometheus that scrapes itself.
pub(crate) async fn prometheus(at: SocketAddr, dir: &Path) -> Result<Process, Failed> {
    let config = dir.join("prometheus.yml");
    let scrape = format!("[{{job_name: self, static_configs: [{{targets: ['{at}']}}]}}]");
    std::fs::write(&config, format!("global: {{scrape_interval: 2s}}\nscrape_configs: {scrape}\n"))?;
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
        format!("--web.listen-address={at}"),
    ];
    let process = Process::start(&PathBuf::from("prometheus"), &arguments, dir.join("prometheus.log"))?;
    client::ready(at, "/-/ready", START_WITHIN).await?;
    Ok(process)
}

/// As in production but for the budget: on a slow machine the agent would sample half as often.
fn arguments(recorder: &Recorder, pid: u32, dir: &Path) -> Vec<String> {
    let given = [
        ("--server", recorder.url()),
        ("--data", dir.join("agent").display().to_string()),
        ("--service", format!("prometheus=pid:{pid}")),
        ("--hz", HZ.to_string()),
        ("--cpu-budget", "100".to_owned()),
    ];
    let pairs = given.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    ["agent".to_owned()].into_iter().chain(pairs).collect()
}

//! The servers under measurement: how each is started, flushed and asked.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Method;
use tokio::time::{Instant, sleep};

use crate::{
    Failed,
    child::{Process, free_port},
    client,
};

/// Longest start with all data on disk.
const START_WITHIN: Duration = Duration::from_mins(2);
/// Longest wait until the data directory stops changing.
const SETTLE_WITHIN: Duration = Duration::from_mins(3);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Homeostat,
    Prometheus,
    VictoriaMetrics,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Homeostat, Self::Prometheus, Self::VictoriaMetrics];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Homeostat => "homeostat",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
        }
    }

    fn program(self, homeostat: &Path) -> PathBuf {
        match self {
            Self::Homeostat => homeostat.to_owned(),
            Self::Prometheus => "prometheus".into(),
            Self::VictoriaMetrics => "victoria-metrics".into(),
        }
    }

    fn arguments(self, at: SocketAddr, dir: &Path) -> Vec<String> {
        let data = dir.join("data");
        let data = data.display();
        match self {
            Self::Homeostat => vec![
                "server".into(),
                "--listen".into(),
                at.to_string(),
                "--data".into(),
                data.to_string(),
                "--retention".into(),
                "0s".into(),
                "--enable-admin-api".into(),
            ],
            Self::Prometheus => vec![
                format!("--config.file={}", dir.join("prometheus.yml").display()),
                format!("--storage.tsdb.path={data}"),
                "--storage.tsdb.retention.time=100y".into(),
                "--web.enable-remote-write-receiver".into(),
                "--web.enable-admin-api".into(),
                format!("--web.listen-address={at}"),
                "--log.level=error".into(),
            ],
            Self::VictoriaMetrics => vec![
                format!("-storageDataPath={data}"),
                "-retentionPeriod=100y".into(),
                format!("-httpListenAddr={at}"),
                "-loggerLevel=ERROR".into(),
                // Answers must come from the data, as the others' do, and show what was just written.
                "-search.disableCache".into(),
                "-search.latencyOffset=0s".into(),
            ],
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) at: SocketAddr,
    /// From the start of the process until it answered a query.
    pub(crate) start_took: Duration,
    dir: PathBuf,
    process: Process,
}

impl Server {
    /// Starts a server on the data that lies in `dir`, which may be none.
    pub(crate) async fn start(kind: Kind, homeostat: &Path, dir: &Path) -> Result<Self, Failed> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join("prometheus.yml"), "global: {}\n")?;
        let at = free_port()?;
        let log = dir.join(format!("{}.log", kind.name()));
        let began = Instant::now();
        let process = Process::start(&kind.program(homeostat), &kind.arguments(at, dir), log)?;
        match client::ready(at, "/api/v1/query?query=up&time=1", START_WITHIN).await {
            Ok(()) => Ok(Self { kind, at, start_took: began.elapsed(), dir: dir.to_owned(), process }),
            Err(error) => Err(format!("{}: {error}{}", kind.name(), process.last_words()).into()),
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<u32, Failed> {
        self.process.pid()
    }

    /// Where remote write goes.
    pub(crate) const fn write_path() -> &'static str {
        "/api/v1/write"
    }

    /// Brings everything into compacted blocks on disk. Returns their bytes.
    pub(crate) async fn compact(&self) -> Result<u64, Failed> {
        match self.kind {
            Kind::VictoriaMetrics => {
                client::must(self.at, Method::GET, "/internal/force_flush", "").await?;
                client::must_within(self.at, Method::GET, "/internal/force_merge", SETTLE_WITHIN).await?;
                self.settled(&self.dir.join("data")).await
            }
            // A snapshot is all data, the newest too, as finished blocks.
            Kind::Prometheus | Kind::Homeostat => {
                let path = "/api/v1/admin/tsdb/snapshot";
                let answer = client::must_within(self.at, Method::POST, path, SETTLE_WITHIN).await?;
                let answer: serde_json::Value = serde_json::from_slice(&answer)?;
                let name = answer.pointer("/data/name").and_then(|name| name.as_str());
                let name = name.ok_or_else(|| format!("{path} did not name the snapshot: {answer}"))?;
                let snapshot = self.dir.join("data/snapshots").join(name);
                let bytes = bytes_below(&snapshot)?;
                std::fs::remove_dir_all(&snapshot)?;
                Ok(bytes)
            }
        }
    }

    /// Waits until the directory has kept its size for two seconds. Returns it.
    async fn settled(&self, dir: &Path) -> Result<u64, Failed> {
        let deadline = Instant::now() + SETTLE_WITHIN;
        let (mut size, mut same) = (bytes_below(dir)?, 0);
        while same < 4 && Instant::now() < deadline {
            sleep(Duration::from_millis(500)).await;
            let now = bytes_below(dir)?;
            same = if now == size { same + 1 } else { 0 };
            size = now;
        }
        Ok(size)
    }

    /// Stops it as an operator does, so that it can write what it holds.
    pub(crate) async fn stop(self) -> Result<(), Failed> {
        Ok(self.process.terminate(SETTLE_WITHIN).await?)
    }
}

/// Bytes of all files below a directory; files that vanish meanwhile count nothing.
fn bytes_below(dir: &Path) -> Result<u64, Failed> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { bytes_below(&entry.path()).unwrap_or(0) } else { about.len() };
    }
    Ok(bytes)
}

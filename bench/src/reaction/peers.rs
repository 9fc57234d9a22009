//! The peer: Prometheus and Alertmanager as the distribution ships them, on the counters that the shops export.
//!
//! Neutral on purpose: the customers divide themselves between the versions, so nothing of Homeostat is in the path,
//! and the peer scrapes the shops themselves. Its rule looks at the canary's error ratio over the shortest window that
//! always holds two scrapes, with no `for`. The fault begins at a random phase of the scrape interval.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use homeostat_load::RunningLoad;
use rand::RngExt;
use tokio::time::sleep;

use super::shop::{CANARY_PERCENT, Shops, customers, first_bad};
use crate::{
    Failed,
    child::{Process, free_port},
    client,
    webhook::Webhook,
};

/// How often the peer looks and how long it waits before it speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) name: &'static str,
    /// Scrape and evaluation interval, seconds.
    interval_s: u64,
    /// Alertmanager's route; empty keeps its defaults.
    route: &'static str,
    /// Longest wait for the webhook.
    within: Duration,
    /// Whether a trial begins with fresh processes: with the default `group_interval` of 5 min, a second alert of the
    /// same group would wait for that instead of `group_wait`.
    fresh: bool,
}

/// Every interval at its least.
pub(crate) const FASTEST: Settings = Settings {
    name: "prometheus_fastest",
    interval_s: 1,
    route: ", group_wait: 0s, group_interval: 1s, repeat_interval: 1h",
    within: Duration::from_secs(30),
    fresh: false,
};

/// The distribution's `prometheus.yml` (15 s) and Alertmanager's own defaults (`group_wait` 30 s).
pub(crate) const DEFAULTS: Settings =
    Settings { name: "prometheus_defaults", interval_s: 15, route: "", within: Duration::from_mins(4), fresh: true };

/// Measures `trials` times; calls `progress` with each result in milliseconds.
pub(crate) async fn measure(
    settings: Settings,
    trials: usize,
    shops: &Shops,
    dir: &Path,
    chance: &mut impl rand::Rng,
    mut progress: impl FnMut(usize, f64),
) -> Result<Vec<f64>, Failed> {
    let mut webhook = Webhook::start().await?;
    let targets = vec![(shops.v1, 100 - CANARY_PERCENT), (shops.v2, CANARY_PERCENT)];
    let load = customers(targets, 11)?;
    let mut peer = Peer::start(settings, shops, &webhook.url(), &dir.join(settings.name)).await?;
    let mut measured = Vec::new();
    for trial in 1..=trials {
        let phase = chance.random_range(0..settings.interval_s * 1_000);
        sleep(Duration::from_millis(phase)).await;
        let result = one_trial(settings, shops, &load, &mut webhook).await;
        let ms = result.map_err(|error| format!("{}: {error}{}", settings.name, peer.last_words()))?;
        progress(trial, ms);
        measured.push(ms);
        if settings.fresh && trial < trials {
            peer.end().await?;
            peer =
                Peer::start(settings, shops, &webhook.url(), &dir.join(format!("{}-{trial}", settings.name))).await?;
        }
    }
    peer.end().await?;
    tokio::task::spawn_blocking(|| load.finish()).await?;
    Ok(measured)
}

async fn one_trial(
    settings: Settings,
    shops: &Shops,
    load: &RunningLoad,
    webhook: &mut Webhook,
) -> Result<f64, Failed> {
    webhook.clear();
    load.tally().forget_first();
    shops.fault_on().await?;
    let began = first_bad(load).await?;
    let told = webhook.next("firing", settings.within).await;
    shops.fault_off().await?;
    let ms = told?.at.instant.duration_since(began.instant).as_secs_f64() * 1e3;
    if !settings.fresh {
        webhook.next("resolved", settings.within).await?;
    }
    Ok(ms)
}

/// Both processes.
#[derive(Debug)]
struct Peer {
    prometheus: Process,
    alertmanager: Process,
}

impl Peer {
    /// Starts both and waits until the rule's window holds samples from before the fault.
    async fn start(settings: Settings, shops: &Shops, webhook: &str, dir: &Path) -> Result<Self, Failed> {
        std::fs::create_dir_all(dir)?;
        let (prometheus_at, alertmanager_at) = (free_port()?, free_port()?);
        let alertmanager = start_alertmanager(settings, webhook, alertmanager_at, dir)?;
        let prometheus = start_prometheus(settings, shops, prometheus_at, alertmanager_at, dir)?;
        let peer = Self { prometheus, alertmanager };
        let ready = async {
            client::ready(alertmanager_at, "/-/ready", Duration::from_secs(20)).await?;
            client::ready(prometheus_at, "/-/ready", Duration::from_secs(20)).await
        };
        ready.await.map_err(|error| format!("{}: {error}{}", settings.name, peer.last_words()))?;
        sleep(Duration::from_secs(3 * settings.interval_s + 1)).await;
        Ok(peer)
    }

    async fn end(self) -> Result<(), Failed> {
        self.prometheus.end().await?;
        self.alertmanager.end().await?;
        Ok(())
    }

    fn last_words(&self) -> String {
        self.prometheus.last_words() + &self.alertmanager.last_words()
    }
}

fn start_alertmanager(settings: Settings, webhook: &str, at: SocketAddr, dir: &Path) -> Result<Process, Failed> {
    let config = format!(
        "route: {{ receiver: bench{} }}\nreceivers:\n- name: bench\n  webhook_configs: [{{ url: '{webhook}', send_resolved: true }}]\n",
        settings.route
    );
    let arguments = [
        written(dir, "alertmanager.yml", &config).map(|path| format!("--config.file={path}"))?,
        format!("--storage.path={}", dir.join("alertmanager").display()),
        format!("--web.listen-address={at}"),
        // No cluster: it would wait for its gossip to settle.
        "--cluster.listen-address=".to_owned(),
    ];
    Process::start(&PathBuf::from("prometheus-alertmanager"), &arguments, dir.join("alertmanager.log"))
}

fn start_prometheus(
    settings: Settings,
    shops: &Shops,
    at: SocketAddr,
    alertmanager: SocketAddr,
    dir: &Path,
) -> Result<Process, Failed> {
    let (interval, window) = (settings.interval_s, 2 * settings.interval_s);
    let rules = format!(
        r#"groups:
- name: canary
  rules:
  - alert: CanaryErrors
    expr: sum(rate(shop_requests_total{{version="v2",code=~"5.."}}[{window}s])) / sum(rate(shop_requests_total{{version="v2"}}[{window}s])) > 0.02
    labels: {{ severity: page }}
"#
    );
    let rules = written(dir, "rules.yml", &rules)?;
    let (v1, v2) = (shops.v1, shops.v2);
    let config = format!(
        r"global: {{ scrape_interval: {interval}s, scrape_timeout: {timeout}s, evaluation_interval: {interval}s }}
rule_files: ['{rules}']
alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['{alertmanager}'] }}] }}] }}
scrape_configs:
- job_name: shop
  static_configs: [{{ targets: ['{v1}', '{v2}'] }}]
",
        timeout = interval.min(10),
    );
    let arguments = [
        written(dir, "prometheus.yml", &config).map(|path| format!("--config.file={path}"))?,
        format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
        format!("--web.listen-address={at}"),
    ];
    Process::start(&PathBuf::from("prometheus"), &arguments, dir.join("prometheus.log"))
}

fn written(dir: &Path, name: &str, text: &str) -> Result<String, Failed> {
    let path = dir.join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

//! Samples on to a real Prometheus, which comes and goes, from a server that is killed in between.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, and say when they skip"
)]

#[path = "common/metrics_server.rs"]
mod metrics_server;

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use metrics_server::{Client, MetricsServer, samples};

/// A Prometheus that takes remote write; killed when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// `None` where it is not installed.
    async fn start(dir: &Path, address: SocketAddr) -> Option<Self> {
        std::fs::write(dir.join("prometheus.yml"), "scrape_configs: []\n").unwrap();
        let started = Command::new("prometheus")
            .arg("--web.enable-remote-write-receiver")
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("SKIPPED: prometheus is not installed");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let prometheus = Self { child, address };
        loop {
            if let Some(mut client) = Client::connect(address).await
                && let Some((200, ..)) = client.send("GET", "/-/ready", &[], bytes::Bytes::new()).await
            {
                return Some(prometheus);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn query(&self, query: &str) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        Client::connect(self.address).await.unwrap().query(query, now).await
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

fn config(dir: &Path, destinations: &str) -> String {
    let file = dir.join("forward.yml");
    std::fs::write(&file, format!("global: {{external_labels: {{region: eu}}}}\nremote_write:\n{destinations}"))
        .unwrap();
    file.to_str().unwrap().to_owned()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

const SERIES: usize = 40;

/// Writes one sample of each series; every write is acknowledged.
async fn round(server: &MetricsServer, t_ms: i64, value: f64) {
    let numbers: Vec<String> = (0..SERIES).map(|number| number.to_string()).collect();
    let all: Vec<_> = numbers.iter().map(|number| [("__name__", "sent"), ("n", number.as_str())]).collect();
    let quiet = [("__name__", "kept_here")];
    let mut client = server.client().await;
    let sent = all.iter().map(|labels| (&labels[..], t_ms, value));
    client.written(samples(sent.chain([(&quiet[..], t_ms, value)]))).await;
}

#[tokio::test]
async fn every_sample_arrives_once_whoever_is_killed() {
    const ROUNDS: i64 = 60;
    let (dir, far_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let address = free_address();
    let Some(prometheus) = Prometheus::start(far_dir.path(), address).await else { return };
    let file = config(
        dir.path(),
        &format!(
            "  - url: http://{address}/api/v1/write
    name: far
    write_relabel_configs: [{{source_labels: [__name__], regex: kept_here, action: drop}}]
    queue_config: {{batch_send_deadline: 50ms, max_samples_per_send: 20, max_backoff: 200ms}}
"
        ),
    );
    let data = dir.path().join("data");
    let flags = ["--scrape-config", file.as_str()];
    let mut server = MetricsServer::start_with(&data, &flags);
    let mut far = Some(prometheus);
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - ROUNDS * 1000;
    for number in 0..ROUNDS {
        round(&server, begin + number * 1000, number as f64).await;
        match number {
            15 => drop(far.take()),
            35 => far = Prometheus::start(far_dir.path(), address).await,
            _ => {}
        }
        // Now and then while the receiver is there, while it is away, and while it comes back.
        if [5, 10, 16, 25, 36, 40, 45].contains(&number) {
            server.kill();
            server = MetricsServer::start_with(&data, &flags);
        }
    }
    let far = far.unwrap();
    let wanted = (SERIES as i64 * ROUNDS).to_string();
    loop {
        let found = far.query("sum(count_over_time(sent{region=\"eu\"}[1h]))").await;
        if found.pointer("/0/value/1").is_some_and(|count| *count == wanted) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let sum = far.query("sum(sum_over_time(sent[1h]))").await;
    let expected = (SERIES as i64 * ROUNDS * (ROUNDS - 1) / 2).to_string();
    assert_eq!(sum.pointer("/0/value/1").unwrap(), &expected);
    assert_eq!(far.query("count_over_time(kept_here[1h])").await, serde_json::json!([]));
    let (_, _, metrics) = server.client().await.send("GET", "/metrics", &[], bytes::Bytes::new()).await.unwrap();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    let label = format!("{{remote_name=\"far\",url=\"http://{address}/api/v1/write\"}}");
    for line in [
        format!("prometheus_remote_storage_samples_failed_total{label} 0"),
        format!("prometheus_remote_storage_samples_pending{label} 0"),
        format!("homeostat_relay_failing{label} 0"),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn both_versions_reach_a_server_of_ours_with_credentials_kept_out_of_sight() {
    let (dir, far_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let far = MetricsServer::start(far_dir.path());
    let url = format!("http://u:sesame@{}/api/v1/write", far.address);
    let file = config(
        dir.path(),
        &format!(
            "  - {{url: '{url}', name: one, queue_config: {{batch_send_deadline: 10ms}}, write_relabel_configs: [{{target_label: way, replacement: one}}]}}
  - {{url: '{url}', name: two, protobuf_message: io.prometheus.write.v2.Request, queue_config: {{batch_send_deadline: 10ms}}, write_relabel_configs: [{{target_label: way, replacement: two}}]}}
"
        ),
    );
    let server = MetricsServer::start_with(&dir.path().join("data"), &["--scrape-config", &file]);
    round(&server, 1000, 7.0).await;
    let mut client = far.client().await;
    loop {
        let found = client.query("count by (way) (sent == 7)", 1.0).await;
        if found.as_array().is_some_and(|found| found.len() == 2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut client = server.client().await;
    let (_, shown) = client.get("/api/v1/status/config").await;
    let (_, _, metrics) = client.send("GET", "/metrics", &[], bytes::Bytes::new()).await.unwrap();
    assert!(!shown.to_string().contains("sesame") && !String::from_utf8_lossy(&metrics).contains("sesame"));
    assert_eq!((server.stop(), far.stop()), (Some(0), Some(0)));
}

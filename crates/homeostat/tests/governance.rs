//! Limits of series and values, as a server holds them, and what `series top` says.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "common/metrics_server.rs"]
mod metrics_server;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use metrics_server::{Client, MetricsServer, refused, samples};

/// Answers every request with the same exposition.
fn target(body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let len = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n"
                );
                let _gone_already = stream.write_all(format!("{head}{body}").as_bytes());
            }
        }
    });
    address
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

async fn until_found(client: &mut Client, query: &str) -> Value {
    loop {
        let found = client.query(query, now()).await;
        if found.as_array().is_some_and(|found| !found.is_empty()) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn values_over_budget_are_added_up_in_scrapes_and_refused_in_writes() {
    let dir = tempfile::tempdir().unwrap();
    let limits = dir.path().join("limits.yaml");
    std::fs::write(
        &limits,
        "labels: {user: {values: 2}}\nmetrics: {many: {series: 3}}\njobs: {listed: {metrics: [good_.*]}}\n",
    )
    .unwrap();
    let app = target(
        "hits_total{user=\"a\"} 1\nhits_total{user=\"b\"} 2\nhits_total{user=\"c\"} 30\nhits_total{user=\"d\"} 400\n\
         hits_total{user=\"from the year 2286\"} 5000 9999999999999\n",
    );
    let listed = target("good_x 1\nbad_x 1\n");
    let file = dir.path().join("prometheus.yml");
    let text = format!(
        "scrape_configs:
  - {{job_name: app, scrape_interval: 100ms, scrape_timeout: 100ms, static_configs: [{{targets: ['{app}']}}]}}
  - {{job_name: listed, scrape_interval: 100ms, scrape_timeout: 100ms, static_configs: [{{targets: ['{listed}']}}]}}
"
    );
    std::fs::write(&file, text).unwrap();
    let flags = ["--limits", limits.to_str().unwrap(), "--scrape-config", file.to_str().unwrap()];
    let server = MetricsServer::start_with(&dir.path().join("data"), &flags);
    let mut client = server.client().await;
    let found = until_found(&mut client, "hits_total{user=\"__other__\"}").await;
    assert_eq!(found.pointer("/0/value/1"), Some(&json!("430")));
    until_found(&mut client, "count_over_time(hits_total{user=\"__other__\"}[10m]) > 1").await;
    assert_eq!(client.query("hits_total", 9_999_999_999.999).await, json!([]), "a sample of the future is in no sum");
    assert_eq!(until_found(&mut client, "count(hits_total)").await.pointer("/0/value/1"), Some(&json!("3")));
    until_found(&mut client, "count_over_time(good_x[10m]) > 1").await;
    assert_eq!(client.query("count_over_time(bad_x[10m])", now()).await, json!([]));
    assert_ne!(client.query("count_over_time(good_x[10m])", now()).await, json!([]));

    // What is pushed is stored as it is, or not at all.
    let numbers = ["1", "2", "3", "4", "5"];
    let many: Vec<_> = numbers.iter().map(|n| [("__name__", "many"), ("n", *n)]).collect();
    let user = [("__name__", "pushed"), ("user", "e")];
    let all = many.iter().map(|labels| (&labels[..], 1000, 1.0)).chain([(&user[..], 1000, 1.0)]);
    let (status, _, text) = client.write(samples(all)).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert_eq!(status, 400, "{text}");
    assert!(
        text.contains("metric series limit: 2 samples, such as in many{n=\"4\"}: metric many has its 3 series"),
        "{text}"
    );
    assert!(
        text.contains("label values limit: 1 sample, such as in pushed{user=\"e\"}: label user has its 2 values"),
        "{text}"
    );
    assert_eq!(client.query("count(many)", 1.0).await.pointer("/0/value/1"), Some(&json!("3")));
    let (_, _, metrics) = client.send("GET", "/metrics", &[], bytes::Bytes::new()).await.unwrap();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    assert!(
        metrics.contains("homeostat_governance_refused_samples_total{reason=\"metric series limit\"} 2\n"),
        "{metrics}"
    );
    assert!(metrics.contains("homeostat_governance_active_values 2\n"), "{metrics}");

    // What it is made of.
    let (status, top) = client.get("/homeostat/v1/series/top?limit=1000").await;
    assert_eq!(status, 200, "{top}");
    let of = |list: &str, name: &str| {
        top[list].as_array().unwrap().iter().find(|entry| entry["name"] == name).map(|entry| entry["count"].clone())
    };
    assert_eq!((of("metrics", "many"), of("metrics", "hits_total")), (Some(json!(3)), Some(json!(3))));
    assert_eq!(of("labels", "user"), Some(json!(3)));
    let cli = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_homeostat"))
            .args(["series", "top", "--server", &server.url()])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown: Value = serde_json::from_str(&cli(&["--json", "--limit", "1000"])).unwrap();
    assert_eq!(shown["labels"], top["labels"]);
    assert!(cli(&[]).contains("metrics with most series\n"));
    let (_, status) = client.get("/api/v1/status/tsdb?limit=100").await;
    let counts = status["data"]["seriesCountByMetricName"].as_array().unwrap();
    assert!(counts.contains(&json!({"name": "many", "value": 3})), "{status}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_broken_file_of_limits_is_told_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("limits.yaml");
    std::fs::write(&file, "labels: {user: {value: 2}}\ntenant: x\n").unwrap();
    let output = refused(dir.path(), &["--limits", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("limits.yaml:1:") && said.contains("write `values`") && said.contains(":2:"), "{said}");
}

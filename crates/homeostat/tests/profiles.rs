//! Profiles in the metrics server from outside: pushed as clients of Pyroscope do, killed, asked for in every form.

#![cfg(test)]

#[path = "common/metrics_server.rs"]
mod metrics_server;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::Engine as _;
use bytes::Bytes;
use homeostat_model::profile::Profile;
use homeostat_profile::weights;
use homeostat_wire::{
    gzip,
    pprof::{self, PprofLimits},
    protobuf::{put_bytes, put_int, put_message, put_text},
};
use metrics_server::{Client, MetricsServer};
use serde_json::{Value, json};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A real CPU profile of Prometheus, as if it had begun now.
fn cpu() -> Profile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/fixtures/pprof/cpu.pb.gz");
    let mut profile = pprof::read(&std::fs::read(path).unwrap(), &PprofLimits::default()).unwrap();
    profile.started_ns = now_ms() * 1_000_000;
    profile
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |all, byte| all + &format!("%{byte:02X}"))
}

fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        body.extend(
            format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n").bytes(),
        );
        body.extend_from_slice(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--xyz--\r\n");
    body
}

async fn post(client: &mut Client, path: &str, kind: &[(&str, &str)], body: Vec<u8>) -> (u16, Bytes) {
    let (status, _, body) = client.send("POST", path, kind, body.into()).await.expect("an answer");
    (status, body)
}

async fn method(client: &mut Client, name: &str, asked: Value) -> (u16, Value) {
    let path = format!("/querier.v1.QuerierService/{name}");
    let (status, body) =
        post(client, &path, &[("content-type", "application/json")], asked.to_string().into_bytes()).await;
    (status, serde_json::from_slice(&body).unwrap())
}

async fn rendered(client: &mut Client, query: &str) -> Value {
    let path = format!("/pyroscope/render?from=now-10m&until=now&query={}", encoded(query));
    let (status, answer) = client.get(&path).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Pushes one profile through each door.
async fn push_all(client: &mut Client) {
    let form = [("content-type", "multipart/form-data; boundary=xyz")];
    let packed = pprof::write(&cpu());
    let name = encoded("prometheus.cpu{env=prod,hostname=web-17}");
    let body = multipart(&[("profile", &packed), ("sample_type_config", b"{}")]);
    let (status, text) = post(client, &format!("/ingest?name={name}&spyName=gospy"), &form, body).await;
    assert_eq!((status, text.len()), (200, 0));
    let from = now_ms() / 1000;
    let folded = format!("/ingest?name=shop.cpu&from={from}&until={}&sampleRate=100&format=folded", from + 10);
    assert_eq!(post(client, &folded, &[], b"main;serve;json 30\nmain;gc 12\n".to_vec()).await.0, 200);
    let gzip = [("content-encoding", "gzip")];
    let lines = format!("/ingest?name=shop.inuse_objects&from={from}&format=lines");
    assert_eq!(post(client, &lines, &gzip, gzip::pack(b"main;cache\nmain;cache\nmain\n")).await.0, 200);
    let push = "/push.v1.PusherService/Push";
    let mut message = Vec::new();
    put_message(1, &mut message, |out| {
        for (name, value) in [("__name__", "process_cpu"), ("service_name", "by-proto")] {
            put_message(1, out, |out| {
                put_text(1, name, out);
                put_text(2, value, out);
            });
        }
        put_message(2, out, |out| put_bytes(1, &packed, out));
    });
    let headers = [("content-type", "application/proto"), ("content-encoding", "gzip"), ("x-scope-orgid", "a")];
    assert_eq!(post(client, push, &headers, gzip::pack(&message)).await, (200, Bytes::new()));
    let raw = base64::engine::general_purpose::STANDARD.encode(&packed);
    let labels = json!([{"name": "__name__", "value": "process_cpu"}, {"name": "service_name", "value": "by-json"}]);
    let message = json!({"series": [{"labels": labels, "samples": [{"ID": "x", "rawProfile": raw}]}]});
    let (status, body) =
        post(client, push, &[("content-type", "application/json")], message.to_string().into_bytes()).await;
    assert_eq!((status, &*body), (200, &b"{}"[..]));
}

/// What must be found, whether it is in memory, in the log after a kill, or in an object.
async fn check(client: &mut Client) {
    let total = cpu().total(1);
    for service in ["prometheus", "by-proto", "by-json"] {
        let page = rendered(client, &format!("{CPU}{{service_name=\"{service}\"}}")).await;
        assert_eq!(page["flamebearer"]["numTicks"], total, "{service}");
        assert_eq!((&page["metadata"]["units"], &page["metadata"]["format"]), (&json!("samples"), &json!("single")));
        let levels = page["flamebearer"]["levels"].as_array().unwrap();
        assert_eq!(levels[0], json!([0, total, 0, 0]));
        assert!(levels.iter().all(|level| level.as_array().unwrap().len() % 4 == 0));
        let line: i64 = page["timeline"]["samples"].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).sum();
        assert_eq!(line, total);
    }
    let shop = rendered(client, &format!("{CPU}{{service_name=~\"sh.p\"}}")).await;
    let mut names: Vec<&str> =
        shop["flamebearer"]["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["gc", "json", "main", "serve", "total"]);
    assert_eq!(shop["flamebearer"]["numTicks"], 420_000_000);
    let cache = rendered(client, "memory:inuse_objects:count:inuse_objects:count{service_name=\"shop\"}").await;
    assert_eq!(cache["flamebearer"]["levels"], json!([[0, 3, 0, 0], [0, 3, 1, 1], [0, 2, 2, 2]]));
    let nothing = rendered(client, &format!("{CPU}{{service_name=\"nobody\"}}")).await;
    assert_eq!(nothing["flamebearer"]["numTicks"], 0);
    let few = format!("{CPU}{{service_name=\"by-json\"}}");
    let path = format!("/pyroscope/render?from=now-10m&maxNodes=16&query={}", encoded(&few));
    let (_, page) = client.get(&path).await;
    let nodes: usize =
        page["flamebearer"]["levels"].as_array().unwrap().iter().map(|l| l.as_array().unwrap().len() / 4).sum();
    assert!(16 < nodes && nodes < 40, "{nodes}");
    assert_eq!(page["flamebearer"]["numTicks"], total);
}

#[tokio::test]
async fn profiles_are_pushed_kept_and_shown() {
    let data = tempfile::tempdir().unwrap();
    let server = MetricsServer::start(data.path());
    let mut client = server.client().await;
    push_all(&mut client).await;
    check(&mut client).await;
    server.kill();
    let server = MetricsServer::start(data.path());
    let mut client = server.client().await;
    check(&mut client).await;

    // The other questions.
    let (start, end) = (now_ms() - 600_000, now_ms() + 1000);
    let range = |mut asked: Value| {
        asked["start"] = json!(start.to_string());
        asked["end"] = json!(end);
        asked
    };
    let (_, types) = method(&mut client, "ProfileTypes", range(json!({}))).await;
    let ids: Vec<&str> = types["profileTypes"].as_array().unwrap().iter().map(|t| t["ID"].as_str().unwrap()).collect();
    assert_eq!(ids[0], "memory:inuse_objects:count:inuse_objects:count");
    assert!(ids.contains(&CPU) && ids.contains(&"process_cpu:samples:count:cpu:nanoseconds"), "{ids:?}");
    let (_, names) = method(&mut client, "LabelNames", range(json!({}))).await;
    assert!(names["names"].as_array().unwrap().contains(&json!("service_name")), "{names}");
    let (_, values) = method(&mut client, "LabelValues", range(json!({"name": "service_name"}))).await;
    assert_eq!(values["names"], json!(["by-json", "by-proto", "prometheus", "shop"]));
    let (_, hosts) = method(&mut client, "LabelValues", range(json!({"name": "hostname"}))).await;
    assert_eq!(hosts["names"], json!(["<redacted>"]));
    let asked = json!({"matchers": ["{service_name=\"shop\"}"], "labelNames": ["service_name", "__type__"]});
    let (_, series) = method(&mut client, "Series", range(asked)).await;
    assert_eq!(series["labelsSet"].as_array().unwrap().len(), 2, "{series}");
    let select = json!({"profileTypeID": CPU, "labelSelector": "{service_name=\"shop\"}"});
    let (_, graph) = method(&mut client, "SelectMergeStacktraces", range(select.clone())).await;
    assert_eq!(graph["flamegraph"]["total"], "420000000");
    assert_eq!(graph["flamegraph"]["levels"][0]["values"], json!(["0", "420000000", "0", "0"]));
    let mut by = range(select.clone());
    (by["groupBy"], by["step"]) = (json!(["service_name"]), json!(15));
    let (_, line) = method(&mut client, "SelectSeries", by).await;
    assert_eq!(line["series"][0]["points"][0]["value"], 420_000_000.0, "{line}");
    assert_eq!(line["series"][0]["labels"], json!([{"name": "service_name", "value": "shop"}]));
    let both = json!({"left": range(select.clone()), "right": range(json!({"profileTypeID": CPU, "labelSelector": "{service_name=\"by-json\"}"}))});
    let (_, diff) = method(&mut client, "Diff", both).await;
    assert_eq!(diff["flamegraph"]["leftTicks"], "420000000");
    assert_eq!(diff["flamegraph"]["levels"][0]["values"].as_array().unwrap().len(), 7);
    let shop = encoded(&format!("{CPU}{{service_name=\"shop\"}}"));
    let path = format!("/pyroscope/render-diff?leftQuery={shop}&rightQuery={shop}&leftFrom=now-10m&rightFrom=now-10m");
    let (_, page) = client.get(&path).await;
    assert_eq!(page["flamebearer"]["levels"][1], json!([0, 420_000_000, 0, 0, 420_000_000, 0, 1]));
    assert_eq!((&page["leftTicks"], &page["metadata"]["format"]), (&json!(420_000_000), &json!("double")));

    // The sum as pprof, over both roads.
    let path = format!("/pyroscope/render?from=now-10m&format=pprof&query={shop}");
    let (status, _, body) = client.send("GET", &path, &[], Bytes::new()).await.unwrap();
    let read = pprof::read(&body, &PprofLimits::default()).unwrap();
    assert_eq!((status, weights(&read, 0).functions["json"].own), (200, 300_000_000));
    let mut message = Vec::new();
    put_text(1, CPU, &mut message);
    put_text(2, "{service_name=\"shop\"}", &mut message);
    put_int(3, start, &mut message);
    put_int(4, end, &mut message);
    let path = "/querier.v1.QuerierService/SelectMergeProfile";
    let (status, body) = post(&mut client, path, &[("content-type", "application/proto")], message).await;
    let merged = pprof::read(&body, &PprofLimits::default()).unwrap();
    assert_eq!((status, merged.total(0)), (200, 420_000_000));

    // The command asks the same server.
    let selector = format!("{CPU}{{service_name=\"shop\"}}");
    let shown = Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .args(["profile", "show", "--server", &server.url(), &selector, "--json"])
        .output()
        .unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["sum"], &shown["functions"][0]["function"]), (&json!(420_000_000), &json!("json")));

    // What is wrong is told.
    for (path, body, expected) in [
        ("/ingest?name=", &b"x 1"[..], 400),
        ("/ingest?name=a&format=jfr", b"x", 415),
        ("/ingest?name=a", b"no number", 400),
        ("/ingest?name=a&format=pprof", b"<html>", 400),
        ("/ingest?name=a&from=1000000000", b"x 1", 400),
        ("/ingest?name=a&sampleRate=0", b"x 1", 400),
        ("/push.v1.PusherService/Push", b"{}", 415),
    ] {
        let (status, text) = post(&mut client, path, &[], body.to_vec()).await;
        assert_eq!(status, expected, "{path}: {}", String::from_utf8_lossy(&text));
    }
    let (status, problem) = method(&mut client, "SelectSeries", json!({"profileTypeID": "x"})).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_argument")));
    let (_, metrics) = client.text("GET", "/metrics").await;
    assert!(metrics.contains("homeostat_profiles_requests_total{door=\"ingest\",code=\"400\"} 5"), "{metrics}");
    assert_eq!(server.stop(), Some(0));
}

/// The Python with Pyroscope's SDK that `./dev` has made; `None` when there is none.
fn sdk() -> Option<PathBuf> {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/pyroscope-sdk/bin/python3");
    let found = Command::new(&made).args(["-c", "import pyroscope"]).output();
    found.is_ok_and(|output| output.status.success()).then_some(made)
}

#[tokio::test(flavor = "multi_thread")]
async fn pyroscopes_sdk_is_understood() {
    let Some(python) = sdk() else {
        println!(
            "SKIPPED: profiles from Pyroscope's SDK: `./dev test` installs it where Python's package index is reachable"
        );
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let server = MetricsServer::start(data.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pyroscope_sdk.py");
    let (url, mut client) = (server.url(), server.client().await);
    let output = Command::new(python).arg(script).args([&url, "12"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (start, end) = (now_ms() - 600_000, now_ms() + 1000);
    let (_, types) = method(&mut client, "ProfileTypes", json!({"start": start, "end": end})).await;
    let cpu = types["profileTypes"].as_array().unwrap_or_else(|| panic!("{types}")).iter();
    let id = cpu.map(|kind| kind["ID"].as_str().unwrap()).find(|id| id.starts_with("process_cpu:")).unwrap().to_owned();
    let page = rendered(&mut client, &format!("{id}{{service_name=\"sdk-test\",region=\"eu\"}}")).await;
    let names = page["flamebearer"]["names"].to_string();
    assert!(names.contains("burn_the_candle"), "{names}");
    let (_, hosts) = method(&mut client, "LabelValues", json!({"name": "hostname", "start": start, "end": end})).await;
    assert_eq!(hosts["names"], json!(["<redacted>"]));
}

/// A bucket that takes connections and never answers keeps neither the start nor the end of the server.
#[tokio::test]
async fn a_bucket_that_hangs_keeps_metrics_out_of_its_trouble() {
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = hanging.accept().await {
            held.push(stream);
        }
    });
    let data = tempfile::tempdir().unwrap();
    let mut command = metrics_server::command(data.path(), &["--profile-place", "s3://bucket/profiles"]);
    command.envs([
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "x"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
    ]);
    let server = MetricsServer::wait_for(command);
    let mut client = server.client().await;
    let (status, text) = post(&mut client, "/ingest?name=shop.cpu", &[], b"main 1".to_vec()).await;
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&text));
    assert_eq!(client.get("/api/v1/labels").await.0, 200);
    assert_eq!(server.stop(), Some(0));
}

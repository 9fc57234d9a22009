//! OTLP from outside: OpenTelemetry's own SDK over gRPC and HTTP, JSON by hand, and what becomes of it in queries.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, and say when they have to skip"
)]

#[path = "common/metrics_server.rs"]
mod metrics_server;

use std::{
    path::PathBuf,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use serde_json::{Value, json};

use metrics_server::{Client, MetricsServer, refused};

/// A Python with OpenTelemetry's SDK: `./dev test` makes one.
fn python() -> Option<PathBuf> {
    let made = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/otel-sdk/bin/python3");
    let python = std::env::var_os("HOMEOSTAT_OTEL_PYTHON").map_or(made, PathBuf::from);
    let found = Command::new(&python).args(["-c", "import opentelemetry.sdk.metrics"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("SKIPPED: OpenTelemetry's SDK for Python is not installed; `./dev test` does it where it has a network");
    None
}

fn export(python: &PathBuf, transport: &str, address: &str, temporality: &str) {
    run(python, "otlp_sdk.py", [transport, address, temporality]);
}

fn run(python: &PathBuf, script: &str, arguments: [&str; 3]) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("exported\n"), "{said}\n{wrong}");
    assert_eq!(said, "exported\n", "the exporter is not content");
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

async fn value(client: &mut Client, query: &str) -> Value {
    let found = client.query(query, now_s()).await;
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{query}: {found}");
    found.pointer("/0/value/1").cloned().unwrap()
}

#[tokio::test]
async fn profiles_arrive_over_every_transport() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start_with(dir.path(), &["--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"]);
    let (http, grpc) = (server.told("OTLP over HTTP at "), server.told("OTLP over gRPC at "));
    let path = "/v1development/profiles";
    let mut client = server.client().await;
    for (transport, address, service) in [
        ("http", format!("http://{http}{path}"), "by-http"),
        ("http", format!("{}{path}", server.url()), "by-main"),
        ("grpc", format!("http://{grpc}"), "by-grpc"),
    ] {
        run(&python, "otlp_profiles.py", [transport, &address, service]);
        let query = format!("process_cpu:cpu:nanoseconds:cpu:nanoseconds%7Bservice_name%3D%22{service}%22%7D");
        let (status, page) = client.get(&format!("/pyroscope/render?from=now-10m&until=now&query={query}")).await;
        assert_eq!(status, 200, "{page}");
        assert_eq!(page["flamebearer"]["names"], json!(["total", "main", "serve"]), "{service}");
        assert_eq!(page["flamebearer"]["numTicks"], 950_000_000, "19 samples of 50 ms");
    }
}

#[tokio::test]
async fn the_sdk_exports_over_every_transport() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start_with(dir.path(), &["--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"]);
    let (http, grpc) = (server.told("OTLP over HTTP at "), server.told("OTLP over gRPC at "));
    let prometheus = format!("{}/api/v1/otlp/v1/metrics", server.url());
    let own = format!("http://{http}/v1/metrics");
    let grpc = format!("http://{grpc}");
    let mut client = server.client().await;
    for (transport, address, temporality) in [
        ("http", &own, "cumulative"),
        ("http", &prometheus, "delta"),
        ("grpc", &grpc, "cumulative"),
        ("grpc", &grpc, "delta"),
    ] {
        export(&python, transport, address, temporality);
        let of = format!("job=\"demo/shop\",instance=\"{transport}-{temporality}\"");
        let value = value(&mut client, &format!("orders_placed_total{{payment_kind=\"card\",{of}}}")).await;
        assert_eq!(value, "6", "{transport} {temporality}");
        for (query, expected) in [
            (format!("queue_length{{{of}}}"), "4"),
            (format!("temperature{{room_name=\"küche\",{of}}}"), "21.5"),
            (format!("latency_seconds_count{{{of}}}"), "4"),
            (format!("latency_seconds_sum{{{of}}}"), "14.4"),
            (format!("latency_seconds_bucket{{le=\"5\",{of}}}"), "2"),
            (format!("latency_seconds_bucket{{le=\"+Inf\",{of}}}"), "4"),
            (format!("histogram_count(sizes_bytes{{{of}}})"), "2"),
            (format!("count(target_info{{telemetry_sdk_language=\"python\",{of}}})"), "1"),
        ] {
            assert_eq!(self::value(&mut client, &query).await, expected, "{query}");
        }
    }
    let (_, metadata) = client.get("/api/v1/metadata?metric=orders_placed_total").await;
    assert_eq!(metadata["data"]["orders_placed_total"][0]["type"], "counter");
    assert_eq!(metadata["data"]["orders_placed_total"][0]["help"], "Orders.");
    let (_, _, metrics) = client.send("GET", "/metrics", &[], Bytes::new()).await.unwrap();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    for (line, least) in [
        ("homeostat_otlp_requests_total{transport=\"grpc\",code=\"0\"} ", 4),
        ("homeostat_otlp_requests_total{transport=\"http_protobuf\",code=\"200\"} ", 4),
        ("homeostat_otlp_delta_series ", 6),
    ] {
        let count = metrics.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("{metrics}"));
        assert!(least <= count.parse::<u64>().unwrap(), "{line}{count}");
    }
    // Nothing but the two samples of each total, and the samples of `target_info` that lie close together.
    assert!(!metrics.contains("homeostat_otlp_rejected_samples_total{"), "{metrics}");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn json_is_taken_and_what_is_refused_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start(dir.path());
    let mut client = server.client().await;
    let gauge = |name: &str, at_s: u64, value: f64| {
        let point = json!({"timeUnixNano": (at_s * 1_000_000_000).to_string(), "asDouble": value});
        json!({"name": name, "gauge": {"dataPoints": [point]}})
    };
    let body = |metrics: Value| {
        Bytes::from(json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).to_string())
    };
    let path = "/api/v1/otlp/v1/metrics";
    let json_type = [("content-type", "application/json")];
    let (status, headers, answer) =
        client.send("POST", path, &json_type, body(json!([gauge("a", 100, 1.0), gauge("b", 100, 2.0)]))).await.unwrap();
    assert_eq!(
        (status, &headers["content-type"], &answer[..]),
        (200, &"application/json".parse().unwrap(), &b"{}"[..])
    );
    assert_eq!(client.query("a + on() b", 100.0).await[0]["value"][1], "3");
    // Older than what is stored, once; the other is kept.
    let mixed = body(json!([gauge("a", 50, 1.0), gauge("b", 110, 5.0)]));
    let (status, _, answer) = client.send("POST", path, &json_type, mixed).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["partialSuccess"]["rejectedDataPoints"]), (200, &json!("1")), "{answer}");
    let why = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    assert!(why.starts_with("out of order sample: 1 sample, such as in a"), "{why}");
    assert_eq!(client.query("b", 110.0).await[0]["value"][1], "5");
    let (status, _, answer) = client.send("POST", path, &json_type, Bytes::from_static(b"{\"a")).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["code"]), (400, &json!(3)), "{answer}");
    let (status, ..) = client.send("POST", path, &[("content-type", "text/plain")], Bytes::new()).await.unwrap();
    assert_eq!(status, 415);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn addresses_of_otlp_are_checked_like_all_others() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap().to_string();
    for (args, text) in [
        (["--otlp-grpc", taken_address.as_str()], "choose another `--otlp-grpc` address"),
        (["--otlp-http", "0.0.0.0:0"], "everybody who reaches it may read and write"),
    ] {
        let output = refused(dir.path(), &args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(text), "{args:?}: {said}");
    }
}

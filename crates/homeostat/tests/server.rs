//! `homeostat server` from outside: real clients, crashes, overload, and everything that can be wrong at the start.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking, and say when they have to skip"
)]

#[path = "common/metrics_server.rs"]
mod metrics_server;

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use homeostat_model::MetricKind;
use homeostat_wire::{
    intake::{ExemplarView, FloatSample, MetadataView},
    remote_write::EncoderV1,
    snappy,
};
use serde_json::{Value, json};

use metrics_server::{Client, MetricsServer, command, refused, samples};

const UP: &[(&str, &str)] = &[("__name__", "up"), ("instance", "a:1"), ("job", "api")];
const DOWN: &[(&str, &str)] = &[("__name__", "up"), ("instance", "b:1"), ("job", "db")];

/// Two series with ten samples, one a minute.
async fn filled(server: &MetricsServer) {
    let mut client = server.client().await;
    for minute in 0..10 {
        let t_ms = minute * 60_000;
        client.written(samples([(UP, t_ms, minute as f64), (DOWN, t_ms, 0.5)])).await;
    }
}

/// Runs promtool and gives what it prints; `None` where it is not installed.
fn promtool(args: &[&str]) -> Option<String> {
    let output = match Command::new("promtool").args(args).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: promtool (package prometheus) is not installed");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn promtool_reads_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start(dir.path());
    filled(&server).await;
    let url = server.url();
    let Some(instant) = promtool(&["query", "instant", "--time=300", &url, "up * 2"]) else { return };
    assert_eq!(instant, "{instance=\"a:1\", job=\"api\"} => 10 @[300]\n{instance=\"b:1\", job=\"db\"} => 1 @[300]\n");
    let range = promtool(&["query", "range", "--start=0", "--end=120", "--step=1m", &url, "sum(up)"]).unwrap();
    assert_eq!(range, "{} =>\n0.5 @[0]\n1.5 @[60]\n2.5 @[120]\n");
    let series = promtool(&["query", "series", "--match=up{job='db'}", "--start=0", "--end=600", &url]).unwrap();
    assert_eq!(series, "{__name__=\"up\", instance=\"b:1\", job=\"db\"}\n");
    let labels = promtool(&["query", "labels", "--start=0", "--end=600", &url, "job"]).unwrap();
    assert_eq!(labels, "api\ndb\n");
    assert_eq!(server.client().await.get("/-/ready").await, (200, json!("ready\n")));
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start(dir.path());
    filled(&server).await;
    server.kill();
    let server = MetricsServer::start(dir.path());
    let mut client = server.client().await;
    assert_eq!(client.query("count_over_time(up[10m])", 540.0).await.as_array().unwrap().len(), 2);
    assert_eq!(client.query("sum(count_over_time(up[10m]))", 540.0).await[0]["value"], json!([540, "20"]));
    // The same again is no error and changes nothing; another value at the same time is refused.
    client.written(samples([(UP, 540_000, 9.0)])).await;
    let (status, _, text) = client.write(samples([(UP, 540_000, 7.0), (DOWN, 600_000, 1.0)])).await.unwrap();
    assert_eq!(status, 400);
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.starts_with("duplicate sample for timestamp: 1 sample, such as in up{instance=\"a:1\""), "{text}");
    assert_eq!(client.query("up", 600.0).await.as_array().unwrap().len(), 2, "the good sample was kept");
    assert_eq!(server.stop(), Some(0));
}

/// Writes one sample after the other to its own series until the connection breaks; gives the first time that was not
/// acknowledged.
async fn write_until_killed(address: SocketAddr, writer: usize, mut t_ms: i64, acknowledged: Arc<AtomicUsize>) -> i64 {
    let name = format!("writer_{writer}");
    let series: Vec<String> = (0..20).map(|at| at.to_string()).collect();
    let labels: Vec<[(&str, &str); 2]> = series.iter().map(|at| [("__name__", name.as_str()), ("at", at)]).collect();
    let Some(mut client) = Client::connect(address).await else { return t_ms };
    loop {
        // What was sent before the kill and not answered may be there already: the same again is no error.
        let body = samples(labels.iter().map(|labels| (&labels[..], t_ms, t_ms as f64)));
        match client.write(body).await {
            Some((204, ..)) => {}
            Some((status, _, text)) => panic!("{status}: {}", String::from_utf8_lossy(&text)),
            None => return t_ms,
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
        t_ms += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_a_loop_under_full_intake_lose_and_double_nothing() {
    const WRITERS: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    let mut next = [1_i64; WRITERS];
    for round in 0..8 {
        let server = MetricsServer::start(dir.path());
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|at| tokio::spawn(write_until_killed(server.address, at, next[at], Arc::clone(&acknowledged))))
            .collect();
        // The instants of the kills differ in how much was written since the start.
        while acknowledged.load(Ordering::Relaxed) < 5 + round * 37 {
            tokio::task::yield_now().await;
        }
        server.kill();
        for (next, writer) in next.iter_mut().zip(writers) {
            *next = writer.await.unwrap();
        }
    }
    let server = MetricsServer::start(dir.path());
    let mut client = server.client().await;
    for (writer, next) in next.iter().enumerate() {
        let found = client.query(&format!("writer_{writer}[1h]"), 3600.0).await;
        let found = found.as_array().unwrap();
        assert_eq!(found.len(), 20);
        for series in found {
            let values = series["values"].as_array().unwrap();
            // One request may have been on its way when the server was killed.
            assert!((*next - 1..=*next).contains(&(values.len() as i64)), "{} of {next}", values.len());
            for (t_ms, value) in (1_i64..).zip(values) {
                assert_eq!(*value, json!([t_ms as f64 / 1000.0, t_ms.to_string()]));
            }
        }
    }
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn exemplars_and_what_metrics_are_come_back_also_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start(dir.path());
    let mut encoder = EncoderV1::default();
    let exemplar = ExemplarView { labels: &[("trace_id", "abc")], value: 0.7, t_ms: Some(61_000) };
    encoder.series(UP.iter().copied(), &[FloatSample { t_ms: 60_000, value: 1.0, start_ms: None }], &[], &[exemplar]);
    encoder.metadata(MetadataView { family: "up", kind: MetricKind::Gauge, help: "Whether it answers.", unit: "" });
    let body = snappy::compress(encoder.as_bytes()).unwrap();
    server.client().await.written(body.into()).await;
    server.kill();
    let server = MetricsServer::start(dir.path());
    let mut client = server.client().await;
    let (_, exemplars) = client.get("/api/v1/query_exemplars?query=up&start=0&end=100").await;
    assert_eq!(
        exemplars["data"],
        json!([{
            "seriesLabels": { "__name__": "up", "instance": "a:1", "job": "api" },
            "exemplars": [{ "labels": { "trace_id": "abc" }, "value": "0.7", "timestamp": 61 }],
        }])
    );
    let (_, metadata) = client.get("/api/v1/metadata?metric=up").await;
    assert_eq!(metadata["data"]["up"], json!([{ "type": "gauge", "help": "Whether it answers.", "unit": "" }]));
}

/// Runs `homeostat series`; gives its exit code and what it says.
fn series_command(args: &[&str], dir: &std::path::Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_homeostat")).arg("series").args(args).arg(dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

#[tokio::test]
async fn files_of_a_stopped_server_are_read_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (code, said) = series_command(&["verify"], dir.path());
    assert!(code == Some(2) && said.contains("there is no metrics store"), "{said}");
    let server = MetricsServer::start_with(dir.path(), &["--enable-admin-api"]);
    filled(&server).await;
    let (code, said) = series_command(&["inspect"], dir.path());
    assert!(code == Some(2) && said.contains("is in use; stop the server"), "{said}");
    let (code, said) = series_command(&["repair"], dir.path());
    assert!(code == Some(2) && said.contains("is in use; stop the server"), "{said}");
    let mut client = server.client().await;
    let (status, ..) = client.send("POST", "/api/v1/admin/tsdb/snapshot", &[], Bytes::new()).await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(server.stop(), Some(0));
    let (code, said) = series_command(&["verify"], dir.path());
    assert!(code == Some(0) && said.starts_with("intact: 1 blocks"), "{said}");
    let (_, said) = series_command(&["inspect", "--json"], dir.path());
    let listed: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&listed["blocks"][0]["series"], &listed["blocks"][0]["samples"]), (&json!(2), &json!(20)));
    let (code, said) = series_command(&["repair"], dir.path());
    assert!(code == Some(0) && said.starts_with("intact; nothing was changed"), "{said}");

    // As if somebody had copied blocks and log only.
    std::fs::remove_file(dir.path().join("series/MANIFEST")).unwrap();
    std::fs::remove_file(dir.path().join("series/log/LOCK")).unwrap();
    let (code, said) = series_command(&["verify"], dir.path());
    assert!(code == Some(1) && said.contains("MANIFEST is missing and there are blocks"), "{said}");
    assert!(said.contains("a server may have been writing"), "{said}");
    assert!(!dir.path().join("series/log/LOCK").exists(), "looking changes nothing");
    let (code, said) = series_command(&["repair"], dir.path());
    assert!(code == Some(0) && said.contains("the list of blocks was made anew"), "{said}");

    let block = dir.path().join("series/blocks/00000001.block");
    let mut bytes = std::fs::read(&block).unwrap();
    bytes[21] ^= 1;
    std::fs::write(&block, bytes).unwrap();
    let (code, said) = series_command(&["verify"], dir.path());
    assert!(code == Some(1) && said.contains("00000001.block at byte 12: checksum mismatch"), "{said}");
    let (code, said) = series_command(&["repair"], dir.path());
    assert!(code == Some(0) && said.contains("set aside: ") && said.contains("lost: up{"), "{said}");
    let (code, said) = series_command(&["verify"], dir.path());
    assert!(code == Some(0), "{said}");
    let server = MetricsServer::start(dir.path());
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn backups_of_a_running_and_of_a_stopped_server_come_back() {
    let (dir, place, other) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = place.path().display().to_string();
    let server = MetricsServer::start_with(dir.path(), &["--enable-admin-api"]);
    filled(&server).await;
    let (code, said) = series_command(&["backup", "--to", &url, "--data"], dir.path());
    assert!(code == Some(2) && said.contains("--server URL"), "{said}");
    let (code, said) = series_command(&["backup", "--to", &url, "--server", &server.url(), "--data"], dir.path());
    assert!(code == Some(0) && said.contains("2 files") && said.contains("sent 2 of them"), "{said}");
    let mut client = server.client().await;
    client.written(samples([(UP, 600_000, 5.0)])).await;
    assert_eq!(server.stop(), Some(0));
    let (code, said) = series_command(&["backup", "--to", &url, "--data"], dir.path());
    assert!(code == Some(0) && said.contains("3 files") && said.contains("sent 2 of them"), "{said}");
    let left = std::fs::read_dir(dir.path().join("snapshots")).unwrap().count();
    assert_eq!(left, 0, "snapshots are removed again");
    let (_, listed) = series_command(&["restore", "--list", "--from", &url, "--data"], other.path());
    let names: Vec<&str> = listed.lines().collect();
    assert_eq!(names.len(), 2, "{listed}");

    // A restore that was interrupted before its last file: nobody takes that for a store, and it can go on.
    let half = tempfile::tempdir().unwrap();
    let resume = ["restore", "--from", &url, "--data"];
    assert_eq!(series_command(&resume, half.path()).0, Some(0));
    std::fs::remove_file(half.path().join("series/MANIFEST")).unwrap();
    let (code, said) = series_command(&["backup", "--to", &url, "--data"], half.path());
    assert!(code == Some(2) && said.contains("a restore into it has not ended"), "{said}");
    let started = refused(half.path(), &[]);
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(!started.status.success() && said.contains("MANIFEST is missing and there are blocks"), "{said}");
    let (code, said) = series_command(&resume, half.path());
    assert!(code == Some(0) && said.contains("fetched 1 of them"), "{said}");

    // Another server's blocks have the same names.
    let stranger = tempfile::tempdir().unwrap();
    let server = MetricsServer::start(stranger.path());
    server.client().await.written(samples([(UP, 600_000, 7.0)])).await;
    assert_eq!(server.stop(), Some(0));
    let (code, said) = series_command(&["backup", "--to", &url, "--data"], stranger.path());
    assert!(code == Some(2) && said.contains("backups of another store"), "{said}");
    assert_eq!(std::fs::read_dir(stranger.path().join("snapshots")).unwrap().count(), 0, "its snapshot is gone");

    for (name, samples) in [(names[0], "20"), (names[1], "21")] {
        let data = other.path().join(name);
        let restore = ["restore", "--from", &url, "--name", name, "--data"];
        let (code, said) = series_command(&restore, &data);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = series_command(&["verify"], &data);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = series_command(&restore, &data);
        assert!(code == Some(2) && said.contains("holds a store already"), "{said}");
        let server = MetricsServer::start(&data);
        let mut client = server.client().await;
        assert_eq!(client.query("sum(count_over_time(up[1h]))", 600.0).await[0]["value"], json!([600, samples]));
        assert_eq!(server.stop(), Some(0));
    }
}

#[tokio::test]
async fn a_stop_ends_with_everything_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start_with(dir.path(), &["--durability", "relaxed"]);
    filled(&server).await;
    assert_eq!(server.stop(), Some(0));
    let server = MetricsServer::start(dir.path());
    let mut client = server.client().await;
    assert_eq!(client.query("sum(count_over_time(up[10m]))", 540.0).await[0]["value"], json!([540, "20"]));
}

#[tokio::test]
async fn writers_beyond_the_budget_are_asked_to_come_again_and_memory_stays_bounded() {
    const WRITERS: usize = 48;
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start_with(dir.path(), &["--intake-memory", "1MiB"]);
    let before = server.rss_max();
    // 4,000 new series a writer, some 200 KiB a request: about five fit into the budget at once.
    let writers = (0..WRITERS).map(|writer| {
        let address = server.address;
        tokio::spawn(async move {
            let names: Vec<(String, String)> = (0..4_000)
                .map(|n| (format!("series_{writer}_{n}"), format!("{:032x}", n * 2_654_435_761_u64)))
                .collect();
            let (mut taken, mut later) = (0, 0);
            for round in 0..3 {
                let labels: Vec<[(&str, &str); 2]> =
                    names.iter().map(|(name, salt)| [("__name__", name.as_str()), ("salt", salt.as_str())]).collect();
                let body = samples(labels.iter().map(|labels| (&labels[..], round * 1000, 1.0)));
                let mut client = Client::connect(address).await.unwrap();
                match client.write(body).await {
                    Some((204, ..)) => taken += 1,
                    Some((503, headers, _)) => {
                        assert_eq!(headers["retry-after"], "1");
                        later += 1;
                    }
                    Some((status, _, text)) => panic!("{status}: {}", String::from_utf8_lossy(&text)),
                    None => panic!("the connection broke"),
                }
            }
            (taken, later)
        })
    });
    let (mut taken, mut later) = (0, 0);
    for writer in writers.collect::<Vec<_>>() {
        let (one_taken, one_later) = writer.await.unwrap();
        taken += one_taken;
        later += one_later;
    }
    assert_eq!(taken + later, WRITERS * 3);
    assert!(taken > 0, "nobody was served");
    let mut client = server.client().await;
    let (_, series) = client.get("/api/v1/status/tsdb").await;
    let series = series["data"]["headStats"]["numSeries"].as_u64().unwrap();
    let grown = server.rss_max() - before;
    // 4 KiB a series would be far too much, and bodies of all writers would be more on top.
    assert!(grown < 128 * (1 << 20) + series * 4096, "{grown} bytes for {series} series; {taken} taken, {later} later");
    println!("{taken} requests taken, {later} asked to come again; {series} series, {grown} bytes");
}

#[tokio::test]
async fn bad_requests_harm_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start(dir.path());
    let mut client = server.client().await;
    client.written(samples([(UP, 1_000, 1.0)])).await;
    let huge = Bytes::from(vec![0_u8; 33 << 20]);
    assert_eq!(client.write(huge).await.map_or(413, |(status, ..)| status), 413);
    let mut client = server.client().await;
    assert_eq!(client.write(Bytes::from_static(b"garbage")).await.unwrap().0, 400);
    let ahead = samples([(UP, i64::MAX, 1.0), (DOWN, i64::MIN, f64::NAN), (DOWN, 5, f64::INFINITY)]);
    let (status, _, text) = client.write(ahead).await.unwrap();
    assert_eq!(status, 400);
    assert!(text.starts_with(b"out of bounds: 1 sample"), "{}", String::from_utf8_lossy(&text));
    assert_eq!(client.query("up", 1.0).await.as_array().unwrap().len(), 2);
    let wide: Vec<(String, String)> = (0..10_000).map(|n| (format!("label_{n:05}"), "x".to_owned())).collect();
    let mut labels: Vec<(&str, &str)> = vec![("__name__", "wide")];
    labels.extend(wide.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let (status, _, text) = client.write(samples([(&labels[..], 1, 1.0)])).await.unwrap();
    assert!(status == 400 && text.starts_with(b"invalid labels"), "{}", String::from_utf8_lossy(&text));
    for (path, expected) in [
        ("/api/v1/query?query=", "unknown position: parse error: no expression found in input"),
        ("/api/v1/query?query=sum(", "1:5: parse error: unclosed left parenthesis"),
        ("/api/v1/query?query=up&time=now", "cannot parse \"now\" to a valid timestamp"),
        (
            "/api/v1/query_range?query=up&start=0&end=10&step=0",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=11001&step=1",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
    ] {
        let (status, answer) = client.get(path).await;
        let error = answer["error"].as_str().unwrap();
        assert!(status == 400 && error.ends_with(expected), "{path}: {status} {error}");
    }
    let (_, healthy) = client.get("/-/healthy").await;
    assert_eq!(healthy, Value::from("the process runs\n"));
}

#[tokio::test]
async fn limits_of_queries_are_those_of_the_flags() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--query-samples-max", "5", "--lookback", "30s", "--disable-feature", "promql-experimental-functions"];
    let server = MetricsServer::start_with(dir.path(), &flags);
    filled(&server).await;
    let mut client = server.client().await;
    let (status, answer) = client.get("/api/v1/query?query=count_over_time(up%5B10m%5D)&time=540").await;
    assert_eq!((status, &answer["errorType"]), (422, &json!("execution")), "{answer}");
    assert_eq!(client.query("up", 529.0).await, json!([]), "nothing within 30 s");
    let (status, answer) = client.get("/api/v1/query?query=limitk(1,up)&time=540").await;
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")), "{answer}");
    let (_, flags) = client.get("/api/v1/status/flags").await;
    assert_eq!(flags["data"]["lookback"], "30s");
}

#[test]
fn what_is_wrong_at_the_start_is_told_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let said = |args: &[&str]| {
        let output = refused(&dir.path().join("data"), args);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap().to_string();
    for (args, code, text) in [
        (&["--listen", &taken_address][..], 1, "choose another `--listen` address or stop what holds it"),
        (&["--listen", "0.0.0.0:0"], 1, "everybody who reaches it may read and write"),
        (&["--listen", "nowhere"], 2, "--listen"),
        (&["--lookback", "5"], 2, "write numbers with units"),
        (&["--lookback", "0s"], 2, "`--lookback` must be longer than nothing"),
        (&["--query-samples-max", "0"], 2, "write a whole number above zero"),
        (&["--intake-memory", "64"], 2, "write a whole number and a unit"),
        (&["--durability", "maybe"], 2, "possible values: durable, relaxed"),
        (&["--enable-feature", "promql-everything"], 2, "there is no feature `promql-everything`"),
        (&["--no-such-flag"], 2, "unexpected argument"),
    ] {
        let (got, stderr) = said(args);
        assert!(got == Some(code) && stderr.contains(text), "{args:?}: {got:?} {stderr}");
    }
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let output = refused(&file.join("data"), &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("cannot use the data directory") && stderr.contains("`--data`"), "{stderr}");
}

#[test]
fn one_data_directory_has_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let first = MetricsServer::start(dir.path());
    let output = refused(dir.path(), &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains("is in use by another process"), "{stderr}");
    assert_eq!(first.stop(), Some(0));
    assert_eq!(MetricsServer::start(dir.path()).stop(), Some(0));
}

#[test]
fn an_early_signal_is_a_stop_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), &[]).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    // It may come before the process listens for signals, and then ends it in the system's way.
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while child.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < deadline, "it does not end");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_snapshot_opens_like_any_store_and_what_was_deleted_is_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let server = MetricsServer::start(dir.path());
    let mut client = server.client().await;
    let path = "/api/v1/admin/tsdb/snapshot";
    let (status, _, _) = client.send("POST", path, &[], Bytes::new()).await.unwrap();
    assert_eq!(status, 503, "it has to be switched on");
    assert_eq!(server.stop(), Some(0));

    let server = MetricsServer::start_with(dir.path(), &["--enable-admin-api"]);
    filled(&server).await;
    let mut client = server.client().await;
    let (status, _, answer) = client.send("POST", path, &[], Bytes::new()).await.unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let name = answer["data"]["name"].as_str().unwrap().to_owned();
    let delete = "/api/v1/admin/tsdb/delete_series?match%5B%5D=up%7Bjob%3D%22db%22%7D";
    assert_eq!(client.send("POST", delete, &[], Bytes::new()).await.unwrap().0, 204);
    assert_eq!(client.query("up", 540.0).await.as_array().unwrap().len(), 1);
    let clean = "/api/v1/admin/tsdb/clean_tombstones";
    assert_eq!(client.send("POST", clean, &[], Bytes::new()).await.unwrap().0, 204);
    assert_eq!(client.query("up", 540.0).await.as_array().unwrap().len(), 1);
    assert_eq!(server.stop(), Some(0));

    // The snapshot is what `DIR/series` was.
    let other = tempfile::tempdir().unwrap();
    std::fs::rename(dir.path().join("snapshots").join(name), other.path().join("series")).unwrap();
    let server = MetricsServer::start(other.path());
    assert_eq!(server.client().await.query("sum(count_over_time(up[10m]))", 540.0).await[0]["value"][1], "20");
}

/// Asks until a query has an answer; the test runner ends a test that never gets one.
async fn until_found(client: &mut Client, query: &str) -> Value {
    loop {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let found = client.query(query, now).await;
        if found.as_array().is_some_and(|found| !found.is_empty()) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn targets_of_a_prometheus_file_are_scraped() {
    // What is scraped is a server of ours: its own metrics are an exposition like any other.
    let (scraped_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let scraped = MetricsServer::start(scraped_dir.path());
    let file = dir.path().join("prometheus.yml");
    let text = format!(
        "scrape_configs:
  - job_name: ours
    scrape_interval: 100ms
    scrape_timeout: 100ms
    static_configs: [{{targets: ['{}'], labels: {{zone: a}}}}]
    metric_relabel_configs: [{{action: labeldrop, regex: zone}}]
  - job_name: nobody
    scrape_interval: 100ms
    scrape_timeout: 100ms
    file_sd_configs: [{{files: ['*.targets.json']}}]
",
        scraped.address
    );
    std::fs::write(&file, text).unwrap();
    // A port that nobody listens on.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(dir.path().join("x.targets.json"), format!("[{{\"targets\": [\"{free}\"]}}]")).unwrap();
    let data = dir.path().join("data");
    let server = MetricsServer::start_with(&data, &["--scrape-config", file.to_str().unwrap()]);
    let mut client = server.client().await;
    let found = until_found(&mut client, "up{job=\"ours\"} == 1").await;
    assert_eq!(found[0]["metric"]["instance"], scraped.address.to_string());
    assert_eq!(found[0]["metric"]["zone"], "a", "labels of the target itself stay on `up`");
    let found = until_found(&mut client, "{__name__=~\"homeostat_.+\", job=\"ours\"}").await;
    assert_eq!(found[0]["metric"].get("zone"), None);
    until_found(&mut client, "up{job=\"nobody\"} == 0").await;
    let (_, targets) = client.get("/api/v1/targets?scrapePool=nobody").await;
    assert_eq!(targets["data"]["activeTargets"][0]["health"], "down");
    assert_eq!(server.stop(), Some(0));
}

/// A file with one job for each name; all scrape the same target.
fn jobs_file(names: &[&str], target: SocketAddr) -> String {
    let job = |name: &&str| {
        format!(
            "  - {{job_name: {name}, scrape_interval: 100ms, scrape_timeout: 100ms, static_configs: [{{targets: ['{target}']}}]}}\n"
        )
    };
    format!("scrape_configs:\n{}", names.iter().map(job).collect::<String>())
}

#[tokio::test]
async fn a_changed_file_is_taken_over_and_a_bad_one_changes_nothing() {
    let (scraped_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let scraped = MetricsServer::start(scraped_dir.path());
    let file = dir.path().join("prometheus.yml");
    std::fs::write(&file, jobs_file(&["stays", "goes"], scraped.address)).unwrap();
    let data = dir.path().join("data");
    let server = MetricsServer::start_with(&data, &["--scrape-config", file.to_str().unwrap(), "--enable-lifecycle"]);
    let mut client = server.client().await;
    until_found(&mut client, "up{job=\"goes\"} == 1").await;

    // Seen by the watch, without anybody asking.
    std::fs::write(&file, jobs_file(&["stays", "comes"], scraped.address)).unwrap();
    until_found(&mut client, "up{job=\"comes\"} == 1").await;
    // The job that is gone has ended its series; the one that stayed has no gap: no stale marker lies in its samples.
    until_found(&mut client, "absent(up{job=\"goes\"})").await;
    until_found(&mut client, "up{job=\"stays\"} == 1").await;
    assert_eq!(client.get("/api/v1/scrape_pools").await.1["data"]["scrapePools"], json!(["comes", "stays"]));

    std::fs::write(&file, "scrape_configs:\n  - job_nam: x\n").unwrap();
    let (status, said) = client.text("POST", "/-/reload").await;
    assert_eq!(status, 500);
    assert!(said.contains("prometheus.yml:2:5") && said.contains("job_name"), "{said}");
    let found = until_found(&mut client, "up{job=\"comes\"} == 1").await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    let (_, metrics) = client.text("GET", "/metrics").await;
    assert!(metrics.contains("\nprometheus_config_last_reload_successful 0\n"), "{metrics}");

    std::fs::write(&file, jobs_file(&["comes"], scraped.address)).unwrap();
    let (status, said) = client.text("POST", "/-/reload").await;
    assert_eq!((status, said.as_str()), (200, ""));
    let (_, metrics) = client.text("GET", "/metrics").await;
    assert!(metrics.contains("\nprometheus_config_last_reload_successful 1\n"), "{metrics}");
    let (_, config) = client.get("/api/v1/status/config").await;
    assert!(config["data"]["yaml"].as_str().unwrap().contains("job_name: comes"), "{config}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_broken_scrape_configuration_is_told_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prometheus.yml");
    std::fs::write(&file, "scrape_configs:\n  - job_nam: a\n  - job_name: b\n    scheme: ftp\n").unwrap();
    let output = refused(dir.path(), &["--scrape-config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("write `job_name`") && said.contains("`https`") && said.contains(":4:"), "{said}");
}

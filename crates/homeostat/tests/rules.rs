//! Rules of `homeostat server` from outside: what they write, what fires, who is told, and what a restart remembers.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, and say when they have to skip"
)]

#[path = "common/metrics_server.rs"]
mod metrics_server;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use metrics_server::{Client, MetricsServer, refused, samples};

const UP: &[(&str, &str)] = &[("__name__", "up"), ("instance", "a:1"), ("job", "api")];

const RULES: &str = "groups:
- name: example
  interval: 100ms
  labels: {team: core}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - record: job:up:twice
    expr: job:up:sum * 2
  - alert: Down
    expr: up == 0
    for: 200ms
    labels: {severity: page}
    annotations: {summary: '{{ $labels.instance }} of {{ $labels.job }} is at {{ $value | humanize }}'}
  - alert: Never
    expr: vector(1) > 2
";

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

async fn set_up(client: &mut Client, value: f64) {
    client.written(samples([(UP, now_ms(), value)])).await;
}

/// Asks until the answer is as it should be; the test runner ends a test that never gets one.
async fn until(client: &mut Client, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let (_, answer) = client.get(path).await;
        if holds(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_found(client: &mut Client, query: &str) -> Value {
    loop {
        let found = client.query(query, now_ms() as f64 / 1000.0).await;
        if found.as_array().is_some_and(|found| !found.is_empty()) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn has_alert(answer: &Value, state: &str) -> bool {
    answer["data"]["alerts"].as_array().unwrap().iter().any(|alert| alert["state"] == state)
}

#[tokio::test]
async fn rules_are_evaluated_shown_counted_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yml");
    std::fs::write(&rules, RULES).unwrap();
    let pattern = dir.path().join("*.yml").display().to_string();
    let server = MetricsServer::start_with(&dir.path().join("data"), &["--rules", &pattern]);
    let mut client = server.client().await;
    set_up(&mut client, 0.0).await;

    let found = until_found(&mut client, "job:up:twice").await;
    assert_eq!(found[0]["metric"], json!({ "__name__": "job:up:twice", "job": "api", "team": "core" }));
    let answer = until(&mut client, "/api/v1/alerts", |answer| has_alert(answer, "firing")).await;
    let alert = &answer["data"]["alerts"][0];
    assert_eq!(
        alert["labels"],
        json!({ "alertname": "Down", "instance": "a:1", "job": "api", "severity": "page", "team": "core" })
    );
    assert_eq!(alert["annotations"], json!({ "summary": "a:1 of api is at 0" }));
    assert_eq!(alert["value"], "0e+00");
    until_found(&mut client, "ALERTS{alertstate=\"firing\", alertname=\"Down\"} == 1").await;
    until_found(&mut client, "ALERTS_FOR_STATE > 1e9").await;

    let (_, answer) = client.get("/api/v1/rules").await;
    let group = &answer["data"]["groups"][0];
    assert_eq!((&group["name"], &group["file"]), (&json!("example"), &json!(rules.display().to_string())));
    assert_eq!((&group["interval"], &group["limit"]), (&json!(0.1), &json!(0)));
    let [sum, _, down, never] = group["rules"].as_array().unwrap().as_slice() else { panic!("{group}") };
    assert_eq!((&sum["type"], &sum["health"], &sum["name"]), (&json!("recording"), &json!("ok"), &json!("job:up:sum")));
    assert_eq!(sum["query"], "sum by (job) (up)");
    assert_eq!((&down["type"], &down["state"], &down["duration"]), (&json!("alerting"), &json!("firing"), &json!(0.2)));
    assert_eq!((&never["state"], &never["alerts"]), (&json!("inactive"), &json!([])));
    let count = |answer: &Value| answer["data"]["groups"].as_array().unwrap().len();
    for (query, groups) in [
        ("type=alert&rule_name[]=Down", 1),
        ("type=record&rule_name[]=Down", 0),
        ("rule_group[]=other", 0),
        ("file[]=other.yml", 0),
        ("match[]={severity=%22page%22}", 1),
        ("match[]={severity=%22none%22}", 0),
        ("group_limit=1", 1),
    ] {
        let (status, answer) = client.get(&format!("/api/v1/rules?{query}")).await;
        assert_eq!((status, count(&answer)), (200, groups), "{query}");
    }
    assert_eq!(client.get("/api/v1/rules?type=x").await.0, 400);
    let (_, metrics) = client.text("GET", "/metrics").await;
    assert!(
        metrics.contains("prometheus_rule_evaluations_total{rule_group=")
            && metrics.contains("prometheus_rule_group_rules{")
    );

    set_up(&mut client, 1.0).await;
    until(&mut client, "/api/v1/alerts", |answer| answer["data"]["alerts"] == json!([])).await;
    until_found(&mut client, "absent(ALERTS)").await;
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn a_reload_changes_rules_and_bad_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yml");
    let group = |rule: &str| format!("groups: [{{name: g, interval: 50ms, rules: [{rule}]}}]\n");
    std::fs::write(&rules, group("{record: first, expr: '1'}, {record: stays, expr: '2'}")).unwrap();
    let args = ["--rules", rules.to_str().unwrap(), "--enable-lifecycle"];
    let server = MetricsServer::start_with(&dir.path().join("data"), &args);
    let mut client = server.client().await;
    until_found(&mut client, "first == 1").await;
    std::fs::write(&rules, group("{record: first, expr: 'sum('}")).unwrap();
    let (status, said) = client.text("POST", "/-/reload").await;
    assert!(status == 500 && said.contains("rules.yml:1"), "{status} {said}");
    until_found(&mut client, "first == 1").await;
    std::fs::write(&rules, group("{record: stays, expr: '2'}, {record: second, expr: '3'}")).unwrap();
    assert_eq!(client.text("POST", "/-/reload").await.0, 200);
    until_found(&mut client, "second == 3").await;
    until_found(&mut client, "absent(first)").await;
    until_found(&mut client, "stays == 2").await;
}

#[test]
fn bad_rules_are_told_at_once_and_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yml");
    std::fs::write(&rules, "groups:\n- name: g\n  rules:\n  - record: a\n    expr: sum(\n  - alert: b\n    exp: up\n")
        .unwrap();
    let output = refused(&dir.path().join("data"), &["--rules", rules.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("rules.yml:5:11") && said.contains("write `expr`"), "{said}");
}

#[test]
fn the_same_files_are_good_for_us_and_for_promtool() {
    let dir = tempfile::tempdir().unwrap();
    let check = |text: &str| {
        let file = dir.path().join("rules.yml");
        std::fs::write(&file, text).unwrap();
        let ours = Command::new(env!("CARGO_BIN_EXE_homeostat")).args(["check", "rules"]).arg(&file).output().unwrap();
        let theirs = Command::new("promtool").args(["check", "rules", "--lint=none"]).arg(&file).output();
        (ours, theirs.ok())
    };
    // What 2.42 knows: `keep_firing_for` came with it, labels of groups came later.
    let usual = RULES.replace("  labels: {team: core}\n", "");
    let other = "groups: [{name: g, rules: [{alert: a, expr: 'rate(x[5m]) > 1', for: 1h30m, keep_firing_for: 5m, \
                 annotations: {d: '{{ range query \"up\" }}{{ .Labels.job }}{{ end }}{{ with $labels }}{{ .a }}{{ end }}'}}]}]";
    for (text, good) in [
        (usual.as_str(), true),
        (other, true),
        ("groups: []", true),
        ("{}", true),
        ("groups: [{name: g, rules: [{record: a, expr: 'sum('}]}]", false),
        ("groups: [{name: g, rules: [{record: a}]}]", false),
        ("groups: [{name: g, rules: [{alert: a, record: b, expr: up}]}]", false),
        ("groups: [{name: g, rules: [{record: a, expr: up, for: 5m}]}]", false),
        ("groups: [{name: g, rules: [{alert: a, expr: up, annotations: {b: '{{ $nobody }}'}}]}]", false),
        ("groups: [{name: g}, {name: g}]", false),
        ("groups: [{name: ''}]", false),
        ("groups: [{name: g, rules: [{alert: a, expr: up, labels: {__name__: x}}]}]", false),
        ("rules: []", false),
    ] {
        let (ours, theirs) = check(text);
        let said = format!("{}{}", String::from_utf8_lossy(&ours.stdout), String::from_utf8_lossy(&ours.stderr));
        assert_eq!(ours.status.success(), good, "{text}\n{said}");
        match theirs {
            Some(theirs) => {
                let said = String::from_utf8_lossy(&theirs.stderr);
                assert_eq!(theirs.status.success(), good, "promtool: {text}\n{said}");
            }
            None => println!("SKIPPED: promtool (package prometheus) is not installed"),
        }
    }
}

/// A real Alertmanager; killed when dropped.
struct Alertmanager {
    child: Child,
    address: SocketAddr,
}

impl Alertmanager {
    fn start(dir: &Path) -> Option<Self> {
        let config = dir.join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
        let spawned = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.join("alertmanager").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            println!("SKIPPED: prometheus-alertmanager (package prometheus-alertmanager) is not installed");
            return None;
        };
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(log.by_ref().map_while(Result::ok).any(|line| line.contains("Listening on")), "it ended");
        std::thread::spawn(move || log.for_each(drop));
        Some(Self { child, address })
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_alertmanager_hears_of_alerts_and_of_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let Some(alertmanager) = Alertmanager::start(dir.path()) else { return };
    std::fs::write(dir.path().join("rules.yml"), RULES).unwrap();
    let config = dir.path().join("prometheus.yml");
    let text = format!(
        "global: {{external_labels: {{region: eu}}}}
rule_files: ['*les.yml']
alerting:
  alert_relabel_configs: [{{regex: team, action: labeldrop}}]
  alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]
",
        alertmanager.address
    );
    std::fs::write(&config, text).unwrap();
    let args = ["--scrape-config", config.to_str().unwrap(), "--external-url", "http://metrics.example/"];
    let server = MetricsServer::start_with(&dir.path().join("data"), &args);
    let mut client = server.client().await;
    set_up(&mut client, 0.0).await;
    let mut theirs = Client::connect(alertmanager.address).await.unwrap();
    let heard = |answer: &Value| answer.as_array().is_some_and(|alerts| !alerts.is_empty());
    let alerts = until(&mut theirs, "/api/v2/alerts", heard).await;
    let alert = &alerts[0];
    assert_eq!(
        alert["labels"],
        json!({ "alertname": "Down", "instance": "a:1", "job": "api", "region": "eu", "severity": "page" })
    );
    assert_eq!(alert["generatorURL"], "http://metrics.example/graph?g0.expr=up+%3D%3D+0&g0.tab=1");
    let (_, known) = client.get("/api/v1/alertmanagers").await;
    let url = format!("http://{}/api/v2/alerts", alertmanager.address);
    assert_eq!(known["data"]["activeAlertmanagers"], json!([{ "url": url }]));
    set_up(&mut client, 1.0).await;
    until(&mut theirs, "/api/v2/alerts", |answer| answer == &json!([])).await;
    let (_, metrics) = client.text("GET", "/metrics").await;
    assert!(metrics.contains(&format!("prometheus_notifications_sent_total{{alertmanager=\"{url}\"}}")), "{metrics}");
}

/// Bodies of the requests that a webhook gets.
fn webhook() -> (SocketAddr, std::sync::mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (bodies, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut len = 0;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    len = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; len];
            if len == 0 || stream.read_exact(&mut body).is_err() {
                continue;
            }
            let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
            let _gone = stream.get_mut().write_all(answer.as_bytes());
            let _gone = bodies.send(serde_json::from_slice(&body).unwrap());
        }
    });
    (address, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_hears_the_beginning_and_the_end_once() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yml");
    std::fs::write(&rules, RULES).unwrap();
    let (address, heard) = webhook();
    let url = format!("http://{address}/hook");
    let args = ["--rules", rules.to_str().unwrap(), "--alert-webhook", &url];
    let server = MetricsServer::start_with(&dir.path().join("data"), &args);
    let mut client = server.client().await;
    set_up(&mut client, 0.0).await;
    let next = || tokio::task::block_in_place(|| heard.recv().unwrap());
    let firing = next();
    assert_eq!((&firing["version"], &firing["status"]), (&json!("4"), &json!("firing")));
    assert_eq!(firing["commonLabels"]["alertname"], "Down");
    assert_eq!(firing["alerts"][0]["annotations"]["summary"], "a:1 of api is at 0");
    set_up(&mut client, 1.0).await;
    let resolved = next();
    assert_eq!(
        (&resolved["status"], &resolved["alerts"][0]["labels"]["instance"]),
        (&json!("resolved"), &json!("a:1"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_hears_of_the_end_also_when_the_rule_or_the_process_went() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yml");
    let group = |name: &str, rules: &str| format!("groups: [{{name: {name}, interval: 50ms, rules: [{rules}]}}]\n");
    let both = group("g", "{alert: Ends, expr: up == 0}, {alert: Stays, expr: up == 0}");
    std::fs::write(&rules, &both).unwrap();
    let (address, heard) = webhook();
    let url = format!("http://{address}/hook");
    let args = ["--rules", rules.to_str().unwrap(), "--alert-webhook", &url, "--enable-lifecycle"];
    let data = dir.path().join("data");
    let server = MetricsServer::start_with(&data, &args);
    let mut client = server.client().await;
    set_up(&mut client, 0.0).await;
    // Alert, group key, status and beginning of everything that is heard, until an alert is heard of so.
    let mut all: Vec<[String; 4]> = Vec::new();
    let mut until_heard = |alert: &str, status: &str| {
        let wanted = |heard: &[String; 4]| heard[0] == alert && heard[2] == status;
        while !all.iter().any(wanted) {
            let body = tokio::task::block_in_place(|| heard.recv().unwrap());
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            all.extend(body["alerts"].as_array().unwrap().iter().map(|alert| {
                let name = text(&alert["labels"]["alertname"]);
                [name, text(&body["groupKey"]), text(&alert["status"]), text(&alert["startsAt"])]
            }));
        }
        let heard: Vec<_> = all.iter().filter(|heard| heard[0] == alert).cloned().collect();
        heard
    };
    until_heard("Stays", "firing");
    until_heard("Ends", "firing");
    // One ends with its rule.
    std::fs::write(&rules, group("g", "{alert: Stays, expr: up == 0}")).unwrap();
    assert_eq!(client.text("POST", "/-/reload").await.0, 200);
    let [began, ended] = until_heard("Ends", "resolved").try_into().unwrap();
    assert_eq!((&began[1], &began[3]), (&ended[1], &ended[3]));
    // The other one fires on over a restart, which nobody hears, and ends while the process is away.
    assert_eq!(server.stop(), Some(0));
    let server = MetricsServer::start_with(&data, &args);
    let mut client = server.client().await;
    until(&mut client, "/api/v1/alerts", |answer| has_alert(answer, "firing")).await;
    set_up(&mut client, 1.0).await;
    let [began, ended] = until_heard("Stays", "resolved").try_into().unwrap();
    assert_eq!((&began[1], &began[3]), (&ended[1], &ended[3]), "the same group and beginning over a restart");
    std::fs::write(&rules, group("h", "{alert: Gone, expr: up == 1}")).unwrap();
    assert_eq!(client.text("POST", "/-/reload").await.0, 200);
    until_heard("Gone", "firing");
    assert_eq!(server.stop(), Some(0));
    std::fs::write(&rules, "groups: []\n").unwrap();
    let server = MetricsServer::start_with(&data, &args);
    until_heard("Gone", "resolved");
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn objectives_are_read_again_and_an_unreadable_directory_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, objectives) = (dir.path().join("rules"), dir.path().join("slo.yaml"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("a.yml"), "groups: [{name: g, interval: 50ms, rules: [{record: r, expr: '1'}]}]\n")
        .unwrap();
    let objective = |target: &str| {
        format!(
            "version: prometheus/v1
service: shop
slos: [{{name: web, objective: {target}, sli: {{raw: {{error_ratio_query: 'rate(e[{{{{.window}}}}])'}}}}, alerting: {{}}}}]
"
        )
    };
    std::fs::write(&objectives, objective("90")).unwrap();
    let pattern = folder.join("*.yml").display().to_string();
    let args = ["--rules", &pattern, "--objectives", objectives.to_str().unwrap(), "--enable-lifecycle"];
    let server = MetricsServer::start_with(&dir.path().join("data"), &args);
    let mut client = server.client().await;
    let alert = |percent: &str| format!("> (14.4 * {percent}");
    let shows = |answer: &Value, text: &str| answer.to_string().contains(text);
    // The first groups come a moment after the server. One less 90 percent, in binary.
    until(&mut client, "/api/v1/rules", |answer| shows(answer, &alert("0.09999999999999998)"))).await;
    std::fs::write(&objectives, objective("99")).unwrap();
    assert_eq!(client.text("POST", "/-/reload").await.0, 200);
    let (_, answer) = client.get("/api/v1/rules").await;
    assert!(shows(&answer, &alert("0.01")), "{answer}");
    // A file in the place of the directory: it cannot be listed.
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    let (status, said) = client.text("POST", "/-/reload").await;
    assert!(status == 500 && said.contains("cannot list the files of"), "{status} {said}");
    let (_, answer) = client.get("/api/v1/rules").await;
    assert!(shows(&answer, "\"g\"") && shows(&answer, &alert("0.01")), "{answer}");
}

#[tokio::test]
async fn samples_that_are_refused_make_a_rule_ill() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yml");
    std::fs::write(&rules, "groups: [{name: g, interval: 50ms, rules: [{record: r, expr: '2'}]}]\n").unwrap();
    let args = ["--rules", rules.to_str().unwrap()];
    let server = MetricsServer::start_with(&dir.path().join("data"), &args);
    let mut client = server.client().await;
    until_found(&mut client, "r == 2").await;
    // A sample of the future: what the rule makes is out of order from now on.
    let future: &[(&str, &str)] = &[("__name__", "r")];
    client.written(samples([(future, now_ms() + 600_000, 1.0)])).await;
    let ill = |answer: &Value| answer["data"]["groups"][0]["rules"][0]["health"] == "err";
    let answer = until(&mut client, "/api/v1/rules", ill).await;
    let said = answer["data"]["groups"][0]["rules"][0]["lastError"].as_str().unwrap();
    assert!(said.contains("samples were not stored"), "{said}");
    let (_, metrics) = client.text("GET", "/metrics").await;
    assert!(metrics.contains("homeostat_rule_group_late_writes_total{"), "{metrics}");
}

#[tokio::test]
async fn a_restart_remembers_since_when_an_alert_has_been_pending() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yml");
    let text = "groups: [{name: g, interval: 50ms, rules: [{alert: Slow, expr: up == 0, for: 20m}]}]\n";
    std::fs::write(&rules, text).unwrap();
    let data = dir.path().join("data");
    let args = ["--rules", rules.to_str().unwrap()];
    let server = MetricsServer::start_with(&data, &args);
    let mut client = server.client().await;
    set_up(&mut client, 0.0).await;
    let since = until(&mut client, "/api/v1/alerts", |answer| has_alert(answer, "pending")).await;
    let since = since["data"]["alerts"][0]["activeAt"].as_str().unwrap().to_owned();
    until_found(&mut client, "ALERTS_FOR_STATE").await;
    server.kill();
    let server = MetricsServer::start_with(&data, &args);
    let mut client = server.client().await;
    let again = until(&mut client, "/api/v1/alerts", |answer| has_alert(answer, "pending")).await;
    let again = again["data"]["alerts"][0]["activeAt"].as_str().unwrap().to_owned();
    // Whole seconds are kept, and the time away is added.
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let (_, state) = client.get("/api/v1/query?query=up").await;
    assert_eq!(state["status"], "success");
    assert!(at(&again) < now_ms() && at(&since) / 1000 * 1000 <= at(&again), "{since} {again}");
}

#[tokio::test]
async fn objectives_become_the_series_that_dashboards_of_sloth_show() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("prometheus.yml");
    std::fs::write(&config, "global: {evaluation_interval: 100ms}\n").unwrap();
    let objectives = dir.path().join("slo.yaml");
    let text = "apiVersion: openslo/v1
kind: SLO
metadata: {name: web}
spec:
  service: shop
  indicator:
    spec:
      ratioMetric:
        bad: {metricSource: {spec: {query: 'requests_total{code=\"500\"}'}}}
        total: {metricSource: {spec: {query: requests_total}}}
  objectives: [{target: 0.9}]
";
    std::fs::write(&objectives, text).unwrap();
    let args = ["--scrape-config", config.to_str().unwrap(), "--objectives", objectives.to_str().unwrap()];
    let server = MetricsServer::start_with(&dir.path().join("data"), &args);
    let mut client = server.client().await;
    let now = now_ms();
    // Half of the requests fail: five times as many as may.
    for (at, value) in [(now - 60_000, 0.0), (now - 30_000, 30.0), (now, 60.0)] {
        let good: &[(&str, &str)] = &[("__name__", "requests_total"), ("code", "200")];
        let bad: &[(&str, &str)] = &[("__name__", "requests_total"), ("code", "500")];
        client.written(samples([(good, at, value), (bad, at, value)])).await;
    }
    let identity = "{sloth_id=\"shop-web\", sloth_service=\"shop\", sloth_slo=\"web\"}";
    for query in [
        "slo:sli_error:ratio_rate5m{sloth_window=\"5m\"} == 0.5",
        "slo:objective:ratio == 0.9",
        "abs(slo:error_budget:ratio - 0.1) < 1e-9",
        "abs(slo:current_burn_rate:ratio - 5) < 1e-9",
        "abs(slo:period_burn_rate:ratio - 5) < 1e-9",
        "abs(slo:period_error_budget_remaining:ratio + 4) < 1e-9",
        "slo:time_period:days == 30",
        "sloth_slo_info{sloth_objective=\"90\"} == 1",
        // 5 is over the slow ticket's 1 and the fast one's 3, and below the page's 6.
        "ALERTS{alertname=\"shop-web\", alertstate=\"firing\", sloth_severity=\"ticket\"}",
    ] {
        until_found(
            &mut client,
            &format!("({query}) and on (sloth_id, sloth_service, sloth_slo) sloth_slo_info{identity}"),
        )
        .await;
    }
    until_found(&mut client, "absent(ALERTS{sloth_severity=\"page\"})").await;
}

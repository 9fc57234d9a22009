//! Over real sockets: what a webhook receives, compared with what Alertmanager itself sends; and that secrets stay secret.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use homeostat_act_notify::{
    Notify, NotifyOptions,
    spec::{ReceiverKind, ReceiverSpec, Secret},
};
use homeostat_model::{
    Span, Timestamp,
    notice::{Notice, NoticeStatus},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Generous: only a failing test waits this long.
const PATIENCE: Duration = Duration::from_mins(1);

/// One request as it arrived.
struct Received {
    head: String,
    body: Value,
}

/// An HTTP server that answers 200 to everything and hands over what it got.
fn receiver() -> (SocketAddr, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (said, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let said = said.clone();
            std::thread::spawn(move || {
                while let Some(received) = read_request(stream.as_ref().unwrap()) {
                    stream.as_ref().unwrap().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                    drop(said.send(received));
                }
            });
        }
    });
    (address, heard)
}

fn read_request(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { head: lower, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

fn labels() -> BTreeMap<String, String> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    [pair("alertname", "CanaryWorse"), pair("service", "shop"), pair("severity", "page"), pair("version", "v2 \"ü\"")]
        .into()
}

fn notice(receiver: &str) -> Notice {
    Notice {
        key: "k1".to_owned(),
        receiver: receiver.parse().unwrap(),
        group: "incident/INC-3".to_owned(),
        status: NoticeStatus::Firing,
        labels: labels(),
        annotations: [("summary".to_owned(), "shop v2 fails".to_owned())].into(),
        starts_at: Timestamp::from_unix_ms(1_750_000_000_000),
        ends_at: None,
    }
}

fn spec(kind: ReceiverKind) -> ReceiverSpec {
    ReceiverSpec {
        name: "hook".parse().unwrap(),
        kind,
        send_resolved: true,
        per_minute_max: 60,
        timeout: Span::from_secs(30),
        give_up_after: Span::from_hours(1),
        template: None,
    }
}

/// Sends one notice to a receiver of this kind until `done` says that it is enough; returns the counters.
async fn send(
    kind: ReceiverKind,
    done: impl Fn(&homeostat_act_notify::ReceiverStats) -> bool,
) -> homeostat_act_notify::NotifyStats {
    let dir = tempfile::tempdir().unwrap();
    let mut options = NotifyOptions::new(Arc::new(|| Timestamp::from_unix_ms(1_750_000_000_500)), 1);
    options.external_url = Some("https://homeostat.example".to_owned());
    let (notify, handle) = Notify::open(dir.path(), vec![spec(kind)], options).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(notify.run(stop.clone()));
    handle.enqueue(notice("hook")).unwrap();
    let enough = async {
        while !done(&handle.stats().receivers["hook"]) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, enough).await.unwrap();
    stop.cancel();
    task.await.unwrap();
    handle.stats()
}

async fn webhook_payload() -> Received {
    let (address, heard) = receiver();
    let url = Secret::new(format!("http://{address}/hook?token=t"));
    let kind = ReceiverKind::Webhook { url, bearer: Some(Secret::new("b3arer".to_owned())) };
    send(kind, |stats| stats.delivered == 1).await;
    heard.recv_timeout(PATIENCE).unwrap()
}

#[tokio::test]
async fn a_webhook_gets_one_authorised_json_request() {
    let received = webhook_payload().await;
    assert!(received.head.starts_with("post /hook?token=t http/1.1\r\n"), "{}", received.head);
    for header in ["content-type: application/json", "authorization: bearer b3arer", "user-agent: homeostat/"] {
        assert!(received.head.contains(header), "{}", received.head);
    }
    assert_eq!(received.body["version"], "4");
    assert_eq!(received.body["alerts"][0]["generatorURL"], "https://homeostat.example/#/incident/3");
}

#[tokio::test]
async fn the_payload_has_every_field_that_alertmanager_itself_sends() {
    let ours = webhook_payload().await.body;
    let Some(theirs) = alertmanager_payload() else {
        println!("Alertmanager is not installed: nothing was compared");
        return;
    };
    assert_same_shape(&theirs, &ours, "");
    assert_eq!(theirs["version"], ours["version"]);
    for field in ["labels", "status", "fingerprint", "startsAt", "endsAt"] {
        assert_eq!(theirs["alerts"][0][field], ours["alerts"][0][field], "{field}");
    }
}

/// Every field of theirs is one of ours, with the same JSON type.
fn assert_same_shape(theirs: &Value, ours: &Value, place: &str) {
    assert_eq!(std::mem::discriminant(theirs), std::mem::discriminant(ours), "{place}: {theirs} and {ours}");
    match theirs {
        Value::Object(fields) if !place.ends_with("Labels") && !place.ends_with("labels") => {
            for (name, value) in fields {
                let own = ours.get(name).unwrap_or_else(|| panic!("{place}.{name} is missing"));
                assert_same_shape(value, own, &format!("{place}.{name}"));
            }
        }
        Value::Array(items) => assert_same_shape(&items[0], &ours[0], &format!("{place}[0]")),
        _ => {}
    }
}

/// What a real Alertmanager sends to a webhook about the same alert; `None` where it is not installed.
fn alertmanager_payload() -> Option<Value> {
    let (hook, heard) = receiver();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("alertmanager.yml");
    let text = format!(
        "route: {{receiver: hook, group_by: [alertname, service], group_wait: 0s}}\n\
         receivers: [{{name: hook, webhook_configs: [{{url: 'http://{hook}/'}}]}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    // It takes no port 0 that one could learn afterwards; a port that was free a moment ago has to do.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spawn = |name| {
        Command::new(name)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
    };
    let mut alertmanager = spawn("prometheus-alertmanager").or_else(|_| spawn("alertmanager")).ok()?;
    let alert = serde_json::json!([{
        "labels": labels(), "annotations": { "summary": "shop v2 fails" }, "startsAt": "2025-06-15T15:06:40Z",
        "endsAt": "2999-01-01T00:00:00Z",
    }]);
    let request = format!(
        "POST /api/v2/alerts HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{alert}",
        alert.to_string().len()
    );
    let deadline = std::time::Instant::now() + PATIENCE;
    let payload = loop {
        let posted = TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        if posted.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            break heard.recv_timeout(PATIENCE).unwrap().body;
        }
        assert!(std::time::Instant::now() < deadline, "Alertmanager did not come up");
        std::thread::sleep(Duration::from_millis(20));
    };
    alertmanager.kill().unwrap();
    alertmanager.wait().unwrap();
    Some(payload)
}

/// Everything that is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_logs_nor_errors_nor_counters_tell_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);

    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (plain_http, _kept) = receiver();
    let mut said = String::new();
    for url in [
        format!("http://{refusing}/s3cret?access_token=s3cret"),
        // TLS to a server that speaks none.
        format!("https://{plain_http}/s3cret"),
        "http://s3cret-host.invalid/s3cret".to_owned(),
    ] {
        let secret = Some(Secret::new("s3cret".to_owned()));
        let kind = ReceiverKind::DingTalk { url: Secret::new(url), secret };
        let shown = format!("{kind:?}");
        let stats = send(kind, |stats| stats.retries >= 1).await;
        let mut metrics = String::new();
        stats.write_metrics(&mut metrics);
        said = [said, shown, format!("{stats:?} {:?}", stats.problems()), metrics].join("\n");
    }
    drop(guard);
    said += &String::from_utf8_lossy(&log.0.lock().unwrap());
    assert!(said.contains("a message could not be delivered"), "the failures were logged: {said}");
    for word in ["connection refused", "TLS failed", "its name does not resolve"] {
        assert!(said.contains(word), "`{word}` helps the operator:\n{said}");
    }
    for word in ["s3cret", &refusing.to_string(), &plain_http.to_string()] {
        assert!(!said.contains(word), "`{word}` leaked:\n{said}");
    }
}

//! The generator against servers that behave well, badly, or not at all.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use homeostat_load::{Load, Mix, Report, RunningLoad, ShopMix};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// A server of hand-written bytes: `answer` gets each request's text and returns what to send; empty closes.
async fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, answer) = (listener.local_addr().unwrap(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(converse(socket, answer.clone()));
        }
    });
    at
}

async fn converse(mut socket: TcpStream, answer: Arc<impl Fn(&str) -> String>) {
    let mut bytes = vec![0; 4_096];
    loop {
        let read = socket.read(&mut bytes).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        let said = answer(std::str::from_utf8(&bytes[..read]).unwrap());
        if said.is_empty() || socket.write_all(said.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn reply(status: &str, version: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nx-version: {version}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn load(at: SocketAddr, mix: Mix) -> Load {
    Load { label_header: Some("x-version".parse().unwrap()), ..Load::new(at, 2_000.0, mix) }
}

/// Waits until as many requests have ended or been dropped.
async fn until(running: &RunningLoad, ended: u64) {
    loop {
        let report = running.tally().report();
        if ended <= report.total() + report.dropped_at_client {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The servers of these tests must run on while the load waits for its last answers.
async fn finished(running: RunningLoad) -> Report {
    tokio::task::spawn_blocking(|| running.finish()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_counted_by_label_and_status() {
    let at = serve(|request| {
        let complete = request.contains("u-key: u") && request.contains("host: 127");
        if complete { reply("200 OK", "v1", "{}") } else { reply("500 Oops", "v2", "") }
    })
    .await;
    let with_key = Load { user_header: Some("u-key".parse().unwrap()), ..load(at, Mix::Get("/".into())) };
    let running = with_key.spawn(CancellationToken::new()).unwrap();
    until(&running, 200).await;
    let good = finished(running).await;
    assert_eq!((good.bad(), good.labels["v1"].statuses[&200]), (0, good.sent));
    assert!(good.labels["v1"].latency.count == good.sent && good.due == good.sent);

    let running = load(at, Mix::Get("/".into())).spawn(CancellationToken::new()).unwrap();
    until(&running, 200).await;
    let first = running.tally().first_bad("v2").unwrap();
    let bad = finished(running).await;
    assert_eq!((bad.bad(), bad.labels["v2"].statuses[&500]), (bad.sent, bad.sent));
    assert_eq!(bad.labels["v2"].first_bad, Some(first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_is_asked_on_and_its_silence_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let silent =
        Load { in_flight_max: 20, give_up_after: Duration::from_millis(200), ..load(at, Mix::Get("/".into())) };
    let running = silent.spawn(CancellationToken::new()).unwrap();
    until(&running, 1_000).await;
    let report = finished(running).await;
    assert_eq!(report.due, report.sent + report.dropped_at_client);
    assert!(20 <= report.sent && 0 < report.dropped_at_client, "{report:?}");
    let failures = &report.labels[""].failures;
    assert_eq!(failures.values().sum::<u64>(), report.sent);
    assert_eq!(failures.keys().map(|f| format!("{f:?}")).collect::<Vec<_>>(), ["Timeout"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_and_missing_servers_are_told_apart() {
    let breaking = serve(|_| String::new()).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (at, wanted) in [(breaking, "Reset"), (gone, "Connect")] {
        let running = load(at, Mix::Get("/".into())).spawn(CancellationToken::new()).unwrap();
        until(&running, 50).await;
        let report = finished(running).await;
        let failures = &report.labels[""].failures;
        assert_eq!(failures.keys().map(|f| format!("{f:?}")).collect::<Vec<_>>(), [wanted]);
        assert_eq!(report.bad(), report.sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_paid_on_the_same_connection_pool_and_targets_share_by_weight() {
    let shop = |version: &'static str| {
        move |request: &str| match request.split(' ').nth(1) {
            Some("/orders") => reply("201 Created", version, &format!(r#"{{"id":"{version}-7"}}"#)),
            Some(path) if path.ends_with("-7/pay") => reply("202 Accepted", version, ""),
            _ => reply("200 OK", version, ""),
        }
    };
    let targets = vec![(serve(shop("v1")).await, 3), (serve(shop("v2")).await, 1)];
    let mix = Mix::Shop(ShopMix { browse: 2, order: 1, pay: 1, ..ShopMix::default() });
    let running =
        Load { targets, ..load("127.0.0.1:1".parse().unwrap(), mix) }.spawn(CancellationToken::new()).unwrap();
    until(&running, 1_000).await;
    let report = finished(running).await;
    assert_eq!(report.bad(), 0, "{report:?}");
    let (v1, v2) = (&report.labels["v1"], &report.labels["v2"]);
    assert!(0 < v1.statuses[&201] && 0 < v1.statuses[&202], "{v1:?}");
    // A quarter of a thousand or more: the range is five standard deviations for the least number of draws.
    let share = v2.total() as f64 / report.total() as f64;
    assert!((0.18..0.32).contains(&share), "{share}");
}

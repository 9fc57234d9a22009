//! `kill -9` in the middle of the sale: nothing acknowledged is lost, nothing is sold twice.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod support;

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use homeostat_shop::ledger::Ledger;
use support::{order_of, send};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
};

const STOCK: u64 = 100_000;

async fn start(dir: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_homeostat-shop"))
        .args(["--items", "2", "--until-stdin-closes", "--stock", &STOCK.to_string(), "--data-dir"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).await.unwrap();
    let at = said.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
    (child, at)
}

/// Orders until the shop dies; returns what was acknowledged.
async fn buy_until_it_dies(at: SocketAddr, acknowledged: Arc<AtomicUsize>) -> Vec<u64> {
    let mut mine = Vec::new();
    while let Ok((status, body)) = send(at, "POST /orders", "", &order_of(1, 3)).await {
        assert_eq!(status, 201, "{body}");
        let order: serde_json::Value = serde_json::from_str(&body).unwrap();
        let number = order["id"].as_str().unwrap().strip_prefix("v1-").unwrap().parse().unwrap();
        mine.push(number);
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    mine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_order_survives_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 1..=3 {
        let (mut child, at) = start(dir.path()).await;
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut customers = JoinSet::new();
        for _ in 0..8 {
            customers.spawn(buy_until_it_dies(at, acknowledged.clone()));
        }
        while acknowledged.load(Ordering::Relaxed) < 50 * round {
            tokio::task::yield_now().await;
        }
        child.kill().await.unwrap();
        all.extend(customers.join_all().await.into_iter().flatten());
    }

    let (ledger, writer) = Ledger::open(&dir.path().join("orders"), 2, STOCK).unwrap();
    let orders = ledger.orders().unwrap();
    let numbers: Vec<_> = orders.iter().map(|order| order.number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "an order number was given twice");
    let lost: Vec<_> = all.iter().filter(|number| numbers.binary_search(number).is_err()).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let stock = ledger.stock(1).unwrap().unwrap();
    assert_eq!(stock.sold, orders.iter().map(|order| u64::from(order.quantity)).sum::<u64>());
    assert!(stock.sold <= STOCK && all.len() <= orders.len());
    drop(ledger);
    writer.join();
}

#[tokio::test]
async fn a_shop_ends_with_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, at) = start(dir.path()).await;
    assert_eq!(send(at, "GET /healthz", "", "").await.unwrap().0, 200);
    drop(child.stdin.take());
    assert!(child.wait().await.unwrap().success());
}

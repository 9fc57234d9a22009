//! The shop over real sockets: stock, order states, hostile input, faults, stopping.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod support;

use std::net::SocketAddr;

use homeostat_shop::{
    BoundShop, ShopConfig,
    recommender::{Known, Recommender},
};
use support::{order_of, send};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Running {
    at: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    recommender: Known,
    dir: TempDir,
}

async fn start(stock: u64, faults: &[&str]) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let config = ShopConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        version: "v1".to_owned(),
        data_dir: dir.path().to_owned(),
        items: 10,
        stock,
        faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
    };
    let shop = BoundShop::bind(config).await.unwrap();
    let (at, stop, recommender) = (shop.address(), CancellationToken::new(), shop.recommender());
    Running { at, recommender, task: tokio::spawn(shop.run(stop.clone())), stop, dir }
}

impl Running {
    async fn ask(&self, request: &str, body: &str) -> (u16, String) {
        send(self.at, request, "", body).await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_customers_at_once_buy_exactly_the_stock() {
    let shop = start(100, &[]).await;
    let mut customers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        customers.spawn(send_order(shop.at));
    }
    let statuses = customers.join_all().await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(201), count(409)), (100, 100));
    let (_, item) = shop.ask("GET /items/1", "").await;
    assert!(item.contains(r#""left":0"#), "{item}");
    shop.end().await;
}

async fn send_order(at: SocketAddr) -> u16 {
    send(at, "POST /orders", "", &order_of(1, 1)).await.unwrap().0
}

#[tokio::test]
async fn an_order_goes_forward_one_state_at_a_time() {
    let shop = start(10, &[]).await;
    let (status, body) = shop.ask("POST /orders", &order_of(3, 2)).await;
    assert_eq!(status, 201, "{body}");
    assert!(body.contains(r#""id":"v1-1""#) && body.contains(r#""state":"created""#), "{body}");
    for (verb, wanted) in [
        ("ship", 409),
        ("done", 409),
        ("pay", 200),
        ("pay", 409),
        ("ship", 200),
        ("done", 200),
        ("done", 409),
        ("pay", 409),
    ] {
        let (status, body) = shop.ask(&format!("POST /orders/v1-1/{verb}"), "").await;
        assert_eq!(status, wanted, "{verb}: {body}");
    }
    let (_, body) = shop.ask("GET /orders/v1-1", "").await;
    assert!(body.contains(r#""state":"done""#), "{body}");
    shop.end().await;
}

#[tokio::test]
async fn bad_input_is_the_clients_error() {
    let shop = start(10, &[]).await;
    let long = "x".repeat(5_000);
    for (request, body, wanted) in [
        ("GET /items/11", "", 404),
        ("GET /items/one", "", 400),
        ("GET /orders/v1-1", "", 404),
        ("GET /orders/v2-1", "", 404),
        ("GET /orders/v1-99999999999999999999", "", 404),
        ("POST /orders", "{", 400),
        ("POST /orders", r#"{"item":1,"buyer":"a","price":1}"#, 400),
        ("POST /orders", r#"{"item":1,"buyer":""}"#, 422),
        ("POST /orders", r#"{"item":1,"buyer":"a","quantity":11}"#, 422),
        ("POST /orders", r#"{"item":1,"buyer":"a","quantity":0}"#, 422),
        ("POST /orders", r#"{"item":77,"buyer":"a"}"#, 404),
        ("POST /orders", long.as_str(), 413),
        ("POST /faults/tigers", "", 422),
        ("POST /faults/errors?strength=7", "", 422),
        ("DELETE /faults/tigers", "", 404),
    ] {
        let (status, body) = shop.ask(request, body).await;
        assert_eq!(status, wanted, "{request}: {body}");
    }
    shop.end().await;
}

#[tokio::test]
async fn faults_are_switched_while_it_runs_and_not_through_a_proxy() {
    let shop = start(10, &[]).await;
    assert_eq!(shop.ask("GET /items/1", "").await.0, 200);
    let through_proxy = send(shop.at, "POST /faults/errors?strength=1", "x-forwarded-for: 10.0.0.1\r\n", "").await;
    assert_eq!(through_proxy.unwrap().0, 403);
    assert_eq!(shop.ask("POST /faults/errors?strength=1", "").await, (200, r#"["errors=1"]"#.to_owned()));
    for request in ["GET /items/1", "POST /orders", "GET /orders/v1-1"] {
        assert_eq!(shop.ask(request, "").await.0, 500, "{request}");
    }
    assert_eq!(shop.ask("GET /healthz", "").await.0, 200);
    let (_, metrics) = shop.ask("GET /metrics", "").await;
    assert!(metrics.contains("code=\"500\"} 3\n") && metrics.contains("code=\"200\"} 1\n"), "{metrics}");
    assert_eq!(shop.ask("DELETE /faults/errors", "").await, (200, "[]".to_owned()));
    assert_eq!(shop.ask("GET /items/1", "").await.0, 200);
    shop.end().await;
}

#[tokio::test]
async fn the_faults_that_are_slow_still_answer() {
    let shop = start(10, &["log=3", "json=5", "leak=4", "lock=1", "dependency=1"]).await;
    for _ in 0..3 {
        assert_eq!(shop.ask("GET /items/1", "").await.0, 200);
    }
    let log = std::fs::read_to_string(shop.dir.path().join("debug.log")).unwrap();
    assert_eq!(log.lines().filter(|line| line.ends_with("request=GET /items/1")).count(), 9);
    shop.end().await;
}

/// Eight customers at once; returns what `name` says afterwards.
async fn eight_at_once(fault: &str, name: &str) -> u64 {
    let shop = start(10, &[fault]).await;
    let mut customers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let at = shop.at;
        customers.spawn(async move { send(at, "GET /items/1", "", "").await.unwrap().0 });
    }
    assert_eq!(customers.join_all().await, [200; 8]);
    let (_, metrics) = shop.ask("GET /metrics", "").await;
    shop.end().await;
    let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_lock_across_io_lets_one_call_through_and_a_slow_dependency_many() {
    assert_eq!(eight_at_once("lock=20", "shop_recommender_calls_peak").await, 1);
    assert_eq!(eight_at_once("dependency=20", "shop_recommender_calls_total").await, 8);
    let peak = eight_at_once("dependency=200", "shop_recommender_calls_peak").await;
    assert!(1 < peak, "{peak}");
}

#[tokio::test]
async fn faults_leave_their_counts() {
    assert_eq!(eight_at_once("log=5", "shop_log_lines_total").await, 40);
    assert_eq!(eight_at_once("leak=4", "shop_leaked_bytes").await, 8 * 4 * 17);
}

/// The page of the hot item alone, and without them when there is nobody to ask.
#[tokio::test]
async fn pages_hold_what_the_recommender_says() {
    let recommender = Recommender::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (at, calls, stop) = (recommender.address().unwrap(), recommender.calls(), CancellationToken::new());
    let shop = start(10, &[]).await;
    assert!(!shop.ask("GET /items/1", "").await.1.contains("recommended"));
    shop.recommender.tell(at);
    let recommending = tokio::spawn(recommender.run(stop.clone()));
    let (_, page) = shop.ask("GET /items/1", "").await;
    assert!(page.contains(r#""recommended":[3,5,8]"#), "{page}");
    assert!(!shop.ask("GET /items/2", "").await.1.contains("recommended"));
    assert_eq!(calls.total(), 1);
    stop.cancel();
    recommending.await.unwrap();
    let (status, page) = shop.ask("GET /items/1", "").await;
    assert!(status == 200 && !page.contains("recommended"), "{page}");
    shop.end().await;
}

#[tokio::test]
async fn a_leak_at_its_cap_refuses() {
    // A million entries a request against a cap of 14 Mi: the first 14 fit.
    let shop = start(10, &["leak=1000000"]).await;
    for _ in 0..14 {
        assert_eq!(shop.ask("GET /items/1", "").await.0, 200);
    }
    assert_eq!(shop.ask("GET /items/1", "").await.0, 503);
    assert_eq!(shop.ask("DELETE /faults/leak", "").await.0, 200);
    assert_eq!(shop.ask("GET /items/1", "").await.0, 200);
    shop.end().await;
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let shop = start(10, &[]).await;
    let socket = tokio::net::TcpStream::connect(shop.at).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://shop/items/2").body(Empty::<bytes::Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    assert_eq!(response.headers()["x-shop-version"], "v1");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(std::str::from_utf8(&body).unwrap().contains(r#""id":2"#));
    drop(sender);
    shop.end().await;
}

//! The metrics server inside `homeostat up`: what it scrapes is asked by objectives, and their budgets page like those of
//! the gateway's own outcomes.

#![cfg(test)]

mod common;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{PATIENCE, Webhook, start, until};
use homeostat_model::{Actor, view::View};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

/// A warehouse that the gateway knows nothing of: each scrape finds ten more orders of each of two kinds, and of one in
/// ten of them that it failed, or of all.
struct Warehouse {
    address: SocketAddr,
    failing: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Warehouse {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let failing = Arc::new(AtomicU64::new(1));
        let failing_now = Arc::clone(&failing);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (orders, failed, failing) = (Arc::clone(&orders), Arc::clone(&failed), Arc::clone(&failing_now));
                tokio::spawn(async move {
                    let service = service_fn(move |_: Request<Incoming>| {
                        let all = orders.fetch_add(10, Ordering::Relaxed) + 10;
                        let more = failing.load(Ordering::Relaxed);
                        let bad = failed.fetch_add(more, Ordering::Relaxed) + more;
                        let text = format!(
                            "orders_total{{kind=\"a\"}} {all}\norders_total{{kind=\"b\"}} {all}\n\
                             orders_failed_total{{kind=\"a\"}} {bad}\norders_failed_total{{kind=\"b\"}} {bad}\n"
                        );
                        let answer = Response::builder().header("content-type", "text/plain; version=0.0.4");
                        async move { Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(text))).unwrap()) }
                    });
                    // The scraper left.
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Self { address, failing, task }
    }
}

impl Drop for Warehouse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(dir: &Path, target: SocketAddr) -> String {
    let scrape = dir.join("prometheus.yml");
    let text = format!(
        "scrape_configs:\n- job_name: warehouse\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  static_configs:\n  - targets: ['{target}']\n"
    );
    std::fs::write(&scrape, text).unwrap();
    format!(
        "apiVersion: homeostat/v1
kind: Gateway
spec: {{listeners: ['127.0.0.1:0'], workers: 1}}
---
apiVersion: homeostat/v1
kind: Api
spec: {{listen: 127.0.0.1:0}}
---
apiVersion: homeostat/v1
kind: Store
spec: {{dir: {data}}}
---
apiVersion: homeostat/v1
kind: Metrics
spec: {{listen: 127.0.0.1:0, scrapeConfig: {scrape}}}
---
apiVersion: homeostat/v1
kind: Service
metadata: {{name: shop}}
spec: {{versions: {{v1: 'http://127.0.0.1:9'}}}}
---
apiVersion: openslo/v1
kind: Service
metadata: {{name: warehouse}}
spec: {{description: takes orders by a queue}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {{name: orders, annotations: {{homeostat.dev/min-events: 10}}}}
spec:
  service: warehouse
  budgetingMethod: Occurrences
  timeWindow: [{{duration: 1h, isRolling: true}}]
  indicator:
    metadata: {{name: orders}}
    spec:
      ratioMetric:
        counter: true
        bad: {{metricSource: {{type: Prometheus, spec: {{query: 'orders_failed_total{{job=\"warehouse\"}}'}}}}}}
        total: {{metricSource: {{type: Prometheus, spec: {{query: 'orders_total{{job=\"warehouse\"}}'}}}}}}
  objectives: [{{target: 0.9}}]
  alertPolicies:
  - kind: AlertPolicy
    metadata: {{name: fast}}
    spec:
      conditions:
      - kind: AlertCondition
        metadata: {{name: burns}}
        spec: {{severity: page, condition: {{kind: burnrate, op: gte, threshold: 5, lookbackWindow: 1m}}}}
",
        data = dir.join("data").display(),
        scrape = scrape.display(),
    )
}

async fn get(address: SocketAddr, path: &str) -> String {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header("host", address.to_string()).body(Full::<Bytes>::default()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    driver.abort();
    String::from_utf8(body.to_vec()).unwrap()
}

fn events(view: &View) -> (u64, u64) {
    let objective = view.objectives.iter().find(|o| o.objective.name.as_str() == "orders");
    objective.map_or((0, 0), |objective| (objective.period.events.good, objective.period.events.bad))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objectives_ask_what_the_process_itself_has_scraped() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::start().await;
    let running = start(dir.path(), &config(dir.path(), warehouse.address)).await;

    let view = until(&running, "orders are counted", |view| events(view).1 >= 10).await;
    let (good, bad) = events(&view);
    assert_eq!(good, 9 * bad, "one in ten fails, in every scrape");
    let health = running.backend().health();
    assert!(health.parts.iter().any(|part| part.part == "metrics" && part.ok), "{health:?}");
    let address = running.metrics_address().unwrap();
    let answer = get(address, "/api/v1/query?query=count(orders_total)").await;
    assert!(answer.contains("\"success\"") && answer.contains("\"2\""), "{answer}");
    // The gateway's own counts know nothing of them.
    assert!(!get(running.api_address(), "/metrics").await.contains("warehouse\",version"));

    warehouse.failing.store(10, Ordering::Relaxed);
    until(&running, "the budget burns", |view| view.objectives.iter().any(|o| o.rules.iter().any(|r| r.firing))).await;
    until(&running, "somebody is paged", |view| !view.open_incidents.is_empty()).await;
    let address = running.metrics_address().unwrap();
    let samples = number(&get(address, ALL_SAMPLES).await).unwrap();
    let before = events(&running.backend().view());
    let report = running.stop().await;
    assert!(report.journal_synced);

    // The next life has nobody to ask, and finds what was kept: events in the journal, samples in the store.
    drop(warehouse);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let running = start(dir.path(), &config(dir.path(), gone)).await;
    let view = until(&running, "history came back", |view| events(view).0 >= before.0).await;
    assert!(events(&view).1 >= before.1, "{before:?}");
    let deadline = Instant::now() + PATIENCE;
    let address = loop {
        if let Some(address) = running.metrics_address() {
            break address;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let kept = number(&get(address, ALL_SAMPLES).await).unwrap();
    assert!(samples > 0.0 && kept >= samples, "{kept} of {samples}");
    running.stop().await;
}

/// How many samples of orders there are.
const ALL_SAMPLES: &str = "/api/v1/query?query=sum(count_over_time(orders_total[1h]))";

/// The only value of an answer.
fn number(answer: &str) -> Option<f64> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    answer.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_keeps_nothing_else_from_running() {
    let dir = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = config(dir.path(), warehouse.address);
    let text = text.replace(
        "{listen: 127.0.0.1:0, scrapeConfig",
        &format!("{{listen: {}, scrapeConfig", taken.local_addr().unwrap()),
    );
    let running = start(dir.path(), &text).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let health = running.backend().health();
        let metrics = health.parts.iter().find(|part| part.part == "metrics").unwrap();
        assert!(!metrics.ok);
        if metrics.detail.contains("in use") {
            assert!(health.ready && metrics.detail.contains("`listen`"), "{health:?}");
            break;
        }
        assert!(Instant::now() < deadline, "{metrics:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_hear_of_the_alerts_of_rules_and_a_reload_reads_them_again() {
    let dir = tempfile::tempdir().unwrap();
    let (warehouse, hook) = (Warehouse::start().await, Webhook::start().await);
    // Not beside the configuration, where the change itself would be seen.
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yml");
    let alert = |name: &str| {
        let rule = format!("{{alert: {name}, expr: 'orders_total > 0', labels: {{severity: page}}}}");
        std::fs::write(&rules, format!("groups: [{{name: g, interval: 100ms, rules: [{rule}]}}]\n")).unwrap();
    };
    alert("Orders");
    let text = config(dir.path(), warehouse.address)
        .replace("scrapeConfig:", &format!("rules: {}, scrapeConfig:", rules.display()));
    let receiver = |address: SocketAddr| {
        format!(
            "---\napiVersion: homeostat/v1\nkind: Receiver\nmetadata: {{name: hook}}\nspec: {{webhook: {{url: 'http://{address}/'}}}}\n"
        )
    };
    let running = start(dir.path(), &format!("{text}{}", receiver(hook.address))).await;
    let heard = async |hook: &Webhook, status: &str, name: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !hook.alerts().contains(&(status.to_owned(), name.to_owned())) {
            assert!(Instant::now() < deadline, "{status} {name}: {:?}", hook.alerts());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    heard(&hook, "firing", "Orders").await;
    alert("Others");
    running.reload(Actor::new("a test"));
    heard(&hook, "resolved", "Orders").await;
    heard(&hook, "firing", "Others").await;
    running.stop().await;
}

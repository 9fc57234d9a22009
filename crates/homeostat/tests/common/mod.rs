//! A small world around the real runtime: upstreams whose share of failures can be turned, a steady load, a webhook.
#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod process;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use homeostat::runtime::{self, Options, Running};
use homeostat_model::{incident::Incident, view::View};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Long enough for a loaded machine; reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// One version of a service: answers 200, or 500 for a share of requests, spread evenly.
pub struct Upstream {
    pub address: SocketAddr,
    failing_per_mille: Arc<AtomicU32>,
    pub served: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let failing_per_mille = Arc::new(AtomicU32::new(0));
        let served = Arc::new(AtomicU64::new(0));
        let (failing, count) = (Arc::clone(&failing_per_mille), Arc::clone(&served));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (failing, count) = (Arc::clone(&failing), Arc::clone(&count));
                tokio::spawn(async move {
                    let service = service_fn(move |_request: Request<Incoming>| {
                        let n = count.fetch_add(1, Ordering::Relaxed);
                        // Multiples of the golden ratio fill the circle evenly, so the share holds over any stretch.
                        let spread = (n.wrapping_mul(618_034) % 1_000_000) / 1_000;
                        let fails = spread < u64::from(failing.load(Ordering::Relaxed));
                        let status = if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
                        let answer = Response::builder().status(status).body(Full::new(Bytes::from_static(b"ok\n")));
                        async move { Ok::<_, Infallible>(answer.expect("a plain answer")) }
                    });
                    let _client_left = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, failing_per_mille, served, task }
    }

    /// From now on that share of requests fails.
    pub fn fail(&self, per_mille: u32) {
        self.failing_per_mille.store(per_mille, Ordering::Relaxed);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Collects what is posted to it.
pub struct Webhook {
    pub address: SocketAddr,
    posts: Arc<Mutex<Vec<serde_json::Value>>>,
    task: JoinHandle<()>,
}

impl Webhook {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let posts = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&posts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let kept = Arc::clone(&kept);
                        async move {
                            let body = request
                                .into_body()
                                .collect()
                                .await
                                .map(http_body_util::Collected::to_bytes)
                                .unwrap_or_default();
                            if let Ok(value) = serde_json::from_slice(&body) {
                                kept.lock().expect("no panic while held").push(value);
                            }
                            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                        }
                    });
                    let _sender_left = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, posts, task }
    }

    /// `status` of every alert received so far, with its `alertname`.
    pub fn alerts(&self) -> Vec<(String, String)> {
        let posts = self.posts.lock().expect("no panic while held");
        let alerts = posts.iter().flat_map(|post| post["alerts"].as_array().cloned().unwrap_or_default());
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        alerts.map(|alert| (text(&alert["status"]), text(&alert["labels"]["alertname"]))).collect()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A steady load over kept-alive connections, each its own task; counts answers by status.
pub struct Load {
    pub ok: Arc<AtomicU64>,
    pub failed: Arc<AtomicU64>,
    /// No answer at all: refused, reset, broken.
    pub lost: Arc<AtomicU64>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// `connections` clients that each ask about 200 times a second.
    pub fn start(target: SocketAddr, connections: usize) -> Self {
        let (ok, failed, lost): (Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let stop = CancellationToken::new();
        let tasks = (0..connections).map(|_| {
            let (ok, failed, lost, stop) = (Arc::clone(&ok), Arc::clone(&failed), Arc::clone(&lost), stop.clone());
            tokio::spawn(async move {
                while !stop.is_cancelled() {
                    match client(target, &ok, &failed, &stop).await {
                        Ok(()) => return,
                        Err(()) => lost.fetch_add(1, Ordering::Relaxed),
                    };
                }
            })
        });
        let tasks = tasks.collect();
        Self { ok, failed, lost, stop, tasks }
    }

    pub async fn stop(self) -> (u64, u64, u64) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.expect("a client does not panic");
        }
        (self.ok.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}

async fn client(target: SocketAddr, ok: &AtomicU64, failed: &AtomicU64, stop: &CancellationToken) -> Result<(), ()> {
    let stream = tokio::net::TcpStream::connect(target).await.map_err(|_| ())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| ())?;
    let driver = tokio::spawn(connection);
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !stop.is_cancelled() {
        pace.tick().await;
        let request = Request::get("/").header("host", "shop.test").body(Full::<Bytes>::default()).map_err(|_| ())?;
        sender.ready().await.map_err(|_| ())?;
        let answer = sender.send_request(request).await.map_err(|_| ())?;
        let counter = if answer.status().is_success() { ok } else { failed };
        answer.into_body().collect().await.map_err(|_| ())?;
        counter.fetch_add(1, Ordering::Relaxed);
    }
    drop(sender);
    driver.abort();
    Ok(())
}

/// The configuration of most tests: one service of two versions and a rollout that starts at 20 %.
pub fn config(dir: &Path, v1: SocketAddr, v2: SocketAddr, webhook: Option<SocketAddr>) -> String {
    let receiver = webhook.map_or_else(String::new, |address| {
        format!("---\napiVersion: homeostat/v1\nkind: Receiver\nmetadata: {{name: on-call}}\nspec:\n  webhook: http://{address}/\n")
    });
    format!(
        "apiVersion: homeostat/v1
kind: Gateway
spec:
  listeners: ['127.0.0.1:0']
  workers: 2
---
apiVersion: homeostat/v1
kind: Api
spec:
  listen: 127.0.0.1:0
---
apiVersion: homeostat/v1
kind: Store
spec:
  dir: {dir}
---
apiVersion: homeostat/v1
kind: Service
metadata: {{name: shop}}
spec:
  versions:
    v1: http://{v1}
    v2: http://{v2}
  objectives:
    availability: 99.9%
---
apiVersion: homeostat/v1
kind: Rollout
metadata: {{name: shop-v2}}
spec:
  service: shop
  canary: v2
  steps: [20%, 100%]
  verifyWindow: 5s
{receiver}",
        dir = dir.display()
    )
}

/// Writes a configuration and starts the runtime on it.
pub async fn start(dir: &Path, text: &str) -> Running {
    let file = write_config(dir, text);
    runtime::start(options(file)).await.expect("the runtime starts")
}

pub fn write_config(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("homeostat.yaml");
    std::fs::write(&file, text).expect("a writable folder");
    file
}

pub fn options(config: PathBuf) -> Options {
    Options { config, environment: Arc::new(|_| None) }
}

/// Waits until the view says so.
pub async fn until(running: &Running, what: &str, holds: impl Fn(&View) -> bool) -> Arc<View> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = running.backend().view();
        if holds(&view) {
            return view;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}: {view:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The newest incident of a service, once it is explained.
pub async fn explained(running: &Running, service: &str) -> Incident {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = running.backend().incidents(None, 10).await.unwrap_or_default();
        let is_it = |incident: &Incident| incident.service.as_str() == service && incident.explanation.is_some();
        if let Some(incident) = found.into_iter().find(is_it) {
            return incident;
        }
        assert!(Instant::now() < deadline, "waited in vain for an explanation");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until so many requests to a service have been answered, as the gateway counts them.
pub async fn until_answered(running: &Running, service: &str, count: u64) {
    let label = format!("service=\"{service}\"");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut text = String::new();
        running.backend().metrics(&mut text);
        let of_service = |line: &&str| line.starts_with("homeostat_requests_total{") && line.contains(&label);
        let counts = text.lines().filter(of_service).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        let answered = counts.sum::<f64>();
        if count as f64 <= answered {
            return;
        }
        assert!(Instant::now() < deadline, "{answered} requests to {service} were answered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Gateway, API and store of a test: the documents that come before those it is about.
pub fn around(dir: &Path) -> String {
    format!(
        "apiVersion: homeostat/v1
kind: Gateway
spec: {{listeners: ['127.0.0.1:0'], workers: 1}}
---
apiVersion: homeostat/v1
kind: Api
spec: {{listen: '127.0.0.1:0'}}
---
apiVersion: homeostat/v1
kind: Store
spec: {{dir: '{}'}}
---
",
        dir.join("data").display()
    )
}

/// An objective of a service that pages within seconds, for 1 % of all requests: its indicator, and the limit if it has one.
pub fn quick_objective(service: &str, indicator: &str, limit: &str) -> String {
    format!(
        "---
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {service}-quick, annotations: {{homeostat.dev/min-events: 50}}}}
spec:
  service: {service}
  indicator: {{spec: {indicator}}}
  timeWindow: [{{duration: 30d, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{target: 0.99{limit}}}]
  alertPolicies:
    - spec: {{conditions: [{{spec: {{severity: page, condition: {{kind: burnrate, threshold: 14.4, lookbackWindow: 1m}}}}}}]}}
"
    )
}

/// The weight of a version in the table that serves.
pub fn serving_weight(running: &Running, version: &str) -> u16 {
    let service = homeostat_model::ServiceName::new("shop").expect("a name");
    let table = running.gateway().table();
    let split = table.split(&service).expect("the service is known");
    split.iter().find(|(name, _)| name.as_str() == version).map_or(0, |(_, weight)| weight.basis_points())
}

//! The real binary as a child process, and its API over plain HTTP.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStderr, Command},
};

use super::PATIENCE;

/// A running `homeostat up`; killed when dropped.
pub struct Process {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    pub gateway: SocketAddr,
    pub api: SocketAddr,
}

impl Process {
    /// Starts it and waits until it says where it listens.
    pub async fn start(config: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_homeostat"))
            .args(["up", "--log-format", "json", "-c"])
            .arg(config)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (mut gateway, mut said) = (None, String::new());
        loop {
            let line = tokio::time::timeout(PATIENCE, stderr.next_line()).await.expect("in time").expect("readable");
            let Some(line) = line else { panic!("it ended early: {said}") };
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            let message = entry["fields"]["message"].as_str().unwrap_or_default().to_owned();
            if message == "gateway listens" {
                gateway = entry["fields"]["address"].as_str().and_then(|address| address.parse().ok());
            }
            if let Some(url) = message.strip_prefix("API and console at http://") {
                let api = url.trim_end_matches('/').parse().expect("an address");
                return Self { child, stderr, gateway: gateway.expect("the gateway came first"), api };
            }
            said.push_str(&line);
            said.push('\n');
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Waits until it has ended in good order by itself.
    pub async fn ended(mut self) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("in time").expect("a child");
        assert!(status.success(), "{status}");
    }

    /// What it has written to its log since the start, after its end.
    pub async fn end_of_log(mut self) -> String {
        self.child.kill().await.expect("it can be killed");
        let mut log = String::new();
        while let Ok(Some(line)) = self.stderr.next_line().await {
            log.push_str(&line);
            log.push('\n');
        }
        log
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.text("GET", path, "").await.expect("the API answers");
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    pub async fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.text("POST", path, body).await.expect("the API answers")
    }

    pub async fn metrics(&self) -> String {
        self.text("GET", "/metrics", "").await.expect("the API answers").1
    }

    async fn text(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let stream = TcpStream::connect(self.api).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.api.to_string())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_owned())))
            .ok()?;
        let answer = sender.send_request(request).await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        driver.abort();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Asks again and again until the answer satisfies.
    pub async fn until(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, answer) = self.get(path).await;
            if holds(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}: {answer:#}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

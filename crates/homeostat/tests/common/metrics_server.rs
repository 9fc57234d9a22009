//! `homeostat server` as a child process, and a client for it.
#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use bytes::Bytes;
use homeostat_model::TimeMs;
use homeostat_wire::{intake::FloatSample, remote_write::EncoderV1, snappy};
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A running server; killed when dropped.
pub struct MetricsServer {
    child: Child,
    pub address: SocketAddr,
    /// Lines that it wrote before it was ready.
    said: Vec<String>,
}

/// The command on a free port unless `args` say otherwise.
pub fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homeostat"));
    command.args(["server", "--data"]).arg(data).args(args);
    if !args.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a server that is not expected to come up.
pub fn refused(data: &Path, args: &[&str]) -> Output {
    command(data, args).output().expect("the binary starts")
}

impl MetricsServer {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// Starts it and waits until it says where it listens.
    pub fn start_with(data: &Path, args: &[&str]) -> Self {
        Self::wait_for(command(data, args))
    }

    /// As [`Self::start_with`] for a command of the test's own.
    pub fn wait_for(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::null()).spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let mut server = Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), said: Vec::new() };
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("text");
            let ready =
                line.strip_prefix("homeostat server is ready at http://").and_then(|rest| rest.strip_suffix('/'));
            if let Some(address) = ready {
                server.address = address.parse().expect("an address");
                return server;
            }
            server.said.push(line);
        }
        panic!("it says {:?} and ends", server.said)
    }

    /// The rest of a line that it wrote before it was ready.
    pub fn told(&self, begin: &str) -> &str {
        let line = self.said.iter().find_map(|line| line.strip_prefix(begin));
        line.unwrap_or_else(|| panic!("it says {:?}", self.said))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }

    /// Asks it to stop and gives its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }

    /// Most memory that it has had at once, in bytes.
    pub fn rss_max(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of Linux");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await.expect("it listens")
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

/// A kept connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

/// Status, headers and body.
pub type Reply = (u16, HeaderMap, Bytes);

impl Client {
    pub async fn connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Self { sender, host: address.to_string() })
    }

    /// `None` when the connection broke.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Option<Reply> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await.ok()?;
        let answer = self.sender.send_request(request.body(Full::new(body)).expect("a request")).await.ok()?;
        let (parts, body) = answer.into_parts();
        Some((parts.status.as_u16(), parts.headers, body.collect().await.ok()?.to_bytes()))
    }

    pub async fn write(&mut self, body: Bytes) -> Option<Reply> {
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
        self.send("POST", "/api/v1/write", &headers, body).await
    }

    /// Writes and expects it to be taken.
    pub async fn written(&mut self, body: Bytes) {
        let (status, _, text) = self.write(body).await.expect("an answer");
        assert_eq!(status, 204, "{}", String::from_utf8_lossy(&text));
    }

    pub async fn get(&mut self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.send("GET", path, &[], Bytes::new()).await.expect("an answer");
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into()))
    }

    /// Status and text of an answer without a body to ask with.
    pub async fn text(&mut self, method: &str, path: &str) -> (u16, String) {
        let (status, _, body) = self.send(method, path, &[], Bytes::new()).await.expect("an answer");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Result of an instant query.
    pub async fn query(&mut self, query: &str, at_s: f64) -> Value {
        let mut path = format!("/api/v1/query?time={at_s}&query=");
        for byte in query.bytes() {
            write!(path, "%{byte:02X}").expect("a text takes everything");
        }
        let (status, answer) = self.get(&path).await;
        assert_eq!(status, 200, "{answer}");
        answer["data"]["result"].clone()
    }
}

/// A remote write body of one sample per series.
pub fn samples<'a>(series: impl IntoIterator<Item = (&'a [(&'a str, &'a str)], TimeMs, f64)>) -> Bytes {
    let mut encoder = EncoderV1::default();
    for (labels, t_ms, value) in series {
        encoder.series(labels.iter().copied(), &[FloatSample { t_ms, value, start_ms: None }], &[], &[]);
    }
    snappy::compress(encoder.as_bytes()).expect("less than 4 GiB").into()
}

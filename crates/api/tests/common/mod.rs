//! A server on loopback with a backend of the tests, and curl to talk to it.

pub(crate) mod fake;
pub(crate) mod schema;

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
    thread::JoinHandle,
};

use homeostat_api::{
    ApiServer, Console,
    assets::Asset,
    spec::{ApiSpec, TokenSpec},
};
use tokio_util::sync::CancellationToken;

use fake::Fake;

pub(crate) const CONSOLE: Console = Console::of(&[
    Asset { path: "/assets/app-1a2b3c.js", plain: b"console.log(1)\n", gzip: Some(b"\x1f\x8bnot really") },
    Asset { path: "/index.html", plain: b"<!doctype html><title>console</title>", gzip: None },
]);

/// A running server; stopped and awaited when dropped.
pub(crate) struct Server {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) backend: Arc<Fake>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(fake: Fake, tokens: Vec<TokenSpec>) -> Self {
        let backend = Arc::new(fake);
        let stop = CancellationToken::new();
        let (said, heard) = std::sync::mpsc::channel();
        let (for_server, for_stop) = (Arc::clone(&backend), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let spec = ApiSpec { listen: "127.0.0.1:0".parse().unwrap(), external_url: None, tokens };
                let server = ApiServer::bind(spec, for_server, CONSOLE).await.unwrap();
                said.send(server.local_addr()).unwrap();
                server.run(for_stop).await;
            });
        });
        Self { address: heard.recv().unwrap(), backend, stop, thread: Some(thread) }
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Runs curl on a path with more arguments; `body` is sent as it is when there is one.
    pub(crate) fn curl(&self, path: &str, args: &[&str], body: Option<&[u8]>) -> Reply {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--max-time", "60", "--path-as-is"]).args(args);
        if body.is_some() {
            command.args(["--data-binary", "@-", "--header", "expect:"]);
        }
        let mut child = command
            .arg(self.url(path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl is installed");
        child.stdin.take().unwrap().write_all(body.unwrap_or_default()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| {
            panic!("no answer to {path}: {text}{}", String::from_utf8_lossy(&output.stderr));
        });
        Reply { head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.curl(path, &[], None)
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        self.curl(path, &["-X", "POST", "-H", "content-type: application/json"], Some(body.as_bytes()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What came back.
pub(crate) struct Reply {
    /// Status line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Checks that it is a problem document with this status and code; returns what it says.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status(), status, "{}\n{}", self.head, self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let json = self.json();
        assert_eq!((json["status"].as_u64(), json["code"].as_str()), (Some(u64::from(status)), Some(code)), "{json}");
        assert_eq!(json["type"], "about:blank");
        json["detail"].as_str().unwrap().to_owned()
    }
}

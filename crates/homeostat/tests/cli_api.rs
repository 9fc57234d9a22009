//! The commands that talk to a running instance, as a shell meets them: the real binary against a real API server whose
//! backend belongs to the test.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "../../api/tests/common/fake.rs"]
mod fake;

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Command, Output, Stdio},
    sync::Arc,
    thread::JoinHandle,
};

use fake::Fake;
use homeostat_api::{ApiServer, Console, spec::ApiSpec};
use tokio_util::sync::CancellationToken;

/// A running API; stopped and awaited when dropped.
struct Server {
    address: SocketAddr,
    backend: Arc<Fake>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Self {
        let (backend, stop) = (Arc::new(Fake::default()), CancellationToken::new());
        let (said, heard) = std::sync::mpsc::channel();
        let (for_server, for_stop) = (Arc::clone(&backend), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let spec = ApiSpec { listen: "127.0.0.1:0".parse().unwrap(), external_url: None, tokens: Vec::new() };
                let server = ApiServer::bind(spec, for_server, Console::embedded()).await.unwrap();
                said.send(server.local_addr()).unwrap();
                server.run(for_stop).await;
            });
        });
        Self { address: heard.recv().unwrap(), backend, stop, thread: Some(thread) }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeostat"));
        command.args(args).arg("--api").arg(format!("http://{}", self.address)).env_remove("HOMEOSTAT_TOKEN");
        command
    }

    /// Exit code, what was printed, and what went wrong.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let (code, out, error) = self.run(args);
        assert_eq!((code, error.as_str()), (0, ""), "{args:?}");
        out
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn pages_are_printed_and_json_is_json() {
    let server = Server::start();
    assert!(server.ok(&["status"]).contains("ready · configuration 2"));
    assert!(server.ok(&["incidents"]).contains("INC-5"));
    let page = server.ok(&["incident", "show", "INC-3"]);
    for part in ["INC-3 shop v2 fails", "Why", "Time line", "first_bad", "A-7", "v2 began"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains('\u{1b}'), "no colours in a pipe");
    assert!(server.ok(&["action", "list"]).contains("verified"));
    assert!(server.ok(&["rollout", "list"]).contains("rolled back"));
    for args in [
        &["status", "--json"][..],
        &["incidents", "--json"],
        &["incident", "show", "3", "--json"],
        &["rollout", "list", "--json"],
        &["action", "list", "--json"],
        &["audit", "--json"],
    ] {
        let out = server.ok(args);
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{args:?}: {out}");
    }
}

#[test]
fn operations_reach_the_backend_and_the_audit() {
    let server = Server::start();
    server.ok(&["rollout", "pause", "shop", "--reason", "lunch"]);
    server.ok(&["rollout", "start", "shop", "--frozen"]);
    server.ok(&["action", "extend", "A-7", "--for", "2h"]);
    server.ok(&["break-glass", "on", "--reason", "drill"]);
    server.ok(&["change", "add", "--kind", "flag", "--service", "shop", "--version", "v2", "fast checkout on"]);
    server.ok(&["change", "add", "build 7"]);
    let asked: Vec<String> =
        server.backend.asked.lock().unwrap().iter().map(|(what, by, why)| format!("{what:?} {by} {why}")).collect();
    assert_eq!(
        asked,
        [
            "Rollout { rollout: \"shop\", verb: Pause } local lunch",
            "Rollout { rollout: \"shop\", verb: StartFrozen } local ",
            "Decide { action: ActionId(7), decision: Extend { ttl: Span(7200000000000) } } local ",
            "BreakGlass { engaged: true } local drill",
            "Announce { change: NewChange { kind: Flag, service: Some(\"shop\"), version: Some(\"v2\"), summary: \"fast checkout on\", at: None } } local ",
            "Announce { change: NewChange { kind: Deploy, service: None, version: None, summary: \"build 7\", at: None } } local ",
        ]
    );
    assert!(server.ok(&["audit"]).contains("drill"));
    assert!(server.ok(&["change", "list"]).contains("v2 began"));
    assert_eq!(server.run(&["change", "add", "--kind", "party", "x"]).0, 2);
    assert_eq!(server.run(&["change", "add", "--service", "no name", "x"]).0, 2);
}

#[test]
fn refusals_are_told_with_their_reason() {
    let server = Server::start();
    for (args, code, says) in [
        (&["rollout", "start", "frozen"][..], 2, "`start_frozen` overrides it"),
        (&["rollout", "start", "../../../x"], 2, "there is no rollout"),
        (&["incident", "show", "99"], 2, "there is no INC-99"),
        (&["incident", "show", "13"], 1, "the store could not answer"),
        (&["action", "approve", "x"], 2, "not an action such as A-7"),
    ] {
        let (got, out, error) = server.run(args);
        assert_eq!((got, out.as_str()), (code, ""), "{args:?}: {error}");
        assert!(error.starts_with("homeostat: ") && error.contains(says), "{args:?}: {error}");
    }
}

#[test]
fn an_incident_is_exported_as_one_file() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("incident.json");
    server.ok(&["incident", "export", "3", "-o", path.to_str().unwrap()]);
    let bundle: homeostat_api::body::Bundle = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!((bundle.format.as_str(), bundle.detail.incident.id.0), ("homeostat-incident-bundle/1", 3));
}

#[test]
fn events_are_followed_line_by_line() {
    let server = Server::start();
    let mut follower = server.command(&["events", "--traffic"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // Whoever subscribes sees what is sent afterwards; until then sending reaches nobody.
    let line = std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        scope.spawn(|| {
            let is_done = is_done;
            while is_done
                .recv_timeout(std::time::Duration::from_millis(20))
                .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                server.backend.send(fake::traffic(9));
            }
        });
        let line = lines.next().unwrap().unwrap();
        drop(done);
        line
    });
    assert!(line.ends_with("traffic  shop/v1 9 good 0 bad"), "{line}");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

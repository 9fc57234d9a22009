//! A gRPC server and client that we did not write: Debian's package `python3-grpcio`, see `programs/grpc_peer.py`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const PYTHON: &str = "/usr/bin/python3";

/// A process that speaks in lines, until the test ends.
struct Peer {
    child: Child,
    says: BufReader<ChildStdout>,
    hears: Option<ChildStdin>,
}

impl Peer {
    fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/grpc_peer.py");
        let mut child = Command::new(PYTHON)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        let hears = child.stdin.take();
        Self { child, says, hears }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the peer has ended: {line}");
        line.trim().to_owned()
    }

    fn hear(&mut self, line: &str) {
        writeln!(self.hears.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.hears = None;
        self.child.wait().unwrap();
    }
}

pub(crate) struct Serving {
    peer: Peer,
    port: String,
}

impl Serving {
    /// Nothing where there is no gRPC for Python.
    pub(crate) fn start() -> Option<Self> {
        let has = Command::new(PYTHON).args(["-c", "import grpc"]).stderr(Stdio::null()).status();
        if !has.is_ok_and(|status| status.success()) {
            println!("SKIPPED: there is no python3-grpcio");
            return None;
        }
        let mut peer = Peer::start(&["serve"]);
        let port = peer.line();
        Some(Self { peer, port })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.peer.child.id()
    }
}

/// A client with one connection.
pub(crate) struct Asking(Peer);

impl Asking {
    /// Without a connection.
    pub(crate) fn idle() -> Self {
        let mut peer = Peer::start(&["ask"]);
        assert_eq!(peer.line(), "idle");
        Self(peer)
    }

    pub(crate) fn connect(&mut self, to: &Serving) {
        self.0.hear(&to.port);
        assert_eq!(self.0.line(), "ready");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.child.id()
    }

    /// `METHOD KIND COUNT`; how many calls ended with which status.
    pub(crate) fn tell(&mut self, line: &str) -> String {
        self.0.hear(line);
        self.0.line()
    }
}

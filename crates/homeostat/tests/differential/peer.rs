//! The distribution's Prometheus as a child process.

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

/// A running Prometheus; killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Prometheus {
    /// Starts it and waits until it says that it is ready; `None` where it is not installed.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        let config = dir.join("prometheus.yml");
        std::fs::write(&config, "{}\n").expect("the directory is ours");
        // Prometheus takes no port 0: this one was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let spawned = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.enable-remote-write-receiver", "--enable-feature=native-histograms", "--log.level=info"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                println!("SKIPPED: prometheus (package prometheus) cannot be started: {error}");
                return None;
            }
        };
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready =
            log.by_ref().map_while(Result::ok).any(|line| line.contains("Server is ready to receive web requests"));
        // A full pipe would stop it.
        std::thread::spawn(move || log.for_each(drop));
        let this = Self { child, address };
        assert!(ready, "Prometheus ended before it was ready");
        Some(this)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

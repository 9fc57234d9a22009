//! The distribution's Prometheus under load: a real server, written in Go and stripped.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// A server that ends when this is dropped.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Prometheus {
    /// Starts one that scrapes itself and keeps its data in a folder.
    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = dir.join("prometheus.yml");
        let targets = format!("static_configs: [{{targets: ['127.0.0.1:{port}']}}]");
        fs::write(&config, format!("scrape_configs: [{{job_name: p, scrape_interval: 1s, {targets}}}]"))?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, port })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Does something while two clients ask as fast as they can.
    pub(crate) fn while_asked<T>(&self, what: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        // The server may still be starting.
                        let _answer = ask(self.port);
                    }
                });
            }
            let result = what();
            done.store(true, Ordering::Relaxed);
            result
        })
    }
}

fn ask(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let query = "sum(rate(%7B__name__%3D~%22go.*%22%7D%5B5m%5D))";
    let question = format!("GET /api/v1/query?query={query} HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

//! The distribution's nginx as a peer.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

/// What bodies of requests and answers consist of.
pub(crate) const SECRET: &str = "the-body-is-a-secret ";

/// The distribution's nginx with one worker, until the test ends.
pub(crate) struct Nginx {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Nginx {
    /// What it speaks stands behind its address.
    pub(crate) fn start(dir: &Path, speaks: &str) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let place = dir.display();
        let config = format!(
            "daemon off; master_process off; pid {place}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off; \
             client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place}; uwsgi_temp_path {place}; \
             scgi_temp_path {place}; keepalive_requests 100000;\n server {{ listen {address} {speaks}; root {place};\n \
             location /down {{ return 503 'sorry'; }}\n location /orders {{ return 200 'yes'; }}\n \
             location /told {{ return 200 '{SECRET}'; }} }} }}\n"
        );
        fs::write(dir.join("nginx.conf"), config).unwrap();
        fs::write(dir.join("large"), SECRET.repeat(300_000 / SECRET.len())).unwrap();
        let started = Command::new("nginx").arg("-c").arg(dir.join("nginx.conf")).stderr(Stdio::null()).spawn();
        let Ok(child) = started else {
            println!("SKIPPED: there is no nginx");
            return None;
        };
        let nginx = Self { child, address };
        while TcpStream::connect(address).is_err() {
            thread::yield_now();
        }
        Some(nginx)
    }
}

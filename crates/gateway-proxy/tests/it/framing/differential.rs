//! The same requests through nginx, HAProxy and the gateway, each before a recording backend of its own.
//!
//! Where the three do not agree, the difference stands in `differences.txt`, and `docs/gateway.md` explains it under the
//! request's name. Compared is what decides who is smuggled past whom: the statuses, and of each request that reached the
//! backend its line, host and decoded body. How a proxy frames what it sends on is its own business.
//!
//! Without the peers the test says so and passes; with other versions than those recorded it prints what it sees.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use expect_test::expect_file;
use homeostat_model::Span;

use super::{
    requests::{Hostile, requests},
    statuses,
};
use crate::support::{Seen, Setup, connect, eventually, read_to_end, recording_upstream};

/// The versions that `differences.txt` was recorded with.
const RECORDED: [&str; 2] = ["nginx/1.22", "HAProxy version 2.6"];

/// What became of one request.
#[derive(PartialEq, Eq)]
struct Fate {
    statuses: String,
    backend: Vec<String>,
}

impl Fate {
    fn shown(&self) -> String {
        if self.backend.is_empty() {
            self.statuses.clone()
        } else {
            format!("{} {}", self.statuses, self.backend.join(" + "))
        }
    }
}

/// A proxy in front of its backend.
struct Side {
    address: SocketAddr,
    seen: mpsc::Receiver<Seen>,
    /// Ended when dropped.
    _process: Peer,
}

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

impl Side {
    /// Sends a request and reads until the proxy closes.
    fn fate(&self, request: &Hostile) -> Fate {
        let mut stream = connect(self.address);
        // A proxy may refuse and close before it has read everything.
        let _refused_early = std::io::Write::write_all(&mut stream, &request.bytes);
        fate(&read_to_end(&mut stream), &self.seen)
    }
}

fn fate(answer: &str, seen: &mpsc::Receiver<Seen>) -> Fate {
    let mut backend = Vec::new();
    // Whoever waits for the backend's answer has passed the request on before; whoever gave up may still be at it.
    while let Ok(seen) = seen.recv_timeout(Duration::from_millis(20)) {
        let line = seen.head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        let host = seen.header("host").unwrap_or_else(|| "no host".to_owned());
        let (body, trailers) = decoded(&seen);
        let trailers = if trailers.is_empty() { String::new() } else { format!(" trailer {trailers}") };
        backend.push(format!("{line} @ {host} {body:?}{trailers}"));
    }
    Fate { statuses: statuses(answer), backend }
}

/// The body without its framing, and its trailers.
fn decoded(seen: &Seen) -> (String, String) {
    if seen.header("transfer-encoding").is_none() {
        return (seen.body.clone(), String::new());
    }
    let (mut rest, mut body) = (seen.body.as_str(), String::new());
    while let Some((size, behind)) = rest.split_once("\r\n") {
        rest = behind;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16).unwrap_or(0);
        let Some((chunk, behind)) = behind.split_at_checked(size).filter(|_| size > 0) else { break };
        body.push_str(chunk);
        rest = behind.strip_prefix("\r\n").unwrap_or(behind);
    }
    (body, rest.trim().replace("\r\n", ", "))
}

/// The version that a program prints, if it is installed.
fn version(program: &str) -> Option<String> {
    let printed = Command::new(program).arg("-v").output().ok()?;
    Some(String::from_utf8_lossy(&printed.stdout).into_owned() + &String::from_utf8_lossy(&printed.stderr))
}

/// nginx and HAProxy live where ordinary users' paths do not lead.
fn installed(name: &str) -> Option<(String, String)> {
    let candidates = [name.to_owned(), format!("/usr/sbin/{name}")];
    candidates.into_iter().find_map(|path| version(&path).map(|version| (path, version)))
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound")
}

fn start(program: &str, arguments: &[&str], config: &Path, text: &str, at: SocketAddr) -> Peer {
    std::fs::write(config, text).expect("writable");
    let child = Command::new(program)
        .args(arguments)
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let peer = Peer(child);
    eventually(program, || std::net::TcpStream::connect(at).is_ok());
    peer
}

fn nginx(program: &str, dir: &Path) -> Side {
    let ((backend, seen), at) = (recording_upstream(), free_port());
    let place = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
        .concat();
    let text = format!(
        "daemon off; master_process off; pid {place}/nginx.pid; error_log /dev/null;
         events {{ worker_connections 256; }}
         http {{ access_log off; {temporary}
             upstream behind {{ server {backend}; keepalive 8; }}
             server {{ listen {at}; keepalive_timeout 100ms; client_header_timeout 300ms; client_body_timeout 300ms;
                 location / {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection '';
                     proxy_set_header Host $host; proxy_request_buffering off; proxy_read_timeout 1s; }} }} }}\n"
    );
    let process =
        start(program, &["-e", "/dev/null", "-p", &place.to_string(), "-c"], &dir.join("nginx.conf"), &text, at);
    Side { address: at, seen, _process: process }
}

fn haproxy(program: &str, dir: &Path) -> Side {
    let ((backend, seen), at) = (recording_upstream(), free_port());
    let text = format!(
        "global\n  maxconn 256\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 300ms\n  timeout server 1s
  timeout http-request 300ms\n  timeout http-keep-alive 100ms\nfrontend f\n  bind {at}\n  default_backend b\n\
         backend b\n  server s {backend}\n"
    );
    Side { address: at, seen, _process: start(program, &["-db", "-f"], &dir.join("haproxy.cfg"), &text, at) }
}

fn ours(request: &Hostile) -> Fate {
    let (backend, seen) = recording_upstream();
    let gateway = Setup::http1(backend).with(|s| s.limits.keep_alive = Span::from_ms(100)).start();
    fate(&gateway.raw(&request.bytes), &seen)
}

#[test]
fn differences_from_nginx_and_haproxy_are_known_and_explained() {
    let (Some((nginx_path, nginx_version)), Some((haproxy_path, haproxy_version))) =
        (installed("nginx"), installed("haproxy"))
    else {
        println!("SKIPPED: nginx or haproxy is not installed (apt install nginx-light haproxy)");
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let sides = [nginx(&nginx_path, dir.path()), haproxy(&haproxy_path, dir.path())];
    let requests = requests();
    let [nginx, haproxy] = sides;
    let (ours, nginx, haproxy) = std::thread::scope(|scope| {
        let through = |side: Side| requests.iter().map(|request| side.fate(request)).collect::<Vec<_>>();
        let nginx = scope.spawn(move || through(nginx));
        let haproxy = scope.spawn(move || through(haproxy));
        let ours: Vec<Fate> = requests.iter().map(ours).collect();
        (ours, nginx.join().expect("no panic"), haproxy.join().expect("no panic"))
    });
    let (mut shown, mut differing, mut agreed) = (String::new(), BTreeSet::new(), 0);
    for (at, request) in requests.iter().enumerate() {
        let fates = [("homeostat", &ours[at]), ("nginx", &nginx[at]), ("haproxy", &haproxy[at])];
        if fates.iter().all(|(_, fate)| **fate == ours[at]) {
            agreed += 1;
            continue;
        }
        differing.insert(request.name);
        let _ = writeln!(shown, "{}", request.name);
        for (name, fate) in fates {
            let _ = writeln!(shown, "  {name:<9} -> {}", fate.shown());
        }
    }
    let _ = writeln!(shown, "{agreed} requests of {} have the same fate everywhere", requests.len());
    let same_versions = [nginx_version, haproxy_version].iter().zip(RECORDED).all(|(said, known)| said.contains(known));
    if !same_versions {
        println!("SKIPPED: comparing with other versions than {RECORDED:?}; what they do is\n{shown}");
        return;
    }
    expect_file!["differences.txt"].assert_eq(&shown);
    assert_eq!(differing, explained(), "docs/gateway.md explains these differences and no others");
}

/// The requests that the table in `docs/gateway.md` explains: its first column.
fn explained() -> BTreeSet<&'static str> {
    let page = include_str!("../../../../../docs/gateway.md");
    let section = page.split("### Beside nginx and HAProxy").nth(1).expect("the section is there");
    let section = section.split("\n#").next().expect("a split has a first part");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    rows.skip(1).flat_map(|cell| cell.split("; ")).collect()
}

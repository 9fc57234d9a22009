//! Programs under normal operation, each with what it is asked: three of the distribution, and two services of `demo/faults`
//! without any of their faults.
//!
//! All of them answer behind one gateway, told apart by the beginning of the path.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use homeostat_load::Errand;
use hyper::Method;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::{
    Failed,
    child::{Process, free_port},
    client,
};

/// Longest start of a program.
const START_WITHIN: Duration = Duration::from_mins(1);

/// Who takes profiles of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// It serves `/debug/pprof` itself, at this address.
    Pprof(SocketAddr),
    Kernel,
}

/// A program that runs and answers.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) at: SocketAddr,
    /// Beginnings of paths that lead to it.
    pub(super) paths: &'static [&'static str],
    pub(super) profiles: From,
    pub(super) errands: Vec<Errand>,
    process: Process,
}

impl Program {
    /// A failure when it has ended.
    pub(super) fn running(&mut self) -> Result<(), Failed> {
        self.process.running().map_err(|error| format!("{}: {error}", self.name).into())
    }

    pub(super) async fn end(self) -> Result<(), Failed> {
        Ok(self.process.end().await?)
    }
}

/// What stands behind the services of `demo/faults`.
#[derive(Debug, Deserialize)]
struct Store {
    http: String,
    https: String,
    line: String,
    line_tls: String,
}

/// Starts all; the second is the store behind some of them.
pub(super) async fn start(services: &Path, dir: &Path) -> Result<(Vec<Program>, Process), Failed> {
    let (store, backing) = backing(services, dir).await?;
    let programs = vec![
        etcd(dir).await?,
        prometheus(dir).await?,
        nginx(dir).await?,
        shop(services, dir, &store).await?,
        ledger(services, dir, &store).await?,
    ];
    Ok((programs, backing))
}

fn get(path: String) -> Errand {
    Errand { method: Method::GET, path, body: Bytes::new() }
}

fn post(path: &str, body: String) -> Errand {
    Errand { method: Method::POST, path: path.to_owned(), body: body.into() }
}

async fn etcd(dir: &Path) -> Result<Program, Failed> {
    let (at, peer) = (free_port()?, free_port()?);
    let data = dir.join("etcd");
    let mut arguments: Vec<String> =
        ["--enable-pprof", "--log-level", "error", "--data-dir"].map(str::to_owned).to_vec();
    arguments.push(data.display().to_string());
    for (name, address) in [
        ("--listen-client-urls", at),
        ("--advertise-client-urls", at),
        ("--listen-peer-urls", peer),
        ("--initial-advertise-peer-urls", peer),
    ] {
        arguments.extend([name.to_owned(), format!("http://{address}")]);
    }
    arguments.extend(["--initial-cluster".to_owned(), format!("default=http://{peer}")]);
    let process = Process::start(&PathBuf::from("etcd"), &arguments, dir.join("etcd.log"))?;
    client::ready(at, "/health", START_WITHIN).await?;
    // Base64 of the last digit of `key0` to `key9`.
    let errands = ["MA", "MQ", "Mg", "Mw", "NA", "NQ", "Ng", "Nw", "OA", "OQ"].map(|digit| {
        let range = post("/v3/kv/range", format!(r#"{{"key":"a2V5{digit}=="}}"#));
        let put = post("/v3/kv/put", format!(r#"{{"key":"a2V5{digit}==","value":"d29yZA=="}}"#));
        [range.clone(), range, put]
    });
    let errands = errands.into_iter().flatten().collect();
    Ok(Program { name: "etcd", at, paths: &["/v3"], profiles: From::Pprof(at), errands, process })
}

async fn prometheus(dir: &Path) -> Result<Program, Failed> {
    let at = free_port()?;
    let process = crate::profiles::prometheus(at, dir).await?;
    let queries = [
        "up",
        "rate(prometheus_http_requests_total%5B1m%5D)",
        "sum%20by%20(handler)%20(rate(prometheus_http_request_duration_seconds_bucket%5B5m%5D))",
        "topk(5,%20%7B__name__%3D~%22go_.%2B%22%7D)",
    ];
    let errands = queries.map(|query| get(format!("/api/v1/query?query={query}"))).to_vec();
    Ok(Program { name: "prometheus", at, paths: &["/api"], profiles: From::Pprof(at), errands, process })
}

async fn nginx(dir: &Path) -> Result<Program, Failed> {
    let (at, root) = (free_port()?, dir.join("nginx"));
    std::fs::create_dir_all(root.join("page"))?;
    for number in 0..20 {
        std::fs::write(root.join(format!("page/{number}")), format!("line {number} and more words\n").repeat(250))?;
    }
    let (config, place) = (dir.join("nginx.conf"), root.display());
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: Vec<String> = temporary.iter().map(|name| format!("{name}_temp_path {place}/{name};")).collect();
    let temporary = temporary.join(" ");
    let text = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log crit;\n\
         events {{ worker_connections 512; }}\n\
         http {{ {temporary} access_log {place}/access.log combined buffer=64k flush=5s; gzip on; gzip_types text/plain;\n\
         default_type text/plain; server {{ listen {at}; root {place}; }} }}\n"
    );
    std::fs::write(&config, text)?;
    let arguments = ["-c".to_owned(), config.display().to_string(), "-p".to_owned(), place.to_string()];
    let process = Process::start(&PathBuf::from("/usr/sbin/nginx"), &arguments, dir.join("nginx.log"))?;
    client::ready(at, "/page/1", START_WITHIN).await?;
    let errands = (0..20).map(|number| get(format!("/page/{number}"))).collect();
    Ok(Program { name: "nginx", at, paths: &["/page"], profiles: From::Kernel, errands, process })
}

async fn shop(services: &Path, dir: &Path, store: &Store) -> Result<Program, Failed> {
    let (at, admin) = (free_port()?, free_port()?);
    let arguments = store.arguments("-", at, &dir.join("shop"), &["-admin".to_owned(), admin.to_string()])?;
    let process = Process::start(&services.join("shop"), &arguments, dir.join("shop.log"))?;
    client::ready(at, "/product/1", START_WITHIN).await?;
    let words = ["red", "blue", "small", "cotton", "steel", "oak", "glass", "winter"];
    let searches = words.iter().map(|word| get(format!("/products?q={word}&page=1")));
    let looks = (0..8).map(|number| get(format!("/product/{}", number * 37)));
    let orders = (0..4).map(|number| {
        let lines = format!(r#"[{{"id":{},"quantity":1}},{{"id":{},"quantity":2}}]"#, number * 31, number * 17 + 5);
        post("/order", format!(r#"{{"customer":"c{number}","coupon":"SPRING-00{number}a","lines":{lines}}}"#))
    });
    let errands = searches.chain(looks).chain(orders).collect();
    let paths = &["/products", "/product", "/order"];
    Ok(Program { name: "shop", at, paths, profiles: From::Pprof(admin), errands, process })
}

async fn ledger(services: &Path, dir: &Path, store: &Store) -> Result<Program, Failed> {
    let (at, certificate) = (free_port()?, dir.join("store.pem").display().to_string());
    let arguments = store.arguments("--", at, &dir.join("ledger"), &["--certificate".to_owned(), certificate])?;
    let process = Process::start(&services.join("ledger"), &arguments, dir.join("ledger.log"))?;
    client::ready(at, "/statement/1", START_WITHIN).await?;
    let reads = (0..12).map(|number| get(format!("/statement/{}", number * 211)));
    let writes = (0..8).map(|number| {
        let (from, to) = (number * 31, number * 17 + 5);
        post(
            "/transfer",
            format!(r#"{{"from":{from},"to":{to},"cents":{},"reference":"PAY-{number:06X}"}}"#, 1 + number),
        )
    });
    let paths = &["/statement", "/transfer"];
    let errands = reads.chain(writes).collect();
    Ok(Program { name: "ledger", at, paths, profiles: From::Kernel, errands, process })
}

impl Store {
    fn arguments(&self, dash: &str, at: SocketAddr, dir: &Path, more: &[String]) -> Result<Vec<String>, Failed> {
        std::fs::create_dir_all(dir)?;
        let given = [
            ("listen", at.to_string()),
            ("dir", dir.display().to_string()),
            ("back-http", self.http.clone()),
            ("back-https", self.https.clone()),
            ("back-line", self.line.clone()),
            ("back-line-tls", self.line_tls.clone()),
        ];
        let pairs = given.into_iter().flat_map(|(name, value)| [format!("{dash}{name}"), value]);
        Ok(pairs.chain(more.iter().cloned()).collect())
    }
}

/// The store says where it listens in its first line.
async fn backing(services: &Path, dir: &Path) -> Result<(Store, Process), Failed> {
    let (log, certificate) = (dir.join("backing.log"), dir.join("store.pem").display().to_string());
    let mut process =
        Process::start(&services.join("backing"), &["-certificate".to_owned(), certificate], log.clone())?;
    let deadline = Instant::now() + START_WITHIN;
    while Instant::now() < deadline {
        process.running()?;
        let said = std::fs::read_to_string(&log)?;
        if let Some(line) = said.lines().next().filter(|_| said.contains('\n')) {
            return Ok((serde_json::from_str(line)?, process));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(format!("the store behind the services said nothing:{}", process.last_words()).into())
}

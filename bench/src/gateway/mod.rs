//! CPU of one request through our gateway and through nginx: same machine, same upstream, same clients, in turns.
//!
//! Both have one worker, keep connections to the upstream open and log no requests. Clients are wrk's, closed loop, which
//! is fine here: not latency is measured but the CPU time that the proxy's processes used, divided by the requests that
//! were answered. Rounds alternate, so that a busy neighbour meets both.

pub(crate) mod cpu;
mod sides;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use tokio::process::Command;

use self::sides::{Homeostat, Nginx, Upstream};
use crate::{Failed, figures::Spread, machine::Machine};

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// 3 rounds of 2 s instead of 7 of 5 s.
    #[arg(long)]
    quick: bool,
    /// The binary under measurement; the one beside this program unless given.
    #[arg(long, value_name = "PATH")]
    homeostat: Option<PathBuf>,
    /// Client connections.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Where the figures go.
    #[arg(long, value_name = "FILE", default_value = "bench/out/gateway.json")]
    out: PathBuf,
}

/// Measures, prints the table and writes the file.
pub(crate) fn run(args: &Args) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(args))
}

async fn measure(args: &Args) -> Result<(), Failed> {
    let machine = Machine::here();
    println!("{machine}");
    let (rounds, long) = if args.quick { (3, Duration::from_secs(2)) } else { (7, Duration::from_secs(5)) };
    println!("HTTP/1.1, {} connections, 1 KiB answers, one worker, {rounds} rounds of {long:?}", args.connections);
    let dir = tempfile::tempdir()?;
    let upstream = Upstream::start(dir.path()).await?;
    let nginx = Nginx::start(dir.path(), upstream.at).await?;
    let binary = crate::homeostat_binary(args.homeostat.as_deref())?;
    let homeostat = Homeostat::start(&binary, dir.path(), upstream.at).await?;
    let mut sides =
        [Side::new("homeostat", homeostat.at, homeostat.pid()?), Side::new("nginx", nginx.at, nginx.pid()?)];
    for side in &mut sides {
        // Connections and caches; not counted.
        side.round(args.connections, Duration::from_secs(1)).await?;
    }
    for round in 1..=rounds {
        for side in &mut sides {
            let result = side.round(args.connections, long).await?;
            println!(
                "{round} {:<10} {:>6.2} µs CPU a request, {:>7.0} requests/s",
                side.name, result.cpu_us, result.rps
            );
            side.results.push(result);
        }
    }
    let [ours, theirs] = sides.each_ref().map(Side::summary);
    print_table(&ours, &theirs);
    write_file(&args.out, args, &machine, &ours, &theirs)
}

#[derive(Debug)]
struct Side {
    name: &'static str,
    at: SocketAddr,
    pid: u32,
    results: Vec<RoundResult>,
}

#[derive(Clone, Copy, Debug)]
struct RoundResult {
    cpu_us: f64,
    rps: f64,
}

#[derive(Clone, Debug, serde::Serialize)]
struct Summary {
    #[serde(skip)]
    name: &'static str,
    cpu_us_per_request: Spread,
    requests_per_second: Spread,
}

impl Side {
    const fn new(name: &'static str, at: SocketAddr, pid: u32) -> Self {
        Self { name, at, pid, results: Vec::new() }
    }

    async fn round(&self, connections: u32, long: Duration) -> Result<RoundResult, Failed> {
        let before = cpu::time_of(self.pid)?;
        let requests = wrk(self.at, connections, long).await.map_err(|error| format!("{}: {error}", self.name))?;
        let used = cpu::time_of(self.pid)?.saturating_sub(before);
        Ok(RoundResult {
            cpu_us: used.as_secs_f64() * 1e6 / requests as f64,
            rps: requests as f64 / long.as_secs_f64(),
        })
    }

    fn summary(&self) -> Summary {
        let spread =
            |of: fn(&RoundResult) -> f64| Spread::of(self.results.iter().map(of).collect()).unwrap_or_default();
        Summary { name: self.name, cpu_us_per_request: spread(|r| r.cpu_us), requests_per_second: spread(|r| r.rps) }
    }
}

/// Runs wrk; returns the requests answered. Any answer but 2xx and any broken connection is a failure of the round.
async fn wrk(at: SocketAddr, connections: u32, long: Duration) -> Result<u64, Failed> {
    let arguments =
        ["-t1".to_owned(), format!("-c{connections}"), format!("-d{}s", long.as_secs()), format!("http://{at}/")];
    let output = Command::new("wrk").args(&arguments).output().await;
    let output = output.map_err(|error| format!("cannot run wrk: {error}; it is in the package `wrk`"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    requests_of(&said).ok_or_else(|| format!("wrk was not content:\n{said}").into())
}

/// The number of requests in wrk's output, unless it reports errors.
fn requests_of(said: &str) -> Option<u64> {
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return None;
    }
    let line = said.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok().filter(|requests| 0 < *requests)
}

fn print_table(ours: &Summary, theirs: &Summary) {
    println!("\n{:<12} {:>28} {:>36}", "", "µs CPU a request", "requests/s");
    println!("{:<12} {:>8} {:>9} {:>9} {:>14} {:>10} {:>10}", "", "min", "median", "max", "min", "median", "max");
    for Summary { name, cpu_us_per_request: cpu, requests_per_second: rps } in [ours, theirs] {
        println!(
            "{name:<12} {:>8.2} {:>9.2} {:>9.2} {:>14.0} {:>10.0} {:>10.0}",
            cpu.min, cpu.median, cpu.max, rps.min, rps.median, rps.max
        );
    }
    println!("homeostat / nginx, CPU a request, medians: {:.2}", ratio(ours, theirs));
}

fn ratio(ours: &Summary, theirs: &Summary) -> f64 {
    ours.cpu_us_per_request.median / theirs.cpu_us_per_request.median
}

fn write_file(path: &Path, args: &Args, machine: &Machine, ours: &Summary, theirs: &Summary) -> Result<(), Failed> {
    let figures = json!({
        "machine": machine,
        "quick": args.quick,
        "connections": args.connections,
        "homeostat": ours,
        "nginx": theirs,
        "cpu_ratio": ratio(ours, theirs),
    });
    crate::write_figures(path, &figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_is_believed_only_when_it_saw_no_errors() {
        let good = "Running 2s test\n  1 threads and 64 connections\n  40021 requests in 2.00s, 46.12MB read\n";
        assert_eq!(requests_of(good), Some(40_021));
        assert_eq!(requests_of(&format!("{good}  Non-2xx or 3xx responses: 7\n")), None);
        assert_eq!(requests_of(&format!("{good}  Socket errors: connect 0, read 9, write 0, timeout 0\n")), None);
        assert_eq!(requests_of("unable to connect"), None);
    }
}

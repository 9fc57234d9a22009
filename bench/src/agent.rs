//! What `homeostat agent` takes of a machine: CPU time, memory, and what it ships to a real server.
//!
//! ```text
//! load ──▶ Prometheus ◀── kernel, 19 Hz, the whole machine ── homeostat agent ──▶ homeostat server
//! ```
//!
//! The agent tells of itself, as in production; its programs in the kernel are nobody's CPU time and told apart. Its first windows
//! are left out: names of all programs are looked up for the first time then.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Method;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Failed,
    child::{Process, free_port},
    client,
    figures::Spread,
    machine::Machine,
    profiles::{HZ, light_load, prometheus},
    series::{Kind, Server},
};

/// Share of one CPU that the agent may take, as it is by default.
const BUDGET: f64 = 0.02;
/// How often the agent is asked: each value of the table is of such a stretch. Two windows.
const STRETCH: Duration = Duration::from_secs(30);
/// Longest start.
const START_WITHIN: Duration = Duration::from_secs(30);

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    minutes: u64,
    /// One minute instead.
    #[arg(long)]
    quick: bool,
    /// The binary under measurement; the one beside this program unless given.
    #[arg(long, value_name = "PATH")]
    homeostat: Option<PathBuf>,
    /// Where the figures go.
    #[arg(long, value_name = "FILE", default_value = "bench/out/agent.json")]
    out: PathBuf,
}

/// What the agent says of itself; numbers that only grow, but for memory and what waits.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    cpu_s: f64,
    kernel_s: f64,
    rss_bytes: f64,
    samples: f64,
    lost: f64,
    queued: f64,
    shipped: f64,
    shipped_bytes: f64,
    waiting: f64,
    level: f64,
}

/// Measures, prints and writes the file.
pub(crate) fn run(args: &Args) -> Result<(), Failed> {
    let machine = Machine::here();
    println!("{machine}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let dir = tempfile::tempdir()?;
    let binary = crate::homeostat_binary(args.homeostat.as_deref())?;
    let minutes = if args.quick { 1 } else { args.minutes };
    println!("the whole machine at {HZ} Hz for {minutes} min, shipped to a server beside it");
    let said = runtime.block_on(measure(&binary, minutes, dir.path()))?;
    let lines = lines(&said)?;
    println!("\n{:<36} {:>10} {:>10} {:>10}", "agent", "median", "min", "max");
    for (name, unit, Spread { median, min, max, .. }) in &lines {
        println!("{name:<36} {median:>10.2} {min:>10.2} {max:>10.2}  {unit}");
    }
    let figures: serde_json::Map<_, _> =
        lines.iter().map(|(name, unit, spread)| (format!("{name}, {unit}"), json!(spread))).collect();
    crate::write_figures(&args.out, &json!({ "machine": machine, "hz": HZ, "budget": BUDGET, "figures": figures }))
}

/// What the agent said at the ends of all stretches.
async fn measure(homeostat: &Path, minutes: u64, dir: &Path) -> Result<Vec<Said>, Failed> {
    let server = Server::start(Kind::Homeostat, homeostat, &dir.join("server")).await?;
    let (asked, listens) = (free_port()?, free_port()?);
    let mut busy = prometheus(asked, dir).await?;
    let mut agent = Process::start(homeostat, &arguments(server.at, listens, dir), dir.join("agent.log"))?;
    client::ready(listens, "/-/healthy", START_WITHIN).await?;
    let mut loading = JoinSet::new();
    loading.spawn(light_load(asked));
    // Its first windows.
    sleep(STRETCH).await;
    let mut said = vec![Said::of(listens).await?];
    let mut next = Instant::now();
    for _ in 0..minutes * 60 / STRETCH.as_secs() {
        next += STRETCH;
        sleep_until(next).await;
        agent.running()?;
        busy.running()?;
        said.push(Said::of(listens).await?);
    }
    loading.shutdown().await;
    agent.terminate(START_WITHIN).await?;
    busy.end().await?;
    server.stop().await?;
    Ok(said)
}

fn arguments(server: SocketAddr, listens: SocketAddr, dir: &Path) -> Vec<String> {
    let given = [
        ("--server", format!("http://{server}")),
        ("--data", dir.join("agent").display().to_string()),
        ("--service", "everything=machine".to_owned()),
        ("--hz", HZ.to_string()),
        ("--listen", listens.to_string()),
    ];
    let pairs = given.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    ["agent".to_owned()].into_iter().chain(pairs).collect()
}

impl Said {
    async fn of(agent: SocketAddr) -> Result<Self, Failed> {
        let text = client::must(agent, Method::GET, "/metrics", "").await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = |name: &str| {
            let start = format!("homeostat_agent_{name} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&start)?.trim().parse::<f64>().ok());
            line.ok_or_else(|| format!("the agent does not say {start}"))
        };
        Ok(Self {
            cpu_s: value("cpu_seconds_total")?,
            kernel_s: value("kernel_seconds_total")?,
            rss_bytes: value("rss_bytes")?,
            samples: value("samples_total")?,
            lost: value("samples_lost_total")?,
            queued: value("windows_queued_total")?,
            shipped: value("windows_shipped_total")?,
            shipped_bytes: value("shipped_bytes_total")?,
            waiting: value("queue_windows")?,
            level: value("level")?,
        })
    }
}

fn lines(said: &[Said]) -> Result<Vec<(&'static str, &'static str, Spread)>, Failed> {
    let now = |value: fn(&Said) -> f64| Spread::of(said.iter().map(value).collect());
    let grown = |value: fn(&Said) -> f64, factor: f64| {
        let pairs = said.iter().zip(said.iter().skip(1));
        Spread::of(pairs.map(|(before, after)| factor * (value(after) - value(before))).collect())
    };
    let second = 1.0 / STRETCH.as_secs_f64();
    let all = [
        ("CPU of the agent", "% of one CPU", grown(|said| said.cpu_s, 100.0 * second)),
        ("CPU of its programs in the kernel", "% of one CPU", grown(|said| said.kernel_s, 100.0 * second)),
        ("memory", "MiB", now(|said| said.rss_bytes / f64::from(1 << 20))),
        ("samples", "a second", grown(|said| said.samples, second)),
        ("samples lost", "a second", grown(|said| said.lost, second)),
        ("windows put into the queue", "a minute", grown(|said| said.queued, 60.0 * second)),
        ("windows taken by the server", "a minute", grown(|said| said.shipped, 60.0 * second)),
        ("shipped", "KiB a minute", grown(|said| said.shipped_bytes / 1024.0, 60.0 * second)),
        ("windows waiting", "", now(|said| said.waiting)),
        ("of what was asked for", "%", now(|said| 100.0 * said.level)),
    ];
    let found = all.into_iter().map(|(name, unit, spread)| Some((name, unit, spread?))).collect::<Option<Vec<_>>>();
    found.ok_or_else(|| "the agent was not measured".into())
}

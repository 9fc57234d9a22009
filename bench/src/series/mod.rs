//! Metrics: intake, memory, disk, start and ten dashboard queries, beside Prometheus and VictoriaMetrics.
//!
//! All get the same remote write requests, prepared in advance, over the same number of connections; the CPU that counts
//! is that of the server's process. A round runs every server once on a fresh directory, in turns, so that a busy
//! neighbour meets all; figures are the least, median and most of the rounds.
//!
//! Not the same: homeostat acknowledges what is on disk (fsync); Prometheus and VictoriaMetrics acknowledge what is in
//! memory and write it out later.

mod bodies;
mod fleet;
mod memory;
mod queries;
mod report;
mod sender;
mod servers;

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hyper::Method;
use tokio::time::{Instant, sleep};

pub(crate) use self::servers::{Kind, Server};
use self::{
    bodies::Load,
    fleet::Fleet,
    queries::Question,
    report::{Report, Round},
};
use crate::{Failed, client, gateway::cpu, machine::Machine};

/// Connections of the sender: what a Prometheus that has fallen behind opens.
const LANES: usize = 4;
/// Series of the 30-day history.
const HISTORY_SERIES: usize = 200;
/// Repetitions of each query in a round; the median of them counts.
const REPEATS: usize = 7;
/// A dashboard that takes longer is broken; the query is then given up and said to be.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// 20,000 series and 3 rounds instead of 100,000 and 5.
    #[arg(long)]
    quick: bool,
    /// The binary under measurement; the one beside this program unless given.
    #[arg(long, value_name = "PATH")]
    homeostat: Option<PathBuf>,
    /// Series of the fleet.
    #[arg(long)]
    series: Option<usize>,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only these servers, by name.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where the figures go.
    #[arg(long, value_name = "FILE", default_value = "bench/out/series.json")]
    out: PathBuf,
}

/// What is sent: the fleet at two intervals, and the history.
#[derive(Debug)]
struct Data {
    history: Load,
    every_15s: Load,
    every_1s: Load,
}

/// Measures, prints the tables and writes the file.
pub(crate) fn run(args: &Args) -> Result<(), Failed> {
    // The sender needs little; two workers keep one slow server's lanes from each other.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(args))
}

async fn measure(args: &Args) -> Result<(), Failed> {
    let machine = Machine::here();
    println!("{machine}");
    let binary = crate::homeostat_binary(args.homeostat.as_deref())?;
    let kinds: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| args.only.is_empty() || args.only.iter().any(|name| name == kind.name()))
        .collect();
    let series = args.series.unwrap_or(if args.quick { 20_000 } else { 100_000 });
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 5 });
    let data = prepare(series, args.quick)?;
    println!(
        "{series} series; {} samples at 15 s, {} at 1 s, {} of history; {rounds} rounds",
        data.every_15s.samples, data.every_1s.samples, data.history.samples
    );
    let mut report = Report::new(machine, args.quick, series);
    for round in 1..=rounds {
        for kind in &kinds {
            let dir = tempfile::tempdir()?;
            let result = one_round(*kind, &binary, dir.path(), &data).await;
            let result = result.map_err(|error| format!("{}: {error}", kind.name()))?;
            println!("{round} {:<17} {result}", kind.name());
            report.add(*kind, result);
        }
    }
    report.print();
    crate::write_figures(&args.out, &report.json())
}

fn prepare(series: usize, quick: bool) -> Result<Data, Failed> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() as i64;
    let end_ms = now / 60 * 60_000;
    let (scrapes, days) = if quick { (60, 30) } else { (120, 30) };
    let at_15s = bodies::of_fleet(&mut Fleet::new(series, 15.0, 1), scrapes, 15_000, end_ms, LANES)?;
    let at_1s = bodies::of_fleet(&mut Fleet::new(series, 1.0, 2), scrapes, 1_000, end_ms, LANES)?;
    let history = bodies::history(HISTORY_SERIES, days, at_15s.start_ms - 60_000)?;
    Ok(Data { history, every_15s: at_15s, every_1s: at_1s })
}

async fn one_round(kind: Kind, binary: &Path, dir: &Path, data: &Data) -> Result<Round, Failed> {
    let mut round = Round::default();
    // The second set alone: intake and size at 1 s.
    let server = Server::start(kind, binary, &dir.join("1s")).await?;
    round.every_1s = intake(&server, &data.every_1s).await?;
    server.stop().await?;
    std::fs::remove_dir_all(dir.join("1s"))?;
    // The first set: intake, memory, size.
    let place = dir.join("15s");
    let server = Server::start(kind, binary, &place).await?;
    round.every_15s = intake(&server, &data.every_15s).await?;
    server.stop().await?;
    // Start with that data, then its dashboards. The history comes first in time, so it has a directory of its own.
    let server = Server::start(kind, binary, &place).await?;
    round.cold_start_ms = server.start_took.as_secs_f64() * 1e3;
    let questions = queries::all(data.every_15s.start_ms, data.every_15s.end_ms);
    let (long, short): (Vec<_>, Vec<_>) = questions.into_iter().partition(|q| q.name == "range_30d_step_1h");
    for question in short {
        round.queries.push((question.name, ask(&server, &question).await?));
    }
    round.rss_queried_bytes = memory::peak(server.pid()?)?;
    server.stop().await?;
    let server = Server::start(kind, binary, &dir.join("history")).await?;
    sender::send(server.at, &data.history).await?;
    for question in long {
        round.queries.push((question.name, ask(&server, &question).await?));
    }
    server.stop().await?;
    Ok(round)
}

/// What taking in a load cost.
async fn intake(server: &Server, load: &Load) -> Result<report::Intake, Failed> {
    let pid = server.pid()?;
    let before = cpu::time_of(pid)?;
    let sent = sender::send(server.at, load).await?;
    let acknowledged = cpu::time_of(pid)?.saturating_sub(before);
    // Work that was put off is work too: a few seconds for what runs behind.
    sleep(Duration::from_secs(3)).await;
    let rss = memory::peak(pid)?;
    let bytes = server.compact().await?;
    let settled = cpu::time_of(pid)?.saturating_sub(before);
    Ok(report::Intake::of(load, &sent, acknowledged, settled, rss, bytes))
}

/// Median of some repetitions in milliseconds, and what the answer held.
async fn ask(server: &Server, question: &Question) -> Result<report::Answered, Failed> {
    let mut took = Vec::with_capacity(REPEATS);
    let mut entries = None;
    // The first answer warms caches and is not counted.
    for repeat in 0..=REPEATS {
        let began = Instant::now();
        let answer = client::must_within(server.at, Method::GET, &question.path, ANSWER_WITHIN).await;
        let answer = answer.map_err(|error| format!("{}: {error}", question.name))?;
        if repeat > 0 {
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        entries = queries::entries(&answer);
    }
    let entries = entries.filter(|entries| *entries > 0);
    let entries = entries.ok_or_else(|| format!("{} found nothing", question.name))?;
    Ok(report::Answered::of(took, entries))
}

//! Normal operation of real programs under `homeostat up`: how many incidents open, and to how many a cause is given.
//!
//! ```text
//! load ──▶ homeostat up (gateway, objectives, profiles of all programs) ──▶ etcd, Prometheus, nginx, a Go and a Rust service
//!                │ incidents with their causes       │ latencies of each second
//!                ▼                                   ▼
//!        counted by program-hour              --keep: what days are drawn from (`./dev bench explain`)
//! ```
//!
//! Nothing is put in. Whoever else works on the machine is part of what is normal there, and is told by its load average.
//!
//! Not here: days in virtual time (`explain`), programs with faults (`./dev corpus`).

mod config;
mod incidents;
mod programs;
mod traffic;

use std::{path::PathBuf, time::Duration};

use homeostat_load::{Load, Mix, Pacing, RunningLoad};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::{config::Ends, incidents::Seen, programs::Program, traffic::Traffic};
use crate::{
    Failed,
    child::{Process, free_port},
    client,
    machine::Machine,
};

/// Requests a second of a program, one level after the other, each for [`LEVEL`].
const RATES: [f64; 3] = [10.0, 30.0, 60.0];
/// How long a level holds.
const LEVEL: Duration = Duration::from_mins(5);
/// How often incidents are asked for; they are kept by number, so that one that is over is not lost.
const LOOK_EVERY_SECONDS: u64 = 10;
/// Time for connections and caches before anything counts.
const WARM_UP: Duration = Duration::from_secs(10);

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long it goes on.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
    /// Two minutes instead.
    #[arg(long)]
    quick: bool,
    /// Where `./dev corpus` has built the services `shop`, `ledger` and `backing`.
    #[arg(long, value_name = "DIR", default_value = "target/faults/bin")]
    services: PathBuf,
    /// Keep what each second's latencies were: what `./dev bench explain` draws days from.
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// The binary under measurement; the one beside this program unless given.
    #[arg(long, value_name = "PATH")]
    homeostat: Option<PathBuf>,
    /// Where the figures go.
    #[arg(long, value_name = "FILE", default_value = "bench/out/normal.json")]
    out: PathBuf,
}

/// Measures, prints and writes the file.
pub(crate) fn run(args: &Args) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(args))
}

async fn measure(args: &Args) -> Result<(), Failed> {
    let machine = Machine::here();
    println!("{machine}");
    let binary = crate::homeostat_binary(args.homeostat.as_deref())?;
    let dir = tempfile::tempdir()?;
    let (mut programs, mut store) = programs::start(&args.services, dir.path()).await?;
    let ends = Ends { gateway: free_port()?, api: free_port()? };
    let config = dir.path().join("homeostat.yaml");
    std::fs::write(&config, config::text(&ends, &programs, &dir.path().join("data")))?;
    let arguments = ["up".to_owned(), "--config".to_owned(), config.display().to_string()];
    let mut up = Process::start(&binary, &arguments, dir.path().join("homeostat.log"))?;
    let watched = async {
        client::ready(ends.api, "/-/ready", Duration::from_mins(1)).await?;
        watch(args, &machine, &ends, &mut programs, &mut [&mut up, &mut store]).await
    };
    let watched: Result<(), Failed> = watched.await.map_err(|error| format!("{error}{}", up.last_words()).into());
    let ended = async {
        up.end().await?;
        for program in programs {
            program.end().await?;
        }
        Ok(store.end().await?)
    };
    // Why it was broken off says more than that what has ended cannot be ended.
    let ended: Result<(), Failed> = ended.await;
    watched.and(ended)
}

/// Looks on for as long as was asked, and writes what was seen each minute: a run that is broken off is worth its time.
async fn watch(
    args: &Args,
    machine: &Machine,
    ends: &Ends,
    programs: &mut [Program],
    others: &mut [&mut Process],
) -> Result<(), Failed> {
    let seconds = 60 * if args.quick { 2 } else { args.minutes };
    let (mut seen, mut traffic) = (Seen::default(), Traffic::default());
    let (mut loads, mut level) = (Vec::new(), usize::MAX);
    let began = Instant::now();
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for second in 0..seconds {
        ticks.tick().await;
        let now = (second / LEVEL.as_secs()) as usize % RATES.len();
        if now != level {
            level = now;
            finish(std::mem::take(&mut loads)).await?;
            loads = start(ends, programs, RATES.get(level).copied().unwrap_or(1.0), second)?;
        }
        if WARM_UP <= began.elapsed() {
            traffic.read(ends.api).await?;
        }
        if second % LOOK_EVERY_SECONDS == 0 {
            seen.look(ends.api).await?;
            for program in programs.iter_mut() {
                program.running()?;
            }
            for other in others.iter_mut() {
                other.running()?;
            }
        }
        if second % 60 == 59 {
            write(args, machine, &seen, &traffic, programs, began.elapsed())?;
        }
    }
    finish(loads).await?;
    seen.look(ends.api).await?;
    write(args, machine, &seen, &traffic, programs, began.elapsed())?;
    println!("{seen}");
    Ok(())
}

fn start(ends: &Ends, programs: &[Program], rate: f64, seed: u64) -> Result<Vec<RunningLoad>, Failed> {
    let load = |program: &Program| {
        let mix = Mix::Any(program.errands.clone());
        let load = Load { pacing: Pacing::Poisson, seed, ..Load::new(ends.gateway, rate, mix) };
        Ok(load.spawn(CancellationToken::new())?)
    };
    programs.iter().map(load).collect()
}

async fn finish(loads: Vec<RunningLoad>) -> Result<(), Failed> {
    let finished = tokio::task::spawn_blocking(|| {
        for load in loads {
            load.finish();
        }
    });
    Ok(finished.await?)
}

fn write(
    args: &Args,
    machine: &Machine,
    seen: &Seen,
    traffic: &Traffic,
    programs: &[Program],
    took: Duration,
) -> Result<(), Failed> {
    if let Some(file) = &args.keep {
        traffic.keep(file)?;
    }
    let hours = took.as_secs_f64() / 3_600.0 * programs.len() as f64;
    let figures = json!({
        "machine": machine,
        "load_1min_after": Machine::here().load_1min_before,
        "programs": programs.iter().map(|program| program.name).collect::<Vec<_>>(),
        "requests_per_second_of_each": RATES,
        "program_hours": hours,
        "requests": traffic.requests(),
        "requests_failed": traffic.failed(),
        "incidents": seen.incidents(),
        "incidents_with_a_cause": seen.named(),
        "causes": seen.causes(),
        "causes_per_program_day": 24.0 * seen.named() as f64 / hours,
    });
    crate::write_quietly(&args.out, &figures)
}

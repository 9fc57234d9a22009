//! Side-by-side measurements of Homeostat and its peers: same machine, same input, one table and one JSON file each.
//!
//! `reaction`: from the first bad response of a bad release to traffic moved away and to the webhook, beside Prometheus
//! with Alertmanager. `gateway`: CPU of one request beside nginx. `series`: the metrics store beside Prometheus and VictoriaMetrics.
//! `profiles`: a service's profile on disk beside gzip pprof. `agent`: what the agent takes of a machine. `explain`: how often the
//! named cause of a change is right, beside the classical pipeline. `normal`: incidents and causes in normal operation of real
//! programs. Run through `./dev bench NAME [--quick]`, or by hand with `--help`.
//!
//! Not here: benchmarks of single functions; those sit beside the code they measure.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a measuring program speaks to a terminal")]

mod agent;
mod child;
mod client;
mod explain;
mod figures;
mod gateway;
mod machine;
mod normal;
mod profiles;
mod reaction;
mod series;
mod webhook;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use homeostat_shop::args::ShopArgs;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
#[command(name = "homeostat-bench", about = "Side-by-side measurements", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// First bad response until the canary has no traffic, and until a webhook is received.
    Reaction(reaction::Args),
    /// CPU of one request through the gateway and through nginx.
    Gateway(gateway::Args),
    /// Metrics: intake, memory, disk and queries beside Prometheus and VictoriaMetrics.
    Series(series::Args),
    /// An hour of one service's profile: bytes beside gzip pprof, and the time to add it up.
    Profiles(profiles::Args),
    /// What the agent takes of a machine while it ships to a server.
    Agent(agent::Args),
    /// Names of causes against a corpus of programs with faults, known programs and unknown ones apart.
    Explain(explain::Args),
    /// Real programs in normal operation under `homeostat up`: incidents, and causes that are given to them.
    Normal(normal::Args),
    /// One shop process, started by the measurements.
    #[command(hide = true)]
    Shop(ShopArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Reaction(args) => reaction::run(&args),
        Command::Gateway(args) => gateway::run(&args),
        Command::Series(args) => series::run(&args),
        Command::Profiles(args) => profiles::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Normal(args) => normal::run(&args),
        Command::Shop(args) => homeostat_shop::args::run(args, CancellationToken::new()).map_err(Into::into),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// What any part of a measurement may fail with: the person at the terminal reads it, no code does.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The release binary beside this program, unless the user named one.
fn homeostat_binary(named: Option<&Path>) -> Result<PathBuf, Failed> {
    let beside = std::env::current_exe()?.with_file_name("homeostat");
    let path = named.map_or(beside, Path::to_owned);
    if path.is_file() {
        return Ok(path);
    }
    let path = path.display();
    Err(format!("there is no {path}; build it with `cargo build --release -p homeostat`, or give --homeostat").into())
}

/// Writes figures where `bench/out` or the user wants them.
fn write_figures(path: &Path, figures: &serde_json::Value) -> Result<(), Failed> {
    write_quietly(path, figures)?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

/// The same without a word, for figures that are written again and again.
fn write_quietly(path: &Path, figures: &serde_json::Value) -> Result<(), Failed> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    Ok(std::fs::write(path, serde_json::to_string_pretty(figures)? + "\n")?)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

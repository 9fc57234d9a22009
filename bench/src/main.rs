//! Side-by-side measurements of Homeostat and its peers: same machine, same input, one table and one JSON file each.
//!
//! `reaction`: from the first bad response of a bad release to traffic moved away and to the webhook, beside Prometheus
//! with Alertmanager. Run through `./dev bench NAME [--quick]`, or by hand with `--help`.
//!
//! Not here: benchmarks of single functions; those sit beside the code they measure.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a measuring program speaks to a terminal")]

mod child;
mod client;
mod figures;
mod machine;
mod reaction;
mod webhook;

use std::process::ExitCode;

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
    /// One shop process, started by the measurements.
    #[command(hide = true)]
    Shop(ShopArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Reaction(args) => reaction::run(&args),
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

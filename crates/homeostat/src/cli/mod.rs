//! Subcommands. Each file holds one: its arguments (`Args`) and what it does (`run`), which ends in an exit code:
//! 0 done, 1 failed, 2 the user has something to mend.

// They stand before the modules, so that these use them instead of the panicking ones of the standard library.
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::say::out(format_args!($($text)*)) };
}
macro_rules! println {
    ($($text:tt)*) => { $crate::cli::say::out(format_args!("{}\n", format_args!($($text)*))) };
}
macro_rules! eprint {
    ($($text:tt)*) => { $crate::cli::say::err(format_args!($($text)*)) };
}
macro_rules! eprintln {
    () => { $crate::cli::say::err(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::say::err(format_args!("{}\n", format_args!($($text)*))) };
}

mod action;
mod agent;
mod audit;
mod break_glass;
mod case;
mod change;
mod check;
mod client;
mod demo;
mod doctor;
mod events;
mod incident;
mod init;
mod kernel;
mod log;
mod profile;
mod profile_cpu;
mod profile_goroutines;
mod profile_off_cpu;
mod programs;
mod quantity;
mod render;
mod replay;
mod rollout;
mod say;
mod schema;
mod series;
mod server;
mod serving;
mod shop;
mod simulate;
mod status;
mod up;
mod wal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps services on their objectives: senses, judges, explains and acts in one process.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, about, long_about = None, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays a situation many times before it is met in earnest
    Simulate(simulate::Args),
    Up(up::Args),
    Server(Box<server::Args>),
    Agent(Box<agent::Args>),
    Check(check::Args),
    Schema(schema::Args),
    Init(init::Args),
    Demo(demo::Args),
    Status(status::Args),
    Incidents(incident::ListArgs),
    Incident(incident::Args),
    Rollout(rollout::Args),
    Action(action::Args),
    BreakGlass(break_glass::Args),
    Change(change::Args),
    Events(events::Args),
    Audit(audit::Args),
    /// Looks at the metrics store's files, reads all of them, mends them, copies them
    Series(series::Args),
    /// Runs a journal through control again and compares every command
    Replay(replay::Args),
    Profile(profile::Args),
    Kernel(kernel::Args),
    Doctor(doctor::Args),
    Case(case::Args),
    /// Looks at the journal's files, and repairs a damaged one
    Wal(wal::Args),
    #[command(hide = true)]
    Shop(shop::Args),
    #[command(hide = true)]
    Recommender(shop::RecommenderCommand),
}

/// Reads the command line and runs what it asks for.
pub fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Simulate(args) => simulate::run(args),
        Command::Up(args) => up::run(args),
        Command::Server(args) => server::run(*args),
        Command::Agent(args) => agent::run(*args),
        Command::Check(args) => check::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Incidents(args) => incident::list(&args),
        Command::Incident(args) => incident::run(args),
        Command::Rollout(args) => rollout::run(args),
        Command::Action(args) => action::run(args),
        Command::BreakGlass(args) => break_glass::run(args),
        Command::Change(args) => change::run(args),
        Command::Events(args) => events::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Series(args) => series::run(args),
        Command::Replay(args) => replay::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Kernel(args) => kernel::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Case(args) => case::run(&args),
        Command::Wal(args) => wal::run(args),
        Command::Shop(args) => shop::run(args),
        Command::Recommender(args) => shop::run_recommender(&args),
    };
    say::ended(code)
}

/// Looks up a variable that the configuration names as `${NAME}`.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment, for values declared as secrets"
)]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

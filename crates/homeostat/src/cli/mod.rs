//! Subcommands. Each file holds one: its arguments (`Args`) and what it does (`run`), which ends in an exit code:
//! 0 done, 1 failed, 2 the user has something to mend.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "speaking to a terminal is this module's job")]

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
enum Command {}

/// Reads the command line and runs what it asks for.
pub fn main() -> ExitCode {
    match Cli::parse().command {}
}

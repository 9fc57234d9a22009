//! `homeostat schema`: what may be written in a configuration, for editors and for people.

use std::process::ExitCode;

use crate::config;

/// Prints the JSON Schema of configuration documents, or the reference page
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the reference of all keys in Markdown instead (docs/config.md)
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    if args.markdown {
        print!("{}", config::markdown());
    } else {
        println!("{:#}", config::json_schema());
    }
    ExitCode::SUCCESS
}

//! `homeostat audit`: who did what.

use std::process::ExitCode;

use homeostat_api::backend::AuditEntry;

use super::{
    client::{Client, ClientError, Connection},
    render::{Style, lists, print},
    status::{done, print_json},
};

/// Shows who asked for what, newest first, carried out or refused
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many at most, 1 to 500
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    done(audit(args))
}

fn audit(args: &Args) -> Result<(), ClientError> {
    let entries: Vec<AuditEntry> = Client::new(&args.connection)?.get(&format!("/audit?limit={}", args.limit))?;
    if args.json {
        return print_json(&entries);
    }
    let page = lists::audit(&entries, Style::of_terminal());
    print(if page.is_empty() { "nobody has asked for anything yet\n" } else { &page });
    Ok(())
}

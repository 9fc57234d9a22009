//! `homeostat change`: see what changed, and announce what Homeostat cannot see by itself.

use std::process::ExitCode;

use clap::{Subcommand, builder::PossibleValuesParser};
use homeostat_api::backend::NewChange;
use homeostat_model::{ChangeEvent, ChangeKind, ServiceName, VersionName};

use super::{
    client::{Client, ClientError, Connection},
    render::{Style, lists, print},
    status::{done, print_json},
};

/// Lists changes, and announces deploys, flags and the like, so that incidents can show them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The last 100 changes, newest first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Announces a change; it moves nothing
    Add(Add),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// What changed, as one line without secrets: 300 characters at most
    summary: String,
    /// What kind of change
    #[arg(long, default_value = "deploy", value_parser = PossibleValuesParser::new(ChangeKind::ALL.map(ChangeKind::label)))]
    kind: String,
    /// Whose service it touches; all services when left out
    #[arg(long)]
    service: Option<ServiceName>,
    /// The version concerned
    #[arg(long)]
    version: Option<VersionName>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(args: Args) -> ExitCode {
    done(match args.command {
        Command::List { json, connection } => list(json, &connection),
        Command::Add(change) => add(change),
    })
}

fn list(json: bool, connection: &Connection) -> Result<(), ClientError> {
    let changes: Vec<ChangeEvent> = Client::new(connection)?.get("/changes")?;
    if json {
        return print_json(&changes);
    }
    let page = lists::changes(&changes, Style::of_terminal());
    print(if page.is_empty() { "no changes yet\n" } else { &page });
    Ok(())
}

fn add(add: Add) -> Result<(), ClientError> {
    let Add { summary, kind, service, version, connection } = add;
    // The command line takes no other words.
    let kind = ChangeKind::ALL.into_iter().find(|known| known.label() == kind).unwrap_or(ChangeKind::Other);
    Client::new(&connection)?.post("/changes", &NewChange { kind, service, version, summary, at: None })
}

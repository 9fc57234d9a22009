//! `homeostat rollout`: see and drive rollouts.

use std::process::ExitCode;

use clap::Subcommand;
use homeostat_api::body::ReasonBody;
use homeostat_model::view::RolloutView;

use super::{
    client::{Client, ClientError, Connection},
    incident::segment,
    render::{Style, lists, print},
    status::{done, print_json},
};

/// Lists rollouts, and starts, holds, promotes or aborts one
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All rollouts and what their judge says
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Begin with the first step
    Start {
        /// Although the release is frozen after a rollback; the override is audited
        #[arg(long)]
        frozen: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Hold at the present step
    Pause(Target),
    /// Go on from a pause
    Resume(Target),
    /// Open the present gate; after the last step, give the canary all traffic
    Promote(Target),
    /// Take the canary to weight 0
    Abort(Target),
}

#[derive(Debug, clap::Args)]
struct Target {
    /// Name of the rollout
    name: String,
    /// Why, for the audit
    #[arg(long, default_value = "")]
    reason: String,
    /// Print the rollout as JSON afterwards
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(args: Args) -> ExitCode {
    done(match args.command {
        Command::List { json, connection } => list(json, &connection),
        Command::Start { frozen, target } => drive(&target, if frozen { "start_frozen" } else { "start" }),
        Command::Pause(target) => drive(&target, "pause"),
        Command::Resume(target) => drive(&target, "resume"),
        Command::Promote(target) => drive(&target, "promote"),
        Command::Abort(target) => drive(&target, "abort"),
    })
}

fn list(json: bool, connection: &Connection) -> Result<(), ClientError> {
    let rollouts: Vec<RolloutView> = Client::new(connection)?.get("/rollouts")?;
    if json {
        return print_json(&rollouts);
    }
    let page = lists::rollouts(&rollouts, Style::of_terminal());
    print(if page.is_empty() { "no rollouts are declared\n" } else { &page });
    Ok(())
}

fn drive(target: &Target, verb: &str) -> Result<(), ClientError> {
    let client = Client::new(&target.connection)?;
    let name = segment(&target.name);
    client.post(&format!("/rollouts/{name}/{verb}"), &ReasonBody { reason: target.reason.clone() })?;
    let rollout: RolloutView = client.get(&format!("/rollouts/{name}"))?;
    if target.json {
        return print_json(&rollout);
    }
    print(&lists::rollouts(&[rollout], Style::of_terminal()));
    Ok(())
}

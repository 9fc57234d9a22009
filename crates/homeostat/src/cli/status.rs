//! `homeostat status`: how a running instance stands.

use std::process::ExitCode;

use homeostat_api::backend::{ConfigStatus, Health};
use homeostat_model::view::View;

use super::{
    client::{Client, ClientError, Connection},
    render::{Style, lists, print},
};

/// Shows services, objectives, rollouts and open incidents of a running instance
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As JSON: the view that the API serves
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    done(status(args))
}

fn status(args: &Args) -> Result<(), ClientError> {
    let client = Client::new(&args.connection)?;
    if args.json {
        return print_json(&client.get::<serde_json::Value>("/view")?);
    }
    let view: View = client.get("/view")?;
    let (health, config): (Health, ConfigStatus) = (client.get("/health")?, client.get("/config")?);
    print(&format!(
        "homeostat at {}: {}",
        client.address(),
        lists::status(&view, &health, &config, Style::of_terminal())
    ));
    Ok(())
}

/// Indented JSON with a newline at the end.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), ClientError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| ClientError::Answer(error.to_string()))?;
    print(&format!("{text}\n"));
    Ok(())
}

/// The exit code of a command; says what went wrong.
pub(super) fn done(result: Result<(), ClientError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

//! `homeostat action`: see actions and decide about them.

use std::process::ExitCode;

use clap::Subcommand;
use homeostat_api::body::DecisionBody;
use homeostat_model::{
    Span,
    action::{ActionRecord, Decision},
};

use super::{
    client::{Client, ClientError, Connection},
    incident::segment,
    render::{Style, incident::action_card, lists, print},
    status::{done, print_json},
};

/// Lists actions, and approves, rejects, undoes or extends one
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The last 100 actions, newest first
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Let a proposed action happen
    Approve(Target),
    /// Refuse a proposed action
    Reject(Target),
    /// Put things back to what they were before the action
    Undo(Target),
    /// Let an action hold longer, counted from now
    Extend {
        /// How long: 90s, 30m, 2h, 1d
        #[arg(long = "for", value_name = "TIME", value_parser = parse_span)]
        ttl: Span,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, clap::Args)]
struct Target {
    /// Which, such as A-7 or 7
    id: String,
    /// Why, for the audit
    #[arg(long, default_value = "")]
    reason: String,
    /// Print the action as JSON afterwards
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(args: Args) -> ExitCode {
    done(match args.command {
        Command::List { json, connection } => list(json, &connection),
        Command::Approve(target) => decide(&target, Decision::Approve),
        Command::Reject(target) => decide(&target, Decision::Reject),
        Command::Undo(target) => decide(&target, Decision::Undo),
        Command::Extend { ttl, target } => decide(&target, Decision::Extend { ttl }),
    })
}

fn list(json: bool, connection: &Connection) -> Result<(), ClientError> {
    let actions: Vec<ActionRecord> = Client::new(connection)?.get("/actions")?;
    if json {
        return print_json(&actions);
    }
    let page = lists::actions(&actions, Style::of_terminal());
    print(if page.is_empty() { "no actions yet\n" } else { &page });
    Ok(())
}

fn decide(target: &Target, decision: Decision) -> Result<(), ClientError> {
    let client = Client::new(&target.connection)?;
    let id = segment(&target.id);
    client.post(&format!("/actions/{id}/decide"), &DecisionBody { decision, reason: target.reason.clone() })?;
    let action: ActionRecord = client.get(&format!("/actions/{id}"))?;
    if target.json {
        return print_json(&action);
    }
    print(&action_card(&action, Style::of_terminal()));
    Ok(())
}

fn parse_span(text: &str) -> Result<Span, String> {
    const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let split = UNITS.iter().find_map(|(unit, secs)| Some((text.strip_suffix(unit)?, *secs)));
    let secs = split.and_then(|(number, secs)| number.parse::<u64>().ok()?.checked_mul(secs)).filter(|secs| *secs > 0);
    secs.map(Span::from_secs).ok_or_else(|| "write a whole number and a unit: 90s, 30m, 2h, 1d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_numbers_with_units() {
        assert_eq!(parse_span("90s"), Ok(Span::from_secs(90)));
        assert_eq!(parse_span("1d"), Ok(Span::from_days(1)));
        for bad in ["", "h", "5", "0s", "-1h", "1.5h", "99999999999999999999d", "18446744073709551615d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}

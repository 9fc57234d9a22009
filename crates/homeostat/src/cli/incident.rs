//! `homeostat incidents` and `homeostat incident show|profile|export`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Subcommand;
use homeostat_api::{backend::IncidentDetail, body::IncidentPage};
use homeostat_model::{explanation::ProfileSide, incident::BlackBox, profile::Profile};
use homeostat_profile::merge;
use homeostat_wire::pprof::{self, PprofLimits};

use super::{
    client::{Client, ClientError, Connection},
    render::{Style, incident as page, print},
    status::{done, print_json},
};

/// Lists incidents, newest first
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// How many at most, 1 to 500
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Only incidents older than this one, such as INC-3
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Shows one incident, or saves all that is known about it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole story: evidence, time line in milliseconds, actions and why they were allowed
    Show {
        /// Which, such as INC-3 or 3
        id: String,
        /// As JSON: the incident with its actions
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// A profile kept with the incident, as gzip of pprof: `homeostat profile show` and `go tool pprof` open it
    Profile {
        /// Which, such as INC-3 or 3
        id: String,
        /// Which side of the comparison
        #[arg(long, value_enum, default_value_t = SideName::Bad)]
        side: SideName,
        /// What was measured: `cpu` or `goroutine`
        #[arg(long, value_name = "KIND", default_value = "cpu")]
        kind: String,
        /// Where to; an existing file is replaced
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
    /// Incident, actions and recording as one JSON file
    Export {
        /// Which, such as INC-3 or 3
        id: String,
        /// Where to; an existing file is replaced
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        connection: Connection,
    },
}

pub(crate) fn list(args: &ListArgs) -> ExitCode {
    done(show_list(args))
}

pub(crate) fn run(args: Args) -> ExitCode {
    done(match args.command {
        Command::Show { id, json, connection } => show(&id, json, &connection),
        Command::Profile { id, side, kind, output, connection } => profile(&id, side, &kind, &output, &connection),
        Command::Export { id, output, connection } => export(&id, &output, &connection),
    })
}

fn show_list(args: &ListArgs) -> Result<(), ClientError> {
    let before = args.before.as_deref().map(|id| format!("&before={}", segment(id))).unwrap_or_default();
    let answer: IncidentPage =
        Client::new(&args.connection)?.get(&format!("/incidents?limit={}{before}", args.limit))?;
    if args.json {
        return print_json(&answer);
    }
    if answer.incidents.is_empty() {
        print("no incidents\n");
        return Ok(());
    }
    print(&page::list(&answer.incidents, Style::of_terminal()));
    if let Some(id) = answer.next_before {
        print(&format!("older ones: homeostat incidents --before {id}\n"));
    }
    Ok(())
}

fn show(id: &str, json: bool, connection: &Connection) -> Result<(), ClientError> {
    let (client, id) = (Client::new(connection)?, segment(id));
    if json {
        return print_json(&client.get::<serde_json::Value>(&format!("/incidents/{id}"))?);
    }
    let detail: IncidentDetail = client.get(&format!("/incidents/{id}"))?;
    let black_box: Option<BlackBox> =
        if detail.has_black_box { Some(client.get(&format!("/incidents/{id}/black-box"))?) } else { None };
    print(&page::page(&detail, black_box.as_ref(), Style::of_terminal()));
    Ok(())
}

fn export(id: &str, output: &Path, connection: &Connection) -> Result<(), ClientError> {
    let bundle = Client::new(connection)?.get_bytes(&format!("/incidents/{}/bundle", segment(id)))?;
    let failed = |error| ClientError::Local(format!("cannot write {}: {error}", output.display()));
    std::fs::write(output, &bundle).map_err(failed)?;
    print(&format!("{} bytes in {}\n", bundle.len(), output.display()));
    Ok(())
}

/// Which side of a comparison, as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SideName {
    /// What is compared with
    Good,
    /// What is looked at
    Bad,
}

/// Writes the profiles of one side and kind into one file; a version of two programs has two.
fn profile(id: &str, side: SideName, kind: &str, output: &Path, connection: &Connection) -> Result<(), ClientError> {
    let black_box: BlackBox = Client::new(connection)?.get(&format!("/incidents/{}/black-box", segment(id)))?;
    let wanted = if side == SideName::Good { ProfileSide::Good } else { ProfileSide::Bad };
    let of_side = black_box.profiles.iter().filter(|kept| kept.seen.side == wanted && kept.seen.kind == kind);
    let profiles = of_side.map(|kept| read(&kept.pprof)).collect::<Result<Vec<_>, _>>().map_err(ClientError::Local)?;
    let Some(sum) = merge(&profiles) else {
        let kept: Vec<_> = black_box.profiles.iter().map(|kept| kept.seen.kind.as_str()).collect();
        let there = if kept.is_empty() { "no profiles".to_owned() } else { format!("only {}", kept.join(", ")) };
        let problem = format!("incident {id} has no {kind} profile of that side; it keeps {there}");
        return Err(ClientError::Local(problem));
    };
    let bytes = pprof::write(&sum);
    let failed = |error| ClientError::Local(format!("cannot write {}: {error}", output.display()));
    std::fs::write(output, &bytes).map_err(failed)?;
    print(&format!("{} bytes in {}\n", bytes.len(), output.display()));
    Ok(())
}

fn read(packed: &str) -> Result<Profile, String> {
    let bytes = STANDARD.decode(packed).map_err(|error| format!("the server's profile is damaged: {error}"))?;
    pprof::read(&bytes, &PprofLimits::default()).map_err(|error| format!("the server's profile is damaged: {error}"))
}

/// A name as one segment of a path: whatever else it holds cannot change where the request goes.
pub(super) fn segment(text: &str) -> String {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    let escaped = |b: u8| if unreserved(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    match text {
        // A client may resolve these before it sends them.
        "." | ".." => text.replace('.', "%2E"),
        text => text.bytes().map(escaped).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(segment("INC-3"), "INC-3");
        assert_eq!(segment("../x?y#é"), "..%2Fx%3Fy%23%C3%A9");
        assert_eq!(segment(".."), "%2E%2E");
    }
}

//! `homeostat events`: follow what happens.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::{
    client::{Client, ClientError, Connection},
    render::lists,
    status::done,
};

/// Follows what control does, one line each, until it is interrupted
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also the traffic of every 100 ms
    #[arg(long)]
    traffic: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    done(events(args))
}

fn events(args: &Args) -> Result<(), ClientError> {
    let types = if args.traffic { "command,traffic" } else { "command" };
    let client = Client::new(&args.connection)?;
    let mut out = io::stdout().lock();
    let mut closed = false;
    client.follow(&format!("/events?types={types}"), |name, data| {
        let line = if args.json {
            Some(data.to_owned())
        } else {
            serde_json::from_str(data).ok().and_then(|data| lists::event(name, &data))
        };
        // A reader that went away ends the following.
        closed = line.is_some_and(|line| writeln!(out, "{line}").and_then(|()| out.flush()).is_err());
        !closed
    })?;
    if closed { Ok(()) } else { Err(ClientError::Local(format!("{} ended the stream", client.address()))) }
}

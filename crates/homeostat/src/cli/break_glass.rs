//! `homeostat break-glass`: all automatic actions off, or on again.

use std::process::ExitCode;

use clap::ValueEnum;
use homeostat_api::body::BreakGlassBody;

use super::{
    client::{Client, ClientError, Connection},
    render::print,
    status::done,
};

/// Switches all automatic actions off, or on again
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `on` breaks the glass: nothing acts by itself until `off`
    #[arg(value_enum)]
    switch: Switch,
    /// Why, for the audit
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// Automatic actions are off
    On,
    /// Automatic actions are on
    Off,
}

pub(crate) fn run(args: Args) -> ExitCode {
    done(switch(args))
}

fn switch(args: Args) -> Result<(), ClientError> {
    let engaged = args.switch == Switch::On;
    Client::new(&args.connection)?.post("/break-glass", &BreakGlassBody { engaged, reason: args.reason })?;
    print(if engaged {
        "automatic actions are off; `homeostat break-glass off` switches them on again\n"
    } else {
        "automatic actions are on again\n"
    });
    Ok(())
}

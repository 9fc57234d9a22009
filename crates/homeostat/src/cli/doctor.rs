//! `homeostat doctor`: what can be sensed on this machine, each thing tried alone.

use std::process::ExitCode;

use homeostat_sense_kernel::{HAS_PROGRAMS, HOW_TO_BUILD, NOT_BUILT, Probe, ProbeState, examine};
use serde_json::json;

use super::render::{Style, table};

/// Tries what the kernel allows here, and says what is refused and why
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let probes = examine();
    if args.json {
        let list: Vec<_> = probes.iter().map(in_json).collect();
        println!("{:#}", json!({ "built": HAS_PROGRAMS, "probes": list }));
        return ExitCode::SUCCESS;
    }
    let rows: Vec<_> =
        probes.iter().map(|probe| vec![probe.name.to_owned(), state(probe), probe.gives.to_owned()]).collect();
    print!("{}", table(&["PROBE", "STATE", "GIVES"], &rows, Style::of_terminal()));
    for probe in &probes {
        if let ProbeState::Refused(refused) = &probe.state {
            println!("{} is refused: {refused}", probe.name);
        }
    }
    if !HAS_PROGRAMS {
        println!("{NOT_BUILT}: {HOW_TO_BUILD}");
    }
    ExitCode::SUCCESS
}

fn state(probe: &Probe) -> String {
    match &probe.state {
        ProbeState::Ok => "ok",
        ProbeState::Refused(_) => "refused",
        ProbeState::NotBuilt => "not built",
    }
    .to_owned()
}

fn in_json(probe: &Probe) -> serde_json::Value {
    let refused = match &probe.state {
        ProbeState::Refused(refused) => Some(refused),
        ProbeState::Ok | ProbeState::NotBuilt => None,
    };
    json!({
        "name": probe.name, "state": state(probe), "gives": probe.gives,
        "reason": refused.map(ToString::to_string),
    })
}

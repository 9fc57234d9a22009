//! Which programs a command is about: the same words in every command.

use std::{collections::BTreeSet, time::Duration};

use homeostat_sense_kernel::Targets;

/// Chosen programs, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Programs {
    #[command(flatten)]
    which: Which,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Processes, with all their threads
    #[arg(long, value_name = "PID", num_args = 1..)]
    pid: Vec<u32>,
    /// Processes of a service: the name of a program's file, or of a systemd unit without `.service`
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
}

impl Programs {
    /// What to look at, and how it is called.
    pub(crate) fn targets(&self) -> Result<(Targets, String), String> {
        chosen(&self.which.pid, self.which.service.as_deref())
    }

    /// The processes.
    pub(crate) fn pids(&self) -> Result<BTreeSet<u32>, String> {
        match self.targets()?.0 {
            Targets::Processes(pids) => Ok(pids),
            Targets::Machine => Ok(BTreeSet::new()),
        }
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// The processes of a service or, without one, those with these numbers; and how they are called. The error is for people.
pub(crate) fn chosen(pids: &[u32], service: Option<&str>) -> Result<(Targets, String), String> {
    let (targets, title) = if let Some(name) = service {
        (Targets::service(name), name.to_owned())
    } else {
        let numbers: Vec<_> = pids.iter().map(u32::to_string).collect();
        (Targets::processes(pids.iter().copied()), format!("process {}", numbers.join(", ")))
    };
    Ok((targets.map_err(|error| error.to_string())?, title))
}

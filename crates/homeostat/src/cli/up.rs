//! `homeostat up`: every role in one process, until it is asked to stop.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::ValueEnum;
use homeostat_model::Actor;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::serving;
use crate::runtime::{self, Options, StartError};
use homeostat_model::error_chain::chain;

/// Runs gateway, judge, guard, journal, notifications and API in one process
///
/// SIGHUP or a changed file reloads the configuration; SIGINT or SIGTERM drains and stops, a second one stops at once.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file, or folder of *.yaml files
    #[arg(short, long, value_name = "FILE_OR_DIR", default_value = "homeostat.yaml")]
    config: PathBuf,
    /// What to log: error, warn, info, debug, trace, or per part as in `info,homeostat_gateway_proxy=debug`
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Log line formats.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Threads of the control plane's runtime: the API and notifications. The gateway and control have their own.
const CONTROL_PLANE_THREADS: usize = 2;

pub(crate) fn run(args: Args) -> ExitCode {
    let (log, format) = (args.log.clone(), args.log_format);
    serving::run(&log, format, CONTROL_PLANE_THREADS, || Ok(serve(args)))
}

async fn serve(args: Args) -> ExitCode {
    raise_file_limit();
    // Before anything else: a signal that comes while the parts start must not end the process half-way.
    let signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(problem) => {
            eprintln!("homeostat: cannot listen for signals: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let environment: runtime::Environment = Arc::new(super::environment);
    let running = match runtime::start(Options { config: args.config, environment }).await {
        Ok(running) => running,
        Err(StartError::Config(problems)) => {
            eprint!("{problems}");
            return ExitCode::from(2);
        }
        Err(problem) => {
            eprintln!("homeostat: {}", chain(&problem));
            return ExitCode::FAILURE;
        }
    };
    for (name, address) in running.gateway_addresses() {
        tracing::info!(listener = name, %address, "gateway listens");
    }
    tracing::info!("API and console at http://{}/", running.api_address());
    let mut signals = signals;
    signals.until_told(&running).await;
    tracing::info!("stopping: running requests are finished, then the journal is synced");
    tokio::select! {
        report = running.stop() => {
            tracing::info!(%report, "stopped");
            ExitCode::SUCCESS
        }
        () = signals.told_again() => {
            tracing::warn!("stopped at once on a second signal");
            ExitCode::from(130)
        }
    }
}

/// The signals that mean something to the process.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the signal to stop, reloading on SIGHUP meanwhile.
    async fn until_told(&mut self, running: &runtime::Running) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => running.reload(Actor::new("SIGHUP")),
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }

    /// A second SIGINT or SIGTERM.
    async fn told_again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Every connection is a file. Many systems start processes with a soft limit of 1,024 and a far higher hard one, which
/// any process may take.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => tracing::debug!(files = limit.maximum, "raised the limit of open files"),
        Err(problem) => {
            tracing::warn!(%problem, "cannot raise the limit of open files; connections beyond it are refused");
        }
    }
}

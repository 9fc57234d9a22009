//! Processes under measurement: started with their output in a file, ended with the measurement.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::Failed;

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; what it says goes to `log`.
    pub(crate) fn start(program: &Path, arguments: &[String], log: PathBuf) -> Result<Self, Failed> {
        let output = File::create(&log)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        Ok(Self { child, log })
    }

    /// Its number, while it runs.
    pub(crate) fn pid(&self) -> Result<u32, Failed> {
        self.child.id().ok_or_else(|| format!("a process has ended early:{}", self.last_words()).into())
    }

    /// A failure with its last words when it runs no more.
    pub(crate) fn running(&mut self) -> Result<(), Failed> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("a process has ended early ({status}):{}", self.last_words()).into()),
        }
    }

    /// Kills it and waits until it is gone.
    pub(crate) async fn end(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Asks it to stop (SIGTERM) and waits until it has; one that does not in time is killed.
    pub(crate) async fn terminate(mut self, within: Duration) -> io::Result<()> {
        if let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            kill_process(pid, Signal::TERM)?;
        }
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => status.map(drop),
            Err(_) => self.child.kill().await,
        }
    }

    /// The last lines it said, for a failure's story.
    pub(crate) fn last_words(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(8)).flat_map(|line| ["\n    ", line]).collect()
    }
}

/// A loopback port that is free now. Peers cannot be told to take any and say which, so another process might take it
/// in between; the measurement then fails at start and says so.
pub(crate) fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

//! Both shops as child processes of this binary: what one does to itself the other does not feel.
//!
//! They end when the pipe to their standard input closes, which the kernel sees to however this process ends.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use homeostat_shop::Setting;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::DemoError;

/// A shop that has not spoken by then will not: it opens a store and takes a port.
const START_WITHIN: Duration = Duration::from_secs(20);
/// Time to finish requests and close the order book before a shop is killed.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Both versions.
#[derive(Debug)]
pub(super) struct Shops {
    pub(super) v1: SocketAddr,
    pub(super) v2: SocketAddr,
    children: [Child; 2],
}

impl Shops {
    /// Starts both; `fault` is v2's.
    pub(super) async fn start(dir: &Path, fault: Setting) -> Result<Self, DemoError> {
        let (first, v1) = start(dir, "v1", None).await?;
        let (second, v2) = start(dir, "v2", Some(fault)).await?;
        Ok(Self { v1, v2, children: [first, second] })
    }

    /// Lets both finish; kills one that does not.
    pub(super) async fn end(mut self) {
        for child in &mut self.children {
            drop(child.stdin.take());
        }
        for mut child in self.children {
            if timeout(END_WITHIN, child.wait()).await.is_err()
                && let Err(problem) = child.kill().await
            {
                tracing::warn!(%problem, "a shop could not be ended");
            }
        }
    }
}

async fn start(dir: &Path, version: &'static str, fault: Option<Setting>) -> Result<(Child, SocketAddr), DemoError> {
    let failed = |detail: String| DemoError::Shop { version, detail };
    let this = std::env::current_exe().map_err(|problem| failed(problem.to_string()))?;
    let mut command = Command::new(this);
    command.args(["shop", "--until-stdin-closes", "--version-name", version, "--data-dir"]).arg(dir.join(version));
    if let Some(fault) = fault {
        command.args(["--fault", &fault.to_string()]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    // Ctrl-C at the terminal is for this process alone; it ends the shops in order.
    command.process_group(0);
    let mut child = command.spawn().map_err(|problem| failed(problem.to_string()))?;
    let output = child.stdout.take().ok_or_else(|| failed("it has no output".to_owned()))?;
    let mut said = String::new();
    let read = timeout(START_WITHIN, BufReader::new(output).read_line(&mut said)).await;
    if !matches!(read, Ok(Ok(_))) {
        return Err(failed(format!("it said nothing within {START_WITHIN:?}")));
    }
    let address = said.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
    address.map(|address| (child, address)).ok_or_else(|| failed(format!("it said `{}`", said.trim())))
}

//! Both shops, and the recommender that they ask, as child processes of this binary: what one does to itself the others do
//! not feel.
//!
//! They end when the pipe to their standard input closes, which the kernel sees to however this process ends.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use homeostat_shop::{Fault, Setting};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::DemoError;

/// A shop that has not spoken by then will not: it opens a store and takes a port.
const START_WITHIN: Duration = Duration::from_secs(20);
/// Time to finish requests and close the order book before a shop is killed.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Both versions, and whom they ask.
#[derive(Debug)]
pub(super) struct Shops {
    pub(super) v1: SocketAddr,
    pub(super) v2: SocketAddr,
    pub(super) recommender: SocketAddr,
    versions: [Child; 2],
    asked: Child,
}

impl Shops {
    /// Starts all; `fault` is v2's, but for a slow recommender, which is nobody's fault who asks it.
    pub(super) async fn start(dir: &Path, fault: Setting) -> Result<Self, DemoError> {
        let of_v2 = Some(fault).filter(|fault| fault.fault != Fault::Dependency);
        let (first, v1) = start_shop(dir, "v1", None).await?;
        let (second, v2) = start_shop(dir, "v2", of_v2).await?;
        let (asked, recommender) = start("recommender", &mut this(&["recommender"])?).await?;
        Ok(Self { v1, v2, recommender, versions: [first, second], asked })
    }

    /// From now on both versions ask for recommendations, at the gateway.
    pub(super) async fn ask_at(&mut self, gateway: SocketAddr) -> Result<(), DemoError> {
        for version in &mut self.versions {
            order(version, &format!("recommender {gateway}")).await?;
        }
        Ok(())
    }

    /// From now on the recommender answers so late, whoever asks.
    pub(super) async fn recommender_answers_after(&mut self, ms: f64) -> Result<(), DemoError> {
        order(&mut self.asked, &format!("after {ms:.0}")).await
    }

    /// Lets all finish; kills one that does not.
    pub(super) async fn end(self) {
        let mut children: Vec<Child> = self.versions.into_iter().chain([self.asked]).collect();
        for child in &mut children {
            drop(child.stdin.take());
        }
        for mut child in children {
            if timeout(END_WITHIN, child.wait()).await.is_err()
                && let Err(problem) = child.kill().await
            {
                tracing::warn!(%problem, "a shop could not be ended");
            }
        }
    }
}

async fn start_shop(
    dir: &Path,
    version: &'static str,
    fault: Option<Setting>,
) -> Result<(Child, SocketAddr), DemoError> {
    let mut command = this(&["shop", "--version-name", version, "--data-dir"])?;
    command.arg(dir.join(version));
    if let Some(fault) = fault {
        command.args(["--fault", &fault.to_string()]);
    }
    start(version, &mut command).await
}

/// This binary once more.
fn this(arguments: &[&str]) -> Result<Command, DemoError> {
    let failed = |source| DemoError::Io { what: "find this program".to_owned(), source };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(arguments);
    Ok(command)
}

async fn start(name: &'static str, command: &mut Command) -> Result<(Child, SocketAddr), DemoError> {
    let failed = |detail: String| DemoError::Process { name, detail };
    command.arg("--until-stdin-closes");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    // Ctrl-C at the terminal is for this process alone; it ends the others in order.
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

/// Tells a child something, a line on its standard input.
async fn order(child: &mut Child, line: &str) -> Result<(), DemoError> {
    let failed = |source| DemoError::Io { what: format!("tell a child process `{line}`"), source };
    let Some(input) = child.stdin.as_mut() else { return Err(failed(std::io::ErrorKind::BrokenPipe.into())) };
    input.write_all(format!("{line}\n").as_bytes()).await.map_err(failed)?;
    input.flush().await.map_err(failed)
}

//! Two shops as processes of their own, and load on them: what every trial has in common.

use std::{net::SocketAddr, path::Path, time::Duration};

use homeostat_load::{Load, Mix, Moment, RunningLoad, ShopMix};
use homeostat_shop::VERSION_HEADER;
use hyper::Method;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    Failed,
    child::{Process, free_port},
    client,
};

/// Requests a second.
pub(crate) const RPS: f64 = 2_000.0;
/// The canary's share, percent.
pub(crate) const CANARY_PERCENT: u32 = 5;
/// Share of the canary's requests that fail.
pub(crate) const ERROR_SHARE: f64 = 0.3;
/// Longest wait for the first bad response: at 30 errors a second it comes within a tenth of a second.
const FIRST_BAD_WITHIN: Duration = Duration::from_secs(10);

/// Both versions.
#[derive(Debug)]
pub(crate) struct Shops {
    pub(crate) v1: SocketAddr,
    pub(crate) v2: SocketAddr,
    _processes: [Process; 2],
}

impl Shops {
    pub(crate) async fn start(dir: &Path) -> Result<Self, Failed> {
        let (v1, first) = shop(dir, "v1").await?;
        let (v2, second) = shop(dir, "v2").await?;
        Ok(Self { v1, v2, _processes: [first, second] })
    }

    /// From now on the canary fails its share of requests.
    pub(crate) async fn fault_on(&self) -> Result<(), Failed> {
        let path = format!("/faults/errors?strength={ERROR_SHARE}");
        client::must(self.v2, Method::POST, &path, "").await.map(drop)
    }

    pub(crate) async fn fault_off(&self) -> Result<(), Failed> {
        client::must(self.v2, Method::DELETE, "/faults/errors", "").await.map(drop)
    }
}

async fn shop(dir: &Path, version: &str) -> Result<(SocketAddr, Process), Failed> {
    let (at, this) = (free_port()?, std::env::current_exe()?);
    let data = dir.join(version).display().to_string();
    let listen = at.to_string();
    let arguments = ["shop", "--listen", &listen, "--version-name", version, "--data-dir", &data];
    let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
    let process = Process::start(&this, &arguments, dir.join(format!("shop-{version}.log")))?;
    match client::ready(at, "/healthz", Duration::from_secs(10)).await {
        Ok(()) => Ok((at, process)),
        Err(error) => Err(format!("shop {version}: {error}{}", process.last_words()).into()),
    }
}

/// Customers on these targets, labelled by the version that answered.
pub(crate) fn customers(targets: Vec<(SocketAddr, u32)>, seed: u64) -> Result<RunningLoad, Failed> {
    let load = Load {
        targets,
        label_header: Some(VERSION_HEADER),
        user_header: Some(http::HeaderName::from_static("x-user")),
        seed,
        ..Load::new(SocketAddr::from(([127, 0, 0, 1], 0)), RPS, Mix::Shop(ShopMix::default()))
    };
    Ok(load.spawn(CancellationToken::new())?)
}

/// When the customers saw the canary fail for the first time.
pub(crate) async fn first_bad(load: &RunningLoad) -> Result<Moment, Failed> {
    let deadline = Instant::now() + FIRST_BAD_WITHIN;
    while Instant::now() < deadline {
        if let Some(moment) = load.tally().first_bad("v2") {
            return Ok(moment);
        }
        sleep(Duration::from_millis(1)).await;
    }
    Err(format!("the canary did not fail within {FIRST_BAD_WITHIN:?}; does it get traffic?").into())
}

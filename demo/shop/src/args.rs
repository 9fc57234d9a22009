//! One shop as a process: its command line, its first line of output, and when it ends.
//!
//! Shared by the stand-alone binary and by `homeostat shop`, which the demonstration starts as child processes.
//! A shop that was told `--until-stdin-closes` ends when its parent does, however the parent ended: the pipe closes.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
};

use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use crate::{BoundShop, ITEMS_DEFAULT, STOCK_DEFAULT, Setting, ShopConfig, ShopError};

/// Command line of one shop.
#[derive(Clone, Debug, clap::Args)]
pub struct ShopArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Which version this is.
    #[arg(long, default_value = "v1")]
    pub version_name: String,
    /// Where orders are kept.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Items of the catalogue.
    #[arg(long, default_value_t = ITEMS_DEFAULT)]
    pub items: u32,
    /// Pieces of each new item.
    #[arg(long, default_value_t = STOCK_DEFAULT)]
    pub stock: u64,
    /// Fault that is on from the start, `NAME` or `NAME=STRENGTH`; may be repeated.
    #[arg(long = "fault", value_name = "NAME[=STRENGTH]")]
    pub faults: Vec<Setting>,
    /// End when standard input closes.
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// A shop process cannot start or speak.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The shop itself.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// The runtime or standard output.
    #[error("the shop process cannot start")]
    Io(#[from] io::Error),
}

/// Runs one shop on a runtime of one thread until `stop`, or until standard input closes when that was asked for.
/// Prints `listening on ADDRESS` once it answers. One thread: a release that blocks it hurts itself, not its neighbours.
pub fn run(args: ShopArgs, stop: CancellationToken) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let until_stdin_closes = args.until_stdin_closes;
    let served = runtime.block_on(async {
        let shop = BoundShop::bind(args.into()).await?;
        writeln!(io::stdout(), "listening on {}", shop.address())?;
        io::stdout().flush()?;
        if until_stdin_closes {
            tokio::spawn(stop_at_end_of_input(stop.clone()));
        }
        shop.run(stop).await;
        Ok(())
    });
    // The thread that reads standard input cannot be interrupted; the process ends without it.
    runtime.shutdown_background();
    served
}

async fn stop_at_end_of_input(stop: CancellationToken) {
    let (mut input, mut ignored) = (tokio::io::stdin(), [0_u8; 256]);
    while matches!(input.read(&mut ignored).await, Ok(read) if 0 < read) {}
    stop.cancel();
}

impl From<ShopArgs> for ShopConfig {
    fn from(args: ShopArgs) -> Self {
        Self {
            listen: args.listen,
            version: args.version_name,
            data_dir: args.data_dir,
            items: args.items,
            stock: args.stock,
            faults: args.faults,
        }
    }
}

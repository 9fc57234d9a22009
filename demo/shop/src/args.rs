//! One shop as a process: its command line, its first line of output, and when it ends.
//!
//! Shared by the stand-alone binary and by `homeostat shop`, which the demonstration starts as child processes.
//! A process that was told `--until-stdin-closes` ends when its parent does, however the parent ended: the pipe closes.
//! Until then it takes orders from there, one a line: a shop `recommender ADDRESS`, the recommender `after MILLISECONDS`.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

use crate::{BoundShop, ITEMS_DEFAULT, STOCK_DEFAULT, Setting, ShopConfig, ShopError, recommender::Recommender};

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

/// Command line of the recommender.
#[derive(Clone, Debug, clap::Args)]
pub struct RecommenderArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// End when standard input closes.
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// Runs one shop on a runtime of one thread until `stop`, or until standard input closes when that was asked for.
/// Prints `listening on ADDRESS` once it answers. One thread: a release that blocks it hurts itself, not its neighbours.
pub fn run(args: ShopArgs, stop: CancellationToken) -> Result<(), RunError> {
    let until_stdin_closes = args.until_stdin_closes;
    on_one_thread(async {
        let shop = BoundShop::bind(args.into()).await?;
        say(shop.address())?;
        if until_stdin_closes {
            let recommender = shop.recommender();
            let tell = move |server| recommender.tell(server);
            tokio::spawn(take_orders(stop.clone(), move |order| argument(order, "recommender").map(&tell)));
        }
        shop.run(stop).await;
        Ok(())
    })
}

/// Runs the recommender in the same way.
pub fn run_recommender(args: &RecommenderArgs, stop: CancellationToken) -> Result<(), RunError> {
    on_one_thread(async {
        let recommender = Recommender::bind(args.listen).await?;
        say(recommender.address()?)?;
        if args.until_stdin_closes {
            let calls = recommender.calls();
            let delay = move |ms| calls.answer_after(Duration::from_millis(ms));
            tokio::spawn(take_orders(stop.clone(), move |order| argument(order, "after").map(&delay)));
        }
        recommender.run(stop).await;
        Ok(())
    })
}

fn on_one_thread(serving: impl Future<Output = Result<(), RunError>>) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serving);
    // The thread that reads standard input cannot be interrupted; the process ends without it.
    runtime.shutdown_background();
    served
}

fn say(address: SocketAddr) -> io::Result<()> {
    writeln!(io::stdout(), "listening on {address}")?;
    io::stdout().flush()
}

/// Does what each line of standard input says, and stops at its end. An order that nobody understands is told, and ignored.
async fn take_orders(stop: CancellationToken, obey: impl Fn(&str) -> Option<()>) {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(order)) = orders.next_line().await {
        if obey(&order).is_none() {
            tracing::warn!(order, "this is no order");
        }
    }
    stop.cancel();
}

/// What follows a word.
fn argument<T: std::str::FromStr>(order: &str, word: &str) -> Option<T> {
    order.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok()
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

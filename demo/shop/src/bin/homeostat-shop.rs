//! One flash-sale shop by itself: `homeostat-shop --data-dir DIR [--fault NAME]`.

use clap::Parser;
use homeostat_shop::args::{RunError, ShopArgs, run};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
#[command(about = "Flash-sale shop with faults to switch on", version)]
struct Cli {
    #[command(flatten)]
    shop: ShopArgs,
}

fn main() -> Result<(), RunError> {
    run(Cli::parse().shop, CancellationToken::new())
}

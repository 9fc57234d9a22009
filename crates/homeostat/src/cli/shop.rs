//! `homeostat shop`: one flash-sale shop. Hidden: the demonstration starts two of them as child processes.

use std::process::ExitCode;

use homeostat_model::error_chain::chain;
use homeostat_shop::args::ShopArgs;
use tokio_util::sync::CancellationToken;

/// Serves one flash-sale shop, for the demonstration
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    shop: ShopArgs,
}

pub(crate) fn run(args: Args) -> ExitCode {
    match homeostat_shop::args::run(args.shop, CancellationToken::new()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("homeostat shop: {}", chain(&problem));
            ExitCode::FAILURE
        }
    }
}

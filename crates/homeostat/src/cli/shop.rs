//! `homeostat shop` and `homeostat recommender`: a flash-sale shop, and the server that it asks for recommendations. Hidden:
//! the demonstration starts them as child processes.

use std::process::ExitCode;

use homeostat_model::error_chain::chain;
use homeostat_shop::args::{RecommenderArgs, RunError, ShopArgs};
use tokio_util::sync::CancellationToken;

/// Serves one flash-sale shop, for the demonstration
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    shop: ShopArgs,
}

/// Serves recommendations to shops, for the demonstration
#[derive(Debug, clap::Args)]
pub(crate) struct RecommenderCommand {
    #[command(flatten)]
    recommender: RecommenderArgs,
}

pub(crate) fn run(args: Args) -> ExitCode {
    code("shop", homeostat_shop::args::run(args.shop, CancellationToken::new()))
}

pub(crate) fn run_recommender(args: &RecommenderCommand) -> ExitCode {
    code("recommender", homeostat_shop::args::run_recommender(&args.recommender, CancellationToken::new()))
}

fn code(of: &str, ended: Result<(), RunError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("homeostat {of}: {}", chain(&problem));
            ExitCode::FAILURE
        }
    }
}

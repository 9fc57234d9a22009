//! From the first bad response of a bad release to traffic moved away, and to a person being told.
//!
//! The same shops, customers and faults for everybody: 2,000 requests/s, 5 % canary, 30 % of its requests fail. The
//! clock starts when the customers' side sees the canary's first bad answer.

mod ours;
mod peers;
mod shop;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::{Value, json};

use self::{
    ours::{Reaction, Scenario},
    peers::{DEFAULTS, FASTEST, Settings},
    shop::{CANARY_PERCENT, ERROR_SHARE, RPS, Shops},
};
use crate::{Failed, figures::Millis, machine::Machine};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    /// Homeostat.
    Homeostat,
    /// Prometheus and Alertmanager.
    Peers,
}

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fewer trials: 10 of Homeostat and of the peer at its fastest, 1 at its defaults.
    #[arg(long)]
    quick: bool,
    /// Trials of Homeostat and of the peer at its fastest.
    #[arg(long)]
    trials: Option<usize>,
    /// Trials of the peer at its defaults; each takes about two minutes.
    #[arg(long)]
    trials_defaults: Option<usize>,
    /// Only one side.
    #[arg(long)]
    only: Option<Side>,
    /// The binary under measurement; the one beside this program unless given.
    #[arg(long, value_name = "PATH")]
    homeostat: Option<PathBuf>,
    /// Where the figures go.
    #[arg(long, value_name = "FILE", default_value = "bench/out/reaction.json")]
    out: PathBuf,
    /// Seed of traffic and phases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Args {
    fn trials(&self) -> usize {
        self.trials.unwrap_or(if self.quick { 10 } else { 30 })
    }

    fn trials_defaults(&self) -> usize {
        self.trials_defaults.unwrap_or(if self.quick { 1 } else { 4 })
    }

    fn wants(&self, side: Side) -> bool {
        self.only.is_none_or(|only| only == side)
    }
}

/// Measures, prints the table and writes the file.
pub(crate) fn run(args: &Args) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(args))
}

async fn measure(args: &Args) -> Result<(), Failed> {
    let machine = Machine::here();
    println!("{machine}");
    println!("{RPS} requests/s, {CANARY_PERCENT} % canary, {} % of its requests fail", ERROR_SHARE * 100.0);
    let dir = tempfile::tempdir()?;
    let shops = Shops::start(dir.path()).await?;
    let mut rows = Vec::new();
    if args.wants(Side::Homeostat) {
        let binary = crate::homeostat_binary(args.homeostat.as_deref())?;
        rows.push(homeostat(args, "homeostat", Scenario::BadRelease, &binary, &shops, dir.path()).await?);
        let turns_bad = Scenario::TurnsBad(Duration::from_secs(3));
        rows.push(homeostat(args, "homeostat_turns_bad", turns_bad, &binary, &shops, dir.path()).await?);
    }
    if args.wants(Side::Peers) {
        rows.push(peer(args, FASTEST, args.trials(), &shops, dir.path()).await?);
        rows.push(peer(args, DEFAULTS, args.trials_defaults(), &shops, dir.path()).await?);
    }
    print_table(&rows);
    write_file(&args.out, args, &machine, &rows)
}

/// One side under one name.
#[derive(Debug)]
struct Row {
    name: &'static str,
    weight_zero: Option<Millis>,
    webhook: Option<Millis>,
    /// Median of the requests harmed; peers do not act, so theirs is not a figure of theirs.
    harmed_p50: Option<u64>,
}

async fn homeostat(
    args: &Args,
    name: &'static str,
    scenario: Scenario,
    binary: &Path,
    shops: &Shops,
    dir: &Path,
) -> Result<Row, Failed> {
    let mut trials: Vec<Reaction> = Vec::new();
    for trial in 1..=args.trials() {
        let dir = dir.join(format!("{name}-{trial}"));
        let seed = args.seed.wrapping_mul(1_000).wrapping_add(trial as u64);
        let reaction = ours::one_trial(binary, scenario, shops, &dir, seed).await?;
        let Reaction { weight_zero_ms, webhook_ms, harmed } = reaction;
        println!(
            "{name} {trial}: weight 0 after {weight_zero_ms:.1} ms, webhook after {webhook_ms:.1} ms, {harmed} harmed"
        );
        trials.push(reaction);
    }
    let mut harmed: Vec<_> = trials.iter().map(|trial| trial.harmed).collect();
    harmed.sort_unstable();
    Ok(Row {
        name,
        weight_zero: Millis::of(trials.iter().map(|trial| trial.weight_zero_ms).collect()),
        webhook: Millis::of(trials.iter().map(|trial| trial.webhook_ms).collect()),
        harmed_p50: harmed.get(harmed.len() / 2).copied(),
    })
}

async fn peer(args: &Args, settings: Settings, trials: usize, shops: &Shops, dir: &Path) -> Result<Row, Failed> {
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(args.seed);
    let name = settings.name;
    let progress = |trial, ms| println!("{name} {trial}: webhook after {ms:.1} ms");
    let measured = peers::measure(settings, trials, shops, dir, &mut chance, progress).await?;
    Ok(Row { name, weight_zero: None, webhook: Millis::of(measured), harmed_p50: None })
}

fn print_table(rows: &[Row]) {
    println!("\nms from the first bad response{:>20} {:>10} {:>10} {:>10} {:>10}", "n", "min", "median", "p95", "max");
    for row in rows {
        for (what, millis) in [("weight 0", row.weight_zero), ("webhook", row.webhook)] {
            if let Some(millis) = millis {
                println!("{:<30} {what:<14} {millis}", row.name);
            }
        }
    }
}

fn write_file(path: &Path, args: &Args, machine: &Machine, rows: &[Row]) -> Result<(), Failed> {
    let mut figures = json!({
        "machine": machine,
        "quick": args.quick,
        "seed": args.seed,
        "requests_per_second": RPS,
        "canary_percent": CANARY_PERCENT,
        "error_share": ERROR_SHARE,
        "clock_starts": "first bad answer of the canary, as the load generator sees it",
        "weight_zero": "instant the serving table was swapped, from the incident's `weight_zero` milestone",
    });
    let sides = figures.as_object_mut().ok_or("the figures are no object")?;
    for row in rows {
        let side = json!({
            "weight_zero_ms": row.weight_zero,
            "webhook_ms": row.webhook,
            "requests_harmed_p50": row.harmed_p50,
        });
        sides.insert(row.name.to_owned(), without_nulls(side));
    }
    crate::write_figures(path, &figures)
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    value
}

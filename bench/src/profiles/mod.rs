//! Profiles that are on all the time: what an hour of one service takes on disk beside the gzip pprof of its windows, and how
//! fast it is added up.
//!
//! ```text
//! load ──▶ Prometheus ◀── kernel, 19 Hz ── homeostat agent ──▶ windows as they were shipped (recorder) ──▶ profile store
//! ```
//!
//! A real Prometheus answers a light and varying load while `homeostat agent` profiles it as it does in production. Each window
//! is kept as it was shipped; that is what a collector would have that stores what it gets. Then all are given to the profile
//! store, which writes its objects, and their bytes are compared.
//!
//! Not here: an hour drawn from recorded stacks, which needs no hour (`./dev bench store-profiles`).

mod capture;
mod load;
mod recorder;
mod store;

use std::path::{Path, PathBuf};

use serde_json::json;

use self::store::Stored;
pub(crate) use self::{
    capture::{HZ, prometheus},
    load::load as light_load,
};
use crate::{Failed, machine::Machine};

/// Bytes of gzip pprof that a byte of the store is to stand for.
const RATIO_TARGET: f64 = 10.0;
/// An hour is to be added up within this.
const MERGE_TARGET_MS: f64 = 100.0;

/// Options of the measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long profiles are taken; a shorter time has as many symbols and fewer samples to share them.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    minutes: u64,
    /// One minute instead.
    #[arg(long)]
    quick: bool,
    /// Keep the windows here, in an empty folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Take no profiles: compare the windows that were kept here.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["keep", "quick", "minutes"])]
    of: Option<PathBuf>,
    /// The binary under measurement; the one beside this program unless given.
    #[arg(long, value_name = "PATH")]
    homeostat: Option<PathBuf>,
    /// Where the figures go.
    #[arg(long, value_name = "FILE", default_value = "bench/out/profiles.json")]
    out: PathBuf,
}

/// Measures, prints and writes the file.
pub(crate) fn run(args: &Args) -> Result<(), Failed> {
    let machine = Machine::here();
    println!("{machine}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let dir = tempfile::tempdir()?;
    let windows = match &args.of {
        Some(kept) => kept.clone(),
        None => captured(args, dir.path(), &runtime)?,
    };
    let stored = store::fill(&windows, &dir.path().join("store"), &runtime)?;
    print(&stored);
    write_file(&args.out, &machine, &stored)
}

/// Takes profiles; returns the folder with the windows.
fn captured(args: &Args, dir: &Path, runtime: &tokio::runtime::Runtime) -> Result<PathBuf, Failed> {
    let windows = args.keep.clone().unwrap_or_else(|| dir.join("windows"));
    std::fs::create_dir_all(&windows)?;
    if std::fs::read_dir(&windows)?.next().is_some() {
        return Err(format!("{} is not empty; give --keep a new folder", windows.display()).into());
    }
    let binary = crate::homeostat_binary(args.homeostat.as_deref())?;
    let minutes = if args.quick { 1 } else { args.minutes };
    println!("a Prometheus under light load, profiled at {HZ} Hz for {minutes} min");
    runtime.block_on(capture::capture(&binary, minutes, dir, &windows))?;
    Ok(windows)
}

fn print(stored: &Stored) {
    let said = |met: bool| if met { "met" } else { "missed" };
    let Stored { windows, samples, seconds, packed_bytes, store_bytes, objects, merge_ms } = stored;
    println!("{windows} windows over {:.1} min, {samples} samples", seconds / 60.0);
    println!(
        "gzip pprof {packed_bytes} bytes, store {store_bytes} bytes in {objects} objects: 1/{:.1}, target 1/{RATIO_TARGET}: {}",
        stored.ratio(),
        said(RATIO_TARGET <= stored.ratio())
    );
    println!(
        "added up in {:.1} ms ({:.1} to {:.1}, {} rounds), target {MERGE_TARGET_MS} ms: {}",
        merge_ms.median,
        merge_ms.min,
        merge_ms.max,
        merge_ms.n,
        said(merge_ms.median <= MERGE_TARGET_MS)
    );
}

fn write_file(path: &Path, machine: &Machine, stored: &Stored) -> Result<(), Failed> {
    let figures = json!({
        "machine": machine,
        "hz": HZ,
        "hour": stored,
        "ratio": stored.ratio(),
        "ratio_target": RATIO_TARGET,
        "merge_target_ms": MERGE_TARGET_MS,
    });
    crate::write_figures(path, &figures)
}

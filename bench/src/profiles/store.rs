//! The windows in the profile store: bytes of its objects, and the time to add them up.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use homeostat_model::{
    Labels,
    profile::{Profile, ValueType},
};
use homeostat_promql::Matcher;
use homeostat_store_objects::Place;
use homeostat_store_profiles::{Columns, ProfileStore, Query, StoreOptions};
use homeostat_wire::{
    pprof::{self, PprofLimits},
    pyroscope::decode_push,
};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::{Failed, figures::Spread};

/// How often the hour is added up.
const ROUNDS: usize = 9;
/// The name that the agent's service has.
const SERVICE: (&str, &str) = ("service_name", "prometheus");
/// Longest wait for the disk.
const DURABLE_WITHIN: Duration = Duration::from_mins(1);

/// What became of the windows.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Stored {
    pub(super) windows: usize,
    pub(super) samples: i64,
    /// From the begin of the first to the end of the last.
    pub(super) seconds: f64,
    /// Of gzip pprof, all windows, as they were shipped.
    pub(super) packed_bytes: u64,
    /// Of the store's objects: symbols, samples and all the rest.
    pub(super) store_bytes: u64,
    pub(super) objects: usize,
    pub(super) merge_ms: Spread,
}

impl Stored {
    /// Bytes of gzip pprof for a byte of the store.
    pub(super) fn ratio(&self) -> f64 {
        self.packed_bytes as f64 / self.store_bytes as f64
    }
}

/// A window as it was shipped.
struct Window {
    labels: Labels,
    profile: Profile,
    packed_bytes: usize,
}

impl Window {
    fn samples(&self) -> i64 {
        self.profile.total(self.profile.samples_column())
    }

    fn began_ms(&self) -> i64 {
        self.profile.started_ns / 1_000_000
    }

    fn ended_ms(&self) -> i64 {
        (self.profile.started_ns + self.profile.duration_ns) / 1_000_000
    }
}

/// Gives all windows of a folder to a new store in `dir`, and measures.
pub(super) fn fill(windows: &Path, dir: &Path, runtime: &Runtime) -> Result<Stored, Failed> {
    let windows = read_all(windows)?;
    let range = windows.iter().map(Window::began_ms).min().zip(windows.iter().map(Window::ended_ms).max());
    let (from_ms, to_ms) = range.ok_or("there are no windows")?;
    let objects = dir.join("objects");
    let place = Place::directory(&objects, "objects")?;
    let options = StoreOptions { retention: None, ..StoreOptions::default() };
    let (store, _) = ProfileStore::open(&dir.join("log"), place, options, runtime.handle().clone(), to_ms)?;
    for window in &windows {
        let _durable = store.push(&window.labels, &window.profile, to_ms)?.wait(DURABLE_WITHIN)?;
    }
    store.flush();
    let files = files_below(&objects)?;
    let samples = windows.iter().map(Window::samples).sum();
    Ok(Stored {
        windows: windows.len(),
        samples,
        seconds: (to_ms - from_ms) as f64 / 1e3,
        packed_bytes: windows.iter().map(|window| window.packed_bytes as u64).sum(),
        store_bytes: files.iter().sum(),
        objects: files.len(),
        merge_ms: merge(&store, (from_ms, to_ms), samples)?,
    })
}

/// Adds the hour up, some times; each sum must have every sample.
fn merge(store: &ProfileStore, (from_ms, to_ms): (i64, i64), samples: i64) -> Result<Spread, Failed> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let query = Query {
            matchers: vec![Matcher::equal(SERVICE.0, SERVICE.1)],
            columns: Columns::One(ValueType::new("samples", "count")),
            ..Query::all(from_ms, to_ms + 1)
        };
        let began = Instant::now();
        let merged = store.merge(&query)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        let total = merged.profile.map_or(0, |profile| profile.total(0));
        if total != samples {
            return Err(format!("the sum has {total} samples of {samples}").into());
        }
    }
    Spread::of(times).ok_or_else(|| "nothing was added up".into())
}

fn read_all(dir: &Path) -> Result<Vec<Window>, Failed> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "window"));
    files.sort();
    let mut windows = Vec::new();
    for file in files {
        for sample in decode_push(&std::fs::read(&file)?)? {
            let profile = pprof::read(&sample.profile, &PprofLimits::default())?;
            let labels = Labels::new(sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            windows.push(Window { labels, profile, packed_bytes: sample.profile.len() });
        }
    }
    Ok(windows)
}

/// Bytes of each file below a folder.
fn files_below(dir: &Path) -> Result<Vec<u64>, Failed> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.metadata()?.len());
        }
    }
    Ok(files)
}

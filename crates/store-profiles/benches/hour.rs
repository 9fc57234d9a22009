//! An hour of an always-on profiler at 19 Hz for one service: bytes beside gzip pprof, and the time to add the hour up.
//!
//! `./dev bench store-profiles` runs it. The stacks are those of real programs: twelve windows of five seconds each, taken from
//! Prometheus, VictoriaMetrics and Alertmanager under load (`crates/explain-profile/tests/fixtures`). A profiler at 19 Hz sees
//! of fifteen seconds at most 285 samples on each core that is busy; each of the 240 windows of the hour draws as many samples
//! as a program on one busy core has, from two of the real windows. pprof is written by our own codec, which leaves out
//! addresses; what programs write themselves is larger.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use homeostat_model::{
    Labels,
    profile::{Profile, Stack, ValueType},
};
use homeostat_profile::Translation;
use homeostat_promql::Matcher;
use homeostat_store_objects::Place;
use homeostat_store_profiles::{Columns, ProfileStore, Query, StoreOptions};
use homeostat_wire::pprof::{self, PprofLimits};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const HZ: u64 = 19;
const WINDOW_S: i64 = 15;
const WINDOWS: i64 = 3600 / WINDOW_S;
/// Begin of a shard, in ms since 1970.
const T0: i64 = 1_763_712_000_000;
const ROUNDS: usize = 9;
/// Bytes of gzip pprof that one of ours must stand for.
const RATIO_TARGET: f64 = 10.0;
const MERGE_TARGET: Duration = Duration::from_millis(100);

fn main() -> Result<(), Failure> {
    println!("an hour at {HZ} Hz, {WINDOWS} profiles of {WINDOW_S} s, one busy core");
    for program in ["prometheus", "victoria-metrics", "alertmanager"] {
        one(program)?;
    }
    Ok(())
}

fn real_windows(program: &str) -> Result<Vec<Profile>, Failure> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../explain-profile/tests/fixtures").join(program);
    let mut files: Vec<_> = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().map(|file| Ok(pprof::read(&std::fs::read(file)?, &PprofLimits::default())?)).collect()
}

/// Samples drawn from two windows, as a profiler at 19 Hz would have seen them.
fn window(from: [&Profile; 2], started_ms: i64, chance: &mut Chance) -> Profile {
    let mut profile = Profile::new(vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")]);
    let period = 1_000_000_000 / HZ as i64;
    (profile.period_type, profile.period) = (ValueType::new("cpu", "nanoseconds"), period);
    (profile.started_ns, profile.duration_ns) = (started_ms * 1_000_000, WINDOW_S * 1_000_000_000);
    for source in from {
        let total = source.total(0).max(1) as u64;
        let mut drawn = vec![0_i64; source.stacks().len()];
        for _ in 0..HZ * WINDOW_S as u64 / 2 {
            let mut at = chance.below(total) as i64;
            for row in source.rows() {
                at -= row.values.first().copied().unwrap_or(0);
                if at < 0 {
                    if let Some(slot) = drawn.get_mut(row.stack.index()) {
                        *slot += 1;
                    }
                    break;
                }
            }
        }
        let is_drawn = |stack: Stack| drawn.get(stack.index()).is_some_and(|drawn| 0 < *drawn);
        let mut translation = Translation::new(source, &mut profile, is_drawn);
        for stack in source.stacks().iter().filter(|stack| is_drawn(*stack)) {
            let count = drawn.get(stack.index()).copied().unwrap_or(0);
            let labels = translation.labels(homeostat_model::profile::LabelSet::NONE, &mut profile);
            profile.add(translation.stack(stack), labels, &[count, count * period]);
        }
    }
    profile
}

fn one(program: &str) -> Result<(), Failure> {
    let real = real_windows(program)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let dir = tempfile::tempdir()?;
    let place = Place::directory(&dir.path().join("objects"), "objects")?;
    let options = StoreOptions { retention: None, ..StoreOptions::default() };
    let (store, _) = ProfileStore::open(&dir.path().join("log"), place, options, runtime.handle().clone(), T0)?;
    let labels = Labels::new([("__name__", "process_cpu"), ("service_name", program)]);
    let mut chance = Chance(0x5eed);
    let (mut packed, mut samples) = (0, 0);
    let mut last = None;
    for at in 0..WINDOWS {
        let mut pick = || real.get(chance.below(real.len() as u64) as usize).ok_or("there are no windows");
        let from = [pick()?, pick()?];
        let profile = window(from, T0 + at * WINDOW_S * 1000, &mut chance);
        packed += pprof::write(&profile).len();
        samples += profile.total(0);
        last = Some(store.push(&labels, &profile, T0 + 3_600_000)?);
    }
    if let Some(ticket) = last {
        let _durable = ticket.wait(Duration::from_mins(1))?;
    }
    store.flush();
    let bytes = store.stats().block_bytes;
    let query = || Query {
        matchers: vec![Matcher::equal("service_name", program)],
        columns: Columns::One(ValueType::new("cpu", "nanoseconds")),
        ..Query::all(T0, T0 + 3_600_000)
    };
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let merged = store.merge(&query())?;
        times.push(began.elapsed());
        let total = merged.profile.map_or(0, |profile| profile.total(0));
        assert!(total == samples * (1_000_000_000 / HZ as i64), "the sum is that of all samples");
    }
    times.sort();
    let (least, middle, most) = (times.first(), times.get(ROUNDS / 2), times.last());
    let (Some(least), Some(middle), Some(most)) = (least, middle, most) else { return Ok(()) };
    let ratio = packed as f64 / bytes as f64;
    let said = |met: bool| if met { "met" } else { "MISSED" };
    println!("{program}: {samples} samples");
    println!(
        "  gzip pprof {packed} bytes, store {bytes} bytes: 1/{ratio:.1}, target 1/{RATIO_TARGET}: {}",
        said(RATIO_TARGET <= ratio)
    );
    println!(
        "  the hour added up in {middle:?} ({least:?} to {most:?}, {ROUNDS} rounds), target {MERGE_TARGET:?}: {}",
        said(*middle <= MERGE_TARGET)
    );
    Ok(())
}

/// A small generator (xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

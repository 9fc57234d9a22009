//! Real programs against themselves: two halves of one run are one behaviour, and nothing is reported to have moved.
//!
//! The corpus has nine normal runs of each of eleven programs, at three levels of load, in five windows of a second each
//! (`corpus/README.md`).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use homeostat_explain_profile::{DiffOptions, diff};
use homeostat_model::profile::{LabelValue, Profile};
use homeostat_wire::pprof::{self, PprofLimits};

const STEADY: [&str; 9] = ["shop", "kv", "wiki", "mq", "ledger", "render", "search", "geo", "etcd"];
/// TLS handshakes and compression come in bursts of a second here, so that two windows may well differ from three.
const IN_BURSTS: [&str; 2] = ["prometheus", "nginx"];
/// Four of the ten ways to take two windows of five. Of all ten, in the eleven programs, 3 comparisons of 990 named
/// something; all three are among these.
const SPLITS: [[usize; 2]; 4] = [[0, 1], [0, 2], [1, 3], [2, 4]];

fn normal_runs(program: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus").join(program);
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.contains("-normal-") && name.ends_with(".cpu.pb.gz")
    };
    let mut runs: Vec<_> = all.filter(is_wanted).collect();
    runs.sort();
    runs
}

/// The windows of a run, told apart by their label.
fn windows(path: &Path) -> Vec<Profile> {
    let whole = pprof::read(&std::fs::read(path).unwrap(), &PprofLimits::default()).unwrap();
    let mut windows = BTreeMap::<i64, Profile>::new();
    for row in whole.rows() {
        let number = whole.labels(row.labels).iter().find_map(|(name, value)| match value {
            LabelValue::Number { value, .. } if whole.text(*name) == "window" => Some(*value),
            _ => None,
        });
        let empty = || whole.clone().with_types(whole.types().to_vec());
        let window = windows.entry(number.unwrap()).or_insert_with(empty);
        window.add(row.stack, row.labels, row.values);
    }
    windows.into_values().collect()
}

/// What was said to have moved between two of a run's windows and the other three, each comparison on a line of its own.
fn moved_within(run: &Path) -> Vec<String> {
    let windows = windows(run);
    assert_eq!(windows.len(), 5, "{}", run.display());
    let mut moved = Vec::new();
    for two in SPLITS {
        let side = |is_first: bool| -> Vec<(&Profile, usize)> {
            let of_side = windows.iter().enumerate().filter(|(at, _)| two.contains(at) == is_first);
            of_side.map(|(_, window)| (window, window.column("samples").unwrap())).collect()
        };
        let found = diff(&side(true), &side(false), &DiffOptions::default());
        let functions: Vec<_> =
            found.moved.iter().map(|moved| format!("{} {:+.3}", moved.function, moved.effect())).collect();
        if !functions.is_empty() {
            moved.push(format!("{} {two:?}: {}", run.display(), functions.join(", ")));
        }
    }
    moved
}

fn moved_of(programs: &[&str]) -> (Vec<String>, usize) {
    let runs: Vec<_> = programs.iter().flat_map(|program| normal_runs(program)).collect();
    assert_eq!(runs.len(), 9 * programs.len());
    (runs.iter().flat_map(|run| moved_within(run)).collect(), runs.len() * SPLITS.len())
}

#[test]
fn two_parts_of_one_run_have_not_moved() {
    let (moved, compared) = moved_of(&STEADY);
    assert!(moved.is_empty(), "{} of {compared}:\n{}", moved.len(), moved.join("\n"));
}

#[test]
fn where_work_comes_in_bursts_false_discoveries_stay_below_their_rate() {
    let (moved, compared) = moved_of(&IN_BURSTS);
    let most = (DiffOptions::default().false_discovery_rate * compared as f64) as usize;
    assert!(moved.len() <= most, "{} of {compared}:\n{}", moved.len(), moved.join("\n"));
}

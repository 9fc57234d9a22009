//! Kills a process that pushes profiles and writes shards, at random points, again and again: each profile that it had
//! acknowledged counts exactly once.
//!
//! The test binary runs itself as the victim. `--seed N` repeats a run.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on says where, and its numbers are for people"
)]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use homeostat_model::{
    Labels,
    profile::{Frame, LabelSet, Profile, Stack, Text, ValueType},
};
use homeostat_profile::weights;
use homeostat_store_objects::Place;
use homeostat_store_profiles::{Columns, ProfileStore, Query, Recovery, StoreOptions};

/// Lives of the store; each ends with a kill.
const KILLS: u64 = 25;
const T0: i64 = 1_763_712_000_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    match args.iter().position(|arg| arg == "--victim").and_then(|at| args.get(at + 1)) {
        Some(dir) => push_for_ever(Path::new(dir)),
        None if has("--list") => {
            // What a test runner asks before it runs anything.
            if !has("--ignored") {
                println!("acknowledged_profiles_survive_kill9: test");
            }
        }
        None => survive(seed(&args)),
    }
    ExitCode::SUCCESS
}

fn seed(args: &[String]) -> u64 {
    let given = args.iter().position(|arg| arg == "--seed").and_then(|at| args.get(at + 1));
    given.map_or(0x5eed, |text| text.parse().expect("a seed is a number"))
}

fn open(dir: &Path, runtime: &tokio::runtime::Runtime) -> (ProfileStore, Recovery) {
    let place = Place::directory(&dir.join("objects"), "objects").expect("the directory can be made");
    let options = StoreOptions { retention: None, ..StoreOptions::default() };
    ProfileStore::open(&dir.join("log"), place, options, runtime.handle().clone(), T0)
        .expect("the store opens after every kill")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads start")
}

/// Several threads push profiles that nobody else pushes, while another one writes shards as fast as it can.
fn push_for_ever(dir: &Path) {
    let runtime = runtime();
    let (store, _) = open(dir, &runtime);
    let life = std::process::id();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                store.flush();
            }
        });
        for thread in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("life{life}_thread{thread}_{number}");
                    let shard = i64::from(number % 3) * 2 * 3_600_000;
                    let labels = Labels::new([("service_name", "shop")]);
                    let ticket = store.push(&labels, &profile(T0 - shard, &name), T0).expect("there is room");
                    let _durable = ticket.wait(Duration::from_mins(1)).expect("the disk works");
                    // One write a line: a pipe keeps short writes whole.
                    std::io::stdout().write_all(format!("{name}\n").as_bytes()).expect("the parent reads");
                }
            });
        }
    });
}

fn profile(started_ms: i64, name: &str) -> Profile {
    let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
    profile.started_ns = started_ms * 1_000_000;
    let function = profile.intern(name);
    let file = Text::EMPTY;
    let frame = Frame { function, file, line: 0, module: file, address: 0, inlined: false };
    let stack = profile.push_frame(Stack::EMPTY, frame);
    profile.add(stack, LabelSet::NONE, &[1]);
    profile
}

fn survive(seed: u64) {
    println!("seed {seed}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = runtime();
    let mut chance = Chance(seed);
    let (mut acknowledged, mut repeated, mut torn) = (Vec::new(), 0, 0);
    for _ in 0..KILLS {
        acknowledged.extend(run_and_kill(folder.path(), 1 + chance.below(120)));
        let (store, found) = open(folder.path(), &runtime);
        (repeated, torn) = (repeated + found.rolled, torn + u64::from(found.torn_tail.is_some()));
        let all = Query { columns: Columns::All, ..Query::all(0, i64::MAX) };
        let merged = store.merge(&all).expect("it can be asked");
        assert_eq!(merged.damage, [], "a kill damages nothing");
        let counted = merged.profile.map(|profile| weights(&profile, 0).functions).unwrap_or_default();
        for name in &acknowledged {
            let own = counted.get(name).map(|weight| weight.own);
            assert_eq!(own, Some(1), "{name} was acknowledged");
        }
        let twice = counted.iter().find(|(_, weight)| weight.own != 1);
        assert!(twice.is_none(), "counted twice: {twice:?}");
    }
    println!(
        "{KILLS} kills, {} profiles acknowledged, {repeated} records found in objects already, {torn} torn tails, nothing lost, nothing twice",
        acknowledged.len()
    );
}

/// Runs a victim until it has acknowledged `lines` profiles, kills it, and gives what it had printed.
fn run_and_kill(dir: &Path, lines: u64) -> Vec<String> {
    let exe = std::env::current_exe().expect("the test's own file");
    let mut victim =
        Command::new(exe).arg("--victim").arg(dir).stdout(Stdio::piped()).spawn().expect("the victim starts");
    let printed = BufReader::new(victim.stdout.take().expect("it is piped")).split(b'\n');
    let mut names = Vec::new();
    for (index, line) in printed.enumerate() {
        let name = String::from_utf8(line.expect("the pipe works")).expect("it is text");
        if index as u64 == lines {
            victim.kill().expect("it can be killed");
        }
        names.push(name);
    }
    victim.wait().expect("it ends");
    // The last line may be cut by the kill.
    names.pop();
    assert!(!names.is_empty(), "the victim never acknowledged anything");
    names
}

/// A small generator (xorshift64), enough to choose when to kill.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

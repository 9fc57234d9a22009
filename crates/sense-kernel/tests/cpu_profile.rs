//! CPU profiles of running programs: what they are known to do is what is seen.

#![cfg(feature = "bpf")]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

mod probe;
mod prometheus;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use homeostat_model::profile::{LabelValue, Profile};
use homeostat_profile::weights;
use homeostat_sense_kernel::{CaptureStats, SampleRate, StackCapture, Targets, Unwind};
use probe::works;
use prometheus::Prometheus;

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Running {
    fn start(program: &Path) -> Self {
        Self(Command::new(program).stdout(Stdio::null()).spawn().unwrap())
    }

    fn targets(&self) -> Targets {
        Targets::processes([self.0.id()]).unwrap()
    }
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs")
}

fn build_rust(dir: &Path, options: &[&str]) -> PathBuf {
    let program = dir.join("busy");
    let source = programs().join("busy.rs");
    let built =
        Command::new("rustc").args(["--edition=2024", "-O", "-o"]).arg(&program).args(options).arg(source).status();
    assert!(built.unwrap().success());
    program
}

fn build_go(dir: &Path, options: &[&str]) -> Option<PathBuf> {
    let program = dir.join("busy");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .args(options)
        .current_dir(programs().join("busy"))
        .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"))
        .status();
    let Ok(built) = built else {
        println!("SKIPPED: profiles of Go programs: there is no `go` (package golang-go)");
        return None;
    };
    assert!(built.success());
    Some(program)
}

/// Samples until there are enough: a busy machine gives a program little time.
fn capture(targets: &Targets, unwind: Unwind) -> (Profile, CaptureStats) {
    let rate = SampleRate::new(997).unwrap();
    for seconds in [1, 2, 4, 8, 16, 32, 64] {
        let mut capture = StackCapture::of_cpus(targets, rate, unwind).unwrap();
        capture.gather(Duration::from_secs(seconds)).unwrap();
        let (profile, stats) = capture.finish().unwrap();
        if 100 <= stats.samples {
            println!("{stats:?}");
            return (profile, stats);
        }
    }
    panic!("the program hardly ran");
}

/// Share of all samples in which a function, whose name ends so, was at work: itself, and with what it called.
fn share(profile: &Profile, function: &str) -> (f64, f64) {
    let found = weights(profile, 0);
    let (own, total) = found
        .functions
        .iter()
        .filter(|(name, _)| name.ends_with(function))
        .fold((0, 0), |sum, (_, weight)| (sum.0 + weight.own, sum.1 + weight.total));
    let part = |value: i64| value as f64 / found.sum as f64;
    (part(own), part(total))
}

fn expect_busy(profile: &Profile, prefix: &str) {
    let shares = |name: &str| share(profile, &format!("{prefix}{name}"));
    let (hard, easy, work, main) = (shares("hard"), shares("easy"), shares("work"), shares("main"));
    let all: Vec<_> = weights(profile, 0).functions.into_iter().collect();
    assert!(0.6 < hard.1 && hard.1 < 0.95, "hard {hard:?} of {all:?}");
    assert!(0.05 < easy.1 && easy.1 < 0.4, "easy {easy:?} of {all:?}");
    assert!(0.9 < work.1, "work {work:?} of {all:?}");
    assert!(0.9 < main.1, "main {main:?} of {all:?}");
}

#[test]
fn a_go_program_is_seen_as_it_is() {
    if !works("cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for options in [&[][..], &["-ldflags=-s -w"]] {
        let Some(program) = build_go(dir.path(), options) else { return };
        let running = Running::start(&program);
        let (profile, stats) = capture(&running.targets(), Unwind::FramePointers);
        expect_busy(&profile, "main.");
        assert!(stats.frames * 95 <= stats.frames_named * 100, "{stats:?}");
    }
}

#[test]
fn a_rust_program_with_frame_pointers_is_seen_as_it_is() {
    if !works("cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(&build_rust(dir.path(), &["-Cforce-frame-pointers=yes", "-g"]));
    let (profile, _) = capture(&running.targets(), Unwind::FramePointers);
    expect_busy(&profile, "busy::");
}

#[test]
fn a_rust_program_without_frame_pointers_is_unwound_from_copies() {
    if !works("cpu-copies") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(&build_rust(dir.path(), &[]));
    let (profile, stats) = capture(&running.targets(), Unwind::Copies);
    expect_busy(&profile, "busy::");
    assert!(stats.samples * 9 <= stats.copies * 10, "{stats:?}");
    let (_, start) = share(&profile, "_start");
    assert!(0.9 < start, "only {start} of the stacks lead to where the program began");
}

#[test]
fn a_program_that_was_deleted_and_has_ended_keeps_its_names() {
    if !works("cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build_rust(dir.path(), &["-Cforce-frame-pointers=yes"]);
    let running = Running::start(&program);
    std::fs::remove_file(&program).unwrap();
    let mut capture =
        StackCapture::of_cpus(&running.targets(), SampleRate::new(997).unwrap(), Unwind::FramePointers).unwrap();
    capture.gather(Duration::from_secs(1)).unwrap();
    drop(running);
    let (profile, _) = capture.finish().unwrap();
    assert!(0.6 < share(&profile, "busy::hard").0);
}

/// Samples by the name of their process.
fn processes(profile: &Profile) -> BTreeMap<String, i64> {
    let mut found = BTreeMap::new();
    for row in profile.rows() {
        for (name, value) in profile.labels(row.labels) {
            if let ("process", LabelValue::Text(text)) = (profile.text(*name), value) {
                *found.entry(profile.text(*text).to_owned()).or_default() += row.values[0];
            }
        }
    }
    found
}

#[test]
fn the_whole_machine_has_other_programs_too() {
    if !works("cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(&build_rust(dir.path(), &["-Cforce-frame-pointers=yes"]));
    let other = Running(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
    let mut capture = StackCapture::of_cpus(&Targets::Machine, SampleRate::DEFAULT, Unwind::FramePointers).unwrap();
    // Long enough that a busy machine lets both programs run.
    capture.gather(Duration::from_secs(5)).unwrap();
    let (profile, stats) = capture.finish().unwrap();
    assert_eq!(stats.lost, 0, "{stats:?}");
    assert!(0.0 < share(&profile, "busy::hard").1, "{stats:?}");
    let found = processes(&profile);
    assert!(["busy", "sh"].iter().all(|name| found.get(*name).is_some_and(|samples| 0 < *samples)), "{found:?}");
    drop((running, other));
}

/// A shell that works a while under its own name and then becomes another program: number and start stay the same.
#[test]
fn a_process_that_runs_another_program_is_told_apart() {
    if !works("cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = build_rust(dir.path(), &["-Cforce-frame-pointers=yes"]);
    let script = format!("i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done; exec {}", program.display());
    let running = Running(Command::new("sh").args(["-c", &script]).spawn().unwrap());
    let targets = running.targets();
    let mut capture = StackCapture::of_cpus(&targets, SampleRate::new(997).unwrap(), Unwind::FramePointers).unwrap();
    let comm = format!("/proc/{}/comm", running.0.id());
    while std::fs::read_to_string(&comm).unwrap().trim() != "busy" {
        capture.gather(Duration::from_millis(300)).unwrap();
    }
    capture.gather(Duration::from_secs(2)).unwrap();
    let (profile, stats) = capture.finish().unwrap();
    let found = processes(&profile);
    assert_eq!((found.keys().map(String::as_str).collect::<Vec<_>>(), stats.processes), (vec!["busy", "sh"], 2));
    let of_busy = weights(&profile, 0).functions.get("busy::hard").map_or(0, |weight| weight.total);
    assert!(0 < of_busy && of_busy <= found["busy"], "{of_busy} of {found:?}");
}

/// Go's own tool reads what is written.
#[test]
fn go_tool_pprof_opens_the_profile() {
    if !works("cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = build_go(dir.path(), &[]) else { return };
    let running = Running::start(&program);
    let (profile, _) = capture(&running.targets(), Unwind::FramePointers);
    let file = dir.path().join("busy.pb.gz");
    std::fs::write(&file, homeostat_wire::pprof::write(&profile)).unwrap();
    let told = Command::new("go").args(["tool", "pprof", "-top"]).arg(&file).output().unwrap();
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let first = text.lines().skip_while(|line| !line.contains("flat%")).nth(1).unwrap_or_default();
    assert!(first.contains("main.hard"), "{text}");
}

/// The distribution's Prometheus, stripped, while it answers questions.
#[test]
fn frames_of_a_real_server_have_names() {
    if !works("cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Ok(server) = Prometheus::start(dir.path()) else {
        println!("SKIPPED: the profile of a real server: there is no `prometheus`");
        return;
    };
    let targets = Targets::processes([server.pid()]).unwrap();
    let stats = server.while_asked(|| {
        let (profile, stats) = capture(&targets, Unwind::FramePointers);
        assert!(0.5 < share(&profile, "runtime.goexit").1, "stacks lead to where goroutines begin");
        stats
    });
    assert!(stats.frames * 95 <= stats.frames_named * 100, "{stats:?}");
}

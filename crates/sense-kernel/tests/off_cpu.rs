//! Waits of running programs: where they say that they wait is what is seen, for as long as they say.

#![cfg(feature = "bpf")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

mod probe;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use homeostat_model::profile::{Profile, Row};
use homeostat_profile::weights;
use homeostat_sense_kernel::{CaptureStats, StackCapture, Targets, Unwind, WaitShare};
use probe::works;

/// Column of the profile that says how long.
const OFF_CPU: usize = 1;

/// A program that waits and measures how long.
struct Waiting {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Waiting {
    fn start(dir: &Path, options: &[&str]) -> Self {
        let program = dir.join("waits");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/waits.rs");
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2024", "-O", "-o"]).arg(&program).args(options).arg(source);
        assert!(rustc.status().unwrap().success());
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn targets(&self) -> Targets {
        Targets::processes([self.child.id()]).unwrap()
    }

    /// A capture of so many of its rounds, and how many microseconds it has measured in `slow` and in `quick`.
    fn capture(&mut self, rounds: u32, share: WaitShare, unwind: Unwind) -> (Profile, CaptureStats, [f64; 2]) {
        let mut capture = StackCapture::of_waits(&self.targets(), share, unwind).unwrap();
        self.child.stdin.as_mut().unwrap().write_all(format!("{rounds}\n").as_bytes()).unwrap();
        let said = &mut self.said;
        let line = thread::scope(|scope| {
            let answer = scope.spawn(|| {
                let mut line = String::new();
                said.read_line(&mut line).unwrap();
                line
            });
            while !answer.is_finished() {
                capture.gather(Duration::from_millis(10)).unwrap();
            }
            answer.join().unwrap()
        });
        let (profile, stats) = capture.finish().unwrap();
        println!("{stats:?}");
        let (slow, quick) = line.trim().split_once(' ').unwrap();
        (profile, stats, [slow, quick].map(|text| text.parse().unwrap()))
    }
}

/// Microseconds below functions whose name ends so.
fn waited_us(profile: &Profile, function: &str) -> f64 {
    let found = weights(profile, OFF_CPU).functions;
    let own = found.iter().filter(|(name, _)| name.ends_with(function));
    own.map(|(_, weight)| weight.total as f64 / 1000.0).sum()
}

fn expect_waits(profile: &Profile, [slow_us, quick_us]: [f64; 2]) {
    let (slow, quick) = (waited_us(profile, "waits::slow"), waited_us(profile, "waits::quick"));
    let all: Vec<_> = weights(profile, OFF_CPU).functions.into_iter().collect();
    // The first wait may be over before its process has been looked at. What is measured has the work around the wait in it.
    assert!(0.7 * slow_us < slow && slow <= slow_us, "slow {slow} of {slow_us}: {all:?}");
    assert!(0.7 * quick_us < quick && quick <= quick_us, "quick {quick} of {quick_us}: {all:?}");
    let work = waited_us(profile, "waits::work");
    assert!(0.9 * (slow + quick) <= work && work <= slow_us + quick_us, "{work}: {all:?}");
}

#[test]
fn a_program_waits_where_it_says_and_as_long() {
    if !works("off-cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = Waiting::start(dir.path(), &[]);
    let (profile, stats, measured) = program.capture(40, WaitShare::ALL, Unwind::Copies);
    expect_waits(&profile, measured);
    // 80 waits; one that is made to leave the CPU just before it does by itself does not wait.
    assert!(70 <= stats.samples && stats.lost == 0 && stats.go_processes == 0, "{stats:?}");
    assert!(stats.samples * 9 <= stats.copies * 10, "{stats:?}");
    // The way from leaving the CPU to who samples it is cut: what waits is innermost. Elsewhere the program may wait for the disk,
    // which has names like these.
    let stacks = profile.stacks();
    let names = |row: Row<'_>| stacks.walk(row.stack).map(|frame| profile.frame_name(frame)).collect::<Vec<_>>();
    let of_sleeps = profile.rows().map(names).filter(|names| names.iter().any(|name| name.ends_with("waits::slow")));
    for names in of_sleeps {
        let is_cut = |name: &String| name.trim_start_matches('_').starts_with("schedule") || name.starts_with("bpf_");
        assert!(!names.iter().any(is_cut), "{names:?}");
    }
}

#[test]
fn frame_pointers_lead_to_where_a_program_waits() {
    if !works("off-cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = Waiting::start(dir.path(), &["-Cforce-frame-pointers=yes"]);
    let (profile, stats, [slow_us, quick_us]) = program.capture(40, WaitShare::ALL, Unwind::FramePointers);
    assert_eq!(stats.copies, 0);
    // The C library keeps none: who called it is left out, its caller is there.
    let work = waited_us(&profile, "waits::work");
    let both = slow_us + quick_us;
    assert!(0.7 * both < work && work <= both, "{work} of {both}");
}

#[test]
fn a_part_of_all_waits_stands_for_all() {
    if !works("off-cpu") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = Waiting::start(dir.path(), &[]);
    let share = WaitShare::percent(50.0).unwrap();
    let (profile, stats, [slow_us, quick_us]) = program.capture(100, share, Unwind::Copies);
    // 200 waits, each with an even chance: fewer than 40 once in 10^17 times.
    let rows: i64 = profile.rows().map(|row| row.values[0]).sum();
    assert!(40 <= stats.samples && rows == 2 * i64::try_from(stats.samples).unwrap(), "{stats:?}");
    let (waited, both) = (waited_us(&profile, "waits::work"), slow_us + quick_us);
    assert!(0.3 * both < waited && waited < 1.8 * both, "{waited} of {both}");
}

#[test]
fn threads_that_end_do_not_wait() {
    if !works("off-cpu") {
        return;
    }
    let own = Targets::processes([std::process::id()]).unwrap();
    let mut capture = StackCapture::of_waits(&own, WaitShare::ALL, Unwind::Copies).unwrap();
    for _ in 0..200 {
        thread::spawn(|| {}).join().unwrap();
    }
    capture.gather(Duration::from_millis(10)).unwrap();
    let (_, stats) = capture.finish().unwrap();
    // Who ends has no memory any more that could be copied.
    assert!(0 < stats.samples && stats.copies_missed == 0, "{stats:?}");
}

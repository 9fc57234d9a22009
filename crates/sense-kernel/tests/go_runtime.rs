//! Collections and stops of running Go programs, as the programs count them themselves.

#![cfg(all(feature = "bpf", target_arch = "x86_64"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

mod probe;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use homeostat_sense_kernel::{GoActivity, GoWatch, PAUSED_THE_WORLD};
use probe::works;

/// A program that does as it is told, and says what it has counted.
struct Collecting {
    child: Child,
    said: BufReader<ChildStdout>,
    /// Collections, and nanoseconds in which they had stopped the world.
    counted: (u64, u64),
}

impl Drop for Collecting {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Collecting {
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            // Whoever works without a break cannot be stopped: the others wait for it.
            .env("GODEBUG", "asyncpreemptoff=1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut started = Self { child, said, counted: (0, 0) };
        started.listen();
        started
    }

    fn listen(&mut self) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        let (collections, stopped_ns) = line.trim().split_once(' ').unwrap();
        self.counted = (collections.parse().unwrap(), stopped_ns.parse().unwrap());
    }

    /// What it has counted more when that is done.
    fn tell(&mut self, what: &str) -> (u64, u64) {
        let before = self.counted;
        self.child.stdin.as_mut().unwrap().write_all(format!("{what}\n").as_bytes()).unwrap();
        self.listen();
        (self.counted.0 - before.0, self.counted.1 - before.1)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// `None`, said aloud, without Go.
fn build(dir: &Path, options: &[&str]) -> Option<PathBuf> {
    let program = dir.join("collecting");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/collecting");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .args(options)
        .current_dir(source)
        .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"))
        .status();
    let Ok(built) = built else {
        println!("SKIPPED: collections of Go programs: there is no `go` (package golang-go)");
        return None;
    };
    assert!(built.success());
    Some(program)
}

fn watch(pids: impl IntoIterator<Item = u32>) -> GoWatch {
    let watch = GoWatch::start(&pids.into_iter().collect()).unwrap();
    assert_eq!(watch.refused().count(), 0, "{watch:?}");
    watch
}

fn look(watch: &mut GoWatch, pid: u32) -> GoActivity {
    watch.look().unwrap().remove(&pid).unwrap_or_default()
}

#[test]
fn collections_and_stops_are_counted_as_the_program_counts_them() {
    if !works("go-runtime") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for options in [&[][..], &["-ldflags=-s -w"], &["-buildmode=pie"]] {
        let Some(program) = build(dir.path(), options) else { return };
        let (mut program, mut other) = (Collecting::start(&program), Collecting::start(&program));
        let pid = program.pid();
        let mut watch = watch([pid]);
        assert_eq!(watch.watched(), BTreeSet::from([pid]));

        let (collections, stopped_ns) = program.tell("collect 20");
        other.tell("collect 5");
        let seen = look(&mut watch, pid);
        assert!(20 <= collections && seen.collections == collections, "{options:?}: {collections} and {seen:?}");
        assert!(collections <= seen.collections_begun, "{seen:?}");
        // One when it begins and one when it ends; some have to go on marking and end once more.
        assert!((2 * collections..=3 * collections).contains(&seen.pauses.count()), "{collections} and {seen:?}");
        // It looks at its clock before it begins to stop the world, and after it has begun to start it.
        assert!(0 < seen.stopped_ns && seen.stopped_ns <= stopped_ns, "{stopped_ns} and {seen:?}");

        program.tell("stop 30");
        let more = look(&mut watch, pid).since(&seen);
        assert_eq!((more.collections, more.pauses.count()), (0, 30), "{options:?}: stops that are no collections");

        assert_eq!(watch.look().unwrap().into_keys().collect::<Vec<_>>(), [pid], "nobody else is watched");
    }
}

#[test]
fn a_goroutine_that_cannot_be_stopped_pauses_the_world() {
    if !works("go-runtime") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = build(dir.path(), &[]) else { return };
    let mut program = Collecting::start(&program);
    let mut watch = watch([program.pid()]);
    let (collections, stopped_ns) = program.tell("slow 8");
    let seen = look(&mut watch, program.pid());
    assert_eq!(seen.collections, collections);
    // The goroutine works for much longer than a pause that is long.
    assert!(PAUSED_THE_WORLD.is_met(&seen.long_at_ns), "{seen:?}");
    assert!(5_000_000 <= seen.longest_ns && seen.longest_ns <= seen.stopped_ns, "{seen:?}");
    assert!(stopped_ns / 2 <= seen.stopped_ns && seen.stopped_ns <= stopped_ns, "{stopped_ns} and {seen:?}");
    let (median, high) = (seen.pause_quantile_ms(0.5).unwrap(), seen.pause_quantile_ms(1.0).unwrap());
    assert!(median <= high && high <= seen.longest_ns as f64 / 1e6, "{seen:?}");
}

#[test]
fn what_is_no_go_program_is_refused_alone() {
    if !works("go-runtime") {
        return;
    }
    let own = std::process::id();
    let refused = GoWatch::start(&BTreeSet::from([own])).unwrap_err();
    assert!(refused.reason.contains("no Go program"), "{refused}");
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = build(dir.path(), &[]) else { return };
    let mut program = Collecting::start(&program);
    let pid = program.pid();
    let mut watch = GoWatch::start(&BTreeSet::from([own, pid])).unwrap();
    assert_eq!(watch.refused().map(|(pid, _)| pid).collect::<Vec<_>>(), [own]);
    let (collections, _) = program.tell("collect 3");
    assert_eq!(look(&mut watch, pid).collections, collections);
    watch.watch(&BTreeSet::from([own])).unwrap();
    assert!(watch.watched().is_empty());
    program.tell("collect 3");
    assert_eq!(look(&mut watch, pid).collections, collections, "it is not watched any more");
    watch.watch(&BTreeSet::from([pid])).unwrap();
    let (more, _) = program.tell("collect 3");
    assert_eq!(look(&mut watch, pid).collections, collections + more, "it is watched again");
}

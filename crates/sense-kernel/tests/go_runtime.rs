//! Collections and stops of running Go programs, as the programs count them themselves.

#![cfg(all(feature = "bpf", target_arch = "x86_64"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

#[path = "../../gosym/tests/go_tools/mod.rs"]
mod go_tools;
mod probe;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
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
    for tools in go_tools::all() {
        for options in [&[][..], &["-ldflags=-s -w"], &["-ldflags=-s -w", "-buildmode=pie"]] {
            let program = tools.build("collecting", dir.path(), options);
            let (mut program, mut other) = (Collecting::start(&program), Collecting::start(&program));
            let (pid, version) = (program.pid(), &tools.version);
            let mut watch = watch([pid]);
            assert_eq!(watch.watched(), BTreeSet::from([pid]));

            let (collections, stopped_ns) = program.tell("collect 20");
            other.tell("collect 5");
            let seen = look(&mut watch, pid);
            assert!(20 <= collections && seen.collections == collections, "{version}: {collections} and {seen:?}");
            assert!(collections <= seen.collections_begun, "{version}: {seen:?}");
            // One when it begins and one when it ends; some have to go on marking and end once more.
            let pauses = 2 * collections..=3 * collections;
            assert!(pauses.contains(&seen.pauses.count()), "{version}: {collections} and {seen:?}");
            assert!(0 < seen.stopped_ns, "{version}: {seen:?}");
            // It looks at its clock before it begins to stop the world, and after it has begun to start it. On a busy machine it
            // may have to leave its CPU between that and our probe, but hardly each time.
            let mut fits = || {
                let before = look(&mut watch, pid);
                let (_, stopped_ns) = program.tell("collect 20");
                look(&mut watch, pid).since(&before).stopped_ns <= stopped_ns
            };
            assert!(22 < tools.minor() || (0..20).any(|_| fits()), "{version}: {stopped_ns} and {seen:?}");

            let seen = look(&mut watch, pid);
            program.tell("stop 30");
            let more = look(&mut watch, pid).since(&seen);
            let told = (more.collections, more.pauses.count());
            assert_eq!(told, (0, 30), "{version}: stops that are no collections");

            assert_eq!(watch.look().unwrap().into_keys().collect::<Vec<_>>(), [pid], "nobody else is watched");
        }
    }
}

#[test]
fn a_goroutine_that_cannot_be_stopped_pauses_the_world() {
    if !works("go-runtime") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let all = go_tools::all();
    // The oldest and the newest: it takes long.
    let newest = all.last().filter(|_| 1 < all.len());
    for tools in all.first().into_iter().chain(newest) {
        let mut program = Collecting::start(&tools.build("collecting", dir.path(), &[]));
        let mut watch = watch([program.pid()]);
        let (collections, stopped_ns) = program.tell("slow 8");
        let seen = look(&mut watch, program.pid());
        let version = &tools.version;
        assert_eq!(seen.collections, collections, "{version}");
        // The goroutine works for much longer than a pause that is long.
        assert!(PAUSED_THE_WORLD.is_met(&seen.long_at_ns), "{version}: {seen:?}");
        assert!(5_000_000 <= seen.longest_ns && seen.longest_ns <= seen.stopped_ns, "{version}: {seen:?}");
        // Since Go 1.23 it looks at its clock a little later than we do. On a busy machine it may have to leave its CPU in between,
        // but hardly each time.
        let fits = |seen: &GoActivity, stopped_ns: u64| (stopped_ns / 2..=2 * stopped_ns).contains(&seen.stopped_ns);
        let mut fits_later = || {
            let before = look(&mut watch, program.pid());
            let (_, stopped_ns) = program.tell("slow 8");
            fits(&look(&mut watch, program.pid()).since(&before), stopped_ns)
        };
        assert!(fits(&seen, stopped_ns) || (0..5).any(|_| fits_later()), "{version}: {stopped_ns} and {seen:?}");
        let (median, high) = (seen.pause_quantile_ms(0.5).unwrap(), seen.pause_quantile_ms(1.0).unwrap());
        assert!(median <= high && high <= seen.longest_ns as f64 / 1e6, "{version}: {seen:?}");
    }
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
    let Some(tools) = go_tools::distributions() else { return };
    let mut program = Collecting::start(&tools.build("collecting", dir.path(), &[]));
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

/// A service that is deployed again and again has another file each time.
#[test]
fn programs_that_are_gone_leave_room_for_others() {
    /// As many as can be watched at a time.
    const FILES_MAX: usize = 64;
    if !works("go-runtime") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(tools) = go_tools::distributions() else { return };
    let program = tools.build("collecting", dir.path(), &[]);
    let copy = dir.path().join("copy");
    let first = Collecting::start(&program);
    let mut watch = watch([first.pid()]);
    for _ in 0..=FILES_MAX {
        // Another file of the same name.
        std::fs::copy(&program, dir.path().join("next")).unwrap();
        std::fs::rename(dir.path().join("next"), &copy).unwrap();
        let deployed = Collecting::start(&copy);
        watch.watch(&[first.pid(), deployed.pid()].into()).unwrap();
        assert_eq!(watch.refused().count(), 0, "{watch:?}");
    }
}

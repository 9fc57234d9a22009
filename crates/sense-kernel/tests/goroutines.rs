//! Goroutines of running programs, read from their memory.

#![cfg(target_arch = "x86_64")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use homeostat_sense_kernel::{Census, GoProcess, NoCensus};

struct Waiting {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Waiting {
    /// `None`, said aloud, without the Go that is known.
    fn start(dir: &Path, options: &[&str]) -> Option<Self> {
        let program = dir.join("waiting");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/waiting");
        let version = Command::new("go").arg("version").output();
        let version = version.map(|said| String::from_utf8_lossy(&said.stdout).into_owned()).unwrap_or_default();
        if !version.contains("go1.19") {
            println!("SKIPPED: goroutines of a process: they are known for Go 1.19, there is `{}`", version.trim());
            return None;
        }
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .args(options)
            .current_dir(source)
            .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"))
            .status();
        assert!(built.unwrap().success());
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, said })
    }

    /// What the program says that it has.
    fn goroutines(&mut self) -> u64 {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    fn leak_more(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"more\n").unwrap();
    }
}

fn of(census: &Census, creator: &str) -> Vec<(String, u64)> {
    let by = census.groups.iter().filter(|(group, _)| group.creator == creator);
    by.map(|(group, count)| (group.state.clone(), *count)).collect()
}

#[test]
fn goroutines_are_counted_as_the_program_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    for options in [&[][..], &["-ldflags=-s -w"]] {
        let Some(mut program) = Waiting::start(dir.path(), options) else { return };
        let own_count = program.goroutines();
        let process = GoProcess::open(program.child.id()).unwrap();
        let before = process.census().unwrap();
        assert_eq!(of(&before, "main.leak"), [("chan receive".to_owned(), 45)]);
        assert_eq!(of(&before, "main.main"), [("semacquire".to_owned(), 7)]);
        assert_eq!(before.lock_waiters(), 7);
        // The runtime's own goroutines are not in its count.
        assert!((own_count..own_count + 8).contains(&before.goroutines()), "{own_count}: {before:?}");
        let (leaking, _) = before.groups.iter().find(|(group, _)| group.creator == "main.leak").unwrap();
        assert_eq!(
            leaking.stack,
            ["runtime.gopark", "runtime.chanrecv", "runtime.chanrecv1", "main.leak.func1", "runtime.goexit"]
        );

        assert_eq!(before.growth(&before, 1), []);
        program.leak_more();
        program.goroutines();
        let grown = process.census().unwrap().growth(&before, 5000);
        assert_eq!(grown.len(), 1, "{grown:?}");
        assert_eq!(
            (grown[0].creator.as_str(), grown[0].state.as_str(), grown[0].more),
            ("main.leak", "chan receive", 6000)
        );
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let refused = GoProcess::open(std::process::id()).unwrap_err();
    assert!(matches!(refused, NoCensus::NotUnderstood { .. }), "{refused}");
    assert!(matches!(GoProcess::open(u32::MAX).unwrap_err(), NoCensus::Unreadable { .. }));
}

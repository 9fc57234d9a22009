//! Goroutines of running programs, read from their memory.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "../../gosym/tests/go_tools/mod.rs"]
mod go_tools;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use go_tools::GoTools;
use homeostat_sense_kernel::{Census, GoProcess, Group, NoCensus};

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
    fn start(tools: &GoTools, dir: &Path, options: &[&str]) -> Self {
        let program = tools.build("waiting", dir, options);
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    fn tell(&mut self, what: &str) {
        self.child.stdin.as_mut().unwrap().write_all(format!("{what}\n").as_bytes()).unwrap();
    }

    /// What the program says that it has.
    fn goroutines(&mut self) -> u64 {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    /// All stacks but its first goroutine's: what it waits for, who started it, functions but the runtime's, innermost
    /// first; and how often.
    fn stacks(&mut self) -> BTreeMap<Group, u64> {
        self.tell("tell");
        let mut stacks = BTreeMap::new();
        let mut group = Group { state: String::new(), creator: String::new(), stack: Vec::new() };
        loop {
            let mut line = String::new();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0);
            let line = line.trim_end();
            if let Some((_, state)) = line.split_once(" [") {
                // How long it waits may stand behind it.
                state.trim_end_matches("]:").split(',').next().unwrap().clone_into(&mut group.state);
                group.stack.clear();
            } else if let Some(creator) = line.strip_prefix("created by ") {
                creator.split(" in goroutine").next().unwrap().clone_into(&mut group.creator);
                *stacks.entry(group.clone()).or_default() += 1;
            } else if line == "end" {
                return stacks;
            } else if let Some((function, _)) = line.rsplit_once('(').filter(|_| !line.starts_with('\t')) {
                group.stack.push(function.to_owned());
            }
        }
    }
}

/// As the program tells them.
fn as_told(census: &Census) -> BTreeMap<Group, u64> {
    let by_us = census.groups.iter().filter(|(group, _)| group.creator.starts_with("main."));
    let shown = by_us.map(|(group, count)| {
        let state = if group.state == "in a system call" { "syscall" } else { &group.state };
        let stack = group.stack.iter().filter(|name| !name.starts_with("runtime.")).cloned().collect();
        (Group { state: state.to_owned(), creator: group.creator.clone(), stack }, *count)
    });
    shown.collect()
}

fn of(census: &Census, creator: &str) -> Vec<(String, u64)> {
    let by = census.groups.iter().filter(|(group, _)| group.creator == creator);
    by.map(|(group, count)| (group.state.clone(), *count)).collect()
}

#[test]
fn goroutines_are_counted_as_the_program_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    for tools in go_tools::all() {
        for options in [&[][..], &["-ldflags=-s -w", "-buildmode=pie"]] {
            let mut program = Waiting::start(&tools, dir.path(), options);
            let own_count = program.goroutines();
            let process = GoProcess::open(program.child.id()).unwrap();
            let before = process.census().unwrap();
            let lock = if tools.minor() < 20 { "semacquire" } else { "sync.Mutex.Lock" };
            assert_eq!(of(&before, "main.leak"), [("chan receive".to_owned(), 45)], "{tools:?}");
            assert_eq!(of(&before, "main.main"), [(lock.to_owned(), 7)], "{tools:?}");
            assert_eq!(before.lock_waiters(), 7);
            // The runtime's own goroutines are not in its count.
            assert!((own_count..own_count + 12).contains(&before.goroutines()), "{own_count}: {before:?}");
            let (leaking, _) = before.groups.iter().find(|(group, _)| group.creator == "main.leak").unwrap();
            assert_eq!(
                leaking.stack,
                ["runtime.gopark", "runtime.chanrecv", "runtime.chanrecv1", "main.leak.func1", "runtime.goexit"]
            );

            assert_eq!(before.growth(&before, 1), []);
            program.tell("more");
            program.goroutines();
            let grown = process.census().unwrap().growth(&before, 5000);
            assert_eq!(grown.len(), 1, "{grown:?}");
            assert_eq!(
                (grown[0].creator.as_str(), grown[0].state.as_str(), grown[0].more),
                ("main.leak", "chan receive", 6000)
            );
        }
    }
}

#[test]
fn waits_of_all_kinds_are_told_as_the_runtime_tells_them() {
    let dir = tempfile::tempdir().unwrap();
    for tools in go_tools::all() {
        let mut program = Waiting::start(&tools, dir.path(), &[]);
        program.goroutines();
        program.tell("various");
        program.goroutines();
        let told = program.stacks();
        let census = GoProcess::open(program.child.id()).unwrap().census().unwrap();
        assert_eq!((told.len(), told.values().sum::<u64>()), (12, 62), "{told:?}");
        assert_eq!(as_told(&census), told, "{tools:?}");
        // Nobody who waits for a group, a condition or a message waits for a lock.
        assert_eq!(census.lock_waiters(), 7 + 2, "{tools:?}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    let refused = GoProcess::open(std::process::id()).unwrap_err();
    assert!(matches!(refused, NoCensus::NotUnderstood { .. }), "{refused}");
    assert!(matches!(GoProcess::open(u32::MAX).unwrap_err(), NoCensus::Unreadable { .. }));
}

//! Real Go programs: small ones that tell their own stacks, and the distribution's servers.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking and say what they skip")]

mod go_tools;

use std::{fs, path::Path, process::Command};

use homeostat_gosym::{Layout, NotGo, SiteInstruction, Symbols};

/// Functions of the runtime that are probed in running programs.
const PROBED: [&str; 4] = ["stopTheWorldWithSema", "startTheWorldWithSema", "gcStart", "gcMarkTermination"];

#[derive(Debug, PartialEq, Eq)]
struct Told {
    function: String,
    file: String,
    line: u32,
}

/// Runs the program: address of `main.main`, and the stacks with the address of each function.
fn run(program: &Path) -> (u64, Vec<Vec<(u64, Told)>>) {
    let output = Command::new(program).output().expect("the program runs");
    let text = String::from_utf8(output.stdout).expect("it writes text");
    let (mut main, mut stacks, mut stack) = (0, Vec::new(), Vec::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let address = |word: &str| u64::from_str_radix(word, 16).expect("an address");
        match words.as_slice() {
            ["main", at] => main = address(at),
            ["frame", at, function, file, line] => {
                let line = line.parse().expect("a line");
                stack.push((address(at), Told { function: (*function).to_owned(), file: (*file).to_owned(), line }));
            }
            ["end"] => stacks.push(std::mem::take(&mut stack)),
            _ => panic!("unexpected: {line}"),
        }
    }
    assert!(7 <= stacks.len(), "{text}");
    (main, stacks)
}

/// Compares what the reader says with what the program said.
fn compare(file: &Path, program: &Path) {
    let symbols = Symbols::open(fs::read(file).expect("the file is there")).expect("a Go program");
    let (main, stacks) = run(program);
    let moved_by = main.wrapping_sub(symbols.function("main.main").expect("every program has it").start);
    let mut inlined = 0;
    for stack in &stacks {
        let mut rest = stack.as_slice();
        while let Some((address, _)) = rest.first() {
            let said: Vec<Told> = symbols
                .frames(address.wrapping_sub(moved_by) - 1)
                .iter()
                .map(|frame| {
                    inlined += usize::from(frame.inlined);
                    Told { function: frame.function.to_string(), file: frame.file.to_string(), line: frame.line }
                })
                .collect();
            let (here, after) = rest.split_at(said.len().min(rest.len()));
            assert_eq!(said.iter().collect::<Vec<_>>(), here.iter().map(|(_, told)| told).collect::<Vec<_>>());
            assert!(!said.is_empty(), "{address:x} is in no function");
            rest = after;
        }
    }
    if Layout::Go1_18 <= symbols.layout() {
        assert!(7 <= inlined, "{inlined} inlined functions were seen");
    }
}

#[test]
fn stacks_are_told_as_the_program_tells_them() {
    let dir = tempfile::tempdir().expect("a directory");
    for tools in go_tools::all() {
        for options in [&[][..], &["-ldflags=-s -w"], &["-buildmode=pie"], &["-buildmode=pie", "-ldflags=-s -w"]] {
            let program = tools.build("stacks", dir.path(), options);
            compare(&program, &program);
            let symbols = Symbols::open(fs::read(&program).expect("it was built")).expect("a Go program");
            assert_eq!(symbols.go_version().as_ref(), Some(&tools.version));
            if cfg!(target_arch = "x86_64") {
                let (lists, version) = (symbols.goroutine_lists(), &tools.version);
                assert!((1..4).contains(&lists.len()), "{version} {options:?}: {lists:x?}");
                for probed in PROBED {
                    let function = symbols.function(&format!("runtime.{probed}")).expect("every program has it");
                    let site = symbols.probe_site(&function).expect("its beginning is understood");
                    assert_eq!(site.instruction, SiteInstruction::StackCheck, "{version} {options:?}: {probed}");
                }
            }
        }
    }
}

#[test]
fn calls_that_are_not_inlined_are_not_told_as_inlined() {
    let dir = tempfile::tempdir().expect("a directory");
    if let Some(tools) = go_tools::distributions() {
        let program = tools.build("stacks", dir.path(), &["-gcflags=-l"]);
        // Nothing of the program is inlined, but the library still is: only that stacks are right counts.
        let symbols = Symbols::open(fs::read(&program).expect("it was built")).expect("a Go program");
        let (main, stacks) = run(&program);
        let moved_by = main.wrapping_sub(symbols.function("main.main").expect("it is there").start);
        let frames = symbols.frames(stacks[0][1].0 - moved_by - 1);
        assert_eq!((frames.len(), frames[0].function.as_ref()), (1, "main.innermost"));
    }
}

#[test]
fn a_file_without_sections_is_searched() {
    let dir = tempfile::tempdir().expect("a directory");
    for tools in go_tools::all() {
        for options in [&[][..], &["-buildmode=pie"]] {
            let program = tools.build("stacks", dir.path(), options);
            let mut bytes = fs::read(&program).expect("it was built");
            // Place, size and number of sections.
            bytes[40..48].fill(0);
            bytes[58..64].fill(0);
            let cut = dir.path().join("cut");
            fs::write(&cut, bytes).expect("a file can be written");
            compare(&cut, &program);
        }
    }
}

#[test]
fn the_servers_of_the_distribution_have_all_their_names() {
    for name in ["etcd", "prometheus", "victoria-metrics"] {
        let Ok(bytes) = fs::read(Path::new("/usr/bin").join(name)) else {
            println!("SKIPPED: symbols of {name}: it is not installed");
            continue;
        };
        let symbols = Symbols::open(bytes).expect("a Go program");
        assert!(symbols.knows_inlined_calls(), "{name}");
        let (mut functions, mut nowhere, mut deepest) = (0, 0, 0);
        // Every eighth is looked at closely: unoptimised, all of them would take half a minute.
        for (number, function) in symbols.functions().enumerate() {
            functions += 1;
            if number % 8 != 0 {
                continue;
            }
            let middle = function.start.midpoint(function.end);
            for at in [function.start, middle] {
                let frames = symbols.frames(at);
                let last = frames.last().expect("its own function");
                assert_eq!(last.function, function.name);
                assert!(frames.iter().all(|frame| !frame.function.is_empty()));
                // The middle may be padding, which no line made.
                nowhere += usize::from(at == function.start && frames.iter().any(|frame| frame.file.is_empty()));
                deepest = deepest.max(frames.len());
            }
        }
        assert!(10_000 < functions, "{name} has {functions} functions");
        // A few functions of assembly and of the linker have no file.
        assert!(nowhere * 100 < functions, "{nowhere} functions of {name} without a file");
        assert!(4 <= deepest, "{name}: calls inlined {deepest} deep");
        assert!(symbols.go_version().is_some_and(|version| version.starts_with("go1.")), "{name}");
        if cfg!(target_arch = "x86_64") {
            assert!((1..4).contains(&symbols.goroutine_lists().len()), "{name}: {:x?}", symbols.goroutine_lists());
        }
        for known in ["runtime.main", "main.main", "runtime.mallocgc", "net/http.(*conn).serve"] {
            assert!(symbols.function(known).is_some(), "{name} has {known}");
        }
        if cfg!(target_arch = "x86_64") {
            for probed in PROBED {
                let function = symbols.function(&format!("runtime.{probed}")).expect("every program has it");
                let site = symbols.probe_site(&function).expect("its beginning is understood");
                assert_eq!(site.instruction, SiteInstruction::StackCheck, "{name}: {probed}");
            }
        }
        println!("{name}: {functions} functions, {nowhere} without a file, {deepest} deep");
    }
}

#[test]
fn what_is_no_go_program_is_refused() {
    let own = fs::read(std::env::current_exe().expect("this test is a file")).expect("it can be read");
    assert_eq!(Symbols::open(own).expect_err("a Rust program"), NotGo::NoTable);
    assert!(matches!(Symbols::open(b"#!/bin/sh\n".to_vec()).expect_err("a script"), NotGo::Elf(_)));
}

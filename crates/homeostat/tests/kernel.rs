//! `homeostat doctor` and `homeostat profile cpu` from outside, built with programs for the kernel or without.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

const HAS_PROGRAMS: bool = cfg!(feature = "bpf");

/// Exit code, output and errors.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_homeostat")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What the doctor says about a probe.
fn state(name: &str) -> String {
    let (code, text, errors) = run(&["doctor", "--json"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["built"], cfg!(feature = "bpf"));
    let probes = said["probes"].as_array().unwrap();
    let probe = probes.iter().find(|probe| probe["name"] == name).unwrap();
    if probe["state"] == "refused" {
        println!("SKIPPED: {name}: {}", probe["reason"]);
    }
    probe["state"].as_str().unwrap().to_owned()
}

struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_doctor_says_what_works() {
    let (_, text, _) = run(&["doctor"]);
    assert!(text.contains("PROBE") && text.contains("goroutines"), "{text}");
    assert_eq!(state("cpu") == "not built", !cfg!(feature = "bpf"));
}

#[test]
fn questions_without_an_answer_are_refused_before_anything_is_sampled() {
    for (args, said) in [
        (&["--hz", "5", "--pid", "1"][..], "19 to 2000"),
        (&[], "`--pid`, `--service` or `--machine`"),
        (&["--pid", "4294967295"], "there is no process 4294967295"),
        (&["--service", "nobody runs this"], "no process belongs to a service `nobody runs this`"),
        (&["--machine", "-o", "cpu.png"], "`.svg`, `.pb.gz`"),
    ] {
        let (code, _, errors) = run(&[&["profile", "cpu"], args].concat());
        assert!(code != 0 && errors.contains(said), "{args:?}: {errors}");
    }
    let (code, _, errors) = run(&["profile", "goroutines", "--pid", &std::process::id().to_string()]);
    assert!(code == 1 && errors.contains("no Go program"), "{errors}");
}

#[test]
fn a_busy_process_has_a_profile() {
    let dir = tempfile::tempdir().unwrap();
    let busy = Busy(Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap());
    let file = dir.path().join("cpu.pb.gz");
    let (pid, file) = (busy.0.id().to_string(), file.to_str().unwrap().to_owned());
    let (code, _, errors) = run(&["profile", "cpu", "--pid", &pid, "--seconds", "5", "-o", &file]);
    match state("cpu-copies").as_str() {
        "not built" => return assert!(code == 1 && errors.contains("--features bpf"), "{errors}"),
        "ok" => assert_eq!(code, 0, "{errors}"),
        _ => return assert_eq!(code, 1, "{errors}"),
    }
    assert!(errors.contains("samples of 1 process"), "{errors}");
    let (code, text, errors) = run(&["profile", "show", "--json", &file]);
    assert_eq!(code, 0, "{errors}");
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["type"], "cpu");
    assert!(0 < shown["sum"].as_i64().unwrap(), "{text}");
}

#[test]
fn a_process_that_waits_for_a_cpu_is_listed() {
    // More than there are CPUs, so that some of them always wait.
    let cpus = std::thread::available_parallelism().unwrap().get();
    let shells: Vec<Busy> = (0..3 * cpus)
        .map(|_| Busy(Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap()))
        .collect();
    let pids: Vec<String> = shells.iter().map(|shell| shell.0.id().to_string()).collect();
    let mut args = vec!["kernel", "--seconds", "3", "--json", "--top", "1000", "--pid"];
    args.extend(pids.iter().map(String::as_str));
    let (code, text, errors) = run(&args);
    match state("run-queue").as_str() {
        "not built" => return assert!(code == 1 && errors.contains("--features bpf"), "{errors}"),
        "ok" => assert_eq!(code, 0, "{errors}"),
        _ => return assert_eq!(code, 1, "{errors}"),
    }
    let said: Value = serde_json::from_str(&text).unwrap();
    let lines = said["lines"].as_array().unwrap();
    let mut listed: Vec<String> = lines.iter().map(|line| line["pid"].to_string()).collect();
    listed.sort();
    let mut wanted = pids.clone();
    wanted.sort();
    assert_eq!(listed, wanted, "all of them and nobody else");
    for line in lines {
        assert_eq!(line["process"], "sh");
        // Each of them gets a third of a CPU, so it waits for two seconds of three.
        assert!(200.0 < line["waits"]["sumMs"].as_f64().unwrap(), "{line}");
        assert!(line["waits"]["p50Ms"].as_f64().unwrap() <= line["waits"]["p99Ms"].as_f64().unwrap(), "{line}");
    }
    assert!(0.0 < said["cost"]["kernelMs"].as_f64().unwrap(), "{text}");
}

#[test]
fn a_watch_without_processes_is_refused() {
    for (args, said) in [
        (&["--pid", "4294967295"][..], "there is no process 4294967295"),
        (&["--service", "nobody runs this"], "no process belongs to a service `nobody runs this`"),
        (&["--seconds", "0"], "1..=3600"),
        (&["go"], "--pid <PID>..."),
        (&["go", "--pid", "4294967295"], "there is no process 4294967295"),
        (&["go", "--pid", &std::process::id().to_string()], if HAS_PROGRAMS { "Go" } else { "--features bpf" }),
    ] {
        let (code, _, errors) = run(&[&["kernel"], args].concat());
        assert!(code != 0 && errors.contains(said), "{args:?}: {errors}");
    }
}

/// Builds a Go program of `sense-kernel`'s tests; `None`, said aloud, without Go.
fn go_program(name: &str, dir: &Path) -> Option<PathBuf> {
    let program = dir.join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sense-kernel/tests/programs").join(name);
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).current_dir(source);
    go.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"));
    let Ok(built) = go.status() else {
        println!("SKIPPED: the Go program `{name}`: there is no `go` (package golang-go)");
        return None;
    };
    assert!(built.success());
    Some(program)
}

#[test]
fn a_go_program_that_leaks_goroutines_is_told() {
    if !cfg!(target_arch = "x86_64") || state("goroutines") != "ok" {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = go_program("waiting", dir.path()) else { return };
    let mut leaking = Busy(Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut says = BufReader::new(leaking.0.stdout.take().unwrap()).lines();
    assert_eq!(says.next().unwrap().unwrap(), "53", "itself, 7 and 45");
    let pid = leaking.0.id().to_string();
    // On a machine that is too busy for it to leak between the two looks, once more.
    for _ in 0..20 {
        let mut looking = Command::new(env!("CARGO_BIN_EXE_homeostat"))
            .args(["profile", "goroutines", "--growth", "2", "--pid", &pid])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut said, mut line) = (BufReader::new(looking.stderr.take().unwrap()), String::new());
        said.read_line(&mut line).unwrap();
        assert!(line.ends_with("goroutines; once more in 2 s\n"), "{line}");
        leaking.0.stdin.as_mut().unwrap().write_all(b"more\n").unwrap();
        says.next().unwrap().unwrap();
        let output = looking.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let told =
            "\nleaks goroutines: main.leak started 6000 that did not end, state `chan receive`; more than 5000 (";
        if text.contains(told) {
            assert!(text.contains("+6000"), "{text}");
            return;
        }
        assert!(!text.contains("leaks"), "{text}");
    }
    panic!("it was never seen to leak");
}

#[test]
fn a_go_program_that_collects_is_told() {
    if !cfg!(target_arch = "x86_64") || state("go-runtime") != "ok" {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = go_program("collecting", dir.path()) else { return };
    let mut collecting = Busy(Command::new(program).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    let pid = collecting.0.id().to_string();
    let mut watching = Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .args(["kernel", "go", "--json", "--seconds", "5", "--pid", &pid])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(watching.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "watching for 5 s\n");
    collecting.0.stdin.as_mut().unwrap().write_all(b"collect 100000\n").unwrap();
    let output = watching.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = &told["lines"][0];
    let (collections, pauses) = (line["collections"].as_u64().unwrap(), line["pauses"]["count"].as_u64().unwrap());
    assert_eq!(line["pid"].to_string(), pid);
    // The one that is on its way at the end has stopped the world once, perhaps.
    assert!(1 < collections && 2 * collections - 1 <= pauses, "{told}");
    assert!(line["pauses"]["p50Ms"].as_f64().unwrap() <= line["pauses"]["maxMs"].as_f64().unwrap(), "{told}");
    assert_eq!(told["leftOut"].as_array().map(Vec::len), Some(0), "{told}");
}

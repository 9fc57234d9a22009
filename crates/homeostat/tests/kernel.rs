//! `homeostat doctor` and `homeostat profile cpu` from outside, built with programs for the kernel or without.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking and say what they skip"
)]

use std::process::{Child, Command, Stdio};

use serde_json::Value;

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
    ] {
        let (code, _, errors) = run(&[&["kernel"], args].concat());
        assert!(code != 0 && errors.contains(said), "{args:?}: {errors}");
    }
}

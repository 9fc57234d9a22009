//! What becomes of the commands' output when nobody takes it: the real binary with a closed pipe and with a full disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    fs::OpenOptions,
    io::pipe,
    process::{Command, Output, Stdio},
};

/// Runs a command whose standard output leads to `out`: exit code and what stood on standard error.
fn run(args: &[&str], out: impl Into<Stdio>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homeostat"));
    let Output { status, stderr, .. } = command.args(args).stdout(out).stderr(Stdio::piped()).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    for args in [
        &["schema"][..],
        &["schema", "--markdown"],
        &["demo", "--print-config"],
        &["simulate", "canary", "--runs", "10", "--duration", "5"],
        &["--help"],
    ] {
        assert_eq!(run(args, closed()), (0, String::new()), "{args:?}");
    }
}

#[test]
fn a_closed_pipe_changes_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.yaml");
    std::fs::write(&path, "apiVersion: homeostat/v1\nkind: Gard\n").unwrap();
    let (code, problems) = run(&["check", "-c", path.to_str().unwrap()], closed());
    assert_eq!(code, 2);
    assert!(problems.contains("write `Guard`"), "{problems}");
}

#[test]
fn nor_does_a_reader_of_errors_who_stops_reading() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homeostat"));
    let status =
        command.args(["check", "-c", "/no/such/file"]).stdout(Stdio::null()).stderr(closed()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
#[cfg(target_os = "linux")]
fn lost_output_is_a_failure_that_is_told() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (code, said) = run(&["schema"], full);
    assert_eq!(code, 1);
    assert!(said.starts_with("homeostat: cannot write to standard output: "), "{said}");
    assert_eq!(said.lines().count(), 1);
}

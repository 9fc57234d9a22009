//! `homeostat demo --fault NAME`: the canary is taken back, and the incident says why. Nothing tells the program which fault is
//! on; what it knows of the shops are their answers.

#![cfg(test)]

use std::process::Command;

use serde_json::Value;

/// Runs the demonstration and gives the incident of its end.
fn incident(fault: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .args(["demo", "--json", "--rps", "400", "--fault", fault])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{fault}: {text}\n{errors}");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let page = lines.into_iter().find(|line| line["what"] == "page").unwrap_or_else(|| panic!("no page: {text}"));
    page["incident"]["incident"].clone()
}

/// Subjects of the causes of one kind, the likeliest first.
fn causes<'a>(incident: &'a Value, kind: &str) -> Vec<&'a str> {
    let all = incident["explanation"]["hypotheses"].as_array().unwrap_or_else(|| panic!("not explained: {incident:#}"));
    all.iter().filter(|cause| cause["kind"] == kind).map(|cause| cause["subject"].as_str().unwrap()).collect()
}

#[test]
fn failing_requests_blame_the_release_and_no_pattern() {
    let incident = incident("errors");
    assert_eq!(causes(&incident, "change"), ["v2"], "{incident:#}");
    assert_eq!(causes(&incident, "pattern"), [""; 0], "{incident:#}");
}

#[test]
fn every_fault_stands_in_the_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_homeostat")).args(["demo", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for fault in homeostat_shop::Fault::ALL {
        let line = text.lines().find(|line| line.trim_start().starts_with(fault.label()));
        assert!(line.is_some_and(|line| line.ends_with(fault.about())), "{fault} in {text}");
    }
    assert_eq!(text.matches("strength: ").count(), homeostat_shop::Fault::ALL.len(), "{text}");
}

//! `homeostat demo --fault NAME`: the canary is taken back, and the incident says why. Nothing tells the program which fault is
//! on; what it knows of the shops are their answers, the samples that the kernel takes of them (as root, built with `bpf`), and
//! what their threads wait for.

#![cfg(test)]

use std::process::Command;

use serde_json::Value;

/// Whether the kernel takes samples for us.
fn has_samples() -> bool {
    let output = Command::new(env!("CARGO_BIN_EXE_homeostat")).args(["doctor", "--json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cpu = said["probes"].as_array().unwrap().iter().find(|probe| probe["name"] == "cpu-copies").unwrap();
    if cpu["state"] != "ok" {
        println!("SKIPPED: the kernel takes no samples: {cpu}");
    }
    cpu["state"] == "ok"
}

/// Runs the demonstration with a fault, and checks which pattern its incident names first. On a machine that others keep busy
/// there may be too little to name one, and the incident has to say that.
fn names_first(fault: &str, pattern: &str) {
    if !has_samples() {
        return;
    }
    let incident = incident(fault);
    let first = causes(&incident, "pattern").first().copied();
    let too_little = ["too few samples to compare", "no profiles of both sides", "has not answered in time"];
    if first.is_none() && too_little.iter().any(|line| said_to_be_missing(&incident, line)) {
        println!("SKIPPED: {fault}: too little was measured on this machine: {}", incident["explanation"]["missing"]);
        return;
    }
    assert_eq!(first, Some(pattern), "{incident:#}");
}

/// Whether the incident says that more of this would have helped.
fn said_to_be_missing(incident: &Value, what: &str) -> bool {
    let missing = incident["explanation"]["missing"].as_array().unwrap();
    missing.iter().any(|line| line.as_str().unwrap().contains(what))
}

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

/// Both versions wait for it: the release is left alone, and it is nobody's pattern.
#[test]
fn a_slow_service_that_both_versions_call_is_named() {
    let incident = incident("dependency");
    assert_eq!(causes(&incident, "dependency"), ["recommender"], "{incident:#}");
    let first = &incident["explanation"]["hypotheses"][0];
    assert_eq!((&first["kind"], &first["subject"]), (&"dependency".into(), &"recommender".into()), "{incident:#}");
    assert_eq!(incident["subject"]["about"], "objective", "{incident:#}");
}

#[test]
fn a_log_on_the_hot_path_is_named() {
    names_first("log", "sync_logging");
}

#[test]
fn an_answer_that_is_printed_again_and_again_is_named() {
    names_first("json", "reflection_serialisation");
}

#[test]
fn a_map_that_nobody_empties_is_named() {
    names_first("leak", "map_growth");
}

/// Twenty requests a second, the canary's share of what a program without optimisation can serve, that hold the lock for four
/// tenths of a second each: some thirty threads queue up until the verdict.
#[test]
fn a_queue_at_a_lock_is_named() {
    names_first("lock=400", "lock_contention");
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

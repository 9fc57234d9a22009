//! SIGHUP reloads, the audit says who read the configuration, when and with what result, and announced changes arrive.

#![cfg(test)]

mod common;

use std::path::Path;

use common::{Upstream, config, process::Process};
use serde_json::Value;

const AUDIT: &str = "/homeostat/v1/audit?limit=100";

fn send(process: &Process, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid()).expect("a pid")).expect("not zero");
    rustix::process::kill_process(pid, signal).expect("it runs");
}

/// What the audit says, newest first, as `WHO: WHAT`.
fn lines(audit: &Value) -> Vec<String> {
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    audit.as_array().into_iter().flatten().map(|line| text(line, "by") + ": " + &text(line, "what")).collect()
}

async fn until_audited(process: &Process, start: &str) -> String {
    let found = |audit: &Value| lines(audit).into_iter().find(|line| line.starts_with(start));
    let audit = process.until(AUDIT, start, |audit| found(audit).is_some()).await;
    found(&audit).expect("it was there")
}

/// The first digits of the sum that `sha256sum` prints for a file.
fn sum(file: &Path) -> String {
    let printed = std::process::Command::new("sha256sum").arg(file).output().expect("coreutils are there");
    String::from_utf8_lossy(&printed.stdout).chars().take(12).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reloads_and_every_reading_of_the_configuration_is_audited() {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2) = (Upstream::start().await, Upstream::start().await);
    // The watched folder holds a link alone: a change of what it points to is seen by whoever is told to look.
    let (file, watched) = (dir.path().join("real.yaml"), dir.path().join("watched"));
    std::fs::create_dir(&watched).expect("writable");
    std::os::unix::fs::symlink(&file, watched.join("homeostat.yaml")).expect("writable");
    let text = config(&dir.path().join("data"), v1.address, v2.address, None);
    std::fs::write(&file, &text).expect("writable");
    let first = sum(&file);

    let process = Process::start(&watched.join("homeostat.yaml")).await;
    until_audited(&process, &format!("homeostat: configuration {first} at the start")).await;

    let more =
        text.replace("    availability: 99.9%", "    availability: 99.9%\n    latency: {target: 99%, within: 300ms}");
    std::fs::write(&file, &more).expect("writable");
    let second = sum(&file);
    send(&process, rustix::process::Signal::HUP);
    let objectives = |value: &Value| value.as_array().is_some_and(|list| list.len() == 2);
    process.until("/homeostat/v1/objectives", "the second objective is known", objectives).await;
    until_audited(&process, &format!("SIGHUP: configuration reload (signal): {first} → {second} in force")).await;

    // A refused one leaves the old one in force and says so, without what the problems say.
    std::fs::write(&file, more.replace("canary: v2", "canary: v3")).expect("writable");
    let third = sum(&file);
    send(&process, rustix::process::Signal::HUP);
    let start =
        format!("SIGHUP: configuration reload (signal): {third} refused with 1 problem, {second} stays in force");
    until_audited(&process, &start).await;

    // Asked by the API: another text of the same meaning, with what takes a restart told.
    std::fs::write(&file, format!("# a remark\n{more}")).expect("writable");
    let fourth = sum(&file);
    let (status, answer) = process.post("/homeostat/v1/config/reload", "").await;
    assert_eq!(status, 200, "{answer}");
    let start = format!("local: configuration reload (API): {second} → {fourth}, which means the same");
    until_audited(&process, &start).await;

    // A change of a YAML file in the watched folder is seen without being asked for.
    std::fs::write(&file, more.replace("workers: 2", "workers: 1")).expect("writable");
    let fifth = sum(&file);
    std::fs::write(watched.join("touched.yaml"), "").expect("writable");
    let start = format!("configuration files: configuration reload (a file changed): {fourth} → {fifth} in force");
    until_audited(&process, &start).await;
    let (_, config) = process.get("/homeostat/v1/config").await;
    assert!(config["notes"][0].as_str().unwrap_or_default().contains("takes a restart"), "{config}");

    let change = r#"{"kind":"deploy","service":"shop","version":"v2","summary":"build 7"}"#;
    let (status, answer) = process.post("/homeostat/v1/changes", change).await;
    assert_eq!(status, 204, "{answer}");
    until_audited(&process, "local: change announced: deploy of shop v2: build 7").await;
    let (_, changes) = process.get("/homeostat/v1/changes").await;
    assert_eq!(changes[0]["summary"], "build 7");
    let (status, answer) = process.post("/homeostat/v1/changes", &change.replace("shop", "cart")).await;
    assert!(status == 404 && answer.contains("there are: shop"), "{status} {answer}");

    // All of it is in the journal: a restart knows it, and a replay gives the same.
    let before = lines(&process.get(AUDIT).await.1);
    process.kill().await;
    std::fs::write(&file, &more).expect("writable");
    let process = Process::start(&watched.join("homeostat.yaml")).await;
    until_audited(&process, &format!("homeostat: configuration {second} at the start")).await;
    let after = lines(&process.get(AUDIT).await.1);
    assert_eq!(&after[1..], before, "after a restart the audit goes on");

    send(&process, rustix::process::Signal::TERM);
    process.ended().await;
    let replay = std::process::Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .arg("replay")
        .arg(dir.path().join("data"))
        .output()
        .expect("replay runs");
    let said = String::from_utf8_lossy(&replay.stdout);
    assert!(replay.status.success() && said.contains("identical"), "{said}");
}

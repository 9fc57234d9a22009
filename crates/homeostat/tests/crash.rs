//! `kill -9` during a rollback, at many instants: afterwards the canary is at 0 and its incident is complete.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::{Load, Upstream, config, process::Process, write_config};
use serde_json::Value;

const ROLLOUTS: &str = "/homeostat/v1/rollouts";

fn phase(rollouts: &Value) -> &str {
    rollouts[0]["phase"]["phase"].as_str().unwrap_or_default()
}

fn about_canary(page: &Value) -> Vec<&Value> {
    let incidents = page["incidents"].as_array().into_iter().flatten();
    incidents.filter(|incident| incident["subject"]["about"] == "canary").collect()
}

/// Starts the rollout of a canary that fails, kills the process `after` that long, starts it again on the same data.
async fn survives_a_kill(after: Duration) {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2) = (Upstream::start().await, Upstream::start().await);
    let file = write_config(dir.path(), &config(&dir.path().join("data"), v1.address, v2.address, None));
    v2.fail(500);

    let first = Process::start(&file).await;
    let load = Load::start(first.gateway, 4);
    first.until(ROLLOUTS, "control knows the rollout", |rollouts| phase(rollouts) == "idle").await;
    let (status, body) = first.post("/homeostat/v1/rollouts/shop-v2/start", "{}").await;
    assert_eq!(status, 204, "{body}");
    tokio::time::sleep(after).await;
    first.kill().await;
    load.stop().await;

    let second = Process::start(&file).await;
    let load = Load::start(second.gateway, 4);
    let ended = second.until(ROLLOUTS, "the canary is rolled back", |rollouts| phase(rollouts) == "rolled_back").await;
    assert_eq!(ended[0]["weight"], 0, "killed {after:?} after the start");
    // The failures may have burnt enough of the budget for an incident of its own; this is about the canary's.
    let closed = |page: &Value| about_canary(page).first().is_some_and(|incident| incident["stage"] == "closed");
    let page = second.until("/homeostat/v1/incidents", "the incident is closed", closed).await;
    let incidents = about_canary(&page);
    assert_eq!(incidents.len(), 1, "one fault is one incident, killed {after:?} after the start: {page:#}");
    let words: Vec<_> =
        incidents[0]["milestones"].as_array().expect("a list").iter().map(|m| m["what"].as_str()).collect();
    for word in ["verdict", "weight_zero"] {
        assert!(words.contains(&Some(word)), "{word} is missing in {words:?}, killed {after:?} after the start");
    }
    let id = incidents[0]["id"].as_u64().expect("a number");
    let kept = |detail: &Value| detail["has_black_box"] == true;
    second.until(&format!("/homeostat/v1/incidents/{id}"), "its recording is kept", kept).await;
    load.stop().await;

    // A third start finds everything ended and leaves it so.
    second.kill().await;
    let third = Process::start(&file).await;
    let again = third.until(ROLLOUTS, "the past is known", |rollouts| phase(rollouts) == "rolled_back").await;
    assert_eq!(again[0]["weight"], 0);
    third.kill().await;

    let replay =
        std::process::Command::new(env!("CARGO_BIN_EXE_homeostat")).arg("replay").arg(dir.path().join("data")).output();
    let replay = replay.expect("replay runs");
    let said = String::from_utf8_lossy(&replay.stdout);
    assert!(
        replay.status.success() && said.contains("identical"),
        "killed {after:?} after the start: {said}{}",
        String::from_utf8_lossy(&replay.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_verdict() {
    survives_a_kill(Duration::from_millis(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_about_the_verdict() {
    for after_ms in [40, 80, 120, 180] {
        survives_a_kill(Duration::from_millis(after_ms)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_during_verification() {
    survives_a_kill(Duration::from_millis(700)).await;
}

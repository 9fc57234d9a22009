//! What the kernel sees of programs on this machine stands beside the incident that they are part of.

#![cfg(test)]

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::{Load, PATIENCE, Upstream, start, until};
use homeostat::runtime::Running;
use homeostat_api::backend::Operation;
use homeostat_model::{
    Actor, IncidentId,
    explanation::{Explanation, ProfileSide},
    kernel::KernelStrip,
    rollout::Verb,
};
use homeostat_sense_kernel::{ProbeState, examine};

/// Asks until there is an answer.
async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn explanation(running: &Running) -> Explanation {
    wait_for("an explanation", async || {
        let found = running.backend().incidents(None, 10).await.unwrap_or_default();
        found.into_iter().find_map(|incident| incident.explanation)
    })
    .await
}

async fn strips(running: &Running) -> Vec<KernelStrip> {
    wait_for("strips in the recording", async || {
        let recording = running.backend().black_box(IncidentId(1)).await.ok().flatten()?;
        Some(recording.kernel).filter(|strips| !strips.is_empty())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_incident_holds_what_the_kernel_saw_of_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (Upstream::start().await, Upstream::start().await);
    let running = start(dir.path(), &common::config(&dir.path().join("data"), good.address, bad.address, None)).await;
    let (_, gateway) = running.gateway_addresses().remove(0);
    until(&running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    // Two seconds are known before anything breaks.
    wait_for("seconds of both versions", async || {
        let mut text = String::new();
        running.backend().metrics(&mut text);
        ["v1", "v2"]
            .iter()
            .all(|version| {
                let line = format!("homeostat_kernel_cpu_seconds_total{{service=\"shop\",version=\"{version}\"}}");
                text.lines().any(|told| told.starts_with(&line))
            })
            .then_some(())
    })
    .await;
    bad.fail(1000);
    let begin = Operation::Rollout { rollout: "shop-v2".parse().unwrap(), verb: Verb::Start };
    running.backend().operate(begin, Actor::new("test"), "a new release".to_owned()).await.unwrap();
    let load = Load::start(gateway, 4);

    let explanation = explanation(&running).await;
    let sides: BTreeSet<_> = explanation.kernel.iter().map(|seen| (seen.side, seen.version.as_str())).collect();
    assert_eq!(sides, [(ProfileSide::Good, "v1"), (ProfileSide::Bad, "v2")].into(), "{explanation:#?}");
    assert!(explanation.kernel.iter().all(|seen| 0 < seen.seconds), "{:?}", explanation.kernel);

    let strips = strips(&running).await;
    assert_eq!(strips.iter().map(|strip| strip.version.as_str()).collect::<Vec<_>>(), ["v1", "v2"]);
    for strip in &strips {
        assert!(strip.seconds.is_sorted_by_key(|second| second.at), "{strip:?}");
        assert!(strip.seconds.iter().any(|second| 0 < second.cpu_ms), "this process works: {strip:?}");
    }
    let mut text = String::new();
    running.backend().metrics(&mut text);
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    assert_eq!(value("homeostat_kernel_processes"), "1", "both versions are served by this process");
    assert!(0.0 < value("homeostat_kernel_overhead_ratio").parse::<f64>().unwrap());
    let probes = examine();
    let works = |name: &str| probes.iter().any(|probe| probe.name == name && probe.state == ProbeState::Ok);
    assert_eq!(value("homeostat_kernel_programs"), if works("run-queue") || works("tcp") { "1" } else { "0" });
    let counted = strips.iter().flat_map(|strip| &strip.seconds).filter_map(|second| second.counted);
    let waited = counted.clone().filter_map(|counted| counted.waits).any(|waits| 0 < waits.waits);
    assert_eq!(waited, works("run-queue"), "{strips:?}");
    let accepted = counted.clone().filter_map(|counted| counted.connections).any(|tcp| 0 < tcp.accepted);
    assert_eq!(accepted, works("tcp"), "{strips:?}");
    load.stop().await;
    let report = running.stop().await;
    assert!(report.journal_synced, "{report}");
}

//! The configuration changes while requests run: a good one is swapped whole, a bad one leaves the old one running.

#![cfg(test)]

mod common;

use std::time::Instant;

use common::{Load, PATIENCE, Upstream, config, serving_weight, start, until, write_config};
use homeostat::runtime::Running;
use homeostat_api::backend::{ConfigStatus, Operation};
use homeostat_model::{Actor, RolloutName, Weight, rollout::Verb};

async fn until_config(running: &Running, what: &str, holds: impl Fn(&ConfigStatus) -> bool) -> ConfigStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = running.backend().config();
        if holds(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}: {status:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_watched_bad_ones_refused_and_no_request_is_dropped() {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2) = (Upstream::start().await, Upstream::start().await);
    let good = config(&dir.path().join("data"), v1.address, v2.address, None);
    let running = start(dir.path(), &good).await;
    let load = Load::start(running.gateway_addresses()[0].1, 4);
    until(&running, "control knows the objective", |view| view.objectives.len() == 1).await;

    // A saved change is in force without being asked for.
    let more =
        good.replace("    availability: 99.9%", "    availability: 99.9%\n    latency: {target: 99%, within: 300ms}");
    write_config(dir.path(), &more);
    until(&running, "the second objective is known", |view| view.objectives.len() == 2).await;
    assert_eq!(running.backend().config().generation, 2);

    // A broken one is refused, with all its problems, and changes nothing.
    write_config(dir.path(), &more.replace("canary: v2", "canary: v3").replace("steps: [20%, 100%]", "stepz: [20%]"));
    let refused = until_config(&running, "it is refused", |status| status.rejected_at.is_some()).await;
    assert!(refused.problems.len() >= 2, "{:?}", refused.problems);
    assert!(refused.problems.iter().any(|problem| problem.contains("stepz")), "{:?}", refused.problems);
    assert_eq!((refused.generation, running.backend().view().objectives.len()), (2, 2));
    let mut metrics = String::new();
    running.backend().metrics(&mut metrics);
    assert!(metrics.contains("homeostat_config_rejected_total 1"), "{metrics}");

    // Moving endpoints, many times, under load.
    for round in 0..20 {
        let (a, b) = if round % 2 == 0 { (v2.address, v1.address) } else { (v1.address, v2.address) };
        write_config(dir.path(), &config(&dir.path().join("data"), a, b, None));
        let status = running.backend().reload(Actor::new("test")).await;
        assert!(status.rejected_at.is_none(), "{status:?}");
    }
    let (ok, failed, lost) = load.stop().await;
    assert!(ok > 100, "{ok}");
    assert_eq!((failed, lost), (0, 0), "no request is dropped or sees half a table");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolled_back_canary_stays_at_zero_over_reloads() {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2) = (Upstream::start().await, Upstream::start().await);
    let text = config(&dir.path().join("data"), v1.address, v2.address, None);
    let running = start(dir.path(), &text).await;
    let load = Load::start(running.gateway_addresses()[0].1, 8);
    v2.fail(500);
    until(&running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    let start = Operation::Rollout { rollout: RolloutName::new("shop-v2").expect("a name"), verb: Verb::Start };
    running.backend().operate(start.clone(), Actor::new("test"), String::new()).await.expect("the rollout starts");
    // Reloads arrive while the rollout is judged and rolled back.
    for target in ["99.8%", "99.7%", "99.6%", "99.5%"] {
        write_config(dir.path(), &text.replace("99.9%", target));
        assert!(running.backend().reload(Actor::new("test")).await.rejected_at.is_none());
    }
    until(&running, "the canary is rolled back", |view| view.rollouts[0].phase.label() == "rolled_back").await;
    write_config(dir.path(), &text.replace("99.9%", "99%"));
    assert!(running.backend().reload(Actor::new("test")).await.rejected_at.is_none());
    assert_eq!(serving_weight(&running, "v2"), 0);
    let refused = running.backend().operate(start, Actor::new("test"), String::new()).await;
    assert!(refused.is_err(), "a frozen release does not start by itself again");
    load.stop().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_operates_and_looks_sees_what_they_did() {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2) = (Upstream::start().await, Upstream::start().await);
    let text = config(&dir.path().join("data"), v1.address, v2.address, None);
    let running = start(dir.path(), &text).await;
    until(&running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    for _ in 0..10 {
        for (verb, active) in [(Verb::Start, true), (Verb::Abort, false)] {
            let operation = Operation::Rollout { rollout: RolloutName::new("shop-v2").expect("a name"), verb };
            running.backend().operate(operation, Actor::new("test"), String::new()).await.expect("it is done");
            let view = running.backend().view();
            let rollout = &view.rollouts[0];
            assert_eq!(rollout.weight == Weight::ZERO, !active, "{verb:?}: {:?}", rollout.phase);
        }
    }
    running.stop().await;
}

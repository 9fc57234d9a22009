//! The main job on real traffic: a bad canary is noticed, rolled back, verified, written up; a good one goes through.

#![cfg(test)]

mod common;

use common::{Load, PATIENCE, Upstream, Webhook, config, serving_weight, start, until};
use homeostat_api::backend::Operation;
use homeostat_model::{Actor, RolloutName, action::Purpose, incident::Stage, rollout::Verb};

fn start_rollout() -> Operation {
    Operation::Rollout { rollout: RolloutName::new("shop-v2").expect("a name"), verb: Verb::Start }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_canary_is_rolled_back_verified_and_written_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2, webhook) = (Upstream::start().await, Upstream::start().await, Webhook::start().await);
    let running =
        start(dir.path(), &config(&dir.path().join("data"), v1.address, v2.address, Some(webhook.address))).await;
    let gateway = running.gateway_addresses()[0].1;
    let load = Load::start(gateway, 8);
    v2.fail(400);
    let backend = running.backend();
    until(&running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    backend.operate(start_rollout(), Actor::new("test"), "a new release".to_owned()).await.expect("the rollout starts");

    let view =
        until(&running, "the canary is rolled back", |view| view.rollouts[0].phase.label() == "rolled_back").await;
    assert_eq!(serving_weight(&running, "v2"), 0);
    let action =
        view.actions.iter().find(|action| action.plan.purpose == Purpose::Rollback).expect("a rollback is recorded");
    let id = action.incident.expect("it belongs to an incident");

    let deadline = std::time::Instant::now() + PATIENCE;
    let detail = loop {
        let detail = backend.incident(id).await.expect("the store answers");
        // It is shown once its record is on disk, and ends once the recovery is seen.
        match detail {
            Some(detail) if detail.incident.stage == Stage::Closed && detail.has_black_box => break detail,
            other => assert!(std::time::Instant::now() < deadline, "not closed in time: {other:#?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let words: Vec<_> = detail.incident.milestones.iter().map(|milestone| milestone.what.as_str()).collect();
    for word in ["first_bad", "verdict", "weight_zero", "verified"] {
        assert!(words.contains(&word), "{word} is missing in {words:?}");
    }
    assert!(detail.incident.requests_harmed > 0);
    let black_box = backend.black_box(id).await.expect("the store answers").expect("a recording is kept");
    let bad = black_box.ticks.iter().flat_map(|tick| &tick.deltas).map(|delta| delta.counts.bad()).sum::<u64>();
    assert!(bad > 0, "the recording shows the failures");
    assert!(black_box.exemplars.iter().any(|exemplar| exemplar.status == 500), "and examples of them");

    let deadline = std::time::Instant::now() + PATIENCE;
    while !webhook.alerts().iter().any(|(status, _)| status == "resolved") {
        assert!(std::time::Instant::now() < deadline, "people are told: {:?}", webhook.alerts());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(webhook.alerts().iter().any(|(status, _)| status == "firing"), "{:?}", webhook.alerts());

    let (ok, failed, lost) = load.stop().await;
    assert!(ok > 0 && failed > 0);
    assert_eq!(lost, 0, "no request is dropped by any of this");
    drop((backend, running.stop().await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_both_versions_is_no_canarys_fault() {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2) = (Upstream::start().await, Upstream::start().await);
    let running = start(dir.path(), &config(&dir.path().join("data"), v1.address, v2.address, None)).await;
    let load = Load::start(running.gateway_addresses()[0].1, 8);
    v1.fail(200);
    v2.fail(200);
    let backend = running.backend();
    until(&running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    backend.operate(start_rollout(), Actor::new("test"), String::new()).await.expect("the rollout starts");
    let judged = |view: &homeostat_model::view::View| view.rollouts[0].canary.total() >= 300;
    let view = until(&running, "the canary has had 300 requests", judged).await;
    assert_ne!(view.rollouts[0].phase.label(), "rolled_back", "{:#?}", view.rollouts[0]);
    assert!(load.stop().await.1 > 0);
    drop((backend, running.stop().await));
}

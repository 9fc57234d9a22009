//! A disk that stalls, fills up or is read-only: the gateway serves, protective shifts go ahead, the record follows.

#![cfg(test)]

mod common;

use std::{sync::Arc, time::Instant};

use common::{Load, PATIENCE, Upstream, config, options, serving_weight, until, write_config};
use homeostat::runtime::{self, Running};
use homeostat_api::backend::{Health, Operation};
use homeostat_model::{Actor, RolloutName, action::Purpose, incident::Subject, rollout::Verb};
use homeostat_store_events::SimDisk;

struct World {
    running: Running,
    disk: SimDisk,
    load: Load,
    v2: Upstream,
    _v1: Upstream,
    _dir: tempfile::TempDir,
}

async fn world(prepare: impl FnOnce(&SimDisk)) -> World {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2) = (Upstream::start().await, Upstream::start().await);
    // The data directory exists only on the simulated disk.
    let file = write_config(dir.path(), &config(std::path::Path::new("/data"), v1.address, v2.address, None));
    let disk = SimDisk::default();
    prepare(&disk);
    let running = runtime::start_on(options(file), Arc::new(disk.clone())).await.expect("it starts");
    let load = Load::start(running.gateway_addresses()[0].1, 8);
    World { running, disk, load, v2, _v1: v1, _dir: dir }
}

fn start_rollout() -> Operation {
    Operation::Rollout { rollout: RolloutName::new("shop-v2").expect("a name"), verb: Verb::Start }
}

async fn until_health(running: &Running, what: &str, holds: impl Fn(&Health) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(&running.backend().health()) {
        assert!(Instant::now() < deadline, "waited in vain until {what}: {:#?}", running.backend().health());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn journal_is(ok: bool) -> impl Fn(&Health) -> bool {
    move |health| health.parts.iter().any(|part| part.part == "journal" && part.ok == ok)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_goes_ahead_of_a_stuck_disk_and_is_recorded_when_it_returns() {
    let world = world(|_| {}).await;
    until(&world.running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    world.running.backend().operate(start_rollout(), Actor::new("test"), String::new()).await.expect("it starts");
    until(&world.running, "the canary gets traffic", |view| view.rollouts[0].canary.total() > 50).await;

    world.disk.set(|faults| faults.stuck = true);
    world.v2.fail(500);
    until(&world.running, "the canary is rolled back", |view| view.rollouts[0].phase.label() == "rolled_back").await;
    assert_eq!(serving_weight(&world.running, "v2"), 0);
    until_health(&world.running, "the stuck disk is seen", journal_is(false)).await;
    let served = world.load.ok.load(std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(world.load.ok.load(std::sync::atomic::Ordering::Relaxed) > served, "requests do not wait for the disk");
    assert!(
        world.running.backend().incidents(None, 10).await.expect("memory answers").is_empty(),
        "nothing is shown before it is on disk"
    );

    world.disk.set(|faults| faults.stuck = false);
    until_health(&world.running, "the disk is back", journal_is(true)).await;
    let deadline = Instant::now() + PATIENCE;
    // The record of the action follows in steps of its own: proposed, applied, and that it went ahead.
    let backend = world.running.backend();
    loop {
        let incidents = backend.incidents(None, 10).await.expect("the store answers");
        let canary = incidents.iter().find(|incident| matches!(incident.subject, Subject::Canary { .. }));
        let detail = match canary {
            Some(incident) => backend.incident(incident.id).await.expect("the store answers"),
            None => None,
        };
        let mut actions = detail.iter().flat_map(|detail| &detail.actions);
        if actions.any(|action| action.plan.purpose == Purpose::Rollback && action.ahead_of_disk) {
            break;
        }
        assert!(Instant::now() < deadline, "the incident and its rollback are recorded: {detail:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(backend);
    let (_, _, lost) = world.load.stop().await;
    assert_eq!(lost, 0);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shift_that_waited_for_the_disk_does_not_take_a_rollback_back() {
    let world = world(|_| {}).await;
    until(&world.running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    let backend = world.running.backend();
    backend.operate(start_rollout(), Actor::new("test"), String::new()).await.expect("it starts");
    until(&world.running, "the canary gets traffic", |view| view.rollouts[0].canary.total() > 50).await;

    // A person gives the canary more while nothing reaches the disk: that has to wait, and so it is still waiting when
    // the canary turns bad and loses everything ahead of the disk.
    world.disk.set(|faults| faults.stuck = true);
    let promote = Operation::Rollout { rollout: RolloutName::new("shop-v2").expect("a name"), verb: Verb::Promote };
    let unknown = backend.operate(promote, Actor::new("test"), String::new()).await;
    assert!(unknown.is_err(), "nobody can say that it happened");
    assert_eq!(serving_weight(&world.running, "v2"), 2_000);
    world.v2.fail(500);
    until(&world.running, "the canary is rolled back", |view| view.rollouts[0].phase.label() == "rolled_back").await;
    assert_eq!(serving_weight(&world.running, "v2"), 0);

    world.disk.set(|faults| faults.stuck = false);
    until_health(&world.running, "the disk is back", journal_is(true)).await;
    let waiting = "homeostat_steps_waiting 0\n";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut metrics = String::new();
        backend.metrics(&mut metrics);
        assert_eq!(serving_weight(&world.running, "v2"), 0, "the shift that waited is void");
        if metrics.contains(waiting) && metrics.contains("homeostat_journal_queue_records 0\n") {
            break;
        }
        assert!(Instant::now() < deadline, "everything reaches the disk: {metrics}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.load.stop().await.2, 0);
    drop(backend);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_holds_other_actions_back_until_there_is_room() {
    let world = world(|_| {}).await;
    until(&world.running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    world.disk.set(|faults| faults.capacity_bytes = Some(0));
    let refused = world.running.backend().operate(start_rollout(), Actor::new("test"), String::new()).await;
    assert!(refused.is_err(), "the start of a rollout is not protective: it waits for its record");
    assert_eq!(serving_weight(&world.running, "v2"), 0);
    until_health(&world.running, "the full disk is seen", journal_is(false)).await;
    let served = world.load.ok.load(std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(world.load.ok.load(std::sync::atomic::Ordering::Relaxed) > served, "requests do not care");

    world.disk.set(|faults| faults.capacity_bytes = None);
    until_health(&world.running, "there is room again", journal_is(true)).await;
    until(&world.running, "the held shift has happened", |_| serving_weight(&world.running, "v2") == 2_000).await;
    assert_eq!(world.load.stop().await.2, 0);
    world.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_read_only_disk_the_gateway_serves_and_nothing_acts() {
    let world = world(|disk| disk.set(|faults| faults.read_only = true)).await;
    until_health(&world.running, "it says what is wrong", |health| !health.ready && journal_is(false)(health)).await;
    let served = world.load.ok.load(std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(world.load.ok.load(std::sync::atomic::Ordering::Relaxed) > served);
    assert_eq!(serving_weight(&world.running, "v2"), 0);
    world.disk.set(|faults| faults.read_only = false);
    until_health(&world.running, "the journal opens when it can", |health| health.ready).await;
    until(&world.running, "control runs", |view| view.rollouts.len() == 1).await;
    assert_eq!(world.load.stop().await.2, 0);
    world.running.stop().await;
}

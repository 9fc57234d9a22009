//! A journal that was damaged and repaired: the hole is said aloud, nothing that may have been taken back gets traffic,
//! and from there on everything is exact again.

#![cfg(test)]

mod common;

use std::{path::Path, process::Output};

use common::{Load, PATIENCE, Upstream, config, serving_weight, start, until};
use homeostat_api::backend::Operation;
use homeostat_model::{Actor, RolloutName, rollout::Verb};

fn homeostat(args: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_homeostat")).args(args).output().expect("the binary runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Flips a bit of the record that starts the rollout; gives the number of its segment.
fn damage_the_start(journal: &Path) -> String {
    let segments = std::fs::read_dir(journal).expect("a folder").map(|entry| entry.expect("readable").path());
    for path in segments.filter(|path| path.extension().is_some_and(|extension| extension == "wal")) {
        let mut bytes = std::fs::read(&path).expect("readable");
        let mark = b"\"event\":\"rollout\"";
        if let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).expect("writable");
            return path.file_stem().expect("a name").to_string_lossy().into_owned();
        }
    }
    panic!("no segment in {} starts a rollout", journal.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_repair_no_canary_gets_traffic_and_replay_is_exact_from_there_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2) = (Upstream::start().await, Upstream::start().await);
    let data = dir.path().join("data");
    let text_of_config = config(&data, v1.address, v2.address, None);
    let name = data.display().to_string();

    let running = start(dir.path(), &text_of_config).await;
    until(&running, "control knows the rollout", |view| view.rollouts.len() == 1).await;
    let load = Load::start(running.gateway_addresses()[0].1, 4);
    let start_rollout = Operation::Rollout { rollout: RolloutName::new("shop-v2").expect("a name"), verb: Verb::Start };
    running.backend().operate(start_rollout, Actor::new("test"), String::new()).await.expect("it starts");
    until(&running, "the canary gets traffic", |view| view.rollouts[0].canary.total() > 50).await;
    load.stop().await;
    assert!(running.stop().await.journal_synced);

    let segment = damage_the_start(&data.join("journal"));
    let inspected = homeostat(&["wal", "inspect", &name]);
    assert!(!inspected.status.success() && text(&inspected).contains("DAMAGED"), "{}", text(&inspected));
    let repaired = homeostat(&["wal", "repair", &name, "--segment", segment.trim_start_matches('0')]);
    assert!(repaired.status.success(), "{}", text(&repaired));

    let running = start(dir.path(), &text_of_config).await;
    // What is left says that the rollout was never started; whether it was rolled back nobody knows.
    let view = until(&running, "the rollout stands down", |view| {
        view.rollouts.first().is_some_and(|rollout| rollout.phase.label() == "aborted")
    })
    .await;
    assert_eq!(view.rollouts[0].weight.basis_points(), 0);
    assert_eq!(serving_weight(&running, "v2"), 0);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let audit = running.backend().audit(10).await.expect("the store answers");
        if audit.iter().any(|line| line.what.starts_with("the journal has a hole of up to")) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "waited in vain for the hole in the audit: {audit:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // A person may start it again, and that is remembered.
    let start_rollout = Operation::Rollout { rollout: RolloutName::new("shop-v2").expect("a name"), verb: Verb::Start };
    running.backend().operate(start_rollout, Actor::new("test"), String::new()).await.expect("it starts");
    assert!(running.stop().await.journal_synced);

    let replay = homeostat(&["replay", &name]);
    let said = text(&replay);
    assert!(replay.status.success() && said.contains("identical") && said.contains("are missing"), "{said}");

    let running = start(dir.path(), &text_of_config).await;
    until(&running, "the second start is remembered", |view| {
        view.rollouts.first().is_some_and(|rollout| rollout.phase.label() == "progressing")
    })
    .await;
    let audit = running.backend().audit(100).await.expect("the store answers");
    let holes = audit.iter().filter(|line| line.what.starts_with("the journal has a hole of up to")).count();
    assert_eq!(holes, 1, "behind its snapshot the hole is no longer in the way: {audit:#?}");
    assert!(running.stop().await.journal_synced);
}

//! Incidents, actions, audit and recordings: what readers see, now and after a restart.

use homeostat_model::{
    explanation::{ProfileKept, ProfileSeen, ProfileSide},
    incident::BlackBox,
    kernel::{KernelCounted, KernelSecond, KernelStrip, KernelWaits},
};
use homeostat_store_events::JournalError;

use super::*;

#[test]
fn incidents_are_rebuilt_from_the_steps_that_recorded_them() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    for (now, shown) in [(at(1), incident(1, None)), (at(2), incident(2, None)), (at(3), incident(1, Some(at(3))))] {
        settle(&step(&journal, now, "{}", &record(&shown)));
        journal.put_incident(&shown);
    }
    let seen = (journal.incidents(None, 10), journal.incidents(Some(IncidentId(2)), 10), journal.incidents(None, 1));
    assert_eq!(seen.0.iter().map(|i| i.id.0).collect::<Vec<_>>(), [2, 1], "newest first");
    assert_eq!((seen.1.len(), seen.2.len()), (1, 1));
    disk.kill();
    drop(journal);
    let (journal, _) = open(&disk);
    assert_eq!(journal.incidents(None, 10), seen.0);
    assert_eq!(journal.incident(IncidentId(1)), Some(incident(1, Some(at(3)))), "the latest record wins");
    assert_eq!(journal.incident(IncidentId(9)), None);
}

#[test]
fn the_audit_says_who_did_what_and_what_was_refused() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    step(&journal, at(1), &operation("promote", "ana"), "[]");
    step(&journal, at(2), &operation("start", "ci"), r#"[{"command":"refuse","reason":"the release is frozen"}]"#);
    step(
        &journal,
        at(3),
        r#"{"event":"decide","action":4,"decision":{"decision":"approve"},"by":"bo","reason":"ok"}"#,
        "[]",
    );
    step(&journal, at(4), r#"{"event":"break_glass","engaged":true,"by":"bo","reason":""}"#, "[]");
    settle(&step(&journal, at(5), r#"{"event":"restarted"}"#, "[]"));
    let told = |journal: &Journal| -> Vec<String> {
        journal
            .audit(10)
            .iter()
            .map(|line| format!("{} {}: {}", line.at.since(at(0)).ms(), line.by, line.what))
            .collect()
    };
    let expected = [
        "4 bo: break-glass engaged",
        "3 bo: action A-4: approve",
        "2 ci: rollout checkout-v2: start (refused: the release is frozen)",
        "1 ana: rollout checkout-v2: promote",
    ];
    assert_eq!(told(&journal), expected);
    close(journal);
    assert_eq!(told(&open(&disk).0), expected, "the same after a restart");
}

fn recording(from: i64, to: i64) -> BlackBox {
    BlackBox { from: at(from), to: at(to), ..BlackBox::default() }
}

#[test]
fn the_recording_that_covers_more_is_kept() {
    let (journal, _) = open(&SimDisk::default());
    let id = IncidentId(3);
    assert!(journal.black_box(id).unwrap().is_none() && !journal.has_black_box(id));
    for (put, kept) in
        [((10, 50), (10, 50)), ((0, 40), (10, 50)), ((20, 50), (10, 50)), ((30, 90), (30, 90)), ((0, 90), (0, 90))]
    {
        journal.put_black_box(id, &recording(put.0, put.1)).unwrap();
        assert_eq!(journal.black_box(id).unwrap(), Some(recording(kept.0, kept.1)), "after {put:?}");
    }
    assert!(journal.has_black_box(id));
}

#[test]
fn profiles_and_strips_stay_when_a_longer_recording_comes() {
    let (journal, _) = open(&SimDisk::default());
    let seen = ProfileSeen {
        side: ProfileSide::Bad,
        version: "v2".parse().unwrap(),
        kind: "cpu".to_owned(),
        from: at(1),
        to: at(9),
        windows: 3,
        samples: 5_000,
    };
    let kept = |pprof: &str| vec![ProfileKept { seen: seen.clone(), endpoint: String::new(), pprof: pprof.to_owned() }];
    let id = IncidentId(3);
    let strip = |waits| {
        // Each part may be there without the other one.
        let waits = Some(KernelWaits { waits, wait_us_p99: 7 });
        let counted = Some(KernelCounted { waits, connections: None });
        let seconds = vec![KernelSecond { at: at(2), length_ms: 1000, counted, ..KernelSecond::default() }];
        vec![KernelStrip { version: "v2".parse().unwrap(), seconds }]
    };
    journal.put_beside(id, kept("early"), strip(1)).unwrap();
    assert_eq!(journal.black_box(id).unwrap().unwrap().profiles, kept("early"), "also without a recording");
    journal.put_black_box(id, &recording(0, 50)).unwrap();
    journal.put_beside(id, kept("late"), strip(2)).unwrap();
    for to in [40, 90] {
        journal.put_black_box(id, &recording(0, to)).unwrap();
        let expected = BlackBox { profiles: kept("late"), kernel: strip(2), ..recording(0, to.max(50)) };
        assert_eq!(journal.black_box(id).unwrap(), Some(expected));
    }
}

#[test]
fn a_damaged_recording_is_named_and_replaced() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    journal.put_black_box(IncidentId(1), &recording(0, 9)).unwrap();
    disk.edit(&PathBuf::from("/data/black-boxes/INC-1.json.lz4"), |bytes| bytes.truncate(9)).unwrap();
    let error = journal.black_box(IncidentId(1)).unwrap_err();
    assert!(matches!(&error, JournalError::BlackBox { .. }), "{error}");
    journal.put_black_box(IncidentId(1), &recording(0, 5)).unwrap();
    assert_eq!(journal.black_box(IncidentId(1)).unwrap(), Some(recording(0, 5)));
    // As older versions could write them.
    disk.edit(&PathBuf::from("/data/black-boxes/INC-1.json.lz4"), |bytes| bytes.resize((64 << 20) + 1, 0)).unwrap();
    let error = journal.black_box(IncidentId(1)).unwrap_err();
    assert!(matches!(&error, JournalError::BlackBox { .. }), "{error}");
    journal.put_beside(IncidentId(1), Vec::new(), Vec::new()).unwrap();
    assert_eq!(journal.black_box(IncidentId(1)).unwrap(), Some(BlackBox::default()));
}

#[test]
fn a_recording_that_the_disk_does_not_read_stays() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    let id = IncidentId(1);
    journal.put_black_box(id, &recording(0, 9)).unwrap();
    disk.set(|faults| faults.failing_reads = true);
    for refused in [journal.put_beside(id, Vec::new(), Vec::new()), journal.put_black_box(id, &recording(0, 5))] {
        assert!(matches!(&refused, Err(JournalError::Io { what: "read", .. })), "{refused:?}");
    }
    disk.set(|faults| faults.failing_reads = false);
    assert_eq!(journal.black_box(id).unwrap(), Some(recording(0, 9)));
}

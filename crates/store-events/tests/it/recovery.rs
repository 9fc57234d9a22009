//! What a restart gets back: the right snapshot, and everything after it, in order.

use homeostat_store_events::JournalFiles;
use homeostat_store_wal::repair::repair;

use super::*;

#[test]
fn ticks_and_steps_come_back_in_the_order_of_the_calls() {
    let disk = SimDisk::default();
    let (journal, recovery) = open(&disk);
    assert!(recovery.snapshot.is_none() && recovery.last.is_none());
    journal.append_tick(at(10), &[delta(0, 5), delta(1, 1)]);
    journal.append_tick(at(20), &[]);
    step(&journal, at(25), r#"{"event":"restarted"}"#, "[]");
    journal.append_tick(at(30), &[delta(1, 2)]);
    let commands = r#"[{"command":"refuse","reason":"no"}]"#;
    settle(&journal.append_tick_step(at(40), &[delta(0, 9)], commands.as_bytes(), Flush::Now).unwrap());
    // Not in the order that the compact form wants: kept in the long form, nothing is lost.
    journal.append_tick(at(50), &[delta(1, 1), delta(0, 1)]);
    close(journal);

    let (_journal, recovery) = open(&disk);
    assert_eq!(recovery.last, Some(at(50)));
    let told = tell(recovery.entries);
    assert_eq!(
        told[..5],
        [
            "10 tick 0:5,1:1 []",
            "20 tick  []",
            r#"25 step {"event":"restarted"} [] InTime"#,
            "30 tick 1:2 []",
            r#"40 tick 0:9 [{"command":"refuse","reason":"no"}]"#,
        ]
    );
    assert!(told[5].starts_with(r#"50 step {"deltas":[{"cell":1,"#), "{}", told[5]);
}

#[test]
fn ticks_gather_for_a_second_and_no_longer() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    for n in 0..=99 {
        journal.append_tick(at(n * 10), &[delta(0, 1)]);
    }
    assert_eq!(journal.health().wal.queue_records + journal.entries(1).count(), 0, "still gathering");
    journal.tend(at(1_000));
    close(journal);
    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.entries.count(), 100);
    assert_eq!(journal.health().wal.durable_next, 2, "a hundred ticks share one record");
}

/// Appends snapshots at these seconds, ends with an entry at `last`, and tells which one recovery begins with.
fn base(snapshots: &[i64], last: i64) -> Option<i64> {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    for s in snapshots {
        settle(&journal.append_snapshot(secs(*s), format!("{{\"taken\":{s}}}").as_bytes()).unwrap());
        step(&journal, secs(*s), "{}", "[]");
    }
    step(&journal, secs(last), "{}", "[]");
    close(journal);
    let (_journal, recovery) = open(&disk);
    let after = snapshots.iter().filter(|s| recovery.snapshot.as_ref().is_none_or(|r| r.now < secs(**s))).count();
    assert_eq!(tell(recovery.entries).iter().filter(|line| line.contains("snapshot")).count(), after);
    recovery.snapshot.map(|snapshot| {
        let taken = snapshot.now.since(secs(0)).ms() as i64 / 1_000;
        assert_eq!(snapshot.json, format!("{{\"taken\":{taken}}}").as_bytes());
        taken
    })
}

#[test]
fn recovery_begins_a_minute_back_or_with_the_oldest() {
    assert_eq!(base(&[], 10), None);
    assert_eq!(base(&[5], 10), Some(5), "too young, but the only one");
    assert_eq!(base(&[5, 8], 10), Some(5), "both too young: the oldest");
    assert_eq!(base(&[5, 100, 1_000], 1_030), Some(100));
    assert_eq!(base(&[5, 100, 1_000], 1_060), Some(1_000), "exactly a minute is enough");
}

#[test]
fn a_snapshot_is_wanted_at_the_start_after_half_an_hour_and_after_8_mib() {
    let (journal, _) = open(&SimDisk::default());
    assert!(journal.wants_snapshot(secs(0)));
    settle(&journal.append_snapshot(secs(0), b"{}").unwrap());
    assert!(!journal.wants_snapshot(secs(1_799)));
    assert!(journal.wants_snapshot(secs(1_800)));
    let event = format!("{{\"padding\":\"{}\"}}", "x".repeat(1 << 20));
    for n in 0..8 {
        assert!(!journal.wants_snapshot(secs(1)), "after {n} MiB");
        settle(&step(&journal, secs(1), &event, "[]"));
    }
    assert!(journal.wants_snapshot(secs(1)));
}

#[test]
fn a_killed_process_leaves_everything_that_was_durable() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    settle(&journal.append_snapshot(at(0), b"{}").unwrap());
    journal.append_tick(at(10), &[delta(0, 1)]);
    settle(&step(&journal, at(20), "{\"n\":1}", "[]"));
    journal.append_tick(at(30), &[delta(0, 1)]);
    disk.kill();
    drop(journal);
    let (_journal, recovery) = open(&disk);
    assert_eq!(tell(recovery.entries), ["10 tick 0:1 []", "20 step {\"n\":1} [] InTime"]);
}

#[test]
fn tools_read_a_journal_that_nobody_has_open() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    settle(&journal.append_snapshot(at(0), b"{\"state\":1}").unwrap());
    settle(&step(&journal, at(5), "{}", "[]"));
    let files = JournalFiles::open(&PathBuf::from("/data"), Arc::new(disk.clone())).unwrap();
    assert_eq!(tell(files.entries(files.first_seq())), ["0 snapshot {\"state\":1}", "5 step {} [] InTime"]);
    close(journal);
}

/// Flips a bit in the frame that holds `text` and repairs that segment.
fn damage_and_repair(disk: &SimDisk, segment: u32, text: &str) {
    let dir = PathBuf::from("/data/journal");
    disk.edit(&dir.join(format!("{segment:08}.wal")), |bytes| {
        let found = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
        bytes[found] ^= 1;
    })
    .unwrap();
    repair(disk, &dir, segment).unwrap();
}

#[test]
fn records_that_a_repair_cut_out_are_a_gap_until_the_next_snapshot() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    settle(&journal.append_snapshot(secs(0), b"{\"n\":0}").unwrap());
    for n in 1..=4 {
        settle(&step(&journal, secs(n), &format!("{{\"n\":{n}}}"), "[]"));
    }
    settle(&journal.append_snapshot(secs(100), b"{\"n\":100}").unwrap());
    settle(&step(&journal, secs(101), "{\"n\":101}", "[]"));
    close(journal);
    damage_and_repair(&disk, 1, "{\"n\":3}");

    let files = JournalFiles::open(&PathBuf::from("/data"), Arc::new(disk.clone())).unwrap();
    assert_eq!(
        tell(files.entries(files.first_seq())),
        [
            "0 snapshot {\"n\":0}",
            "1000 step {\"n\":1} [] InTime",
            "2000 step {\"n\":2} [] InTime",
            "100000 missing 2 from 4",
            "100000 snapshot {\"n\":100}",
            "101000 step {\"n\":101} [] InTime"
        ]
    );
    // The first snapshot would be old enough to begin with, but the way from it is not exact.
    let (_journal, recovery) = open(&disk);
    assert_eq!(recovery.snapshot.map(|snapshot| snapshot.now), Some(secs(100)));
    assert_eq!(tell(recovery.entries), ["101000 step {\"n\":101} [] InTime"]);
}

#[test]
fn records_that_a_repair_cut_off_the_end_are_missed_too() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    settle(&journal.append_snapshot(secs(0), b"{\"n\":0}").unwrap());
    for n in 1..=3 {
        settle(&step(&journal, secs(n), &format!("{{\"n\":{n}}}"), "[]"));
    }
    close(journal);
    damage_and_repair(&disk, 1, "{\"n\":2}");

    let (journal, recovery) = open(&disk);
    let told = tell(recovery.entries);
    // How many there were cannot be counted any more: as many as could have stood in the bytes.
    assert_eq!(told[..1], ["1000 step {\"n\":1} [] InTime"]);
    assert!(told.len() == 2 && told[1].starts_with("1000 missing ") && told[1].ends_with(" from 3"), "{told:?}");
    // With the next snapshot everything is exact again.
    settle(&journal.append_snapshot(secs(10), b"{\"n\":10}").unwrap());
    close(journal);
    let (_journal, recovery) = open(&disk);
    assert_eq!(recovery.snapshot.map(|snapshot| snapshot.now), Some(secs(10)));
    assert_eq!(tell(recovery.entries).len(), 0);
}

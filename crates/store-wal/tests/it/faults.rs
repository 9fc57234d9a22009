//! Bad days: disk full, read-only, slow, failing, in every order that matters.

use std::time::Duration;

use homeostat_store_wal::{Disk, Flush, SimDisk, Ticket, WaitError};

use super::*;

/// Breaks the disk, shows that a record is refused with these words, repairs it, and shows that nothing is lost.
fn check(break_it: impl FnOnce(&SimDisk), repair_it: impl FnOnce(&SimDisk), words: &str) {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, every_record());
    append_numbered(&wal, 1..=3);
    break_it(&disk);
    let ticket = wal.append(b"record 4", Flush::Now).unwrap();
    let refused = ticket.wait(PATIENCE).unwrap_err();
    assert!(matches!(&refused, WaitError::Failing(said) if said.contains(words)), "{refused}");
    let trouble = wal.health().trouble.unwrap();
    assert!(trouble.attempts >= 1 && trouble.error.contains(words), "{trouble:?}");
    assert_eq!(wal.health().queue_records, 1);

    repair_it(&disk);
    settle_retried(&ticket);
    assert_eq!(wal.health().trouble, None);
    append_numbered(&wal, 5..=6);
    close(wal);
    assert_eq!(contents(&disk), numbered(1..=6));
}

/// A refused record is tried again; until then asking gives the refusal at once.
fn settle_retried(ticket: &Ticket) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while let Err(error) = ticket.wait(PATIENCE) {
        assert!(matches!(error, WaitError::Failing(_)) && std::time::Instant::now() < deadline, "{error}");
        std::thread::yield_now();
    }
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let full = |disk: &SimDisk| disk.set(|faults| faults.capacity_bytes = Some(80));
    check(full, |disk| disk.set(|faults| faults.capacity_bytes = None), "no storage space");
}

#[test]
fn a_read_only_disk_refuses_and_loses_nothing() {
    let read_only = |disk: &SimDisk| disk.set(|faults| faults.read_only = true);
    check(read_only, |disk| disk.set(|faults| faults.read_only = false), "read-only");
}

#[test]
fn a_failed_sync_is_never_believed_afterwards() {
    check(|disk| disk.set(|faults| faults.failing_syncs = 1), |_| {}, "the device reported an error");
}

/// The kernel calls lost pages clean after a failed sync. A log that would only sync again would acknowledge a record
/// that the next power loss takes.
#[test]
fn after_a_failed_sync_the_power_may_go_at_once() {
    for seed in 1..=12 {
        let disk = SimDisk::default();
        let (wal, _) = open(&disk, every_record());
        append_numbered(&wal, 1..=2);
        disk.set(|faults| faults.failing_syncs = 1);
        let ticket = wal.append(b"record 3", Flush::Now).unwrap();
        settle_retried(&ticket);
        disk.lose_power(seed);
        drop(wal);
        assert_eq!(contents(&disk), numbered(1..=3), "seed {seed}");
    }
}

#[test]
fn a_stuck_disk_makes_nobody_wait_longer_than_asked() {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, every_record());
    append_numbered(&wal, 1..=1);
    disk.set(|faults| faults.stuck = true);
    let ticket = wal.append(b"record 2", Flush::Now).unwrap();
    assert_eq!(ticket.wait(Duration::from_millis(20)), Err(WaitError::NotYet));
    assert!(wal.health().writing_for.is_some());
    disk.set(|faults| faults.stuck = false);
    settle(&ticket);
    close(wal);
    assert_eq!(contents(&disk), numbered(1..=2));
}

#[test]
fn closing_gives_up_on_a_disk_that_refuses_and_counts_what_is_lost() {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, on_demand());
    disk.set(|faults| faults.read_only = true);
    let ticket = wal.append(b"record 1", Flush::Grouped).unwrap();
    assert_eq!(wal.close(PATIENCE), Err(1));
    assert_eq!(ticket.wait(PATIENCE), Err(WaitError::Closed));
}

#[test]
fn retries_on_a_full_disk_leave_no_clutter() {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, every_record());
    append_numbered(&wal, 1..=1);
    disk.set(|faults| faults.capacity_bytes = Some(120));
    let ticket = wal.append(&[b'x'; 500], Flush::Now).unwrap();
    while wal.health().trouble.is_none_or(|trouble| trouble.attempts < 3) {
        // Each urgent record causes an attempt, so nothing here depends on the clock.
        wal.append(b"y", Flush::Now).unwrap().wait(Duration::from_millis(1)).ok();
    }
    let segments = disk.list(dir()).unwrap().len();
    assert!(segments <= 2, "{segments} files");
    disk.set(|faults| faults.capacity_bytes = None);
    settle_retried(&ticket);
}

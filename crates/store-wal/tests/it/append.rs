//! Appending, reading, forgetting, closing.

use std::{sync::Arc, time::Duration};

use homeostat_store_wal::{Commit, Disk, Flush, Full, OpenError, RealDisk, SimDisk, Wal, WalOptions, segment::End};
use homeostat_wire::wal_record::PAYLOAD_BYTES_MAX;

use super::*;

#[test]
fn what_was_acknowledged_is_there_after_reopening() {
    let disk = SimDisk::default();
    for run in 0..3 {
        let (wal, recovered) = open(&disk, every_record());
        assert_eq!(recovered.next_seq, run * 5 + 1);
        append_numbered(&wal, run * 5 + 1..=run * 5 + 5);
        close(wal);
    }
    assert_eq!(contents(&disk), numbered(1..=15));
}

#[test]
fn a_group_shares_one_sync_and_an_urgent_record_ends_the_wait() {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, on_demand());
    let waiting: Vec<_> =
        (1..=99).map(|n| wal.append(format!("record {n}").as_bytes(), Flush::Grouped).unwrap()).collect();
    assert_eq!(disk.syncs(), 0, "nothing is written before somebody wants it");
    settle(&wal.append(b"record 100", Flush::Now).unwrap());
    for ticket in &waiting {
        assert!(ticket.wait(Duration::ZERO).is_ok(), "what came before is durable too");
    }
    assert_eq!(disk.syncs(), 2, "one for the segment's header, one for the group");
}

#[test]
fn enough_bytes_end_the_wait() {
    let disk = SimDisk::default();
    let commit = Commit::Group { interval: Duration::from_hours(1), bytes: 1_000 };
    let (wal, _) = open(&disk, WalOptions { commit, ..WalOptions::default() });
    let first = wal.append(&[7; 600], Flush::Grouped).unwrap();
    wal.append(&[7; 600], Flush::Grouped).unwrap();
    settle(&first);
}

#[test]
fn every_record_by_itself_when_asked() {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, every_record());
    disk.set(|faults| faults.stuck = true);
    let tickets: Vec<_> = (0..10).map(|_| wal.append(b"x", Flush::Grouped).unwrap()).collect();
    disk.set(|faults| faults.stuck = false);
    for ticket in &tickets {
        settle(ticket);
    }
    assert_eq!(disk.syncs(), 11);
}

#[test]
fn segments_are_ended_by_size_and_by_wish_and_forgotten_from_the_front() {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, WalOptions { segment_bytes: 200, ..every_record() });
    append_numbered(&wal, 1..=20);
    let starts = wal.segment_starts();
    assert!(starts.len() > 1 && starts.is_sorted(), "{starts:?}");
    settle(&wal.append_in_new_segment(b"record 21", Flush::Now).unwrap());
    assert_eq!(wal.segment_starts().last(), Some(&21));

    let middle = starts[1];
    assert!(wal.truncate_before(middle - 1).unwrap() == 0, "a segment goes only as a whole");
    assert!(wal.truncate_before(middle).unwrap() > 0);
    assert_eq!(wal.segment_starts().first(), Some(&middle));
    assert!(wal.truncate_before(u64::MAX).unwrap() > 0);
    assert_eq!(wal.segment_starts(), vec![21], "the newest always stays");
    close(wal);
    assert_eq!(contents(&disk), numbered(21..=21));
}

#[test]
fn a_reader_sees_what_is_durable_from_where_it_is_told() {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, WalOptions { segment_bytes: 200, ..on_demand() });
    append_numbered(&wal, 1..=20);
    let unwritten = wal.append(b"record 21", Flush::Grouped).unwrap();
    let read: Vec<u64> = wal.read(7).map(|record| record.unwrap().seq).collect();
    assert_eq!(read, (7..=20).collect::<Vec<_>>());
    close(wal);
    assert!(unwritten.wait(Duration::ZERO).is_ok(), "closing writes what is queued");
}

#[test]
fn a_full_queue_refuses_and_says_so() {
    let disk = SimDisk::default();
    let (wal, _) = open(&disk, WalOptions { queue_records_max: 3, queue_bytes_max: 10, ..every_record() });
    disk.set(|faults| faults.stuck = true);
    let tickets: Vec<_> = (0..3).map(|_| wal.append(b"abc", Flush::Now).unwrap()).collect();
    let refused = wal.append(b"abc", Flush::Now).unwrap_err();
    assert_eq!(refused.to_string(), "3 records (9 bytes) wait for the disk already");
    assert_eq!(wal.health().refused, 1);
    disk.set(|faults| faults.stuck = false);
    for ticket in &tickets {
        settle(ticket);
    }
    settle(&wal.append(&[1; 100], Flush::Now).unwrap());
}

#[test]
fn impossible_records_are_refused() {
    let (wal, _) = open(&SimDisk::default(), every_record());
    assert!(matches!(wal.append(b"", Flush::Now), Err(Full::Length(_))));
    assert!(matches!(wal.append(&vec![0; PAYLOAD_BYTES_MAX + 1], Flush::Now), Err(Full::Length(_))));
}

#[test]
fn two_processes_cannot_share_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Wal::open(folder.path(), every_record(), Arc::new(RealDisk));
    let (wal, _) = open().unwrap();
    let refused = open().unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    assert!(refused.to_string().contains("is in use by another process; stop it first"));
    close(wal);
    open().unwrap();
}

#[test]
fn the_real_disk_works_too() {
    let folder = tempfile::tempdir().unwrap();
    let open =
        || Wal::open(folder.path(), WalOptions { segment_bytes: 150, ..every_record() }, Arc::new(RealDisk)).unwrap();
    let (wal, _) = open();
    append_numbered(&wal, 1..=12);
    close(wal);
    let (wal, recovered) = open();
    let read: Vec<_> = wal.read(1).map(|r| r.map(|r| (r.seq, text(&r.payload))).unwrap()).collect();
    assert_eq!(read, numbered(1..=12));
    assert_eq!(recovered.survey.segments.last().unwrap().walk.end, End::Sealed);
    assert!(wal.truncate_before(12).unwrap() > 0);
    assert!(RealDisk.list(folder.path()).unwrap().iter().all(|name| !name.contains(".new")));
}

//! Forgetting: ticks first, decisions later, never what a restart needs; and a crash at any point costs nothing.

use homeostat_model::{Span, incident::BlackBox};
use homeostat_store_events::Disk;

use super::*;
use crate::slow_disk::OnRemove;

/// Half an hour of life per segment: a snapshot, some ticks, a step that records an incident.
fn live(journal: &Journal, segments: std::ops::Range<i64>) {
    for n in segments {
        let now = secs(n * 1_800);
        settle(&journal.append_snapshot(now, format!("{{\"n\":{n}}}").as_bytes()).unwrap());
        for tick in 1..=50 {
            journal.append_tick(now + Span::from_ms(tick * 10), &[delta(0, tick), delta(1, 1)]);
        }
        let now = now + Span::from_secs(2);
        let shown = incident(n as u64 + 1, Some(now));
        settle(&step(journal, now, &operation("pause", "ana"), &record(&shown)));
        journal.put_incident(&shown);
        journal.put_black_box(shown.id, &BlackBox { to: now, ..BlackBox::default() }).unwrap();
    }
}

fn hours(hours: u64) -> StoreSpec {
    StoreSpec { ticks_kept: Span::from_hours(hours), ..spec() }
}

#[test]
fn old_ticks_go_and_what_people_need_stays() {
    let disk = SimDisk::default();
    let (journal, _) = open_with(&disk, hours(2));
    live(&journal, 0..10);
    let before = (journal.incidents(None, 100), journal.audit(100).len());
    let done = journal.retain(secs(10 * 1_800)).unwrap();
    assert!(done.steps_archived == 6 && done.bytes_freed > 0 && done.incidents_dropped.is_empty(), "{done:?}");
    assert_eq!(journal.retain(secs(10 * 1_800)).unwrap().steps_archived, 0, "nothing is copied twice");
    close(journal);

    let (journal, recovery) = open_with(&disk, hours(2));
    assert_eq!((journal.incidents(None, 100), journal.audit(100).len()), before);
    assert_eq!(recovery.snapshot.unwrap().json, b"{\"n\":8}");
    let kept = tell(journal.entries(1));
    assert!(kept[0].ends_with("snapshot {\"n\":6}"), "{}", kept[0]);
}

#[test]
fn a_full_allowance_takes_ticks_first_and_keeps_the_base_of_recovery() {
    let disk = SimDisk::default();
    let (journal, _) = open_with(&disk, StoreSpec { bytes_max: 6_000, ..hours(24) });
    live(&journal, 0..6);
    let done = journal.retain(secs(6 * 1_800)).unwrap();
    assert!(done.steps_archived >= 2, "{done:?}");
    let kept = tell(journal.entries(1));
    assert!(kept.iter().any(|line| line.ends_with("snapshot {\"n\":4}")), "recovery begins there");
    let (journal, _) = {
        close(journal);
        open_with(&disk, StoreSpec { bytes_max: 1, ..hours(24) })
    };
    let done = journal.retain(secs(6 * 1_800)).unwrap();
    assert_eq!(done.incidents_dropped.len(), 6, "then closed incidents go");
    assert!(done.bytes > 1, "and what recovery needs stays, whatever the limit");
    close(journal);
    assert_eq!(open(&disk).1.snapshot.unwrap().json, b"{\"n\":4}");
}

#[test]
fn old_incidents_go_with_their_recordings_and_open_ones_stay() {
    let disk = SimDisk::default();
    let keep = StoreSpec { incidents_kept: Span::from_hours(2), ..hours(1) };
    let (journal, _) = open_with(&disk, keep);
    let open_one = incident(99, None);
    settle(&step(&journal, secs(0), "{}", &record(&open_one)));
    journal.put_incident(&open_one);
    live(&journal, 0..10);
    let done = journal.retain(secs(10 * 1_800)).unwrap();
    assert_eq!(done.incidents_dropped.len(), 6);
    assert!(!journal.has_black_box(IncidentId(1)) && journal.has_black_box(IncidentId(10)));
    assert_eq!(journal.incident(IncidentId(99)), Some(open_one.clone()), "it is not over");
    close(journal);
    let (journal, _) = open(&disk);
    assert_eq!(journal.incident(IncidentId(99)), Some(open_one), "its record is kept");
}

#[test]
fn records_can_be_read_while_the_disk_removes_old_recordings() {
    let (disk, keep) = (SimDisk::default(), StoreSpec { incidents_kept: Span::from_hours(2), ..hours(1) });
    let hook = Arc::new(OnRemove::new(disk));
    let (journal, _) = Journal::open(keep, Arc::clone(&hook) as Arc<dyn Disk>).unwrap();
    let journal = Arc::new(journal);
    live(&journal, 0..10);
    let reader = Arc::clone(&journal);
    let (asked, was_read) = std::sync::mpsc::channel();
    hook.set(Box::new(move |path| {
        if path.extension().is_some_and(|e| e == "wal") {
            return;
        }
        let (reader, (said, heard)) = (Arc::clone(&reader), std::sync::mpsc::channel());
        std::thread::spawn(move || said.send(reader.incidents(None, 100).len()).ok());
        asked.send(heard.recv_timeout(Duration::from_secs(10)).is_ok()).ok();
    }));
    let done = journal.retain(secs(10 * 1_800)).unwrap();
    hook.set(Box::new(|_| {}));
    let was_read: Vec<bool> = was_read.try_iter().collect();
    assert_eq!(was_read, vec![true; done.incidents_dropped.len()]);
    assert_eq!(was_read.len(), 6);
}

#[test]
fn the_power_may_go_at_any_moment_of_a_round() {
    for seed in 1..40 {
        let disk = SimDisk::default();
        let (journal, _) = open_with(&disk, hours(2));
        live(&journal, 0..8);
        let before = (journal.incidents(None, 100), journal.audit(100).len());
        // The disk takes a while and then nothing any more: the round ends somewhere in between.
        let used = journal.health().wal.bytes as usize;
        disk.set(|faults| faults.capacity_bytes = Some(used + (seed as usize * 137) % 5_000));
        journal.retain(secs(8 * 1_800)).ok();
        disk.lose_power(seed);
        drop(journal);
        let (journal, recovery) = open_with(&disk, hours(2));
        assert!(recovery.snapshot.is_some());
        assert_eq!((journal.incidents(None, 100), journal.audit(100).len()), before, "seed {seed}");
        journal.retain(secs(8 * 1_800)).unwrap();
        assert_eq!(journal.incidents(None, 100), before.0, "seed {seed}");
    }
}

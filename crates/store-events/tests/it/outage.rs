//! Bad days of the disk: full, stuck, away for so long that memory runs out.

use homeostat_store_events::WaitError;

use super::*;

/// Steps large enough that the log's queue (64 MiB) is full after a few dozen.
fn large(n: usize) -> String {
    format!("{{\"n\":{n},\"padding\":\"{}\"}}", "x".repeat(1 << 20))
}

#[test]
fn a_stuck_disk_lets_a_protective_step_go_ahead_after_20_ms() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    settle(&step(&journal, at(0), "{}", "[]"));
    disk.set(|faults| faults.stuck = true);
    let ticket = step(&journal, at(1), "{\"n\":1}", "[]");
    assert_eq!(ticket.wait(Duration::from_millis(20)), Err(WaitError::NotYet));
    journal.append_tick(at(2), &[delta(0, 1)]);
    disk.set(|faults| faults.stuck = false);
    settle(&ticket);
    close(journal);
    let told = tell(open(&disk).1.entries);
    assert_eq!(told, ["0 step {} [] InTime", "1 step {\"n\":1} [] InTime", "2 tick 0:1 []"], "logged when it returns");
}

#[test]
fn a_full_disk_is_reported_and_nothing_is_lost_when_space_returns() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    settle(&journal.append_snapshot(at(0), b"{}").unwrap());
    disk.set(|faults| faults.capacity_bytes = Some(0));
    let ticket = step(&journal, at(1), "{\"n\":1}", "[]");
    assert!(matches!(ticket.wait(PATIENCE), Err(WaitError::Failing(_))));
    assert!(journal.health().wal.trouble.is_some() && !journal.wants_snapshot(secs(86_400)));
    for n in 0..500 {
        journal.append_tick(at(10 + n * 10), &[delta(0, 1)]);
    }
    disk.set(|faults| faults.capacity_bytes = None);
    close(journal);
    assert_eq!(tell(open(&disk).1.entries).len(), 501);
}

#[test]
fn a_disk_that_stays_away_costs_exactness_but_no_counts_and_no_decisions() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    settle(&journal.append_snapshot(at(0), b"{\"base\":1}").unwrap());
    disk.set(|faults| faults.stuck = true);
    let mut now = 0;
    let tickets: Vec<StepTicket> = (0..70)
        .map(|n| {
            now += 10;
            journal.append_tick(at(now), &[delta(0, 1)]);
            journal.append_tick(at(now + 1), &[delta(0, 1)]);
            step(&journal, at(now + 2), &large(n), "[]")
        })
        .collect();
    let late = tickets.iter().filter(|ticket| ticket.is_late()).count();
    assert!(late >= 5 && journal.health().late > late, "{late} late steps, merged ticks between them");
    assert_eq!(tickets.last().unwrap().wait(Duration::ZERO), Err(WaitError::NotYet));

    disk.set(|faults| faults.stuck = false);
    settle(&tickets[0]);
    while journal.health().late > 0 {
        journal.tend(at(now + 5));
        std::thread::yield_now();
    }
    tickets.iter().for_each(settle);
    assert!(journal.wants_snapshot(at(now + 6)), "exact replay starts again from a snapshot");
    settle(&journal.append_snapshot(at(now + 6), b"{\"base\":2}").unwrap());
    close(journal);

    let (journal, recovery) = open(&disk);
    assert_eq!(recovery.snapshot.unwrap().json, b"{\"base\":2}", "recovery begins behind the gap");
    let told = tell(journal.entries(1));
    let requests: u64 = told.iter().filter(|line| line.contains(" tick 0:")).map(|line| counted(line)).sum();
    assert_eq!(requests, 140, "no request is lost from the counts");
    assert_eq!(told.iter().filter(|line| line.contains(" step ")).count(), 70, "no decision is lost");
    assert_eq!(told.iter().filter(|line| line.ends_with("Late")).count(), late, "late ones say so");
    let gaps: Vec<_> = told.iter().filter(|line| line.contains(" gap ")).collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
}

fn counted(line: &str) -> u64 {
    let counts = line.split(" tick 0:").nth(1).unwrap();
    counts.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn when_even_memory_is_full_the_caller_is_told_and_the_journal_says_how_much_is_missing() {
    let disk = SimDisk::default();
    let (journal, _) = open(&disk);
    disk.set(|faults| faults.stuck = true);
    let results: Vec<_> = (0..80)
        .map(|n| {
            journal.append_step(at(n), large(n as usize).as_bytes(), b"[]", Flush::Now).map_err(|lost| lost.to_string())
        })
        .collect();
    let lost: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    assert!(!lost.is_empty() && lost[0].starts_with("the step is not recorded: the disk has been out for too long"));
    assert_eq!(journal.health().lost, lost.len() as u64);
    disk.set(|faults| faults.stuck = false);
    results.iter().flatten().next().map(settle).unwrap();
    while journal.health().late > 0 {
        journal.tend(at(100));
        std::thread::yield_now();
    }
    close(journal);
    let told = tell(open(&disk).1.entries);
    let gap = told.iter().find(|line| line.contains(" gap ")).unwrap();
    assert!(gap.ends_with(&format!("lost {}", lost.len())), "{gap}");
}

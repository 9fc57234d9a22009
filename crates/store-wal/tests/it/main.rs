//! Tests of the log as its callers see it, on a disk in memory that can be told to fail.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod append;
mod damage;
mod faults;
mod fixtures;
mod power;

use std::{path::Path, sync::Arc, time::Duration};

use homeostat_store_wal::{Commit, Disk, Recovered, SimDisk, Ticket, Wal, WalOptions};

/// Long enough for any machine; only a broken log ever waits this long.
const PATIENCE: Duration = Duration::from_mins(1);

fn dir() -> &'static Path {
    Path::new("/log")
}

/// Commits only when told to, so that tests decide what shares a commit.
fn on_demand() -> WalOptions {
    let commit = Commit::Group { interval: Duration::from_hours(1), bytes: usize::MAX };
    WalOptions { commit, ..WalOptions::default() }
}

fn every_record() -> WalOptions {
    WalOptions { commit: Commit::EveryRecord, ..WalOptions::default() }
}

fn open(disk: &SimDisk, options: WalOptions) -> (Wal, Recovered) {
    Wal::open(dir(), options, Arc::new(disk.mounted())).unwrap()
}

fn settle(ticket: &Ticket) -> u64 {
    ticket.wait(PATIENCE).unwrap().seq
}

fn close(wal: Wal) {
    assert_eq!(wal.close(PATIENCE), Ok(()));
}

/// All records in `disk`, as text.
fn contents(disk: &SimDisk) -> Vec<(u64, String)> {
    let (wal, recovered) = open(disk, on_demand());
    let records = wal.read(recovered.first_seq).map(|record| record.map(|r| (r.seq, text(&r.payload))));
    records.collect::<Result<_, _>>().unwrap()
}

fn text(payload: &[u8]) -> String {
    String::from_utf8(payload.to_vec()).unwrap()
}

fn numbered(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, String)> {
    range.map(|n| (n, format!("record {n}"))).collect()
}

/// Appends `record N` for each number and waits until all are durable.
fn append_numbered(wal: &Wal, range: std::ops::RangeInclusive<u64>) {
    let append = |n| wal.append(format!("record {n}").as_bytes(), homeostat_store_wal::Flush::Now).unwrap();
    let tickets: Vec<Ticket> = range.map(append).collect();
    for ticket in &tickets {
        settle(ticket);
    }
}

fn file(disk: &SimDisk, number: u32) -> Vec<u8> {
    disk.read(&dir().join(homeostat_store_wal::segment::file_name(number)), u64::MAX - 1).unwrap()
}

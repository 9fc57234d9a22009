//! Power loss at random points: whatever sectors and names survive, acknowledged records do.

use homeostat_store_wal::{Flush, SimDisk};
use proptest::prelude::*;

use super::*;

/// One life of a log: how many records, how many of them shared commits, what happens at the end.
#[derive(Clone, Debug)]
struct Life {
    acknowledged: u64,
    unacknowledged: u64,
    payload_bytes: usize,
    segment_bytes: u64,
    seed: u64,
}

fn arb_life() -> impl Strategy<Value = Life> {
    (0..12_u64, 0..6_u64, 1..2_000_usize, 100..4_000_u64, any::<u64>()).prop_map(
        |(acknowledged, unacknowledged, payload_bytes, segment_bytes, seed)| Life {
            acknowledged,
            unacknowledged,
            payload_bytes,
            segment_bytes,
            seed,
        },
    )
}

/// A payload that names its record and cannot be mistaken for another's.
fn payload(run: usize, index: u64, bytes: usize) -> Vec<u8> {
    let name = format!("run {run} record {index} ");
    name.bytes().cycle().take(bytes.max(name.len())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_survive_in_order_and_once(lives in proptest::collection::vec(arb_life(), 1..5)) {
        let disk = SimDisk::default();
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for (run, life) in lives.iter().enumerate() {
            let (wal, recovered) = open(&disk, WalOptions { segment_bytes: life.segment_bytes, ..on_demand() });
            let found: Vec<Vec<u8>> = wal.read(recovered.first_seq).map(|r| r.unwrap().payload).collect();
            // Records that were written but never acknowledged may be there, as a prefix.
            prop_assert!(found.starts_with(&expected), "an acknowledged record is gone");
            expected = found;
            for index in 0..life.acknowledged {
                let bytes = payload(run, index, life.payload_bytes);
                settle(&wal.append(&bytes, Flush::Now).unwrap());
                expected.push(bytes);
            }
            // Written without being synced: the sync fails when the power goes.
            disk.set(|faults| faults.stuck = life.seed % 2 == 0);
            for index in 0..life.unacknowledged {
                let flush = if index + 1 == life.unacknowledged { Flush::Now } else { Flush::Grouped };
                wal.append(&payload(run, 1_000 + index, life.payload_bytes), flush).unwrap();
            }
            disk.lose_power(life.seed);
            drop(wal);
        }
        let (wal, recovered) = open(&disk, on_demand());
        let found: Vec<Vec<u8>> = wal.read(recovered.first_seq).map(|r| r.unwrap().payload).collect();
        prop_assert!(found.starts_with(&expected));
        prop_assert_eq!(recovered.next_seq, found.len() as u64 + 1);
    }
}

/// What a killed process had written without syncing it counts once the log is open again, and more is built on it.
#[test]
fn what_was_read_at_opening_survives_the_next_power_loss() {
    for seed in 1..=12 {
        let disk = SimDisk::default();
        let (wal, _) = open(&disk, every_record());
        append_numbered(&wal, 1..=2);
        // Written, then killed in place of the sync.
        disk.set(|faults| faults.kill_after = Some(1));
        wal.append(b"record 3", Flush::Now).unwrap().wait(PATIENCE).unwrap_err();
        let (again, recovered) = open(&disk, every_record());
        assert_eq!(recovered.next_seq, 4);
        append_numbered(&again, 4..=4);
        disk.lose_power(seed);
        drop((wal, again));
        assert_eq!(contents(&disk), numbered(1..=4), "seed {seed}");
    }
}

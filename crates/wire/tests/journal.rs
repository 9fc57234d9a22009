//! The journal's codec: everything comes back, nothing else is accepted, and its size is what the docs say.

use expect_test::expect;
use homeostat_model::{CellId, OutcomeCounts, OutcomeDelta, Timestamp};
use homeostat_wire::journal::{DecodeError, Entry, Recorded, Tick, TicksWriter, decode, mark_late, peek_now};
use proptest::prelude::*;

fn delta(cell: u16, ok: u64, server_error: u64, slow: u64) -> OutcomeDelta {
    let counts = OutcomeCounts { by_class: [ok, 0, server_error, 0, 0, 0], slow: [slow, 0, 0, 0] };
    OutcomeDelta { cell: CellId(cell), counts }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

/// The bytes of the example in docs/format/journal.md.
#[test]
fn the_documented_bytes() {
    let mut writer = TicksWriter::default();
    writer.push(Timestamp::from_unix_ns(1), &[delta(0, 19, 0, 0), delta(1, 1, 0, 0)]).unwrap();
    writer.push(Timestamp::from_unix_ns(10_004_001), &[delta(0, 18, 1, 2)]).unwrap();
    let bytes = writer.finish().unwrap();
    expect!["01 01 00 00 00 00 00 00 00 02 02 00 01 13 00 01 01 10 01 00 45 12 01 02"].assert_eq(&hex(&bytes));
}

#[test]
fn hostile_records_are_refused_with_the_reason() {
    let time = [0_u8; 8];
    let check = |body: &[&[u8]], expected: &str| {
        let record = body.concat();
        assert_eq!(decode(&record).expect_err("it was accepted").to_string(), expected);
    };
    check(&[], "the entry is cut short or holds an overlong number");
    check(&[&[9]], "unknown kind of entry 9; a newer program has written it");
    check(&[&[1], &time, &[0]], "the entry holds a value that is never written: no ticks");
    check(&[&[1], &time, &[0xff, 0xff, 3]], "the entry has 65535 ticks, the limit is 1000");
    check(&[&[1], &time, &[1, 0xff, 0xff, 3]], "the entry has 65535 cells, the limit is 4096");
    check(&[&[1], &time, &[1, 1, 0, 1, 0]], "the entry holds a value that is never written: a counter of zero");
    check(&[&[1], &time, &[1, 0, 7]], "the entry holds a value that is never written: bytes after the end");
    check(
        &[&[1], &time, &[1, 1, 0xff, 0x7f]],
        "the entry holds a value that is never written: a cell beyond the limit",
    );
    check(&[&[2], &time, &[2, 0]], "the entry holds a value that is never written: unknown flags");
    check(&[&[2], &time, &[0, 5, b'{']], "the entry is cut short or holds an overlong number");
}

#[test]
fn cells_out_of_order_are_refused_and_leave_nothing_behind() {
    let mut writer = TicksWriter::default();
    writer.push(Timestamp::from_unix_ns(5), &[delta(3, 1, 0, 0)]).unwrap();
    for bad in [[delta(2, 1, 0, 0), delta(2, 1, 0, 0)], [delta(1, 1, 0, 0), delta(4096, 1, 0, 0)]] {
        assert!(writer.push(Timestamp::from_unix_ns(6), &bad).is_err());
    }
    let bytes = writer.finish().unwrap();
    let only = Tick { now: Timestamp::from_unix_ns(5), deltas: vec![delta(3, 1, 0, 0)] };
    assert_eq!(decode(&bytes), Ok(Entry::Ticks(vec![only])));
}

#[test]
fn a_step_can_be_marked_late_in_place() {
    let step =
        Entry::Step { now: Timestamp::from_unix_ns(7), recorded: Recorded::InTime, event: b"{}", commands: b"[]" };
    let mut bytes = step.encode().unwrap();
    mark_late(&mut bytes);
    assert!(matches!(decode(&bytes), Ok(Entry::Step { recorded: Recorded::Late, event: b"{}", commands: b"[]", .. })));
}

/// Bytes per service and hour of the traffic in docs/format/journal.md: one route, two versions, 2,000 requests/s,
/// 5 % canary, both cells change in nearly every tick, one latency threshold with 1 % slow requests, and tick times
/// with the jitter of a timer (whole microseconds).
#[test]
fn bytes_per_service_and_hour() {
    let mut writer = TicksWriter::default();
    let (mut bytes, mut now_us, mut state) = (0, 0_i64, 1_u32);
    let mut chance = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let ticks = 6_000_usize; // One minute; an hour is sixty of them.
    for index in 1..=ticks {
        now_us += 9_950 + i64::from(chance(100));
        let slow = u64::from(chance(5) == 0);
        let canary = u64::from(chance(3));
        let mut deltas = vec![delta(0, 17 + u64::from(chance(5)), 0, slow)];
        if canary > 0 {
            deltas.push(delta(1, canary, 0, 0));
        }
        writer.push(Timestamp::from_unix_ns(now_us * 1_000), &deltas).unwrap();
        if index % 100 == 0 {
            bytes += writer.finish().unwrap().len() + homeostat_wire::wal_record::FRAME_HEADER_BYTES;
        }
    }
    let (per_tick, per_hour) = (bytes as f64 / ticks as f64, bytes * 60);
    println!("{per_tick:.1} bytes a tick, {:.1} MB per service and hour", per_hour as f64 / 1e6);
    expect!["7.7 bytes a tick, 2779800 bytes an hour"]
        .assert_eq(&format!("{per_tick:.1} bytes a tick, {per_hour} bytes an hour"));
}

fn arb_counts() -> impl Strategy<Value = OutcomeCounts> {
    let counter = prop_oneof![3 => Just(0_u64), 3 => 0..300_u64, 1 => any::<u64>()];
    (proptest::array::uniform6(counter.clone()), proptest::array::uniform4(counter))
        .prop_map(|(by_class, slow)| OutcomeCounts { by_class, slow })
}

fn arb_tick() -> impl Strategy<Value = Tick> {
    let now =
        prop_oneof![any::<i64>(), (0..100_i64).prop_map(|t| t * 10_000_000), (0..100_i64).prop_map(|t| t * 1_000)];
    (now, proptest::collection::btree_map(0..4_096_u16, arb_counts(), 0..6)).prop_map(|(now, cells)| Tick {
        now: Timestamp::from_unix_ns(now),
        deltas: cells.into_iter().map(|(cell, counts)| OutcomeDelta { cell: CellId(cell), counts }).collect(),
    })
}

proptest! {
    #[test]
    fn ticks_come_back(ticks in proptest::collection::vec(arb_tick(), 1..40)) {
        let entry = Entry::Ticks(ticks);
        let bytes = entry.encode().unwrap();
        prop_assert_eq!(peek_now(&bytes), Ok(entry.now()));
        prop_assert_eq!(decode(&bytes), Ok(entry));
    }

    #[test]
    fn steps_come_back(tick in arb_tick(), late: bool, event: Vec<u8>, commands: Vec<u8>, from: i64, merged: u64) {
        let recorded = if late { Recorded::Late } else { Recorded::InTime };
        let now = tick.now;
        let from = Timestamp::from_unix_ns(from);
        for entry in [
            Entry::Step { now, recorded, event: &event, commands: &commands },
            Entry::TickStep { tick, recorded, commands: &commands },
            Entry::Snapshot { now, state: &event },
            Entry::Gap { now, from, ticks_merged: merged, steps_lost: 3 },
        ] {
            let bytes = entry.encode().unwrap();
            prop_assert_eq!(peek_now(&bytes), Ok(now));
            prop_assert_eq!(decode(&bytes), Ok(entry));
        }
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(kind in 1_u8..6, body: Vec<u8>) {
        let bytes = [&[kind], body.as_slice()].concat();
        if let Ok(entry) = decode(&bytes) {
            prop_assert_eq!(entry.encode().unwrap(), bytes);
        }
    }

    /// Short varints make random bodies plausible, so that more of them get past the first checks.
    #[test]
    fn plausible_ticks_are_canonical(body in proptest::collection::vec(0_u8..3, 0..60)) {
        let bytes = [&[1, 0, 0, 0, 0, 0, 0, 0, 0], body.as_slice()].concat();
        match decode(&bytes) {
            Ok(entry) => prop_assert_eq!(entry.encode().unwrap(), bytes),
            Err(error) => prop_assert_ne!(error, DecodeError::Kind { kind: 1 }),
        }
    }
}

use homeostat_model::{Actor, ChangeKind};
use proptest::prelude::*;

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn delta(cell: u16, by_class: [u64; 6], slow: [u64; 4]) -> OutcomeDelta {
    OutcomeDelta { cell: CellId(cell), counts: OutcomeCounts { by_class, slow } }
}

fn exemplar(ms: i64, cell: u16, class: OutcomeClass) -> Exemplar {
    Exemplar {
        at: at(ms),
        cell: CellId(cell),
        class,
        status: 200,
        method: "GET".to_owned(),
        path: "/*".to_owned(),
        latency: Span::from_ms(3),
        endpoint: None,
        trace_id: None,
    }
}

proptest! {
    #[test]
    fn packed_ticks_read_back(cells in prop::collection::btree_map(any::<u16>(), (any::<[u64; 6]>(), any::<[u64; 4]>()), 0..20)) {
        let deltas: Vec<_> = cells.into_iter().map(|(cell, (classes, slow))| delta(cell, classes, slow)).collect();
        let mut packed = Vec::new();
        pack(&deltas, &mut packed);
        prop_assert_eq!(unpack(&packed), deltas);
    }

    #[test]
    fn damaged_memory_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = unpack(&bytes);
    }
}

#[test]
fn a_frozen_copy_holds_the_cells_and_the_time_that_were_asked_for() {
    let mut recorder = Recorder::new(at(0));
    for tick in 1..=100 {
        recorder.tick(at(tick * 10), &[delta(1, [tick as u64, 0, 0, 0, 0, 0], [0; 4]), delta(7, [1; 6], [2; 4])]);
    }
    recorder.latencies(at(500), vec![CellLatency { cell: CellId(7), buckets: vec![(100, 2), (200, 1)] }]);
    recorder.latencies(at(600), vec![CellLatency { cell: CellId(7), buckets: vec![(200, 4)] }]);
    recorder.exemplar(exemplar(505, 7, OutcomeClass::ServerError));
    recorder.exemplar(exemplar(990, 7, OutcomeClass::Ok));
    let key = CellKey { route: "r".parse().unwrap(), service: "shop".parse().unwrap(), version: "v2".parse().unwrap() };
    let frozen = recorder.freeze(&[CellId(7)], at(500), at(600), &BTreeMap::from([(CellId(7), key.clone())]));
    assert_eq!(frozen.cells, vec![(CellId(7), key)]);
    assert_eq!(frozen.ticks.len(), 11);
    assert!(frozen.ticks.iter().all(|t| t.deltas == vec![delta(7, [1; 6], [2; 4])]));
    assert_eq!(frozen.latencies, vec![CellLatency { cell: CellId(7), buckets: vec![(100, 2), (200, 5)] }]);
    let by_second: Vec<_> =
        frozen.latency_seconds.iter().map(|second| (second.at, second.cells[0].buckets.len())).collect();
    assert_eq!(by_second, [(at(500), 2), (at(600), 1)]);
    assert_eq!(frozen.exemplars.len(), 1);
    assert!(!frozen.incomplete);
    assert!(recorder.freeze(&[CellId(7)], at(-1), at(600), &BTreeMap::new()).incomplete);
}

#[test]
fn old_ticks_go_and_memory_stays_bounded() {
    let mut recorder = Recorder::new(at(0));
    recorder.tick(at(10), &[delta(1, [1; 6], [0; 4])]);
    recorder.tick(at(10) + RECORDED, &[delta(1, [1; 6], [0; 4])]);
    assert!(!recorder.freeze(&[CellId(1)], at(10), at(400_000), &BTreeMap::new()).incomplete);
    recorder.tick(at(20) + RECORDED, &[]);
    let frozen = recorder.freeze(&[CellId(1)], at(10), at(400_000), &BTreeMap::new());
    assert!(frozen.incomplete && frozen.ticks.len() == 1);
    // Far more cells than there is room for.
    let wide: Vec<_> = (0..4_096).map(|cell| delta(cell, [u64::MAX; 6], [u64::MAX; 4])).collect();
    for tick in 0..300 {
        recorder.tick(at(400_000 + tick * 10), &wide);
    }
    assert!(recorder.tick_bytes() <= TICK_BYTES_MAX && recorder.tick_bytes() > TICK_BYTES_MAX / 2);
    assert!(recorder.freeze(&[CellId(1)], at(400_000), at(500_000), &BTreeMap::new()).incomplete);
}

#[test]
fn exemplars_and_changes_are_bounded_and_bad_requests_are_preferred() {
    let mut recorder = Recorder::new(at(0));
    for n in 0..10_000_i64 {
        let class = if n % 2 == 0 { OutcomeClass::Ok } else { OutcomeClass::Reset };
        recorder.exemplar(exemplar(n, (n % 500) as u16, class));
        recorder.change(ChangeEvent {
            at: at(n),
            kind: ChangeKind::Other,
            service: None,
            version: None,
            summary: String::new(),
            by: Actor::homeostat(),
        });
    }
    assert_eq!(recorder.exemplar_count, EXEMPLARS_MAX);
    assert_eq!(recorder.exemplars.values().map(VecDeque::len).sum::<usize>(), EXEMPLARS_MAX);
    let cells: Vec<_> = (0..500).map(CellId).collect();
    let frozen = recorder.freeze(&cells, at(0), at(20_000), &BTreeMap::new());
    assert_eq!(frozen.exemplars.len(), EXEMPLARS_FROZEN_MAX);
    assert!(frozen.exemplars.iter().all(|e| e.class == OutcomeClass::Reset));
    assert!(frozen.exemplars.windows(2).all(|pair| pair[0].at <= pair[1].at));
    assert_eq!(frozen.changes.len(), CHANGES_MAX);
}

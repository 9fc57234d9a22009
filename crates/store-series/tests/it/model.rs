//! Random operations against a store that keeps everything in a map.

use std::{collections::BTreeMap, time::Duration};

use homeostat_model::{Labels, TimeMs};
use homeostat_store_series::{Batch, SeriesStore, StoreOptions};
use homeostat_store_wal::SimDisk;
use proptest::prelude::*;

use crate::{PATIENCE, Seen, open, read};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Samples (series, how much later than the newest one of the series, value), acknowledged.
    Append(Vec<(u8, i64, u64)>),
    /// The process ends in good order and begins again.
    Restart,
    /// The power is lost.
    LosePower(u64),
    /// Everything between two times is read.
    Read(i64, i64),
}

const WINDOW_MS: i64 = 50;

fn arb_step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        6 => (0_i64..1000).prop_map(|n| (n as f64).to_bits()),
        2 => (0_i64..1000).prop_map(|n| (n as f64 / 100.0).to_bits()),
        1 => any::<u64>(),
    ];
    let later = prop_oneof![6 => Just(15), 2 => 1_i64..1000, 1 => -80_i64..1];
    prop_oneof![
        10 => proptest::collection::vec((0_u8..6, later, value), 1..40).prop_map(Step::Append),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(Step::LosePower),
        3 => (-100_i64..5000, 0_i64..5000).prop_map(|(from, len)| Step::Read(from, from + len)),
    ]
}

#[derive(Default)]
struct Naive {
    series: BTreeMap<u8, BTreeMap<TimeMs, u64>>,
}

impl Naive {
    /// Says whether the store shall accept it.
    fn append(&mut self, series: u8, t: TimeMs, bits: u64) -> bool {
        let samples = self.series.entry(series).or_default();
        if let Some(newest) = samples.keys().next_back()
            && t < newest - WINDOW_MS
        {
            return false;
        }
        *samples.entry(t).or_insert(bits) == bits
    }

    fn read(&self, from: TimeMs, to: TimeMs) -> Vec<(Labels, Vec<(TimeMs, Seen)>)> {
        let within = |samples: &BTreeMap<TimeMs, u64>| -> Vec<_> {
            samples.range(from..=to).map(|(t, bits)| (*t, Seen::Float(*bits))).collect()
        };
        let all = self.series.iter().map(|(series, samples)| (name(*series), within(samples)));
        all.filter(|(_, samples)| !samples.is_empty()).collect()
    }
}

fn name(series: u8) -> Labels {
    Labels::new([("__name__", "x"), ("series", &series.to_string())])
}

fn options() -> StoreOptions {
    StoreOptions {
        out_of_order_window: Duration::from_millis(WINDOW_MS as u64),
        commit_interval: Duration::ZERO,
        segment_bytes: 4096,
        ..StoreOptions::default()
    }
}

fn append(store: &SeriesStore, naive: &mut Naive, samples: &[(u8, i64, u64)]) {
    let mut batch = Batch::default();
    let (mut good, mut bad) = (0, 0);
    for (series, later, bits) in samples {
        let newest = naive.series.get(series).and_then(|samples| samples.keys().next_back()).copied().unwrap_or(0);
        let t = newest + later;
        batch.series_of(&name(*series)).float(t, f64::from_bits(*bits));
        if naive.append(*series, t, *bits) { good += 1 } else { bad += 1 }
    }
    let report = store.append(&mut batch).unwrap();
    assert_eq!((report.accepted.floats, report.rejected.total()), (good, bad));
    report.ticket.wait(PATIENCE).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_store_agrees_with_a_map(steps in proptest::collection::vec(arb_step(), 1..40)) {
        let disk = SimDisk::default();
        let (mut store, _) = open(&disk, options());
        let mut naive = Naive::default();
        for step in steps {
            match step {
                Step::Append(samples) => append(&store, &mut naive, &samples),
                Step::Read(from, to) => prop_assert_eq!(read(&store.snapshot(), "__name__=x", from, to), naive.read(from, to)),
                Step::Restart => {
                    store.close(PATIENCE).unwrap();
                    store = open(&disk, options()).0;
                }
                Step::LosePower(seed) => {
                    disk.lose_power(seed);
                    store = open(&disk, options()).0;
                }
            }
        }
        prop_assert_eq!(read(&store.snapshot(), "__name__=x", i64::MIN, i64::MAX), naive.read(i64::MIN, i64::MAX));
    }
}

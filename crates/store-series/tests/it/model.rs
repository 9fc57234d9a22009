//! Random operations against a store that keeps everything in a map.
//!
//! What is accepted out of order depends on what the store still remembers of a series, so the map follows the store's
//! answers there; whatever was accepted must be found, with the value that came first, after every flush, merge,
//! restart and power loss.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use homeostat_model::{Histogram, Labels, TimeMs, sample::START_UNKNOWN};
use homeostat_store_series::{Batch, SeriesStore, StoreOptions};
use homeostat_store_wal::SimDisk;
use proptest::prelude::*;

use crate::{PATIENCE, Seen, matchers, open, read, starts};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Samples (series, how much later than the newest one of the series, value, start), acknowledged.
    Append(Vec<(u8, i64, Value, Start)>),
    /// Everything in memory moves into a block.
    Flush,
    /// All blocks become one.
    Compact,
    /// Samples of one series between two times are deleted.
    Delete(u8, i64, i64),
    /// The process ends in good order and begins again.
    Restart,
    /// The power is lost.
    LosePower(u64),
    /// Everything between two times is read.
    Read(i64, i64),
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Float(u64),
    Histogram(u8),
}

/// Since when a sample counts.
#[derive(Clone, Copy, Debug)]
enum Start {
    Unknown,
    At(TimeMs),
    /// So much before its time.
    Before(i64),
}

impl Start {
    fn ms(self, t_ms: TimeMs) -> TimeMs {
        match self {
            Self::Unknown => START_UNKNOWN,
            Self::At(start_ms) => start_ms,
            Self::Before(by_ms) => t_ms.wrapping_sub(by_ms),
        }
    }
}

const WINDOW_MS: i64 = 50;

fn arb_step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        6 => (0_i64..1000).prop_map(|n| Value::Float((n as f64).to_bits())),
        2 => (0_i64..1000).prop_map(|n| Value::Float((n as f64 / 100.0).to_bits())),
        1 => any::<u64>().prop_map(Value::Float),
        1 => any::<u8>().prop_map(Value::Histogram),
    ];
    let later = prop_oneof![6 => Just(15), 2 => 1_i64..1000, 1 => -80_i64..1];
    let start = prop_oneof![
        6 => Just(Start::Unknown),
        4 => Just(Start::At(-7)),
        2 => Just(Start::Before(15)),
        1 => any::<i64>().prop_map(Start::At),
    ];
    prop_oneof![
        10 => proptest::collection::vec((0_u8..6, later, value, start), 1..40).prop_map(Step::Append),
        2 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => (0_u8..6, 0_i64..2000, 0_i64..500).prop_map(|(series, from, len)| Step::Delete(series, from, from + len)),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(Step::LosePower),
        3 => (-100_i64..5000, 0_i64..5000).prop_map(|(from, len)| Step::Read(from, from + len)),
    ]
}

#[derive(Default)]
struct Naive {
    series: BTreeMap<u8, BTreeMap<TimeMs, (Seen, TimeMs)>>,
    newest: BTreeMap<u8, TimeMs>,
}

impl Naive {
    fn read(&self, from: TimeMs, to: TimeMs) -> Vec<(Labels, Vec<(TimeMs, Seen)>)> {
        let within = |samples: &BTreeMap<TimeMs, (Seen, TimeMs)>| -> Vec<_> {
            samples.range(from..=to).map(|(t, (v, _))| (*t, *v)).collect()
        };
        let all = self.series.iter().map(|(series, samples)| (name(*series), within(samples)));
        all.filter(|(_, samples)| !samples.is_empty()).collect()
    }

    /// Since when the samples of a series count, of those that say so.
    fn starts(&self, series: u8, from: TimeMs, to: TimeMs) -> Vec<(TimeMs, TimeMs)> {
        let samples = self.series.get(&series).into_iter().flat_map(|samples| samples.range(from..=to));
        samples.map(|(t, (_, start))| (*t, *start)).filter(|(_, start)| *start != START_UNKNOWN).collect()
    }

    fn append(&mut self, store: &SeriesStore, series: u8, later: i64, value: Value, start: Start) {
        let newest = self.newest.get(&series).copied();
        let t = newest.unwrap_or(0) + later;
        let mut batch = Batch::default();
        let entry = batch.series_of(&name(series));
        let seen = match value {
            Value::Float(bits) => {
                entry.float_since(t, f64::from_bits(bits), start.ms(t));
                Seen::Float(bits)
            }
            Value::Histogram(count) => {
                let histogram =
                    Histogram { count: count.into(), zero_count: count.into(), sum: 0.5, ..Histogram::default() };
                entry.histogram_since(t, Arc::new(histogram), start.ms(t));
                Seen::Histogram(f64::from(count).to_bits())
            }
        };
        let report = store.append(&mut batch).unwrap();
        let accepted = report.rejected.is_empty();
        assert!(accepted || newest.is_some_and(|newest| t <= newest), "in order, but {:?}", report.rejected);
        if accepted {
            self.series.entry(series).or_default().entry(t).or_insert((seen, start.ms(t)));
            self.newest.insert(series, newest.map_or(t, |newest| newest.max(t)));
        }
        report.ticket.wait(PATIENCE).unwrap();
    }
}

fn name(series: u8) -> Labels {
    let parity = if series.is_multiple_of(2) { "even" } else { "odd" };
    Labels::new([("__name__", "x"), ("zparity", parity), ("series", &series.to_string())])
}

fn options() -> StoreOptions {
    StoreOptions {
        out_of_order_window: Duration::from_millis(WINDOW_MS as u64),
        commit_interval: Duration::ZERO,
        segment_bytes: 4096,
        ..StoreOptions::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn the_store_agrees_with_a_map(steps in proptest::collection::vec(arb_step(), 1..40)) {
        let disk = SimDisk::default();
        let (mut store, _) = open(&disk, options());
        let mut naive = Naive::default();
        for step in steps {
            match step {
                Step::Append(samples) => {
                    for (series, later, value, start) in samples {
                        naive.append(&store, series, later, value, start);
                    }
                }
                Step::Flush => store.flush().unwrap(),
                Step::Compact => {
                    store.compact_fully().unwrap();
                    prop_assert!(store.blocks().len() <= 1);
                }
                Step::Delete(series, from, to) => {
                    let set = matchers(&format!("series={series}"));
                    store.delete(&[&set], from, to).unwrap();
                    if let Some(samples) = naive.series.get_mut(&series) {
                        samples.retain(|t, _| !(from..=to).contains(t));
                    }
                }
                Step::Read(from, to) => {
                    prop_assert_eq!(read(&store.snapshot(), "__name__=x", from, to), naive.read(from, to));
                    let found = starts(&store.snapshot(), "series=3", from, to);
                    prop_assert_eq!(found, naive.starts(3, from, to));
                }
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
        for series in 0..6 {
            let found = starts(&store.snapshot(), &format!("series={series}"), i64::MIN, i64::MAX);
            prop_assert_eq!(found, naive.starts(series, i64::MIN, i64::MAX), "{}", series);
        }
        let odd: Vec<_> = naive.read(i64::MIN, i64::MAX).into_iter().filter(|(l, _)| l.value("zparity") == "odd").collect();
        prop_assert_eq!(read(&store.snapshot(), "zparity=~o.*", i64::MIN, i64::MAX), odd);
    }
}

//! Deltas into sums: what Prometheus' functions expect is the total since a start.
//!
//! Each series keeps its total. A delta adds to it; the first one begins a new total with its own start. What cannot be
//! added (other bounds, another kind, another zero bucket) begins anew too: readers see a counter reset.
//!
//! Totals live in memory only. After a restart of the program they begin anew; a request that is sent again because its
//! answer was lost is recognised by its times, and its deltas are not added twice.
//!
//! Not here: reading clocks. Whoever owns the state says what time it is ([`DeltaToCumulative::advance`]).
//! Invariant: at most as many series and buckets as the limits say; what was not touched for the span given is dropped.
//! Source: OpenTelemetry's `deltatocumulative` processor, for order and expiry.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use homeostat_model::{Histogram, Labels, TimeMs, histogram::Buckets};

use super::point::{Explicit, millis};
use crate::{intake::Fault, native::downscale};

/// Series whose totals are kept. One with its labels takes about 500 bytes: 50 MB.
pub const DELTA_SERIES_MAX: usize = 100_000;
/// Buckets of all totals together: 16 bytes each, 64 MB. Two dozen for each of the series above, and room.
pub const DELTA_BUCKETS_MAX: usize = 4_000_000;
/// How long a series may be silent before its total is dropped: the collector's default.
pub const DELTA_SILENCE_MS_MAX: i64 = 5 * 60 * 1000;

/// How much state deltas may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaLimits {
    /// Series whose totals are kept.
    pub series_max: usize,
    /// Buckets of all totals together.
    pub buckets_max: usize,
    /// How long a series may be silent.
    pub silence_ms_max: i64,
}

impl Default for DeltaLimits {
    fn default() -> Self {
        Self { series_max: DELTA_SERIES_MAX, buckets_max: DELTA_BUCKETS_MAX, silence_ms_max: DELTA_SILENCE_MS_MAX }
    }
}

/// The totals of all series that come as deltas.
#[derive(Debug)]
pub struct DeltaToCumulative {
    limits: DeltaLimits,
    series: HashMap<Labels, Entry, FixedState>,
    buckets: usize,
    now_ms: TimeMs,
}

/// A series' total.
#[derive(Debug)]
struct Entry {
    start_ns: u64,
    last_ns: u64,
    seen_ms: TimeMs,
    total: Total,
}

/// A total, or a delta that is to be added to one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Total {
    Number(f64),
    Explicit(Explicit),
    Exponential(Histogram),
}

impl DeltaToCumulative {
    /// No totals yet. `seed` should differ between processes: senders choose what is hashed.
    pub fn new(limits: DeltaLimits, seed: u64) -> Self {
        let series = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { limits, series, buckets: 0, now_ms: 0 }
    }

    /// Says what time it is, and drops what has been silent for too long. Looks at all series: once a minute is enough.
    pub fn advance(&mut self, now_ms: TimeMs) {
        self.now_ms = now_ms;
        let oldest = now_ms.saturating_sub(self.limits.silence_ms_max);
        self.series.retain(|_, entry| oldest <= entry.seen_ms);
        self.buckets = self.series.values().map(|entry| entry.total.buckets()).sum();
    }

    /// The number of series whose totals are kept.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Returns true as long as there are no totals.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Adds a delta and gives the total with its start.
    pub(super) fn add(
        &mut self,
        labels: Labels,
        start_ns: u64,
        time_ns: u64,
        delta: Total,
    ) -> Result<(u64, &Total), Fault> {
        let full = || Fault::DeltaSeries { limit: self.limits.series_max };
        let seen_ms = self.now_ms;
        let more = delta.buckets();
        let count = self.series.len();
        match self.series.entry(labels) {
            std::collections::hash_map::Entry::Vacant(vacant) => {
                if self.limits.series_max <= count || self.limits.buckets_max < self.buckets + more {
                    return Err(full());
                }
                self.buckets += more;
                let entry = vacant.insert(Entry { start_ns, last_ns: time_ns, seen_ms, total: delta });
                Ok((entry.start_ns, &entry.total))
            }
            std::collections::hash_map::Entry::Occupied(occupied) => {
                let entry = occupied.into_mut();
                if time_ns <= entry.last_ns || start_ns != 0 && start_ns < entry.start_ns {
                    return Err(Fault::DeltaOrder { t_ms: millis(time_ns) });
                }
                let before = entry.total.buckets();
                if self.limits.buckets_max < self.buckets + more {
                    return Err(full());
                }
                if let Some(delta) = entry.total.add(delta) {
                    (entry.start_ns, entry.total) = (start_ns, delta);
                }
                self.buckets = self.buckets + entry.total.buckets() - before;
                (entry.last_ns, entry.seen_ms) = (time_ns, seen_ms);
                Ok((entry.start_ns, &entry.total))
            }
        }
    }
}

impl Total {
    fn buckets(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Explicit(histogram) => histogram.counts.len() + histogram.bounds.len(),
            Self::Exponential(histogram) => {
                histogram.positive.counts.len() + histogram.negative.counts.len() + histogram.custom_bounds.len()
            }
        }
    }

    /// Adds a delta; gives it back when the two do not fit.
    fn add(&mut self, delta: Self) -> Option<Self> {
        match (self, delta) {
            (Self::Number(total), Self::Number(delta)) => *total += delta,
            (Self::Explicit(total), Self::Explicit(delta)) if fits(total, &delta) => add_explicit(total, &delta),
            (Self::Exponential(total), Self::Exponential(delta)) if same_zero_bucket(total, &delta) => {
                add_exponential(total, delta);
            }
            (_, delta) => return Some(delta),
        }
        None
    }
}

fn same_zero_bucket(total: &Histogram, delta: &Histogram) -> bool {
    total.zero_threshold.to_bits() == delta.zero_threshold.to_bits()
}

fn fits(total: &Explicit, delta: &Explicit) -> bool {
    total.bounds == delta.bounds && total.counts.len() == delta.counts.len()
}

fn add_explicit(total: &mut Explicit, delta: &Explicit) {
    total.count = total.count.saturating_add(delta.count);
    total.sum = total.sum.zip(delta.sum).map(|(a, b)| a + b);
    for (sum, count) in total.counts.iter_mut().zip(&delta.counts) {
        *sum = sum.saturating_add(*count);
    }
}

/// The coarser of the two schemas decides.
fn add_exponential(total: &mut Histogram, mut delta: Histogram) {
    let schema = total.schema.min(delta.schema);
    for histogram in [&mut *total, &mut delta] {
        let steps = (i32::from(histogram.schema) - i32::from(schema)) as u32;
        if 0 < steps {
            histogram.positive = downscale(&histogram.positive, steps);
            histogram.negative = downscale(&histogram.negative, steps);
            histogram.schema = schema;
        }
    }
    total.count += delta.count;
    total.sum += delta.sum;
    total.zero_count += delta.zero_count;
    total.positive = merged(&total.positive, &delta.positive);
    total.negative = merged(&total.negative, &delta.negative);
}

/// The buckets of both, in order.
fn merged(a: &Buckets, b: &Buckets) -> Buckets {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    Buckets::from_sorted(std::iter::from_fn(|| match (a.peek().copied(), b.peek().copied()) {
        (Some((index, count)), Some((other, more))) if index == other => {
            a.next();
            b.next();
            Some((index, count + more))
        }
        (Some((index, _)), Some((other, _))) if other < index => b.next(),
        (None, _) => b.next(),
        _ => a.next(),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::new([("__name__", name)])
    }

    fn state(series_max: usize, buckets_max: usize) -> DeltaToCumulative {
        DeltaToCumulative::new(DeltaLimits { series_max, buckets_max, silence_ms_max: 1000 }, 7)
    }

    fn number(state: &mut DeltaToCumulative, start_ns: u64, time_ns: u64, value: f64) -> Result<(u64, f64), Fault> {
        match state.add(labels("a"), start_ns, time_ns, Total::Number(value))? {
            (start, Total::Number(total)) => Ok((start, *total)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn deltas_add_up_in_order_and_once() {
        let mut state = state(10, 10);
        assert_eq!(number(&mut state, 10, 20, 1.0), Ok((10, 1.0)));
        assert_eq!(number(&mut state, 20, 30_000_000, 2.5), Ok((10, 3.5)));
        assert_eq!(number(&mut state, 20, 30_000_000, 2.5), Err(Fault::DeltaOrder { t_ms: 30 }));
        assert_eq!(number(&mut state, 5, 40_000_000, 1.0), Err(Fault::DeltaOrder { t_ms: 40 }));
        assert_eq!(number(&mut state, 0, 40_000_000, 1.0), Ok((10, 4.5)));
    }

    #[test]
    fn silent_series_go_and_limits_hold() {
        let mut state = state(1, 4);
        state.advance(100);
        number(&mut state, 1, 2, 1.0).unwrap();
        assert_eq!(state.add(labels("b"), 1, 2, Total::Number(1.0)), Err(Fault::DeltaSeries { limit: 1 }));
        state.advance(1100);
        assert_eq!(state.len(), 1);
        state.advance(1101);
        assert!(state.is_empty());
        let explicit = |counts: usize| {
            Total::Explicit(Explicit { counts: vec![1; counts], bounds: vec![1.0; counts - 1], ..Explicit::default() })
        };
        assert!(state.add(labels("b"), 1, 2, explicit(2)).is_ok());
        assert_eq!(state.add(labels("b"), 1, 3, explicit(3)), Err(Fault::DeltaSeries { limit: 1 }));
    }

    #[test]
    fn other_bounds_begin_anew() {
        let mut state = state(10, 100);
        let explicit = |bound: f64| {
            Total::Explicit(Explicit { count: 1, sum: Some(1.0), counts: vec![1, 0], bounds: vec![bound] })
        };
        state.add(labels("a"), 1, 2, explicit(1.0)).unwrap();
        let (start, total) = state.add(labels("a"), 2, 3, explicit(1.0)).unwrap();
        assert_eq!(
            (start, total.clone()),
            (1, Total::Explicit(Explicit { count: 2, sum: Some(2.0), counts: vec![2, 0], bounds: vec![1.0] }))
        );
        assert_eq!(state.add(labels("a"), 3, 4, explicit(5.0)), Ok((3, &explicit(5.0))));
        assert_eq!(state.add(labels("a"), 4, 5, Total::Number(1.0)), Ok((4, &Total::Number(1.0))));
    }

    proptest! {
        #[test]
        fn native_totals_are_the_sum_of_all_buckets(
            a in btree_map(-20_i32..20, 1_u32..9, 0..9), b in btree_map(-20_i32..20, 1_u32..9, 0..9), finer in 0_u32..3
        ) {
            let histogram = |counts: &std::collections::BTreeMap<i32, u32>, schema: i8| {
                let positive = Buckets::from_sorted(counts.iter().map(|(index, count)| (*index, f64::from(*count))));
                Histogram { schema, count: positive.counts.iter().sum(), positive, ..Histogram::default() }
            };
            let mut state = state(10, 1000);
            state.add(labels("a"), 1, 2, Total::Exponential(histogram(&a, 2 + finer as i8))).unwrap();
            let (_, total) = state.add(labels("a"), 1, 3, Total::Exponential(histogram(&b, 2))).unwrap();
            let mut expected = std::collections::BTreeMap::<i32, f64>::new();
            let coarse = downscale(&histogram(&a, 0).positive, finer);
            for (index, count) in coarse.iter().chain(histogram(&b, 0).positive.iter()) {
                *expected.entry(index).or_default() += count;
            }
            let Total::Exponential(total) = total else { panic!("{total:?}") };
            prop_assert_eq!(total.schema, 2);
            prop_assert_eq!(total.positive.iter().collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(total.check(), Ok(()));
        }
    }
}

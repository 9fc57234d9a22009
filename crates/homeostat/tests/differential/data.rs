//! Random series: gauges, counters with resets, gaps, ends, NaN and infinities, classic and native histograms.
//!
//! No sample stands at a whole or half second, so that no window of a query begins or ends at one: Prometheus 2 takes the
//! sample at the left end of a window, Prometheus 3 does not.

use std::sync::Arc;

use bytes::Bytes;
use homeostat_model::{Histogram, histogram::Buckets, sample::stale_marker};
use homeostat_wire::{
    intake::{FloatSample, HistogramSample},
    remote_write::EncoderV1,
    snappy,
};
use rand::{Rng, RngExt as _};

/// The first sample; within an hour of a block of two hours, so that Prometheus' head takes all of it.
pub(crate) const START_MS: i64 = 1_700_000_400_000;
/// Behind the last sample.
pub(crate) const END_MS: i64 = START_MS + 40 * 60_000;

/// How the samples of a series are made.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Gauge,
    Counter,
    Odd,
    Gappy,
}

/// All data, as requests of remote write.
pub(crate) fn requests(rng: &mut impl Rng) -> Vec<Bytes> {
    let mut encoder = EncoderV1::default();
    for a in ["x", "y", "z"] {
        floats(&mut encoder, rng, &[("__name__", "m"), ("a", a)], Kind::Gauge);
        for b in ["1", "2", "3"] {
            floats(&mut encoder, rng, &[("__name__", "g"), ("a", a), ("b", b)], Kind::Gauge);
            floats(&mut encoder, rng, &[("__name__", "c_total"), ("a", a), ("b", b)], Kind::Counter);
        }
        for b in ["1", "2"] {
            floats(&mut encoder, rng, &[("__name__", "gappy"), ("a", a), ("b", b)], Kind::Gappy);
            floats(&mut encoder, rng, &[("__name__", "odd"), ("a", a), ("b", b)], Kind::Odd);
        }
        classic(&mut encoder, rng, a);
        native(&mut encoder, rng, a);
    }
    vec![snappy::compress(encoder.as_bytes()).expect("less than 4 GiB").into()]
}

/// Instants of a series: regular with some jitter, some left out.
fn times(rng: &mut impl Rng, gaps: bool) -> Vec<i64> {
    let interval = [10_000, 15_000, 30_000, 60_000][rng.random_range(0..4_usize)];
    let mut times = Vec::new();
    let mut t_ms = START_MS + rng.random_range(0..interval / 1000) * 1000 + 7;
    while t_ms < END_MS {
        times.push(t_ms + rng.random_range(0..20));
        let skipped = if gaps && rng.random_bool(0.1) { rng.random_range(1..15) } else { 0 };
        t_ms += interval * (1 + skipped);
    }
    times
}

fn floats(encoder: &mut EncoderV1, rng: &mut impl Rng, labels: &[(&str, &str)], kind: Kind) {
    // Large, so that a window that begins at a counter's zero is rare: the two treat it differently.
    let mut counter = rng.random_range(1e6..2e6);
    let mut samples = Vec::new();
    for t_ms in times(rng, kind == Kind::Gappy) {
        let value = match kind {
            Kind::Gauge => rng.random_range(-100.0..100.0),
            Kind::Counter => {
                counter = if rng.random_bool(0.05) { counter * 0.5 } else { counter + rng.random_range(0.0..50.0) };
                counter
            }
            Kind::Odd => match rng.random_range(0..12) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3 => 0.0,
                n => f64::from(n) - 7.0,
            },
            Kind::Gappy if rng.random_bool(0.1) => stale_marker(),
            Kind::Gappy => f64::from(rng.random_range(1000..1020)),
        };
        samples.push(FloatSample { t_ms, value, start_ms: None });
    }
    encoder.series(labels.iter().copied(), &samples, &[], &[]);
}

/// Five buckets that count up together.
fn classic(encoder: &mut EncoderV1, rng: &mut impl Rng, a: &str) {
    let times = times(rng, false);
    let mut counts = [1000.0_f64, 2000.0, 3000.0, 4000.0, 5000.0];
    let mut columns = vec![Vec::new(); counts.len()];
    for t_ms in times {
        let mut added = 0.0;
        for (count, column) in counts.iter_mut().zip(&mut columns) {
            added += f64::from(rng.random_range(0..10));
            *count += added;
            column.push(FloatSample { t_ms, value: *count, start_ms: None });
        }
    }
    for (le, column) in ["0.1", "0.5", "1", "5", "+Inf"].into_iter().zip(columns) {
        encoder.series([("__name__", "h_bucket"), ("a", a), ("le", le)], &column, &[], &[]);
    }
}

/// A native histogram that counts up, with resets.
fn native(encoder: &mut EncoderV1, rng: &mut impl Rng, a: &str) {
    let schema = rng.random_range(0..3_i8);
    let mut counts = [0_u32; 8];
    let mut samples = Vec::new();
    for t_ms in times(rng, false) {
        if rng.random_bool(0.05) {
            counts = [1; 8];
        }
        for count in &mut counts {
            *count += rng.random_range(1..6);
        }
        let total: u32 = counts.iter().sum();
        let histogram = Histogram {
            schema,
            zero_threshold: 0.001,
            zero_count: f64::from(counts[0]),
            count: f64::from(total),
            sum: f64::from(total) * 2.5,
            positive: Buckets::from_sorted((1..8).map(|n| (n, f64::from(counts[n as usize])))),
            ..Histogram::default()
        };
        samples.push(HistogramSample { t_ms, histogram: Arc::new(histogram), start_ms: None });
    }
    encoder.series([("__name__", "nh"), ("a", a)], &[], &samples, &[]);
}

//! Latencies in fixed memory: buckets that grow with the value, so that every percentile is right to 3.2 %.
//!
//! Idea: a value falls into the power of two that holds it, and there into one of 32 equal parts. Below 32 µs each
//! microsecond has its own bucket. Source: the log-linear layout of HdrHistogram (Gil Tene).

use std::time::Duration;

use serde::Serialize;

/// Parts of each power of two: an error of at most one part, 1/32.
const PARTS: usize = 32;
const PART_BITS: u32 = PARTS.trailing_zeros();
/// Largest value in µs, exclusive: 2^32 µs is 71 minutes; later ones count as this.
const VALUE_BITS: u32 = 32;
const BUCKETS: usize = PARTS * (VALUE_BITS - PART_BITS + 1) as usize;

/// Counts of latencies. 7 KiB.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    max_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, max_us: 0 }
    }
}

/// Percentiles in microseconds: each is the upper end of its bucket, so never too small. All 0 when nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Values counted.
    pub count: u64,
    /// Median.
    pub us_p50: u64,
    /// 90th percentile.
    pub us_p90: u64,
    /// 95th percentile.
    pub us_p95: u64,
    /// 99th percentile.
    pub us_p99: u64,
    /// 99.9th percentile.
    pub us_p999: u64,
    /// Largest, exact.
    pub us_max: u64,
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(us)) {
            *count += 1;
        }
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The smallest bucket end that at least `share` (0 to 1) of all values do not exceed.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let wanted = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if wanted <= seen {
                return upper_end_us(index).min(self.max_us);
            }
        }
        self.max_us
    }

    /// The usual percentiles.
    pub fn latency(&self) -> Latency {
        Latency {
            count: self.total,
            us_p50: self.quantile_us(0.50),
            us_p90: self.quantile_us(0.90),
            us_p95: self.quantile_us(0.95),
            us_p99: self.quantile_us(0.99),
            us_p999: self.quantile_us(0.999),
            us_max: self.max_us,
        }
    }
}

fn bucket(us: u64) -> usize {
    let us = us.min((1 << VALUE_BITS) - 1);
    if us < PARTS as u64 {
        return us as usize;
    }
    let shift = us.ilog2() - PART_BITS;
    // The leading one is implied by the row; row 1 begins at PARTS.
    (shift as usize + 1) * PARTS + (us >> shift) as usize - PARTS
}

fn upper_end_us(bucket: usize) -> u64 {
    let (row, part) = (bucket / PARTS, (bucket % PARTS) as u64);
    if row == 0 {
        return part;
    }
    let shift = row as u32 - 1;
    ((PARTS as u64 + part + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_counted_is_nothing_shown() {
        assert_eq!(Histogram::default().latency(), Latency::default());
    }

    #[test]
    fn the_largest_values_share_the_last_bucket() {
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper_end_us(BUCKETS - 1), (1 << VALUE_BITS) - 1);
    }

    proptest! {
        #[test]
        fn quantiles_agree_with_sorting(mut values in prop::collection::vec(0_u64..5_000_000, 1..300), share in 0.0_f64..1.0) {
            let mut histogram = Histogram::default();
            for us in &values {
                histogram.record(Duration::from_micros(*us));
            }
            values.sort_unstable();
            let rank = ((share * values.len() as f64).ceil() as usize).max(1);
            let (exact, shown) = (values[rank - 1], histogram.quantile_us(share));
            prop_assert!(exact <= shown && shown as f64 <= exact as f64 * (1.0 + 1.0 / PARTS as f64) + 1.0, "{} {}", exact, shown);
        }
    }
}

//! Histograms without buckets, for queries that look at nothing but count and sum.
//!
//! Buckets are still needed once: only they show every reset of a counter. So the reader compares each sample with the
//! one before it, writes what it found into the sample's hint, and lets the buckets go. Sums and rates of what is left
//! cost as little as those of two numbers.

use std::sync::Arc;

use homeostat_model::{
    histogram::{Histogram, ResetHint},
    sample::is_stale,
};

use super::reset::detect_reset;

/// Reads the histograms of one series in order of time and takes their buckets away.
#[derive(Clone, Debug, Default)]
pub struct StatsReader {
    before: Option<Arc<Histogram>>,
}

impl StatsReader {
    /// The next histogram's count, sum and schema, with what is known about resets now. The first one's hint stays as it
    /// is. The marker that ends a series passes unchanged.
    pub fn read(&mut self, histogram: &Arc<Histogram>) -> Arc<Histogram> {
        if is_stale(histogram.sum) {
            return Arc::clone(histogram);
        }
        let reset_hint = match (histogram.reset_hint, &self.before) {
            (ResetHint::Unknown, Some(before)) if detect_reset(histogram, before) => ResetHint::Reset,
            (ResetHint::Unknown, Some(_)) => ResetHint::NotReset,
            (known, _) => known,
        };
        self.before = Some(Arc::clone(histogram));
        let Histogram { schema, count, sum, .. } = **histogram;
        Arc::new(Histogram { reset_hint, schema, count, sum, ..Histogram::default() })
    }

    /// Forgets the series, for the next one.
    pub fn clear(&mut self) {
        self.before = None;
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::{histogram::Buckets, sample::stale_marker};

    use super::*;

    #[test]
    fn hints_tell_what_the_buckets_told() {
        let histogram = |cells: &[(i32, f64)]| {
            let count = cells.iter().map(|(_, count)| count).sum();
            let positive = Buckets::from_sorted(cells.iter().copied());
            Arc::new(Histogram { schema: 1, count, sum: 5.0, positive, ..Histogram::default() })
        };
        let stale = Arc::new(Histogram { sum: stale_marker(), ..Histogram::default() });
        let series = [histogram(&[(0, 1.0)]), histogram(&[(0, 3.0)]), stale, histogram(&[(0, 2.0), (1, 2.0)])];
        let mut reader = StatsReader::default();
        let read: Vec<_> = series.iter().map(|histogram| reader.read(histogram)).collect();
        let hints: Vec<_> = read.iter().map(|histogram| histogram.reset_hint).collect();
        assert_eq!(hints, [ResetHint::Unknown, ResetHint::NotReset, ResetHint::Unknown, ResetHint::Reset]);
        assert!(read.iter().all(|histogram| histogram.positive.counts.is_empty()));
        assert_eq!((read[1].schema, read[1].count, read[1].sum), (1, 3.0, 5.0));
        reader.clear();
        assert_eq!(reader.read(&series[0]).reset_hint, ResetHint::Unknown);
    }
}

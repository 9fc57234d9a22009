//! Native histograms: sparse buckets whose bounds follow from a schema, as Prometheus 3 defines them.
//!
//! Schemas -4 to 8 have exponential buckets: bucket `i` of schema `n` holds values in `(2^((i-1)/2^n), 2^(i/2^n)]`, and
//! its mirror holds negative ones. Schema -53 has the bounds that stand in `custom_bounds`, positive buckets only:
//! bucket `i` holds values in `(bounds[i-1], bounds[i]]`, the last one reaches to infinity.
//!
//! Counts are `f64` here also where the source counted in integers (exact up to 2^53); codecs store whole numbers as
//! such. Counts are absolute, one per bucket, in the order of the spans.
//!
//! Not here: arithmetic, quantiles, conversions (`promql`), bytes (`wire`).
//! Source: prometheus.io/docs/specs/native_histograms.

use std::sync::Arc;

/// The schema whose bucket bounds are listed.
pub const CUSTOM_BOUNDS_SCHEMA: i8 = -53;
/// The coarsest exponential schema.
pub const SCHEMA_MIN: i8 = -4;
/// The finest exponential schema.
pub const SCHEMA_MAX: i8 = 8;

/// What is known about resets of a counter before this sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResetHint {
    /// Nothing: the reader compares with the sample before.
    #[default]
    Unknown,
    /// There was a reset between the sample before and this one.
    Reset,
    /// There was none.
    NotReset,
    /// It is a gauge: resets mean nothing.
    Gauge,
}

/// A run of buckets next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BucketSpan {
    /// Empty buckets between the end of the span before and this one; the index of the first bucket for the first span.
    /// Negative only there.
    pub offset: i32,
    /// Buckets in the run.
    pub len: u32,
}

/// One side's buckets: the runs, and the counts of all runs one after the other.
///
/// Invariant (checked by [`Histogram::check`]): the lengths of the spans add up to the number of counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Where the buckets lie.
    pub spans: Vec<BucketSpan>,
    /// Their counts, absolute.
    pub counts: Vec<f64>,
}

impl Buckets {
    /// Iterates over (bucket index, count) in ascending order. Indices wrap for lying spans instead of panicking.
    pub fn iter(&self) -> impl Iterator<Item = (i32, f64)> {
        let mut index = 0_i32;
        let indices = self.spans.iter().flat_map(move |span| {
            let start = index.wrapping_add(span.offset);
            index = start.wrapping_add(span.len as i32);
            (0..span.len).map(move |i| start.wrapping_add(i as i32))
        });
        indices.zip(self.counts.iter().copied())
    }

    /// Makes buckets of (index, count) in ascending order of the index.
    pub fn from_sorted(pairs: impl IntoIterator<Item = (i32, f64)>) -> Self {
        let mut buckets = Self::default();
        let mut next = 0_i32;
        for (index, count) in pairs {
            let gap = index.wrapping_sub(next);
            match buckets.spans.last_mut() {
                Some(span) if gap == 0 => span.len += 1,
                _ => buckets.spans.push(BucketSpan { offset: gap, len: 1 }),
            }
            next = index.wrapping_add(1);
            buckets.counts.push(count);
        }
        buckets
    }
}

/// A native histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// What is known about resets before this sample.
    pub reset_hint: ResetHint,
    /// -4 to 8, or [`CUSTOM_BOUNDS_SCHEMA`].
    pub schema: i8,
    /// Values in `[-zero_threshold, zero_threshold]` count in the zero bucket; not negative.
    pub zero_threshold: f64,
    /// Count of the zero bucket.
    pub zero_count: f64,
    /// Count of all observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Buckets of positive values; with custom bounds all buckets, and indices count from 0.
    pub positive: Buckets,
    /// Buckets of negative values by their absolute value; none with custom bounds.
    pub negative: Buckets,
    /// Upper bounds, ascending and finite; empty for exponential schemas.
    pub custom_bounds: Arc<[f64]>,
}

/// Why a histogram is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// A schema outside the known ones.
    #[error("schema {schema} is none of {SCHEMA_MIN} to {SCHEMA_MAX} and {CUSTOM_BOUNDS_SCHEMA}")]
    Schema {
        /// What was given.
        schema: i32,
    },
    /// Spans and counts disagree.
    #[error("the spans hold {in_spans} buckets, but there are {counts} counts")]
    BucketCount {
        /// Sum of the spans' lengths.
        in_spans: u64,
        /// Number of counts.
        counts: usize,
    },
    /// A span other than the first begins before the end of the one before.
    #[error("span {index} has the negative offset {offset}")]
    NegativeOffset {
        /// Which span, from 0.
        index: usize,
        /// Its offset.
        offset: i32,
    },
    /// Spans reach further than any bucket can lie.
    #[error("the spans reach to bucket {index}, beyond {}", i32::MAX)]
    BucketIndex {
        /// Where the bucket would lie.
        index: i64,
    },
    /// A count below zero in a histogram that is no gauge.
    #[error("a bucket has the negative count {count}")]
    NegativeCount {
        /// The count.
        count: f64,
    },
    /// The count is less than what the buckets hold.
    #[error("the buckets hold {in_buckets} observations, more than the count of {count}")]
    CountTooSmall {
        /// Sum of all buckets.
        in_buckets: f64,
        /// The count.
        count: f64,
    },
    /// Custom bounds are not ascending and finite, or stand beside a schema that has none, or with negative buckets.
    #[error("custom bounds are wrong: {what}")]
    CustomBounds {
        /// What is wrong.
        what: &'static str,
    },
    /// The zero bucket's width is negative or no number.
    #[error("the zero threshold {threshold} is negative or no number")]
    ZeroThreshold {
        /// What was given.
        threshold: f64,
    },
}

impl Histogram {
    /// Returns true when the bounds are listed rather than computed.
    pub fn has_custom_bounds(&self) -> bool {
        self.schema == CUSTOM_BOUNDS_SCHEMA
    }

    /// Checks what every reader relies on: the schema, spans that fit their counts, no negative counts.
    pub fn check(&self) -> Result<(), HistogramError> {
        if !self.has_custom_bounds() && !(SCHEMA_MIN..=SCHEMA_MAX).contains(&self.schema) {
            return Err(HistogramError::Schema { schema: self.schema.into() });
        }
        if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(HistogramError::ZeroThreshold { threshold: self.zero_threshold });
        }
        check_reach(&self.positive)?;
        check_reach(&self.negative)?;
        self.check_bounds()?;
        check_side(&self.positive)?;
        check_side(&self.negative)?;
        if self.zero_count < 0.0 || self.count < 0.0 {
            return Err(HistogramError::NegativeCount { count: self.zero_count.min(self.count) });
        }
        Ok(())
    }

    /// Checks that there are as many observations as the buckets hold (more are those of `NaN`). Only for counts that the
    /// source gave as integers: the sum of fractional ones rounds, and Prometheus takes those as they come.
    pub fn check_total(&self) -> Result<(), HistogramError> {
        let sides = self.positive.counts.iter().chain(&self.negative.counts);
        let in_buckets = sides.sum::<f64>() + self.zero_count;
        if in_buckets > self.count {
            return Err(HistogramError::CountTooSmall { in_buckets, count: self.count });
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), HistogramError> {
        let wrong = |what| Err(HistogramError::CustomBounds { what });
        if !self.has_custom_bounds() {
            return if self.custom_bounds.is_empty() { Ok(()) } else { wrong("the schema computes its bounds") };
        }
        if !self.negative.spans.is_empty() || !self.negative.counts.is_empty() {
            return wrong("there are negative buckets");
        }
        if self.zero_count != 0.0 || self.zero_threshold != 0.0 {
            return wrong("there is a zero bucket");
        }
        if self.custom_bounds.iter().any(|bound| bound.is_nan() || *bound == f64::INFINITY) {
            return wrong("a bound is no finite number");
        }
        if !self.custom_bounds.is_sorted_by(|a, b| a < b) {
            return wrong("they do not ascend");
        }
        let last = self.positive.iter().last().map_or(0, |(index, _)| i64::from(index));
        let first = self.positive.spans.first().map_or(0, |span| span.offset);
        if first < 0 || last > self.custom_bounds.len() as i64 {
            return wrong("a bucket lies outside");
        }
        Ok(())
    }
}

/// Whether indices stay below what counts them; everything that reads buckets adds them up.
fn check_reach(side: &Buckets) -> Result<(), HistogramError> {
    let mut end = 0_i64;
    for span in &side.spans {
        // Below 2^31 before, and less than 2^31 and 2^32 more: nothing is near the end of 64 bits.
        end += i64::from(span.offset) + i64::from(span.len);
        // The bucket behind the last one has an index too: it bounds that one.
        if !(i64::from(i32::MIN)..=i64::from(i32::MAX)).contains(&end) {
            return Err(HistogramError::BucketIndex { index: end });
        }
    }
    Ok(())
}

fn check_side(side: &Buckets) -> Result<(), HistogramError> {
    let in_spans: u64 = side.spans.iter().map(|span| u64::from(span.len)).sum();
    if in_spans != side.counts.len() as u64 {
        return Err(HistogramError::BucketCount { in_spans, counts: side.counts.len() });
    }
    if let Some((index, span)) = side.spans.iter().enumerate().skip(1).find(|(_, span)| span.offset < 0) {
        return Err(HistogramError::NegativeOffset { index, offset: span.offset });
    }
    match side.counts.iter().find(|count| **count < 0.0) {
        Some(count) => Err(HistogramError::NegativeCount { count: *count }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_come_back_from_their_indices() {
        let pairs = [(-3, 1.0), (-2, 2.0), (4, 3.0), (5, 4.0), (9, 5.0)];
        let buckets = Buckets::from_sorted(pairs);
        let spans: Vec<_> = buckets.spans.iter().map(|span| (span.offset, span.len)).collect();
        assert_eq!(spans, [(-3, 2), (5, 2), (3, 1)]);
        assert_eq!(buckets.iter().collect::<Vec<_>>(), pairs);
    }

    #[test]
    fn lying_histograms_are_refused() {
        let good =
            Histogram { count: 3.0, positive: Buckets::from_sorted([(0, 1.0), (1, 2.0)]), ..Histogram::default() };
        assert_eq!(good.check(), Ok(()));
        let mut few = good.clone();
        few.count = 2.0;
        assert_eq!(few.check(), Ok(()));
        assert!(matches!(few.check_total(), Err(HistogramError::CountTooSmall { .. })));
        let mut spans = good.clone();
        spans.positive.counts.push(1.0);
        assert!(matches!(spans.check(), Err(HistogramError::BucketCount { .. })));
        let mut schema = good.clone();
        schema.schema = 9;
        assert!(matches!(schema.check(), Err(HistogramError::Schema { .. })));
        let spans = |spans: &[(i32, u32)]| {
            let spans: Vec<_> = spans.iter().map(|&(offset, len)| BucketSpan { offset, len }).collect();
            let counts = vec![1.0; spans.iter().map(|span| span.len as usize).sum()];
            Histogram { count: 9.0, positive: Buckets { spans, counts }, ..Histogram::default() }.check()
        };
        assert_eq!(spans(&[(i32::MAX - 2, 2)]), Ok(()));
        assert_eq!(spans(&[(i32::MIN, 2)]), Ok(()));
        let beyond = |index| Err(HistogramError::BucketIndex { index });
        assert_eq!(spans(&[(i32::MAX, 2)]), beyond(i64::from(i32::MAX) + 2));
        assert_eq!(spans(&[(i32::MAX - 9, 1), (i32::MAX, 1)]), beyond(2 * i64::from(i32::MAX) - 7));
        assert_eq!(spans(&[(1, 1), (i32::MAX, 0)]), beyond(i64::from(i32::MAX) + 2), "empty ones as well");
        let mut bounds = good;
        bounds.schema = CUSTOM_BOUNDS_SCHEMA;
        bounds.custom_bounds = Arc::from([2.0, 1.0]);
        assert!(matches!(bounds.check(), Err(HistogramError::CustomBounds { .. })));
    }
}

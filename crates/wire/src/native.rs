//! Native histograms as all protobuf formats of Prometheus write them, into the model's.
//!
//! Whole counts travel as the difference of each bucket to the one before, others as they are. Finer schemas than the
//! finest that is stored are merged down to it: two neighbours become one for each step, and no bound moves.

use homeostat_model::{
    Histogram,
    histogram::{BucketSpan, Buckets, HistogramError, SCHEMA_MAX},
};

use crate::protobuf::{Field, ProtobufError, Reader};

/// The finest schema that remote write reserves and receivers merge down.
/// Source: prometheus.io/docs/specs/native_histograms, "Schema".
pub(crate) const SCHEMA_RESERVED_MAX: i64 = 52;

/// One side's buckets, as written.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) spans: Vec<BucketSpan>,
    pub(crate) deltas: Vec<i64>,
    pub(crate) counts: Vec<f64>,
}

impl Side {
    /// Reads a span.
    pub(crate) fn span(&mut self, field: &Field<'_>) -> Result<(), ProtobufError> {
        self.spans.push(read_span(field.message()?)?);
        Ok(())
    }

    /// Reads differences.
    pub(crate) fn deltas(&mut self, field: &Field<'_>) -> Result<(), ProtobufError> {
        field.uints(|delta| self.deltas.push(crate::varint::unzigzag(delta)))
    }

    /// Reads absolute counts.
    pub(crate) fn counts(&mut self, field: &Field<'_>) -> Result<(), ProtobufError> {
        field.fixed64s(|bits| self.counts.push(f64::from_bits(bits)))
    }

    /// Absolute counts, of the absolute ones or of the differences; `None` when they leave the range of 64 bits.
    pub(crate) fn buckets(self, float: bool) -> Option<Buckets> {
        if float {
            return Some(Buckets { spans: self.spans, counts: self.counts });
        }
        let mut counts = Vec::with_capacity(self.deltas.len());
        let mut count = 0_i64;
        for delta in self.deltas {
            count = count.checked_add(delta)?;
            counts.push(count as f64);
        }
        Some(Buckets { spans: self.spans, counts })
    }
}

fn read_span(mut message: Reader<'_>) -> Result<BucketSpan, ProtobufError> {
    let mut span = BucketSpan { offset: 0, len: 0 };
    while let Some(field) = message.field()? {
        match field.number {
            1 => span.offset = field.sint()? as i32,
            2 => span.len = field.uint()? as u32,
            _ => {}
        }
    }
    Ok(span)
}

/// Sets the schema, merging buckets down to the finest one that is stored, and checks the histogram. With `float`, the
/// sum of the counts may exceed the total: sums of fractions round, and Prometheus takes such histograms too.
pub(crate) fn complete(mut histogram: Histogram, schema: i64, float: bool) -> Result<Histogram, HistogramError> {
    let finest = i64::from(SCHEMA_MAX);
    let stored = if (finest..=SCHEMA_RESERVED_MAX).contains(&schema) { finest } else { schema };
    let Ok(small) = i8::try_from(stored) else {
        return Err(HistogramError::Schema { schema: schema.clamp(i32::MIN.into(), i32::MAX.into()) as i32 });
    };
    histogram.schema = small;
    histogram.check()?;
    if !float {
        histogram.check_total()?;
    }
    if stored < schema {
        let steps = (schema - stored) as u32;
        histogram.positive = downscale(&histogram.positive, steps);
        histogram.negative = downscale(&histogram.negative, steps);
    }
    Ok(histogram)
}

/// Merges buckets `steps` schemas down.
pub(crate) fn downscale(buckets: &Buckets, steps: u32) -> Buckets {
    let mut merged: Vec<(i32, f64)> = Vec::new();
    for (index, count) in buckets.iter() {
        let index = downscaled(index, steps);
        match merged.last_mut() {
            Some((last, sum)) if *last == index => *sum += count,
            _ => merged.push((index, count)),
        }
    }
    Buckets::from_sorted(merged)
}

/// The bucket that holds bucket `index` after merging `steps` schemas down. Upper bounds are inclusive, so that bucket 0
/// stays the one that ends at 1.
fn downscaled(index: i32, steps: u32) -> i32 {
    (((i64::from(index) - 1) >> steps.min(63)) + 1) as i32
}

/// Leaves empty buckets out of both sides of a checked histogram.
pub(crate) fn compact(histogram: &mut Histogram) {
    for side in [&mut histogram.positive, &mut histogram.negative] {
        let tidy = side.counts.iter().all(|count| *count != 0.0)
            && side.spans.iter().skip(1).all(|span| 0 < span.offset)
            && side.spans.iter().all(|span| 0 < span.len);
        if !tidy {
            *side = Buckets::from_sorted(side.iter().filter(|(_, count)| *count != 0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_buckets_keep_their_bounds() {
        // Schema 1: bucket i ends at 2^(i/2). Buckets 1 and 2 end at 1.41 and 2, together bucket 1 of schema 0.
        let buckets = Buckets::from_sorted([(-1, 1.0), (0, 2.0), (1, 4.0), (2, 8.0), (3, 16.0)]);
        let merged: Vec<_> = downscale(&buckets, 1).iter().collect();
        assert_eq!(merged, [(0, 3.0), (1, 12.0), (2, 16.0)]);
        assert_eq!(downscale(&buckets, 60).iter().collect::<Vec<_>>(), [(0, 3.0), (1, 28.0)]);
    }

    #[test]
    fn finer_schemas_are_merged_down_and_others_refused() {
        let histogram =
            Histogram { count: 3.0, positive: Buckets::from_sorted([(3, 1.0), (4, 2.0)]), ..Histogram::default() };
        let stored = complete(histogram.clone(), 9, false).unwrap();
        assert_eq!((stored.schema, stored.positive.iter().collect::<Vec<_>>()), (8, vec![(2, 3.0)]));
        for schema in [-5, -52, 53, 1000, i64::MAX] {
            assert!(matches!(complete(histogram.clone(), schema, false), Err(HistogramError::Schema { .. })));
        }
    }

    #[test]
    fn empty_buckets_go() {
        let mut histogram = Histogram {
            positive: Buckets {
                spans: vec![BucketSpan { offset: 2, len: 3 }, BucketSpan { offset: 0, len: 0 }],
                counts: vec![1.0, 0.0, 2.0],
            },
            ..Histogram::default()
        };
        compact(&mut histogram);
        assert_eq!(histogram.positive, Buckets::from_sorted([(2, 1.0), (4, 2.0)]));
    }
}

//! Columns of native histograms of one series.
//!
//! Histograms of the same shape (schema, spans, bounds) that follow each other are taken apart: all their counts are one
//! column, all their sums another, and each bucket one more. A bucket grows like any counter and packs as well.
//!
//! ```text
//! segments up to the end; a segment is
//!   n, schema i8, zero threshold, positive spans, negative spans, bounds n, n × 8 bytes LE
//!   hints: one byte when all are the same, else 255 and n bytes
//!   columns (`values`): count, zero count, sum, each positive bucket, each negative bucket
//! ```
//!
//! Invariant: what is encoded comes back bit by bit.

use std::sync::Arc;

use homeostat_model::histogram::{BucketSpan, Buckets, Histogram, ResetHint};

use super::{histogram, values};
use crate::varint::{put, take, unzigzag, zigzag};

/// Numbers of one segment at most, 8 MiB of them: what a reader has to hold at once. One histogram never has more.
pub const SEGMENT_NUMBERS_MAX: usize = 1 << 20;
const _: () = assert!(2 * histogram::BUCKETS_MAX + 3 <= SEGMENT_NUMBERS_MAX);
const MIXED: u8 = u8::MAX;
const HINTS: [ResetHint; 4] = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];

/// Appends a column.
pub fn encode(histograms: &[Arc<Histogram>], scratch: &mut values::Scratch, out: &mut Vec<u8>) {
    let mut rest = histograms;
    let mut column = Vec::new();
    while let Some(first) = rest.first() {
        let numbers = 3 + first.positive.counts.len() + first.negative.counts.len();
        let most = (SEGMENT_NUMBERS_MAX / numbers).max(1);
        let count = rest.iter().take(most).take_while(|other| same_shape(first, other)).count();
        let (segment, behind) = rest.split_at(count);
        put(count as u64, out);
        put_shape(first, out);
        put_hints(segment, out);
        let mut put_column = |of: &dyn Fn(&Histogram) -> f64| {
            column.clear();
            column.extend(segment.iter().map(|histogram| of(histogram)));
            values::encode(&column, scratch, out);
        };
        put_column(&|histogram| histogram.count);
        put_column(&|histogram| histogram.zero_count);
        put_column(&|histogram| histogram.sum);
        for at in 0..first.positive.counts.len() {
            put_column(&|histogram| histogram.positive.counts.get(at).copied().unwrap_or_default());
        }
        for at in 0..first.negative.counts.len() {
            put_column(&|histogram| histogram.negative.counts.get(at).copied().unwrap_or_default());
        }
        rest = behind;
    }
}

/// Appends the `count` histograms that fill `bytes`; `None` when the bytes are no column.
pub fn decode(
    mut bytes: &[u8],
    count: usize,
    scratch: &mut values::Scratch,
    out: &mut Vec<Arc<Histogram>>,
) -> Option<()> {
    let end = out.len() + count;
    while out.len() < end {
        let segment = usize::try_from(take(&mut bytes)?).ok().filter(|n| (1..=end - out.len()).contains(n))?;
        let shape = take_shape(&mut bytes)?;
        let hints = take_hints(&mut bytes, segment)?;
        let (positive, negative) = (shape.positive.counts.len(), shape.negative.counts.len());
        if segment
            .checked_mul(3 + positive + negative)
            .is_none_or(|numbers| SEGMENT_NUMBERS_MAX.max(3 + positive + negative) < numbers)
        {
            return None;
        }
        let mut columns = Vec::new();
        for _ in 0..3 + positive + negative {
            values::decode(&mut bytes, segment, scratch, &mut columns)?;
        }
        for row in 0..segment {
            let at = |column: usize| columns.get(column * segment + row).copied().unwrap_or_default();
            out.push(Arc::new(Histogram {
                reset_hint: hints.get(row).copied().unwrap_or_default(),
                schema: shape.schema,
                zero_threshold: shape.zero_threshold,
                count: at(0),
                zero_count: at(1),
                sum: at(2),
                positive: Buckets {
                    spans: shape.positive.spans.clone(),
                    counts: (0..positive).map(|bucket| at(3 + bucket)).collect(),
                },
                negative: Buckets {
                    spans: shape.negative.spans.clone(),
                    counts: (0..negative).map(|bucket| at(3 + positive + bucket)).collect(),
                },
                custom_bounds: Arc::clone(&shape.custom_bounds),
            }));
        }
    }
    bytes.is_empty().then_some(())
}

fn same_shape(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive.spans == b.positive.spans
        && a.negative.spans == b.negative.spans
        && a.positive.counts.len() == b.positive.counts.len()
        && a.negative.counts.len() == b.negative.counts.len()
        && a.custom_bounds.len() == b.custom_bounds.len()
        && a.custom_bounds.iter().zip(b.custom_bounds.iter()).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn put_shape(shape: &Histogram, out: &mut Vec<u8>) {
    out.push(shape.schema as u8);
    histogram::put_number(shape.zero_threshold, out);
    for side in [&shape.positive, &shape.negative] {
        put(side.spans.len() as u64, out);
        for span in &side.spans {
            put(zigzag(span.offset.into()), out);
            put(span.len.into(), out);
        }
    }
    put(shape.custom_bounds.len() as u64, out);
    for bound in shape.custom_bounds.iter() {
        out.extend_from_slice(&bound.to_bits().to_le_bytes());
    }
}

/// A histogram whose counts have the right length and no meaning.
fn take_shape(bytes: &mut &[u8]) -> Option<Histogram> {
    let (&schema, rest) = bytes.split_first()?;
    *bytes = rest;
    let zero_threshold = histogram::take_number(bytes)?;
    let positive = take_spans(bytes)?;
    let negative = take_spans(bytes)?;
    let bounds = take_count(bytes, histogram::SPANS_MAX)?;
    let mut custom_bounds = Vec::with_capacity(bounds.min(bytes.len() / 8));
    for _ in 0..bounds {
        let (bound, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        custom_bounds.push(f64::from_bits(u64::from_le_bytes(*bound)));
    }
    let schema = schema as i8;
    let custom_bounds = Arc::from(custom_bounds);
    Some(Histogram { schema, zero_threshold, positive, negative, custom_bounds, ..Histogram::default() })
}

fn take_spans(bytes: &mut &[u8]) -> Option<Buckets> {
    let count = take_count(bytes, histogram::SPANS_MAX)?;
    let mut spans = Vec::with_capacity(count.min(bytes.len()));
    let mut buckets = 0_usize;
    for _ in 0..count {
        let offset = i32::try_from(unzigzag(take(bytes)?)).ok()?;
        let len = u32::try_from(take(bytes)?).ok()?;
        buckets += len as usize;
        spans.push(BucketSpan { offset, len });
    }
    // Each bucket is a column of two bytes at least, so lies about their number end here.
    let counts = (buckets <= histogram::BUCKETS_MAX && buckets <= bytes.len()).then(|| vec![0.0; buckets])?;
    Some(Buckets { spans, counts })
}

fn take_count(bytes: &mut &[u8], max: usize) -> Option<usize> {
    usize::try_from(take(bytes)?).ok().filter(|count| *count <= max)
}

fn put_hints(segment: &[Arc<Histogram>], out: &mut Vec<u8>) {
    let byte = |histogram: &Arc<Histogram>| {
        HINTS.iter().position(|hint| *hint == histogram.reset_hint).unwrap_or_default() as u8
    };
    let first = segment.first().map(byte).unwrap_or_default();
    if segment.iter().all(|histogram| byte(histogram) == first) {
        out.push(first);
    } else {
        out.push(MIXED);
        out.extend(segment.iter().map(byte));
    }
}

fn take_hints(bytes: &mut &[u8], count: usize) -> Option<Vec<ResetHint>> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    let hint = |byte: u8| HINTS.get(usize::from(byte)).copied();
    if first != MIXED {
        return Some(vec![hint(first)?; count]);
    }
    let (hints, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    hints.iter().map(|byte| hint(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{histogram::same_bits, *};

    fn grown(buckets: u32, step: u32) -> Histogram {
        let positive = Buckets::from_sorted((0..buckets).map(|i| (i as i32 * 2, f64::from(step * (i + 1)))));
        let count = positive.counts.iter().sum();
        Histogram { schema: 3, count, sum: f64::from(step) * 0.125, positive, ..Histogram::default() }
    }

    fn check(histograms: &[Histogram]) -> usize {
        let histograms: Vec<Arc<Histogram>> = histograms.iter().cloned().map(Arc::new).collect();
        let (mut scratch, mut bytes, mut back) = (values::Scratch::default(), Vec::new(), Vec::new());
        encode(&histograms, &mut scratch, &mut bytes);
        assert_eq!(decode(&bytes, histograms.len(), &mut scratch, &mut back), Some(()));
        assert!(back.len() == histograms.len() && back.iter().zip(&histograms).all(|(a, b)| same_bits(a, b)));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], histograms.len(), &mut scratch, &mut Vec::new()), None, "cut at {cut}");
        }
        bytes.len()
    }

    #[test]
    fn a_growing_histogram_takes_a_few_bytes_a_sample() {
        let histograms: Vec<_> = (1..=120).map(|step| grown(20, step * 7 + step % 5)).collect();
        assert!(check(&histograms) < 120 * 24, "a byte a bucket, about");
    }

    #[test]
    fn shapes_and_hints_may_change() {
        let mut histograms: Vec<_> = (1..9).map(|step| grown(step / 3, step)).collect();
        histograms[4].reset_hint = ResetHint::Reset;
        histograms[5].sum = f64::from_bits(0x7ff0_0000_0000_0002);
        histograms[6].custom_bounds = Arc::from([0.1, -0.0, f64::INFINITY]);
        histograms[7].zero_threshold = 1e-128;
        check(&histograms);
        check(&[]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80), count in 0_usize..1000) {
            let mut out = Vec::new();
            decode(&bytes, count, &mut values::Scratch::default(), &mut out);
            prop_assert!(out.len() <= count);
        }
    }
}

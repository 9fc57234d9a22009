//! One native histogram as bytes that stand for themselves.
//!
//! Layout, numbers as LEB128 varints (`varint`), signed ones zigzag, floats as in [`put_number`]:
//!
//! ```text
//! reset hint u8, schema i8, zero threshold, zero count, count, sum,
//! positive side, negative side: spans n, n × (offset zigzag, length), counts n × number
//! custom bounds: n, n × 8 bytes LE
//! ```
//!
//! Not here: sequences of histograms of one series, where each says only what changed since the one before.
//! Invariant: every bit of every float comes back, those of `NaN`s too.

use std::sync::Arc;

use homeostat_model::histogram::{BucketSpan, Buckets, Histogram, ResetHint};

use crate::varint;

/// Spans and bounds of one histogram at most: four times what any known client sends by default.
pub const SPANS_MAX: usize = 4096;
/// Buckets of one side at most; schema 8 has 524,000 for all doubles, a default client keeps 160.
pub const BUCKETS_MAX: usize = 65_536;

/// Appends a float: a whole number of up to 2^53 as a tag 0 to 8 with as many bytes of its zigzag form, every other
/// value as tag 16 to 24 with as many of its highest bytes; those left out are zero.
pub fn put_number(value: f64, out: &mut Vec<u8>) {
    let whole = value as i64;
    // The comparison of bits keeps -0.0 apart from 0.0 and every NaN out.
    if whole.unsigned_abs() <= 1 << 53 && (whole as f64).to_bits() == value.to_bits() {
        let bits = varint::zigzag(whole);
        let len = (64 - bits.leading_zeros()).div_ceil(8) as usize;
        out.push(len as u8);
        out.extend_from_slice(bits.to_le_bytes().get(..len).unwrap_or_default());
        return;
    }
    let bits = value.to_bits();
    let len = 8 - (bits.trailing_zeros() / 8).min(8) as usize;
    out.push(16 + len as u8);
    out.extend_from_slice(bits.to_be_bytes().get(..len).unwrap_or_default());
}

/// Takes a float off the beginning of `bytes`.
pub fn take_number(bytes: &mut &[u8]) -> Option<f64> {
    let (&tag, rest) = bytes.split_first()?;
    let len = usize::from(tag & 15);
    if 24 < tag || 8 < len {
        return None;
    }
    let (head, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    let mut word = [0; 8];
    word.get_mut(..len)?.copy_from_slice(head);
    if tag < 16 {
        return Some(varint::unzigzag(u64::from_le_bytes(word)) as f64);
    }
    Some(f64::from_bits(u64::from_be_bytes(word)))
}

/// Appends a histogram.
pub fn put(histogram: &Histogram, out: &mut Vec<u8>) {
    out.push(match histogram.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    });
    out.push(histogram.schema as u8);
    for value in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
        put_number(value, out);
    }
    for side in [&histogram.positive, &histogram.negative] {
        varint::put(side.spans.len() as u64, out);
        for span in &side.spans {
            varint::put(varint::zigzag(span.offset.into()), out);
            varint::put(span.len.into(), out);
        }
        varint::put(side.counts.len() as u64, out);
        side.counts.iter().for_each(|count| put_number(*count, out));
    }
    varint::put(histogram.custom_bounds.len() as u64, out);
    histogram.custom_bounds.iter().for_each(|bound| out.extend_from_slice(&bound.to_bits().to_le_bytes()));
}

/// Takes a histogram off the beginning of `bytes`; `None` when it is cut short or none. What comes out has the right
/// shape but need not pass [`Histogram::check`].
pub fn take(bytes: &mut &[u8]) -> Option<Histogram> {
    let reset_hint = match take_byte(bytes)? {
        0 => ResetHint::Unknown,
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        3 => ResetHint::Gauge,
        _ => return None,
    };
    let schema = take_byte(bytes)? as i8;
    let zero_threshold = take_number(bytes)?;
    let zero_count = take_number(bytes)?;
    let count = take_number(bytes)?;
    let sum = take_number(bytes)?;
    let positive = take_side(bytes)?;
    let negative = take_side(bytes)?;
    let bounds = take_count(bytes, SPANS_MAX)?;
    let mut custom_bounds = Vec::with_capacity(bounds.min(bytes.len() / 8));
    for _ in 0..bounds {
        let (bound, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        custom_bounds.push(f64::from_bits(u64::from_le_bytes(*bound)));
    }
    let custom_bounds = Arc::from(custom_bounds);
    Some(Histogram { reset_hint, schema, zero_threshold, zero_count, count, sum, positive, negative, custom_bounds })
}

fn take_side(bytes: &mut &[u8]) -> Option<Buckets> {
    let spans_len = take_count(bytes, SPANS_MAX)?;
    let mut spans = Vec::with_capacity(spans_len.min(bytes.len()));
    for _ in 0..spans_len {
        let offset = i32::try_from(varint::unzigzag(varint::take(bytes)?)).ok()?;
        let len = u32::try_from(varint::take(bytes)?).ok()?;
        spans.push(BucketSpan { offset, len });
    }
    let counts_len = take_count(bytes, BUCKETS_MAX)?;
    let mut counts = Vec::with_capacity(counts_len.min(bytes.len()));
    for _ in 0..counts_len {
        counts.push(take_number(bytes)?);
    }
    Some(Buckets { spans, counts })
}

fn take_count(bytes: &mut &[u8], max: usize) -> Option<usize> {
    usize::try_from(varint::take(bytes)?).ok().filter(|count| *count <= max)
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

/// Returns true when both have the same bits throughout: `NaN`s equal themselves, `-0.0` differs from `0.0`.
pub fn same_bits(a: &Histogram, b: &Histogram) -> bool {
    let same = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    let head = |h: &Histogram| [h.zero_threshold, h.zero_count, h.count, h.sum];
    (a.reset_hint, a.schema) == (b.reset_hint, b.schema)
        && same(&head(a), &head(b))
        && a.positive.spans == b.positive.spans
        && a.negative.spans == b.negative.spans
        && same(&a.positive.counts, &b.positive.counts)
        && same(&a.negative.counts, &b.negative.counts)
        && same(&a.custom_bounds, &b.custom_bounds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arb_buckets() -> impl Strategy<Value = Buckets> {
        proptest::collection::vec((any::<i32>(), 0_u32..5), 0..4).prop_flat_map(|spans| {
            let len: u32 = spans.iter().map(|(_, len)| len).sum();
            let spans: Vec<BucketSpan> = spans.into_iter().map(|(offset, len)| BucketSpan { offset, len }).collect();
            proptest::collection::vec(arb_f64(), len as usize)
                .prop_map(move |counts| Buckets { spans: spans.clone(), counts })
        })
    }

    fn arb_f64() -> impl Strategy<Value = f64> {
        prop_oneof![any::<u64>().prop_map(f64::from_bits), (-1000_i64..1000).prop_map(|n| n as f64), Just(-0.0)]
    }

    fn arb_histogram() -> impl Strategy<Value = Histogram> {
        (any::<i8>(), [arb_f64(), arb_f64(), arb_f64(), arb_f64()], arb_buckets(), arb_buckets()).prop_map(
            |(schema, [zero_threshold, zero_count, count, sum], positive, negative)| Histogram {
                reset_hint: ResetHint::NotReset,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                custom_bounds: Arc::from(positive.counts.as_slice()),
                positive,
                negative,
            },
        )
    }

    proptest! {
        #[test]
        fn numbers_come_back_bit_by_bit(value in arb_f64()) {
            let mut out = Vec::new();
            put_number(value, &mut out);
            let mut bytes = out.as_slice();
            prop_assert_eq!(take_number(&mut bytes).map(f64::to_bits), Some(value.to_bits()));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn histograms_come_back_bit_by_bit(histogram in arb_histogram()) {
            let mut out = Vec::new();
            put(&histogram, &mut out);
            let mut bytes = out.as_slice();
            prop_assert!(take(&mut bytes).is_some_and(|back| same_bits(&back, &histogram)));
            prop_assert!(bytes.is_empty());
            for cut in 0..out.len() {
                prop_assert!(take(&mut &out[..cut]).is_none(), "cut at {}", cut);
            }
        }
    }
}

//! Columns of floats, every bit of them.
//!
//! ```text
//! u8        0 a constant: one number (`histogram::put_number`)
//!           16 + e decimal: whole numbers (`ints`) divided by 10^e, e from 0 to 12
//!           32 + e the same with exceptions before them: n, n × (distance to the one before, 8 bytes LE)
//!           64 the bits of the floats as ordered whole numbers (`ints`)
//! ```
//!
//! Exceptions keep the marker at the end of a series, or a `NaN` among numbers, from spoiling a decimal column. Ordered
//! bits (neighbouring floats are neighbouring numbers) make differences of long fractions share their leading bits.
//!
//! Invariant: what is encoded comes back bit by bit.

use super::{
    decimal::{EXPONENT_MAX, scale, unscale},
    histogram, ints,
};
use crate::varint::{put, take};

const CONSTANT: u8 = 0;
const DECIMAL: u8 = 16;
const EXCEPTIONS: u8 = 32;
const BITS: u8 = 64;

/// Memory that encoding and decoding work in.
#[derive(Debug, Default)]
pub struct Scratch {
    ints: ints::Scratch,
    whole: Vec<i64>,
    exceptions: Vec<usize>,
}

/// Appends a column.
pub fn encode(values: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        out.push(CONSTANT);
        histogram::put_number(*first, out);
        return;
    }
    let mut whole = std::mem::take(&mut scratch.whole);
    match decimal(values, &mut whole, &mut scratch.exceptions) {
        Some(exponent) if scratch.exceptions.is_empty() => out.push(DECIMAL + exponent),
        Some(exponent) => {
            out.push(EXCEPTIONS + exponent);
            put(scratch.exceptions.len() as u64, out);
            let mut before = 0;
            for at in &scratch.exceptions {
                put((at - before) as u64, out);
                out.extend_from_slice(&values.get(*at).copied().unwrap_or_default().to_bits().to_le_bytes());
                before = *at;
            }
        }
        None => {
            out.push(BITS);
            whole.clear();
            whole.extend(values.iter().map(|value| ordered(value.to_bits())));
        }
    }
    ints::encode(&whole, &mut scratch.ints, out);
    scratch.whole = whole;
}

/// Takes `count` floats off the beginning of `bytes` and appends them; `None` when the bytes are no column.
pub fn decode(bytes: &mut &[u8], count: usize, scratch: &mut Scratch, out: &mut Vec<f64>) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let (&kind, rest) = bytes.split_first()?;
    *bytes = rest;
    scratch.whole.clear();
    let from = out.len();
    match kind {
        CONSTANT => {
            let value = histogram::take_number(bytes)?;
            out.resize(from + count, value);
        }
        DECIMAL..=28 => {
            ints::decode(bytes, count, &mut scratch.whole)?;
            unscale_all(&scratch.whole, kind - DECIMAL, out);
        }
        EXCEPTIONS..=44 => {
            let mut exceptions = *bytes;
            let marks = take(bytes)?;
            for _ in 0..marks.min(count as u64 + 1) {
                take(bytes)?;
                *bytes = bytes.get(8..)?;
            }
            ints::decode(bytes, count, &mut scratch.whole)?;
            unscale_all(&scratch.whole, kind - EXCEPTIONS, out);
            take(&mut exceptions)?;
            let mut at = from;
            for _ in 0..marks {
                at = at.checked_add(usize::try_from(take(&mut exceptions)?).ok()?)?;
                let (bits, rest) = exceptions.split_first_chunk::<8>()?;
                exceptions = rest;
                *out.get_mut(at)? = f64::from_bits(u64::from_le_bytes(*bits));
            }
        }
        BITS => {
            ints::decode(bytes, count, &mut scratch.whole)?;
            out.extend(scratch.whole.iter().map(|whole| f64::from_bits(unordered(*whole))));
        }
        _ => return None,
    }
    Some(())
}

/// As [`decode`], but appends only the values whose places are named, which ascend: what nobody looks at is not turned
/// into floats.
pub fn decode_some(
    bytes: &mut &[u8],
    count: usize,
    places: &[u32],
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let Some(kind @ DECIMAL..=28) = bytes.first() else {
        let from = out.len();
        decode(bytes, count, scratch, out)?;
        for (to, at) in (from..).zip(places) {
            let value = *out.get(from + *at as usize)?;
            *out.get_mut(to)? = value;
        }
        out.truncate(from + places.len());
        return Some(());
    };
    let exponent = kind - DECIMAL;
    *bytes = bytes.get(1..)?;
    scratch.whole.clear();
    ints::decode(bytes, count, &mut scratch.whole)?;
    for at in places {
        out.push(unscale(*scratch.whole.get(*at as usize)?, exponent));
    }
    Some(())
}

fn unscale_all(whole: &[i64], exponent: u8, out: &mut Vec<f64>) {
    out.extend(whole.iter().map(|whole| unscale(*whole, exponent)));
}

/// The smallest exponent that suits all values but a few, which are listed; in their place stands the number before.
fn decimal(values: &[f64], whole: &mut Vec<i64>, exceptions: &mut Vec<usize>) -> Option<u8> {
    let exceptions_max = values.len() / 16 + 1;
    let mut exponent = 0;
    exceptions.clear();
    for (at, value) in values.iter().enumerate() {
        if let Some(suits) = (exponent..=EXPONENT_MAX).find(|exponent| scale(*value, *exponent).is_some()) {
            exponent = suits;
            continue;
        }
        exceptions.push(at);
        if exceptions_max < exceptions.len() {
            return None;
        }
    }
    // A finer exponent may have become too fine for values before it.
    whole.clear();
    exceptions.clear();
    for (at, value) in values.iter().enumerate() {
        let scaled = scale(*value, exponent).unwrap_or_else(|| {
            exceptions.push(at);
            whole.last().copied().unwrap_or(0)
        });
        whole.push(scaled);
    }
    (exceptions.len() <= exceptions_max).then_some(exponent)
}

/// Bits of a float as a number that is ordered as the floats are.
const fn ordered(bits: u64) -> i64 {
    let bits = bits as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The inverse of [`ordered`], which is its own.
const fn unordered(whole: i64) -> u64 {
    ordered(whole as u64) as u64
}

#[cfg(test)]
mod tests {
    use homeostat_model::sample::stale_marker;
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[f64]) -> usize {
        let (mut scratch, mut bytes, mut back) = (Scratch::default(), Vec::new(), vec![0.5]);
        encode(values, &mut scratch, &mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(decode(&mut rest, values.len(), &mut scratch, &mut back), Some(()));
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!((bits(&back[1..]), rest.len()), (bits(values), 0));
        let places: Vec<u32> = (0..values.len() as u32).filter(|at| at % 5 < 2).collect();
        let (mut some, mut rest) = (vec![0.5], bytes.as_slice());
        assert_eq!(decode_some(&mut rest, values.len(), &places, &mut scratch, &mut some), Some(()));
        let chosen: Vec<f64> = places.iter().map(|at| values[*at as usize]).collect();
        assert_eq!((bits(&some[1..]), rest.len()), (bits(&chosen), 0));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&mut &bytes[..cut], values.len(), &mut scratch, &mut Vec::new()), None, "cut at {cut}");
        }
        bytes.len()
    }

    #[test]
    fn usual_columns_take_little() {
        let n = 0..240;
        assert!(check(&[7.0; 240]) < 4, "a constant");
        assert!(check(&n.clone().map(|i| f64::from(i * 7919 % 1000) / 1000.0).collect::<Vec<_>>()) < 320, "a share");
        let mut ended: Vec<f64> = n.clone().map(|i| f64::from(i * 100)).collect();
        ended.push(stale_marker());
        assert!(check(&ended) < 40, "a counter that ends");
        let sums: Vec<f64> = n.map(|i| f64::from(i + 1000) * 0.049_876_543_21).collect();
        assert!(check(&sums) < 240 * 6, "sums of long fractions");
    }

    #[test]
    fn bits_are_ordered_as_floats_are() {
        let ascending = [f64::NEG_INFINITY, -1.5, -5e-324, -0.0, 0.0, 5e-324, 1.0, f64::INFINITY];
        assert!(ascending.array_windows().all(|[a, b]| ordered(a.to_bits()) < ordered(b.to_bits())));
    }

    #[test]
    fn odd_columns_come_back() {
        check(&[]);
        check(&[f64::NAN]);
        check(&[-0.0, 0.0, -0.0, 0.0]);
        check(&[1.0, f64::NAN, f64::from_bits(0xfff0_0000_0000_0001), stale_marker()]);
        check(&[1e15, 0.001, 1e300, 0.25]);
        check(&[9_007_199_254_740_993.0, 0.125, 2_251_799_813_685_247.5]);
    }

    proptest! {
        #[test]
        fn arbitrary_columns_come_back(
            values in proptest::collection::vec(
                prop_oneof![
                    8 => (-10_000_i64..10_000).prop_map(|n| n as f64 / 100.0),
                    1 => any::<u64>().prop_map(f64::from_bits),
                ],
                0..200,
            ),
            odd in proptest::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..50),
        ) {
            check(&values);
            check(&odd);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60), count in 0_usize..2000) {
            let mut out = Vec::new();
            decode(&mut bytes.as_slice(), count, &mut Scratch::default(), &mut out);
            prop_assert!(out.len() <= count);
        }
    }
}

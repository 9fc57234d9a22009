//! Columns of whole numbers: differences, a common base, and as few bits as the spread needs.
//!
//! ```text
//! u8        bits 0-1 order: 0 the numbers, 1 their differences, 2 the differences of those
//!           bit 2 a common factor follows   bit 3 in pieces of 128   bit 4 pieces may have outliers
//! varint    first number (zigzag), for orders 1 and 2
//! varint    first difference (zigzag), for order 2
//! varint    common factor of everything that follows, if bit 2
//! pieces    base (zigzag varint), width u8,
//!           with bit 4: outliers n, n × (distance to the one before, difference to the base zigzag),
//!           the numbers minus the base in `width` bits each, zero for an outlier
//! ```
//!
//! The count of numbers stands elsewhere. All arithmetic wraps, so every `i64` comes back. A counter that grows by 70 to
//! 130 takes six bits a number; a constant or an even step takes none; the start of a counter anew is an outlier.
//!
//! Not here: floats (`values`).
//! Source of the idea: Zukowski et al., "Super-Scalar RAM-CPU Cache Compression" (PFOR), ICDE 2006.

use super::bits::{pack, packed_bytes, unpack};
use crate::varint::{put, take, unzigzag, zigzag};

/// Numbers of one piece, where pieces pay.
const PIECE: usize = 128;
const FACTOR: u8 = 1 << 2;
const PIECES: u8 = 1 << 3;
const OUTLIERS: u8 = 1 << 4;
/// Numbers that are looked at to choose the order.
const LOOKED_AT: usize = 48;

/// Memory that encoding works in.
#[derive(Debug, Default)]
pub struct Scratch {
    residuals: Vec<i64>,
    sorted: Vec<i64>,
    outliers: Vec<u8>,
}

/// Appends a column.
pub fn encode(values: &[i64], scratch: &mut Scratch, out: &mut Vec<u8>) {
    let order = choose_order(values);
    let mut residuals = std::mem::take(&mut scratch.residuals);
    differences(values, order, &mut residuals);
    let factor = common_factor(&residuals);
    if factor > 1 {
        for residual in &mut residuals {
            *residual /= factor as i64;
        }
    }
    let whole = Plan::of(&residuals, &mut scratch.sorted);
    let mut plans = vec![whole];
    let mut flags = order as u8 | if factor > 1 { FACTOR } else { 0 };
    if residuals.len() >= 2 * PIECE {
        let pieces: Vec<Plan> = residuals.chunks(PIECE).map(|piece| Plan::of(piece, &mut scratch.sorted)).collect();
        if pieces.iter().map(|plan| plan.bytes).sum::<usize>() < whole.bytes {
            flags |= PIECES;
            plans = pieces;
        }
    }
    if plans.iter().any(|plan| plan.outliers > 0) {
        flags |= OUTLIERS;
    }
    out.push(flags);
    if let (1.., Some(first)) = (order, values.first()) {
        put(zigzag(*first), out);
    }
    if let (2, [first, second, ..]) = (order, values) {
        put(zigzag(second.wrapping_sub(*first)), out);
    }
    if factor > 1 {
        put(factor, out);
    }
    let piece = if flags & PIECES == 0 { residuals.len().max(1) } else { PIECE };
    for (residuals, plan) in residuals.chunks(piece).zip(&plans) {
        plan.write(residuals, flags & OUTLIERS != 0, &mut scratch.outliers, out);
    }
    scratch.residuals = residuals;
}

/// Takes `count` numbers off the beginning of `bytes` and appends them; `None` when the bytes are no column.
pub fn decode(bytes: &mut &[u8], count: usize, out: &mut Vec<i64>) -> Option<()> {
    let (&flags, rest) = bytes.split_first()?;
    *bytes = rest;
    let order = usize::from(flags & 3);
    if order == 3 || flags >> 5 != 0 {
        return None;
    }
    let start = out.len();
    let (mut first, mut step) = (0, 0);
    if order >= 1 && count >= 1 {
        first = unzigzag(take(bytes)?);
        out.push(first);
    }
    if order == 2 && count >= 2 {
        step = unzigzag(take(bytes)?);
        first = first.wrapping_add(step);
        out.push(first);
    }
    let factor = if flags & FACTOR == 0 { 1 } else { take(bytes)? as i64 };
    let mut left = count - (out.len() - start);
    while left > 0 {
        let here = if flags & PIECES == 0 { left } else { left.min(PIECE) };
        let from = out.len();
        read_piece(bytes, here, flags & OUTLIERS != 0, out)?;
        if factor != 1 {
            out.iter_mut().skip(from).for_each(|residual| *residual = residual.wrapping_mul(factor));
        }
        left -= here;
    }
    let residuals = out.get_mut(start + order.min(count)..)?;
    match order {
        1 => accumulate(residuals, first),
        2 => {
            accumulate(residuals, step);
            accumulate(residuals, first);
        }
        _ => {}
    }
    Some(())
}

fn accumulate(values: &mut [i64], mut sum: i64) {
    for value in values {
        sum = sum.wrapping_add(*value);
        *value = sum;
    }
}

fn read_piece(bytes: &mut &[u8], count: usize, outliers: bool, out: &mut Vec<i64>) -> Option<()> {
    let base = unzigzag(take(bytes)?);
    let (&width, rest) = bytes.split_first()?;
    *bytes = rest;
    let mut marked = *bytes;
    let marks = if outliers { take(bytes)? } else { 0 };
    for _ in 0..marks.min(count as u64 + 1) {
        take(bytes)?;
        take(bytes)?;
    }
    let from = out.len();
    *bytes = unpack(bytes, width.into(), count, out, |word| base.wrapping_add(word as i64))?;
    if outliers {
        take(&mut marked)?;
        let mut at = from;
        for _ in 0..marks {
            at = at.checked_add(usize::try_from(take(&mut marked)?).ok()?)?;
            *out.get_mut(at)? = base.wrapping_add(unzigzag(take(&mut marked)?));
        }
    }
    Some(())
}

/// How a piece is written.
#[derive(Clone, Copy, Debug)]
struct Plan {
    base: i64,
    width: u32,
    outliers: usize,
    /// Bytes that it takes, about.
    bytes: usize,
}

impl Plan {
    /// The base and width that take least: all numbers, or all but the few at both ends.
    fn of(residuals: &[i64], sorted: &mut Vec<i64>) -> Self {
        let Some((min, max)) = residuals.iter().copied().map(|r| (r, r)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
        else {
            return Self { base: 0, width: 0, outliers: 0, bytes: 2 };
        };
        let whole = Self::between(min, max, residuals.len(), 0, 0);
        let mut best = whole;
        for share in [64, 12] {
            let cut = residuals.len() / share;
            let cut = if share == 64 { cut.max(1) } else { cut };
            if whole.width == 0 || residuals.len() < 4 || residuals.len() <= 2 * cut {
                break;
            }
            sorted.clear();
            sorted.extend_from_slice(residuals);
            let high = sorted.len() - 1 - cut;
            let low_end = *sorted.select_nth_unstable(cut).1;
            let high_end = *sorted.select_nth_unstable(high).1;
            // The ends may be cut on one side only: a counter that starts anew is an outlier below.
            for (from, to) in [(low_end, high_end), (low_end, max), (min, high_end)] {
                let width = width_of(from, to);
                if width < best.width {
                    let top = (from as i128 + ((1_i128 << width) - 1)).min(i64::MAX.into()) as i64;
                    let outside = residuals.iter().filter(|r| **r < from || top < **r);
                    let (count, cost) = outside.fold((0, 0), |(count, cost), r| {
                        (count + 1, cost + 1 + (70 - zigzag(r.wrapping_sub(from)).leading_zeros() as usize) / 7)
                    });
                    let plan = Self::between(from, to, residuals.len(), count, cost);
                    best = if plan.bytes < best.bytes { plan } else { best };
                }
            }
        }
        best
    }

    fn between(from: i64, to: i64, count: usize, outliers: usize, outlier_bytes: usize) -> Self {
        let width = width_of(from, to);
        let bytes = 4 + packed_bytes(count, width) + outlier_bytes + usize::from(outliers > 0);
        Self { base: from, width, outliers, bytes }
    }

    fn write(&self, residuals: &[i64], marked: bool, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        put(zigzag(self.base), out);
        out.push(self.width as u8);
        let limit = if self.width == 64 { u64::MAX } else { (1 << self.width) - 1 };
        let fits = |residual: i64| Some(residual.wrapping_sub(self.base) as u64).filter(|word| *word <= limit);
        if marked {
            scratch.clear();
            let (mut count, mut before) = (0, 0);
            for (at, residual) in residuals.iter().enumerate().filter(|(_, residual)| fits(**residual).is_none()) {
                put((at - before) as u64, scratch);
                put(zigzag(residual.wrapping_sub(self.base)), scratch);
                (count, before) = (count + 1, at);
            }
            put(count, out);
            out.extend_from_slice(scratch);
        }
        pack(residuals.iter().map(|residual| fits(*residual).unwrap_or(0)), self.width, out);
    }
}

fn width_of(from: i64, to: i64) -> u32 {
    64 - (to.wrapping_sub(from) as u64).leading_zeros()
}

fn differences(values: &[i64], order: usize, out: &mut Vec<i64>) {
    out.clear();
    match order {
        0 => out.extend_from_slice(values),
        1 => out.extend(values.array_windows().map(|[a, b]| b.wrapping_sub(*a))),
        _ => out.extend(values.array_windows().map(|[a, b, c]| second_difference(*a, *b, *c))),
    }
}

fn second_difference(a: i64, b: i64, c: i64) -> i64 {
    c.wrapping_sub(b).wrapping_sub(b.wrapping_sub(a))
}

/// The order whose numbers spread least, by a look at some of them that ignores the ends.
fn choose_order(values: &[i64]) -> usize {
    if values.len() < 3 {
        return usize::from(values.len() == 2);
    }
    let stride = values.len().div_ceil(LOOKED_AT);
    let mut spreads = [0; 3];
    let mut looked = [0_i64; LOOKED_AT];
    for (order, spread) in spreads.iter_mut().enumerate() {
        let mut count = 0;
        for (slot, window) in looked.iter_mut().zip(values.array_windows::<3>().step_by(stride)) {
            let [a, b, c] = *window;
            *slot = match order {
                0 => c,
                1 => c.wrapping_sub(b),
                _ => second_difference(a, b, c),
            };
            count += 1;
        }
        let Some(seen) = looked.get_mut(..count) else { continue };
        let cut = count / 12;
        let low = *seen.select_nth_unstable(cut).1;
        let high = *seen.select_nth_unstable(count - 1 - cut).1;
        *spread = high.wrapping_sub(low) as u64;
    }
    let [plain, first, second] = spreads.map(|spread| 64 - spread.leading_zeros());
    // At equal cost the simpler one; the second order must save something, because it doubles noise and outliers.
    if second + 1 < first && second < plain { 2 } else { usize::from(first < plain) }
}

fn common_factor(residuals: &[i64]) -> u64 {
    let mut factor = 0;
    for residual in residuals {
        factor = gcd(factor, residual.unsigned_abs());
        if factor == 1 {
            return 1;
        }
    }
    // 2^63 has no counterpart among the positive numbers.
    if factor <= 1 || factor > i64::MAX as u64 { 1 } else { factor }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[i64]) -> usize {
        let (mut scratch, mut bytes, mut back) = (Scratch::default(), Vec::new(), vec![7]);
        encode(values, &mut scratch, &mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(decode(&mut rest, values.len(), &mut back), Some(()));
        assert_eq!((&back[1..], rest.len()), (values, 0));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&mut &bytes[..cut], values.len(), &mut Vec::new()), None, "cut at {cut}");
        }
        bytes.len()
    }

    #[test]
    fn usual_columns_take_little() {
        let n = 0..1000_i64;
        assert!(check(&n.clone().map(|i| 1_700_000_000_000 + 15_000 * i).collect::<Vec<_>>()) < 15, "even times");
        assert!(check(&n.clone().map(|_| 5).collect::<Vec<_>>()) < 8, "a constant");
        let counter = |i: i64| 100 * i + i * 7919 % 61;
        assert!(check(&n.clone().map(counter).collect::<Vec<_>>()) < 1000 * 7 / 8 + 20, "a counter");
        let anew = n.clone().map(|i| counter(if i < 500 { i } else { i - 500 })).collect::<Vec<_>>();
        assert!(check(&anew) < 1000 * 7 / 8 + 30, "a counter that starts anew");
        assert!(check(&n.clone().map(|i| 4096 * (i * 7919 % 13)).collect::<Vec<_>>()) < 520, "pages of memory");
        let quiet = n.map(|i| if i < 900 { 3 } else { i * 7919 % 1000 }).collect::<Vec<_>>();
        assert!(check(&quiet) < 300, "quiet, then not");
    }

    #[test]
    fn the_ends_of_the_range_come_back() {
        check(&[]);
        check(&[i64::MIN]);
        check(&[i64::MAX, i64::MIN]);
        check(&[i64::MAX, i64::MIN, i64::MAX, 0, -1]);
        check(&[i64::MIN, 0, i64::MIN, 0, i64::MIN, 0]);
        check(&[i64::MIN; 9]);
    }

    proptest! {
        #[test]
        fn arbitrary_columns_come_back(
            values in proptest::collection::vec(
                prop_oneof![5 => -100_i64..100, 2 => (-100_i64..100).prop_map(|n| n * 4096), 1 => any::<i64>()], 0..400),
            slope in any::<i32>(),
        ) {
            check(&values);
            let sloped: Vec<_> = values.iter().zip(0..).map(|(v, i)| v.wrapping_add(i * i64::from(slope))).collect();
            check(&sloped);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60), count in 0_usize..2000) {
            let mut out = Vec::new();
            decode(&mut bytes.as_slice(), count, &mut out);
            prop_assert!(out.len() <= count + 1);
        }
    }
}

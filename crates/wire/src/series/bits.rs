//! Numbers of the same few bits, one behind the other, lowest bit first.
//!
//! Invariant: `unpack` reads no byte beyond the packed ones and never more than it is told.

/// Bytes that `count` numbers of `width` bits take.
pub const fn packed_bytes(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends numbers below 2^width.
pub fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let (mut word, mut filled) = (0_u128, 0);
    for value in values {
        word |= u128::from(value) << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&(word as u64).to_le_bytes());
            word >>= 64;
            filled -= 64;
        }
    }
    let rest = (word as u64).to_le_bytes();
    out.extend_from_slice(rest.get(..filled.div_ceil(8) as usize).unwrap_or_default());
}

/// Appends what `map` makes of each of `count` numbers of `width` bits, 64 at most; `None` when there are not enough
/// bytes. Gives the bytes behind.
#[inline]
pub fn unpack<'a, T: Clone>(
    bytes: &'a [u8],
    width: u32,
    count: usize,
    out: &mut Vec<T>,
    map: impl Fn(u64) -> T,
) -> Option<&'a [u8]> {
    if 64 < width {
        return None;
    }
    let (packed, rest) = bytes.split_at_checked(packed_bytes(count, width))?;
    if width == 0 {
        out.resize(out.len() + count, map(0));
        return Some(rest);
    }
    let mask = u64::MAX >> (64 - width);
    // Whole words while eight bytes are there, several numbers of each; then from a copy with zeros behind it.
    let fast = fast_count(packed.len(), width, count);
    let per_word = (57 / width.max(1)) as usize;
    let mut from = 0;
    out.reserve(count);
    while from < fast {
        let bit = from * width as usize;
        let here = per_word.min(fast - from);
        let word = packed.get(bit / 8..).and_then(|tail| tail.first_chunk::<8>());
        let word = u64::from_le_bytes(*word.unwrap_or(&[0; 8])) >> (bit % 8);
        out.extend((0..here as u32).map(|at| map(word >> (at * width) & mask)));
        from += here;
    }
    for index in fast..count {
        let bit = index * width as usize;
        let mut word = [0; 16];
        let tail = packed.get(bit / 8..).unwrap_or_default();
        let len = tail.len().min(9);
        if let (Some(to), Some(from)) = (word.get_mut(..len), tail.get(..len)) {
            to.copy_from_slice(from);
        }
        out.push(map((u128::from_le_bytes(word) >> (bit % 8)) as u64 & mask));
    }
    Some(rest)
}

/// How many numbers begin where eight bytes are left, of a width that always fits with its bits before it.
const fn fast_count(bytes: usize, width: u32, count: usize) -> usize {
    if 57 < width || bytes < 8 {
        return 0;
    }
    let fast = (bytes - 8) * 8 / width as usize + 1;
    if fast < count { fast } else { count }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(values in proptest::collection::vec(any::<u64>(), 0..200), width in 0_u32..=64) {
            let mask = if width == 0 { 0 } else { u64::MAX >> (64 - width) };
            let values: Vec<u64> = values.into_iter().map(|value| value & mask).collect();
            let mut bytes = Vec::new();
            pack(values.iter().copied(), width, &mut bytes);
            prop_assert_eq!(bytes.len(), packed_bytes(values.len(), width));
            bytes.push(0xff);
            let mut back = Vec::new();
            prop_assert_eq!(unpack(&bytes, width, values.len(), &mut back, |word| word), Some(&[0xff][..]));
            prop_assert_eq!(&back, &values);
            if packed_bytes(values.len(), width) > 0 {
                prop_assert_eq!(unpack(&bytes[..packed_bytes(values.len(), width) - 1], width, values.len(), &mut back, |word| word), None);
            }
        }
    }
}

//! Unsigned numbers in as few bytes as they need: seven bits a byte, lowest first, the eighth says "more follows".
//!
//! Invariant: one number has one encoding. Overlong forms are refused, so equal values are equal bytes.
//! Source: LEB128, as in the DWARF debugging format and in Protocol Buffers.

/// Bytes of the longest number.
pub const VARINT_BYTES_MAX: usize = 10;

/// Appends `value`.
pub fn put(mut value: u64, out: &mut Vec<u8>) {
    while 0x80 <= value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number off the beginning of `bytes`; `None` when it is cut short, overlong or above `u64::MAX`.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for index in 0..VARINT_BYTES_MAX {
        let (&byte, rest) = bytes.split_first()?;
        let bits = u64::from(byte & 0x7f);
        if index == VARINT_BYTES_MAX - 1 && 1 < bits || 0 < index && byte == 0 {
            return None;
        }
        value |= bits << (7 * index);
        *bytes = rest;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Maps small numbers of either sign to small unsigned ones: 0, -1, 1, -2 become 0, 1, 2, 3.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn overlong_and_overflowing_forms_are_refused() {
        for bad in
            [&[][..], &[0x80], &[0x80, 0x00], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            assert_eq!(take(&mut &*bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, shift in 0_u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put(value, &mut out);
            let mut bytes = out.as_slice();
            prop_assert_eq!((take(&mut bytes), bytes.len()), (Some(value), 0));
            prop_assert_eq!(unzigzag(zigzag(value as i64)), value as i64);
        }
    }
}

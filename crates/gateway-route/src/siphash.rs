//! SipHash, a keyed hash with a published definition: the same number on every machine, in every version.
//!
//! The standard library's hashers may change between releases, and a changed hash would move every sticky client to
//! another bucket on an upgrade. SipHash-1-3 is quick on the short keys that cookies are, and keyed, so that services
//! draw independent buckets.
//!
//! Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF"; c compression and d finalisation rounds.

/// Returns SipHash-1-3 of `bytes` under `key`.
pub(crate) fn siphash_1_3(key: (u64, u64), bytes: &[u8]) -> u64 {
    siphash::<1, 3>(key, bytes)
}

fn siphash<const C: usize, const D: usize>((k0, k1): (u64, u64), bytes: &[u8]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        compress::<C>(&mut v, u64::from_le_bytes(*word));
    }
    let last = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    compress::<C>(&mut v, (bytes.len() as u64) << 56 | last);
    v[2] ^= 0xff;
    rounds::<D>(&mut v);
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn compress<const C: usize>(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    rounds::<C>(v);
    v[0] ^= word;
}

fn rounds<const N: usize>([v0, v1, v2, v3]: &mut [u64; 4]) {
    for _ in 0..N {
        *v0 = v0.wrapping_add(*v1);
        *v2 = v2.wrapping_add(*v3);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.rotate_left(32).wrapping_add(*v3);
        *v2 = v2.wrapping_add(*v1);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    #[test]
    fn the_paper_s_vectors_for_2_4_hold() {
        let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let bytes: Vec<u8> = (0..15).collect();
        assert_eq!(siphash::<2, 4>(key, &bytes), 0xa129_ca61_49be_45e5);
        assert_eq!(siphash::<2, 4>(key, &[]), 0x726f_db47_dd0e_0e31);
    }

    #[test]
    fn rounds_1_3_agree_with_the_standard_library_of_today() {
        for len in 0..64_u8 {
            let bytes: Vec<u8> = (0..len).map(|b| b.wrapping_mul(37)).collect();
            let mut std = std::hash::DefaultHasher::new();
            std.write(&bytes);
            assert_eq!(siphash_1_3((0, 0), &bytes), std.finish(), "{len} bytes");
        }
    }

    #[test]
    fn vectors_are_frozen() {
        assert_eq!(siphash_1_3((0, 0), b""), 0xd1fb_a762_150c_532c);
        assert_eq!(siphash_1_3((1, 2), b"user-42"), 0x3b40_31f6_5d8e_28a6);
    }
}

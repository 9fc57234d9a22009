//! XXH64 of bytes, with the seed 0.
//!
//! Prometheus chooses the series of `limit_ratio` by this hash of their labels in the layout that [`Labels`] have too
//! (for names and values below 127 bytes), so that both choose the same.
//!
//! Source: Y. Collet, "xxHash fast digest algorithm", specification 0.1.1.
//!
//! [`Labels`]: homeostat_model::Labels

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

/// The hash of bytes.
pub(super) fn hash64(bytes: &[u8]) -> u64 {
    let (stripes, mut rest) = bytes.as_chunks::<32>();
    let mut hash = if stripes.is_empty() { PRIME_5 } else { stripes_hash(stripes) };
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some((lane, behind)) = rest.split_first_chunk::<8>() {
        hash = (hash ^ round(0, u64::from_le_bytes(*lane))).rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        rest = behind;
    }
    if let Some((lane, behind)) = rest.split_first_chunk::<4>() {
        let lane = u64::from(u32::from_le_bytes(*lane)).wrapping_mul(PRIME_1);
        hash = (hash ^ lane).rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
        rest = behind;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11).wrapping_mul(PRIME_1);
    }
    avalanche(hash)
}

fn stripes_hash(stripes: &[[u8; 32]]) -> u64 {
    let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0_u64.wrapping_sub(PRIME_1)];
    for stripe in stripes {
        let (words, _) = stripe.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, turn)| lane.rotate_left(turn));
    let sum = turned.fold(0_u64, u64::wrapping_add);
    lanes.iter().fold(sum, |hash, lane| (hash ^ round(0, *lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4))
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ hash >> 33).wrapping_mul(PRIME_2);
    hash = (hash ^ hash >> 29).wrapping_mul(PRIME_3);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::hash64;

    #[test]
    fn hashes_are_those_of_the_reference() {
        assert_eq!(hash64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(hash64(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(hash64(b"as"), 0x1c33_0fb2_d66b_e179);
        assert_eq!(hash64(b"asd"), 0x631c_37ce_72a9_7393);
        assert_eq!(hash64(b"asdf"), 0x4158_72f5_99ce_a71e);
        assert_eq!(hash64(b"Call me Ishmael. Some years ago--never mind how long precisely-"), 0x02a2_e854_70d6_fd96);
    }
}

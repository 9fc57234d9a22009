//! Buckets of the latency histogram: fixed, log-linear, found with a shift and an addition.
//!
//! Latencies are whole microseconds. Values below 8 have a bucket each; above, every power of two is cut into 8 equal
//! parts, so that a bucket is at most 12.5 % wide. 256 buckets reach 2^34 µs, over four hours; longer ones count in the last.
//!
//! Invariant: `bucket(us)` is the only bucket with `upper_bound(bucket - 1) < us <= upper_bound(bucket)`.

/// Number of buckets.
pub const BUCKETS: usize = 256;

/// Parts of each power of two, as a power of two itself.
const PARTS_LOG2: u32 = 3;

/// Returns the bucket of a latency in microseconds.
pub const fn bucket(us: u64) -> usize {
    if us < 1 << PARTS_LOG2 {
        return us as usize;
    }
    let exponent = us.ilog2();
    let part = (us >> (exponent - PARTS_LOG2)) & ((1 << PARTS_LOG2) - 1);
    let index = (((exponent - PARTS_LOG2 + 1) as usize) << PARTS_LOG2) + part as usize;
    if index < BUCKETS { index } else { BUCKETS - 1 }
}

/// Returns the largest latency in microseconds that counts in `bucket`; `u64::MAX` for the last one.
pub const fn upper_bound_us(bucket: usize) -> u64 {
    if bucket < 1 << PARTS_LOG2 {
        return bucket as u64;
    }
    if BUCKETS - 1 <= bucket {
        return u64::MAX;
    }
    let shift = (bucket >> PARTS_LOG2) as u32 - 1;
    let part = (bucket & ((1 << PARTS_LOG2) - 1)) as u64;
    (((1 << PARTS_LOG2) + part + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bounds_ascend_and_reach_four_hours() {
        assert!((1..BUCKETS).all(|b| upper_bound_us(b - 1) < upper_bound_us(b)));
        assert!(upper_bound_us(BUCKETS - 2) > 4 * 3_600_000_000);
    }

    proptest! {
        #[test]
        fn a_value_lies_within_its_bucket(us in prop_oneof![0..1_000_u64, any::<u64>(), 0..20_000_000_000_u64]) {
            let found = bucket(us);
            prop_assert!(us <= upper_bound_us(found));
            prop_assert!(found == 0 || upper_bound_us(found - 1) < us);
            if found < BUCKETS - 1 && us > 8 {
                prop_assert!((upper_bound_us(found) - us) as f64 <= us as f64 * 0.125);
            }
        }
    }
}

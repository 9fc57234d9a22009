//! Bounds of buckets.
//!
//! Bucket `i` of schema `n` ends at `2^(i / 2^n)`. Between two powers of two lie `2^n` bounds, the same ones times a
//! power of two everywhere; those of a coarser schema are among those of a finer one. So one table of 256 bounds in
//! `[0.5, 1)` serves all schemas.
//!
//! Clients and servers compare bounds bit by bit, so the table must be the one that everybody has, and that one is not
//! correctly rounded: it starts with 0.5 and 1 / √2 and doubles itself with the next root of 2 until it is full. Roots
//! and products are exactly defined in IEEE 754, so every machine computes the same table.
//! Source: `exponentialBounds` in `model/histogram/generic.go` of Prometheus, of which this is the rule.

use std::sync::LazyLock;

use homeostat_model::histogram::{Histogram, SCHEMA_MAX, SCHEMA_MIN};

/// log2 of the table's length.
const TABLE_BITS: u32 = SCHEMA_MAX as u32;
/// Exponents beyond these are infinite or zero for every fraction, with room for the fraction's own.
const EXPONENT_ABS_MAX: i64 = 1100;

static FRACTIONS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut root = 2_f64.sqrt();
    let mut fractions = vec![0.5, 1.0 / root];
    for _ in 1..TABLE_BITS {
        root = root.sqrt();
        fractions = fractions.iter().flat_map(|fraction| [*fraction, fraction * root]).collect();
    }
    fractions
});

/// Upper bound of the positive bucket `index` in an exponential schema, and the lower bound of `index + 1`. Above the
/// largest number there is one bucket more, for infinity: it begins at the largest number and ends at infinity.
pub fn exponential_bound(index: i64, schema: i8) -> f64 {
    let schema = schema.clamp(SCHEMA_MIN, SCHEMA_MAX);
    let (fraction, exponent) = if schema < 0 {
        (0.5, index.saturating_mul(1 << -schema).saturating_add(1))
    } else {
        let place = (index & ((1 << schema) - 1)) << (SCHEMA_MAX - schema);
        (FRACTIONS.get(place as usize).copied().unwrap_or(0.5), (index >> schema).saturating_add(1))
    };
    if fraction.to_bits() == 0.5_f64.to_bits() && exponent == i64::from(f64::MAX_EXP) + 1 {
        return f64::MAX;
    }
    times_power_of_two(fraction, exponent.clamp(-EXPONENT_ABS_MAX, EXPONENT_ABS_MAX))
}

/// `fraction * 2^exponent`, rounded at most once: the first product of two normal numbers is exact.
fn times_power_of_two(fraction: f64, exponent: i64) -> f64 {
    let half = exponent / 2;
    fraction * power_of_two(half) * power_of_two(exponent - half)
}

/// `2^exponent` for exponents of normal numbers.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << (f64::MANTISSA_DIGITS - 1))
}

/// Upper bound of the positive bucket `index` of a histogram; with custom bounds, -∞ before the first bucket.
pub(super) fn upper_bound(histogram: &Histogram, index: i64) -> f64 {
    if !histogram.has_custom_bounds() {
        return exponential_bound(index, histogram.schema);
    }
    match usize::try_from(index) {
        Ok(index) => histogram.custom_bounds.get(index).copied().unwrap_or(f64::INFINITY),
        Err(_) => f64::NEG_INFINITY,
    }
}

/// The bucket of a coarser schema that holds bucket `index` of a finer one.
pub(super) fn coarser_index(index: i64, from: i8, to: i8) -> i64 {
    let halvings = from.saturating_sub(to).clamp(0, 63);
    (index.saturating_sub(1) >> halvings) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(index: i64, schema: i8, expected: f64) {
        let bound = exponential_bound(index, schema);
        assert_eq!(bound.to_bits(), expected.to_bits(), "bucket {index} of schema {schema}: {bound}, not {expected}");
    }

    #[test]
    fn bounds_are_those_that_everybody_has() {
        // The last digit of a correctly rounded table would be 6 in the first, 8 in the second and 7 in the third.
        check(1, 1, 2.0 * 0.707_106_781_186_547_5);
        check(3, 2, 2.0 * 0.840_896_415_253_714_4);
        check(19, 8, 2.0 * 0.526_395_386_502_313);
        check(1, 2, 2.0 * 0.594_603_557_501_360_5);
        check(7, 3, 2.0 * 0.917_004_043_204_671_1);
        check(255, 8, 2.0 * 0.997_296_056_085_469_8);
    }

    #[test]
    fn powers_of_two_are_exact_in_every_schema() {
        for schema in SCHEMA_MIN..=SCHEMA_MAX {
            for exponent in [-1074, -1073, -1040, -1022, -16, 0, 16, 1008] {
                let index = f64::from(exponent) * 2_f64.powi(schema.into());
                if index.fract() == 0.0 {
                    let half = exponent / 2;
                    check(index as i64, schema, 2_f64.powi(half) * 2_f64.powi(exponent - half));
                }
            }
        }
    }

    #[test]
    fn bounds_ascend_and_end_at_infinity() {
        for schema in SCHEMA_MIN..=SCHEMA_MAX {
            let last = if schema < 0 { 1024 >> -schema } else { 1024 << schema };
            check(last, schema, f64::MAX);
            check(last + 1, schema, f64::INFINITY);
            check(i64::MAX, schema, f64::INFINITY);
            check(i64::MIN, schema, 0.0);
            assert!((-300..300).all(|i| exponential_bound(i, schema) <= exponential_bound(i + 1, schema)));
        }
    }

    #[test]
    fn a_coarser_bucket_holds_its_parts() {
        let parts: Vec<_> = (-3..=5).map(|index| coarser_index(index, 1, 0)).collect();
        assert_eq!(parts, [-1, -1, 0, 0, 1, 1, 2, 2, 3]);
        assert_eq!(coarser_index(7, 3, 3), 7);
    }
}

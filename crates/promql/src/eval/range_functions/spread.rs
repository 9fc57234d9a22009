//! How a window's numbers are spread: variance, quantiles, median absolute deviation.

use std::cmp::Ordering;

use super::kahan::KahanSum;

/// Population variance in one pass (Welford's, corrected for rounding); NaN of none.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let mut mean = KahanSum::default();
    let mut squares = KahanSum::default();
    for value in values {
        count += 1.0;
        let delta = *value - mean.total();
        mean = mean.plus(delta / count);
        squares = squares.plus(delta * (*value - mean.total()));
    }
    squares.total() / count
}

/// The `q`-quantile of the values, between neighbours by their distance: -Inf below 0, +Inf above 1, NaN for NaN and of
/// none. `NaN`s among the values count as the smallest. Changes the order of the values.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    let Some((rank, weight)) = rank(q, values.len()) else { return outside(q) };
    let (_, lower, above) = values.select_nth_unstable_by(rank, nan_first);
    let lower = *lower;
    let upper = above.iter().copied().min_by(nan_first).unwrap_or(lower);
    between(lower, upper, weight)
}

/// As [`quantile`], of values in ascending order.
pub(super) fn quantile_of_sorted(q: f64, values: &[f64]) -> f64 {
    let Some((rank, weight)) = rank(q, values.len()) else { return outside(q) };
    match values.get(rank..) {
        Some([lower, upper, ..]) => between(*lower, *upper, weight),
        Some([lower]) => between(*lower, *lower, weight),
        _ => f64::NAN,
    }
}

/// Index of the value below a quantile and how far it is on the way to the next, 0 to 1; `None` when there is none.
fn rank(q: f64, len: usize) -> Option<(usize, f64)> {
    let last = len.checked_sub(1).filter(|_| (0.0..=1.0).contains(&q))?;
    let rank = q * last as f64;
    Some((rank as usize, rank - rank.floor()))
}

/// What quantiles outside of 0 to 1 are, and those of no values.
fn outside(q: f64) -> f64 {
    if q < 0.0 {
        f64::NEG_INFINITY
    } else if q > 1.0 {
        f64::INFINITY
    } else {
        f64::NAN
    }
}

/// Also with a weight of zero both count: Prometheus has NaN where an infinity comes next.
fn between(lower: f64, upper: f64, weight: f64) -> f64 {
    lower * (1.0 - weight) + upper * weight
}

/// The median distance from the median; NaN as soon as one value is. Changes the values.
pub(super) fn median_absolute_deviation(values: &mut [f64]) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let median = quantile(0.5, values);
    for value in &mut *values {
        *value = (*value - median).abs();
    }
    quantile(0.5, values)
}

/// Ascending, `NaN`s first, and of the zeros the negative one.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that sorting asks for")]
pub(super) fn nan_first(a: &f64, b: &f64) -> Ordering {
    b.is_nan().cmp(&a.is_nan()).then_with(|| a.total_cmp(b))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these calculations are exact")]
mod tests {
    use super::*;

    fn of(q: f64, values: &[f64]) -> f64 {
        quantile(q, &mut values.to_vec())
    }

    #[test]
    fn variance_of_known_numbers() {
        // Mean 4.2, squared distances 17.64 + 14.44 + 14.44 + 4.84 + 1.44 = 52.8.
        assert!((variance(&[0.0, 8.0, 8.0, 2.0, 3.0]) - 10.56).abs() < 1e-12);
        assert_eq!(variance(&[1.599_050_563_727_786_8; 3]), 0.0);
        assert_eq!(variance(&[5.0]), 0.0);
        assert!(variance(&[]).is_nan() && variance(&[1.0, f64::INFINITY]).is_nan());
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        let values = [3.0, 1.0, 2.0, 4.0];
        assert_eq!(of(0.0, &values), 1.0);
        assert_eq!(of(1.0, &values), 4.0);
        assert_eq!(of(0.5, &values), 2.5);
        assert!((of(0.8, &values) - 3.4).abs() < 1e-12);
        assert_eq!(of(0.3, &[7.0]), 7.0);
    }

    #[test]
    fn quantiles_outside_of_their_range() {
        assert_eq!(of(-0.1, &[1.0]), f64::NEG_INFINITY);
        assert_eq!(of(1.1, &[1.0]), f64::INFINITY);
        assert!(of(f64::NAN, &[1.0]).is_nan() && of(0.5, &[]).is_nan());
    }

    #[test]
    fn nan_counts_as_the_smallest() {
        assert!(of(0.0, &[2.0, f64::NAN, 1.0]).is_nan());
        assert_eq!(of(1.0, &[2.0, f64::NAN, 1.0]), 2.0);
        assert_eq!(of(0.5, &[2.0, f64::NAN, 1.0, -1.0, f64::NAN]), -1.0);
    }

    #[test]
    fn deviation_from_the_median() {
        // Median 3, distances 2 1 0 1 97, their median 1.
        assert_eq!(median_absolute_deviation(&mut [1.0, 2.0, 3.0, 4.0, 100.0]), 1.0);
        assert_eq!(median_absolute_deviation(&mut [5.0]), 0.0);
        assert!(median_absolute_deviation(&mut [1.0, f64::NAN]).is_nan());
    }
}

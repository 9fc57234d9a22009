//! Sum and mean of a window's numbers.
//!
//! The mean divides the corrected sum as long as that stays finite, because this rounds less; once it would overflow it
//! goes on as a running mean, which cannot. Both are the numbers of Prometheus, digit for digit.

use super::kahan::KahanSum;

/// Sum of all values, corrected for rounding unless it is infinite; 0 of none.
pub(super) fn sum(values: &[f64]) -> f64 {
    let quick = values.iter().copied().fold(KahanSum::default(), KahanSum::plus_finite);
    if quick.sum.is_finite() {
        return quick.total();
    }
    let sum = values.iter().copied().fold(KahanSum::default(), KahanSum::plus);
    if sum.sum.is_infinite() { sum.sum } else { sum.total() }
}

/// Arithmetic mean of all values; NaN of none.
pub(super) fn mean(values: &[f64]) -> f64 {
    let Some((first, rest)) = values.split_first() else { return f64::NAN };
    let quick = rest.iter().copied().fold(KahanSum::new(*first), KahanSum::plus_finite);
    if quick.sum.is_finite() { share(quick, values.len()) } else { careful_mean(*first, rest) }
}

fn share(sum: KahanSum, count: usize) -> f64 {
    sum.sum / count as f64 + sum.correction / count as f64
}

fn careful_mean(first: f64, rest: &[f64]) -> f64 {
    let mut sum = KahanSum::new(first);
    for (done, value) in rest.iter().enumerate() {
        let next = sum.plus(*value);
        if next.sum.is_infinite() {
            return running_mean(sum, done + 1, rest.get(done..).unwrap_or_default());
        }
        sum = next;
    }
    share(sum, rest.len() + 1)
}

/// Goes on from the sum of `done` values with a mean that is moved by each further value's share.
fn running_mean(sum: KahanSum, done: usize, rest: &[f64]) -> f64 {
    let mut count = done as f64;
    let mut mean = KahanSum { sum: sum.sum / count, correction: sum.correction / count };
    for value in rest {
        count += 1.0;
        let kept = (count - 1.0) / count;
        mean = KahanSum { sum: kept * mean.sum, correction: kept * mean.correction }.plus(*value / count);
    }
    mean.total()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these calculations are exact")]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    #[test]
    fn sums_keep_small_numbers_and_infinities() {
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[1.0, INF, 2.0]), INF);
        assert!(sum(&[INF, -INF]).is_nan());
    }

    #[test]
    fn means_of_ordinary_numbers() {
        assert_eq!(mean(&[1.0, 2.0, 3.0, 4.0, 5.0]), 3.0);
        assert_eq!(mean(&[7.5]), 7.5);
        assert!(mean(&[]).is_nan());
        assert!(mean(&[1.0, f64::NAN]).is_nan());
    }

    #[test]
    fn means_of_numbers_whose_sum_overflows() {
        let big = 9.988_465_674_311_58e307;
        assert_eq!(mean(&[big, big]), big);
        assert_eq!(mean(&[-big, -big, -big]), -big);
        assert_eq!(mean(&[-big, big]), 0.0);
    }

    #[test]
    fn means_of_infinities() {
        assert_eq!(mean(&[INF, 0.0, INF]), INF);
        assert_eq!(mean(&[1.0, 2.0, -INF, -INF]), -INF);
        assert!(mean(&[1.0, INF, -INF]).is_nan());
        assert!(mean(&[INF, INF, INF, -INF]).is_nan());
    }

    #[test]
    fn the_running_mean_keeps_going_after_an_infinity() {
        assert_eq!(mean(&[1.0, INF, 5.0, 6.0]), INF);
    }
}

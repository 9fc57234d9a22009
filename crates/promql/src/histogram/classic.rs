//! Classic histograms: a series per bucket, with the bucket's upper bound in the label `le` and a cumulative count.
//!
//! Because every bucket is a series of its own, their counts may not fit together: scraped at different times, or summed
//! with other roundings. Differences that only rounding explains are ignored, real falls are filled up and told about.
//! Source: prometheus.io/docs/prometheus/latest/querying/functions, `histogram_quantile`; `promql/quantile.go`.

/// Counts that differ less than this relative to their sum are the same.
const TOLERANCE: f64 = 1e-12;

/// A bucket of a classic histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassicBucket {
    /// Its upper bound, inclusive.
    pub upper: f64,
    /// Observations at or below it.
    pub count: f64,
}

/// What was done to counts that fell from one bucket to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FilledUp {
    /// Upper bound of the lowest bucket that was filled up.
    pub lowest: f64,
    /// Upper bound of the highest one.
    pub highest: f64,
    /// How many observations were added at most.
    pub most: f64,
}

impl FilledUp {
    /// What was done to two histograms.
    pub fn and(self, other: Self) -> Self {
        Self {
            lowest: self.lowest.min(other.lowest),
            highest: self.highest.max(other.highest),
            most: self.most.max(other.most),
        }
    }
}

/// The bound that a label `le` tells: a number as Go reads it, which knows infinity, hexadecimal fractions and, in those,
/// underscores; a number too large to tell from infinity is none.
pub fn parse_bound(le: &str) -> Option<f64> {
    let unsigned = le.strip_prefix(['+', '-']).unwrap_or(le);
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        let value = parse_hexadecimal(unsigned.get(2..)?)?;
        return Some(if le.starts_with('-') { -value } else { value });
    }
    let value = le.parse::<f64>().ok()?;
    let is_word = unsigned.starts_with(['i', 'I']);
    (value.is_finite() || value.is_nan() || is_word).then_some(value)
}

/// `1.8p3`, without sign and prefix.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let mut exponent: i64 = exponent.parse::<i32>().ok()?.into();
    let (mut value, mut digits, mut behind_point) = (0_f64, 0, false);
    for c in mantissa.chars() {
        match c {
            '_' => {}
            '.' if !behind_point => behind_point = true,
            _ => {
                value = value * 16.0 + f64::from(c.to_digit(16)?);
                digits += 1;
                exponent -= if behind_point { 4 } else { 0 };
            }
        }
    }
    let value = value * 2_f64.powi(exponent.clamp(-2000, 2000) as i32);
    (digits > 0 && value.is_finite()).then_some(value)
}

/// The quantile `q` of a classic histogram, and what had to be done to its counts. The buckets ascend by their bounds;
/// they are changed. Observations are evenly spread in their bucket; the lowest one begins at zero unless it ends below.
/// `NaN` without observations or without a bucket up to infinity and another one.
pub fn classic_quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<FilledUp>) {
    if q.is_nan() || q < 0.0 {
        return (if q.is_nan() { f64::NAN } else { f64::NEG_INFINITY }, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !reaches_infinity(buckets) {
        return (f64::NAN, None);
    }
    join_equal_bounds(buckets);
    let filled_up = fill_up(buckets);
    (quantile_of_rising(q, buckets), filled_up)
}

fn quantile_of_rising(q: f64, buckets: &[ClassicBucket]) -> f64 {
    let Some((last, finite)) = buckets.split_last() else { return f64::NAN };
    let Some(last_finite) = finite.last() else { return f64::NAN };
    if last.count == 0.0 {
        return f64::NAN;
    }
    let rank = q * last.count;
    let place = finite.partition_point(|bucket| bucket.count < rank || bucket.count.is_nan() || rank.is_nan());
    let Some(bucket) = finite.get(place) else { return last_finite.upper };
    match place.checked_sub(1).and_then(|before| finite.get(before)) {
        Some(before) => between(before.upper, bucket.upper, (rank - before.count) / (bucket.count - before.count)),
        None if bucket.upper <= 0.0 => bucket.upper,
        None => between(0.0, bucket.upper, rank / bucket.count),
    }
}

fn between(lower: f64, upper: f64, share: f64) -> f64 {
    lower + (upper - lower) * share
}

/// The share of a classic histogram's observations between two values. The buckets ascend by their bounds; they are
/// changed. `NaN` without observations, without a bucket up to infinity, and between values that are none.
pub fn classic_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !reaches_infinity(buckets) {
        return f64::NAN;
    }
    join_equal_bounds(buckets);
    let all = buckets.last().map_or(0.0, |bucket| bucket.count);
    if all == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let below = |value| match count_below(value, buckets) {
        Some(count) if count <= all => count,
        _ => all,
    };
    (below(upper) - below(lower)) / all
}

/// How many observations lie below a value; `None` when all buckets do.
fn count_below(value: f64, buckets: &[ClassicBucket]) -> Option<f64> {
    let mut below = 0.0;
    let mut start = if buckets.first().is_some_and(|bucket| bucket.upper <= 0.0) { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets {
        if start >= value {
            return Some(below);
        }
        if bucket.upper > value {
            let evenly = || below + (bucket.count - below) * (value - start) / (bucket.upper - start);
            return Some(if start == f64::NEG_INFINITY { bucket.count } else { evenly() });
        }
        (below, start) = (bucket.count, bucket.upper);
    }
    None
}

fn reaches_infinity(buckets: &[ClassicBucket]) -> bool {
    buckets.last().is_some_and(|bucket| bucket.upper == f64::INFINITY)
}

/// Adds up buckets with the same bound, written differently in their labels.
#[expect(clippy::float_cmp, reason = "bounds are the same when their numbers are")]
fn join_equal_bounds(buckets: &mut Vec<ClassicBucket>) {
    buckets.dedup_by(|bucket, kept| {
        let same = bucket.upper == kept.upper;
        if same {
            kept.count += bucket.count;
        }
        same
    });
}

/// Makes counts rise from bucket to bucket: what rounding explains is taken back, a fall is filled up.
fn fill_up(buckets: &mut [ClassicBucket]) -> Option<FilledUp> {
    let mut filled_up: Option<FilledUp> = None;
    let mut highest = buckets.first()?.count;
    for bucket in buckets.iter_mut().skip(1) {
        if is_nearly(highest, bucket.count) {
            bucket.count = highest;
        } else if bucket.count < highest {
            let this = FilledUp { lowest: bucket.upper, highest: bucket.upper, most: highest - bucket.count };
            filled_up = Some(filled_up.map_or(this, |others| others.and(this)));
            bucket.count = highest;
        } else {
            highest = bucket.count;
        }
    }
    filled_up
}

/// Whether two counts differ by no more than rounding explains.
#[expect(clippy::float_cmp, reason = "what is not equal is compared with the tolerance below")]
fn is_nearly(a: f64, b: f64) -> bool {
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        difference < TOLERANCE * f64::MIN_POSITIVE
    } else {
        difference / sum.min(f64::MAX) < TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<ClassicBucket> {
        pairs.iter().map(|(upper, count)| ClassicBucket { upper: *upper, count: *count }).collect()
    }

    const INF: f64 = f64::INFINITY;

    #[track_caller]
    fn check_quantile(q: f64, pairs: &[(f64, f64)], expected: f64) {
        let (value, filled_up) = classic_quantile(q, &mut buckets(pairs));
        assert!(
            (value - expected).abs() < 1e-12 || value.to_bits() == expected.to_bits(),
            "quantile {q} is {value}, not {expected}"
        );
        assert_eq!(filled_up, None);
    }

    #[test]
    fn bounds_are_read_as_go_reads_them() {
        for (text, bound) in [
            ("0.1", 0.1),
            (".2", 0.2),
            ("1e0", 1.0),
            ("-.2", -0.2),
            ("+Inf", INF),
            ("inf", INF),
            ("-Infinity", -INF),
            ("0x1p-2", 0.25),
            ("-0X1.8p3", -12.0),
            ("0x_1_0p0", 16.0),
        ] {
            assert_eq!(parse_bound(text), Some(bound), "{text}");
        }
        for text in ["", "Hello World", "1e400", "-1e999", "0x10", "0xp1", "1_0", "1 ", "0x1p", "é"] {
            assert_eq!(parse_bound(text), None, "{text}");
        }
        assert!(parse_bound("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn quantiles_lie_evenly_in_their_bucket() {
        let positive = [(0.1, 5.0), (0.2, 7.0), (1.0, 11.0), (INF, 12.0)];
        for (q, expected) in [(0.0, 0.0), (0.2, 0.048), (0.5, 0.15), (0.8, 0.72), (1.0, 1.0)] {
            check_quantile(q, &positive, expected);
        }
        let negative = [(-0.2, 1.0), (-0.1, 2.0), (0.3, 2.0), (INF, 3.0)];
        for (q, expected) in [(0.0, -0.2), (0.2, -0.2), (0.5, -0.15), (0.8, 0.3), (1.0, 0.3)] {
            check_quantile(q, &negative, expected);
        }
        check_quantile(-0.1, &positive, -INF);
        check_quantile(1.01, &positive, INF);
    }

    #[test]
    fn histograms_that_tell_nothing_have_no_quantile() {
        for pairs in [&[][..], &[(1.0, 2.0)], &[(INF, 2.0)], &[(1.0, 0.0), (INF, 0.0)], &[(INF, 1.0), (INF, 1.0)]] {
            assert!(classic_quantile(0.5, &mut buckets(pairs)).0.is_nan(), "{pairs:?}");
            let fraction = classic_fraction(0.0, 1.0, &mut buckets(pairs));
            assert!(fraction.is_nan() || pairs.iter().any(|(_, count)| *count > 0.0), "{pairs:?}");
        }
    }

    #[test]
    fn falling_counts_are_filled_up_and_told() {
        let mut falling =
            buckets(&[(0.1, 20.0), (1.0, 10.0), (10.0, 50.0), (100.0, 40.0), (1000.0, 90.0), (INF, 80.0)]);
        let (value, filled_up) = classic_quantile(0.5, &mut falling);
        assert!((value - 8.5).abs() < 1e-12);
        assert_eq!(filled_up, Some(FilledUp { lowest: 1.0, highest: INF, most: 10.0 }));
        check_quantile(0.75, &[(1.0, 0.1 + 0.2), (2.0, 0.3), (4.0, 0.6), (INF, 0.6)], 3.0);
    }

    #[test]
    fn buckets_with_the_same_bound_are_one() {
        check_quantile(0.5, &[(0.1, 1.0), (0.2, 1.0), (0.2, 1.0), (INF, 4.0)], 0.2);
    }

    #[test]
    fn fractions_lie_evenly_in_their_bucket() {
        let positive = [(1.0, 1.0), (2.0, 3.0), (3.0, 6.0), (INF, 100.0)];
        for (lower, upper, expected) in
            [(0.0, 1.5, 0.02), (-INF, INF, 1.0), (1.0, 2.0, 0.02), (3.0, INF, 0.94), (4.0, 5.0, 0.0), (2.0, 1.0, 0.0)]
        {
            let value = classic_fraction(lower, upper, &mut buckets(&positive));
            assert!((value - expected).abs() < 1e-12, "from {lower} to {upper}: {value}");
        }
        let negative = [(-3.0, 10.0), (-2.0, 12.0), (INF, 100.0)];
        let below = classic_fraction(-INF, -4.0, &mut buckets(&negative));
        assert!((below - 0.1).abs() < 1e-12);
    }
}

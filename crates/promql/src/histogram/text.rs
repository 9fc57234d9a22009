//! A histogram as text: what labels of `count_values` and error texts show.

use std::fmt::Write as _;

use homeostat_model::{Histogram, number_text::shortest};

use super::bucket::{Bucket, negative_ascending, positive_ascending, zero_bucket};

/// `{count:3, sum:4.5, [-1,-0.5):1, (0.5,1]:2}`: count, sum and the populated buckets in ascending order, as Prometheus
/// writes it.
pub fn text(histogram: &Histogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", shortest(histogram.count), shortest(histogram.sum));
    let zero = (!histogram.has_custom_bounds()).then(|| zero_bucket(histogram));
    let all = negative_ascending(histogram).chain(zero).chain(positive_ascending(histogram));
    for bucket in all.filter(|bucket| bucket.count != 0.0) {
        write_bucket(&mut text, &bucket);
    }
    text.push('}');
    text
}

fn write_bucket(text: &mut String, bucket: &Bucket) {
    let (open, close) =
        (if bucket.lower_inclusive { '[' } else { '(' }, if bucket.upper_inclusive { ']' } else { ')' });
    let (lower, upper) = (shortest(bucket.lower), shortest(bucket.upper));
    // Writing to a string cannot fail.
    let _ = write!(text, ", {open}{lower},{upper}{close}:{}", shortest(bucket.count));
}

#[cfg(test)]
mod tests {
    use homeostat_model::histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA};

    use super::*;

    #[test]
    fn exponential_buckets_stand_from_the_lowest_to_the_highest() {
        let histogram = Histogram {
            count: 9.0,
            sum: 1e6,
            zero_threshold: 0.001,
            zero_count: 2.0,
            positive: Buckets::from_sorted([(0, 1.0), (1, 0.0), (5, 2.5)]),
            negative: Buckets::from_sorted([(0, 1.0), (1, 2.0)]),
            ..Histogram::default()
        };
        let expected = "{count:9, sum:1e+06, [-2,-1):2, [-1,-0.5):1, [-0.001,0.001]:2, (0.5,1]:1, (16,32]:2.5}";
        assert_eq!(text(&histogram), expected);
        assert_eq!(text(&Histogram::default()), "{count:0, sum:0}");
    }

    #[test]
    fn custom_buckets_reach_to_infinity() {
        let histogram = Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 3.0,
            sum: f64::NAN,
            positive: Buckets::from_sorted([(0, 1.0), (1, 1.0), (2, 1.0)]),
            custom_bounds: [5.0, 10.0].into(),
            ..Histogram::default()
        };
        assert_eq!(text(&histogram), "{count:3, sum:NaN, [-Inf,5]:1, (5,10]:1, (10,+Inf]:1}");
    }
}

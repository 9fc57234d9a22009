//! What holds for all native histograms, whatever is in them.

use homeostat_model::histogram::{BucketSpan, Buckets, CUSTOM_BOUNDS_SCHEMA, Histogram};
use homeostat_promql::histogram::{
    HistogramMean, HistogramSum, add, buckets, buckets_reversed, compact, detect_reset, divide, equal,
    exponential_bound, fraction, has_overflow, quantile, reduce_resolution, scale, sub, text, trim_lower, trim_upper,
    variance,
};
use proptest::prelude::*;

/// Whole counts below 2^20, so that sums of a few are exact.
fn counts(len: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![2 => Just(0.0), 5 => (0_u32..1 << 20).prop_map(f64::from)], 0..len)
}

fn side() -> impl Strategy<Value = Buckets> {
    let gaps = prop::collection::vec(prop_oneof![4 => Just(0_i32), 1 => 1_i32..40], 24);
    (-60_i32..60, gaps, counts(24)).prop_map(|(start, gaps, counts)| {
        let mut index = start;
        Buckets::from_sorted(counts.into_iter().zip(gaps).map(|(count, gap)| {
            index += gap + 1;
            (index, count)
        }))
    })
}

fn total(histogram: &Histogram) -> f64 {
    let sides = histogram.positive.counts.iter().chain(&histogram.negative.counts);
    sides.sum::<f64>() + histogram.zero_count
}

/// A histogram of whole counts whose buckets begin outside the zero bucket.
fn exponential() -> impl Strategy<Value = Histogram> {
    let zero = prop_oneof![Just(0.0), Just(2_f64.powi(-128)), Just(1e-40), Just(2_f64.powi(-20))];
    (-4_i8..=8, zero, 0_u32..1000, side(), side(), -1e6..1e6).prop_map(
        |(schema, zero_threshold, zero_count, positive, negative, sum)| {
            let outside = |side: Buckets| {
                let bound = |index: i32| exponential_bound(index.into(), schema);
                Buckets::from_sorted(side.iter().filter(|(index, _)| {
                    let lower = bound(index - 1);
                    lower >= zero_threshold && lower > 0.0 && bound(*index).is_finite()
                }))
            };
            let (positive, negative) = (outside(positive), outside(negative));
            let zero_count = zero_count.into();
            let histogram =
                Histogram { schema, zero_threshold, zero_count, sum, positive, negative, ..Histogram::default() };
            Histogram { count: total(&histogram), ..histogram }
        },
    )
}

fn custom() -> impl Strategy<Value = Histogram> {
    let bounds = prop::collection::btree_set(-20_i32..20, 0..12);
    (bounds, prop::collection::vec(0_u32..1000, 13), -1e6..1e6).prop_map(|(bounds, counts, sum)| {
        let custom_bounds: Vec<_> = bounds.into_iter().map(f64::from).collect();
        let cells = counts.into_iter().take(custom_bounds.len() + 1).enumerate();
        let positive = Buckets::from_sorted(cells.map(|(index, count)| (index as i32, count.into())));
        let count = positive.counts.iter().sum();
        let custom_bounds = custom_bounds.into();
        Histogram { schema: CUSTOM_BOUNDS_SCHEMA, count, sum, positive, custom_bounds, ..Histogram::default() }
    })
}

fn any_kind() -> impl Strategy<Value = Histogram> {
    prop_oneof![exponential(), custom()]
}

/// Two of the same kind.
fn pair() -> impl Strategy<Value = (Histogram, Histogram)> {
    prop_oneof![(exponential(), exponential()), (custom(), custom())]
}

fn triple() -> impl Strategy<Value = (Histogram, Histogram, Histogram)> {
    prop_oneof![(exponential(), exponential(), exponential()), (custom(), custom(), custom())]
}

/// Numbers that arithmetic on histograms may have left behind.
fn hostile_count() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(-1.0),
        Just(-0.0),
        Just(f64::MIN_POSITIVE / 2.0),
        any::<f64>(),
    ]
}

fn hostile_side() -> impl Strategy<Value = Buckets> {
    let span = (prop_oneof![any::<i32>(), -3_i32..3, Just(i32::MAX)], 0_u32..5)
        .prop_map(|(offset, len)| BucketSpan { offset, len });
    (prop::collection::vec(span, 0..5), prop::collection::vec(hostile_count(), 0..12))
        .prop_map(|(spans, counts)| Buckets { spans, counts })
}

/// A histogram that passes no check: any counts, spans that lie about them and overlap, any threshold.
fn hostile() -> impl Strategy<Value = Histogram> {
    let schema = prop_oneof![3 => -4_i8..=8, 1 => Just(CUSTOM_BOUNDS_SCHEMA), 1 => any::<i8>()];
    let numbers = (hostile_count(), hostile_count(), hostile_count(), hostile_count());
    (schema, numbers, hostile_side(), hostile_side(), prop::collection::vec(hostile_count(), 0..4)).prop_map(
        |(schema, (zero_threshold, zero_count, count, sum), positive, negative, bounds)| Histogram {
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive,
            negative,
            custom_bounds: bounds.into(),
            ..Histogram::default()
        },
    )
}

fn plus(a: &Histogram, b: &Histogram) -> Histogram {
    let mut sum = a.clone();
    assert!(add(&mut sum, b).is_ok());
    compact(&mut sum);
    sum
}

/// Equality up to rounding of the sum; counts are whole and exact.
fn check_same(a: &Histogram, b: &Histogram) {
    assert!((a.sum - b.sum).abs() <= 1e-9 * (1.0 + a.sum.abs().max(b.sum.abs())), "{} and {}", a.sum, b.sum);
    let with_sum_of_a = Histogram { sum: a.sum, ..b.clone() };
    assert!(equal(a, &with_sum_of_a), "{} and {}", text(a), text(b));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn addition_is_commutative((a, b) in pair()) {
        check_same(&plus(&a, &b), &plus(&b, &a));
    }

    /// With zero buckets of different widths it is not: which buckets would be cut depends on how coarse they are.
    #[test]
    fn addition_is_associative((a, b, c) in triple()) {
        let [a, b, c] = [a, b, c].map(|histogram| Histogram { zero_threshold: 0.0, ..histogram });
        check_same(&plus(&plus(&a, &b), &c), &plus(&a, &plus(&b, &c)));
    }

    #[test]
    fn addition_loses_no_observation((a, b) in pair()) {
        let sum = plus(&a, &b);
        assert_eq!(total(&sum).to_bits(), (total(&a) + total(&b)).to_bits());
        assert_eq!(sum.count.to_bits(), (a.count + b.count).to_bits());
        assert_eq!(sum.check(), Ok(()));
    }

    #[test]
    fn what_was_added_can_be_taken_away((a, b) in pair()) {
        let mut rest = plus(&a, &b);
        prop_assert!(sub(&mut rest, &b).is_ok());
        compact(&mut rest);
        prop_assert!((total(&rest) - total(&a)).abs() < 1e-6);
        let same_zero = a.zero_threshold.to_bits() == b.zero_threshold.to_bits();
        if a.schema == b.schema && same_zero && a.custom_bounds == b.custom_bounds {
            let mut expected = a;
            compact(&mut expected);
            check_same(&rest, &expected);
        }
    }

    #[test]
    fn coarser_sums_are_sums_of_coarser_ones(a in exponential(), b in exponential(), by in 0_i8..4) {
        let schema = (a.schema.min(b.schema) - by).max(-4);
        let (a, b) = (Histogram { zero_threshold: 0.0, ..a }, Histogram { zero_threshold: 0.0, ..b });
        let reduced = |histogram: &Histogram| {
            let mut histogram = histogram.clone();
            reduce_resolution(&mut histogram, schema);
            compact(&mut histogram);
            histogram
        };
        check_same(&reduced(&plus(&a, &b)), &plus(&reduced(&a), &reduced(&b)));
    }

    #[test]
    fn compact_keeps_what_is_in_the_buckets(histogram in any_kind()) {
        let mut compacted = histogram.clone();
        compact(&mut compacted);
        prop_assert!(equal(&histogram, &compacted));
        prop_assert!(compacted.positive.counts.iter().chain(&compacted.negative.counts).all(|count| *count != 0.0));
        prop_assert!(compacted.positive.spans.iter().skip(1).all(|span| span.offset > 0 && span.len > 0));
        let again = { let mut again = compacted.clone(); compact(&mut again); again };
        prop_assert_eq!(again, compacted);
    }

    #[test]
    fn compensated_sums_agree_with_plain_ones((a, b, c) in triple()) {
        let (mut sum, mut mean) = (HistogramSum::new(&a), HistogramMean::new(&a));
        for histogram in [&b, &c] {
            prop_assert!(sum.add(histogram).is_ok() && mean.add(histogram).is_ok());
        }
        let sum = sum.finish().histogram;
        check_same(&plus(&plus(&a, &b), &c), &sum);
        let mut third = sum;
        divide(&mut third, 3.0);
        let mean = mean.finish().histogram;
        prop_assert!((mean.count - third.count).abs() <= 1e-12 * third.count);
    }

    #[test]
    fn buckets_ascend_and_do_not_overlap(histogram in any_kind()) {
        let all: Vec<_> = buckets(&histogram).collect();
        prop_assert!(all.iter().all(|bucket| bucket.lower <= bucket.upper));
        prop_assert!(all.is_sorted_by(|a, b| a.upper <= b.lower));
        let mut reversed: Vec<_> = buckets_reversed(&histogram).collect();
        reversed.reverse();
        prop_assert_eq!(all, reversed);
    }

    /// Where adding had to widen the zero bucket beyond a populated bucket's end, that is a reset by definition.
    #[test]
    fn a_counter_that_grows_was_not_reset((a, b) in pair()) {
        let sum = plus(&a, &b);
        prop_assert!(!detect_reset(&sum, &a) || a.zero_threshold < sum.zero_threshold);
    }

    #[test]
    fn quantiles_rise_with_their_share(histogram in any_kind(), p in 0.0..=1.0, q in 0.0..=1.0) {
        if histogram.count == 0.0 {
            return Ok(());
        }
        let (low, high) = (f64::min(p, q), f64::max(p, q));
        let (low, high) = (quantile(low, &histogram).value, quantile(high, &histogram).value);
        prop_assert!(low <= high || (high - low).abs() <= 1e-9 * high.abs(), "{low} and {high} of {}", text(&histogram));
    }

    #[test]
    fn fractions_and_quantiles_are_each_others_inverse(histogram in exponential(), q in 0.001..0.999) {
        // All of a zero bucket without width would lie on one value.
        let zero_count = if histogram.zero_threshold > 0.0 { histogram.zero_count } else { 0.0 };
        let count = histogram.count - histogram.zero_count + zero_count;
        let histogram = Histogram { zero_count, count, ..histogram };
        if count == 0.0 {
            return Ok(());
        }
        let value = quantile(q, &histogram).value;
        let share = fraction(f64::NEG_INFINITY, value, &histogram).value;
        prop_assert!((share - q).abs() < 1e-6, "{share} at {value}, not {q}, of {}", text(&histogram));
    }

    #[test]
    fn trimmed_parts_are_the_whole(histogram in exponential(), at in -1e3..1e3) {
        let (below, above) = (trim_upper(&histogram, at), trim_lower(&histogram, at));
        prop_assert!((below.count + above.count - histogram.count).abs() <= 1e-9 * histogram.count);
        let share = fraction(f64::NEG_INFINITY, at, &histogram).value;
        prop_assert!(histogram.count == 0.0 || (below.count - share * histogram.count).abs() <= 1e-6 * histogram.count);
        prop_assert!(buckets(&below).all(|bucket| bucket.count == 0.0 || bucket.lower <= at));
        prop_assert!(buckets(&above).all(|bucket| bucket.count == 0.0 || bucket.upper >= at));
    }

    #[test]
    fn nothing_panics_whatever_a_histogram_says((a, b) in (hostile(), hostile()), number in hostile_count()) {
        for (a, b) in [(&a, &b), (&b, &a), (&a, &a)] {
            let (mut sum, mut difference) = (a.clone(), a.clone());
            let (_, _) = (add(&mut sum, b), sub(&mut difference, b));
            let (mut total, mut mean) = (HistogramSum::new(a), HistogramMean::new(a));
            for histogram in [b, a, &sum, &difference] {
                let (_, _) = (total.add(histogram), mean.add(histogram));
            }
            for mut histogram in [sum, difference, total.finish().histogram, mean.finish().histogram, a.clone()] {
                let (_, _) = (detect_reset(&histogram, b), equal(&histogram, b));
                let (_, _, _) = (quantile(number, &histogram), quantile(0.3, &histogram), quantile(0.7, &histogram));
                let (_, _) = (fraction(number, 1.0, &histogram), fraction(-1.0, number, &histogram));
                let (_, _) = (trim_upper(&histogram, number), trim_lower(&histogram, number));
                let (_, _, _) = (variance(&histogram), text(&histogram), has_overflow(&histogram));
                scale(&mut histogram, number);
                divide(&mut histogram, number);
                reduce_resolution(&mut histogram, -2);
                compact(&mut histogram);
            }
        }
    }
}

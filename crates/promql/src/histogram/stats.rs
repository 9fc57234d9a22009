//! Histograms without buckets, for queries that look at nothing but count and sum.
//!
//! Buckets are still needed once: only they show every reset of a counter. So each sample is compared with the one before
//! it, its hint says what was found, and the buckets go. Sums and rates of what is left cost as little as those of two
//! numbers.

use std::sync::Arc;

use homeostat_model::histogram::{Histogram, ResetHint};

use super::reset::detect_reset;

/// A histogram's count, sum and schema, with what is known about resets since the sample before, if there was one.
pub fn without_buckets(histogram: &Histogram, before: Option<&Histogram>) -> Arc<Histogram> {
    let reset_hint = match (histogram.reset_hint, before) {
        (ResetHint::Unknown, Some(before)) if detect_reset(histogram, before) => ResetHint::Reset,
        (ResetHint::Unknown, Some(_)) => ResetHint::NotReset,
        (known, _) => known,
    };
    let Histogram { schema, count, sum, .. } = *histogram;
    Arc::new(Histogram { reset_hint, schema, count, sum, ..Histogram::default() })
}

#[cfg(test)]
mod tests {
    use homeostat_model::histogram::Buckets;

    use super::*;

    #[test]
    fn the_hint_tells_what_the_buckets_told() {
        let histogram = |cells: &[(i32, f64)]| {
            let count = cells.iter().map(|(_, count)| count).sum();
            let positive = Buckets::from_sorted(cells.iter().copied());
            Histogram { schema: 1, count, sum: 5.0, positive, ..Histogram::default() }
        };
        let (first, more, other) = (histogram(&[(0, 1.0)]), histogram(&[(0, 3.0)]), histogram(&[(0, 2.0), (1, 2.0)]));
        let gauge = Histogram { reset_hint: ResetHint::Gauge, ..more.clone() };
        for (now, before, hint) in [
            (&first, None, ResetHint::Unknown),
            (&more, Some(&first), ResetHint::NotReset),
            (&other, Some(&more), ResetHint::Reset),
            (&gauge, Some(&first), ResetHint::Gauge),
        ] {
            let expected = Histogram { positive: Buckets::default(), reset_hint: hint, ..now.clone() };
            assert_eq!(*without_buckets(now, before), expected);
        }
    }
}

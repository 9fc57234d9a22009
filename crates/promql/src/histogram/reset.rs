//! Whether a counter was reset between two histograms.
//!
//! A counter only grows, in each of its buckets. A process that restarts may also come back with finer buckets or a
//! narrower zero bucket, which a living one never does; a living one may make both coarser to save memory, and then the
//! earlier histogram is made as coarse before they are compared.

use homeostat_model::histogram::{Buckets, Histogram, ResetHint};

use super::{
    arithmetic::{fitted, zero_count_within},
    custom_bounds::{mapped, shared_bounds},
    layout::{Side, indexed},
    zero_bucket::uncut_threshold,
};

/// Returns true when a reset lies between `before` and `now`: any count fell, a populated bucket is gone, or the layout
/// became finer. What `now` itself knows about it is believed. The sum says nothing: observations may be negative.
pub fn detect_reset(now: &Histogram, before: &Histogram) -> bool {
    match now.reset_hint {
        ResetHint::Reset => return true,
        ResetHint::NotReset => return false,
        ResetHint::Unknown | ResetHint::Gauge => {}
    }
    if now.count < before.count {
        return true;
    }
    match (now.has_custom_bounds(), before.has_custom_bounds()) {
        (true, true) => custom_fell(now, before),
        (false, false) => exponential_fell(now, before),
        _ => true,
    }
}

fn exponential_fell(now: &Histogram, before: &Histogram) -> bool {
    let threshold = now.zero_threshold;
    if now.schema > before.schema || threshold < before.zero_threshold {
        return true;
    }
    let cut = |side: &Buckets| uncut_threshold(&side.spans, &side.counts, before.schema, threshold) > threshold;
    if before.zero_threshold < threshold && (cut(&before.positive) || cut(&before.negative)) {
        return true;
    }
    let side_fell = |now_side: &Buckets, side: &Buckets| {
        let (spans, counts) = fitted(side, before, now.schema, threshold);
        if *spans == now_side.spans {
            return now_side.counts.iter().zip(&*counts).any(|(now, before)| now < before);
        }
        any_fell(indexed(&now_side.spans, &now_side.counts), indexed(&spans, &counts))
    };
    now.zero_count < zero_count_within(before, threshold)
        || side_fell(&now.positive, &before.positive)
        || side_fell(&now.negative, &before.negative)
}

fn custom_fell(now: &Histogram, before: &Histogram) -> bool {
    let (now_side, side) = (&now.positive, &before.positive);
    if now.custom_bounds == before.custom_bounds {
        return any_fell(indexed(&now_side.spans, &now_side.counts), indexed(&side.spans, &side.counts));
    }
    let shared = shared_bounds(&now.custom_bounds, &before.custom_bounds);
    let reduced = |histogram: &Histogram, side: &Buckets| {
        Side::collect(mapped(&side.spans, &side.counts, &histogram.custom_bounds, &shared))
    };
    let (now, before) = (reduced(now, now_side), reduced(before, side));
    any_fell(now.iter(), before.iter())
}

/// Returns true when a bucket's count fell, or a populated bucket is gone. Both sides in ascending order.
fn any_fell<'a>(now: impl Iterator<Item = (i64, &'a f64)>, mut before: impl Iterator<Item = (i64, &'a f64)>) -> bool {
    let mut now = now.peekable();
    before.any(|(index, count)| {
        while now.next_if(|(now_index, _)| *now_index < index).is_some() {}
        match now.peek() {
            Some((now_index, now_count)) if *now_index == index => *now_count < count,
            _ => *count != 0.0,
        }
    })
}

#[cfg(test)]
mod tests {
    use homeostat_model::histogram::CUSTOM_BOUNDS_SCHEMA;

    use super::*;

    fn exponential(schema: i8, cells: &[(i32, f64)]) -> Histogram {
        let count = cells.iter().map(|(_, count)| count).sum();
        Histogram { schema, count, positive: Buckets::from_sorted(cells.iter().copied()), ..Histogram::default() }
    }

    fn custom(bounds: &[f64], cells: &[(i32, f64)]) -> Histogram {
        Histogram { custom_bounds: bounds.into(), ..exponential(CUSTOM_BOUNDS_SCHEMA, cells) }
    }

    #[test]
    fn any_count_that_falls_is_a_reset() {
        let before = exponential(0, &[(0, 1.0), (1, 2.0), (2, 1.0)]);
        assert!(!detect_reset(&before, &before));
        assert!(!detect_reset(&exponential(0, &[(-1, 1.0), (0, 1.0), (1, 3.0), (2, 1.0)]), &before));
        assert!(detect_reset(&exponential(0, &[(0, 1.0), (1, 1.0), (2, 3.0)]), &before), "in one bucket");
        assert!(detect_reset(&exponential(0, &[(0, 1.0), (1, 3.0)]), &before), "in a bucket that is gone");
        assert!(detect_reset(&exponential(0, &[]), &before), "in all");
        let fewer = Histogram { count: 3.0, ..before.clone() };
        assert!(detect_reset(&fewer, &before), "in the count");
        let mirrored = |histogram: Histogram| Histogram {
            negative: histogram.positive,
            positive: Buckets::default(),
            ..histogram
        };
        let fell = mirrored(exponential(0, &[(0, 1.0), (1, 1.0), (2, 3.0)]));
        assert!(detect_reset(&fell, &mirrored(before)), "on the negative side");
    }

    #[test]
    fn an_empty_bucket_may_go() {
        let before = exponential(0, &[(0, 1.0), (3, 0.0)]);
        assert!(!detect_reset(&exponential(0, &[(0, 1.0)]), &before));
    }

    #[test]
    fn what_a_histogram_knows_of_itself_is_believed() {
        let (more, less) = (exponential(0, &[(0, 2.0)]), exponential(0, &[(0, 1.0)]));
        let hinted = |histogram: &Histogram, hint| Histogram { reset_hint: hint, ..histogram.clone() };
        assert!(detect_reset(&hinted(&more, ResetHint::Reset), &less));
        assert!(!detect_reset(&hinted(&less, ResetHint::NotReset), &more));
        assert!(detect_reset(&hinted(&less, ResetHint::Gauge), &more));
    }

    #[test]
    fn coarser_is_no_reset_and_finer_is_one() {
        let fine = exponential(1, &[(1, 1.0), (2, 1.0), (3, 1.0)]);
        let coarse = exponential(0, &[(1, 2.0), (2, 1.0)]);
        assert!(!detect_reset(&coarse, &fine));
        assert!(detect_reset(&fine, &coarse));
        let zero = |threshold, zero_count, cells: &[(i32, f64)]| Histogram {
            zero_threshold: threshold,
            zero_count,
            count: 4.0,
            ..exponential(0, cells)
        };
        let narrow = zero(0.125, 1.0, &[(-1, 1.0), (0, 2.0)]);
        assert!(!detect_reset(&zero(0.5, 2.0, &[(0, 2.0)]), &narrow));
        assert!(detect_reset(&narrow, &zero(0.5, 2.0, &[(0, 2.0)])));
        assert!(detect_reset(&zero(0.5, 1.0, &[(0, 3.0)]), &narrow), "the zero bucket lost what it took in");
        assert!(detect_reset(&zero(0.3, 2.0, &[(0, 2.0)]), &narrow), "a populated bucket was cut");
    }

    #[test]
    fn custom_bounds_are_compared_where_both_have_them() {
        let before = custom(&[2.0, 4.0, 6.0], &[(0, 1.0), (1, 2.0), (2, 5.0), (3, 7.0)]);
        assert!(!detect_reset(&custom(&[2.0, 6.0], &[(0, 1.0), (1, 7.0), (2, 7.0)]), &before));
        assert!(detect_reset(&custom(&[2.0, 6.0], &[(0, 1.0), (1, 6.0), (2, 9.0)]), &before));
        assert!(!detect_reset(&custom(&[1.0], &[(0, 1.0), (1, 14.0)]), &before), "only infinity is shared");
        assert!(detect_reset(&exponential(0, &[(0, 100.0)]), &before));
        assert!(detect_reset(&before, &exponential(0, &[(0, 1.0)])));
    }
}

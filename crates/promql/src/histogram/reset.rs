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

//! Making zero buckets fit: the narrower one grows until both are equally wide.
//!
//! A bucket of which a part would lie in the wider zero bucket cannot be cut: when it is populated, the zero bucket grows
//! to its end instead, and then it may be the other histogram's turn.

use homeostat_model::histogram::BucketSpan;

use super::{
    bounds::exponential_bound,
    layout::{Cell, Side, indexed},
};

/// The smallest width at or above `threshold` that cuts no populated bucket of this side.
pub(super) fn uncut_threshold<T: Cell>(spans: &[BucketSpan], cells: &[T], schema: i8, threshold: f64) -> f64 {
    let cut = indexed(spans, cells)
        .filter(|(_, cell)| !cell.is_empty())
        .map(|(index, _)| (exponential_bound(index - 1, schema), exponential_bound(index, schema)))
        .find(|(_, upper)| *upper > threshold);
    match cut {
        Some((lower, upper)) if lower < threshold => upper,
        _ => threshold,
    }
}

/// Whether a bucket lies inside a zero bucket of a width that cuts none.
pub(super) fn is_inside(index: i64, schema: i8, threshold: f64) -> bool {
    exponential_bound(index, schema) <= threshold
}

/// Moves the cells inside the zero bucket from one side into it.
pub(super) fn swallow<T: Cell>(zero: &mut T, side: &mut Side<T>, schema: i8, threshold: f64) {
    let inside = side.iter().take_while(|(index, _)| is_inside(*index, schema, threshold));
    let count = inside.map(|(_, cell)| zero.absorb(*cell)).count();
    if count > 0 {
        *side = Side::collect(side.iter().skip(count).map(|(index, cell)| (index, *cell)));
    }
}

//! Making custom bounds fit: what two histograms share is kept, buckets between are put together.

use std::sync::Arc;

use homeostat_model::histogram::BucketSpan;

use super::layout::{Cell, Side, indexed};

/// The bounds that both have, ascending.
pub(super) fn shared_bounds(a: &[f64], b: &[f64]) -> Arc<[f64]> {
    let mut rest = b.iter().peekable();
    let shared = a.iter().filter(|bound| {
        while rest.next_if(|other| other < bound).is_some() {}
        rest.peek() == Some(bound)
    });
    shared.copied().collect()
}

/// Where each cell of one layout belongs in a layout with fewer bounds: (index there, cell), ascending.
pub(super) fn mapped<'a, T: Cell>(
    spans: &'a [BucketSpan],
    cells: &'a [T],
    bounds: &'a [f64],
    fewer: &'a [f64],
) -> impl Iterator<Item = (i64, T)> + 'a {
    let mut place = 0_usize;
    indexed(spans, cells).map(move |(index, cell)| {
        let bound = usize::try_from(index).ok().and_then(|index| bounds.get(index)).copied().unwrap_or(f64::INFINITY);
        while fewer.get(place).is_some_and(|target| *target < bound) {
            place += 1;
        }
        (place as i64, *cell)
    })
}

impl<T: Cell> Side<T> {
    /// Puts the cells together as fewer bounds have it.
    pub(super) fn reduce_bounds(&mut self, bounds: &[f64], fewer: &[f64]) {
        *self = Self::collect(mapped(&self.spans, &self.cells, bounds, fewer));
    }
}

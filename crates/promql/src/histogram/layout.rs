//! Where buckets lie: spans, and the cells they describe.
//!
//! The same operations serve plain counts and compensated ones, so they are written over [`Cell`]. Indices are `i64`
//! here: spans of a histogram that lies about itself may add up beyond `i32`, and nothing must wrap.
//!
//! Invariant: the lengths of a [`Side`]'s spans add up to the number of its cells when they did so before.

use homeostat_model::histogram::{BucketSpan, Buckets, Histogram};

use super::bounds::coarser_index;

/// Something that counts.
pub(super) trait Cell: Copy {
    /// Nothing counted.
    const ZERO: Self;
    /// Adds a count.
    fn add(&mut self, count: f64);
    /// Adds what another cell counted.
    fn absorb(&mut self, other: Self);
    /// Returns true when nothing is counted.
    fn is_empty(&self) -> bool;
}

impl Cell for f64 {
    const ZERO: Self = 0.0;
    fn add(&mut self, count: f64) {
        *self += count;
    }
    fn absorb(&mut self, other: Self) {
        *self += other;
    }
    fn is_empty(&self) -> bool {
        *self == 0.0
    }
}

/// One side's buckets: [`Buckets`] for any kind of cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Side<T> {
    pub(super) spans: Vec<BucketSpan>,
    pub(super) cells: Vec<T>,
}

impl From<Buckets> for Side<f64> {
    fn from(buckets: Buckets) -> Self {
        Self { spans: buckets.spans, cells: buckets.counts }
    }
}

impl From<Side<f64>> for Buckets {
    fn from(side: Side<f64>) -> Self {
        Self { spans: side.spans, counts: side.cells }
    }
}

/// Runs of neighbouring buckets as (first index, length), ascending.
pub(super) fn runs(spans: &[BucketSpan]) -> impl Iterator<Item = (i64, i64)> {
    spans.iter().scan(0_i64, |end, span| {
        let first = *end + i64::from(span.offset);
        *end = first + i64::from(span.len);
        Some((first, i64::from(span.len)))
    })
}

/// Cells with their indices, ascending.
pub(super) fn indexed<'a, T>(spans: &'a [BucketSpan], cells: &'a [T]) -> impl Iterator<Item = (i64, &'a T)> {
    runs(spans).flat_map(|(first, len)| first..first + len).zip(cells)
}

/// Cells with their indices, descending.
pub(super) fn indexed_reversed<'a, T>(spans: &'a [BucketSpan], cells: &'a [T]) -> impl Iterator<Item = (i64, &'a T)> {
    let end = runs(spans).last().map_or(0, |(first, len)| first + len);
    let descending = spans.iter().rev().scan(end, |end, span| {
        let (first, past) = (*end - i64::from(span.len), *end);
        *end = first - i64::from(span.offset);
        Some((first..past).rev())
    });
    descending.flatten().zip(cells.iter().rev())
}

/// Builds a side from cells in ascending order of their indices; cells of the same index become one.
#[derive(Debug)]
pub(super) struct SideBuilder<T> {
    side: Side<T>,
    /// Index behind the last cell.
    end: i64,
}

impl<T: Cell> SideBuilder<T> {
    pub(super) fn new() -> Self {
        Self { side: Side { spans: Vec::new(), cells: Vec::new() }, end: 0 }
    }

    pub(super) fn push(&mut self, index: i64, cell: T) {
        let gap = index - self.end;
        match (self.side.spans.last_mut(), self.side.cells.last_mut()) {
            (Some(_), Some(last)) if gap < 0 => return last.absorb(cell),
            (Some(span), _) if gap == 0 => span.len += 1,
            _ => self.side.spans.push(BucketSpan { offset: clamped(gap), len: 1 }),
        }
        self.side.cells.push(cell);
        self.end = index + 1;
    }

    pub(super) fn finish(self) -> Side<T> {
        self.side
    }
}

impl<T: Cell> Side<T> {
    /// Collects cells in ascending order of their indices.
    pub(super) fn collect(cells: impl IntoIterator<Item = (i64, T)>) -> Self {
        let mut builder = SideBuilder::new();
        for (index, cell) in cells {
            builder.push(index, cell);
        }
        builder.finish()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &T)> {
        indexed(&self.spans, &self.cells)
    }

    /// Keeps the cells that are not empty, in as few spans as hold them.
    pub(super) fn compact(&mut self) {
        let tight = |span: &BucketSpan| span.len > 0 && span.offset != 0;
        let spans_tight = self.spans.iter().take(1).all(|span| span.len > 0) && self.spans.iter().skip(1).all(tight);
        if !spans_tight || self.cells.iter().any(Cell::is_empty) {
            *self = Self::collect(self.iter().filter(|(_, cell)| !cell.is_empty()).map(|(index, cell)| (index, *cell)));
        }
    }

    /// Moves every cell into the bucket of a coarser schema that holds it.
    pub(super) fn reduce_resolution(&mut self, from: i8, to: i8) {
        if to < from {
            *self = Self::collect(self.iter().map(|(index, cell)| (coarser_index(index, from, to), *cell)));
        }
    }

    /// Adds counts bucket by bucket, times `sign`. Buckets that are missing here are made.
    pub(super) fn add(&mut self, spans: &[BucketSpan], counts: &[f64], sign: f64) {
        if self.spans == spans {
            for (cell, count) in self.cells.iter_mut().zip(counts) {
                cell.add(sign * count);
            }
            return;
        }
        if !self.covers(spans) {
            self.extend_to(spans, counts);
        }
        let mut places = runs(&self.spans).scan(0_usize, |before, (first, len)| {
            let start = *before;
            *before += len as usize;
            Some((first, len, start))
        });
        let mut run = places.next();
        for (index, count) in indexed(spans, counts) {
            while run.is_some_and(|(first, len, _)| first + len <= index) {
                run = places.next();
            }
            let Some((first, _, start)) = run else { return };
            if let Some(cell) = self.cells.get_mut(start + (index - first).max(0) as usize) {
                cell.add(sign * count);
            }
        }
    }

    /// Returns true when every bucket of `spans` exists here.
    fn covers(&self, spans: &[BucketSpan]) -> bool {
        let mut mine = runs(&self.spans).peekable();
        runs(spans).filter(|(_, len)| *len > 0).all(|(first, len)| {
            while mine.next_if(|(my_first, my_len)| my_first + my_len <= first).is_some() {}
            mine.peek().is_some_and(|(my_first, my_len)| *my_first <= first && first + len <= my_first + my_len)
        })
    }

    /// Makes the buckets of `spans` that are missing here, empty.
    fn extend_to(&mut self, spans: &[BucketSpan], counts: &[f64]) {
        let mut builder = SideBuilder::new();
        let mut mine = self.iter().map(|(index, cell)| (index, *cell)).peekable();
        for (index, _) in indexed(spans, counts) {
            while let Some((index, cell)) = mine.next_if(|(my_index, _)| *my_index <= index) {
                builder.push(index, cell);
            }
            builder.push(index, T::ZERO);
        }
        mine.for_each(|(index, cell)| builder.push(index, cell));
        *self = builder.finish();
    }
}

fn clamped(gap: i64) -> i32 {
    i32::try_from(gap).unwrap_or(if gap < 0 { i32::MIN } else { i32::MAX })
}

/// Drops empty buckets and joins spans that touch, on both sides.
pub fn compact(histogram: &mut Histogram) {
    for buckets in [&mut histogram.positive, &mut histogram.negative] {
        let mut side = Side::from(std::mem::take(buckets));
        side.compact();
        *buckets = side.into();
    }
}

/// Makes an exponential histogram as coarse as a schema. Nothing happens to one that is not finer, or has custom bounds.
pub fn reduce_resolution(histogram: &mut Histogram, schema: i8) {
    if histogram.has_custom_bounds() || histogram.schema <= schema {
        return;
    }
    for buckets in [&mut histogram.positive, &mut histogram.negative] {
        let mut side = Side::from(std::mem::take(buckets));
        side.reduce_resolution(histogram.schema, schema);
        *buckets = side.into();
    }
    histogram.schema = schema;
}

/// Equality as `==` sees it: the same schema, bounds, zero bucket, count, sum and populated buckets. Counts and sums are
/// compared by their bits, so that `NaN` equals itself; what is known about resets, and how spans are cut, is no matter.
pub fn equal(a: &Histogram, b: &Histogram) -> bool {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
    a.schema == b.schema
        && same(a.count, b.count)
        && same(a.sum, b.sum)
        && same(a.zero_threshold, b.zero_threshold)
        && same(a.zero_count, b.zero_count)
        && a.custom_bounds == b.custom_bounds
        && same_buckets(&a.negative, &b.negative)
        && same_buckets(&a.positive, &b.positive)
}

fn same_buckets(a: &Buckets, b: &Buckets) -> bool {
    fn populated(side: &Buckets) -> impl Iterator<Item = (i64, u64)> {
        let cells = indexed(&side.spans, &side.counts).filter(|(_, count)| **count != 0.0);
        cells.map(|(index, count)| (index, count.to_bits()))
    }
    fn bits(side: &Buckets) -> impl Iterator<Item = u64> {
        side.counts.iter().map(|count| count.to_bits())
    }
    a.spans == b.spans && bits(a).eq(bits(b)) || populated(a).eq(populated(b))
}

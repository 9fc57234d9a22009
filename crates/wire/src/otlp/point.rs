//! Data points as the protocol has them.

use crate::{
    native::downscale,
    protobuf::{Field, ProtobufError, Reader},
};
use homeostat_model::{
    Histogram, TimeMs,
    histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA, HistogramError, SCHEMA_MAX, SCHEMA_MIN},
    sample::stale_marker,
};

/// The point says that there is nothing to say: the series ends.
const NO_RECORDED_VALUE: u64 = 1;

/// The zero bucket's width where the source has none: Prometheus' choice, less than anything measured.
const ZERO_THRESHOLD: f64 = 1e-128;

/// What all kinds of points have. Labels and exemplars are still unread.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    pub(super) attributes: Vec<Reader<'a>>,
    pub(super) exemplars: Vec<Reader<'a>>,
    pub(super) start_ns: u64,
    pub(super) time_ns: u64,
    flags: u64,
}

/// Numbers of the fields that differ between kinds.
#[derive(Clone, Copy)]
struct HeadFields {
    attributes: u32,
    exemplars: u32,
    flags: u32,
}

impl<'a> Head<'a> {
    /// Makes room for the next point.
    pub(super) fn clear(&mut self) {
        self.attributes.clear();
        self.exemplars.clear();
        (self.start_ns, self.time_ns, self.flags) = (0, 0, 0);
    }

    pub(super) fn t_ms(&self) -> TimeMs {
        millis(self.time_ns)
    }

    pub(super) fn start_ms(&self) -> Option<TimeMs> {
        start_millis(self.start_ns)
    }

    pub(super) fn is_stale(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }

    /// Reads a field that all points have.
    fn read(&mut self, field: &Field<'a>, fields: HeadFields) -> Result<(), ProtobufError> {
        match field.number {
            2 => self.start_ns = field.fixed64()?,
            3 => self.time_ns = field.fixed64()?,
            number if number == fields.attributes => self.attributes.push(field.message()?),
            number if number == fields.exemplars => self.exemplars.push(field.message()?),
            number if number == fields.flags => self.flags = field.uint()?,
            _ => {}
        }
        Ok(())
    }
}

/// Milliseconds of nanoseconds since 1970.
pub(super) fn millis(ns: u64) -> TimeMs {
    (ns / 1_000_000) as i64
}

/// The start, where there is one.
pub(super) fn start_millis(ns: u64) -> Option<TimeMs> {
    (ns != 0).then(|| millis(ns))
}

/// Reads a number; `None` when the point has none.
pub(super) fn read_number<'a>(mut point: Reader<'a>, head: &mut Head<'a>) -> Result<Option<f64>, ProtobufError> {
    let mut value = None;
    while let Some(field) = point.field()? {
        match field.number {
            4 => value = Some(field.double()?),
            6 => value = Some(field.fixed64()? as i64 as f64),
            _ => head.read(&field, HeadFields { attributes: 7, exemplars: 5, flags: 8 })?,
        }
    }
    Ok(value)
}

/// A histogram with bounds of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Explicit {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) counts: Vec<u64>,
    pub(super) bounds: Vec<f64>,
}

/// Reads a histogram with bounds of its own.
pub(super) fn read_explicit<'a>(mut point: Reader<'a>, head: &mut Head<'a>) -> Result<Explicit, ProtobufError> {
    let mut histogram = Explicit::default();
    while let Some(field) = point.field()? {
        match field.number {
            4 => histogram.count = field.fixed64()?,
            5 => histogram.sum = Some(field.double()?),
            6 => field.fixed64s(|count| histogram.counts.push(count))?,
            7 => field.fixed64s(|bits| histogram.bounds.push(f64::from_bits(bits)))?,
            _ => head.read(&field, HeadFields { attributes: 9, exemplars: 8, flags: 10 })?,
        }
    }
    // Infinity is the end of the last bucket anyway.
    if histogram.bounds.last() == Some(&f64::INFINITY) {
        histogram.bounds.pop();
        if histogram.bounds.len() + 2 == histogram.counts.len() {
            let above = histogram.counts.pop().unwrap_or(0);
            if let Some(last) = histogram.counts.last_mut() {
                *last = last.saturating_add(above);
            }
        }
    }
    Ok(histogram)
}

impl Explicit {
    /// As a native histogram with custom bounds.
    pub(super) fn native(&self) -> Result<Histogram, HistogramError> {
        let known = !self.counts.is_empty();
        // Without buckets, everything lies in the one that has no bounds.
        let counts = if known { self.counts.as_slice() } else { &[self.count] };
        let histogram = Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: self.count as f64,
            sum: self.sum.unwrap_or(0.0),
            positive: sparse(0, counts.iter().copied()),
            custom_bounds: if known { self.bounds.as_slice().into() } else { [].into() },
            ..Histogram::default()
        };
        histogram.check().and_then(|()| histogram.check_total()).map(|()| histogram)
    }
}

/// Buckets of an exponential histogram: counts one after the other, the first at `offset`.
#[derive(Debug, Default)]
struct Dense {
    offset: i64,
    counts: Vec<u64>,
}

impl Dense {
    fn read(mut message: Reader<'_>) -> Result<Self, ProtobufError> {
        let mut dense = Self::default();
        while let Some(field) = message.field()? {
            match field.number {
                1 => dense.offset = i64::from(field.sint()? as i32),
                2 => field.uints(|count| dense.counts.push(count))?,
                _ => {}
            }
        }
        Ok(dense)
    }

    /// Prometheus names a bucket by its upper bound, OpenTelemetry by its lower one: one apart.
    fn buckets(&self) -> Buckets {
        sparse(self.offset + 1, self.counts.iter().copied())
    }
}

/// The counts that are not zero, the first one at index `first`. Indices stay below the largest of 32 bits, as `Histogram::check`
/// wants them: what lies beyond is larger than any number.
fn sparse(first: i64, counts: impl Iterator<Item = u64>) -> Buckets {
    let indexed = counts.enumerate().filter(|(_, count)| *count != 0);
    let index = |at: usize| i32::try_from(first + at as i64).ok().filter(|index| *index < i32::MAX);
    let within = indexed.filter_map(|(at, count)| Some((index(at)?, count as f64)));
    Buckets::from_sorted(within)
}

/// An exponential histogram as written.
#[derive(Debug, Default)]
pub(super) struct Exponential {
    count: u64,
    sum: f64,
    pub(super) scale: i64,
    zero_count: u64,
    zero_threshold: f64,
    positive: Dense,
    negative: Dense,
}

/// Reads an exponential histogram.
pub(super) fn read_exponential<'a>(mut point: Reader<'a>, head: &mut Head<'a>) -> Result<Exponential, ProtobufError> {
    let mut histogram = Exponential::default();
    while let Some(field) = point.field()? {
        match field.number {
            // Attributes have the number that is the count's elsewhere: see `HeadFields`.
            4 => histogram.count = field.fixed64()?,
            5 => histogram.sum = field.double()?,
            6 => histogram.scale = field.sint()?,
            7 => histogram.zero_count = field.fixed64()?,
            8 => histogram.positive = Dense::read(field.message()?)?,
            9 => histogram.negative = Dense::read(field.message()?)?,
            14 => histogram.zero_threshold = field.double()?,
            _ => head.read(&field, HeadFields { attributes: 1, exemplars: 11, flags: 10 })?,
        }
    }
    Ok(histogram)
}

impl Exponential {
    /// As a native histogram; finer ones than are stored are merged down. The scale is at least [`SCHEMA_MIN`].
    pub(super) fn native(&self) -> Result<Histogram, HistogramError> {
        let schema = self.scale.min(i64::from(SCHEMA_MAX));
        let steps = (self.scale - schema) as u32;
        let histogram = Histogram {
            schema: schema.max(i64::from(SCHEMA_MIN)) as i8,
            zero_threshold: if self.zero_threshold == 0.0 { ZERO_THRESHOLD } else { self.zero_threshold },
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive: downscale(&self.positive.buckets(), steps),
            negative: downscale(&self.negative.buckets(), steps),
            ..Histogram::default()
        };
        histogram.check().and_then(|()| histogram.check_total()).map(|()| histogram)
    }
}

/// The native histogram that ends a series.
pub(super) fn stale_histogram() -> Histogram {
    Histogram { sum: stale_marker(), ..Histogram::default() }
}

/// A summary.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Quantile and value.
    pub(super) quantiles: Vec<(f64, f64)>,
}

/// Reads a summary.
pub(super) fn read_summary<'a>(mut point: Reader<'a>, head: &mut Head<'a>) -> Result<Summary, ProtobufError> {
    let mut summary = Summary::default();
    while let Some(field) = point.field()? {
        match field.number {
            4 => summary.count = field.fixed64()?,
            5 => summary.sum = field.double()?,
            6 => {
                let (mut quantile, mut value) = (0.0, 0.0);
                let mut fields = field.message()?;
                while let Some(field) = fields.field()? {
                    match field.number {
                        1 => quantile = field.double()?,
                        2 => value = field.double()?,
                        _ => {}
                    }
                }
                summary.quantiles.push((quantile, value));
            }
            // Summaries have no exemplars: field numbers begin at 1.
            _ => head.read(&field, HeadFields { attributes: 7, exemplars: 0, flags: 8 })?,
        }
    }
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_buckets_become_sparse_ones_of_the_same_bounds() {
        // Scale 0, offset -1: (0.5, 1], (1, 2], (2, 4].
        let exponential =
            Exponential { count: 6, positive: Dense { offset: -1, counts: vec![1, 0, 5] }, ..Exponential::default() };
        let native = exponential.native().unwrap();
        assert_eq!(native.positive.iter().collect::<Vec<_>>(), [(0, 1.0), (2, 5.0)]);
        let fine = Exponential {
            scale: 10,
            positive: Dense { offset: 3, counts: vec![1, 2] },
            count: 3,
            ..Exponential::default()
        };
        // Scale 10 buckets 3 and 4 are (2^(3/1024), 2^(5/1024)]: of scale 8, buckets 1 and 2 of Prometheus' count.
        let native = fine.native().unwrap();
        assert_eq!((native.schema, native.positive.iter().collect::<Vec<_>>()), (8, vec![(1, 1.0), (2, 2.0)]));
    }

    #[test]
    fn offsets_at_the_end_of_the_range_do_not_overflow() {
        let far = Exponential {
            count: 3,
            positive: Dense { offset: i64::from(i32::MAX) - 2, counts: vec![1, 1, 1] },
            ..Exponential::default()
        };
        assert_eq!(far.native().unwrap().positive.iter().collect::<Vec<_>>(), [(i32::MAX - 1, 1.0)]);
    }

    #[test]
    fn explicit_buckets_keep_their_bounds() {
        let explicit = Explicit { count: 4, sum: Some(2.0), counts: vec![1, 0, 3], bounds: vec![0.5, 1.0] };
        let native = explicit.native().unwrap();
        assert_eq!(native.positive.iter().collect::<Vec<_>>(), [(0, 1.0), (2, 3.0)]);
        assert_eq!(&*native.custom_bounds, [0.5, 1.0]);
        let unknown = Explicit { count: 4, ..Explicit::default() };
        assert_eq!(unknown.native().unwrap().positive.iter().collect::<Vec<_>>(), [(0, 4.0)]);
    }
}

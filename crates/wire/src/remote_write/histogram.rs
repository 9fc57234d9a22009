//! The message of a native histogram, the same in both versions of remote write.
//!
//! Whole counts travel as integers, each bucket as the difference to the one before; others as `double`s.

use homeostat_model::{
    Histogram, TimeMs,
    histogram::{Buckets, ResetHint},
};

use super::set_time;
use crate::{
    intake::{Fault, HistogramSample},
    native::{self, Side},
    protobuf::{
        ProtobufError, Reader, put_double, put_int, put_message, put_packed_doubles, put_packed_sints, put_sint,
        put_uint,
    },
};

/// The largest whole number that a `f64` has in one and only one way.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A histogram with its times.
#[derive(Debug)]
pub(super) struct TimedHistogram {
    pub(super) t_ms: TimeMs,
    pub(super) start_ms: Option<TimeMs>,
    pub(super) histogram: Result<Histogram, Fault>,
}

/// Reads and checks a histogram. The outer error is that of the message, the inner one that of the histogram.
pub(super) fn read(mut message: Reader<'_>) -> Result<TimedHistogram, ProtobufError> {
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let mut histogram = Histogram::default();
    let mut bounds = Vec::new();
    let (mut t_ms, mut start_ms, mut schema, mut float) = (0, 0, 0, false);
    while let Some(field) = message.field()? {
        match field.number {
            1 => (histogram.count, float) = (field.uint()? as f64, false),
            2 => (histogram.count, float) = (field.double()?, true),
            3 => histogram.sum = field.double()?,
            4 => schema = field.sint()?,
            5 => histogram.zero_threshold = field.double()?,
            6 => histogram.zero_count = field.uint()? as f64,
            7 => histogram.zero_count = field.double()?,
            8 => negative.span(&field)?,
            9 => negative.deltas(&field)?,
            10 => negative.counts(&field)?,
            11 => positive.span(&field)?,
            12 => positive.deltas(&field)?,
            13 => positive.counts(&field)?,
            14 => histogram.reset_hint = hint_of(field.uint()?),
            15 => t_ms = field.uint()? as i64,
            16 => field.fixed64s(|bits| bounds.push(f64::from_bits(bits)))?,
            17 => start_ms = field.uint()? as i64,
            _ => {}
        }
    }
    let build = move || {
        histogram.positive = positive.buckets(float).ok_or(Fault::HistogramRange { t_ms })?;
        histogram.negative = negative.buckets(float).ok_or(Fault::HistogramRange { t_ms })?;
        if !bounds.is_empty() {
            histogram.custom_bounds = bounds.into();
        }
        native::complete(histogram, schema, float).map_err(|error| Fault::Histogram { t_ms, error })
    };
    Ok(TimedHistogram { t_ms, start_ms: set_time(start_ms), histogram: build() })
}

fn hint_of(number: u64) -> ResetHint {
    match number {
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    }
}

/// Appends the fields of a histogram that both versions have.
pub(super) fn put(sample: &HistogramSample, out: &mut Vec<u8>) {
    let histogram = &*sample.histogram;
    let float = !is_whole(histogram);
    if float {
        put_double(2, histogram.count, out);
    } else {
        put_uint(1, histogram.count as u64, out);
    }
    put_double(3, histogram.sum, out);
    put_sint(4, histogram.schema.into(), out);
    put_double(5, histogram.zero_threshold, out);
    if float {
        put_double(7, histogram.zero_count, out);
    } else {
        put_uint(6, histogram.zero_count as u64, out);
    }
    put_side(8, &histogram.negative, float, out);
    put_side(11, &histogram.positive, float, out);
    put_uint(14, number_of(histogram.reset_hint), out);
    put_int(15, sample.t_ms, out);
    put_packed_doubles(16, &histogram.custom_bounds, out);
}

/// A side has three fields one after the other: spans, differences, counts.
fn put_side(number: u32, buckets: &Buckets, float: bool, out: &mut Vec<u8>) {
    for span in &buckets.spans {
        put_message(number, out, |out| {
            put_sint(1, span.offset.into(), out);
            put_uint(2, span.len.into(), out);
        });
    }
    if float {
        put_packed_doubles(number + 2, &buckets.counts, out);
        return;
    }
    let mut before = 0;
    let deltas = buckets.counts.iter().map(|count| {
        let delta = *count as i64 - before;
        before = *count as i64;
        delta
    });
    put_packed_sints(number + 1, deltas, out);
}

/// Whether integers say the same. Readers refuse whole counts that add up to more than their total, fractions not.
fn is_whole(histogram: &Histogram) -> bool {
    let sides = || histogram.positive.counts.iter().chain(&histogram.negative.counts).copied();
    let mut counts = [histogram.count, histogram.zero_count].into_iter().chain(sides());
    // There is no negative zero among integers.
    counts.all(|count| (0.0..=WHOLE_MAX).contains(&count) && count.fract() == 0.0 && count.is_sign_positive())
        && sides().sum::<f64>() + histogram.zero_count <= histogram.count
}

fn number_of(hint: ResetHint) -> u64 {
    match hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    }
}

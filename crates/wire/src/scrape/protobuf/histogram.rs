//! Histograms of the protobuf exposition, native and classic: both may stand in one message.

use std::sync::Arc;

use homeostat_model::{Histogram, MetricKind, TimeMs, histogram::ResetHint};

use super::{Parser, Stop, time};
use crate::{
    intake::Fault,
    native::{self, Side},
    protobuf::{ProtobufError, Reader},
    scrape::{ClassicBuckets, ScrapeSink, ScrapedValue},
};

/// The fields of a histogram, apart from its classic buckets.
#[derive(Default)]
struct Fields<'a> {
    count: u64,
    count_float: f64,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    positive: Side,
    negative: Side,
    start_ms: Option<TimeMs>,
    /// Those of the native histogram; without any, those of its classic buckets stand for them.
    exemplars: Vec<Reader<'a>>,
    classic: bool,
}

/// A classic bucket.
#[derive(Default)]
struct Bucket<'a> {
    count: u64,
    count_float: f64,
    upper_bound: f64,
    exemplar: Option<Reader<'a>>,
}

impl<'a, S: ScrapeSink> Parser<'a, '_, S> {
    pub(super) fn histogram(&mut self, message: Reader<'a>) -> Result<(), Stop> {
        let mut fields = read(message)?;
        let start_ms = fields.start_ms;
        let (count, sum) = (fields.count(), fields.sum);
        if fields.is_native() {
            let exemplars = native_exemplars(&mut fields, message)?;
            let classic = fields.classic;
            let gauge = self.family.kind == MetricKind::GaugeHistogram;
            let histogram = fields.native(gauge, self.metric.t_ms.unwrap_or(0))?;
            self.give("", None, ScrapedValue::Histogram(Arc::new(histogram)), start_ms, &exemplars)?;
            if !classic || self.options.classic == ClassicBuckets::WithoutNative {
                return Ok(());
            }
        }
        self.give("_count", None, ScrapedValue::Float(count), start_ms, &[])?;
        self.give("_sum", None, ScrapedValue::Float(sum), start_ms, &[])?;
        let mut infinite = false;
        for_each_bucket(message, |bucket| {
            infinite |= bucket.upper_bound == f64::INFINITY;
            let value = ScrapedValue::Float(overridden(bucket.count, bucket.count_float));
            self.give("_bucket", Some(("le", bucket.upper_bound)), value, start_ms, bucket.exemplar.as_slice())
        })?;
        if !infinite {
            self.give("_bucket", Some(("le", f64::INFINITY)), ScrapedValue::Float(count), start_ms, &[])?;
        }
        Ok(())
    }
}

/// The fraction stands for the whole number where it is set.
fn overridden(whole: u64, float: f64) -> f64 {
    if float == 0.0 { whole as f64 } else { float }
}

impl Fields<'_> {
    fn count(&self) -> f64 {
        overridden(self.count, self.count_float)
    }

    /// A native histogram without any observation has an empty span to tell it from a classic one.
    fn is_native(&self) -> bool {
        !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || 0.0 < self.zero_threshold
            || 0 < self.zero_count
            || 0.0 < self.zero_count_float
    }

    fn native(self, gauge: bool, t_ms: TimeMs) -> Result<Histogram, Fault> {
        let float = 0.0 < self.count_float || 0.0 < self.zero_count_float;
        let histogram = Histogram {
            reset_hint: if gauge { ResetHint::Gauge } else { ResetHint::Unknown },
            zero_threshold: self.zero_threshold,
            zero_count: if float { self.zero_count_float } else { self.zero_count as f64 },
            count: if float { self.count_float } else { self.count as f64 },
            sum: self.sum,
            positive: self.positive.buckets(float).ok_or(Fault::HistogramRange { t_ms })?,
            negative: self.negative.buckets(float).ok_or(Fault::HistogramRange { t_ms })?,
            ..Histogram::default()
        };
        let mut histogram =
            native::complete(histogram, self.schema, float).map_err(|error| Fault::Histogram { t_ms, error })?;
        native::compact(&mut histogram);
        Ok(histogram)
    }
}

fn read(mut message: Reader<'_>) -> Result<Fields<'_>, ProtobufError> {
    let mut fields = Fields::default();
    while let Some(field) = message.field()? {
        match field.number {
            1 => fields.count = field.uint()?,
            2 => fields.sum = field.double()?,
            3 => fields.classic = true,
            4 => fields.count_float = field.double()?,
            5 => fields.schema = field.sint()?,
            6 => fields.zero_threshold = field.double()?,
            7 => fields.zero_count = field.uint()?,
            8 => fields.zero_count_float = field.double()?,
            9 => fields.negative.span(&field)?,
            10 => fields.negative.deltas(&field)?,
            11 => fields.negative.counts(&field)?,
            12 => fields.positive.span(&field)?,
            13 => fields.positive.deltas(&field)?,
            14 => fields.positive.counts(&field)?,
            15 => fields.start_ms = time(field.message()?)?,
            16 => fields.exemplars.push(field.message()?),
            _ => {}
        }
    }
    Ok(fields)
}

/// Exemplars of a native histogram need a time of their own: only that tells an old one from a new one.
fn native_exemplars<'a>(fields: &mut Fields<'a>, message: Reader<'a>) -> Result<Vec<Reader<'a>>, Stop> {
    let mut all = std::mem::take(&mut fields.exemplars);
    if all.is_empty() {
        for_each_bucket(message, |bucket| {
            all.extend(bucket.exemplar);
            Ok(())
        })?;
    }
    let mut timed = Vec::with_capacity(all.len());
    for exemplar in all {
        let mut rest = exemplar;
        while let Some(field) = rest.field()? {
            if field.number == 3 {
                timed.push(exemplar);
                break;
            }
        }
    }
    Ok(timed)
}

fn for_each_bucket<'a>(
    mut message: Reader<'a>,
    mut each: impl FnMut(Bucket<'a>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    while let Some(field) = message.field()? {
        if field.number != 3 {
            continue;
        }
        let mut bucket = Bucket::default();
        let mut fields = field.message()?;
        while let Some(field) = fields.field()? {
            match field.number {
                1 => bucket.count = field.uint()?,
                2 => bucket.upper_bound = field.double()?,
                3 => bucket.exemplar = Some(field.message()?),
                4 => bucket.count_float = field.double()?,
                _ => {}
            }
        }
        each(bucket)?;
    }
    Ok(())
}

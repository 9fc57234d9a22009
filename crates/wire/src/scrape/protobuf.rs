//! Prometheus' protobuf exposition: `io.prometheus.client.MetricFamily` messages, each with its length in front.
//!
//! A metric of a summary or a classic histogram becomes as many series as the text would have, under the same names.
//! A native histogram is one series; whether its classic buckets are read too is an option.

mod histogram;

use homeostat_model::{MetricKind, TimeMs, labels::METRIC_NAME, number_text::open_metrics, sample::is_stale};

use super::{
    ExemplarView, FamilyFact, SampleRole, ScrapeError, ScrapeFault, ScrapeOptions, ScrapeSink, ScrapedSample,
    ScrapedValue, SeriesKey,
};
use crate::{
    intake::{Fault, IntakeLimits, Label, TooMany, count, normalise},
    protobuf::{Field, ProtobufError, Reader},
};

/// Reads a body.
pub(super) fn parse<S: ScrapeSink>(body: &[u8], options: &ScrapeOptions, sink: &mut S) -> Result<(), ScrapeError> {
    let mut parser = Parser {
        options,
        limits: options.limits.of_labels(),
        family: Family::default(),
        metric: Metric::default(),
        key: Vec::new(),
        samples: 0,
        sink,
    };
    let mut families = Reader::new(body);
    while !families.is_empty() {
        let name = |parser: &Parser<'_, '_, S>| parser.family.name.to_owned();
        parser.family(families.delimited()?).map_err(|stop| match stop {
            Stop::Protobuf(source) => ScrapeError::Protobuf { source },
            Stop::TooMany(error) => error.into(),
            Stop::Fault(fault) => ScrapeError::Family { name: name(&parser), fault },
        })?;
    }
    Ok(())
}

/// Something in the way, before it is known in which family.
enum Stop {
    Protobuf(ProtobufError),
    TooMany(TooMany),
    Fault(ScrapeFault),
}

impl From<ProtobufError> for Stop {
    fn from(error: ProtobufError) -> Self {
        Self::Protobuf(error)
    }
}

impl From<TooMany> for Stop {
    fn from(error: TooMany) -> Self {
        Self::TooMany(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(ScrapeFault::Series(fault))
    }
}

/// What stands at the head of a family.
#[derive(Clone, Copy, Default)]
struct Family<'a> {
    name: &'a str,
    kind: MetricKind,
}

/// What the samples of a metric share.
#[derive(Default)]
struct Metric<'a> {
    labels: Vec<Label<'a>>,
    t_ms: Option<TimeMs>,
}

/// Examples of a sample, labels still unread.
type Exemplars<'e, 'a> = &'e [Reader<'a>];

struct Parser<'a, 's, S> {
    options: &'s ScrapeOptions,
    limits: IntakeLimits,
    family: Family<'a>,
    metric: Metric<'a>,
    /// What the sink recognises a series by: name and labels of the metric, then what tells its series apart.
    key: Vec<u8>,
    samples: usize,
    sink: &'s mut S,
}

impl<'a, S: ScrapeSink> Parser<'a, '_, S> {
    fn family(&mut self, message: Reader<'a>) -> Result<(), Stop> {
        let (mut name, mut help, mut unit, mut kind) = (&[][..], &[][..], &[][..], 0);
        let mut fields = message;
        while let Some(field) = fields.field()? {
            match field.number {
                1 => name = field.bytes()?,
                2 => help = field.bytes()?,
                3 => kind = field.uint()?,
                5 => unit = field.bytes()?,
                _ => {}
            }
        }
        self.family = Family { name: text(name)?, kind: kind_of(kind)? };
        let Family { name, kind } = self.family;
        if name.is_empty() {
            return Err(Stop::Fault(ScrapeFault::NoName));
        }
        let (help, unit) = (text(help)?, text(unit)?);
        let stem = if kind == MetricKind::Counter { name.strip_suffix("_total").unwrap_or(name) } else { name };
        if !unit.is_empty() && stem.strip_suffix(unit).is_none_or(|stem| !stem.ends_with('_')) {
            return Err(Stop::Fault(ScrapeFault::Unit { unit: unit.to_owned() }));
        }
        self.sink.family(name, FamilyFact::Kind(kind));
        for (fact, given) in [(FamilyFact::Help(help), help), (FamilyFact::Unit(unit), unit)] {
            if !given.is_empty() {
                self.sink.family(name, fact);
            }
        }
        let mut fields = message;
        while let Some(field) = fields.field()? {
            if field.number == 4 {
                self.metric(field.message()?)?;
            }
        }
        Ok(())
    }

    fn metric(&mut self, message: Reader<'a>) -> Result<(), Stop> {
        self.key.clear();
        self.key.extend_from_slice(self.family.name.as_bytes());
        self.metric.labels.clear();
        self.metric.t_ms = None;
        let wanted = match self.family.kind {
            MetricKind::Gauge => 2,
            MetricKind::Counter => 3,
            MetricKind::Summary => 4,
            MetricKind::Histogram | MetricKind::GaugeHistogram => 7,
            _ => 5,
        };
        let mut value = Reader::new(&[]);
        let mut fields = message;
        while let Some(field) = fields.field()? {
            match field.number {
                1 => self.label(&field)?,
                6 => self.metric.t_ms = Some(field.uint()? as i64).filter(|t_ms| *t_ms != 0),
                number if number == wanted => value = field.message()?,
                _ => {}
            }
        }
        self.key.push(0xff);
        match self.family.kind {
            MetricKind::Summary => self.summary(value),
            MetricKind::Histogram | MetricKind::GaugeHistogram => self.histogram(value),
            _ => self.number(value),
        }
    }

    fn label(&mut self, field: &Field<'a>) -> Result<(), Stop> {
        let (mut name, mut value) = (&[][..], &[][..]);
        let mut fields = field.message()?;
        // No byte of UTF-8 is 0xff, and the length tells where the next label begins.
        self.key.push(0xff);
        self.key.extend_from_slice(&(fields.as_bytes().len() as u32).to_le_bytes());
        self.key.extend_from_slice(fields.as_bytes());
        while let Some(field) = fields.field()? {
            match field.number {
                1 => name = field.bytes()?,
                2 => value = field.bytes()?,
                _ => {}
            }
        }
        if self.limits.labels_max <= self.metric.labels.len() {
            return Err(Fault::TooManyLabels { limit: self.limits.labels_max }.into());
        }
        self.metric.labels.push((text(name)?, text(value)?));
        Ok(())
    }

    /// A counter, a gauge, or nobody knows what.
    fn number(&mut self, message: Reader<'a>) -> Result<(), Stop> {
        let (mut value, mut exemplar, mut start_ms) = (0.0, None, None);
        let mut fields = message;
        while let Some(field) = fields.field()? {
            match (field.number, self.family.kind) {
                (1, _) => value = field.double()?,
                (2, MetricKind::Counter) => exemplar = Some(field.message()?),
                (3, MetricKind::Counter) => start_ms = time(field.message()?)?,
                _ => {}
            }
        }
        self.give("", None, ScrapedValue::Float(value), start_ms, exemplar.as_slice())
    }

    fn summary(&mut self, message: Reader<'a>) -> Result<(), Stop> {
        let (mut observations, mut sum, mut start_ms) = (0, 0.0, None);
        let mut fields = message;
        while let Some(field) = fields.field()? {
            match field.number {
                1 => observations = field.uint()?,
                2 => sum = field.double()?,
                4 => start_ms = time(field.message()?)?,
                _ => {}
            }
        }
        self.give("_count", None, ScrapedValue::Float(observations as f64), start_ms, &[])?;
        self.give("_sum", None, ScrapedValue::Float(sum), start_ms, &[])?;
        let mut fields = message;
        while let Some(field) = fields.field()? {
            if field.number != 3 {
                continue;
            }
            let (mut quantile, mut value) = (0.0, 0.0);
            let mut fields = field.message()?;
            while let Some(field) = fields.field()? {
                match field.number {
                    1 => quantile = field.double()?,
                    2 => value = field.double()?,
                    _ => {}
                }
            }
            self.give("", Some(("quantile", quantile)), ScrapedValue::Float(value), start_ms, &[])?;
        }
        Ok(())
    }

    /// Hands one sample of the metric to the sink.
    fn give(
        &mut self,
        suffix: &str,
        bound: Option<(&str, f64)>,
        value: ScrapedValue,
        start_ms: Option<TimeMs>,
        exemplars: Exemplars<'_, 'a>,
    ) -> Result<(), Stop> {
        count(&mut self.samples, self.options.limits.samples_max, "samples")?;
        let value = match value {
            ScrapedValue::Float(value) if is_stale(value) => ScrapedValue::Float(f64::NAN),
            other => other,
        };
        let mut rows = Vec::new();
        for exemplar in exemplars {
            match read_exemplar(*exemplar, &self.limits) {
                Ok(row) => rows.push(row),
                Err(Stop::Fault(ScrapeFault::Series(fault))) => self.sink.refused_exemplar(&fault),
                Err(stop) => return Err(stop),
            }
        }
        let views: Vec<_> =
            rows.iter().map(|row| ExemplarView { labels: &row.labels, value: row.value, t_ms: row.t_ms }).collect();
        let sample =
            ScrapedSample { value, t_ms: self.metric.t_ms, start_ms, role: SampleRole::Value, exemplars: &views };
        let len = self.key.len();
        self.key.extend_from_slice(suffix.as_bytes());
        if let Some((_, bound)) = bound {
            self.key.push(0xff);
            self.key.extend_from_slice(&bound.to_bits().to_le_bytes());
        }
        let result = match self.sink.recognise(&self.key) {
            Some(known) => {
                self.sink.sample(SeriesKey::Known(known), sample);
                Ok(())
            }
            None => self.give_unknown(suffix, bound, sample),
        };
        self.key.truncate(len);
        result
    }

    fn give_unknown(
        &mut self,
        suffix: &str,
        bound: Option<(&str, f64)>,
        sample: ScrapedSample<'_>,
    ) -> Result<(), Stop> {
        let name = format!("{}{suffix}", self.family.name);
        let spelled = bound.map(|(label, bound)| (label, open_metrics(bound)));
        let mut labels: Vec<Label<'_>> = Vec::with_capacity(self.metric.labels.len() + 2);
        labels.push((METRIC_NAME, &name));
        labels.extend_from_slice(&self.metric.labels);
        labels.extend(spelled.as_ref().map(|(label, bound)| (*label, bound.as_str())));
        normalise(&mut labels, &self.limits)?;
        self.sink.sample(SeriesKey::Labels { labels: &labels, bytes: Some(&self.key) }, sample);
        Ok(())
    }
}

/// An exemplar, read.
struct ExemplarRow<'a> {
    labels: Vec<Label<'a>>,
    value: f64,
    t_ms: Option<TimeMs>,
}

fn read_exemplar<'a>(mut message: Reader<'a>, limits: &IntakeLimits) -> Result<ExemplarRow<'a>, Stop> {
    let mut row = ExemplarRow { labels: Vec::new(), value: 0.0, t_ms: None };
    while let Some(field) = message.field()? {
        match field.number {
            1 => {
                let (mut name, mut value) = (&[][..], &[][..]);
                let mut fields = field.message()?;
                while let Some(field) = fields.field()? {
                    match field.number {
                        1 => name = field.bytes()?,
                        2 => value = field.bytes()?,
                        _ => {}
                    }
                }
                let index = row.labels.len();
                let (Ok(name), Ok(value)) = (str::from_utf8(name), str::from_utf8(value)) else {
                    return Err(Fault::Encoding { index }.into());
                };
                if limits.labels_max <= index {
                    return Err(Fault::TooManyLabels { limit: limits.labels_max }.into());
                }
                row.labels.push((name, value));
            }
            2 => row.value = field.double()?,
            3 => row.t_ms = time(field.message()?)?,
            _ => {}
        }
    }
    normalise(&mut row.labels, limits)?;
    Ok(row)
}

fn text(bytes: &[u8]) -> Result<&str, Stop> {
    str::from_utf8(bytes).map_err(|_| Stop::Fault(ScrapeFault::Encoding))
}

fn kind_of(number: u64) -> Result<MetricKind, Stop> {
    Ok(match number {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        2 => MetricKind::Summary,
        3 => MetricKind::Unknown,
        4 => MetricKind::Histogram,
        5 => MetricKind::GaugeHistogram,
        number => return Err(Stop::Fault(ScrapeFault::Kind { number })),
    })
}

/// A `google.protobuf.Timestamp` in milliseconds; `None` for the beginning of 1970, which stands for "not set".
fn time(mut message: Reader<'_>) -> Result<Option<TimeMs>, ProtobufError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    while let Some(field) = message.field()? {
        match field.number {
            1 => seconds = field.uint()? as i64,
            2 => nanos = i64::from(field.uint()? as i32),
            _ => {}
        }
    }
    let t_ms = seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000);
    Ok((t_ms != 0).then_some(t_ms))
}

//! The walk through a request, point by point.

mod give;
mod kinds;

use homeostat_model::{MetricKind, TimeMs};

use super::{
    DeltaToCumulative, OtlpError, OtlpOptions, OtlpOutcome,
    name::{Nature, metric_name, unit_name},
    point::{self, Head},
    resource::{LabelList, Resource, scope_labels, single_fields},
    temporality::DELTA,
    value::ValueError,
};
use crate::{
    intake::{Fault, Label, MetadataView, Refusal, SeriesSink, TooMany, count},
    protobuf::{ProtobufError, Reader},
};

/// Walks through a request.
pub(super) fn request<S: SeriesSink>(
    body: &[u8],
    options: &OtlpOptions,
    delta: Option<&mut DeltaToCumulative>,
    sink: &mut S,
) -> Result<OtlpOutcome, OtlpError> {
    let mut translator = Translator {
        options,
        delta,
        sink,
        outcome: OtlpOutcome::default(),
        counts: Counts::default(),
        head: Head::default(),
        spare: Vec::new(),
    };
    let mut resources = Reader::new(body);
    while let Some(field) = resources.field()? {
        if field.number == 1 {
            translator.resource(field.message()?).map_err(|stop| match stop {
                Stop::Malformed(source) => OtlpError::Malformed { source },
                Stop::TooMany(error) => OtlpError::TooMany(error),
            })?;
        }
    }
    Ok(translator.outcome)
}

/// Something in the way of the whole request.
enum Stop {
    Malformed(ProtobufError),
    TooMany(TooMany),
}

impl From<ProtobufError> for Stop {
    fn from(error: ProtobufError) -> Self {
        Self::Malformed(error)
    }
}

impl From<TooMany> for Stop {
    fn from(error: TooMany) -> Self {
        Self::TooMany(error)
    }
}

/// Something in the way of a point, or of the whole request.
enum PointError {
    Stop(Stop),
    Fault(Fault),
}

impl<E: Into<Stop>> From<E> for PointError {
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

impl From<ValueError> for PointError {
    fn from(error: ValueError) -> Self {
        match error {
            ValueError::Protobuf(error) => Self::Stop(error.into()),
            ValueError::Fault(fault) => Self::Fault(fault),
        }
    }
}

/// A fault concerns one point, anything else all.
fn or_fault<T>(result: Result<T, ValueError>) -> Result<Result<T, Fault>, Stop> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ValueError::Fault(fault)) => Ok(Err(fault)),
        Err(ValueError::Protobuf(error)) => Err(error.into()),
    }
}

/// How much there was.
#[derive(Default)]
struct Counts {
    samples: usize,
    histograms: usize,
    exemplars: usize,
    metadata: usize,
}

struct Translator<'a, 'o, S> {
    options: &'o OtlpOptions,
    delta: Option<&'o mut DeltaToCumulative>,
    sink: &'o mut S,
    outcome: OtlpOutcome,
    counts: Counts,
    /// Of the point at hand.
    head: Head<'a>,
    /// Empty; kept for its memory.
    spare: Vec<Label<'static>>,
}

/// What a point's series have in common with the others of its metric.
struct Metric<'a, 'm> {
    resource: &'m Result<Resource<'a>, Fault>,
    scope: &'m Result<LabelList<'a>, Fault>,
    /// As Prometheus has it, or why it cannot.
    name: Result<String, Fault>,
    kind: Kind,
    temporality: Temporality,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Sum,
    Explicit,
    Exponential,
    Summary,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Temporality {
    Unknown,
    Delta,
    Cumulative,
}

/// First and last time of a resource's points.
type Times = Option<(TimeMs, TimeMs)>;

impl<'a, S: SeriesSink> Translator<'a, '_, S> {
    fn resource(&mut self, message: Reader<'a>) -> Result<(), Stop> {
        let [resource] = single_fields(message, [1])?;
        let resource = or_fault(Resource::read(resource.unwrap_or(Reader::new(&[])), self.options))?;
        let mut times = None;
        let mut fields = message;
        while let Some(field) = fields.field()? {
            if field.number == 2 {
                self.scope(field.message()?, &resource, &mut times)?;
            }
        }
        match (resource, times) {
            (Ok(resource), Some(times)) => self.target_info(&resource, times),
            _ => Ok(()),
        }
    }

    fn scope(
        &mut self,
        message: Reader<'a>,
        resource: &Result<Resource<'a>, Fault>,
        times: &mut Times,
    ) -> Result<(), Stop> {
        let [scope, schema_url] = single_fields(message, [1, 3])?;
        let schema_url = schema_url.map_or(&[][..], |url| url.as_bytes());
        let scope = or_fault(scope_labels(scope, schema_url, self.options))?;
        let mut fields = message;
        while let Some(field) = fields.field()? {
            if field.number == 2 {
                self.metric(field.message()?, resource, &scope, times)?;
            }
        }
        Ok(())
    }

    fn metric(
        &mut self,
        message: Reader<'a>,
        resource: &Result<Resource<'a>, Fault>,
        scope: &Result<LabelList<'a>, Fault>,
        times: &mut Times,
    ) -> Result<(), Stop> {
        let [name, help, unit, gauge, sum, explicit, exponential, summary] =
            single_fields(message, [1, 2, 3, 5, 7, 9, 10, 11])?;
        let all = [
            (Kind::Gauge, gauge),
            (Kind::Sum, sum),
            (Kind::Explicit, explicit),
            (Kind::Exponential, exponential),
            (Kind::Summary, summary),
        ];
        let Some((kind, data)) = all.into_iter().find_map(|(kind, data)| Some((kind, data?))) else { return Ok(()) };
        let (mut temporality, mut monotonic) = (Temporality::Unknown, false);
        let mut fields = data;
        while let Some(field) = fields.field()? {
            match field.number {
                2 => temporality = temporality_of(field.uint()?),
                3 => monotonic = field.uint()? != 0,
                _ => {}
            }
        }
        let text = |field: Option<Reader<'a>>| {
            str::from_utf8(field.map_or(&[][..], |text| text.as_bytes())).map_err(|_| Fault::Encoding { index: 0 })
        };
        let unit = text(unit).unwrap_or_default();
        let nature = match kind {
            Kind::Sum if monotonic => Nature::Counter,
            Kind::Gauge => Nature::Gauge,
            _ => Nature::Other,
        };
        let strategy = self.options.strategy;
        let name = text(name).and_then(|name| {
            metric_name(name, unit, nature, strategy).ok_or_else(|| Fault::Name { name: name.to_owned() })
        });
        if let Ok(name) = &name {
            let kind = prometheus_kind(kind, monotonic);
            let help = text(help).unwrap_or_default();
            count(&mut self.counts.metadata, self.options.limits.metadata_max, "metrics")?;
            self.sink.metadata(MetadataView { family: name, kind, help, unit: &unit_name(unit, strategy) });
        }
        let metric = Metric { resource, scope, name, kind, temporality };
        let mut fields = data;
        while let Some(field) = fields.field()? {
            if field.number == 1 {
                self.point(field.message()?, &metric, times)?;
            }
        }
        Ok(())
    }

    /// Reads and gives a point, or refuses it.
    fn point(&mut self, message: Reader<'a>, metric: &Metric<'a, '_>, times: &mut Times) -> Result<(), Stop> {
        self.head.clear();
        let result = self.give_point(message, metric);
        let t_ms = self.head.t_ms();
        *times = Some(times.map_or((t_ms, t_ms), |(first, last)| (first.min(t_ms), last.max(t_ms))));
        let index = self.outcome.data_points;
        self.outcome.data_points += 1;
        match result {
            Ok(()) => Ok(()),
            Err(PointError::Stop(stop)) => Err(stop),
            Err(PointError::Fault(fault)) => {
                let exemplars = self.head.exemplars.len();
                let metric = metric.name.as_deref().unwrap_or_default();
                let refusal = Refusal { series: index as usize, metric, samples: 1, exemplars, fault };
                if self.outcome.rejected == 0 {
                    self.outcome.message = refusal.to_string();
                }
                self.outcome.rejected += 1;
                self.sink.refused(refusal);
                Ok(())
            }
        }
    }

    fn give_point(&mut self, message: Reader<'a>, metric: &Metric<'a, '_>) -> Result<(), PointError> {
        match metric.kind {
            Kind::Gauge | Kind::Sum => {
                let value = point::read_number(message, &mut self.head)?;
                self.give_number(value, metric)
            }
            Kind::Explicit => {
                let histogram = point::read_explicit(message, &mut self.head)?;
                self.give_explicit(histogram, metric)
            }
            Kind::Exponential => {
                let histogram = point::read_exponential(message, &mut self.head)?;
                self.give_exponential(&histogram, metric)
            }
            Kind::Summary => {
                let summary = point::read_summary(message, &mut self.head)?;
                self.give_summary(&summary, metric)
            }
        }
    }
}

fn unsupported(what: &'static str) -> PointError {
    PointError::Fault(Fault::Unsupported { what })
}

fn temporality_of(number: u64) -> Temporality {
    match number {
        DELTA => Temporality::Delta,
        2 => Temporality::Cumulative,
        _ => Temporality::Unknown,
    }
}

fn prometheus_kind(kind: Kind, monotonic: bool) -> MetricKind {
    match kind {
        Kind::Sum if monotonic => MetricKind::Counter,
        Kind::Gauge | Kind::Sum => MetricKind::Gauge,
        Kind::Explicit | Kind::Exponential => MetricKind::Histogram,
        Kind::Summary => MetricKind::Summary,
    }
}

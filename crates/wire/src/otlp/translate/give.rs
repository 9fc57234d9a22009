//! Series of the point at hand, to the sink.

use homeostat_model::{Histogram, Labels, MetricKind, TimeMs, histogram::HistogramError, labels::METRIC_NAME};

use super::{Metric, PointError, Stop, Temporality, Translator, unsupported};
use crate::{
    intake::{
        ExemplarRow, ExemplarsView, Fault, FloatSample, HistogramSample, Label, MetadataView, Refusal, SeriesKey,
        SeriesSink, SeriesView, count, normalise, recycled,
    },
    otlp::{
        delta::Total,
        exemplar::Exemplar,
        resource::{LabelList, Resource},
        value::ValueError,
    },
};

/// Samples of `target_info` in a request, at most: a day of them.
const TARGET_INFO_SAMPLES_MAX: i64 = 24 * 60 * 60 * 1000 / crate::otlp::TARGET_INFO_INTERVAL_MS;

impl<'a, S: SeriesSink> Translator<'a, '_, S> {
    /// The name and labels of the point at hand.
    pub(super) fn identify<'m>(&mut self, metric: &'m Metric<'a, '_>) -> Result<(&'m str, LabelList<'a>), PointError> {
        let resource = metric.resource.as_ref().map_err(|fault| PointError::Fault(fault.clone()))?;
        let scope = metric.scope.as_ref().map_err(|fault| PointError::Fault(fault.clone()))?;
        let name = metric.name.as_ref().map_err(|fault| PointError::Fault(fault.clone()))?;
        Ok((name, resource.point_labels(&self.head.attributes, scope, self.options)?))
    }

    /// The exemplars of the point at hand; bad ones are refused.
    pub(super) fn exemplars(&mut self, name: &str) -> Result<Vec<Exemplar<'a>>, PointError> {
        let mut exemplars = Vec::new();
        for message in &self.head.exemplars {
            count(&mut self.counts.exemplars, self.options.limits.exemplars_max, "exemplars")?;
            match Exemplar::read(*message, &self.options.limits) {
                Ok(exemplar) => exemplars.push(exemplar),
                Err(ValueError::Protobuf(error)) => return Err(error.into()),
                Err(ValueError::Fault(fault)) => refuse_exemplar(self.sink, self.outcome.data_points, name, fault),
            }
        }
        Ok(exemplars)
    }

    /// Adds the point at hand, which is a delta, to its total.
    pub(super) fn total(
        &mut self,
        metric: &Metric<'a, '_>,
        name: &str,
        labels: &LabelList<'a>,
        delta: Total,
    ) -> Result<(u64, &Total), PointError> {
        if metric.temporality == Temporality::Unknown {
            return Err(unsupported("the metric says neither delta nor cumulative; set its aggregation temporality"));
        }
        let Some(state) = &mut self.delta else {
            return Err(unsupported("deltas are not taken here; send cumulative sums"));
        };
        let pairs = labels.0.iter().map(|(name, value)| (&**name, &**value)).chain([(METRIC_NAME, name)]);
        state.add(Labels::new(pairs), self.head.start_ns, self.head.time_ns, delta).map_err(PointError::Fault)
    }

    pub(super) fn give_float(
        &mut self,
        labels: &LabelList<'a>,
        name: &str,
        extra: Option<Label<'_>>,
        value: f64,
        start_ms: Option<TimeMs>,
        exemplars: &[&Exemplar<'a>],
    ) -> Result<(), PointError> {
        count(&mut self.counts.samples, self.options.limits.samples_max, "samples")?;
        let sample = FloatSample { t_ms: self.head.t_ms(), value, start_ms };
        self.give(labels, name, extra, &[sample], &[], exemplars).map_err(PointError::Fault)
    }

    pub(super) fn give_native(
        &mut self,
        labels: &LabelList<'a>,
        name: &str,
        histogram: Result<Histogram, HistogramError>,
        start_ms: Option<TimeMs>,
        exemplars: &[&Exemplar<'a>],
    ) -> Result<(), PointError> {
        count(&mut self.counts.histograms, self.options.limits.histograms_max, "native histograms")?;
        let t_ms = self.head.t_ms();
        let histogram = histogram.map_err(|error| PointError::Fault(Fault::Histogram { t_ms, error }))?;
        let sample = HistogramSample { t_ms, histogram: histogram.into(), start_ms };
        self.give(labels, name, None, &[], &[sample], exemplars).map_err(PointError::Fault)
    }

    /// Hands a series to the sink.
    pub(super) fn give(
        &mut self,
        labels: &LabelList<'a>,
        name: &str,
        extra: Option<Label<'_>>,
        samples: &[FloatSample],
        histograms: &[HistogramSample],
        exemplars: &[&Exemplar<'a>],
    ) -> Result<(), Fault> {
        let limits = &self.options.limits;
        let (mut rows, mut exemplar_labels) = (Vec::new(), Vec::new());
        for exemplar in exemplars {
            match exemplar.labels(limits) {
                Ok(mut own) => {
                    let first = exemplar_labels.len();
                    exemplar_labels.append(&mut own);
                    let labels = first..exemplar_labels.len();
                    rows.push(ExemplarRow { labels, value: exemplar.value, t_ms: exemplar.t_ms });
                }
                Err(fault) => refuse_exemplar(self.sink, self.outcome.data_points, name, fault),
            }
        }
        let mut all = recycled(std::mem::take(&mut self.spare));
        // What distinguishes the series of a metric wins over attributes of the same name.
        let replaced = |label: &str| extra.is_some_and(|(name, _)| name == label);
        all.extend(labels.0.iter().map(|(name, value)| (&**name, &**value)).filter(|(label, _)| !replaced(label)));
        all.push((METRIC_NAME, name));
        all.extend(extra);
        let result = if limits.labels_max < all.len() {
            Err(Fault::TooManyLabels { limit: limits.labels_max })
        } else {
            normalise(&mut all, limits)
        };
        if result.is_ok() {
            let view = SeriesView { samples, histograms, exemplars: ExemplarsView::Rows(&rows, &exemplar_labels) };
            self.sink.series(SeriesKey::Labels { labels: &all, bytes: None }, view);
        }
        self.spare = recycled(all);
        result
    }

    /// What is known about the resource, as a series: one sample for each time that somebody may look for it.
    pub(super) fn target_info(&mut self, resource: &Resource<'a>, (first, last): (TimeMs, TimeMs)) -> Result<(), Stop> {
        let Ok(Some(labels)) = resource.target_info(self.options) else { return Ok(()) };
        let (name, help) = ("target_info", "Target metadata");
        self.sink.metadata(MetadataView { family: name, kind: MetricKind::Gauge, help, unit: "" });
        let interval = self.options.target_info_interval_ms.max(1);
        let first = first.max(last.saturating_sub(interval.saturating_mul(TARGET_INFO_SAMPLES_MAX)));
        let before_last =
            (0..TARGET_INFO_SAMPLES_MAX).map(|n| first.saturating_add(n * interval)).take_while(|t| *t < last);
        let sample = |t_ms| FloatSample { t_ms, value: 1.0, start_ms: None };
        let samples: Vec<_> = before_last.chain([last]).map(sample).collect();
        for _ in &samples {
            count(&mut self.counts.samples, self.options.limits.samples_max, "samples")?;
        }
        if let Err(fault) = self.give(&labels, name, None, &samples, &[], &[]) {
            let series = self.outcome.data_points as usize;
            self.sink.refused(Refusal { series, metric: name, samples: samples.len(), exemplars: 0, fault });
        }
        Ok(())
    }
}

fn refuse_exemplar<S: SeriesSink>(sink: &mut S, series: u64, metric: &str, fault: Fault) {
    sink.refused(Refusal { series: series as usize, metric, samples: 0, exemplars: 1, fault });
}

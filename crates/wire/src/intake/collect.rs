//! A sink that keeps everything: for tests, tools and requests that are small.

use std::convert::Infallible;

use homeostat_model::{Labels, MetricMetadata, TimeMs};

use super::{ExemplarView, FloatSample, HistogramSample, MetadataView, Refusal, SeriesKey, SeriesSink, SeriesView};

/// Everything that a request held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    /// In the order of the request.
    pub series: Vec<CollectedSeries>,
    /// Metrics by name, in the order of the request.
    pub metadata: Vec<(String, MetricMetadata)>,
    /// What was refused, in words.
    pub refused: Vec<String>,
}

/// A series with what came for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CollectedSeries {
    /// What it is known by.
    pub labels: Labels,
    /// In the order of the request.
    pub samples: Vec<FloatSample>,
    /// In the order of the request.
    pub histograms: Vec<HistogramSample>,
    /// In the order of the request.
    pub exemplars: Vec<Exemplar>,
}

/// An exemplar that owns its labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exemplar {
    /// Mostly a trace's id.
    pub labels: Labels,
    /// The value that was observed.
    pub value: f64,
    /// When, where the source says so.
    pub t_ms: Option<TimeMs>,
}

impl From<ExemplarView<'_>> for Exemplar {
    fn from(view: ExemplarView<'_>) -> Self {
        Self { labels: view.labels.iter().copied().collect(), value: view.value, t_ms: view.t_ms }
    }
}

impl SeriesSink for Collected {
    type Known = Infallible;

    fn series(&mut self, key: SeriesKey<'_, Infallible>, series: SeriesView<'_>) {
        let SeriesKey::Labels { labels, .. } = key;
        self.series.push(CollectedSeries {
            labels: labels.iter().copied().collect(),
            samples: series.samples.to_vec(),
            histograms: series.histograms.to_vec(),
            exemplars: series.exemplars().map(Exemplar::from).collect(),
        });
    }

    fn metadata(&mut self, metadata: MetadataView<'_>) {
        let MetadataView { family, kind, help, unit } = metadata;
        let known = MetricMetadata { kind, help: help.to_owned(), unit: unit.to_owned() };
        self.metadata.push((family.to_owned(), known));
    }

    fn refused(&mut self, refusal: Refusal<'_>) {
        self.refused.push(refusal.to_string());
    }
}

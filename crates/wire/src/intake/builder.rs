//! Collects one series after the other for a sink, in buffers that are used again.

use std::{ops::Range, sync::Arc};

use homeostat_model::{Histogram, TimeMs};

use super::{
    ExemplarsView, Fault, FloatSample, HistogramSample, IntakeLimits, Label, MetadataView, Refusal, SeriesKey,
    SeriesSink, SeriesView, TooMany, limits::count, metric_name,
};

/// An exemplar whose labels lie in a common list.
#[derive(Clone, Debug)]
pub(crate) struct ExemplarRow {
    pub(crate) labels: Range<usize>,
    pub(crate) value: f64,
    pub(crate) t_ms: Option<TimeMs>,
}

/// How much of each there was.
#[derive(Debug, Default)]
struct Counts {
    series: usize,
    samples: usize,
    histograms: usize,
    exemplars: usize,
    metadata: usize,
}

/// The series at hand, and what the request has brought so far.
#[derive(Debug)]
pub(crate) struct SeriesBuilder<'a, 'l> {
    limits: &'l IntakeLimits,
    counts: Counts,
    labels: Vec<Label<'a>>,
    /// The first thing that makes the whole series unusable.
    fault: Option<Fault>,
    samples: Vec<FloatSample>,
    histograms: Vec<HistogramSample>,
    exemplars: Vec<ExemplarRow>,
    exemplar_labels: Vec<Label<'a>>,
    /// The labels of the exemplar at hand, and what is wrong with it.
    exemplar_at_hand: (Vec<Label<'a>>, Option<Fault>),
}

impl<'a, 'l> SeriesBuilder<'a, 'l> {
    pub(crate) fn new(limits: &'l IntakeLimits) -> Self {
        Self {
            limits,
            counts: Counts::default(),
            labels: Vec::with_capacity(32),
            fault: None,
            samples: Vec::with_capacity(32),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            exemplar_labels: Vec::new(),
            exemplar_at_hand: (Vec::new(), None),
        }
    }

    /// Begins the next series.
    pub(crate) fn begin(&mut self) -> Result<(), TooMany> {
        self.clear();
        count(&mut self.counts.series, self.limits.series_max, "series")
    }

    fn clear(&mut self) {
        self.labels.clear();
        self.fault = None;
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.exemplar_labels.clear();
    }

    /// The series cannot be used; the first reason is kept.
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    pub(crate) fn label_bytes(&mut self, name: &'a [u8], value: &'a [u8]) {
        match (str::from_utf8(name), str::from_utf8(value)) {
            (Ok(name), Ok(value)) => self.label(name, value),
            _ => self.fault(Fault::Encoding { index: self.labels.len() }),
        }
    }

    #[inline]
    pub(crate) fn label(&mut self, name: &'a str, value: &'a str) {
        if self.labels.len() < self.limits.labels_max {
            self.labels.push((name, value));
        } else {
            self.fault(Fault::TooManyLabels { limit: self.limits.labels_max });
        }
    }

    #[inline]
    pub(crate) fn sample(&mut self, sample: FloatSample) -> Result<(), TooMany> {
        count(&mut self.counts.samples, self.limits.samples_max, "samples")?;
        self.samples.push(sample);
        Ok(())
    }

    /// A native histogram that was checked, or why there is none.
    pub(crate) fn histogram<S: SeriesSink>(
        &mut self,
        t_ms: TimeMs,
        start_ms: Option<TimeMs>,
        histogram: Result<Histogram, Fault>,
        sink: &mut S,
    ) -> Result<(), TooMany> {
        count(&mut self.counts.histograms, self.limits.histograms_max, "native histograms")?;
        match histogram {
            Ok(histogram) => {
                self.histograms.push(HistogramSample { t_ms, histogram: Arc::new(histogram), start_ms });
            }
            Err(fault) => self.refuse(sink, 1, 0, fault),
        }
        Ok(())
    }

    /// Begins an exemplar: its labels follow.
    pub(crate) fn begin_exemplar(&mut self) {
        self.exemplar_at_hand.0.clear();
        self.exemplar_at_hand.1 = None;
    }

    pub(crate) fn exemplar_fault(&mut self, fault: Fault) {
        self.exemplar_at_hand.1.get_or_insert(fault);
    }

    pub(crate) fn exemplar_label_bytes(&mut self, name: &'a [u8], value: &'a [u8]) {
        match (str::from_utf8(name), str::from_utf8(value)) {
            (Ok(name), Ok(value)) => self.exemplar_label(name, value),
            _ => self.exemplar_fault(Fault::Encoding { index: self.exemplar_at_hand.0.len() }),
        }
    }

    pub(crate) fn exemplar_label(&mut self, name: &'a str, value: &'a str) {
        if self.exemplar_at_hand.0.len() < self.limits.labels_max {
            self.exemplar_at_hand.0.push((name, value));
        } else {
            self.exemplar_fault(Fault::TooManyLabels { limit: self.limits.labels_max });
        }
    }

    /// Ends an exemplar.
    pub(crate) fn end_exemplar<S: SeriesSink>(
        &mut self,
        value: f64,
        t_ms: Option<TimeMs>,
        sink: &mut S,
    ) -> Result<(), TooMany> {
        count(&mut self.counts.exemplars, self.limits.exemplars_max, "exemplars")?;
        let (labels, fault) = &mut self.exemplar_at_hand;
        match fault.take().map_or_else(|| normalise(labels, self.limits), Err) {
            Ok(()) => {
                let first = self.exemplar_labels.len();
                self.exemplar_labels.append(labels);
                self.exemplars.push(ExemplarRow { labels: first..self.exemplar_labels.len(), value, t_ms });
            }
            Err(fault) => self.refuse(sink, 0, 1, fault),
        }
        Ok(())
    }

    /// Ends the series and hands it to the sink under the name that the sink knows it by, or under its labels.
    pub(crate) fn finish<S: SeriesSink>(&mut self, known: Option<S::Known>, bytes: Option<&[u8]>, sink: &mut S) {
        if known.is_none() && self.fault.is_none() {
            self.fault = normalise(&mut self.labels, self.limits)
                .and(if self.labels.is_empty() { Err(Fault::NoLabels) } else { Ok(()) })
                .err();
        }
        if let Some(fault) = self.fault.take() {
            self.refuse(sink, self.samples.len() + self.histograms.len(), self.exemplars.len(), fault);
            return;
        }
        let key = match known {
            Some(known) => SeriesKey::Known(known),
            None => SeriesKey::Labels { labels: &self.labels, bytes },
        };
        let series = SeriesView {
            samples: &self.samples,
            histograms: &self.histograms,
            exemplars: ExemplarsView::Rows(&self.exemplars, &self.exemplar_labels),
        };
        sink.series(key, series);
    }

    /// Hands metadata to the sink.
    pub(crate) fn metadata<S: SeriesSink>(&mut self, metadata: MetadataView<'_>, sink: &mut S) -> Result<(), TooMany> {
        count(&mut self.counts.metadata, self.limits.metadata_max, "metadata entries")?;
        sink.metadata(metadata);
        Ok(())
    }

    /// The metric's name as far as it was read.
    pub(crate) fn metric(&self) -> &'a str {
        metric_name(&self.labels)
    }

    fn refuse<S: SeriesSink>(&self, sink: &mut S, samples: usize, exemplars: usize, fault: Fault) {
        let series = self.counts.series.saturating_sub(1);
        sink.refused(Refusal { series, metric: self.metric(), samples, exemplars, fault });
    }
}

/// Sorts labels, leaves those without value out, and checks them.
pub(crate) fn normalise(labels: &mut Vec<Label<'_>>, limits: &IntakeLimits) -> Result<(), Fault> {
    check_lengths(labels, limits)?;
    // Most senders sort.
    if !labels.is_sorted_by(|(a, _), (b, _)| a < b) {
        labels.sort_unstable_by_key(|(name, _)| *name);
        let neighbours = labels.iter().zip(labels.iter().skip(1));
        if let Some(((name, _), _)) = neighbours.into_iter().find(|((a, _), (b, _))| a == b) {
            return Err(Fault::DuplicateName { name: (*name).to_owned() });
        }
    }
    if let Some(("", _)) = labels.first() {
        return Err(Fault::EmptyName);
    }
    labels.retain(|(_, value)| !value.is_empty());
    Ok(())
}

/// An empty list with the same memory and another lifetime: collecting in place keeps it.
pub(crate) fn recycled<'b>(mut labels: Vec<Label<'_>>) -> Vec<Label<'b>> {
    labels.clear();
    labels.into_iter().map(|_| ("", "")).collect()
}

fn check_lengths(labels: &[Label<'_>], limits: &IntakeLimits) -> Result<(), Fault> {
    let mut total = 0;
    for (index, (name, value)) in labels.iter().enumerate() {
        if limits.label_name_bytes_max < name.len() {
            return Err(Fault::LongName { index, len: name.len(), limit: limits.label_name_bytes_max });
        }
        if limits.label_value_bytes_max < value.len() {
            let limit = limits.label_value_bytes_max;
            return Err(Fault::LongValue { name: (*name).to_owned(), len: value.len(), limit });
        }
        total += name.len() + value.len();
    }
    if limits.series_bytes_max < total {
        return Err(Fault::LongLabels { len: total, limit: limits.series_bytes_max });
    }
    Ok(())
}

//! What one target's scrapes have in common: how its series are labelled, and which of them have ended.
//!
//! Each series is relabelled once and remembered by the bytes that the target writes for it, so that the next scrape
//! costs one look-up a series. A series that was in the last scrape and is not in this one has ended: it gets a stale
//! marker at this scrape's time, as do all of them when a scrape fails or the target goes.
//! Source: prometheus.io/docs, "Staleness", and the semantics of `honor_labels` and `honor_timestamps`.

use std::{collections::HashMap, sync::Arc};

use homeostat_model::{Labels, LabelsBuilder, MetricMetadata, TimeMs, sample::stale_marker};
use homeostat_relabel::{Fate, relabel};
use homeostat_wire::{
    intake::{FloatSample, HistogramSample, Label, MetadataView, SeriesKey, SeriesSink, SeriesView, labels_builder},
    scrape::{FamilyFact, ScrapeSink, ScrapedSample, ScrapedValue},
};

use crate::spec::{Job, Limits};

/// Scrapes after which a series that is gone is forgotten. Two or three of them bridge a flapping label; more would keep
/// what a target with ever new labels leaves behind.
const FORGOTTEN_AFTER: u64 = 3;

/// Why a scrape is given up although the target answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// More series than the job allows.
    #[error(
        "the target exposes more than {limit} series; raise `sample_limit` or drop some by `metric_relabel_configs`"
    )]
    Samples {
        /// What is allowed.
        limit: usize,
    },
    /// More labels than the job allows.
    #[error("series `{metric}` has {labels} labels, more than the {limit} of `label_limit`")]
    Labels {
        /// The metric.
        metric: String,
        /// How many it has.
        labels: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A label that is longer than the job allows.
    #[error("label `{label}` of series `{metric}` is longer than the {limit} bytes of `{key}`")]
    Length {
        /// The metric.
        metric: String,
        /// The label.
        label: String,
        /// What is allowed.
        limit: usize,
        /// The limit's name in the configuration.
        key: &'static str,
    },
    /// A series that has lost its name.
    #[error("a series has no metric name after relabelling: {labels}")]
    NoName {
        /// What is left of it.
        labels: String,
    },
}

/// A series of the target, as relabelled.
#[derive(Clone, Debug)]
struct Known {
    /// `None` when relabelling drops it.
    labels: Option<Labels>,
    /// The last scrape that had it.
    seen: u64,
    /// The one before that had it; 0 for none.
    seen_before: u64,
    /// The target states its times, so that its end is not ours to say.
    own_times: bool,
}

/// The memory of one target.
#[derive(Debug)]
pub struct Cycle {
    job: Arc<Job>,
    target: Labels,
    known: HashMap<Box<[u8]>, Known, foldhash::fast::RandomState>,
    /// What was said about each family; repeated only when it changes.
    families: HashMap<String, MetricMetadata, foldhash::fast::RandomState>,
    /// Number of the current scrape, from 2: 0 is none, and the one before the first is another than that.
    scrape: u64,
}

/// Families that a target may describe; more are stored without their description.
const FAMILIES_MAX: usize = 50_000;

/// What a scrape brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples that the target exposed.
    pub scraped: usize,
    /// Of those, what was left by relabelling.
    pub kept: usize,
    /// Series that were not in the scrape before.
    pub added: usize,
}

impl Cycle {
    /// Begins with no series known.
    pub fn new(job: Arc<Job>, target: Labels) -> Self {
        Self { job, target, known: HashMap::default(), families: HashMap::default(), scrape: 1 }
    }

    /// Begins a scrape at `t_ms`; what it brings goes to `sink`.
    pub fn scrape<'a, S: SeriesSink>(&'a mut self, t_ms: TimeMs, sink: &'a mut S) -> Scrape<'a, S> {
        self.scrape += 1;
        Scrape { cycle: self, sink, t_ms, counts: Counts::default(), broken: None, family: None }
    }

    /// Marks the end of all series of the last scrape, for one that failed or a target that goes.
    pub fn end_all<S: SeriesSink>(&mut self, t_ms: TimeMs, sink: &mut S) {
        self.scrape += 1;
        self.end_unseen(t_ms, sink);
    }

    /// Marks the end of what the last scrape had and the current one has not, and forgets what is long gone.
    fn end_unseen<S: SeriesSink>(&mut self, t_ms: TimeMs, sink: &mut S) {
        let (scrape, last) = (self.scrape, self.scrape.saturating_sub(1));
        let any_times = self.job.track_timestamps_staleness;
        for known in self.known.values().filter(|known| known.seen == last && (any_times || !known.own_times)) {
            if let Some(labels) = &known.labels {
                one(sink, labels, t_ms, stale_marker());
            }
        }
        self.known.retain(|_, known| known.seen + FORGOTTEN_AFTER > scrape);
    }

    /// The labels of a series as stored, or `None` when relabelling drops it.
    fn labels_of(&self, series: &[Label<'_>]) -> Option<Labels> {
        let mut labels = labels_builder(series);
        for (name, value) in &self.target {
            let own = labels.value(name).to_owned();
            if own.is_empty() {
                labels.set(name, value);
            } else if !self.job.honor_labels {
                let free = exported_name(&labels, name);
                labels.set(&free, &own).set(name, value);
            }
        }
        let fate = relabel(&mut labels, &self.job.metric_relabel);
        (fate == Fate::Kept).then(|| labels.finish()).filter(|labels| !labels.is_empty())
    }
}

/// `exported_<name>`, with the prefix repeated until nothing has that name.
fn exported_name(labels: &LabelsBuilder, name: &str) -> String {
    let mut free = format!("exported_{name}");
    while !labels.value(&free).is_empty() {
        free.insert_str(0, "exported_");
    }
    free
}

/// Hands one sample of our own making to a sink.
pub fn one<S: SeriesSink>(sink: &mut S, labels: &Labels, t_ms: TimeMs, value: f64) {
    let sample = FloatSample { t_ms, value, start_ms: None };
    with_labels(labels, |labels| {
        sink.series(SeriesKey::Labels { labels, bytes: None }, SeriesView::new(&[sample], &[], &[]));
    });
}

/// Shows a set as the slice that sinks take; sets of a usual size need no memory for it.
fn with_labels(labels: &Labels, then: impl FnOnce(&[Label<'_>])) {
    const USUAL: usize = 32;
    let mut few = [("", ""); USUAL];
    let len = labels.iter().zip(&mut few).map(|(label, place)| *place = label).count();
    match few.get(..len) {
        Some(few) if labels.iter().nth(USUAL).is_none() => then(few),
        _ => then(&labels.iter().collect::<Vec<_>>()),
    }
}

fn check(labels: &Labels, limits: &Limits) -> Result<(), LimitError> {
    let metric = || labels.metric().unwrap_or_default().to_owned();
    if labels.metric().is_none() {
        return Err(LimitError::NoName { labels: labels.to_string() });
    }
    let count = labels.len();
    if let Some(limit) = limits.labels.filter(|limit| count > *limit) {
        return Err(LimitError::Labels { metric: metric(), labels: count, limit });
    }
    for (name, value) in labels {
        let long = |len: usize, limit: Option<usize>, key| {
            let limit = limit.filter(|limit| len > *limit)?;
            Some(LimitError::Length { metric: metric(), label: name.to_owned(), limit, key })
        };
        let name_long = long(name.len(), limits.label_name_bytes, "label_name_length_limit");
        let value_long = long(value.len(), limits.label_value_bytes, "label_value_length_limit");
        if let Some(error) = name_long.or(value_long) {
            return Err(error);
        }
    }
    Ok(())
}

/// A series that was recognised.
#[derive(Debug)]
pub enum Recognised {
    /// It is stored under these labels.
    Kept(Labels),
    /// It is dropped.
    Dropped,
}

/// A scrape that is being read.
#[derive(Debug)]
pub struct Scrape<'a, S: SeriesSink> {
    cycle: &'a mut Cycle,
    sink: &'a mut S,
    t_ms: TimeMs,
    counts: Counts,
    broken: Option<LimitError>,
    /// The family that is being described.
    family: Option<(String, MetricMetadata)>,
}

impl<S: SeriesSink> Scrape<'_, S> {
    /// Ends a scrape that was read to its end: marks what has ended. An error when a limit was exceeded; the sink's
    /// content must then be thrown away.
    pub fn finish(mut self) -> Result<Counts, LimitError> {
        self.describe();
        if let Some(error) = self.broken {
            // As if it had not been read: what the scrape before had is still what is known.
            self.cycle.forget_scrape();
            return Err(error);
        }
        self.cycle.end_unseen(self.t_ms, self.sink);
        Ok(self.counts)
    }

    /// Ends a scrape that could not be read to its end; the sink's content must be thrown away.
    pub fn abandon(self) {
        self.cycle.forget_scrape();
    }

    fn take(&mut self, labels: &Labels, sample: ScrapedSample<'_>) {
        self.counts.kept += 1;
        let limits = &self.cycle.job.limits;
        if let Some(limit) = limits.samples.filter(|limit| self.counts.kept > *limit) {
            self.broken.get_or_insert(LimitError::Samples { limit });
        }
        if self.broken.is_some() {
            return;
        }
        let own = sample.t_ms.filter(|_| self.cycle.job.honor_timestamps);
        let (t_ms, start_ms) = (own.unwrap_or(self.t_ms), sample.start_ms);
        let sink = &mut *self.sink;
        with_labels(labels, |labels| {
            let key = SeriesKey::Labels { labels, bytes: None };
            match sample.value {
                ScrapedValue::Float(value) => {
                    let float = [FloatSample { t_ms, value, start_ms }];
                    sink.series(key, SeriesView::new(&float, &[], sample.exemplars));
                }
                ScrapedValue::Histogram(histogram) => {
                    let histogram = [HistogramSample { t_ms, histogram, start_ms }];
                    sink.series(key, SeriesView::new(&[], &histogram, sample.exemplars));
                }
            }
        });
    }

    /// Tells the sink about the family that was described, if it is news.
    fn describe(&mut self) {
        let Some((family, about)) = self.family.take() else { return };
        let known = self.cycle.families.get(&family);
        if known == Some(&about) || known.is_none() && self.cycle.families.len() >= FAMILIES_MAX {
            return;
        }
        let MetricMetadata { kind, help, unit } = &about;
        self.sink.metadata(MetadataView { family: &family, kind: *kind, help, unit });
        self.cycle.families.insert(family, about);
    }
}

impl Cycle {
    /// Takes back that the current scrape has seen anything, so that all of the scrape before can be ended.
    fn forget_scrape(&mut self) {
        let scrape = self.scrape;
        for known in self.known.values_mut().filter(|known| known.seen == scrape) {
            known.seen = known.seen_before;
        }
        self.scrape = scrape.saturating_sub(1);
    }
}

impl<S: SeriesSink> ScrapeSink for Scrape<'_, S> {
    type Known = Recognised;

    fn recognise(&mut self, bytes: &[u8]) -> Option<Recognised> {
        let known = self.cycle.known.get_mut(bytes)?;
        if known.seen + 1 < self.cycle.scrape {
            self.counts.added += usize::from(known.labels.is_some());
        }
        if known.seen != self.cycle.scrape {
            known.seen_before = known.seen;
            known.seen = self.cycle.scrape;
        }
        Some(known.labels.clone().map_or(Recognised::Dropped, Recognised::Kept))
    }

    fn sample(&mut self, key: SeriesKey<'_, Recognised>, sample: ScrapedSample<'_>) {
        self.counts.scraped += 1;
        match key {
            SeriesKey::Known(Recognised::Dropped) => {}
            SeriesKey::Known(Recognised::Kept(labels)) => self.take(&labels, sample),
            SeriesKey::Labels { labels, bytes } => {
                let labels = self.cycle.labels_of(labels);
                let checked = labels.as_ref().map_or(Ok(()), |labels| check(labels, &self.cycle.job.limits));
                if let Err(error) = checked {
                    self.broken.get_or_insert(error);
                    return;
                }
                if let Some(bytes) = bytes {
                    let own_times = self.cycle.job.honor_timestamps && sample.t_ms.is_some();
                    let known = Known { labels: labels.clone(), seen: self.cycle.scrape, seen_before: 0, own_times };
                    self.cycle.known.insert(bytes.into(), known);
                }
                if let Some(labels) = labels {
                    self.counts.added += 1;
                    self.take(&labels, sample);
                }
            }
        }
    }

    fn family(&mut self, name: &str, fact: FamilyFact<'_>) {
        if self.family.as_ref().is_none_or(|(family, _)| family != name) {
            self.describe();
        }
        let (_, about) = self.family.get_or_insert_with(|| (name.to_owned(), MetricMetadata::default()));
        match fact {
            FamilyFact::Kind(kind) => about.kind = kind,
            FamilyFact::Help(help) => help.clone_into(&mut about.help),
            FamilyFact::Unit(unit) => unit.clone_into(&mut about.unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::{labels::METRIC_NAME, sample::is_stale};
    use homeostat_relabel::{Action, Rule, RuleSpec};
    use homeostat_wire::{
        intake::Collected,
        scrape::{Format, ScrapeOptions, parse},
    };

    use super::*;

    fn cycle(job: Job) -> Cycle {
        Cycle::new(Arc::new(job), Labels::new([("job", "j"), ("instance", "i")]))
    }

    /// Lets the cycle read a body.
    fn feed(cycle: &mut Cycle, t_ms: TimeMs, body: &str) -> (Result<Counts, LimitError>, String) {
        let mut collected = Collected::default();
        let mut scrape = cycle.scrape(t_ms, &mut collected);
        parse(Format::Text, body.as_bytes(), &ScrapeOptions::default(), &mut scrape).unwrap();
        let result = scrape.finish();
        (result, show(&collected))
    }

    fn show(collected: &Collected) -> String {
        let series = collected.series.iter().flat_map(|series| {
            series.samples.iter().map(|sample| {
                let value = if is_stale(sample.value) { "stale".to_owned() } else { sample.value.to_string() };
                format!("{} {value} @{}", series.labels, sample.t_ms)
            })
        });
        let mut lines: Vec<_> = series.collect();
        lines.sort();
        lines.join("\n")
    }

    #[test]
    fn a_series_that_is_gone_is_marked_once() {
        let mut cycle = cycle(Job::named("j"));
        let (counts, _) = feed(&mut cycle, 1, "a 1.0\nb 2.0\n");
        assert_eq!(counts, Ok(Counts { scraped: 2, kept: 2, added: 2 }));
        let (counts, shown) = feed(&mut cycle, 2, "a 3.0\n");
        assert_eq!(counts, Ok(Counts { scraped: 1, kept: 1, added: 0 }));
        assert_eq!(shown, "a{instance=\"i\", job=\"j\"} 3 @2\nb{instance=\"i\", job=\"j\"} stale @2");
        let (_, shown) = feed(&mut cycle, 3, "a 3.0\n");
        assert_eq!(shown, "a{instance=\"i\", job=\"j\"} 3 @3");
        let (counts, _) = feed(&mut cycle, 4, "a 3.0\nb 1.0\n");
        assert_eq!(counts, Ok(Counts { scraped: 2, kept: 2, added: 1 }), "it has come back");
    }

    #[test]
    fn all_series_end_when_a_scrape_fails_and_only_once() {
        let mut cycle = cycle(Job::named("j"));
        let _ = feed(&mut cycle, 1, "a 1.0\n");
        let mut collected = Collected::default();
        cycle.end_all(2, &mut collected);
        assert_eq!(show(&collected), "a{instance=\"i\", job=\"j\"} stale @2");
        let mut again = Collected::default();
        cycle.end_all(3, &mut again);
        assert_eq!(show(&again), "");
    }

    #[test]
    fn an_exceeded_limit_gives_the_scrape_up_and_ends_what_was_known() {
        let mut job = Job::named("j");
        job.limits.samples = Some(1);
        let mut cycle = cycle(job);
        let _ = feed(&mut cycle, 1, "a 1.0\n");
        let (counts, _) = feed(&mut cycle, 2, "a 1.0\nb 1.0\n");
        assert_eq!(counts, Err(LimitError::Samples { limit: 1 }));
        let mut collected = Collected::default();
        cycle.end_all(2, &mut collected);
        assert!(show(&collected).starts_with("a{instance=\"i\", job=\"j\"} stale @2"), "{}", show(&collected));
    }

    #[test]
    fn labels_of_the_target_win_unless_it_is_honoured() {
        let (_, shown) = feed(&mut cycle(Job::named("j")), 1, "a{job=\"own\",exported_job=\"x\"} 1.0\n");
        assert_eq!(shown, "a{exported_exported_job=\"own\", exported_job=\"x\", instance=\"i\", job=\"j\"} 1 @1");
        let honouring = Job { honor_labels: true, ..Job::named("j") };
        let (_, shown) = feed(&mut cycle(honouring), 1, "a{job=\"own\"} 1.0\n");
        assert_eq!(shown, "a{instance=\"i\", job=\"own\"} 1 @1");
    }

    #[test]
    fn series_are_dropped_by_relabelling_and_counted_before() {
        let drop = RuleSpec {
            action: Action::Drop,
            source_labels: vec![METRIC_NAME.into()],
            regex: "go_.*".into(),
            ..RuleSpec::default()
        };
        let job = Job { metric_relabel: Arc::from([Rule::new(drop).unwrap()]), ..Job::named("j") };
        let mut cycle = cycle(job);
        for t_ms in 1..3 {
            let (counts, shown) = feed(&mut cycle, t_ms, "go_x 1.0\nb 2.0\n");
            let counts = counts.unwrap();
            assert_eq!((counts.scraped, counts.kept), (2, 1));
            assert!(!shown.contains("go_x"));
        }
    }

    #[test]
    fn own_times_are_replaced_unless_they_are_honoured() {
        let job = Job { honor_timestamps: false, ..Job::named("j") };
        assert!(feed(&mut cycle(job), 50, "a 1 7\n").1.ends_with("@50"));
        let mut honouring = cycle(Job::named("j"));
        assert!(feed(&mut honouring, 50, "a 1 7\n").1.ends_with("@7"));
        let (_, shown) = feed(&mut honouring, 60, "");
        assert_eq!(shown, "", "the end of a series with times of its own is not ours to say");
    }

    #[test]
    fn families_are_described_once_and_again_when_that_changes() {
        let mut cycle = cycle(Job::named("j"));
        let described = |cycle: &mut Cycle, help: &str| {
            let mut collected = Collected::default();
            let mut scrape = cycle.scrape(1, &mut collected);
            let body = format!("# HELP a {help}\n# TYPE a gauge\na 1\n# TYPE b counter\nb 1\n");
            parse(Format::Text, body.as_bytes(), &ScrapeOptions::default(), &mut scrape).unwrap();
            scrape.finish().unwrap();
            collected.metadata
        };
        let first = described(&mut cycle, "one");
        assert_eq!(first.len(), 2);
        assert_eq!(first.first().map(|(name, about)| (name.as_str(), about.help.as_str())), Some(("a", "one")));
        assert!(described(&mut cycle, "one").is_empty());
        assert_eq!(described(&mut cycle, "two").len(), 1);
    }

    #[test]
    fn label_limits_name_the_key_to_raise() {
        let mut job = Job::named("j");
        job.limits.label_value_bytes = Some(3);
        let (result, _) = feed(&mut cycle(job), 1, "a{x=\"toolong\"} 1.0\n");
        assert!(result.unwrap_err().to_string().contains("label_value_length_limit"));
        let mut job = Job::named("j");
        job.limits.labels = Some(3);
        let (result, _) = feed(&mut cycle(job), 1, "a{x=\"1\"} 1.0\n");
        assert_eq!(result, Err(LimitError::Labels { metric: "a".into(), labels: 4, limit: 3 }));
    }
}

//! Exemplars: single observations with a trace beside them, the newest ones of all series in a ring of fixed size.
//!
//! Invariants: per series in order of time; the same exemplar again is no error and kept once, because a scrape shows
//! the same one until there is a newer one.
//! Source: OpenMetrics 1.0 (exemplars), `tsdb/exemplar.go` of Prometheus.

use std::collections::{BTreeMap, HashMap, VecDeque};

use homeostat_model::{Labels, TimeMs, labels::LabelsIter};
use homeostat_promql::Matcher;

/// Characters of all names and values of an exemplar at most: the limit of OpenMetrics 1.0.
pub(crate) const EXEMPLAR_CHARS_MAX: usize = 128;

/// The exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// The series.
    pub labels: Labels,
    /// Its exemplars in order of time: labels, time, value.
    pub exemplars: Vec<(Labels, TimeMs, f64)>,
}

#[derive(Clone, Debug)]
struct Exemplar {
    series: Labels,
    labels: Labels,
    t_ms: TimeMs,
    value: f64,
}

/// The newest exemplars.
#[derive(Debug)]
pub(crate) struct Ring {
    max: usize,
    exemplars: VecDeque<Exemplar>,
    /// How many have left the ring; the number of the first one in it.
    gone: u64,
    /// Number of the newest one of each series.
    newest: HashMap<Labels, u64>,
}

/// What became of an exemplar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Kept,
    Repeated,
    Refused,
}

impl Ring {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, exemplars: VecDeque::new(), gone: 0, newest: HashMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.exemplars.len()
    }

    /// Adds one, the oldest one makes room.
    pub(crate) fn offer(&mut self, series: &Labels, packed: &str, t_ms: TimeMs, value: f64) -> Offered {
        let chars: usize = LabelsIter::over(packed).map(|(n, v)| n.chars().count() + v.chars().count()).sum();
        let labels = Labels::from_packed(packed).filter(|_| chars <= EXEMPLAR_CHARS_MAX);
        let (Some(labels), true) = (labels, self.max > 0) else { return Offered::Refused };
        let newest = self.newest.get(series).and_then(|number| self.exemplars.get((number - self.gone) as usize));
        if let Some(newest) = newest {
            if newest.t_ms == t_ms && newest.value.to_bits() == value.to_bits() && newest.labels == labels {
                return Offered::Repeated;
            }
            if t_ms < newest.t_ms {
                return Offered::Refused;
            }
        }
        self.newest.insert(series.clone(), self.gone + self.exemplars.len() as u64);
        self.exemplars.push_back(Exemplar { series: series.clone(), labels, t_ms, value });
        if self.max < self.exemplars.len()
            && let Some(oldest) = self.exemplars.pop_front()
        {
            if self.newest.get(&oldest.series) == Some(&self.gone) {
                self.newest.remove(&oldest.series);
            }
            self.gone += 1;
        }
        Offered::Kept
    }

    /// All of them, the oldest first: series, labels, time, value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Labels, &Labels, TimeMs, f64)> {
        self.exemplars.iter().map(|exemplar| (&exemplar.series, &exemplar.labels, exemplar.t_ms, exemplar.value))
    }

    /// Exemplars between two instants of series that meet all matchers of one of the sets, sorted by labels.
    pub(crate) fn select(&self, sets: &[&[Matcher]], start_ms: TimeMs, end_ms: TimeMs) -> Vec<SeriesExemplars> {
        let mut found: BTreeMap<&Labels, Vec<(Labels, TimeMs, f64)>> = BTreeMap::new();
        for exemplar in self.exemplars.iter().filter(|e| (start_ms..=end_ms).contains(&e.t_ms)) {
            let meets = |set: &&[Matcher]| set.iter().all(|m| m.matches(exemplar.series.value(&m.name)));
            if found.contains_key(&exemplar.series) || sets.iter().any(meets) {
                let entry = (exemplar.labels.clone(), exemplar.t_ms, exemplar.value);
                found.entry(&exemplar.series).or_default().push(entry);
            }
        }
        let series = found.into_iter();
        series.map(|(labels, exemplars)| SeriesExemplars { labels: labels.clone(), exemplars }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_ones_each_once() {
        let mut ring = Ring::new(2);
        let series = [Labels::new([("__name__", "a")]), Labels::new([("__name__", "b")])];
        let trace = Labels::new([("trace_id", "1")]);
        let mut offer = |at: usize, t| ring.offer(&series[at], trace.as_packed(), t, 1.0);
        assert_eq!(offer(0, 10), Offered::Kept);
        assert_eq!(offer(0, 10), Offered::Repeated);
        assert_eq!(offer(0, 9), Offered::Refused);
        assert_eq!(offer(1, 5), Offered::Kept);
        assert_eq!(offer(1, 6), Offered::Kept);
        assert_eq!(offer(0, 9), Offered::Kept, "the newest one of a has left the ring");
        let matchers = [Matcher::equal("__name__", "b")];
        let found = ring.select(&[&matchers], 0, 100);
        assert_eq!(found, [SeriesExemplars { labels: series[1].clone(), exemplars: vec![(trace, 6, 1.0)] }]);
        assert_eq!(ring.offer(&series[0], &"x".repeat(200), 50, 1.0), Offered::Refused);
    }
}

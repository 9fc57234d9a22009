//! Series that became one, added up at each time.

use std::collections::BTreeMap;

use homeostat_model::{
    TimeMs,
    sample::{is_stale, stale_marker},
};
use homeostat_wire::intake::FloatSample;

/// Labels, sorted by name.
type OwnLabels = Vec<(String, String)>;

/// Sums of a request.
#[derive(Debug, Default)]
pub struct Folded(BTreeMap<OwnLabels, Sums>);

#[derive(Debug, Default)]
struct Sums {
    samples: usize,
    by_time: BTreeMap<TimeMs, f64>,
}

/// A series that others were added up to.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedSeries {
    /// Sorted by name.
    pub labels: Vec<(String, String)>,
    /// How many samples are in the sums.
    pub samples: usize,
    /// One sum a time, ascending.
    pub sums: Vec<(TimeMs, f64)>,
}

impl Folded {
    /// Adds samples. Stale markers count only where nothing else is: a member that ended is just not in the sum.
    pub fn add<'a>(&mut self, labels: OwnLabels, samples: impl IntoIterator<Item = &'a FloatSample>) {
        let entry = self.0.entry(labels).or_default();
        for sample in samples {
            entry.samples += 1;
            entry
                .by_time
                .entry(sample.t_ms)
                .and_modify(|sum| match (is_stale(*sum), is_stale(sample.value)) {
                    (true, _) => *sum = sample.value,
                    (false, true) => {}
                    (false, false) => *sum += sample.value,
                })
                .or_insert(sample.value);
        }
    }

    /// Returns true when nothing was folded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sums, in order of labels and time.
    pub fn into_series(self) -> impl Iterator<Item = FoldedSeries> {
        let canonical = |value: f64| if is_stale(value) { stale_marker() } else { value };
        self.0.into_iter().map(move |(labels, Sums { samples, by_time })| {
            let sums = by_time.into_iter().map(|(t_ms, sum)| (t_ms, canonical(sum))).collect();
            FoldedSeries { labels, samples, sums }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_added_up_and_those_that_ended_are_left_out() {
        let mut folded = Folded::default();
        let labels = || vec![("user".to_owned(), "__other__".to_owned())];
        let sample = |t_ms, value| FloatSample { t_ms, value, start_ms: None };
        folded.add(labels(), &[sample(1, 2.0), sample(2, stale_marker())]);
        folded.add(labels(), &[sample(1, 3.0), sample(2, 4.0)]);
        folded.add(labels(), &[sample(1, stale_marker()), sample(3, stale_marker())]);
        let all: Vec<_> = folded.into_series().collect();
        let [FoldedSeries { samples: 6, sums, .. }] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(sums[..2], [(1, 5.0), (2, 4.0)]);
        assert!(sums[2].0 == 3 && is_stale(sums[2].1));
    }
}

//! Tests of the store as its callers see it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on says where")]

mod append;
mod blocks;
mod concurrent;
mod crash;
mod damage;
mod files;
mod fixtures;
mod full;
mod model;
mod select;
mod starts;

use std::{path::Path, sync::Arc, time::Duration};

use homeostat_model::{Labels, SampleRun, TimeMs, sample::START_UNKNOWN};
use homeostat_promql::{Matcher, MatcherOp, Select, SelectedSeries, SeriesSource, SourceError};
use homeostat_store_series::{Batch, Recovery, SeriesStore, StoreOptions};
use homeostat_store_wal::SimDisk;

/// Long enough for any machine; only a broken store ever waits this long.
const PATIENCE: Duration = Duration::from_mins(1);

fn open(disk: &SimDisk, options: StoreOptions) -> (SeriesStore, Recovery) {
    SeriesStore::open_on(Arc::new(disk.mounted()), Path::new("/data"), options).unwrap()
}

/// A store on a disk of its own.
fn fresh() -> SeriesStore {
    open(&SimDisk::default(), StoreOptions::default()).0
}

fn matcher(text: &str) -> Matcher {
    let at = text.find(['=', '!']).unwrap();
    let ops =
        [("=~", MatcherOp::Regex), ("!~", MatcherOp::NotRegex), ("!=", MatcherOp::NotEqual), ("=", MatcherOp::Equal)];
    let (sign, op) = ops.into_iter().find(|(sign, _)| text[at..].starts_with(sign)).unwrap();
    Matcher::new(&text[..at], op, &text[at + sign.len()..]).unwrap()
}

fn matchers(text: &str) -> Vec<Matcher> {
    text.split(", ").filter(|part| !part.is_empty()).map(matcher).collect()
}

/// A sample as tests compare it: bits of a float, or the count of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Float(u64),
    Histogram(u64),
}

/// Series with their samples.
type Found = Vec<(Labels, Vec<(TimeMs, Seen)>)>;

/// What a selector gives.
fn read(source: &impl SeriesSource, selector: &str, start_ms: TimeMs, end_ms: TimeMs) -> Found {
    try_read(source, selector, start_ms, end_ms).unwrap()
}

fn try_read(
    source: &impl SeriesSource,
    selector: &str,
    start_ms: TimeMs,
    end_ms: TimeMs,
) -> Result<Found, SourceError> {
    let matchers = matchers(selector);
    try_collect(source.select(&Select { matchers: &matchers, start_ms, end_ms })?)
}

/// What was selected, unpacked.
fn collected(selected: Vec<SelectedSeries<'_>>) -> Found {
    try_collect(selected).unwrap()
}

/// Since when samples count, of those that say so.
fn starts(source: &impl SeriesSource, selector: &str, start_ms: TimeMs, end_ms: TimeMs) -> Vec<(TimeMs, TimeMs)> {
    let matchers = matchers(selector);
    let mut all = Vec::new();
    for series in source.select(&Select { matchers: &matchers, start_ms, end_ms }).unwrap() {
        for run in series.runs {
            let run = run.unwrap();
            assert!(run.starts().is_empty() || run.starts().len() == run.len());
            let known = run.times().iter().zip(run.starts()).filter(|(_, start_ms)| **start_ms != START_UNKNOWN);
            all.extend(known.map(|(t_ms, start_ms)| (*t_ms, *start_ms)));
        }
    }
    all
}

fn try_collect(selected: Vec<SelectedSeries<'_>>) -> Result<Found, SourceError> {
    let mut all = Vec::new();
    for series in selected {
        let mut samples = Vec::new();
        for run in series.runs {
            let run = run?;
            assert!(!run.is_empty(), "an empty run");
            match run {
                SampleRun::Floats { t_ms, values, .. } => {
                    samples.extend(t_ms.into_iter().zip(values.iter().map(|value| Seen::Float(value.to_bits()))));
                }
                SampleRun::Histograms { t_ms, values, .. } => {
                    samples.extend(t_ms.into_iter().zip(values.iter().map(|h| Seen::Histogram(h.count.to_bits()))));
                }
            }
        }
        assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "times ascend");
        if !samples.is_empty() {
            all.push((series.labels, samples));
        }
    }
    assert!(all.is_sorted_by(|a, b| a.0 < b.0), "sorted by labels");
    Ok(all)
}

/// Appends samples `labels -> (time, value)` as one batch and waits until they are durable; gives the report.
fn put(store: &SeriesStore, samples: &[(&str, TimeMs, f64)]) -> homeostat_store_series::AppendReport {
    let mut batch = Batch::default();
    for (labels, t_ms, value) in samples {
        batch.series(pairs(labels)).unwrap().float(*t_ms, *value);
    }
    let report = store.append(&mut batch).unwrap();
    report.ticket.wait(PATIENCE).unwrap();
    report
}

/// `a=1 b=2` as pairs.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(' ').map(|pair| pair.split_once('=').unwrap())
}

fn labels(text: &str) -> Labels {
    Labels::new(pairs(text))
}

fn floats(samples: &[(TimeMs, f64)]) -> Vec<(TimeMs, Seen)> {
    samples.iter().map(|(t, value)| (*t, Seen::Float(value.to_bits()))).collect()
}

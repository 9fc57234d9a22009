//! Scraped bodies of all formats on arbitrary bytes: nothing panics, labels are fit for a store, no value is the stale
//! marker, errors stand within the body, and a second reading, which recognises series by their bytes, sees the same.
#![no_main]

use std::collections::BTreeMap;

use homeostat_wire::scrape::{
    ClassicBuckets, Format, ScrapeError, ScrapeOptions, ScrapeSink, ScrapedSample, ScrapedValue, SeriesKey, parse,
};
use libfuzzer_sys::fuzz_target;

/// Remembers series by their bytes.
#[derive(Default)]
struct Sink {
    known: BTreeMap<Vec<u8>, Vec<(String, String)>>,
    samples: Vec<(Vec<(String, String)>, u64)>,
    recognised: usize,
}

impl ScrapeSink for Sink {
    type Known = Vec<(String, String)>;

    fn recognise(&mut self, bytes: &[u8]) -> Option<Self::Known> {
        self.known.get(bytes).cloned()
    }

    fn sample(&mut self, key: SeriesKey<'_, Self::Known>, sample: ScrapedSample<'_>) {
        let bits = match &sample.value {
            ScrapedValue::Float(value) => value.to_bits(),
            ScrapedValue::Histogram(histogram) => histogram.sum.to_bits(),
        };
        if let ScrapedValue::Float(value) = sample.value {
            assert!(!homeostat_model::sample::is_stale(value));
        }
        let labels = match key {
            SeriesKey::Known(labels) => {
                self.recognised += 1;
                labels
            }
            SeriesKey::Labels { labels, bytes } => {
                assert!(labels.is_sorted_by(|(a, _), (b, _)| a < b));
                assert!(labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
                assert!(labels.iter().any(|(name, _)| *name == "__name__"));
                let owned: Vec<_> = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
                if let Some(bytes) = bytes {
                    self.known.insert(bytes.to_vec(), owned.clone());
                }
                owned
            }
        };
        self.samples.push((labels, bits));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let options = ScrapeOptions { classic: ClassicBuckets::Always, ..ScrapeOptions::default() };
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let mut sink = Sink::default();
        let first = parse(format, bytes, &options, &mut sink);
        if let Err(ScrapeError::Text { line, column, .. }) = first {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(&line) && (1..=bytes.len() + 1).contains(&column));
        }
        if first.is_err() {
            continue;
        }
        let before = std::mem::take(&mut sink.samples);
        sink.recognised = 0;
        parse(format, bytes, &options, &mut sink).expect("what was readable stays so");
        assert_eq!(before, sink.samples);
        if format == Format::Protobuf {
            assert_eq!(sink.recognised, before.len());
        }
    }
});

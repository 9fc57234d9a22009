//! How fast metrics are read: MB and samples of each format per second on the processor, with labels read and with
//! series recognised.
//!
//! `cargo bench -p homeostat-wire --bench metrics`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark that cannot run stops")]

use std::{collections::HashMap, fmt::Write as _, hint::black_box};

use foldhash::fast::FixedState;
use homeostat_wire::{
    intake::{FloatSample, IntakeLimits, Refusal, SeriesKey, SeriesSink, SeriesView},
    remote_write::{EncoderV1, EncoderV2, decode_v1, decode_v2},
    scrape::{Format, ScrapeOptions, ScrapeSink, ScrapedSample, parse},
};

const ROUNDS: usize = 7;
const SERIES: usize = 20_000;

/// Counts, and remembers series if it is to.
#[derive(Default)]
struct Sink {
    known: Option<HashMap<Box<[u8]>, usize, FixedState>>,
    samples: usize,
    label_bytes: usize,
}

impl Sink {
    fn key<K>(&mut self, key: &SeriesKey<'_, K>) {
        let SeriesKey::Labels { labels, bytes } = key else { return };
        self.label_bytes += labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if let (Some(known), Some(bytes)) = (&mut self.known, bytes) {
            let number = known.len();
            known.insert((*bytes).into(), number);
        }
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.known.as_ref()?.get(bytes).copied()
    }
}

impl SeriesSink for Sink {
    type Known = usize;
    fn recognise(&mut self, bytes: &[u8]) -> Option<usize> {
        self.find(bytes)
    }
    fn series(&mut self, key: SeriesKey<'_, usize>, series: SeriesView<'_>) {
        self.samples += black_box(series.samples).len();
        self.key(&key);
    }
    fn refused(&mut self, refusal: Refusal<'_>) {
        panic!("{refusal}");
    }
}

impl ScrapeSink for Sink {
    type Known = usize;
    fn recognise(&mut self, bytes: &[u8]) -> Option<usize> {
        self.find(bytes)
    }
    fn sample(&mut self, key: SeriesKey<'_, usize>, sample: ScrapedSample<'_>) {
        self.samples += 1;
        black_box(sample);
        self.key(&key);
    }
}

fn labels(series: usize) -> [(String, String); 7] {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    [
        pair("__name__", format!("http_server_requests_{}_total", series % 20)),
        pair("code", ["200", "404", "500"][series % 3].to_owned()),
        pair("handler", format!("/api/v1/orders/{}", series % 70)),
        pair("instance", format!("10.24.{}.{}:9100", series / 250 % 250, series % 250)),
        pair("job", "checkout-service".to_owned()),
        pair("method", ["GET", "POST"][series % 2].to_owned()),
        pair("pod", format!("checkout-7d9f8b6c5d-{series:05}")),
    ]
}

fn text(end: &str) -> String {
    let mut out = String::new();
    for series in 0..SERIES {
        if series % 1000 == 0 {
            let _ = writeln!(out, "# HELP http_{series} Requests by everything.\n# TYPE http_{series} counter");
        }
        let labels = labels(series);
        let _ = write!(out, "{}{{", labels[0].1);
        for (name, value) in &labels[1..] {
            let _ = write!(out, "{name}=\"{value}\",");
        }
        out.pop();
        let _ = match series % 3 {
            0 => writeln!(out, "}} {}", series * 7919),
            1 => writeln!(out, "}} {}", series as f64 / 7919.0),
            _ => writeln!(out, "}} 0"),
        };
    }
    out + end
}

/// Seconds that this thread has run: on a shared machine the clock on the wall says little.
fn on_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let ns: f64 = stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds first");
    ns / 1e9
}

fn report(name: &str, bytes: usize, mut run: impl FnMut() -> usize) {
    let mut seconds = Vec::new();
    let mut samples = 0;
    for _ in 0..ROUNDS {
        let before = on_cpu();
        samples = run();
        seconds.push(on_cpu() - before);
    }
    seconds.sort_by(f64::total_cmp);
    let [best, median, worst] =
        [0, ROUNDS / 2, ROUNDS - 1].map(|at| seconds.get(at).copied().expect("as many rounds as that"));
    println!(
        "{name:<34} {:>6.0} MB/s ({:.0} to {:.0})  {:>6.1} ns a sample",
        bytes as f64 / median / 1e6,
        bytes as f64 / worst / 1e6,
        bytes as f64 / best / 1e6,
        median / samples as f64 * 1e9,
    );
}

fn main() {
    let options = ScrapeOptions::default();
    for (name, format, body) in
        [("text", Format::Text, text("")), ("OpenMetrics", Format::OpenMetrics, text("# EOF\n"))]
    {
        report(&format!("{name}, labels read"), body.len(), || {
            let mut sink = Sink::default();
            parse(format, body.as_bytes(), &options, &mut sink).expect("good");
            sink.samples
        });
        let mut sink = Sink { known: Some(HashMap::default()), ..Sink::default() };
        parse(format, body.as_bytes(), &options, &mut sink).expect("good");
        report(&format!("{name}, series recognised"), body.len(), || {
            sink.samples = 0;
            parse(format, body.as_bytes(), &options, &mut sink).expect("good");
            sink.samples
        });
    }
    for per_series in [1, 10] {
        remote_write(per_series);
    }
}

fn remote_write(per_series: usize) {
    let limits = IntakeLimits::default();
    let (mut v1, mut v2) = (EncoderV1::default(), EncoderV2::default());
    let samples: Vec<_> = (0..per_series)
        .map(|n| FloatSample { t_ms: 1_700_000_000_000 + n as i64 * 15_000, value: n as f64 * 1.25, start_ms: None })
        .collect();
    for series in 0..SERIES {
        let labels = labels(series);
        let labels = || labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        v1.series(labels(), &samples, &[], &[]);
        v2.series(labels(), &samples, &[], &[], None);
    }
    let (v1, v2) = (v1.as_bytes(), v2.finish());
    let plain = |decode: &dyn Fn(&mut Sink)| {
        let mut sink = Sink::default();
        decode(&mut sink);
        sink.samples
    };
    report(&format!("remote write 1.0, {per_series} a series"), v1.len(), || {
        plain(&|sink| decode_v1(v1, &limits, sink).expect("good"))
    });
    let mut sink = Sink { known: Some(HashMap::default()), ..Sink::default() };
    decode_v1(v1, &limits, &mut sink).expect("good");
    report(&format!("remote write 1.0, {per_series}, recognised"), v1.len(), || {
        sink.samples = 0;
        decode_v1(v1, &limits, &mut sink).expect("good");
        sink.samples
    });
    report(&format!("remote write 2.0, {per_series} a series"), v2.len(), || {
        plain(&|sink| decode_v2(&v2, &limits, sink).expect("good"))
    });
}

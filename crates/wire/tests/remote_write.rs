//! Remote write: what is written comes back, bad parts are refused one by one, and bytes of a client that is not ours
//! are read as it meant them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on stops")]

use std::{fmt::Write as _, sync::Arc};

use expect_test::expect;
use homeostat_model::{
    Histogram, Labels, MetricKind,
    histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA, ResetHint},
    sample::{is_stale, stale_marker},
};
use homeostat_wire::{
    intake::{
        Collected, CollectedSeries, Exemplar, ExemplarView, FloatSample, HistogramSample, IntakeLimits, MetadataView,
        Refusal, SeriesKey, SeriesSink, SeriesView,
    },
    protobuf::{put_bytes, put_double, put_int, put_message, put_packed_uints, put_text, put_uint},
    remote_write::{EncoderV1, EncoderV2, WriteError, decode_v1, decode_v2, unpack},
    snappy,
};
use proptest::{collection::vec, prelude::*};

fn read_v1(body: &[u8]) -> Collected {
    let mut collected = Collected::default();
    decode_v1(body, &IntakeLimits::default(), &mut collected).unwrap();
    collected
}

fn read_v2(body: &[u8]) -> Collected {
    let mut collected = Collected::default();
    decode_v2(body, &IntakeLimits::default(), &mut collected).unwrap();
    collected
}

fn with_views<T>(series: &CollectedSeries, then: impl FnOnce(&[ExemplarView<'_>]) -> T) -> T {
    let labels: Vec<Vec<_>> = series.exemplars.iter().map(|exemplar| exemplar.labels.iter().collect()).collect();
    let views: Vec<_> = series
        .exemplars
        .iter()
        .zip(&labels)
        .map(|(exemplar, labels)| ExemplarView { labels, value: exemplar.value, t_ms: exemplar.t_ms })
        .collect();
    then(&views)
}

fn write_v1(all: &[CollectedSeries]) -> EncoderV1 {
    let mut encoder = EncoderV1::default();
    for series in all {
        with_views(series, |exemplars| {
            encoder.series(&series.labels, &series.samples, &series.histograms, exemplars);
        });
    }
    encoder
}

fn write_v2(all: &[CollectedSeries]) -> Vec<u8> {
    let mut encoder = EncoderV2::default();
    for series in all {
        with_views(series, |exemplars| {
            encoder.series(&series.labels, &series.samples, &series.histograms, exemplars, None);
        });
    }
    let len = encoder.len();
    let bytes = encoder.finish();
    assert_eq!(bytes.len(), len);
    bytes
}

fn labels() -> impl Strategy<Value = Labels> {
    vec(("[a-z_.é]{1,5}", "[a-zA-Z0-9/ é]{1,140}"), 1..6).prop_map(Labels::new)
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MIN), Just(i64::MAX), -10_i64..10, 1_700_000_000_000_i64..1_800_000_000_000]
}

/// Zero means "not set" on the wire.
fn set_time() -> impl Strategy<Value = Option<i64>> {
    proptest::option::of(time().prop_filter("set", |t| *t != 0))
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>().prop_filter("comparable", |v| !v.is_nan()), Just(f64::INFINITY), Just(-0.0)]
}

fn buckets(count: impl Strategy<Value = f64>, first: i32) -> impl Strategy<Value = Buckets> {
    vec((0_i32..5, count), 0..8).prop_map(move |steps| {
        let mut at = first;
        Buckets::from_sorted(steps.into_iter().map(move |(gap, count)| {
            let index = at + gap;
            at = index + 1;
            (index, count)
        }))
    })
}

fn histogram(count: impl Strategy<Value = f64> + Clone) -> impl Strategy<Value = Histogram> {
    let hints = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];
    let parts = (buckets(count.clone(), -20), buckets(count.clone(), 0), count, value(), -4_i8..=8, 0_usize..4);
    (parts, any::<bool>()).prop_map(move |((negative, positive, zero_count, sum, schema, hint), custom)| {
        let mut histogram = Histogram { sum, reset_hint: hints[hint], positive, ..Histogram::default() };
        if custom {
            let bounds = histogram.positive.iter().last().map_or(1, |(index, _)| index + 1);
            histogram.schema = CUSTOM_BOUNDS_SCHEMA;
            histogram.custom_bounds = (0..bounds).map(f64::from).collect();
        } else {
            histogram.schema = schema;
            histogram.zero_threshold = 0.25;
            histogram.zero_count = zero_count;
            histogram.negative = negative;
        }
        let sides = histogram.positive.counts.iter().chain(&histogram.negative.counts);
        histogram.count = sides.sum::<f64>() + histogram.zero_count;
        histogram
    })
}

fn histogram_sample() -> impl Strategy<Value = HistogramSample> {
    let whole = (0_u32..100_000).prop_map(f64::from);
    let fractions = (0_u32..1000).prop_map(|n| f64::from(n) / 3.0);
    (prop_oneof![histogram(whole), histogram(fractions)], time(), set_time())
        .prop_map(|(histogram, t_ms, start_ms)| HistogramSample { t_ms, histogram: Arc::new(histogram), start_ms })
}

fn series() -> impl Strategy<Value = CollectedSeries> {
    let samples = vec(
        (time(), value(), set_time()).prop_map(|(t_ms, value, start_ms)| FloatSample { t_ms, value, start_ms }),
        0..5,
    );
    let exemplars =
        vec((labels(), value(), set_time()).prop_map(|(labels, value, t_ms)| Exemplar { labels, value, t_ms }), 0..3);
    (labels(), samples, vec(histogram_sample(), 0..3), exemplars)
        .prop_map(|(labels, samples, histograms, exemplars)| CollectedSeries { labels, samples, histograms, exemplars })
}

proptest! {
    #[test]
    fn version_2_comes_back(all in vec(series(), 0..5)) {
        let read = read_v2(&write_v2(&all));
        prop_assert_eq!(read.refused, Vec::<String>::new());
        prop_assert_eq!(read.series, all);
    }

    #[test]
    fn version_1_comes_back_with_starts_that_only_we_read(all in vec(series(), 0..5)) {
        let read = read_v1(write_v1(&all).as_bytes());
        prop_assert_eq!(read.refused, Vec::<String>::new());
        prop_assert_eq!(read.series, all);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let limits = IntakeLimits::default();
        let _ = decode_v1(&bytes, &limits, &mut Collected::default());
        let _ = decode_v2(&bytes, &limits, &mut Collected::default());
    }
}

fn put_label(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    put_message(1, out, |out| {
        put_bytes(1, name, out);
        put_bytes(2, value, out);
    });
}

fn put_sample(t_ms: i64, out: &mut Vec<u8>) {
    put_message(2, out, |out| {
        put_double(1, 1.0, out);
        put_int(2, t_ms, out);
    });
}

/// A label as bytes.
type Pair<'a> = (&'a [u8], &'a [u8]);

#[test]
fn bad_series_are_refused_one_by_one() {
    let many: Vec<(String, &str)> = (0..300).map(|n| (format!("l{n:03}"), "x")).collect();
    let many: Vec<Pair<'_>> = many.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let long = vec![b'x'; 20_000];
    let wide = vec![b'x'; 16_000];
    let cases: [(&[Pair<'_>], &str); 9] = [
        (&[], "series 0: it has no labels; give it at least `__name__`"),
        (&[(b"__name__", b"")], "series 0: it has no labels; give it at least `__name__`"),
        (
            &[(b"", b"x"), (b"__name__", b"m")],
            "series 0 (m): a label has an empty name; give it a name or leave it out",
        ),
        (
            &[(b"job", b"x"), (b"__name__", b"m"), (b"job", b"")],
            "series 0 (m): label \"job\" is given twice; give it once",
        ),
        (&[(b"__name__", b"m"), (b"a", b"\xff")], "series 0 (m): label 1 is not UTF-8; convert it or leave it out"),
        (&many, "series 0: it has more than 256 labels; drop some"),
        (&[(b"__name__", b"m"), (&long, b"x")], "series 0 (m): the name of label 1 has 20000 bytes; the limit is 1024"),
        (
            &[(b"__name__", b"m"), (b"a", &long)],
            "series 0 (m): the value of label \"a\" has 20000 bytes, more than the 16384 that are taken; shorten it",
        ),
        (
            &[(b"a", &wide), (b"b", &wide), (b"c", &wide), (b"d", &wide), (b"e", &wide)],
            "series 0: its labels have 80005 bytes, more than the 65536 that are taken; shorten or drop some",
        ),
    ];
    for (labels, expected) in cases {
        let mut body = Vec::new();
        put_message(1, &mut body, |out| {
            for (name, value) in labels {
                put_label(name, value, out);
            }
            put_sample(1, out);
        });
        put_message(1, &mut body, |out| {
            put_label(b"__name__", b"good", out);
            put_sample(2, out);
        });
        let read = read_v1(&body);
        assert_eq!(read.refused, [expected]);
        assert_eq!(read.series.iter().map(|s| s.labels.to_string()).collect::<Vec<_>>(), ["good"]);
    }
}

#[test]
fn labels_in_any_order_and_place_make_the_same_series() {
    let mut body = Vec::new();
    put_message(1, &mut body, |out| {
        put_label(b"job", b"x", out);
        put_sample(5, out);
        put_label(b"empty", b"", out);
        put_label(b"__name__", b"m", out);
    });
    let read = read_v1(&body);
    assert_eq!(read.series[0].labels, Labels::new([("__name__", "m"), ("job", "x")]));
    assert_eq!(read.series[0].samples.len(), 1);
}

#[test]
fn bad_histograms_and_exemplars_leave_the_rest_of_their_series() {
    let mut body = Vec::new();
    put_message(1, &mut body, |out| {
        put_label(b"__name__", b"m", out);
        put_sample(5, out);
        put_message(3, out, |out| {
            put_label(b"trace_id", b"\xff", out);
            put_double(2, 1.0, out);
        });
        put_message(4, out, |out| {
            put_uint(4, 200, out);
            put_int(15, 7, out);
        });
        put_message(4, out, |out| {
            put_packed_uints(12, [1, 2], out);
            put_int(15, 8, out);
        });
    });
    let read = read_v1(&body);
    assert_eq!(
        read.refused,
        [
            "series 0 (m): label 0 is not UTF-8; convert it or leave it out",
            "series 0 (m): the histogram at 7 ms is wrong: schema 100 is none of -4 to 8 and -53",
            "series 0 (m): the histogram at 8 ms is wrong: the spans hold 0 buckets, but there are 2 counts",
        ]
    );
    assert_eq!((read.series[0].samples.len(), read.series[0].histograms.len()), (1, 0));
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    let mut body = Vec::new();
    for symbol in [&b""[..], b"__name__", b"m", b"\xff"] {
        put_bytes(4, symbol, &mut body);
    }
    for references in [[1, 2, 3, 2].as_slice(), &[1, 2, 2, 4], &[1, 2, 2], &[1, 2]] {
        put_message(5, &mut body, |out| {
            put_packed_uints(1, references.iter().copied(), out);
            put_sample(1, out);
        });
    }
    let read = read_v2(&body);
    assert_eq!(
        read.refused,
        [
            "series 0 (m): it refers to symbol 3, which is not UTF-8; convert it or leave it out",
            "series 1 (m): it refers to symbol 4, but there are only 4",
            "series 2 (m): its label references are odd in number; they come in pairs of name and value",
        ]
    );
    assert_eq!(read.series.len(), 1);
}

#[test]
fn both_forms_of_start_times_are_read() {
    let mut body = Vec::new();
    for symbol in ["", "__name__", "m"] {
        put_text(4, symbol, &mut body);
    }
    put_message(5, &mut body, |out| {
        put_packed_uints(1, [1, 2], out);
        put_sample(10, out);
        put_message(2, out, |out| {
            put_int(2, 20, out);
            put_int(3, 15, out);
        });
        put_int(6, 5, out);
    });
    let read = read_v2(&body);
    let starts: Vec<_> = read.series[0].samples.iter().map(|sample| sample.start_ms).collect();
    assert_eq!(starts, [Some(5), Some(15)]);
}

#[test]
fn metadata_comes_back() {
    let metadata = MetadataView { family: "m", kind: MetricKind::Counter, help: "Küche", unit: "seconds" };
    let mut v1 = EncoderV1::default();
    v1.metadata(metadata);
    let mut v2 = EncoderV2::default();
    assert!(v2.is_empty());
    v2.series([("__name__", "m")], &[], &[], &[], Some(metadata));
    for read in [read_v1(v1.as_bytes()), read_v2(&v2.finish())] {
        let (family, known) = &read.metadata[0];
        assert_eq!((family.as_str(), known.kind, known.help.as_str()), ("m", MetricKind::Counter, "Küche"));
        assert_eq!(known.unit, "seconds");
    }
    v1.clear();
    assert_eq!(v1.as_bytes(), b"");
}

#[test]
fn stale_markers_keep_their_bits() {
    let histogram = Arc::new(Histogram { sum: stale_marker(), ..Histogram::default() });
    let series = CollectedSeries {
        labels: Labels::new([("__name__", "m")]),
        samples: vec![FloatSample { t_ms: 1, value: stale_marker(), start_ms: None }],
        histograms: vec![HistogramSample { t_ms: 1, histogram, start_ms: None }],
        exemplars: Vec::new(),
    };
    for read in [read_v1(write_v1(std::slice::from_ref(&series)).as_bytes()), read_v2(&write_v2(&[series]))] {
        assert!(is_stale(read.series[0].samples[0].value));
        assert!(is_stale(read.series[0].histograms[0].histogram.sum));
    }
}

#[test]
fn a_request_over_a_limit_is_refused_whole() {
    let mut encoder = EncoderV1::default();
    let samples: Vec<_> = (0..10).map(|t_ms| FloatSample { t_ms, value: 1.0, start_ms: None }).collect();
    for _ in 0..3 {
        encoder.series([("__name__", "m")], &samples, &[], &[]);
    }
    let limits = [
        IntakeLimits { samples_max: 29, ..IntakeLimits::default() },
        IntakeLimits { series_max: 2, ..IntakeLimits::default() },
    ];
    let told =
        limits.map(|limits| decode_v1(encoder.as_bytes(), &limits, &mut Collected::default()).unwrap_err().to_string());
    assert_eq!(
        told,
        [
            "the request has more than 29 samples; send it in several",
            "the request has more than 2 series; send it in several"
        ]
    );
    let limits = IntakeLimits { decoded_bytes_max: 100, ..IntakeLimits::default() };
    let packed = snappy::compress(encoder.as_bytes()).unwrap();
    assert!(matches!(unpack(&packed, &limits, &mut Vec::new()), Err(WriteError::Snappy(_))));
}

#[test]
fn the_other_version_is_empty_not_an_error() {
    let all = [CollectedSeries { labels: Labels::new([("a", "b")]), ..CollectedSeries::default() }];
    assert_eq!(read_v2(write_v1(&all).as_bytes()), Collected::default());
    assert_eq!(read_v1(&write_v2(&all)), Collected::default());
}

#[test]
fn damage_names_its_byte() {
    let all = [CollectedSeries { labels: Labels::new([("a", "b")]), ..CollectedSeries::default() }];
    let mut body = write_v1(&all).as_bytes().to_vec();
    body.push(0x0a);
    let error = decode_v1(&body, &IntakeLimits::default(), &mut Collected::default()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().starts_with("the body is no `prometheus.WriteRequest` message"));
    assert_eq!(cause, format!("byte {}: the message ends within a field", body.len()));
}

/// What a request holds, one line a series.
fn show(body: &[u8]) -> String {
    let mut unpacked = Vec::new();
    unpack(body, &IntakeLimits::default(), &mut unpacked).unwrap();
    let read = read_v1(&unpacked);
    let mut out = String::new();
    for series in &read.series {
        writeln!(out, "{}", series.labels).unwrap();
        for sample in &series.samples {
            writeln!(out, "  {} {:?}", sample.t_ms, sample.value).unwrap();
        }
        for sample in &series.histograms {
            let h = &sample.histogram;
            writeln!(
                out,
                "  {} schema {} count {} sum {} zero {} within {} positive {:?} negative {:?} bounds {:?} {:?}",
                sample.t_ms,
                h.schema,
                h.count,
                h.sum,
                h.zero_count,
                h.zero_threshold,
                h.positive.iter().collect::<Vec<_>>(),
                h.negative.iter().collect::<Vec<_>>(),
                h.custom_bounds,
                h.reset_hint
            )
            .unwrap();
        }
        for exemplar in &series.exemplars {
            writeln!(out, "  exemplar {} {} {:?}", exemplar.labels, exemplar.value, exemplar.t_ms).unwrap();
        }
    }
    for (family, metadata) in &read.metadata {
        writeln!(out, "{family} {} {:?} {:?}", metadata.kind, metadata.help, metadata.unit).unwrap();
    }
    out.extend(read.refused.iter().map(|refused| format!("refused {refused}\n")));
    out
}

#[test]
fn what_another_client_writes_is_read_as_it_meant_it() {
    expect![[r#"
        floats{job="a b"}
          0 1.5
          15000 inf
          -30000 NaN
        {"utf8.näme", "ключ"="значение"}
          9223372036854775807 -0.0
        exponential
          60000 schema 2 count 10.5 sum 12.25 zero 1.5 within 0.001 positive [(-3, 1.0), (-2, 2.0), (5, 3.0)] negative [(0, 1.0), (1, 2.0)] bounds [] Gauge
        custom
          60000 schema -53 count 6 sum 3 zero 0 within 0 positive [(0, 1.0), (2, 5.0)] negative [] bounds [0.5, 1.0] Unknown
        small_count
          60000 schema 0 count 1 sum 1 zero 0 within 0 positive [(0, 1.0), (1, 1.0)] negative [] bounds [] Unknown
    "#]].assert_eq(&show(include_bytes!("fixtures/remote_write/promqltest.snappy")));
}

#[test]
fn what_prometheus_sends_is_read_as_it_meant_it() {
    expect![[r#"
        reqs_total{code="200", instance="127.0.0.1:34905", job="om"}
          1795230333427 17.0
        lat_bucket{instance="127.0.0.1:34905", job="om", le="0.1"}
          1795230333427 3.0
        lat_bucket{instance="127.0.0.1:34905", job="om", le="+Inf"}
          1795230333427 4.0
        lat_count{instance="127.0.0.1:34905", job="om"}
          1795230333427 4.0
        lat_sum{instance="127.0.0.1:34905", job="om"}
          1795230333427 1.5
        temp{instance="127.0.0.1:34905", job="om", room="küche \"x\""}
          1795230333427 -3.5
        up{instance="127.0.0.1:34905", job="om"}
          1795230333427 1.0
        scrape_duration_seconds{instance="127.0.0.1:34905", job="om"}
          1795230333427 0.001791752
        scrape_samples_scraped{instance="127.0.0.1:34905", job="om"}
          1795230333427 6.0
        scrape_samples_post_metric_relabeling{instance="127.0.0.1:34905", job="om"}
          1795230333427 6.0
        scrape_series_added{instance="127.0.0.1:34905", job="om"}
          1795230333427 0.0
        reqs_total{code="200", instance="127.0.0.1:34905", job="om"}
          exemplar {trace_id="abc"} 0.5 Some(1795230333430)
        lat_bucket{instance="127.0.0.1:34905", job="om", le="0.1"}
          exemplar {span="y", trace_id="x1"} 0.07 Some(1795230333430)
        cnt_total{instance="127.0.0.1:34905", job="proto", x="y"}
          1795230334003 5.0
        up{instance="127.0.0.1:34905", job="proto"}
          1795230334003 1.0
        scrape_duration_seconds{instance="127.0.0.1:34905", job="proto"}
          1795230334003 0.001428454
        scrape_samples_scraped{instance="127.0.0.1:34905", job="proto"}
          1795230334003 3.0
        scrape_samples_post_metric_relabeling{instance="127.0.0.1:34905", job="proto"}
          1795230334003 3.0
        scrape_series_added{instance="127.0.0.1:34905", job="proto"}
          1795230334003 0.0
        nat{instance="127.0.0.1:34905", job="proto", job2="a"}
          1795230334003 schema 3 count 12 sum 34.5 zero 2 within 0.001 positive [(-2, 1.0), (-1, 3.0), (3, 2.0)] negative [(0, 4.0)] bounds [] Unknown
        natf{instance="127.0.0.1:34905", job="proto", job2="b"}
          1795230334003 schema -1 count 12.5 sum 3 zero 2.5 within 0.5 positive [(1, 4.0), (2, 6.0)] negative [] bounds [] Gauge
    "#]].assert_eq(&show(include_bytes!("fixtures/remote_write/prometheus-2.42-samples.snappy")));
    expect![[r#"
        temp gauge "" ""
        req_total unknown "ignored" ""
        reqs counter "Requests." ""
        lat histogram "" ""
        lat_seconds unknown "" "seconds"
        nat histogram "Help." ""
        natf gaugehistogram "Help." ""
        cnt_total counter "Help." ""
    "#]]
    .assert_eq(&show(include_bytes!("fixtures/remote_write/prometheus-2.42-metadata.snappy")));
}

#[test]
fn a_negative_zero_among_counts_comes_back() {
    let histogram =
        Histogram { count: 1.0, zero_count: -0.0, positive: Buckets::from_sorted([(0, 1.0)]), ..Histogram::default() };
    let sample = HistogramSample { t_ms: 1, histogram: Arc::new(histogram), start_ms: None };
    let mut encoder = EncoderV1::default();
    encoder.series([("__name__", "h")], &[], &[sample], &[]);
    let read = read_v1(encoder.as_bytes());
    assert_eq!(read.series[0].histograms[0].histogram.zero_count.to_bits(), (-0.0_f64).to_bits());
}

#[test]
fn whole_counts_above_their_total_are_sent_as_fractions() {
    let histogram = Histogram { count: 1.0, positive: Buckets::from_sorted([(0, 2.0)]), ..Histogram::default() };
    let sample = HistogramSample { t_ms: 1, histogram: Arc::new(histogram), start_ms: None };
    let all =
        [CollectedSeries { labels: Labels::new([("a", "b")]), histograms: vec![sample], ..CollectedSeries::default() }];
    assert_eq!(read_v1(write_v1(&all).as_bytes()).series, all);
}

/// Remembers label bytes as a store would.
#[derive(Default)]
struct Remembering {
    known: Vec<Vec<u8>>,
    seen: Vec<(Option<usize>, usize)>,
}

impl SeriesSink for Remembering {
    type Known = usize;
    fn recognise(&mut self, bytes: &[u8]) -> Option<usize> {
        self.known.iter().position(|known| known == bytes)
    }
    fn series(&mut self, key: SeriesKey<'_, usize>, series: SeriesView<'_>) {
        match key {
            SeriesKey::Known(known) => self.seen.push((Some(known), series.samples.len())),
            SeriesKey::Labels { bytes, .. } => {
                self.seen.push((None, series.samples.len()));
                self.known.extend(bytes.map(<[u8]>::to_vec));
            }
        }
    }
    fn refused(&mut self, refusal: Refusal<'_>) {
        panic!("{refusal}");
    }
}

#[test]
fn known_labels_are_not_read_again() {
    let mut body = Vec::new();
    for (name, late) in [(b"a", false), (b"b", false), (b"a", false), (b"a", true)] {
        put_message(1, &mut body, |out| {
            put_label(b"__name__", name, out);
            put_sample(1, out);
            if late {
                put_label(b"job", b"x", out);
            }
        });
    }
    let mut sink = Remembering::default();
    decode_v1(&body, &IntakeLimits::default(), &mut sink).unwrap();
    assert_eq!(sink.seen, [(None, 1), (None, 1), (Some(0), 1), (None, 1)]);
    assert_eq!(sink.known.len(), 2);
}

//! Scraped bodies: each format on the same few metrics, faults with their place, and what our own writer writes.
#![expect(
    clippy::unwrap_used,
    clippy::needless_raw_string_hashes,
    reason = "tests stop loudly; expect-test writes hashes"
)]

use std::{convert::Infallible, fmt::Write as _};

use expect_test::expect;
use homeostat_model::{MetricKind, sample::stale_marker};
use homeostat_wire::{
    exposition::{Exposition, FamilyKind, HistogramSample},
    intake::Fault,
    protobuf::{put_bytes, put_double, put_int, put_message, put_packed_sints, put_sint, put_text, put_uint},
    scrape::{
        ClassicBuckets, FamilyFact, Format, SampleRole, ScrapeLimits, ScrapeOptions, ScrapeSink, ScrapedSample,
        ScrapedValue, SeriesKey, parse,
    },
};
use proptest::{collection::vec, prelude::*};

/// Writes down what it gets.
#[derive(Default)]
struct Log(String);

impl ScrapeSink for Log {
    type Known = Infallible;

    fn sample(&mut self, key: SeriesKey<'_, Infallible>, sample: ScrapedSample<'_>) {
        let SeriesKey::Labels { labels, .. } = key;
        let labels: homeostat_model::Labels = labels.iter().copied().collect();
        write!(self.0, "{labels} ").unwrap();
        match &sample.value {
            ScrapedValue::Float(value) => write!(self.0, "{value}").unwrap(),
            ScrapedValue::Histogram(h) => write!(
                self.0,
                "schema {} count {} sum {} zero {} within {} positive {:?} negative {:?} {:?}",
                h.schema,
                h.count,
                h.sum,
                h.zero_count,
                h.zero_threshold,
                h.positive.iter().collect::<Vec<_>>(),
                h.negative.iter().collect::<Vec<_>>(),
                h.reset_hint
            )
            .unwrap(),
        }
        if let Some(t_ms) = sample.t_ms {
            write!(self.0, " at {t_ms}").unwrap();
        }
        if let Some(start_ms) = sample.start_ms {
            write!(self.0, " since {start_ms}").unwrap();
        }
        if sample.role == SampleRole::Created {
            self.0.push_str(" (created)");
        }
        for exemplar in sample.exemplars {
            let labels: homeostat_model::Labels = exemplar.labels.iter().copied().collect();
            write!(self.0, " # {labels} {} {:?}", exemplar.value, exemplar.t_ms).unwrap();
        }
        self.0.push('\n');
    }

    fn family(&mut self, name: &str, fact: FamilyFact<'_>) {
        writeln!(self.0, "{name}: {fact:?}").unwrap();
    }

    fn refused_exemplar(&mut self, fault: &Fault) {
        writeln!(self.0, "exemplar refused: {fault}").unwrap();
    }
}

fn read(format: Format, body: &[u8], options: &ScrapeOptions) -> String {
    let mut log = Log::default();
    if let Err(error) = parse(format, body, options, &mut log) {
        writeln!(log.0, "error: {error}").unwrap();
    }
    log.0
}

fn text(body: &str) -> String {
    read(Format::Text, body.as_bytes(), &ScrapeOptions::default())
}

fn openmetrics(body: &str) -> String {
    read(Format::OpenMetrics, body.as_bytes(), &ScrapeOptions::default())
}

#[test]
fn text_is_read_as_prometheus_reads_it() {
    let body = "# HELP http_requests_total All \\\\ requests,\\nby \\\"code\\\".
# TYPE http_requests_total counter
http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000
http_requests_total { method = \"post\" , code = \"400\" , } 3  -5\t
#comment without a blank
# another comment # HELP x y
   # HELP   spaced   two blanks

msdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\FILE.TXT\",error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\\d\"} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem=\"division by zero\"} +Inf -3982045
# TYPE rpc summary
rpc{quantile=\"0.01\"} 3102
rpc{quantile=\"1\"} NaN
# TYPE lat histogram
lat_bucket{le=\"1000000\",empty=\"\"} 4
lat_bucket{le=\"+Inf\"} 5
{\"http.status\",\"path \\\"x\\\"\"=\"/\",b=\"line\nbreak\"} .5
missing{a=\"1\"b=\"2\"}1
# TYPE
#";
    expect![[r#"
        http_requests_total: Help("All \\ requests,\nby \\\"code\\\".")
        http_requests_total: Kind(Counter)
        http_requests_total{code="200", method="post"} 1027 at 1395066363000
        http_requests_total{code="400", method="post"} 3 at -5
        spaced: Help("  two blanks")
        msdos_file_access_time_seconds{error="Cannot find file:\n\"FILE.TXT\"\\d", path="C:\\DIR\\FILE.TXT"} 1458255915
        metric_without_timestamp_and_labels 12.47
        something_weird{problem="division by zero"} inf at -3982045
        rpc: Kind(Summary)
        rpc{quantile="0.01"} 3102
        rpc{quantile="1.0"} NaN
        lat: Kind(Histogram)
        lat_bucket{le="1e+06"} 4
        lat_bucket{le="+Inf"} 5
        {"http.status", b="line\nbreak", "path \"x\""="/"} 0.5
        missing{a="1", b="2"} 1
    "#]]
    .assert_eq(&text(body));
}

#[test]
fn openmetrics_is_read_with_starts_units_and_exemplars() {
    let body = "# HELP acme_http_router_request_seconds Latency\\n\\\"here\\\".
# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
acme_http_router_request_seconds_sum{path=\"/api/v1\",method=\"GET\"} 9036.32
acme_http_router_request_seconds_count{path=\"/api/v1\",method=\"GET\"} 807283.0
acme_http_router_request_seconds_created{path=\"/api/v1\",method=\"GET\"} 1605281325.0
acme_http_router_request_seconds{path=\"/api/v2\",method=\"POST\",quantile=\"0.5\"} 479.3
acme_http_router_request_seconds_created{path=\"/api/v2\",method=\"POST\"} 1605281326.5
# TYPE foo counter
foo_total 17.0 1520879607.789 # {trace_id=\"KOO5S4vxi0o\"} 0.67 1520879606
foo_created 1520872607.123
foo_total{a=\"b\"} 17.0 # {id=\"x\",span=\"y\"} 0.67
# TYPE hist histogram
hist_bucket{x=\"a,\\\"b\\\"\",le=\"0.0\"} 0
hist_bucket{x=\"a,\\\"b\\\"\",le=\"+Inf\"} 17 # {} 0.54
hist_count{x=\"a,\\\"b\\\"\"} 17
hist_created{x=\"a,\\\"b\\\"\"} 1520430000.25
# TYPE state stateset
state{state=\"a\"} 1
# TYPE build info
build_info{version=\"1\"} 1
# HELP \"utf8.näme\" Quoted.
# TYPE \"utf8.näme\" gauge
{\"utf8.näme\",\"ключ\"=\"x\"} -0.0 -1.5
# HELP empty
# TYPE late unknown
foo_created 3
# EOF
";
    expect![[r#"
        acme_http_router_request_seconds: Help("Latency\n\"here\".")
        acme_http_router_request_seconds: Kind(Summary)
        acme_http_router_request_seconds: Unit("seconds")
        acme_http_router_request_seconds_sum{method="GET", path="/api/v1"} 9036.32 since 1605281325000
        acme_http_router_request_seconds_count{method="GET", path="/api/v1"} 807283 since 1605281325000
        acme_http_router_request_seconds_created{method="GET", path="/api/v1"} 1605281325 (created)
        acme_http_router_request_seconds{method="POST", path="/api/v2", quantile="0.5"} 479.3 since 1605281326500
        acme_http_router_request_seconds_created{method="POST", path="/api/v2"} 1605281326.5 (created)
        foo: Kind(Counter)
        foo_total 17 at 1520879607789 since 1520872607123 # {trace_id="KOO5S4vxi0o"} 0.67 Some(1520879606000)
        foo_created 1520872607.123 (created)
        foo_total{a="b"} 17 # {id="x", span="y"} 0.67 None
        hist: Kind(Histogram)
        hist_bucket{le="0.0", x="a,\"b\""} 0 since 1520430000250
        hist_bucket{le="+Inf", x="a,\"b\""} 17 since 1520430000250 # {} 0.54 None
        hist_count{x="a,\"b\""} 17 since 1520430000250
        hist_created{x="a,\"b\""} 1520430000.25 (created)
        state: Kind(StateSet)
        state{state="a"} 1
        build: Kind(Info)
        build_info{version="1"} 1
        utf8.näme: Help("Quoted.")
        utf8.näme: Kind(Gauge)
        {"utf8.näme", "ключ"="x"} -0 at -1500
        empty: Help("")
        late: Kind(Unknown)
        foo_created 3
    "#]]
    .assert_eq(&openmetrics(body));
}

#[test]
fn faults_of_text_name_line_and_column() {
    let mut told = String::new();
    for body in [
        "ok 1\n a{b=\"c\"} x\n",
        "a{b=\"c\"",
        "a{b=\"c} 1\n",
        "a{b=c} 1\n",
        "a{b 1} 1\n",
        "a{1b=\"\"} 1\n",
        "a 1 2 3\n",
        "a 1 1.5\n",
        "a\n",
        "a",
        "1a 1\n",
        "é 1\n",
        "{a=\"b\"} 1\n",
        "a{\"b\"} 1\n",
        "{\"a\",\"b\"} 1\n",
        "{\"\"} 1\n",
        "a{b=\"1\",b=\"2\"} 1\n",
        "a{\"\"=\"1\"} 1\n",
        "ünï{b=\"1\"} 1",
        "# TYPE a countr\n",
        "# TYPE 1 counter\n",
        "# HELP a{} x\n",
        "a 1_000\n",
        "a{b=\"c\"}{d=\"e\"} 1\n",
        "a{b=\"\\",
    ] {
        write!(told, "{body:?}\n  {}", text(body).lines().last().unwrap_or_default()).unwrap();
        told.push('\n');
    }
    let invalid = read(Format::Text, b"a 1\nb{c=\"\xff\"} 1\n", &ScrapeOptions::default());
    told.push_str(&invalid);
    expect![[r##"
        "ok 1\n a{b=\"c\"} x\n"
          error: line 2, column 11: expected a value, found "x"
        "a{b=\"c\""
          error: line 1, column 8: expected a label name or a closing brace, found the end of the body
        "a{b=\"c} 1\n"
          error: line 1, column 5: the quote that begins here is not closed
        "a{b=c} 1\n"
          error: line 1, column 5: expected a quote, found "c} 1"
        "a{b 1} 1\n"
          error: line 1, column 5: expected `=` after the label's name, found "1} 1"
        "a{1b=\"\"} 1\n"
          error: line 1, column 3: expected a label name or a closing brace, found "1b=\"\"} 1"
        "a 1 2 3\n"
          error: line 1, column 7: expected the end of the line, found "3"
        "a 1 1.5\n"
          error: line 1, column 5: expected a time in whole milliseconds, found "1.5"
        "a\n"
          error: line 1, column 2: expected a value, found the end of the line
        "a"
          error: line 1, column 2: expected a value, found the end of the body
        "1a 1\n"
          error: line 1, column 1: expected a metric name, found "1a 1"
        "é 1\n"
          error: line 1, column 1: expected a metric name, found "é 1"
        "{a=\"b\"} 1\n"
          error: line 1, column 1: the series has no metric name
        "a{\"b\"} 1\n"
          error: line 1, column 3: the series has two metric names
        "{\"a\",\"b\"} 1\n"
          error: line 1, column 6: the series has two metric names
        "{\"\"} 1\n"
          error: line 1, column 2: the series has no metric name
        "a{b=\"1\",b=\"2\"} 1\n"
          error: line 1, column 1: label "b" is given twice; give it once
        "a{\"\"=\"1\"} 1\n"
          error: line 1, column 1: a label has an empty name; give it a name or leave it out
        "ünï{b=\"1\"} 1"
          error: line 1, column 1: expected a metric name, found "ünï{b=\"1\"} 1"
        "# TYPE a countr\n"
          error: line 1, column 10: expected counter, gauge, histogram, summary or untyped, found "countr"
        "# TYPE 1 counter\n"
          error: line 1, column 8: expected a metric name, found "1 counter"
        "# HELP a{} x\n"
          error: line 1, column 9: expected a blank after the metric name, found "{} x"
        "a 1_000\n"
          error: line 1, column 3: expected a value, found "1_000"
        "a{b=\"c\"}{d=\"e\"} 1\n"
          error: line 1, column 9: expected a value, found "{d=\"e\"} 1"
        "a{b=\"\\"
          error: line 1, column 5: the quote that begins here is not closed
        error: line 2, column 6: this is not UTF-8
    "##]]
    .assert_eq(&told);
}

#[test]
fn faults_of_openmetrics_name_line_and_column() {
    let mut told = String::new();
    for body in [
        "",
        "a 1\n",
        "a 1",
        "# EOF\n\n",
        "# EOF x",
        "\n# EOF\n",
        "# just a comment\n# EOF\n",
        "#  HELP a x\n# EOF\n",
        " a 1\n# EOF\n",
        "a  1\n# EOF\n",
        "a 1 \n# EOF\n",
        "a{b=\"c\" } 1\n# EOF\n",
        "a{b=\"c\"d=\"e\"} 1\n# EOF\n",
        "a{b=\"c\nd\"} 1\n# EOF\n",
        "a 1 NaN\n# EOF\n",
        "a 1 2 3\n# EOF\n",
        "a 1 # {\"b\"} 1\n# EOF\n",
        "a 1 # {b=\"c\"}\n# EOF\n",
        "a 1 # {b=\"c\",b=\"d\"} 1\n# EOF\n",
        "# UNIT a_seconds bytes\n# EOF\n",
        "# UNIT seconds seconds\n# EOF\n",
        "# TYPE a untype\n# EOF\n",
        "# TYPE a gauge",
    ] {
        write!(told, "{body:?}\n  {}", openmetrics(body).lines().find(|line| !line.starts_with("a ")).unwrap_or("ok"))
            .unwrap();
        told.push('\n');
    }
    expect![[r##"
        ""
          error: line 1, column 1: the body does not end with `# EOF`: it was cut short, or is not OpenMetrics
        "a 1\n"
          error: line 2, column 1: the body does not end with `# EOF`: it was cut short, or is not OpenMetrics
        "a 1"
          error: line 1, column 4: the body does not end with `# EOF`: it was cut short, or is not OpenMetrics
        "# EOF\n\n"
          error: line 2, column 1: expected nothing after `# EOF`, found the end of the line
        "# EOF x"
          error: line 1, column 6: expected nothing after `# EOF`, found " x"
        "\n# EOF\n"
          error: line 1, column 1: expected a metric name, found the end of the line
        "# just a comment\n# EOF\n"
          error: line 1, column 2: expected ` HELP `, ` TYPE `, ` UNIT ` or ` EOF` after `#`: there are no other comments, found " just a comment"
        "#  HELP a x\n# EOF\n"
          error: line 1, column 2: expected ` HELP `, ` TYPE `, ` UNIT ` or ` EOF` after `#`: there are no other comments, found "  HELP a x"
        " a 1\n# EOF\n"
          error: line 1, column 1: expected a metric name, found " a 1"
        "a  1\n# EOF\n"
          error: line 1, column 3: expected a value, found " 1"
        "a 1 \n# EOF\n"
          error: line 1, column 5: expected a time in seconds, found the end of the line
        "a{b=\"c\" } 1\n# EOF\n"
          error: line 1, column 8: expected a comma or a closing brace, found " } 1"
        "a{b=\"c\"d=\"e\"} 1\n# EOF\n"
          error: line 1, column 8: expected a comma or a closing brace, found "d=\"e\"} 1"
        "a{b=\"c\nd\"} 1\n# EOF\n"
          error: line 1, column 5: the quote that begins here is not closed
        "a 1 NaN\n# EOF\n"
          error: line 1, column 5: expected a time in seconds, found "NaN"
        "a 1 2 3\n# EOF\n"
          error: line 1, column 6: expected the end of the line, found " 3"
        "a 1 # {\"b\"} 1\n# EOF\n"
          error: line 1, column 11: expected `=` after the label's name, found "} 1"
        "a 1 # {b=\"c\"}\n# EOF\n"
          error: line 1, column 14: expected a blank and a value, found the end of the line
        "a 1 # {b=\"c\",b=\"d\"} 1\n# EOF\n"
          exemplar refused: label "b" is given twice; give it once
        "# UNIT a_seconds bytes\n# EOF\n"
          error: line 1, column 8: the family's name must end in `_` and its unit "bytes"
        "# UNIT seconds seconds\n# EOF\n"
          error: line 1, column 8: the family's name must end in `_` and its unit "seconds"
        "# TYPE a untype\n# EOF\n"
          error: line 1, column 10: expected counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown, found "untype"
        "# TYPE a gauge"
          error: line 1, column 15: the body does not end with `# EOF`: it was cut short, or is not OpenMetrics
    "##]].assert_eq(&told);
}

fn put_label(number: u32, name: &str, value: &str, out: &mut Vec<u8>) {
    put_message(number, out, |out| {
        put_text(1, name, out);
        put_text(2, value, out);
    });
}

fn put_exemplar(number: u32, id: &str, seconds: i64, out: &mut Vec<u8>) {
    put_message(number, out, |out| {
        put_label(1, "trace_id", id, out);
        put_double(2, 0.25, out);
        if seconds != 0 {
            put_time(3, seconds, out);
        }
    });
}

fn put_time(number: u32, seconds: i64, out: &mut Vec<u8>) {
    put_message(number, out, |out| {
        put_int(1, seconds, out);
        put_int(2, 250_000_000, out);
    });
}

/// One family with one metric, with its length in front.
fn family(name: &str, kind: u64, out: &mut Vec<u8>, metric: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    put_text(1, name, &mut message);
    put_text(2, "Help.", &mut message);
    put_uint(3, kind, &mut message);
    put_message(4, &mut message, |out| {
        put_label(1, "z", "1", out);
        put_label(1, "a", "ü", out);
        metric(out);
    });
    homeostat_wire::varint::put(message.len() as u64, out);
    out.extend(message);
}

fn put_native(out: &mut Vec<u8>) {
    put_sint(5, 3, out);
    put_double(6, 0.001, out);
    put_uint(7, 2, out);
    put_message(12, out, |out| {
        put_sint(1, -2, out);
        put_uint(2, 3, out);
    });
    put_packed_sints(13, [1, -1, 2], out);
}

fn families() -> Vec<u8> {
    let mut out = Vec::new();
    family("requests_total", 0, &mut out, |out| {
        put_message(3, out, |out| {
            put_double(1, 5.0, out);
            put_exemplar(2, "x", 1_700_000_000, out);
            put_time(3, 1_600_000_000, out);
        });
        put_int(6, 1_700_000_000_123, out);
    });
    family("temp", 1, &mut out, |out| {
        put_message(2, out, |out| put_double(1, stale_marker(), out));
    });
    family("wait", 2, &mut out, |out| {
        put_message(4, out, |out| {
            put_uint(1, 7, out);
            put_double(2, 1.5, out);
            put_message(3, out, |out| {
                put_double(1, 0.5, out);
                put_double(2, 0.125, out);
            });
            put_time(4, 1_600_000_000, out);
        });
    });
    family("odd", 3, &mut out, |_| {});
    family("lat", 4, &mut out, |out| {
        put_message(7, out, |out| {
            put_uint(1, 5, out);
            put_double(2, 9.0, out);
            put_message(3, out, |out| {
                put_uint(1, 3, out);
                put_double(2, 1e6, out);
                put_exemplar(3, "y", 0, out);
            });
        });
    });
    family("native", 4, &mut out, |out| {
        put_message(7, out, |out| {
            put_uint(1, 5, out);
            put_double(2, 9.0, out);
            put_message(3, out, |out| {
                put_uint(1, 5, out);
                put_double(2, f64::INFINITY, out);
                put_exemplar(3, "classic", 1_700_000_000, out);
            });
            put_native(out);
            put_exemplar(16, "untimed", 0, out);
            put_exemplar(16, "timed", 1_700_000_000, out);
            put_time(15, 1_600_000_000, out);
        });
    });
    family("fractions", 5, &mut out, |out| {
        put_message(7, out, |out| {
            put_double(4, 0.5, out);
            put_message(12, out, |_| {});
        });
    });
    out
}

#[test]
fn protobuf_is_read_with_native_histograms() {
    expect![[r#"
        requests_total: Kind(Counter)
        requests_total: Help("Help.")
        requests_total{a="ü", z="1"} 5 at 1700000000123 since 1600000000250 # {trace_id="x"} 0.25 Some(1700000000250)
        temp: Kind(Gauge)
        temp: Help("Help.")
        temp{a="ü", z="1"} NaN
        wait: Kind(Summary)
        wait: Help("Help.")
        wait_count{a="ü", z="1"} 7 since 1600000000250
        wait_sum{a="ü", z="1"} 1.5 since 1600000000250
        wait{a="ü", quantile="0.5", z="1"} 0.125 since 1600000000250
        odd: Kind(Unknown)
        odd: Help("Help.")
        odd{a="ü", z="1"} 0
        lat: Kind(Histogram)
        lat: Help("Help.")
        lat_count{a="ü", z="1"} 5
        lat_sum{a="ü", z="1"} 9
        lat_bucket{a="ü", le="1e+06", z="1"} 3 # {trace_id="y"} 0.25 None
        lat_bucket{a="ü", le="+Inf", z="1"} 5
        native: Kind(Histogram)
        native: Help("Help.")
        native{a="ü", z="1"} schema 3 count 5 sum 9 zero 2 within 0.001 positive [(-2, 1.0), (0, 2.0)] negative [] Unknown since 1600000000250 # {trace_id="timed"} 0.25 Some(1700000000250)
        fractions: Kind(GaugeHistogram)
        fractions: Help("Help.")
        fractions{a="ü", z="1"} schema 0 count 0.5 sum 0 zero 0 within 0 positive [] negative [] Gauge
    "#]].assert_eq(&read(Format::Protobuf, &families(), &ScrapeOptions::default()));
}

#[test]
fn classic_buckets_beside_native_ones_are_an_option() {
    let options = ScrapeOptions { classic: ClassicBuckets::Always, ..ScrapeOptions::default() };
    let both = read(Format::Protobuf, &families(), &options);
    let without = read(Format::Protobuf, &families(), &ScrapeOptions::default());
    let more: Vec<_> = both.lines().filter(|line| !without.contains(line)).collect();
    expect![[r#"
        native_count{a="ü", z="1"} 5 since 1600000000250
        native_sum{a="ü", z="1"} 9 since 1600000000250
        native_bucket{a="ü", le="+Inf", z="1"} 5 since 1600000000250 # {trace_id="classic"} 0.25 Some(1700000000250)"#]]
    .assert_eq(&more.join("\n"));
}

#[test]
fn faults_of_protobuf_name_the_family() {
    let mut told = String::new();
    let mut tell = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut message = Vec::new();
        write(&mut message);
        let mut body = Vec::new();
        homeostat_wire::varint::put(message.len() as u64, &mut body);
        body.extend(message);
        told.push_str(&read(Format::Protobuf, &body, &ScrapeOptions::default()));
    };
    tell(&|out| put_uint(3, 9, out));
    tell(&|out| put_uint(3, 1, out));
    tell(&|out| put_bytes(1, b"\xff", out));
    tell(&|out| {
        put_text(1, "a_bytes", out);
        put_text(5, "seconds", out);
    });
    tell(&|out| {
        put_text(1, "a", out);
        put_message(4, out, |out| {
            put_label(1, "b", "1", out);
            put_label(1, "b", "2", out);
        });
    });
    tell(&|out| {
        put_text(1, "a", out);
        put_uint(3, 4, out);
        put_message(4, out, |out| put_message(7, out, put_native));
    });
    told.push_str(&read(Format::Protobuf, &[5, 1], &ScrapeOptions::default()));
    expect![[r#"
        error: family "": there is no metric type 9
        error: family "": the series has no metric name
        error: family "": this is not UTF-8
        error: family "a_bytes": the family's name must end in `_` and its unit "seconds"
        a: Kind(Counter)
        error: family "a": label "b" is given twice; give it once
        a: Kind(Histogram)
        error: family "a": the histogram at 0 ms is wrong: the buckets hold 5 observations, more than the count of 0
        error: the body is no sequence of `io.prometheus.client.MetricFamily` messages
    "#]]
    .assert_eq(&told);
}

#[test]
fn limits_hold() {
    let limits = ScrapeLimits { samples_max: 1, body_bytes_max: 30, labels_max: 2, ..ScrapeLimits::default() };
    let options = ScrapeOptions { limits, ..ScrapeOptions::default() };
    let mut told = String::new();
    for body in ["a 1\na 2\n", "a{b=\"1\",c=\"2\"} 1\n", "a{b=\"1234567890123456789\"} 123\n"] {
        told.push_str(&read(Format::Text, body.as_bytes(), &options));
    }
    told.push_str(&read(Format::OpenMetrics, b"a 1\na 2\n# EOF", &options));
    expect![[r#"
        a 1
        a 2
        error: the target answers more than 1 samples
        error: line 1, column 1: it has more than 2 labels; drop some
        error: the target answers 31 bytes, more than the 30 that are taken
        a 1
        a 2
        error: the target answers more than 1 samples
    "#]]
    .assert_eq(&told);
}

/// Remembers series by their bytes, as a scraper does.
#[derive(Default)]
struct Remembering {
    known: Vec<Vec<u8>>,
    seen: Vec<Option<usize>>,
}

impl ScrapeSink for Remembering {
    type Known = usize;
    fn recognise(&mut self, bytes: &[u8]) -> Option<usize> {
        self.known.iter().position(|known| known == bytes)
    }
    fn sample(&mut self, key: SeriesKey<'_, usize>, _: ScrapedSample<'_>) {
        match key {
            SeriesKey::Known(known) => self.seen.push(Some(known)),
            SeriesKey::Labels { bytes, .. } => {
                self.seen.push(None);
                self.known.extend(bytes.map(<[u8]>::to_vec));
            }
        }
    }
}

#[test]
fn a_second_scrape_knows_every_series() {
    let om = "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\na_count 1\n# EOF";
    let bodies: [(Format, &[u8]); 3] = [
        (Format::Text, b"a{b=\"\\\"}\"} 1\na {b=\"2\"} 1 5\na 1\n{\"q\"} 1\n"),
        (Format::OpenMetrics, om.as_bytes()),
        (Format::Protobuf, &families()),
    ];
    for (format, body) in bodies {
        let mut sink = Remembering::default();
        parse(format, body, &ScrapeOptions::default(), &mut sink).unwrap();
        let count = sink.seen.len();
        parse(format, body, &ScrapeOptions::default(), &mut sink).unwrap();
        assert!(sink.seen[..count].iter().all(Option::is_none), "{format:?}");
        assert_eq!(sink.seen[count..], (0..count).map(Some).collect::<Vec<_>>(), "{format:?}");
    }
}

#[test]
fn odd_lines_are_not_taken_for_known_series() {
    let mut sink = Remembering::default();
    let mut read = |format, body: &[u8]| {
        sink.seen.clear();
        parse(format, body, &ScrapeOptions::default(), &mut sink).unwrap();
        sink.seen.clone()
    };
    assert_eq!(read(Format::Text, b"a 1\na {b=\"x\ny\"} 1\na{b=\"}\"} 1\na{b=\"}\n\"} 1\n"), [None; 4]);
    assert_eq!(
        read(Format::Text, b"a 1\na {b=\"x\ny\"} 1\na{b=\"}\"} 1\na{b=\"}\n\"} 1\n"),
        [Some(0), None, Some(1), None]
    );
    let exemplars = b"c 1 # {a=\"}\"} 1\nd{l=\" # {\"} 1\nd{l=\"\"} 1 # {l=\" # {\"} 1\n# EOF";
    assert_eq!(read(Format::OpenMetrics, exemplars), [None; 3]);
    assert_eq!(read(Format::OpenMetrics, exemplars), [Some(2), None, Some(3)]);
}

proptest! {
    /// What our writer writes, our reader reads: values to the bit, texts to the letter.
    #[test]
    fn our_own_exposition_comes_back(values in vec(("[^\r]{0,10}", any::<f64>()), 1..5), counts in vec(0_u64..1000, 3)) {
        let mut body = String::new();
        let mut exposition = Exposition::new(&mut body);
        let mut family = exposition.family("m", FamilyKind::Gauge, "He\\lp\n\"x\"");
        for (label, value) in &values {
            family.sample(&[("l", label)], *value);
        }
        let buckets = [(0.5, counts[0]), (1000.0, counts[1])];
        let sample = HistogramSample { buckets: &buckets, above: counts[2], sum: 0.25 };
        exposition.family("h", FamilyKind::Histogram, "x").histogram(&[], sample);
        let mut expected = format!("m: Help({:?})\nm: Kind({:?})\n", "He\\lp\n\"x\"", MetricKind::Gauge);
        for (label, value) in &values {
            let labels = homeostat_model::Labels::new([("__name__", "m"), ("l", label)]);
            writeln!(expected, "{labels} {value}").unwrap();
        }
        let (first, second) = (counts[0], counts[0] + counts[1]);
        let all = second + counts[2];
        write!(expected, "h: Help(\"x\")\nh: Kind(Histogram)\nh_bucket{{le=\"0.5\"}} {first}\n").unwrap();
        write!(expected, "h_bucket{{le=\"1000.0\"}} {second}\nh_bucket{{le=\"+Inf\"}} {all}\n").unwrap();
        write!(expected, "h_sum 0.25\nh_count {all}\n").unwrap();
        prop_assert_eq!(text(&body), expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..100), line in "[a{}\"\\\\=,# \nHELPTYPUNOFé1.]{0,60}") {
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            read(format, &bytes, &ScrapeOptions::default());
            read(format, line.as_bytes(), &ScrapeOptions::default());
        }
    }
}

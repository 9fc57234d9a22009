//! OpenTelemetry's metrics become the series that Prometheus makes of them.
//!
//! `fixtures/otlp/request.*` are one request in both encodings, written by the crate `opentelemetry-proto` 0.31 with
//! `make.rs.txt`; in the JSON, values of exemplars are moved to where the specification has them.
#![expect(
    clippy::unwrap_used,
    clippy::needless_raw_string_hashes,
    reason = "tests stop loudly; expect-test writes hashes"
)]

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use homeostat_model::sample::is_stale;
use homeostat_wire::{
    intake::{Collected, IntakeLimits},
    otlp::{
        DeltaLimits, DeltaToCumulative, ExplicitHistograms, OtlpError, OtlpOptions, OtlpOutcome, Promote, Strategy,
        decode_metrics, decode_metrics_json, protobuf_of_json, response, response_json,
    },
    protobuf::{put_message, put_text},
};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

const PROTOBUF: &[u8] = include_bytes!("fixtures/otlp/request.pb");
const JSON: &[u8] = include_bytes!("fixtures/otlp/request.json");

fn show(read: &Collected) -> String {
    let mut out = String::new();
    for (family, metadata) in &read.metadata {
        writeln!(out, "{family}: {} {:?} {:?}", metadata.kind, metadata.help, metadata.unit).unwrap();
    }
    let number = |value: f64| if is_stale(value) { "stale".to_owned() } else { value.to_string() };
    for series in &read.series {
        write!(out, "{}", series.labels).unwrap();
        for sample in &series.samples {
            write!(out, " {} at {}", number(sample.value), sample.t_ms).unwrap();
            sample.start_ms.iter().for_each(|start_ms| write!(out, " since {start_ms}").unwrap());
        }
        for sample in &series.histograms {
            let h = &sample.histogram;
            write!(
                out,
                " schema {} count {} sum {} zero {} within {} positive {:?} negative {:?} bounds {:?} at {}",
                h.schema,
                h.count,
                number(h.sum),
                h.zero_count,
                h.zero_threshold,
                h.positive.iter().collect::<Vec<_>>(),
                h.negative.iter().collect::<Vec<_>>(),
                h.custom_bounds,
                sample.t_ms
            )
            .unwrap();
            sample.start_ms.iter().for_each(|start_ms| write!(out, " since {start_ms}").unwrap());
        }
        for exemplar in &series.exemplars {
            write!(out, " # {} {} {:?}", exemplar.labels, exemplar.value, exemplar.t_ms).unwrap();
        }
        out.push('\n');
    }
    read.refused.iter().for_each(|refused| writeln!(out, "refused {refused}").unwrap());
    out
}

fn read(body: &[u8], options: &OtlpOptions) -> (Collected, OtlpOutcome) {
    let mut collected = Collected::default();
    let outcome = decode_metrics(body, options, None, &mut collected).unwrap();
    (collected, outcome)
}

/// Reads one resource with one scope with these metrics, in JSON.
fn read_metrics(metrics: Value, options: &OtlpOptions, delta: Option<&mut DeltaToCumulative>) -> (String, OtlpOutcome) {
    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).to_string();
    let mut collected = Collected::default();
    let outcome = decode_metrics_json(body.as_bytes(), options, delta, &mut collected).unwrap();
    collected.metadata.clear();
    (show(&collected), outcome)
}

fn check(metrics: Value, expected: Expect) {
    expected.assert_eq(&read_metrics(metrics, &OtlpOptions::default(), None).0);
}

#[test]
fn a_request_of_another_library_becomes_prometheus_series() {
    let (collected, outcome) = read(PROTOBUF, &OtlpOptions::default());
    expect![[r#"
        queue_length: gauge "About queue.length." ""
        http_requests_total: counter "About http.requests." ""
        http_duration_milliseconds: histogram "About http.duration." "milliseconds"
        payload_bytes: histogram "About payload." "bytes"
        rpc_seconds: summary "About rpc." "seconds"
        target_info: gauge "Target metadata" ""
        queue_length{array="[1,\"b\"]", bool="true", bytes="AP8Q", double="0.5", http_route="/a/{id}", instance="i-1", int="-42", job="eu/shop", map="{\"k\":\"v\"}"} 1.25 at 1700000060123
        queue_length{instance="i-1", job="eu/shop"} stale at 1700000060123
        http_requests_total{a="1", instance="i-1", job="eu/shop"} -7 at 1700000060123 since 1700000000000 # {span_id="abababababababab", trace_id="cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", user="x"} 3 Some(1700000060118)
        http_duration_milliseconds_sum{a="1", instance="i-1", job="eu/shop"} 123.5 at 1700000060123 since 1700000000000
        http_duration_milliseconds_count{a="1", instance="i-1", job="eu/shop"} 10 at 1700000060123 since 1700000000000
        http_duration_milliseconds_bucket{a="1", instance="i-1", job="eu/shop", le="0.5"} 2 at 1700000060123 since 1700000000000 # {span_id="abababababababab", trace_id="cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", user="x"} 0.25 Some(1700000060118)
        http_duration_milliseconds_bucket{a="1", instance="i-1", job="eu/shop", le="1000000"} 5 at 1700000060123 since 1700000000000
        http_duration_milliseconds_bucket{a="1", instance="i-1", job="eu/shop", le="+Inf"} 10 at 1700000060123 since 1700000000000 # {span_id="abababababababab", trace_id="cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", user="x"} 2000000 Some(1700000060118)
        payload_bytes{a="1", instance="i-1", job="eu/shop"} schema 3 count 12 sum 77 zero 2 within 0.125 positive [(-1, 1.0), (1, 4.0)] negative [(6, 5.0)] bounds [] at 1700000060123 since 1700000000000 # {span_id="abababababababab", trace_id="cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", user="x"} 1 Some(1700000060118)
        rpc_seconds_sum{a="1", instance="i-1", job="eu/shop"} 2.5 at 1700000060123 since 1700000000000
        rpc_seconds_count{a="1", instance="i-1", job="eu/shop"} 4 at 1700000060123 since 1700000000000
        rpc_seconds{a="1", instance="i-1", job="eu/shop", quantile="0.5"} 0.25 at 1700000060123 since 1700000000000
        rpc_seconds{a="1", instance="i-1", job="eu/shop", quantile="1"} 2 at 1700000060123 since 1700000000000
        target_info{host_name="h", instance="i-1", job="eu/shop"} 1 at 1700000060123
    "#]].assert_eq(&show(&collected));
    assert_eq!(outcome, OtlpOutcome { data_points: 6, ..OtlpOutcome::default() });
}

#[test]
fn json_says_the_same_as_protobuf() {
    let mut collected = Collected::default();
    decode_metrics_json(JSON, &OtlpOptions::default(), None, &mut collected).unwrap();
    assert_eq!(show(&collected), show(&read(PROTOBUF, &OtlpOptions::default()).0));
}

#[test]
fn options_change_names_and_labels() {
    let options = OtlpOptions {
        strategy: Strategy::NoUtf8EscapingWithSuffixes,
        promote: Promote::AllExcept(vec!["service.name".to_owned()]),
        keep_identifying: true,
        promote_scope: true,
        explicit_histograms: ExplicitHistograms::CustomBounds,
        ..OtlpOptions::default()
    };
    expect![[r#"
        queue.length: gauge "About queue.length." ""
        http.requests_total: counter "About http.requests." ""
        http.duration_milliseconds: histogram "About http.duration." "milliseconds"
        payload_bytes: histogram "About payload." "bytes"
        rpc_seconds: summary "About rpc." "seconds"
        target_info: gauge "Target metadata" ""
        {"queue.length", array="[1,\"b\"]", bool="true", bytes="AP8Q", double="0.5", "host.name"="h", "http.route"="/a/{id}", instance="i-1", int="-42", job="eu/shop", map="{\"k\":\"v\"}", otel_scope_name="lib", otel_scope_schema_url="https://schema/1", otel_scope_team="t", otel_scope_version="1.2", "service.instance.id"="i-1", "service.namespace"="eu"} 1.25 at 1700000060123
        {"queue.length", "host.name"="h", instance="i-1", job="eu/shop", otel_scope_name="lib", otel_scope_schema_url="https://schema/1", otel_scope_team="t", otel_scope_version="1.2", "service.instance.id"="i-1", "service.namespace"="eu"} stale at 1700000060123
        {"http.requests_total", a="1", "host.name"="h", instance="i-1", job="eu/shop", otel_scope_name="lib", otel_scope_schema_url="https://schema/1", otel_scope_team="t", otel_scope_version="1.2", "service.instance.id"="i-1", "service.namespace"="eu"} -7 at 1700000060123 since 1700000000000 # {span_id="abababababababab", trace_id="cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", user="x"} 3 Some(1700000060118)
        {"http.duration_milliseconds", a="1", "host.name"="h", instance="i-1", job="eu/shop", otel_scope_name="lib", otel_scope_schema_url="https://schema/1", otel_scope_team="t", otel_scope_version="1.2", "service.instance.id"="i-1", "service.namespace"="eu"} schema -53 count 10 sum 123.5 zero 0 within 0 positive [(0, 2.0), (1, 3.0), (2, 5.0)] negative [] bounds [0.5, 1000000.0] at 1700000060123 since 1700000000000 # {span_id="abababababababab", trace_id="cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", user="x"} 0.25 Some(1700000060118) # {span_id="abababababababab", trace_id="cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", user="x"} 2000000 Some(1700000060118)
        payload_bytes{a="1", "host.name"="h", instance="i-1", job="eu/shop", otel_scope_name="lib", otel_scope_schema_url="https://schema/1", otel_scope_team="t", otel_scope_version="1.2", "service.instance.id"="i-1", "service.namespace"="eu"} schema 3 count 12 sum 77 zero 2 within 0.125 positive [(-1, 1.0), (1, 4.0)] negative [(6, 5.0)] bounds [] at 1700000060123 since 1700000000000 # {span_id="abababababababab", trace_id="cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", user="x"} 1 Some(1700000060118)
        rpc_seconds_sum{a="1", "host.name"="h", instance="i-1", job="eu/shop", otel_scope_name="lib", otel_scope_schema_url="https://schema/1", otel_scope_team="t", otel_scope_version="1.2", "service.instance.id"="i-1", "service.namespace"="eu"} 2.5 at 1700000060123 since 1700000000000
        rpc_seconds_count{a="1", "host.name"="h", instance="i-1", job="eu/shop", otel_scope_name="lib", otel_scope_schema_url="https://schema/1", otel_scope_team="t", otel_scope_version="1.2", "service.instance.id"="i-1", "service.namespace"="eu"} 4 at 1700000060123 since 1700000000000
        rpc_seconds{a="1", "host.name"="h", instance="i-1", job="eu/shop", otel_scope_name="lib", otel_scope_schema_url="https://schema/1", otel_scope_team="t", otel_scope_version="1.2", quantile="0.5", "service.instance.id"="i-1", "service.namespace"="eu"} 0.25 at 1700000060123 since 1700000000000
        rpc_seconds{a="1", "host.name"="h", instance="i-1", job="eu/shop", otel_scope_name="lib", otel_scope_schema_url="https://schema/1", otel_scope_team="t", otel_scope_version="1.2", quantile="1", "service.instance.id"="i-1", "service.namespace"="eu"} 2 at 1700000060123 since 1700000000000
        target_info{"host.name"="h", instance="i-1", job="eu/shop", "service.instance.id"="i-1", "service.name"="shop", "service.namespace"="eu"} 1 at 1700000060123
    "#]].assert_eq(&show(&read(PROTOBUF, &options).0));
}

#[test]
fn keys_that_are_spelled_the_same_are_joined() {
    check(
        json!([{"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": "1000000", "asInt": "1", "attributes": [
            {"key": "b.c", "value": {"stringValue": "2"}},
            {"key": "b_c", "value": {"stringValue": "3"}},
            {"key": "b-c", "value": {"intValue": 1}},
            {"key": "__name__", "value": {"stringValue": "forged"}},
            {"key": "empty", "value": {"stringValue": ""}},
            {"key": "none"},
        ]}]}}]),
        expect![[r#"
            m{b_c="1;2;3"} 1 at 1
        "#]],
    );
}

#[test]
fn bad_points_are_refused_one_by_one() {
    let point = json!({"timeUnixNano": "1000000", "asDouble": 1});
    let metrics = json!([
        {"name": "", "gauge": {"dataPoints": [point]}},
        {"name": "no_value", "gauge": {"dataPoints": [{"timeUnixNano": "1000000"}, point]}},
        {"name": "no_temporality", "sum": {"dataPoints": [point]}},
        {"name": "delta", "sum": {"dataPoints": [point], "aggregationTemporality": 1}},
        {"name": "no_data"},
        {"name": "no_points", "gauge": {"dataPoints": []}},
        {"name": "label", "gauge": {"dataPoints": [
            {"timeUnixNano": "1000000", "asDouble": 1, "attributes": [{"key": "ü", "value": {"stringValue": "x"}}]}
        ]}},
        {"name": "coarse", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{"scale": -5}]}},
        {"name": "wrong", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
            {"count": "1", "timeUnixNano": "5000000", "positive": {"bucketCounts": ["2"]}}
        ]}},
        {"name": "exemplar", "sum": {"aggregationTemporality": 2, "dataPoints": [
            {"timeUnixNano": "1000000", "asInt": 1, "exemplars": [{"traceId": "ab"}, {"asInt": 5}]}
        ]}},
    ]);
    let (shown, outcome) = read_metrics(metrics, &OtlpOptions::default(), None);
    expect![[r#"
        no_value 1 at 1
        exemplar 1 at 1 # {} 5 None
        refused series 0: nothing of the name "" is left in letters and digits; rename it, or keep UTF-8 names
        refused series 1 (no_value): the point has no value; set asDouble or asInt
        refused series 3 (no_temporality): the metric says neither delta nor cumulative; set its aggregation temporality
        refused series 4 (delta): deltas are not taken here; send cumulative sums
        refused series 5 (label): nothing of the name "ü" is left in letters and digits; rename it, or keep UTF-8 names
        refused series 6 (coarse): scale -5 is below -4, the coarsest that native histograms have; record it finer
        refused series 7 (wrong): the histogram at 5 ms is wrong: the buckets hold 2 observations, more than the count of 1
        refused series 8 (exemplar): an exemplar has no value; set asDouble or asInt
    "#]].assert_eq(&shown);
    assert_eq!((outcome.data_points, outcome.rejected), (9, 7));
    assert_eq!(
        outcome.message,
        "series 0: nothing of the name \"\" is left in letters and digits; rename it, or keep UTF-8 names"
    );
    let answer = json!({"partialSuccess": {"rejectedDataPoints": "7", "errorMessage": outcome.message}});
    assert_eq!(response_json(&outcome).parse::<Value>().unwrap(), answer);
    let mut bytes = Vec::new();
    put_message(1, &mut bytes, |out| {
        out.extend([0x08, 7]);
        put_text(2, &outcome.message, out);
    });
    assert_eq!(response(&outcome), bytes);
    assert_eq!(
        (response(&OtlpOutcome::default()), response_json(&OtlpOutcome::default())),
        (Vec::new(), "{}".to_owned())
    );
}

#[test]
fn points_without_a_value_end_their_series() {
    check(
        json!([
            {"name": "gauge", "gauge": {"dataPoints": [{"timeUnixNano": 1e6, "flags": 1}]}},
            {"name": "delta", "sum": {"dataPoints": [{"timeUnixNano": 1e6, "flags": 1}], "aggregationTemporality": 1}},
            {"name": "lat", "histogram": {"aggregationTemporality": 2, "dataPoints": [
                {"timeUnixNano": 1e6, "flags": 1, "bucketCounts": [0, 0], "explicitBounds": [1]}
            ]}},
            {"name": "native", "exponentialHistogram": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE",
                "dataPoints": [{"timeUnixNano": 1e6, "flags": 1}]}},
            {"name": "rpc", "summary": {"dataPoints": [
                {"timeUnixNano": 1e6, "flags": 1, "quantileValues": [{"quantile": 0.5}]}
            ]}},
        ]),
        expect![[r#"
            gauge stale at 1
            delta stale at 1
            lat_count stale at 1
            lat_bucket{le="1"} stale at 1
            lat_bucket{le="+Inf"} stale at 1
            native schema 0 count 0 sum stale zero 0 within 0 positive [] negative [] bounds [] at 1
            rpc_sum stale at 1
            rpc_count stale at 1
            rpc{quantile="0.5"} stale at 1
        "#]],
    );
}

#[test]
fn histograms_without_buckets_or_with_too_many() {
    let points = json!([
        {"timeUnixNano": 1e6, "count": 3, "sum": 4.5},
        {"timeUnixNano": 1e6, "count": 6, "bucketCounts": [1, 2, 3], "explicitBounds": [1, "Infinity"],
         "attributes": [{"key": "le", "value": {"stringValue": "mine"}}]},
        {"timeUnixNano": 1e6, "count": 3, "bucketCounts": [1, 2], "explicitBounds": [2, 1]},
    ]);
    let metrics = json!([{"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": points}}]);
    check(
        metrics.clone(),
        expect![[r#"
        h_sum 4.5 at 1
        h_count 3 at 1
        h_bucket{le="+Inf"} 3 at 1
        h_count{le="mine"} 6 at 1
        h_bucket{le="1"} 1 at 1
        h_bucket{le="+Inf"} 6 at 1
        h_count 3 at 1
        h_bucket{le="2"} 1 at 1
        h_bucket{le="1"} 3 at 1
        h_bucket{le="+Inf"} 3 at 1
    "#]],
    );
    let options = OtlpOptions { explicit_histograms: ExplicitHistograms::CustomBounds, ..OtlpOptions::default() };
    expect![[r#"
        h schema -53 count 3 sum 4.5 zero 0 within 0 positive [(0, 3.0)] negative [] bounds [] at 1
        h{le="mine"} schema -53 count 6 sum 0 zero 0 within 0 positive [(0, 1.0), (1, 5.0)] negative [] bounds [1.0] at 1
        refused series 2 (h): the histogram at 1 ms is wrong: custom bounds are wrong: they do not ascend
    "#]].assert_eq(&read_metrics(metrics, &options, None).0);
}

#[test]
fn deltas_become_totals() {
    let mut state = DeltaToCumulative::new(DeltaLimits::default(), 1);
    let mut shown = String::new();
    for (start, end) in [(0_u64, 1_u64), (1, 2), (1, 2), (2, 3)] {
        let times = |rest: Value| {
            let mut point = json!({"startTimeUnixNano": start * 1_000_000_000, "timeUnixNano": end * 1_000_000_000});
            point.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            json!({"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point]})
        };
        let metrics = json!([
            {"name": "requests", "sum": times(json!({"asInt": 5}))},
            {"name": "lat", "histogram": times(json!({"count": 2, "sum": 1.5, "bucketCounts": [1, 1], "explicitBounds": [1]}))},
            {"name": "native", "exponentialHistogram": times(json!({"count": 1, "sum": 1, "scale": end, "positive": {"offset": 8, "bucketCounts": [1]}}))},
        ]);
        let (more, outcome) = read_metrics(metrics, &OtlpOptions::default(), Some(&mut state));
        writeln!(shown, "{start} to {end}, {} rejected\n{more}", outcome.rejected).unwrap();
    }
    expect![[r#"
        0 to 1, 0 rejected
        requests_total 5 at 1000
        lat_sum 1.5 at 1000
        lat_count 2 at 1000
        lat_bucket{le="1"} 1 at 1000
        lat_bucket{le="+Inf"} 2 at 1000
        native schema 1 count 1 sum 1 zero 0 within 0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001 positive [(9, 1.0)] negative [] bounds [] at 1000

        1 to 2, 0 rejected
        requests_total 10 at 2000
        lat_sum 3 at 2000
        lat_count 4 at 2000
        lat_bucket{le="1"} 2 at 2000
        lat_bucket{le="+Inf"} 4 at 2000
        native schema 1 count 2 sum 2 zero 0 within 0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001 positive [(5, 1.0), (9, 1.0)] negative [] bounds [] at 2000

        1 to 2, 3 rejected
        refused series 0 (requests_total): the delta at 2000 ms is not later than one before; send each once and in order, or cumulative sums
        refused series 1 (lat): the delta at 2000 ms is not later than one before; send each once and in order, or cumulative sums
        refused series 2 (native): the delta at 2000 ms is not later than one before; send each once and in order, or cumulative sums

        2 to 3, 0 rejected
        requests_total 15 at 3000
        lat_sum 4.5 at 3000
        lat_count 6 at 3000
        lat_bucket{le="1"} 3 at 3000
        lat_bucket{le="+Inf"} 6 at 3000
        native schema 1 count 3 sum 3 zero 0 within 0.00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001 positive [(3, 1.0), (5, 1.0), (9, 1.0)] negative [] bounds [] at 3000

    "#]].assert_eq(&shown);
}

#[test]
fn a_resource_is_known_over_the_whole_time_of_its_points() {
    let point = |seconds: u64| json!({"timeUnixNano": seconds * 1_000_000_000, "asInt": 1});
    let resource = |attributes: Value, points: Value| {
        let metrics = json!([{"name": "m", "gauge": {"dataPoints": points}}]);
        json!({"resource": {"attributes": attributes}, "scopeMetrics": [{"metrics": metrics}]})
    };
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let (job, host) = (attribute("service.name", "shop"), attribute("host.name", "h"));
    let body = json!({"resourceMetrics": [
        resource(json!([job, host]), json!([point(400), point(0), point(100)])),
        resource(json!([job]), json!([point(1)])),
        resource(json!([host]), json!([point(1)])),
        resource(json!([job, host]), json!([])),
        resource(json!([attribute("service.instance.id", "i"), host]), json!([point(0), point(18_446_744_073)])),
    ]});
    let mut collected = Collected::default();
    decode_metrics_json(body.to_string().as_bytes(), &OtlpOptions::default(), None, &mut collected).unwrap();
    let infos: Vec<_> = collected.series.iter().filter(|s| s.labels.metric() == Some("target_info")).collect();
    let times = |at: usize| infos[at].samples.iter().map(|sample| sample.t_ms).collect::<Vec<_>>();
    assert_eq!(infos.len(), 2);
    assert_eq!(infos[0].labels.to_string(), r#"target_info{host_name="h", job="shop"}"#);
    assert_eq!(times(0), [0, 150_000, 300_000, 400_000]);
    assert_eq!((times(1).len(), times(1).last()), (577, Some(&18_446_744_073_000)));
}

#[test]
fn faults_of_json_name_line_and_column() {
    let mut told = String::new();
    for body in [
        "",
        "[]",
        "{\"resourceMetrics\": [\n{\"resource\": 5}]}",
        "{\"resourceMetrics\": {\"scopeMetrics\": [{\"metrics\": [{\"name\": 5}]}]}}",
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"timeUnixNano":-1}]}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":"x"}]}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":1.5}]}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asDouble":"x"}]}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"aggregationTemporality":"DELTA"}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"isMonotonic":1}}]}]}]}"#,
        r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"exemplars":[{"spanId":"abc"}]}]}}]}]}]}"#,
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"value":{"bytesValue":"?"}}]}}]}"#,
        "{} x",
    ] {
        let error = protobuf_of_json(body.as_bytes()).unwrap_err();
        writeln!(told, "{error}").unwrap();
    }
    let deep = format!("{{\"resourceMetrics\":[{{\"x\":{}", "[".repeat(100_000));
    writeln!(told, "{}", protobuf_of_json(deep.as_bytes()).unwrap_err()).unwrap();
    expect![[r#"
        EOF while parsing a value at line 1 column 0
        invalid type: sequence, expected an object at line 1 column 0
        `resource` is not an object or a list of objects at line 2 column 14
        `name` is not a text at line 1 column 61
        `timeUnixNano` is not a whole number, or one as a text at line 1 column 91
        `asInt` is not a whole number, or one as a text at line 1 column 85
        `asInt` is not a whole number, or one as a text at line 1 column 85
        `asDouble` is not a number at line 1 column 88
        `aggregationTemporality` is not a number or a name of the enum at line 1 column 89
        `isMonotonic` is not true or false at line 1 column 72
        `spanId` is not bytes in hexadecimal at line 1 column 102
        `bytesValue` is not bytes in base64 at line 1 column 73
        trailing characters at line 1 column 4
        EOF while parsing a list at line 1 column 100025
    "#]]
    .assert_eq(&told);
}

#[test]
fn json_takes_what_protojson_allows() {
    let body = json!({"unknown": {"x": [1]}, "resourceMetrics": [{"resource": null, "scopeMetrics": [{"metrics": [
        {"name": "m\u{e9}", "gauge": {"dataPoints": [{
            "timeUnixNano": 3_000_000, "asDouble": "NaN", "attributes": [
                {"key": "u", "value": {"bytesValue": "-_8"}},
                {"key": "s", "value": {"bytesValue": "+/8="}},
                {"key": "d", "value": {"doubleValue": "-Infinity"}},
                {"key": "i", "value": {"intValue": -5}},
                {"key": "b", "value": {"boolValue": false}},
            ]
        }]}}
    ]}]}]});
    let options = OtlpOptions { strategy: Strategy::NoTranslation, ..OtlpOptions::default() };
    let mut collected = Collected::default();
    decode_metrics_json(body.to_string().as_bytes(), &options, None, &mut collected).unwrap();
    collected.metadata.clear();
    expect![[r#"
        {"mé", b="false", d="-Inf", i="-5", s="+/8=", u="+/8="} NaN at 3
    "#]]
    .assert_eq(&show(&collected));
}

#[test]
fn a_request_over_a_limit_is_refused_whole() {
    let mut told = String::new();
    for limits in [
        IntakeLimits { decoded_bytes_max: 1000, ..IntakeLimits::default() },
        IntakeLimits { samples_max: 3, ..IntakeLimits::default() },
        IntakeLimits { histograms_max: 0, ..IntakeLimits::default() },
        IntakeLimits { exemplars_max: 1, ..IntakeLimits::default() },
        IntakeLimits { metadata_max: 1, ..IntakeLimits::default() },
    ] {
        let options = OtlpOptions { limits, ..OtlpOptions::default() };
        writeln!(told, "{}", decode_metrics(PROTOBUF, &options, None, &mut Collected::default()).unwrap_err()).unwrap();
    }
    let error =
        decode_metrics(&PROTOBUF[..PROTOBUF.len() - 1], &OtlpOptions::default(), None, &mut Collected::default());
    assert!(matches!(error, Err(OtlpError::Malformed { .. })));
    expect![[r#"
        the request has 1123 bytes, more than the 1000 that are taken; send fewer points at once
        the request has more than 3 samples; send it in several
        the request has more than 0 native histograms; send it in several
        the request has more than 1 exemplars; send it in several
        the request has more than 1 metrics; send it in several
    "#]]
    .assert_eq(&told);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..100), at in 0..PROTOBUF.len(), byte: u8) {
        let mut state = DeltaToCumulative::new(DeltaLimits::default(), 1);
        let mut changed = PROTOBUF.to_vec();
        changed[at] = byte;
        for body in [&bytes, &changed] {
            let _ = decode_metrics(body, &OtlpOptions::default(), Some(&mut state), &mut Collected::default());
            let _ = protobuf_of_json(body);
        }
    }

    /// Sums of deltas, whatever their sizes, come out as the running total.
    #[test]
    fn totals_are_running_sums(deltas in vec(0_u32..1000, 1..20)) {
        let mut state = DeltaToCumulative::new(DeltaLimits::default(), 1);
        let mut total = 0;
        for (at, delta) in deltas.iter().enumerate() {
            total += delta;
            let point = json!({"startTimeUnixNano": at, "timeUnixNano": at + 1, "asInt": delta});
            let sum = json!({"aggregationTemporality": 1, "dataPoints": [point]});
            let (shown, _) = read_metrics(json!([{"name": "m", "sum": sum}]), &OtlpOptions::default(), Some(&mut state));
            prop_assert!(shown.starts_with(&format!("m {total} at 0")), "{}", shown);
        }
    }
}

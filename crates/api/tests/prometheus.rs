//! The Prometheus API as its clients meet it, on a few series in memory.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests fail by panicking")]

#[path = "common/memory.rs"]
mod memory;

use std::{io::Read as _, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use homeostat_api::prometheus::{About, PrometheusApi, QueryPolicy, backend::ExemplarSeries};
use homeostat_model::{Histogram, Labels, SampleRun, histogram::Buckets, sample::stale_marker};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use memory::{Memory, Trouble, exemplar};

/// The API over a backend, and the backend.
struct World {
    memory: Arc<Memory>,
    api: Arc<PrometheusApi>,
    router: Router,
}

fn world(memory: Memory) -> World {
    world_with(memory, |_| ())
}

fn world_with(memory: Memory, change: impl FnOnce(&mut QueryPolicy)) -> World {
    let memory = Arc::new(memory);
    let mut policy = QueryPolicy { timeout: Duration::from_mins(1), concurrency: 4, ..QueryPolicy::default() };
    change(&mut policy);
    let about = About { flags: [("query.timeout".to_owned(), "1m".to_owned())].into(), retention: "30d".to_owned() };
    let api = PrometheusApi::new(Arc::clone(&memory) as _, policy, about);
    World { memory, router: api.router(), api }
}

/// Three series that scripts ask for.
fn fleet() -> Memory {
    Memory::default()
        .floats(&[("__name__", "up"), ("job", "api"), ("instance", "a:1")], &[(0, 1.0), (60_000, 0.0)])
        .floats(&[("__name__", "up"), ("job", "db"), ("instance", "b:1")], &[(60_000, 1.0)])
        .floats(&[("__name__", "http.requests"), ("a b", "x\"y")], &[(15_000, 0.5)])
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The data of a success.
    #[track_caller]
    fn data(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status, &json["status"]), (StatusCode::OK, &json!("success")), "{json}");
        assert_eq!(self.headers["content-type"], "application/json");
        json["data"].clone()
    }

    /// Status, type and text of an error.
    #[track_caller]
    fn error(&self) -> (u16, String, String) {
        let json = self.json();
        assert_eq!(json["status"], "error", "{json}");
        let text = |key: &str| json[key].as_str().unwrap().to_owned();
        (self.status.as_u16(), text("errorType"), text("error"))
    }
}

impl World {
    async fn ask(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    async fn get(&self, path: &str, params: &[(&str, &str)]) -> Answer {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        self.ask(Request::get(format!("{path}?{query}")).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, params: &[(&str, &str)]) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        self.ask(request.body(Body::from(form)).unwrap()).await
    }

    /// The same by both methods, which must not differ.
    async fn both(&self, path: &str, params: &[(&str, &str)]) -> Answer {
        let (get, post) = (self.get(path, params).await, self.post(path, params).await);
        assert_eq!((get.status, get.text()), (post.status, post.text()), "{path} {params:?}");
        get
    }
}

#[tokio::test]
async fn series_are_found_by_any_of_the_selectors() {
    let world = world(fleet());
    let found =
        world.both("/api/v1/series", &[("match[]", "up{job=\"api\"}"), ("match[]", "{\"a b\"=~\"x.*\"}")]).await;
    assert_eq!(
        found.data(),
        json!([
            { "__name__": "http.requests", "a b": "x\"y" },
            { "__name__": "up", "job": "api", "instance": "a:1" },
        ])
    );
    let early = world.both("/api/v1/series", &[("match[]", "up"), ("end", "30")]).await;
    assert_eq!(early.data().as_array().unwrap().len(), 1);
    let first = world.both("/api/v1/series", &[("match[]", "up"), ("limit", "1")]).await;
    assert_eq!(first.json()["warnings"], json!(["results truncated due to limit"]));
    assert_eq!(first.data().as_array().unwrap().len(), 1);
    let all = world.both("/api/v1/series", &[("match[]", "up"), ("limit", "2")]).await;
    assert_eq!((all.data().as_array().unwrap().len(), &all.json()["warnings"]), (2, &Value::Null));
}

#[tokio::test]
async fn labels_and_their_values_are_listed() {
    let world = world(fleet());
    assert_eq!(world.both("/api/v1/labels", &[]).await.data(), json!(["__name__", "a b", "instance", "job"]));
    let of_up = world.both("/api/v1/labels", &[("match[]", "up")]).await;
    assert_eq!(of_up.data(), json!(["__name__", "instance", "job"]));
    for (path, expected) in [
        ("/api/v1/label/job/values", json!(["api", "db"])),
        ("/api/v1/label/__name__/values", json!(["http.requests", "up"])),
        ("/api/v1/label/U__a_20_b/values", json!(["x\"y"])),
        ("/api/v1/label/a%20b/values", json!(["x\"y"])),
        ("/api/v1/label/none/values", json!([])),
        ("/api/v1/label/job/values?match[]=up%7Binstance%3D%22b:1%22%7D", json!(["db"])),
        ("/api/v1/label/job/values?limit=1", json!(["api"])),
    ] {
        let answer = world.ask(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.data(), expected, "{path}");
    }
}

#[tokio::test]
async fn instant_queries_give_every_kind_of_value() {
    let world = world(fleet());
    let ask =
        async |query: &str, time: &str| world.both("/api/v1/query", &[("query", query), ("time", time)]).await.data();
    assert_eq!(
        ask("up", "60").await,
        json!({ "resultType": "vector", "result": [
            { "metric": { "__name__": "up", "instance": "a:1", "job": "api" }, "value": [60, "0"] },
            { "metric": { "__name__": "up", "instance": "b:1", "job": "db" }, "value": [60, "1"] },
        ] })
    );
    assert_eq!(
        ask("1e21 * 10", "1.5").await,
        json!({ "resultType": "scalar", "result": [1.5, "10000000000000000000000"] })
    );
    assert_eq!(ask("-1 / 0", "2015-07-01T20:10:51.781Z").await["result"], json!([1_435_781_451.781, "-Inf"]));
    assert_eq!(ask("'a\\'b'", "0").await, json!({ "resultType": "string", "result": [0, "a'b"] }));
    assert_eq!(
        ask("up{job=\"api\"}[2m]", "60").await,
        json!({ "resultType": "matrix", "result": [
            { "metric": { "__name__": "up", "instance": "a:1", "job": "api" }, "values": [[0, "1"], [60, "0"]] },
        ] })
    );
    assert_eq!(ask("none", "0").await, json!({ "resultType": "vector", "result": [] }));
    let sorted = ask("sort_desc(up)", "60").await;
    assert_eq!(sorted["result"][0]["value"], json!([60, "1"]), "the order of evaluation is kept");
    assert_eq!(ask("up offset 1w", "700000").await["result"], json!([]));
}

#[tokio::test]
async fn range_queries_give_series_sorted_by_their_labels() {
    let world = world(fleet());
    let params = [("query", "up + 1"), ("start", "0"), ("end", "120"), ("step", "1m")];
    assert_eq!(
        world.both("/api/v1/query_range", &params).await.data(),
        json!({ "resultType": "matrix", "result": [
            { "metric": { "instance": "a:1", "job": "api" }, "values": [[0, "2"], [60, "1"], [120, "1"]] },
            { "metric": { "instance": "b:1", "job": "db" }, "values": [[60, "2"], [120, "2"]] },
        ] })
    );
    let scalar = [("query", "time()"), ("start", "0"), ("end", "1"), ("step", "0.5")];
    assert_eq!(
        world.both("/api/v1/query_range", &scalar).await.data()["result"],
        json!([{ "metric": {}, "values": [[0, "0"], [0.5, "0.5"], [1, "1"]] }])
    );
}

#[tokio::test]
async fn histograms_have_their_own_fields() {
    let histogram = Histogram {
        count: 3.0,
        sum: 6.5,
        positive: Buckets::from_sorted([(0, 1.0), (2, 2.0)]),
        ..Histogram::default()
    };
    let run = SampleRun::histograms(vec![1_000], vec![Arc::new(histogram)]);
    let world = world(Memory::default().run(&[("__name__", "h")], run));
    let shown = json!({ "count": "3", "sum": "6.5", "buckets": [[0, "0.5", "1", "1"], [0, "2", "4", "2"]] });
    let metric = json!({ "__name__": "h" });
    let instant = world.both("/api/v1/query", &[("query", "h"), ("time", "1")]).await.data();
    assert_eq!(instant["result"], json!([{ "metric": metric, "histogram": [1, shown] }]));
    let range = world.both("/api/v1/query_range", &[("query", "h"), ("start", "1"), ("end", "2"), ("step", "1")]).await;
    assert_eq!(range.data()["result"], json!([{ "metric": metric, "histograms": [[1, shown], [2, shown]] }]));
}

#[tokio::test]
async fn remarks_and_limits_are_told_beside_the_result() {
    let world = world(fleet());
    let remarked = world.both("/api/v1/query", &[("query", "quantile(2, up)"), ("time", "60")]).await;
    assert_eq!(
        remarked.json()["warnings"],
        json!(["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"])
    );
    let info = world.both("/api/v1/query", &[("query", "rate(up[5m])"), ("time", "60")]).await.json();
    assert!(info["infos"][0].as_str().unwrap().starts_with("PromQL info: metric might not be a counter"), "{info}");
    let cut = world.both("/api/v1/query", &[("query", "up"), ("time", "60"), ("limit", "1")]).await;
    assert_eq!(cut.data()["result"].as_array().unwrap().len(), 1);
    assert_eq!(cut.json()["warnings"], json!(["results truncated due to limit"]));
    let all = world.both("/api/v1/query", &[("query", "up"), ("time", "60"), ("limit", "2")]).await.json();
    assert_eq!((&all["warnings"], &all["infos"]), (&Value::Null, &Value::Null));
    let stats = world.get("/api/v1/query", &[("query", "up"), ("stats", "all")]).await.data();
    assert!(stats["stats"]["timings"]["execTotalTime"].is_number(), "{stats}");
    let short = world.get("/api/v1/query", &[("query", "up"), ("time", "90"), ("lookback_delta", "20s")]).await;
    assert_eq!(short.data()["result"], json!([]));
}

#[tokio::test]
async fn queries_that_cannot_be_are_told_apart_from_those_that_fail() {
    let world = world(fleet());
    for (path, params, expected) in [
        (
            "/api/v1/query",
            &[("query", "")][..],
            (
                400,
                "bad_data",
                "invalid parameter \"query\": unknown position: parse error: no expression found in input",
            ),
        ),
        (
            "/api/v1/query",
            &[("query", "up"), ("timeout", "x")],
            (400, "bad_data", "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration"),
        ),
        (
            "/api/v1/query",
            &[("query", "up"), ("lookback_delta", "0")],
            (400, "bad_data", "invalid parameter \"lookback_delta\": it must be positive"),
        ),
        (
            "/api/v1/query_range",
            &[("query", "up")],
            (400, "bad_data", "invalid parameter \"start\": cannot parse \"\" to a valid timestamp"),
        ),
        (
            "/api/v1/query_range",
            &[("query", "up"), ("start", "2"), ("end", "1"), ("step", "1")],
            (400, "bad_data", "invalid parameter \"end\": end timestamp must not be before start time"),
        ),
        (
            "/api/v1/query_range",
            &[("query", "up[5m]"), ("start", "0"), ("end", "1"), ("step", "1")],
            (
                400,
                "bad_data",
                "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
            ),
        ),
        (
            "/api/v1/query_range",
            &[("query", "up"), ("start", "0"), ("end", "11001"), ("step", "1")],
            (
                400,
                "bad_data",
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ),
        ),
        (
            "/api/v1/query_range",
            &[("query", "up"), ("start", "0"), ("end", "1"), ("step", "0.0001")],
            (
                400,
                "bad_data",
                "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
            ),
        ),
    ] {
        let (status, kind, text) = world.both(path, params).await.error();
        assert_eq!((status, kind.as_str(), text.as_str()), expected, "{path} {params:?}");
    }
    let (status, kind, text) = world.both("/api/v1/query", &[("query", "up * on () up"), ("time", "60")]).await.error();
    assert_eq!((status, kind.as_str()), (422, "execution"), "{text}");
    // Exactly 11,000 steps are a query like any other.
    let most = [("query", "1"), ("start", "0"), ("end", "11000"), ("step", "1")];
    assert_eq!(
        world.get("/api/v1/query_range", &most).await.data()["result"][0]["values"].as_array().unwrap().len(),
        11_001
    );
}

#[tokio::test]
async fn samples_in_memory_have_a_limit() {
    let few = |policy: &mut QueryPolicy| policy.options.limits.samples_max = 1;
    let world = world_with(fleet(), few);
    let (status, kind, text) = world.both("/api/v1/query", &[("query", "up"), ("time", "60")]).await.error();
    assert_eq!((status, kind.as_str()), (422, "execution"));
    assert!(text.starts_with("query processing would load too many samples into memory in query execution"), "{text}");
}

#[tokio::test]
async fn a_request_may_shorten_its_time_but_not_lengthen_it() {
    let world = world_with(Memory { trouble: Trouble::Endless, ..fleet() }, |policy| {
        policy.timeout = Duration::from_millis(200);
    });
    for timeout in ["50ms", "1y"] {
        let began = std::time::Instant::now();
        let (status, kind, text) = world.get("/api/v1/query", &[("query", "up"), ("timeout", timeout)]).await.error();
        assert_eq!((status, kind.as_str()), (503, "timeout"));
        assert_eq!(text, "query timed out in expression evaluation");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test]
async fn queries_are_laid_out_and_taken_apart() {
    let world = world(Memory::default());
    let formatted = world.both("/api/v1/format_query", &[("query", "sum by(job)( rate(up [5m])) /on(job)x")]).await;
    assert_eq!(formatted.data(), "sum by (job) (rate(up[5m])) / on (job) x");
    let tree = world.both("/api/v1/parse_query", &[("query", "sum by(job) (x)")]).await.data();
    assert_eq!(
        (&tree["type"], &tree["op"], &tree["expr"]["name"]),
        (&json!("aggregation"), &json!("sum"), &json!("x"))
    );
    for path in ["/api/v1/format_query", "/api/v1/parse_query"] {
        let (status, kind, text) = world.both(path, &[("query", "sum(")]).await.error();
        assert_eq!((status, kind.as_str()), (400, "bad_data"));
        assert_eq!(text, "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis");
    }
}

#[tokio::test]
async fn wrong_parameters_are_told_in_the_words_that_clients_know() {
    let world = world(fleet());
    for (path, params, expected) in [
        ("/api/v1/series", &[][..], "no match[] parameter provided"),
        ("/api/v1/series", &[("match[]", "{}")], "match[] must contain at least one non-empty matcher"),
        ("/api/v1/labels", &[("match[]", "{a=~\".*\"}")], "match[] must contain at least one non-empty matcher"),
        (
            "/api/v1/series",
            &[("match[]", "up"), ("start", "x")],
            "invalid parameter \"start\": cannot parse \"x\" to a valid timestamp",
        ),
        (
            "/api/v1/labels",
            &[("start", "5"), ("end", "4")],
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        ("/api/v1/labels", &[("limit", "-1")], "invalid parameter \"limit\": limit must be non-negative"),
        ("/api/v1/labels", &[("limit", "many")], "invalid parameter \"limit\": \"many\" is not a whole number"),
        (
            "/api/v1/query_exemplars",
            &[("query", "up"), ("start", "2"), ("end", "1")],
            "end timestamp must not be before start timestamp",
        ),
    ] {
        assert_eq!(world.both(path, params).await.error(), (400, "bad_data".to_owned(), expected.to_owned()), "{path}");
    }
    let (status, kind, text) = world.both("/api/v1/series", &[("match[]", "up{")]).await.error();
    assert!(
        (status, kind.as_str()) == (400, "bad_data")
            && text.starts_with("invalid parameter \"match[]\": 1:4: parse error:"),
        "{text}"
    );
}

#[tokio::test]
async fn exemplars_are_those_of_the_selectors_in_a_query() {
    let labels = Labels::new([("__name__", "up"), ("job", "db"), ("instance", "b:1")]);
    let exemplars = vec![exemplar("abc", 0.25, 61_500)];
    let memory = Memory { exemplars: vec![ExemplarSeries { labels, exemplars }], ..fleet() };
    let world = world(memory);
    let expected = json!([{
        "seriesLabels": { "__name__": "up", "job": "db", "instance": "b:1" },
        "exemplars": [{ "labels": { "trace_id": "abc" }, "value": "0.25", "timestamp": 61.5 }],
    }]);
    let path = "/api/v1/query_exemplars";
    let query = "sum(rate(up{job=\"db\"}[5m])) / on () vector(1)";
    assert_eq!(world.both(path, &[("query", query)]).await.data(), expected);
    assert_eq!(world.both(path, &[("query", "up{job=\"api\"}")]).await.data(), json!([]));
    assert_eq!(world.both(path, &[("query", "1 + 1")]).await.data(), json!([]));
}

#[tokio::test]
async fn what_is_known_about_metrics_is_told() {
    let world = world(fleet());
    let goroutines = json!([{ "type": "gauge", "help": "Goroutines that \"exist\".", "unit": "" }]);
    let all = world.get("/api/v1/metadata", &[]).await.data();
    assert_eq!((&all["go_goroutines"], all.as_object().unwrap().len()), (&goroutines, 2));
    assert_eq!(world.get("/api/v1/metadata", &[("metric", "up")]).await.data()["up"][0]["type"], "unknown");
    assert_eq!(world.get("/api/v1/metadata", &[("limit", "1")]).await.data().as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_reload_over_the_api_has_to_be_allowed_and_tells_what_is_wrong() {
    let ask = |world: World| async move { world.ask(Request::post("/-/reload").body(Body::empty()).unwrap()).await };
    let refused = ask(world(fleet())).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text().contains("--enable-lifecycle"), "{}", refused.text());
    let allowed = ask(world_with(fleet(), |policy| policy.lifecycle = true)).await;
    assert_eq!(allowed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(allowed.text(), "failed to reload config: 1:1: unknown key\n");
}

#[tokio::test]
async fn probes_of_clients_are_answered() {
    let world = world(fleet());
    for (path, pointer, expected) in [
        ("/api/v1/status/buildinfo", "/application", json!("Homeostat")),
        ("/api/v1/status/config", "/yaml", json!("global: {}\n")),
        ("/api/v1/status/flags", "/query.timeout", json!("1m")),
        ("/api/v1/status/runtimeinfo", "/storageRetention", json!("30d")),
        ("/api/v1/status/tsdb", "/headStats/numSeries", json!(3)),
        ("/api/v1/status/tsdb?limit=1", "/seriesCountByMetricName", json!([{ "name": "up", "value": 2 }])),
        ("/api/v1/status/walreplay", "/current", json!(0)),
        ("/api/v1/targets", "/activeTargets", json!([])),
        ("/api/v1/targets/metadata", "", json!([])),
        ("/api/v1/scrape_pools", "/scrapePools", json!([])),
        ("/api/v1/rules", "/groups", json!([])),
        ("/api/v1/alerts", "/alerts", json!([])),
        ("/api/v1/alertmanagers", "/activeAlertmanagers", json!([])),
    ] {
        let data = world.get(path.split('?').next().unwrap(), &[]).await.data();
        let data = if path.contains('?') {
            world.ask(Request::get(path).body(Body::empty()).unwrap()).await.data()
        } else {
            data
        };
        assert_eq!(data.pointer(pointer), Some(&expected), "{path}");
    }
    let major: u32 = {
        let version = world.get("/api/v1/status/buildinfo", &[]).await.data()["version"].as_str().unwrap().to_owned();
        version.split('.').next().unwrap().parse().unwrap()
    };
    assert!(major >= 3, "clients switch features on by it");
}

#[tokio::test]
async fn a_store_that_is_not_ready_is_asked_again() {
    let world = world(Memory { not_ready: Some("the log is being read".to_owned()), ..fleet() });
    for path in ["/api/v1/query", "/api/v1/labels", "/federate"] {
        let answer = world.get(path, &[("query", "up"), ("match[]", "up")]).await;
        assert_eq!(answer.error(), (503, "unavailable".to_owned(), "the log is being read".to_owned()), "{path}");
        assert_eq!(answer.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn nothing_else_is_here() {
    let world = world(fleet());
    for path in ["/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/label/job"] {
        let (status, kind, _) = world.get(path, &[]).await.error();
        assert_eq!((status, kind.as_str()), (404, "not_found"), "{path}");
    }
    let deleted = Request::builder().method(Method::DELETE).uri("/api/v1/labels").body(Body::empty()).unwrap();
    assert_eq!(world.ask(deleted).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn federation_gives_the_newest_sample_that_still_counts() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let (fresh, old) = (now - 10_000, now - 3_600_000);
    let memory = Memory::default()
        .floats(&[("__name__", "up"), ("job", "b"), ("instance", "i")], &[(fresh - 5, 3.0), (fresh, 1.5)])
        .floats(&[("__name__", "up"), ("job", "a")], &[(fresh, f64::INFINITY)])
        .floats(&[("__name__", "up"), ("job", "gone")], &[(fresh - 5, 1.0), (fresh, stale_marker())])
        .floats(&[("__name__", "up"), ("job", "old")], &[(old, 1.0)])
        .floats(&[("__name__", "a.b")], &[(fresh, 2.0)]);
    let world = world(memory);
    let answer = world.get("/federate", &[("match[]", "up"), ("match[]", "{\"a.b\"}"), ("match[]", "up")]).await;
    assert_eq!(
        answer.text(),
        format!(
            "# TYPE a_b untyped\na_b{{instance=\"\"}} 2 {fresh}\n# TYPE up untyped\nup{{instance=\"i\",job=\"b\"}} 1.5 \
             {fresh}\nup{{job=\"a\",instance=\"\"}} +Inf {fresh}\n"
        )
    );
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
}

#[tokio::test]
async fn troubles_of_the_store_have_their_own_statuses() {
    let ask = async |trouble| {
        let world = world(Memory { trouble, ..fleet() });
        world.get("/api/v1/series", &[("match[]", "up")]).await.error()
    };
    assert_eq!(
        ask(Trouble::Broken).await,
        (500, "internal".to_owned(), "cannot read series: block 7 is damaged".to_owned())
    );
    let (status, kind, text) = ask(Trouble::Limit).await;
    assert!((status, kind.as_str()) == (422, "execution") && text.contains("narrow its selectors"), "{text}");
}

#[tokio::test]
async fn what_takes_too_long_ends_and_so_does_what_waits_behind_it() {
    let slow = |policy: &mut QueryPolicy| {
        (policy.timeout, policy.concurrency) = (Duration::from_millis(50), 1);
    };
    let world = world_with(Memory { trouble: Trouble::Endless, ..fleet() }, slow);
    let selector = [("match[]", "up")];
    let (running, waiting) =
        tokio::join!(world.get("/api/v1/series", &selector), world.get("/api/v1/series", &selector));
    let mut texts = [running.error(), waiting.error()].map(|(status, kind, text)| {
        assert_eq!((status, kind.as_str()), (503, "timeout"));
        text
    });
    texts.sort();
    assert_eq!(texts[0], "query timed out in expression evaluation");
    let mut metrics = String::new();
    world.api.metrics(&mut metrics);
    assert!(metrics.contains("homeostat_queries_timed_out_total 2\n"), "{metrics}");
    assert!(metrics.contains("operation=\"series\",code=\"503\"} 2\n"), "{metrics}");
}

#[tokio::test]
async fn work_ends_when_its_client_goes_away() {
    let world = world(Memory { trouble: Trouble::Endless, ..fleet() });
    let asked = Request::get("/api/v1/series?match[]=up").body(Body::empty()).unwrap();
    let asking = tokio::spawn(world.router.clone().oneshot(asked));
    until(|| metric(&world, "homeostat_queries_running") == 1).await;
    asking.abort();
    until(|| world.memory.stopped.lock().unwrap().is_some()).await;
    until(|| metric(&world, "homeostat_queries_running") == 0).await;
}

fn metric(world: &World, name: &str) -> u64 {
    let mut metrics = String::new();
    world.api.metrics(&mut metrics);
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {name} in\n{metrics}")).parse().unwrap()
}

/// Lets others run until something holds.
async fn until(holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "waited in vain");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn long_answers_come_in_pieces_and_compressed_for_those_who_ask() {
    let mut memory = Memory::default();
    for n in 0..5_000 {
        memory.series.push((Labels::new([("__name__", "m"), ("n", &*n.to_string())]), vec![]));
        let run = SampleRun::floats(vec![0], vec![0.0]);
        memory.series.last_mut().unwrap().1.push(run);
    }
    let world = world(memory);
    let path = "/api/v1/series?match[]=m";
    let plain = world.ask(Request::get(path).body(Body::empty()).unwrap()).await;
    assert_eq!(plain.data().as_array().unwrap().len(), 5_000);
    assert!(plain.headers.get("content-length").is_none(), "sent in pieces");
    let packed = Request::get(path).header("accept-encoding", "br, gzip;q=0.5").body(Body::empty()).unwrap();
    let packed = world.ask(packed).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() * 4 < plain.body.len(), "{}", packed.body.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&*packed.body).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    let not_at_all = Request::get(path).header("accept-encoding", "gzip;q=0, br").body(Body::empty()).unwrap();
    assert!(world.ask(not_at_all).await.headers.get("content-encoding").is_none());
}

#[tokio::test]
async fn forms_have_a_limit_and_other_bodies_are_left_alone() {
    let world = world(fleet());
    let form = |len: usize| {
        let request = Request::post("/api/v1/labels").header("content-type", "application/x-www-form-urlencoded");
        request.body(Body::from("x".repeat(len))).unwrap()
    };
    assert_eq!(world.ask(form(1 << 20)).await.status, StatusCode::OK);
    let (status, kind, text) = world.ask(form((1 << 20) + 1)).await.error();
    assert_eq!((status, kind.as_str(), text.as_str()), (413, "bad_data", "the form has more than 1048576 bytes"));
    let json = Request::post("/api/v1/labels?match[]=up").header("content-type", "application/json");
    assert_eq!(world.ask(json.body(Body::from("{")).unwrap()).await.data(), json!(["__name__", "instance", "job"]));
}

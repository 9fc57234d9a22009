//! The API as clients meet it: curl against a server on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod common;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use homeostat_api::{
    ApiServer, BindError, Console, TokensRefused,
    backend::{NewChange, Operation},
    catalogue,
    spec::{ApiSpec, Role, TokenSpec},
};
use homeostat_model::{ActionId, ChangeKind, Span, action::Decision, rollout::Verb};
use sha2::{Digest as _, Sha256};

use common::{CONSOLE, Server, fake::Fake, schema};

fn open() -> Server {
    Server::start(Fake::default(), Vec::new())
}

/// A path of the table with names that the fake backend knows.
fn concrete(path: &str) -> String {
    let name = if path.contains("/objectives/") { "shop-availability" } else { "shop" };
    let id = if path.contains("/actions/") { "A-7" } else { "3" };
    path.replace("{name}", name).replace("{verb}", "pause").replace("{id}", id)
}

/// What a POST to this path takes.
fn body_for(path: &str) -> &'static str {
    match path {
        path if path.ends_with("/decide") => r#"{"decision":"approve"}"#,
        path if path.ends_with("/break-glass") => r#"{"engaged":true,"reason":"drill"}"#,
        path if path.ends_with("/changes") => r#"{"kind":"deploy","service":"shop","summary":"build 7"}"#,
        _ => r#"{"reason":"because"}"#,
    }
}

#[test]
fn every_operation_is_served_documented_and_answers_what_its_schema_says() {
    let server = open();
    let document = server.get("/homeostat/v1/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut checked = 0;
    for (method, path, id) in catalogue() {
        let operation = &document["paths"][path][method.to_lowercase()];
        assert_eq!(operation["operationId"], id, "{method} {path} is not in the document");
        if id == "events" {
            continue;
        }
        let reply = match method {
            "POST" => server.post(&concrete(path), body_for(path)),
            _ => server.get(&concrete(path)),
        };
        let expected = &operation["responses"][reply.status().to_string()];
        assert!((200..300).contains(&reply.status()), "{method} {path}: {}\n{}", reply.head, reply.body);
        assert!(expected.is_object(), "{method} {path} answered {}, which is not documented", reply.status());
        if let Some(schema) = expected.pointer("/content/application~1json/schema") {
            schema::check(&document, schema, &reply.json(), path).unwrap();
            checked += 1;
        }
    }
    assert_eq!(checked, 20, "operations whose answers were compared with their schema");
}

#[test]
fn nothing_undocumented_is_served() {
    let server = open();
    let document = server.get("/homeostat/v1/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    let documented: usize = paths.values().map(|methods| methods.as_object().unwrap().len()).sum();
    assert_eq!(documented, catalogue().count());
    for (path, methods) in paths {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            if methods.get(method.to_lowercase()).is_none() {
                let reply = server.curl(&concrete(path), &["-X", method], None);
                let _ = reply.problem(405, "method_not_allowed");
                let allow = reply.header("allow").unwrap();
                assert_eq!(allow.contains("get"), methods.get("get").is_some(), "{path}: {allow}");
            }
        }
    }
    for path in ["/homeostat", "/homeostat/v1", "/homeostat/v1/", "/homeostat/v1/services/", "/homeostat/v2/view", "/x"]
    {
        let _ = server.get(path).problem(404, "not_found");
    }
}

#[test]
fn examples_of_problems_and_of_every_item_fit_the_document() {
    let server = open();
    let document = server.get("/homeostat/v1/openapi.json").json();
    let problem = document.pointer("/components/responses/problem/content/application~1problem+json/schema").unwrap();
    let reply = server.get("/homeostat/v1/services/none");
    schema::check(&document, problem, &reply.json(), "problem").unwrap();

    let item = document.pointer("/paths/~1homeostat~1v1~1events/get/responses/200/content/text~1event-stream/schema");
    let mut stream = Stream::open(&server, "/homeostat/v1/events");
    let (_, view) = stream.next();
    server.backend.send(common::fake::traffic(3));
    let (_, traffic) = stream.next();
    for json in [view, traffic] {
        schema::check(&document, item.unwrap(), &json, "item").unwrap();
    }
}

#[test]
fn changes_are_announced_within_limits() {
    let server = open();
    let announce = |body: &str| server.post("/homeostat/v1/changes", body);
    let done = announce(r#"{"kind":"flag","service":"shop","version":"v2","summary":" fast\ncheckout on "}"#);
    assert_eq!((done.status(), done.body.as_str()), (204, ""));
    assert_eq!(announce(r#"{"kind":"other","summary":"new cable"}"#).status(), 204);
    let asked = server.backend.asked.lock().unwrap().clone();
    let change = |kind, service: Option<&str>, version: Option<&str>, summary: &str| Operation::Announce {
        change: NewChange {
            kind,
            service: service.map(|name| name.parse().unwrap()),
            version: version.map(|name| name.parse().unwrap()),
            summary: summary.to_owned(),
            at: None,
        },
    };
    assert_eq!(
        asked.into_iter().map(|(operation, by, _)| (operation, by)).collect::<Vec<_>>(),
        [
            (change(ChangeKind::Flag, Some("shop"), Some("v2"), "fast checkout on"), "local".to_owned()),
            (change(ChangeKind::Other, None, None, "new cable"), "local".to_owned()),
        ]
    );
    let longest = format!(r#"{{"kind":"deploy","summary":"{}"}}"#, "ü".repeat(300));
    assert_eq!(announce(&longest).status(), 204);
    for (body, says) in [
        (longest.replace('ü', "üx"), "1 to 300 characters"),
        (r#"{"kind":"deploy","summary":" "}"#.to_owned(), "1 to 300 characters"),
        (r#"{"kind":"party","summary":"x"}"#.to_owned(), "party"),
        (r#"{"kind":"deploy"}"#.to_owned(), "summary"),
        (r#"{"kind":"deploy","summary":"x","who":"me"}"#.to_owned(), "who"),
        (r#"{"kind":"deploy","summary":"x","at":5}"#.to_owned(), "within 24 hours"),
        (r#"{"kind":"deploy","summary":"x","service":"no such name"}"#.to_owned(), "name"),
    ] {
        let detail = announce(&body).problem(422, "unprocessable");
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let _ = announce(r#"{"kind":"deploy","summary":"x","service":"cart"}"#).problem(404, "not_found");
}

#[test]
fn operations_reach_the_backend_with_actor_and_reason() {
    let server = open();
    let done = server.post("/homeostat/v1/rollouts/shop/start_frozen", r#"{"reason":"hot\nfix"}"#);
    assert_eq!((done.status(), done.body.as_str()), (204, ""));
    assert_eq!(server.curl("/homeostat/v1/rollouts/shop/abort", &["-X", "POST"], None).status(), 204);
    let extend = r#"{"decision":"extend","ttl":60000000000,"reason":"longer"}"#;
    assert_eq!(server.post("/homeostat/v1/actions/a-7/decide", extend).status(), 204);
    let asked = server.backend.asked.lock().unwrap().clone();
    let rollout = |verb| Operation::Rollout { rollout: "shop".parse().unwrap(), verb };
    let decision = Decision::Extend { ttl: Span::from_secs(60) };
    let line = |operation, reason: &str| (operation, "local".to_owned(), reason.to_owned());
    assert_eq!(
        asked,
        [
            line(rollout(Verb::StartFrozen), "hot fix"),
            line(rollout(Verb::Abort), ""),
            line(Operation::Decide { action: ActionId(7), decision }, "longer"),
        ]
    );
}

#[test]
fn refusals_say_why() {
    let server = open();
    let post = |path: &str| server.post(path, "{}");
    let detail = post("/homeostat/v1/rollouts/frozen/start").problem(409, "refused");
    assert_eq!(detail, "v2 is frozen; `start_frozen` overrides it");
    let _ = post("/homeostat/v1/rollouts/none/start").problem(404, "not_found");
    let _ = post("/homeostat/v1/rollouts/stuck/start").problem(503, "outcome_unknown");
    let detail = post("/homeostat/v1/rollouts/shop/fly").problem(404, "not_found");
    assert!(detail.contains("start, start_frozen, pause"), "{detail}");
    let _ = post("/homeostat/v1/rollouts/a%2Fb/start").problem(404, "not_found");
    let _ = server.get("/homeostat/v1/incidents/13").problem(503, "unavailable");
    let _ = server.get("/homeostat/v1/incidents/99").problem(404, "not_found");
    let _ = server.get("/homeostat/v1/incidents/x").problem(400, "bad_request");
    let _ = server.get("/homeostat/v1/incidents/5/black-box").problem(404, "not_found");
    let _ = server.get("/homeostat/v1/incidents?limit=0").problem(400, "bad_request");
    let _ = server.get("/homeostat/v1/incidents?limit=501").problem(400, "bad_request");
    let _ = server.get("/homeostat/v1/incidents?colour=red").problem(400, "bad_request");
    let _ = server.get("/homeostat/v1/events?types=view,gossip").problem(400, "bad_request");
    let _ = server.get("/homeostat/v1/services/%FF").problem(400, "bad_request");
}

#[test]
fn bodies_are_checked_before_they_are_believed() {
    let server = open();
    let path = "/homeostat/v1/rollouts/shop/pause";
    let send = |media_type: &str, body: &str| {
        let header = format!("content-type: {media_type}");
        server.curl(path, &["-X", "POST", "-H", &header], Some(body.as_bytes()))
    };
    let json = "application/json";
    let _ = send(json, r#"{"reason":"#).problem(400, "malformed_json");
    let _ = send(json, "\u{0}").problem(400, "malformed_json");
    let _ = send(json, &"[".repeat(5_000)).problem(400, "malformed_json");
    let _ = send(json, r#"{"reason":7}"#).problem(422, "unprocessable");
    let _ = send(json, r#"{"raison":"x"}"#).problem(422, "unprocessable");
    let _ = send(json, "[]").problem(422, "unprocessable");
    let _ = send(json, &format!(r#"{{"reason":"{}"}}"#, "x".repeat(1_001))).problem(422, "unprocessable");
    let _ = send("text/plain", r#"{"reason":"x"}"#).problem(415, "unsupported_media_type");
    let _ = send("application/x-www-form-urlencoded", "reason=x").problem(415, "unsupported_media_type");
    let _ = send(json, &format!(r#"{{"reason":"{}"}}"#, "x".repeat(70_000))).problem(413, "body_too_large");
    let decide = "/homeostat/v1/actions/7/decide";
    let _ = server.post(decide, "").problem(422, "unprocessable");
    let _ = server.post(decide, r#"{"decision":"extend"}"#).problem(422, "unprocessable");
    let _ = server.post(decide, r#"{"decision":"maybe"}"#).problem(422, "unprocessable");
    assert!(server.backend.asked.lock().unwrap().is_empty(), "nothing reached the backend");
    assert_eq!(send("Application/JSON; charset=utf-8", r#"{"reason":"x"}"#).status(), 204);
}

fn tokens() -> Vec<TokenSpec> {
    let token = |name: &str, role| TokenSpec { name: name.to_owned(), sha256: Sha256::digest(name).into(), role };
    vec![token("reader", Role::Read), token("operator", Role::Operate), token("admin", Role::Admin)]
}

#[test]
fn tokens_decide_who_may_do_what() {
    let server = Server::start(Fake::default(), tokens());
    let ask = |token: &str, method: &str, path: &str, body: Option<&[u8]>| {
        let header = format!("authorization: Bearer {token}");
        server.curl(path, &["-X", method, "-H", &header, "-H", "content-type: application/json"], body)
    };
    let nobody = server.get("/homeostat/v1/view");
    let _ = nobody.problem(401, "unauthorized");
    assert_eq!(nobody.header("www-authenticate"), Some("bearer realm=\"homeostat\""));
    let wrong = ask("guess", "GET", "/metrics", None);
    let _ = wrong.problem(401, "unauthorized");
    assert!(wrong.header("www-authenticate").unwrap().ends_with("error=\"invalid_token\""));
    for path in ["/-/healthy", "/-/ready", "/healthz", "/homeostat/v1/openapi.json", "/"] {
        assert_eq!(server.get(path).status(), 200, "{path} is open");
    }

    let announcement = Some(r#"{"kind":"deploy","summary":"build 7"}"#.as_bytes());
    let _ = ask("reader", "POST", "/homeostat/v1/changes", announcement).problem(403, "forbidden");
    assert_eq!(ask("operator", "POST", "/homeostat/v1/changes", announcement).status(), 204);

    let pause = "/homeostat/v1/rollouts/shop/pause";
    let glass = "/homeostat/v1/break-glass";
    assert_eq!(ask("reader", "GET", "/homeostat/v1/view", None).status(), 200);
    let detail = ask("reader", "POST", pause, None).problem(403, "forbidden");
    assert_eq!(detail, "this needs a token with the role `operate`, `reader` has `read`");
    assert_eq!(ask("operator", "POST", pause, None).status(), 204);
    let detail = ask("operator", "POST", glass, Some(br#"{"engaged":true}"#)).problem(403, "forbidden");
    assert!(detail.contains("role `admin`"), "{detail}");
    assert_eq!(ask("admin", "POST", glass, Some(br#"{"engaged":true}"#)).status(), 204);
    let actors: Vec<String> = server.backend.asked.lock().unwrap().iter().map(|(_, by, _)| by.clone()).collect();
    assert_eq!(actors, ["operator", "operator", "admin"]);
}

#[test]
fn without_tokens_pages_of_other_origins_are_kept_out() {
    let server = open();
    let rebound = server.curl("/homeostat/v1/view", &["-H", "host: evil.example"], None);
    let _ = rebound.problem(421, "misdirected");
    let forged =
        server.curl("/homeostat/v1/rollouts/shop/abort", &["-X", "POST", "-H", "origin: http://evil.example"], None);
    let _ = forged.problem(403, "cross_origin");
    let own = format!("origin: http://{}", server.address);
    assert_eq!(server.curl("/homeostat/v1/rollouts/shop/abort", &["-X", "POST", "-H", &own], None).status(), 204);
    assert_eq!(server.backend.asked.lock().unwrap().len(), 1);
}

#[test]
fn every_answer_carries_the_security_headers() {
    let server = open();
    for path in ["/", "/assets/app-1a2b3c.js", "/homeostat/v1/view", "/nothing", "/metrics"] {
        let reply = server.get(path);
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    assert_eq!(server.get("/homeostat/v1/view").header("cache-control"), Some("no-store"));
}

#[test]
fn the_console_is_served_compressed_and_cached() {
    let server = open();
    assert_eq!(server.get("/").body, "<!doctype html><title>console</title>");
    assert_eq!(server.get("/").header("cache-control"), Some("no-cache"));
    let plain = server.get("/assets/app-1a2b3c.js");
    assert_eq!((plain.header("content-encoding"), plain.body.as_str()), (None, "console.log(1)\n"));
    let zipped = server.curl("/assets/app-1a2b3c.js", &["-H", "accept-encoding: gzip"], None);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.header("cache-control"), Some("public, max-age=31536000, immutable"));
}

#[test]
fn incidents_come_in_pages_and_as_one_file() {
    let server = open();
    let page = server.get("/homeostat/v1/incidents?limit=2").json();
    assert_eq!((page["incidents"][0]["id"].as_u64(), page["next_before"].as_u64()), (Some(5), Some(4)));
    let page = server.get("/homeostat/v1/incidents?limit=3&before=INC-4").json();
    assert_eq!(page["incidents"].as_array().unwrap().len(), 3);
    assert!(page["next_before"].is_null(), "the last page");
    let bundle = server.get("/homeostat/v1/incidents/3/bundle");
    assert_eq!(bundle.header("content-disposition"), Some("attachment; filename=\"inc-3.json\""));
    let bundle: homeostat_api::body::Bundle = serde_json::from_str(&bundle.body).unwrap();
    assert_eq!((bundle.format.as_str(), bundle.black_box.is_some()), ("homeostat-incident-bundle/1", true));
}

#[test]
fn readiness_says_what_is_wrong() {
    let server = Server::start(Fake { ready: false, ..Fake::default() }, Vec::new());
    assert_eq!(server.get("/-/healthy").status(), 200);
    let detail = server.get("/-/ready").problem(503, "not_ready");
    assert_eq!(detail, "journal: the disk is full; free 1 GiB");
    assert_eq!(server.get("/homeostat/v1/health").status(), 200);
}

#[test]
fn metrics_hold_the_process_and_the_api() {
    let server = open();
    let _ = server.get("/homeostat/v1/view");
    let reply = server.get("/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(reply.body.contains("\nhomeostat_up 1\n"), "{}", reply.body);
    let counted = "\nhomeostat_api_requests_total{operation=\"view\",code=\"200\"} 1\n";
    assert!(reply.body.contains(counted), "{}", reply.body);
}

/// curl on an event stream.
struct Stream {
    curl: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Stream {
    fn open(server: &Server, path: &str) -> Self {
        let mut curl = Command::new("curl")
            .args(["--silent", "--no-buffer", "--max-time", "60", &server.url(path)])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(curl.stdout.take().unwrap()).lines();
        Self { curl, lines }
    }

    /// The next event's name and data.
    fn next(&mut self) -> (String, serde_json::Value) {
        let mut name = String::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
        panic!("the stream ended");
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        drop(self.curl.kill());
        drop(self.curl.wait());
    }
}

#[test]
fn streams_begin_with_the_view_and_keep_to_what_was_asked() {
    let server = open();
    let mut stream = Stream::open(&server, "/homeostat/v1/events?types=view,traffic");
    let (name, view) = stream.next();
    assert_eq!((name.as_str(), view["type"].as_str()), ("view", Some("view")));
    assert_eq!(view["services"][0]["name"], "shop");
    let command =
        homeostat_api::backend::StreamItem::Command { at: homeostat_model::Timestamp::default(), command: 1.into() };
    server.backend.send(command);
    server.backend.send(common::fake::traffic(9));
    let (name, traffic) = stream.next();
    assert_eq!((name.as_str(), traffic["versions"][0]["good"].as_u64()), ("traffic", Some(9)));
}

#[test]
fn a_slow_reader_is_told_what_it_missed_and_gets_a_view_to_stand_on() {
    let server = Server::start(Fake { burst: 10, ..Fake::default() }, Vec::new());
    let mut stream = Stream::open(&server, "/homeostat/v1/events");
    assert_eq!(stream.next().0, "view");
    let (name, lagged) = stream.next();
    assert_eq!((name.as_str(), lagged["missed"].as_u64()), ("lagged", Some(6)));
    assert_eq!(stream.next().0, "view");
    let (name, oldest_kept) = stream.next();
    assert_eq!((name.as_str(), oldest_kept["versions"][0]["good"].as_u64()), ("traffic", Some(6)));
    assert!(server.get("/metrics").body.contains("\nhomeostat_api_stream_items_missed_total 6\n"));
}

/// A connection that sends `text` and returns the first line of the answer, still open.
fn raw(server: &Server, text: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    (stream, line.trim_end().to_owned())
}

#[test]
fn streams_beyond_the_limit_are_refused_and_places_come_back() {
    let server = open();
    let request = "GET /homeostat/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut streams: Vec<_> = (0..homeostat_api::limits::SUBSCRIBERS_MAX).map(|_| raw(&server, request)).collect();
    assert!(streams.iter().all(|(_, line)| line == "HTTP/1.1 200 OK"));
    let _ = server.get("/homeostat/v1/events").problem(503, "unavailable");
    streams.pop();
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
    while raw(&server, request).1 != "HTTP/1.1 200 OK" {
        assert!(std::time::Instant::now() < deadline, "the place of a stream that ended did not come back");
        server.backend.send(common::fake::traffic(0));
    }
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let server = open();
    let open: Vec<_> =
        (0..homeostat_api::limits::CONNECTIONS_MAX).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let mut beyond = TcpStream::connect(server.address).unwrap();
    beyond.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut answer = String::new();
    beyond.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(open);
}

#[test]
fn nonsense_ends_its_own_connection_only() {
    let server = open();
    for text in ["\u{0}\u{1}\u{2}\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET  HTTP/1.1\r\nhost: \u{7f}\r\n\r\n"] {
        let (_, line) = raw(&server, text);
        assert!(line.is_empty() || line.starts_with("HTTP/1.1 400"), "{text:?}: {line}");
    }
    let huge = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let mut stream = TcpStream::connect(server.address).unwrap();
    // The server may close before it has read everything; both ends of that race are fine.
    drop(stream.write_all(huge.as_bytes()));
    drop(stream);
    assert_eq!(server.get("/-/healthy").status(), 200);
}

#[test]
fn stopping_ends_streams_and_returns() {
    let mut server = open();
    let (mut stream, line) = raw(&server, "GET /homeostat/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(line, "HTTP/1.1 200 OK");
    server.stop();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream was ended, not cut: {rest}");
}

#[tokio::test]
async fn addresses_that_others_reach_need_tokens() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let bind = |tokens| {
        let backend = std::sync::Arc::new(Fake::default());
        ApiServer::bind(ApiSpec { listen, external_url: None, tokens }, backend, Console::embedded())
    };
    let refused = bind(Vec::new()).await.unwrap_err();
    assert!(matches!(refused, BindError::Tokens(TokensRefused::NoneBeyondLoopback { .. })), "{refused}");

    let backend = std::sync::Arc::new(Fake::default());
    let spec = ApiSpec { listen: "127.0.0.1:0".parse().unwrap(), external_url: None, tokens: tokens() };
    let handle = ApiServer::bind(spec, backend, CONSOLE).await.unwrap().handle();
    assert_eq!(handle.set_tokens(&[]), Ok(()), "on loopback tokens may be given up");
    let many = vec![tokens().remove(0); 257];
    assert_eq!(handle.set_tokens(&many), Err(TokensRefused::TooMany { count: 257 }));
}

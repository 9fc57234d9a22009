//! HTTP/2 on either side: streams, trailers, gRPC, floods.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use homeostat_gateway_route::spec::{Endpoint, Timeouts, UpstreamProtocol};
use homeostat_model::{OutcomeClass, Span};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{Running, Setup, eventually, read_request, read_to_end, recording_upstream, table, upstream};

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime")
}

/// An h2c upstream that answers with `respond`, after it has read the request's body.
fn h2c_upstream(respond: fn(Request<Bytes>, Option<HeaderMap>) -> Response<Body>) -> SocketAddr {
    upstream(move |stream| {
        stream.set_nonblocking(true).expect("nonblocking");
        runtime().block_on(async move {
            let stream = tokio::net::TcpStream::from_std(stream).expect("stream");
            let service = service_fn(move |request: Request<Incoming>| async move {
                let (parts, body) = request.into_parts();
                let collected = body.collect().await?;
                let trailers = collected.trailers().cloned();
                Ok::<_, hyper::Error>(respond(Request::from_parts(parts, collected.to_bytes()), trailers))
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ended = server.serve_connection(TokioIo::new(stream), service).await;
        });
    })
}

/// Sends one HTTP/2 request with a body and reads the whole answer.
fn call(gateway: &Running, request: Request<Full<Bytes>>) -> (http::response::Parts, Bytes, Option<HeaderMap>) {
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.address).await.expect("connects");
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("handshake");
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.expect("answer").into_parts();
        let collected = body.collect().await.expect("body");
        let trailers = collected.trailers().cloned();
        (parts, collected.to_bytes(), trailers)
    })
}

fn grpc_request(body: &'static str) -> Request<Full<Bytes>> {
    Request::post("http://shop.example/shop.Orders/Place")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::from(body))
        .expect("request")
}

fn with_trailer(body: Bytes, name: &'static str, value: &str) -> Body {
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().expect("value"))]);
    Full::new(body).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync()
}

fn grpc_echo(request: Request<Bytes>, _trailers: Option<HeaderMap>) -> Response<Body> {
    assert_eq!(request.headers().get("te"), Some(&HeaderValue::from_static("trailers")));
    assert_eq!(request.uri().authority().map(http::uri::Authority::as_str), Some("shop.example"));
    assert!(request.headers().contains_key("x-forwarded-for"));
    let status = std::str::from_utf8(request.body()).expect("test body").to_owned();
    let response = Response::builder().header("content-type", "application/grpc");
    if status.starts_with("head:") {
        // Trailers only: the status is in the head, and there is no body.
        let status = status.trim_start_matches("head:");
        return response.header("grpc-status", status).body(Full::default().boxed_unsync()).expect("response");
    }
    response.body(with_trailer(request.into_body(), "grpc-status", &status)).expect("response")
}

#[test]
fn grpc_passes_unharmed_and_its_status_is_counted() {
    let gateway = Setup::h2c(h2c_upstream(grpc_echo)).start();
    let classes = [
        ("0", OutcomeClass::Ok),
        ("5", OutcomeClass::ClientError),
        ("14", OutcomeClass::ServerError),
        ("head:0", OutcomeClass::Ok),
        ("head:13", OutcomeClass::ServerError),
    ];
    for (index, (status, class)) in classes.into_iter().enumerate() {
        let before = gateway.outcomes(index as u64).class(class);
        let (parts, body, trailers) = call(&gateway, grpc_request(status));
        assert_eq!(parts.status, 200);
        if let Some(in_head) = status.strip_prefix("head:") {
            assert_eq!(parts.headers["grpc-status"], in_head);
        } else {
            assert_eq!(
                (&body[..], &trailers.expect("trailers")["grpc-status"]),
                (status.as_bytes(), &status.parse::<HeaderValue>().expect("value"))
            );
        }
        assert_eq!(gateway.outcomes(index as u64 + 1).class(class), before + 1, "{status}");
    }
    assert_eq!(gateway.handle.stats().upstream_connects, 1, "one connection carries all of them");
}

#[test]
fn errors_to_head_have_no_body() {
    let gateway = Setup::new(Vec::new()).start();
    // `:method HEAD` as a literal, `:scheme http`, `:path /`, `:authority a`.
    let head = [&[0x02, 4][..], b"HEAD", &[0x86, 0x84, 0x41, 1, b'a']].concat();
    let mut client = raw_http2(&gateway, &frame(1, 5, 1, &head));
    gateway.expect_one(OutcomeClass::Refused);
    // Whatever comes until the end of the answer: a head that ends the stream (type 1, END_STREAM and END_HEADERS).
    let mut kinds = Vec::new();
    while kinds.last() != Some(&(1, 5)) {
        let mut header = [0; 9];
        client.read_exact(&mut header).expect("frame");
        let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
        client.read_exact(&mut payload).expect("payload");
        assert_ne!(header[3], 0, "no DATA after {kinds:?}");
        kinds.push((header[3], header[4]));
    }
}

#[test]
fn grpc_clients_get_errors_in_their_own_words() {
    let gateway = Setup::new(Vec::new()).start();
    let (parts, body, _) = call(&gateway, grpc_request("0"));
    assert_eq!(
        (parts.status.as_u16(), &parts.headers["grpc-status"], body.len()),
        (200, &HeaderValue::from_static("14"), 0)
    );
    assert!(parts.headers.contains_key("grpc-message"));
    gateway.expect_one(OutcomeClass::Refused);
}

#[test]
fn a_grpc_answer_without_a_status_is_an_error() {
    let respond = |_: Request<Bytes>, _| {
        let response = Response::builder().header("content-type", "application/grpc+proto");
        response.body(Full::from("x").boxed_unsync()).expect("response")
    };
    let gateway = Setup::h2c(h2c_upstream(respond)).start();
    call(&gateway, grpc_request("0"));
    gateway.expect_one(OutcomeClass::ServerError);
}

#[test]
fn http2_reaches_http1_upstreams_and_back() {
    let (backend, seen) = recording_upstream();
    let gateway = Setup::http1(backend).start();
    let request = Request::post("http://shop.example/x?y=1").header("cookie", "a=1").header("cookie", "b=2");
    let request = request.body(Full::from("hello")).expect("request");
    let (parts, body, _) = call(&gateway, request);
    assert_eq!((parts.status.as_u16(), &body[..]), (200, &b"ok"[..]));
    let seen = seen.recv().expect("request");
    assert!(seen.head.starts_with("POST /x?y=1 HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!((seen.header("host").as_deref(), seen.body.as_str()), (Some("shop.example"), "hello"));
    assert_eq!(seen.header("cookie").as_deref(), Some("a=1; b=2"));
    gateway.expect_one(OutcomeClass::Ok);
}

/// Over HTTP/2 a body needs no length; towards HTTP/1.1 it then has to be chunked, even with `GET`.
#[test]
fn a_body_without_length_reaches_an_http1_upstream() {
    let (backend, seen) = recording_upstream();
    let gateway = Setup::http1(backend).start();
    let _client = raw_http2(&gateway, &[frame(1, 4, 1, HEAD), frame(0, 1, 1, b"hello")].concat());
    let seen = seen.recv_timeout(crate::support::PATIENCE).expect("request");
    assert_eq!(seen.body, "5\r\nhello\r\n0\r\n\r\n");
    gateway.expect_one(OutcomeClass::Ok);
}

#[test]
fn http1_reaches_h2c_upstreams_with_request_trailers() {
    let respond = |request: Request<Bytes>, trailers: Option<HeaderMap>| {
        assert_eq!(&request.body()[..], b"abc");
        assert_eq!(request.uri().to_string(), "http://a.example/up");
        let sum = trailers.and_then(|t| t.get("x-sum").cloned()).expect("request trailers");
        Response::new(with_trailer(Bytes::from_static(b"done"), "x-back", sum.to_str().expect("ascii")))
    };
    let gateway = Setup::h2c(h2c_upstream(respond)).start();
    let answer = gateway.raw(
        b"POST /up HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
          3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("done"), "{answer}");
    gateway.expect_one(OutcomeClass::Ok);
}

/// A request whose pooled connection breaks, and whose endpoint is gone by then, has the form of that endpoint's protocol. It must
/// not be sent in this form to an endpoint that speaks another one.
#[test]
fn a_repeat_keeps_to_its_protocol() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let dying = Endpoint { address: listener.local_addr().expect("address"), protocol: UpstreamProtocol::Http1 };
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        drop(listener);
        read_request(&mut stream).expect("first");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("sent");
        read_request(&mut stream);
    });
    let respond = |_: Request<Bytes>, _| Response::new(Full::from("ok").boxed_unsync());
    let h2c = Endpoint { address: h2c_upstream(respond), protocol: UpstreamProtocol::H2c };
    let gateway = Setup::new(vec![dying]).start();
    let get = || call(&gateway, Request::get("http://a.example/").body(Full::default()).expect("request")).0.status;
    assert_eq!(get(), 200);
    gateway.handle.swap_table(Arc::new(table(&[dying, h2c], Timeouts::default())));
    // Only the first one that is sent to the dying endpoint has been sent before its endpoint is found gone.
    let answers: Vec<u16> = (0..40).map(|_| get().as_u16()).collect();
    serving.join().expect("serves");
    assert_eq!(answers.iter().filter(|status| **status == 502).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 39, "{answers:?}");
}

/// Resets the first stream of each connection with `reason`, except on the first connection, where it is the second stream; answers
/// others. Returns how many streams it has seen.
fn resetting_upstream(reason: h2::Reason) -> (SocketAddr, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let address = upstream(move |stream| {
        stream.set_nonblocking(true).expect("nonblocking");
        let count = count.clone();
        runtime().block_on(async move {
            let stream = tokio::net::TcpStream::from_std(stream).expect("stream");
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                if count.fetch_add(1, Ordering::SeqCst) == 1 {
                    respond.send_reset(reason);
                } else {
                    respond.send_response(Response::new(()), true).expect("sent");
                }
            }
        });
    });
    (address, seen)
}

#[test]
fn only_refused_streams_are_repeated() {
    for (reason, method, status, streams) in [
        (h2::Reason::REFUSED_STREAM, "GET", 200, 3),
        (h2::Reason::REFUSED_STREAM, "POST", 200, 3),
        (h2::Reason::INTERNAL_ERROR, "GET", 502, 2),
        (h2::Reason::CANCEL, "GET", 502, 2),
    ] {
        let (address, seen) = resetting_upstream(reason);
        let gateway = Setup::h2c(address).start();
        for expected in [200, status] {
            let request = Request::builder().method(method).uri("http://a.example/");
            let (parts, _, _) = call(&gateway, request.body(Full::default()).expect("request"));
            assert_eq!(parts.status, expected, "{reason:?} {method}");
        }
        assert_eq!(seen.load(Ordering::SeqCst), streams, "{reason:?} {method}");
    }
}

#[test]
fn two_hosts_in_one_request_are_refused() {
    let gateway = Setup::new(Vec::new()).start();
    let request = Request::get("http://a.example/").header("host", "b.example").body(Full::default()).expect("request");
    let (parts, _, _) = call(&gateway, request);
    assert_eq!(parts.status, 400);
    assert_eq!(gateway.rejected("host_mismatch"), 1);
}

#[test]
fn connect_is_refused_over_http2_too() {
    let gateway = Setup::new(Vec::new()).start();
    let request = Request::connect("b.example:443").body(Full::default()).expect("request");
    let (parts, _, _) = call(&gateway, request);
    assert_eq!(parts.status, 405);
}

#[test]
fn too_many_fields_are_refused() {
    let gateway = Setup::new(Vec::new()).with(|s| s.limits.headers_max = 20).start();
    let mut request = Request::get("http://a.example/").body(Full::default()).expect("request");
    for index in 0..30 {
        let name: http::HeaderName = format!("x-{index}").parse().expect("name");
        request.headers_mut().insert(name, HeaderValue::from_static("1"));
    }
    let (parts, _, _) = call(&gateway, request);
    assert_eq!(parts.status, 431);
}

/// A client that gives one of its streams no room: the stream's upstream is let go, the other streams go on.
#[test]
fn a_stream_without_room_does_not_hold_its_upstream() {
    let address = upstream(|mut stream| {
        let mut more = read_request(&mut stream)
            .map(|_| stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
        while matches!(more, Some(Ok(()))) {
            more = Some(stream.write_all(chunk.as_bytes()));
        }
    });
    let gateway = Setup::http1(address).with(|s| s.timeouts.idle = Span::from_ms(300)).start();
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.address).await.expect("connects");
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("handshake");
        tokio::spawn(connection);
        let request = Request::get("http://a.example/").body(Full::<Bytes>::default()).expect("request");
        let held = sender.send_request(request).await.expect("answer");
        while gateway.handle.stats().workers[0].running > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(gateway.handle.stats().connections(), 1);
        drop(held);
    });
    gateway.expect_one(OutcomeClass::ClientError);
}

/// A client that gives its stream no room at all and keeps its connection open: it is told apart from a slow one by the stall
/// limit, and let go.
#[test]
fn a_connection_whose_streams_get_no_room_is_let_go() {
    let respond = |_: Request<Bytes>, _| Response::new(Full::from("x".repeat(200_000)).boxed_unsync());
    for (endpoints, class) in [
        (Setup::h2c(h2c_upstream(respond)), OutcomeClass::ClientError),
        (Setup::new(Vec::new()), OutcomeClass::Refused),
    ] {
        let gateway = endpoints
            .with(|s| {
                s.timeouts.idle = Span::from_ms(200);
                s.limits.keep_alive = Span::from_ms(400);
            })
            .start();
        let mut client = gateway.connect();
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("sent");
        // Settings: INITIAL_WINDOW_SIZE (4) is zero.
        client.write_all(&frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])).expect("sent");
        client.write_all(&frame(1, 5, 1, HEAD)).expect("sent");
        gateway.expect_one(class);
        eventually("the connection to be let go", || gateway.handle.stats().connections() == 0);
        assert_eq!(gateway.handle.stats().stalled_clients, 1, "{class:?}");
    }
}

/// The preface, empty settings, then `frames`.
fn raw_http2(gateway: &Running, frames: &[u8]) -> std::net::TcpStream {
    let mut client = gateway.connect();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("sent");
    let _ = client.write_all(frames);
    client
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `:method GET`, `:scheme http`, `:path /`, `:authority a`.
const HEAD: &[u8] = &[0x82, 0x86, 0x84, 0x41, 0x01, b'a'];

#[test]
fn a_flood_of_resets_ends_its_connection_only() {
    let (backend, _seen) = recording_upstream();
    let gateway = Setup::http1(backend).start();
    let frames: Vec<u8> = (0..5_000_u32)
        .flat_map(|i| [frame(1, 5, 2 * i + 1, HEAD), frame(3, 0, 2 * i + 1, &8_u32.to_be_bytes())].concat())
        .collect();
    let mut client = raw_http2(&gateway, &frames);
    read_to_end(&mut client);
    drop(client);
    eventually("the flooding connection to be gone", || gateway.handle.stats().connections() == 0);
    let answer = gateway.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Window updates of zero make the server reset streams itself; those must be limited as well.
#[test]
fn a_flood_of_provoked_resets_ends_its_connection_only() {
    let (backend, _seen) = recording_upstream();
    let gateway = Setup::http1(backend).start();
    let frames: Vec<u8> = (0..5_000_u32)
        .flat_map(|i| [frame(1, 5, 2 * i + 1, HEAD), frame(8, 0, 2 * i + 1, &0_u32.to_be_bytes())].concat())
        .collect();
    let mut client = raw_http2(&gateway, &frames);
    read_to_end(&mut client);
    drop(client);
    eventually("the flooding connection to be gone", || gateway.handle.stats().connections() == 0);
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let gateway = Setup::new(Vec::new()).with(|s| s.limits.keep_alive = Span::from_ms(100)).start();
    let mut client = raw_http2(&gateway, &[]);
    let received = read_to_end(&mut client);
    // A GOAWAY frame: type 7, no flags, stream 0.
    assert!(received.as_bytes().windows(6).any(|w| w == [7, 0, 0, 0, 0, 0]), "{received:?}");
}

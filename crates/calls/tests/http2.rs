//! HTTP/2 and gRPC as a real client and a real server speak it, overheard from its beginning and from later on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use bytes::Bytes;
use homeostat_calls::{Call, CallReader, Event, Protocol, Side, Told, What};
use homeostat_model::OutcomeClass;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    task::LocalSet,
};

/// Messages of a server, in the order in which they came: what was received and what was sent.
type Heard = Rc<RefCell<Vec<(What, Vec<u8>)>>>;

async fn relay(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, what: What, heard: Heard) {
    let mut room = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut room).await {
        heard.borrow_mut().push((what, room[..length].to_vec()));
        if to.write_all(&room[..length]).await.is_err() {
            return;
        }
    }
}

fn is_grpc(path: &str) -> bool {
    path.starts_with("/shop.")
}

/// Answers with what the path asks for: `/s/503`, or `/shop.Cart/13`.
async fn serve(stream: DuplexStream) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        tokio::task::spawn_local(async move {
            let path = request.uri().path().to_owned();
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _room = body.flow_control().release_capacity(data.len());
            }
            let number: u16 = path.rsplit('/').next().unwrap().parse().unwrap();
            if is_grpc(&path) {
                let head = Response::builder().header("content-type", "application/grpc+proto").body(()).unwrap();
                let mut stream = answer.send_response(head, false).unwrap();
                stream.send_data(Bytes::from_static(b"\0\0\0\0\x03abc"), false).unwrap();
                let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(number))]);
                stream.send_trailers(trailers).unwrap();
            } else if number == 204 {
                answer.send_response(Response::builder().status(number).body(()).unwrap(), true).unwrap();
            } else {
                let head = Response::builder().status(number).header("set-cookie", "a=secret").body(()).unwrap();
                let mut stream = answer.send_response(head, false).unwrap();
                stream.send_data(Bytes::from(vec![b'x'; 3000]), true).unwrap();
            }
        });
    }
}

/// Asks for all paths, ten at a time; returns what was heard at the server.
fn conversation(paths: &[String]) -> Vec<(What, Vec<u8>)> {
    let heard = Heard::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let ((client, client_far), (server, server_far)) = (duplex(1 << 16), duplex(1 << 16));
        let ((client_read, client_write), (server_read, server_write)) = (split(client_far), split(server_far));
        tokio::task::spawn_local(relay(client_read, server_write, What::Received, Rc::clone(&heard)));
        tokio::task::spawn_local(relay(server_read, client_write, What::Sent, Rc::clone(&heard)));
        tokio::task::spawn_local(serve(server));
        let (sender, connection) = h2::client::handshake(client).await.unwrap();
        tokio::task::spawn_local(connection);
        for some in paths.chunks(10) {
            let mut answers = Vec::new();
            for path in some {
                let mut sender = sender.clone().ready().await.unwrap();
                let method = if is_grpc(path) { "POST" } else { "GET" };
                let kind = if is_grpc(path) { "application/grpc" } else { "text/plain" };
                let request = Request::builder().method(method).uri(format!("http://shop{path}?q=secret"));
                let request = request.header("content-type", kind).header("authorization", "Bearer secret");
                let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
                body.send_data(Bytes::from(vec![b'y'; 200]), true).unwrap();
                answers.push(answer);
            }
            for answer in answers {
                let mut body = answer.await.unwrap().into_body();
                while let Some(data) = body.data().await {
                    body.flow_control().release_capacity(data.unwrap().len()).unwrap();
                }
                let _trailers = body.trailers().await.unwrap();
            }
        }
    });
    Rc::try_unwrap(heard).unwrap_or_default().into_inner()
}

/// A piece of a direction: where it begins, how many bytes it stands for, and the first of them.
type Piece<'a> = (What, u64, usize, &'a [u8]);

/// What is read of pieces.
fn read(pieces: &[Piece<'_>]) -> (Vec<Call>, CallReader) {
    let (mut reader, mut calls) = (CallReader::default(), Vec::new());
    let (mut sequences, mut at_ns) = ([0; 2], 0);
    for &(what, offset, length, bytes) in pieces {
        at_ns += 1000;
        let sequence = &mut sequences[usize::from(what == What::Sent)];
        let (length, sequence_now) = (length as u32, *sequence);
        *sequence += 1;
        let (connection, process, port) = (1, 7, 80);
        let event = Event {
            connection,
            at_ns,
            offset,
            length,
            sequence: sequence_now,
            told: Told::default(),
            process,
            port,
            what,
            bytes,
        };
        reader.take(&event, &mut calls);
    }
    (calls, reader)
}

/// What is read of messages from one on, of each of which so many bytes are told.
fn overhear(heard: &[(What, Vec<u8>)], taken: usize) -> (Vec<Call>, CallReader) {
    let mut offsets = [0; 2];
    let pieces: Vec<Piece<'_>> = heard
        .iter()
        .map(|(what, message)| {
            let offset = &mut offsets[usize::from(*what == What::Sent)];
            let begin = *offset;
            *offset += message.len() as u64;
            (*what, begin, message.len(), &message[..taken.min(message.len())])
        })
        .collect();
    read(&pieces)
}

/// What the kernel tells of a direction: blocks of fields, and heads of frames that end a stream. Each piece with the place behind
/// it, from which on it can be told.
fn told(stream: &[u8]) -> Vec<(usize, usize)> {
    let mut at = if stream.starts_with(b"PRI ") { 24 } else { 0 };
    let mut pieces = vec![(0, at)];
    while let Some(&[l0, l1, l2, kind, flags, ..]) = stream.get(at..at + 9) {
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        match kind {
            1 | 5 | 9 => pieces.push((at, at + 9 + length)),
            3 => pieces.push((at, at + 9)),
            0 if flags & 1 == 1 => pieces.push((at, at + 9)),
            _ => {}
        }
        at += 9 + length;
    }
    pieces.retain(|(begin, end)| begin < end);
    pieces
}

fn paths() -> Vec<String> {
    let kinds = ["/s/200", "/s/503", "/shop.Cart/0", "/s/204", "/shop.Cart/13", "/s/404", "/shop.Cart/5"];
    (0..210).map(|at| kinds[at % kinds.len()].to_owned()).collect()
}

type Kinds = BTreeMap<(String, Option<u16>, Option<u32>), usize>;

fn kinds(calls: &[Call]) -> Kinds {
    let mut kinds = Kinds::new();
    for call in calls {
        let protocol = if call.protocol == Protocol::Grpc { "grpc" } else { "http" };
        let kind = format!("{protocol} {} {}", call.method, call.path.as_str());
        *kinds.entry((kind, call.status, call.grpc_status)).or_default() += 1;
    }
    kinds
}

/// Requests by the message that they began with, and how they went where that is known. Messages before `from` were not heard.
fn ways(calls: &[Call], from: u64) -> BTreeMap<(u64, &'static str), usize> {
    let mut ways = BTreeMap::new();
    for call in calls {
        if let Some(outcome) = call.outcome {
            *ways.entry((call.began_ns / 1000 + from, outcome.label())).or_default() += 1;
        }
    }
    ways
}

#[test]
fn every_request_is_read_with_how_it_went() {
    let heard = conversation(&paths());
    let (calls, reader) = overhear(&heard, usize::MAX);
    let of = |path: &str, status, grpc| ((path.to_owned(), Some(status), grpc), 30);
    let expected = Kinds::from([
        of("http GET /s/{id}", 200, None),
        of("http GET /s/{id}", 503, None),
        of("http GET /s/{id}", 204, None),
        of("http GET /s/{id}", 404, None),
        of("grpc POST /shop.Cart/{id}", 200, Some(0)),
        of("grpc POST /shop.Cart/{id}", 200, Some(13)),
        of("grpc POST /shop.Cart/{id}", 200, Some(5)),
    ]);
    assert_eq!(kinds(&calls), expected);
    assert!(!format!("{calls:?}{reader:?}").contains("secret"));
    assert!(calls.iter().all(|call| call.side == Side::Server && 0 < call.latency_ns));
    let of = |outcome| calls.iter().filter(|call| call.outcome == Some(outcome)).count();
    assert_eq!((of(OutcomeClass::Ok), of(OutcomeClass::ServerError), of(OutcomeClass::ClientError)), (90, 60, 60));
    assert_eq!((reader.stats().unanswered, reader.stats().unasked), (0, 0));
}

/// From whichever message on somebody listens, what is told is right, and what was said before is not guessed.
#[test]
fn who_joins_late_never_guesses() {
    let heard = conversation(&paths());
    let known = overhear(&heard, usize::MAX).0;
    let mut most = 0;
    for from in 1..heard.len() {
        let (calls, _) = overhear(&heard[from..], usize::MAX);
        most = most.max(calls.len());
        // Of the requests that began with a message no more may have gone a way than really did.
        let truth = ways(&known, 0);
        for (way, count) in ways(&calls, from as u64) {
            assert!(Some(&count) <= truth.get(&way), "from message {from} on: {count} requests {way:?}");
        }
        for call in calls {
            let is_right = |told: &Call| {
                call.method == told.method
                    && (call.path.as_str() == "<pre-attach>" || call.path == told.path)
                    && (call.status.is_none() || call.status == told.status)
                    && (call.grpc_status.is_none() || call.grpc_status == told.grpc_status)
                    && (call.outcome.is_none() || call.outcome == told.outcome)
                    // Of gRPC the status alone says how it went.
                    && (told.protocol != Protocol::Grpc || call.grpc_status.is_some() || call.outcome.is_none())
            };
            assert!(known.iter().any(is_right), "from message {from} on: {call:?}");
        }
    }
    assert!(200 < most, "nearly all are told: {most}");
}

/// Bodies that are not told are stepped over; where a head is not told either, its request is unknown.
#[test]
fn what_is_not_taken_is_never_guessed() {
    let heard = conversation(&paths());
    let known = kinds(&overhear(&heard, usize::MAX).0);
    for taken in [64, 512, 4096] {
        let (calls, _) = overhear(&heard, taken);
        for ((kind, status, grpc), count) in kinds(&calls) {
            let most: usize = known
                .iter()
                .filter(|((k, s, g), _)| {
                    (kind.ends_with("<pre-attach>") || *k == kind)
                        && (status.is_none() || *s == status)
                        && (grpc.is_none() || *g == grpc)
                })
                .map(|(_, count)| count)
                .sum();
            assert!(count <= most, "{count} of {kind} {status:?} {grpc:?} with {taken} bytes");
        }
    }
}

/// Frames that are left out are stepped over: nothing of a body is needed to tell how requests went.
#[test]
fn without_bodies_everything_is_told() {
    let heard = conversation(&paths());
    let mut streams = [Vec::new(), Vec::new()];
    // Where each message ends in its direction, so that pieces come in the order in which they were heard.
    let mut ends = Vec::new();
    for (what, message) in &heard {
        let stream = &mut streams[usize::from(*what == What::Sent)];
        stream.extend_from_slice(message);
        ends.push((*what, stream.len()));
    }
    let (mut rest, mut pieces) = ([told(&streams[0]), told(&streams[1])], Vec::new());
    for (what, heard_to) in ends {
        let way = usize::from(what == What::Sent);
        let count = rest[way].iter().take_while(|(_, end)| *end <= heard_to).count();
        for (begin, end) in rest[way].drain(..count) {
            pieces.push((what, begin as u64, end - begin, &streams[way][begin..end]));
        }
    }
    assert!(pieces.iter().all(|(.., bytes)| !bytes.windows(8).any(|some| some == b"xxxxxxxx" || some == b"yyyyyyyy")));
    let (calls, reader) = read(&pieces);
    assert_eq!(kinds(&calls), kinds(&overhear(&heard, usize::MAX).0));
    assert_eq!((calls.len(), reader.stats().unanswered, reader.stats().unasked), (210, 0, 0));

    // A piece of which the number is missing is lost, and what depends on it is not guessed.
    let known = kinds(&calls);
    for missing in (0..pieces.len()).step_by(61) {
        let mut sequences = [0; 2];
        let (mut reader, mut calls) = (CallReader::default(), Vec::new());
        for (number, &(what, offset, length, bytes)) in pieces.iter().enumerate() {
            let sequence = &mut sequences[usize::from(what == What::Sent)];
            *sequence += 1;
            let (at_ns, connection, process, port) = (1000 * number as u64, 1, 7, 80);
            let (length, sequence) = (length as u32, *sequence);
            let event = Event {
                connection,
                at_ns,
                offset,
                length,
                sequence,
                told: Told::default(),
                process,
                port,
                what,
                bytes,
            };
            if number != missing {
                reader.take(&event, &mut calls);
            }
        }
        for ((kind, status, grpc), count) in kinds(&calls) {
            let is_known = |(k, s, g): &&(String, Option<u16>, Option<u32>)| {
                (kind.ends_with("<pre-attach>") || *k == kind)
                    && (status.is_none() || *s == status)
                    && (grpc.is_none() || *g == grpc)
            };
            let most: usize = known.iter().filter(|(key, _)| is_known(key)).map(|(_, count)| count).sum();
            assert!(count <= most, "{count} of {kind} {status:?} {grpc:?} without piece {missing}");
        }
    }
}

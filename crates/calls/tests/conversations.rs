//! Conversations as scripts: what was received (`<`) and sent (`>`), and which calls are read from it.

#![expect(clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

use homeostat_calls::{CONNECTIONS_MAX, Call, CallReader, Event, ReaderStats, What};
use proptest::prelude::*;

/// One connection of a server, told in pieces.
#[derive(Default)]
struct Wire {
    reader: CallReader,
    calls: Vec<Call>,
    offsets: [u64; 2],
    sequences: [u32; 2],
    now_ns: u64,
    connection: u64,
}

impl Wire {
    /// A message of which so many bytes were taken.
    fn told(&mut self, what: What, message: &[u8], taken: usize) {
        let way = usize::from(what == What::Sent);
        self.event(what, self.sequences[way], self.offsets[way], message, taken);
        self.sequences[way] += 1;
        self.pass(what, message.len());
    }

    /// Bytes that nobody tells.
    fn pass(&mut self, what: What, length: usize) {
        self.offsets[usize::from(what == What::Sent)] += length as u64;
    }

    fn event(&mut self, what: What, sequence: u32, offset: u64, message: &[u8], taken: usize) {
        self.now_ns += 1000;
        let (process, port, length) = (7, 80, message.len() as u32);
        let bytes = &message[..taken.min(message.len())];
        let (connection, at_ns) = (self.connection, self.now_ns);
        let event = Event { connection, at_ns, offset, length, sequence, process, port, what, bytes };
        self.reader.take(&event, &mut self.calls);
    }

    fn end(&mut self, what: What) {
        self.event(what, 0, 0, b"", 0);
    }

    fn received(&mut self, text: &str) {
        self.told(What::Received, text.as_bytes(), 512);
    }

    fn sent(&mut self, text: &str) {
        self.told(What::Sent, text.as_bytes(), 512);
    }

    /// `METHOD PATH STATUS MICROSECONDS`, one a line.
    fn lines(&self) -> Vec<String> {
        let status = |call: &Call| {
            call.status.map_or_else(
                || call.outcome.map_or("unknown", homeostat_model::OutcomeClass::label).to_owned(),
                |s| s.to_string(),
            )
        };
        let line =
            |call: &Call| format!("{} {} {} {}", call.method, call.path.as_str(), status(call), call.latency_ns / 1000);
        self.calls.iter().map(line).collect()
    }

    fn stats(&self) -> (u64, u64) {
        let ReaderStats { unanswered, unasked, .. } = self.reader.stats();
        (unanswered, unasked)
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn ok(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
}

#[test]
fn requests_meet_their_answers() {
    let mut wire = Wire::default();
    wire.received(&get("/a"));
    wire.sent(&ok(3));
    wire.received(&get("/b"));
    wire.sent("HTTP/1.1 103 Early Hints\r\n\r\n");
    wire.sent("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.sent("3\r\nabc\r\n0\r\n\r\n");
    wire.received(&get("/c"));
    wire.sent(&ok(0));
    assert_eq!(wire.lines(), ["GET /a 200 1", "GET /b 503 2", "GET /c 200 1"]);
    assert_eq!(wire.stats(), (0, 0));
}

#[test]
fn an_answer_without_a_body_says_how_long_it_would_be() {
    let mut wire = Wire::default();
    wire.received("HEAD /a HTTP/1.1\r\n\r\n");
    wire.sent("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
    wire.received(&get("/b"));
    wire.sent("HTTP/1.1 304 Not Modified\r\n\r\n");
    wire.received(&get("/c"));
    wire.sent(&ok(1));
    assert_eq!(wire.lines(), ["HEAD /a 200 1", "GET /b 304 1", "GET /c 200 1"]);
}

#[test]
fn a_body_that_looks_like_a_head_is_none() {
    let mut wire = Wire::default();
    let trap = get("/trap");
    wire.received(&format!("POST /a HTTP/1.1\r\nContent-Length: {}\r\n\r\n{trap}", 2 * trap.len()));
    wire.received(&trap);
    wire.sent(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", ok(0).len()));
    wire.sent(&ok(0));
    assert_eq!(wire.lines(), ["POST /a 200 2"]);
    assert_eq!(wire.stats(), (0, 0));
}

#[test]
fn bodies_that_nobody_tells_are_stepped_over() {
    let mut wire = Wire::default();
    wire.received(&get("/large"));
    wire.told(What::Sent, ok(9000).as_bytes(), 512);
    wire.received(&get("/file"));
    wire.sent("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n");
    wire.pass(What::Sent, 70_000);
    wire.received(&get("/b"));
    wire.sent(&ok(2));
    assert_eq!(wire.lines(), ["GET /large 200 1", "GET /file 200 1", "GET /b 200 1"]);
}

#[test]
fn an_answer_that_lies_where_nothing_was_taken_is_unknown_and_the_next_one_is_right() {
    let mut wire = Wire::default();
    wire.received(&(get("/a") + &get("/b") + &get("/c")));
    // The second answer begins behind the bytes that were taken.
    wire.told(What::Sent, (ok(600) + &ok(0)).as_bytes(), 512);
    wire.sent("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(wire.lines(), ["GET /a 200 1", "GET /c 500 2"]);
    assert_eq!(wire.stats(), (1, 0));
}

#[test]
fn who_joins_late_or_loses_a_piece_never_guesses() {
    let mut wire = Wire::default();
    wire.sent(&ok(0));
    wire.received(&get("/a"));
    wire.sent(&ok(0));
    assert_eq!((wire.lines(), wire.stats()), (vec!["GET /a 200 1".to_owned()], (0, 1)));
    wire.received(&get("/b"));
    // The answer to it was lost, and the next request is there.
    wire.sequences[1] += 1;
    wire.received(&get("/c"));
    wire.sent(&ok(0));
    assert_eq!(wire.calls.len(), 1, "either of the two may have been answered");
    assert_eq!(wire.stats(), (2, 2));
    wire.received(&get("/d"));
    wire.sent(&ok(0));
    assert_eq!(wire.lines()[1..], ["GET /d 200 1"]);
}

#[test]
fn how_a_connection_ends_says_what_became_of_its_requests() {
    for (what, expected) in [(What::WeEnded, "GET /a reset 1"), (What::TheyEnded, "GET /a client_error 1")] {
        let mut wire = Wire::default();
        wire.received(&get("/a"));
        wire.end(what);
        wire.end(What::Gone);
        assert_eq!((wire.lines(), wire.stats()), (vec![expected.to_owned()], (0, 0)));
    }
    let mut asks = Wire::default();
    asks.sent(&get("/a"));
    asks.end(What::WeEnded);
    asks.received(&ok(0));
    asks.sent(&get("/b"));
    asks.end(What::TheyEnded);
    assert_eq!(asks.lines(), ["GET /a 200 2", "GET /b reset 1"]);
}

#[test]
fn what_is_spoken_after_an_upgrade_is_not_ours() {
    let mut wire = Wire::default();
    wire.received(&get("/chat"));
    wire.sent("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
    wire.received(&get("/frame"));
    wire.sent(&ok(0));
    assert_eq!(wire.lines(), ["GET /chat 101 1"]);
}

#[test]
fn connections_are_bounded_and_those_that_speak_stay() {
    let mut wire = Wire::default();
    wire.received(&get("/kept"));
    for connection in 1..3 * CONNECTIONS_MAX as u64 {
        wire.connection = connection;
        wire.event(What::Received, 0, 0, get("/a").as_bytes(), 512);
        if connection % 1000 == 0 {
            wire.connection = 0;
            // An event that says nothing of it.
            wire.event(What::Sent, 0, 0, b"", 0);
            wire.sequences[1] = 1;
        }
    }
    let (unanswered, _) = wire.stats();
    assert!(2 * CONNECTIONS_MAX as u64 <= unanswered && unanswered < 3 * CONNECTIONS_MAX as u64, "{unanswered}");
}

/// A conversation: each request with the length of its body, the status and length of its answer, and whether the client
/// waits for it before it asks on.
type Turn = (usize, u16, usize, bool);

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let status = prop_oneof![Just(200_u16), Just(204), Just(404), Just(503)];
    prop::collection::vec((0_usize..700, status, 0_usize..900, any::<bool>()), 1..12)
}

proptest! {
    /// However messages are cut, the same calls are read, as long as every byte is told.
    #[test]
    fn cuts_do_not_matter(turns in turns(), cuts in prop::collection::vec(1_usize..400, 1..40)) {
        let mut wire = Wire::default();
        let mut cuts = cuts.iter().cycle();
        let mut say = |wire: &mut Wire, what: What, text: &mut String| {
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                wire.told(what, now, 512);
                rest = later;
            }
            text.clear();
        };
        let (mut asked, mut answers) = (String::new(), String::new());
        for (number, (body, status, length, waits)) in turns.iter().enumerate() {
            let question = "GET / HTTP/1.1\r\n".repeat(50);
            asked.extend([&format!("POST /n{number}x HTTP/1.1\r\nContent-Length: {body}\r\n\r\n"), &question[..*body]]);
            if *status == 204 {
                answers.push_str("HTTP/1.1 204 No Content\r\n\r\n");
            } else {
                let answer = "HTTP/1.1 200 OK\r\n".repeat(60);
                answers.extend([&format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n"), &answer[..*length]]);
            }
            if *waits {
                say(&mut wire, What::Received, &mut asked);
                say(&mut wire, What::Sent, &mut answers);
            }
        }
        say(&mut wire, What::Received, &mut asked);
        say(&mut wire, What::Sent, &mut answers);
        let got: Vec<_> = wire.calls.iter().map(|call| (call.path.as_str().to_owned(), call.status.unwrap())).collect();
        let expected: Vec<_> =
            turns.iter().enumerate().map(|(number, (_, status, ..))| (format!("/n{number}x"), *status)).collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(wire.stats(), (0, 0));
    }

    /// Nothing that is said makes it fail, and every call was asked for.
    #[test]
    fn any_bytes_are_taken(pieces in prop::collection::vec((any::<bool>(), 0_u32..4, 0_u64..2000, "(GET /a HTTP/1.1\r\n|HTTP/1.1 200 OK\r\n|Content-Length: 9\r\n|\r\n|x){0,4}"), 0..40)) {
        let mut wire = Wire::default();
        let mut asked = 0;
        for (sent, sequence, offset, text) in &pieces {
            asked += text.matches("GET").count();
            let what = if *sent { What::Sent } else { What::Received };
            wire.event(what, *sequence, *offset, text.as_bytes(), 512);
        }
        prop_assert!(wire.calls.len() <= asked);
    }
}

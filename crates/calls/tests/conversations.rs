//! Conversations as scripts: what was received (`<`) and sent (`>`), and which calls are read from it.

#![expect(clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

use homeostat_calls::{CONNECTIONS_MAX, Call, CallReader, Event, ReaderStats, Told, What};
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
        let [received, sent] = self.sequences;
        let (process, port, length, told) = (7, 80, message.len() as u32, Told { received, sent });
        let bytes = &message[..taken.min(message.len())];
        let (connection, at_ns) = (self.connection, self.now_ns);
        let event = Event { connection, at_ns, offset, length, sequence, told, process, port, what, bytes };
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
fn an_answer_that_lies_where_nothing_was_taken_is_unknown() {
    let mut wire = Wire::default();
    wire.received(&(get("/a") + &get("/b")));
    // The second answer begins behind the bytes that were taken.
    wire.told(What::Sent, (ok(600) + &ok(0)).as_bytes(), 512);
    wire.received(&get("/c"));
    wire.sent("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(wire.lines(), ["GET /a 200 1"], "the next answer tells that one was missed, and not how many");
    assert_eq!(wire.stats(), (2, 0));
}

/// Where several wait, answers that were missed would give all others the wrong request: it is not guessed.
#[test]
fn requests_that_are_sent_ahead_never_meet_the_answers_of_others() {
    let four = (1..=4).map(|number| get(&format!("/p{number}x"))).collect::<String>();
    let answers = [200, 501, 502, 503].map(|status| format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
    let [first, second, third, fourth] = &answers;
    // The second and third lie behind what was taken.
    let mut wire = Wire::default();
    wire.received(&four);
    wire.told(What::Sent, [first.as_str(), second, third].concat().as_bytes(), first.len());
    wire.sent(fourth);
    assert_eq!((wire.lines(), wire.stats()), (vec!["GET /p1x 200 1".to_owned()], (3, 0)));
    // The second is cut off within its first line.
    let mut wire = Wire::default();
    wire.received(&four);
    wire.told(What::Sent, [first.as_str(), second].concat().as_bytes(), first.len() + 9);
    wire.sent(third);
    assert_eq!((wire.lines(), wire.stats()), (vec!["GET /p1x 200 1".to_owned()], (3, 0)));
    // A piece was lost: nobody knows how many answers.
    let mut wire = Wire::default();
    wire.received(&four);
    wire.sent(first);
    wire.sequences[1] += 1;
    wire.sent(fourth);
    wire.received(&get("/5"));
    wire.sent(&ok(0));
    assert_eq!((wire.lines(), wire.stats()), (vec!["GET /p1x 200 1".to_owned()], (4, 0)));
    // More than anybody sends ahead.
    let mut wire = Wire::default();
    for number in 0..65 {
        wire.received(&get(&format!("/{number}")));
    }
    wire.sent(first);
    wire.sent(second);
    assert_eq!((wire.lines(), wire.stats()), (Vec::new(), (65, 0)));
}

#[test]
fn a_long_head_behind_a_short_one_is_an_answer() {
    let mut wire = Wire::default();
    wire.received(&get("/a"));
    let hint = "HTTP/1.1 100 Continue\r\n\r\n";
    let long = format!("HTTP/1.1 503 No\r\nX-Long: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(600));
    wire.told(What::Sent, (hint.to_owned() + &long).as_bytes(), 512);
    wire.received(&get("/b"));
    wire.sent("HTTP/1.1 999 Own\r\nContent-Length: 0\r\n\r\n\r\n");
    wire.received(&get("/c"));
    wire.sent(&ok(0));
    assert_eq!(wire.lines(), ["GET /a 503 1", "GET /b 999 1", "GET /c 200 1"]);
    assert_eq!(wire.stats(), (0, 0));
}

/// A client whose one thread writes and whose other one reads may be told of in the wrong order.
#[test]
fn answers_may_be_told_before_what_was_asked() {
    let answer = |status| format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
    let mut asks = Wire::default();
    // The first one, of which nobody knows whether it belongs to what was asked before.
    asks.received(&answer(500));
    asks.sent(&get("/a"));
    asks.sent(&get("/b"));
    asks.received(&answer(200));
    asks.received(&answer(404));
    asks.sent(&get("/c"));
    asks.sent(&get("/d"));
    asks.received(&answer(200));
    assert_eq!(asks.lines(), ["GET /b 200 1", "GET /c 404 0", "GET /d 200 1"]);
    assert_eq!(asks.stats(), (1, 1));
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

/// Nobody knows what became of a request whose answer may have been in a piece that was lost.
#[test]
fn an_end_behind_a_lost_answer_is_no_failure() {
    for what in [What::WeEnded, What::TheyEnded] {
        let mut wire = Wire::default();
        wire.received(&get("/a"));
        wire.sent(&ok(0));
        wire.received(&get("/b"));
        wire.sequences[1] += 1;
        wire.end(what);
        assert_eq!((wire.lines(), wire.stats()), (vec!["GET /a 200 1".to_owned()], (1, 0)));
        // The only one of all.
        let mut wire = Wire::default();
        wire.received(&get("/a"));
        wire.sequences[1] += 1;
        wire.end(what);
        assert_eq!((wire.lines(), wire.stats()), (Vec::new(), (1, 0)));
    }
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
            wire.sent("HTTP/1.1 100 Continue\r\n\r\n");
        }
    }
    let (unanswered, _) = wire.stats();
    assert!(CONNECTIONS_MAX as u64 <= unanswered && unanswered < 2 * CONNECTIONS_MAX as u64, "{unanswered}");
    wire.connection = 0;
    wire.sent(&ok(0));
    assert_eq!(wire.calls.last().map(|call| call.path.as_str()), Some("/kept"));
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

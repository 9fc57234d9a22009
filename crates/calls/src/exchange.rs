//! Requests and answers of one connection of HTTP/1, which come in the same order.
//!
//! Each direction knows where its next head begins, as long as its messages say how long they are; else what looks like a head
//! at the beginning of a message is one. A piece that was lost makes the requests that wait unknown. Where several wait and one
//! answer was missed, the others would meet the wrong requests: such a connection is followed no more.
//!
//! Source: RFC 9112, section 9.3.2 (pipelining).

use std::collections::VecDeque;

use homeostat_model::OutcomeClass;

use crate::{
    Call, Event, Path, Protocol, ReaderStats, Side, What,
    call::outcome_of,
    head::{Body, HEAD_BYTES_MAX, Head, Parsed, Start, parse},
};

/// Requests of one connection that wait for answers. Clients that send ahead at all send some ten.
const PENDING_MAX: usize = 64;

/// A connection on which HTTP/1 is spoken.
#[derive(Debug)]
pub(crate) struct Exchange {
    side: Side,
    questions: Stream,
    answers: Stream,
    pending: VecDeque<Pending>,
    state: State,
    /// Two requests have come in one piece.
    sends_ahead: bool,
    /// The last thing that was told of requests and answers is a pair of them.
    is_in_step: bool,
    /// An answer to which no request was seen yet: its status and when it came. A client that has one thread to write and another
    /// one to read may tell of the answer first.
    early: Option<(u16, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Answers meet their requests.
    Followed,
    /// Nobody knows which request an answer belongs to, for good.
    Lost,
    /// Another protocol is spoken by now.
    Left,
}

#[derive(Debug)]
struct Pending {
    method: &'static str,
    path: Path,
    began_ns: u64,
}

/// One direction.
#[derive(Debug, Default)]
struct Stream {
    next_sequence: Option<u32>,
    /// Where the next head begins, if that is known.
    next_head: Option<u64>,
    part: Option<Part>,
}

/// The beginning of a head.
#[derive(Debug)]
struct Part {
    bytes: Vec<u8>,
    offset: u64,
    at_ns: u64,
}

/// What was found of a message.
#[derive(Debug)]
enum Found {
    /// Its first line, and when it came.
    Head(Start, u64),
    /// It begins where nothing was taken, or with what cannot be read. There may be more than one.
    Missed,
}

impl Exchange {
    /// Which end of the connection a process is, if a piece says so by beginning with a head.
    pub(crate) fn side(event: &Event<'_>) -> Option<Side> {
        let is_received = event.what == What::Received;
        let asks = match parse(event.bytes) {
            Parsed::Head(head) => matches!(head.start, Start::Request { .. }),
            // `H` may become `HEAD` or `HTTP`.
            Parsed::Part if event.bytes == b"H" => return None,
            Parsed::Part => !event.bytes.starts_with(b"HT"),
            Parsed::No => return None,
        };
        Some(if asks == is_received { Side::Server } else { Side::Client })
    }

    pub(crate) fn new(side: Side) -> Self {
        let (questions, answers) = (Stream::default(), Stream::default());
        Self {
            side,
            questions,
            answers,
            pending: VecDeque::new(),
            state: State::Followed,
            sends_ahead: false,
            is_in_step: false,
            early: None,
        }
    }

    /// Takes a piece of what was received or sent.
    pub(crate) fn take(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        if self.state == State::Left {
            return;
        }
        let asks = (event.what == What::Received) == (self.side == Side::Server);
        let stream = if asks { &mut self.questions } else { &mut self.answers };
        if stream.has_gap(event.sequence) {
            self.forget(stats);
        }
        if asks { self.ask(event, calls, stats) } else { self.answer(event, calls, stats) }
    }

    fn ask(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        let found = self.questions.heads(event, |_| None);
        self.sends_ahead |= 1 < found.len();
        for found in found {
            match found {
                // Its answer comes, and nobody knows in which place.
                Found::Missed => self.lose(stats),
                Found::Head(Start::Request { method, path }, began_ns) => {
                    self.asked(Pending { method, path, began_ns }, event, calls, stats);
                }
                Found::Head(Start::Answer { .. }, _) => {}
            }
        }
    }

    fn asked(&mut self, asked: Pending, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        if self.state == State::Lost {
            stats.unanswered += 1;
            return;
        }
        if let Some((status, at_ns)) = self.early.take() {
            if self.is_in_step {
                stats.unasked = stats.unasked.saturating_sub(1);
                return self.meet(asked, status, at_ns, event, calls);
            }
            // Either it was asked for before somebody looked, or by the one that waits. What comes next tells.
            self.early = (self.pending.is_empty()).then_some((status, at_ns));
            stats.unanswered += u64::from(self.pending.pop_front().is_some());
        }
        if self.pending.len() == PENDING_MAX {
            stats.unanswered += 1;
            return self.lose(stats);
        }
        self.pending.push_back(asked);
    }

    fn answer(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        let mut waiting = self.pending.iter();
        let without_body = |start: &Start| {
            let Start::Answer { status } = start else { return None };
            let asked = if *status < 200 { None } else { waiting.next() };
            asked.filter(|asked| asked.method == "HEAD").map(|_| Body::Bytes(0))
        };
        for found in self.answers.heads(event, without_body) {
            match found {
                // One waits, and has had its answer.
                Found::Missed if self.pending.len() < 2 => self.forget_pending(stats),
                Found::Missed => self.lose(stats),
                Found::Head(Start::Answer { status: 100 | 102..200 } | Start::Request { .. }, _) => {}
                Found::Head(Start::Answer { status }, at_ns) => self.answered(status, at_ns, event, calls, stats),
            }
        }
    }

    fn answered(&mut self, status: u16, at_ns: u64, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        if self.state == State::Lost {
            return;
        }
        let Some(asked) = self.pending.pop_front() else {
            stats.unasked += 1;
            self.early = (self.side == Side::Client).then_some((status, at_ns));
            return;
        };
        self.meet(asked, status, at_ns, event, calls);
    }

    fn meet(&mut self, asked: Pending, status: u16, at_ns: u64, event: &Event<'_>, calls: &mut Vec<Call>) {
        (self.is_in_step, self.early) = (true, None);
        if status == 101 || (asked.method == "CONNECT" && status < 300) {
            self.state = State::Left;
        }
        calls.push(self.call(asked, Some(status), outcome_of(status), at_ns, event));
    }

    /// Answers do not meet their requests any more.
    fn lose(&mut self, stats: &mut ReaderStats) {
        self.forget_pending(stats);
        self.state = State::Lost;
    }

    /// The connection ends.
    pub(crate) fn end(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        if self.answers.next_sequence.unwrap_or(0) != event.told.of_answers(self.side) {
            // What waits may have been answered.
            return self.forget_pending(stats);
        }
        let outcome = match (self.side, event.what) {
            // Who has sent all may still read the answer.
            (Side::Client, What::WeEnded) => return,
            (Side::Server, What::TheyEnded) | (Side::Client, What::Gone) => OutcomeClass::ClientError,
            (Side::Server, What::WeEnded) | (Side::Client, What::TheyEnded) => OutcomeClass::Reset,
            (Side::Server, What::Gone) | (_, What::Received | What::Sent) => return self.forget_pending(stats),
        };
        for asked in std::mem::take(&mut self.pending) {
            calls.push(self.call(asked, None, outcome, event.at_ns, event));
        }
    }

    fn call(&self, asked: Pending, status: Option<u16>, outcome: OutcomeClass, at_ns: u64, event: &Event<'_>) -> Call {
        Call {
            process: event.process,
            port: event.port,
            side: self.side,
            protocol: Protocol::Http1,
            method: asked.method,
            path: asked.path,
            status,
            grpc_status: None,
            outcome: Some(outcome),
            began_ns: asked.began_ns,
            latency_ns: at_ns.saturating_sub(asked.began_ns),
        }
    }

    /// Something was lost: what waits may have been answered.
    fn forget(&mut self, stats: &mut ReaderStats) {
        self.forget_pending(stats);
        // Where one waits for its answer before it asks again, the next request is in step.
        if self.sends_ahead {
            self.state = State::Lost;
        }
        (self.is_in_step, self.early) = (false, None);
        for stream in [&mut self.questions, &mut self.answers] {
            (stream.next_head, stream.part) = (None, None);
        }
    }

    pub(crate) fn forget_pending(&mut self, stats: &mut ReaderStats) {
        stats.unanswered += self.pending.len() as u64;
        self.pending.clear();
    }
}

impl Stream {
    /// Whether something is missing before this one.
    fn has_gap(&mut self, sequence: u32) -> bool {
        let expected = self.next_sequence.replace(sequence.wrapping_add(1));
        expected.is_some_and(|expected| expected != sequence)
    }

    /// Messages that begin in a piece, and those that were missed before, in order. `body` may know better what follows a head.
    fn heads(&mut self, event: &Event<'_>, mut body: impl FnMut(&Start) -> Option<Body>) -> Vec<Found> {
        let joined;
        let (offset, at_ns, bytes) = match self.part.take().filter(|part| part.end() == event.offset) {
            Some(Part { bytes, offset, at_ns }) => {
                joined = [&bytes, event.bytes].concat();
                (offset, at_ns, joined.as_slice())
            }
            None => (event.offset, event.at_ns, event.bytes),
        };
        let end = event.offset.saturating_add(u64::from(event.length));
        let mut found = Vec::new();
        // Whether a message begins there, or only may.
        let (mut at, mut is_known) = match self.next_head {
            Some(next) if end <= next => return found,
            Some(next) if next < offset => {
                found.push(Found::Missed);
                (offset, false)
            }
            Some(next) => (next, true),
            None => (offset, false),
        };
        loop {
            // `at` is not before the piece and may be behind what was taken of it.
            let rest = usize::try_from(at - offset).ok().and_then(|skip| bytes.get(skip..)).unwrap_or_default();
            // Some send an empty line behind a body; it belongs to nothing.
            let rest = if is_known && rest.starts_with(b"\r\n") {
                at += 2;
                rest.get(2..).unwrap_or_default()
            } else {
                rest
            };
            self.next_head = Some(at);
            if rest.is_empty() {
                return found;
            }
            let at_ns = if at < event.offset { at_ns } else { event.at_ns };
            let is_cut = at + rest.len() as u64 != end;
            match parse(rest) {
                // The rest of it comes with the next piece.
                Parsed::Head(Head { length: None, .. }) | Parsed::Part if !is_cut && rest.len() < HEAD_BYTES_MAX => {
                    self.part = Some(Part { bytes: rest.to_vec(), offset: at, at_ns });
                    return found;
                }
                Parsed::Head(Head { start, length, body: told }) => {
                    let follows = body(&start).unwrap_or(told);
                    found.push(Found::Head(start, at_ns));
                    let (Some(length), Body::Bytes(more)) = (length, follows) else { break };
                    let Some(next) = at.checked_add(length as u64).and_then(|at| at.checked_add(more)) else { break };
                    (at, is_known) = (next, true);
                }
                Parsed::Part | Parsed::No => {
                    found.extend(is_known.then_some(Found::Missed));
                    break;
                }
            }
        }
        self.next_head = None;
        found
    }
}

impl Part {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

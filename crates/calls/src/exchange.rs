//! Requests and answers of one connection of HTTP/1, which come in the same order.
//!
//! Each direction knows where its next head begins, as long as its messages say how long they are; else what looks like a head
//! at the beginning of a message is one. A piece that was lost makes the requests that wait unknown.
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
    /// Another protocol is spoken by now.
    has_left: bool,
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

/// The first line of a message, and when it came.
type Found = (Start, u64);

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
        Self { side, questions, answers, pending: VecDeque::new(), has_left: false }
    }

    /// Takes a piece of what was received or sent.
    pub(crate) fn take(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        if self.has_left {
            return;
        }
        let asks = (event.what == What::Received) == (self.side == Side::Server);
        let stream = if asks { &mut self.questions } else { &mut self.answers };
        if stream.has_gap(event.sequence) {
            self.forget(stats);
        }
        if asks { self.ask(event, stats) } else { self.answer(event, calls, stats) }
    }

    fn ask(&mut self, event: &Event<'_>, stats: &mut ReaderStats) {
        let (found, missed) = self.questions.heads(event, |_| None);
        if 0 < missed {
            // Their answers come, and nobody knows in which place.
            self.forget_pending(stats);
        }
        for (start, began_ns) in found {
            let Start::Request { method, path } = start else { continue };
            if self.pending.len() == PENDING_MAX {
                self.pending.pop_front();
                stats.unanswered += 1;
            }
            self.pending.push_back(Pending { method, path, began_ns });
        }
    }

    fn answer(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        let mut waiting = self.pending.iter();
        let without_body = |start: &Start| {
            let Start::Answer { status } = start else { return None };
            let asked = if *status < 200 { None } else { waiting.next() };
            asked.filter(|asked| asked.method == "HEAD").map(|_| Body::Bytes(0))
        };
        let (found, missed) = self.answers.heads(event, without_body);
        for _ in 0..missed {
            stats.unanswered += u64::from(self.pending.pop_front().is_some());
        }
        for (start, at_ns) in found {
            match start {
                Start::Answer { status: 100 | 102..200 } | Start::Request { .. } => {}
                Start::Answer { status } => self.answered(status, at_ns, event, calls, stats),
            }
        }
    }

    fn answered(&mut self, status: u16, at_ns: u64, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        let Some(asked) = self.pending.pop_front() else {
            stats.unasked += 1;
            return;
        };
        self.has_left = status == 101 || (asked.method == "CONNECT" && status < 300);
        calls.push(self.call(asked, Some(status), outcome_of(status), at_ns, event));
    }

    /// The connection ends.
    pub(crate) fn end(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
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

    /// Heads that begin in a piece, and how many lay where nothing was taken. `body` may know better what follows one.
    fn heads(&mut self, event: &Event<'_>, mut body: impl FnMut(&Start) -> Option<Body>) -> (Vec<Found>, u32) {
        let joined;
        let (offset, at_ns, bytes) = match self.part.take().filter(|part| part.end() == event.offset) {
            Some(Part { bytes, offset, at_ns }) => {
                joined = [&bytes, event.bytes].concat();
                (offset, at_ns, joined.as_slice())
            }
            None => (event.offset, event.at_ns, event.bytes),
        };
        let end = event.offset.saturating_add(u64::from(event.length));
        let (mut at, missed) = match self.next_head {
            Some(next) if end <= next => return (Vec::new(), 0),
            Some(next) if next < offset => (offset, 1),
            Some(next) => (next, 0),
            None => (offset, 0),
        };
        let mut found = Vec::new();
        loop {
            // `at` is not before the piece and may be behind what was taken of it.
            let rest = usize::try_from(at - offset).ok().and_then(|skip| bytes.get(skip..)).unwrap_or_default();
            self.next_head = Some(at);
            if rest.is_empty() {
                return (found, missed);
            }
            let parsed = match parse(rest) {
                // The rest of it comes with the next piece.
                Parsed::Head(Head { length: None, .. }) if rest.len() < HEAD_BYTES_MAX => Parsed::Part,
                parsed => parsed,
            };
            match parsed {
                Parsed::Head(Head { start, length, body: told }) => {
                    let follows = body(&start).unwrap_or(told);
                    found.push((start, if at < event.offset { at_ns } else { event.at_ns }));
                    let (Some(length), Body::Bytes(more)) = (length, follows) else { break };
                    let Some(next) = at.checked_add(length as u64).and_then(|at| at.checked_add(more)) else { break };
                    at = next;
                }
                Parsed::Part if at + rest.len() as u64 == end => {
                    let at_ns = if at < event.offset { at_ns } else { event.at_ns };
                    self.part = Some(Part { bytes: rest.to_vec(), offset: at, at_ns });
                    return (found, missed);
                }
                Parsed::Part | Parsed::No => break,
            }
        }
        self.next_head = None;
        (found, missed)
    }
}

impl Part {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

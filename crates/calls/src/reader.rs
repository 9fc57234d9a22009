//! All connections together: each piece goes to its own.

use std::collections::HashMap;

use crate::{
    Call, Side,
    exchange::Exchange,
    http2::{self, is_frame},
};

/// Connections that are followed in any case, as many as the kernel's program knows; as many again that were silent for longer are
/// forgotten some time. One is some 300 bytes, and 10 KiB at most while its requests wait; of HTTP/2 some 20 KiB for what both
/// sides may refer to.
pub const CONNECTIONS_MAX: usize = 16_384;

/// What a process did on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It received.
    Received,
    /// It sent.
    Sent,
    /// It ended the connection, or broke it off, before the other side did.
    WeEnded,
    /// The other side did.
    TheyEnded,
    /// The connection is no more.
    Gone,
}

/// How many pieces were told of both directions, those that were lost included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Of what was received.
    pub received: u32,
    /// Of what was sent.
    pub sent: u32,
}

impl Told {
    /// Of the direction in which answers go.
    pub(crate) const fn of_answers(self, side: Side) -> u32 {
        match side {
            Side::Server => self.sent,
            Side::Client => self.received,
        }
    }
}

/// One thing that happened on a connection. Those of one direction come in order.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The connection's own number, which no other one ever has.
    pub connection: u64,
    /// When, on the monotonic clock, in nanoseconds.
    pub at_ns: u64,
    /// Where the piece begins, in bytes that went this way since somebody looked. What lies between it and the piece before is no
    /// part of a head: a body, or frames that nobody asks for.
    pub offset: u64,
    /// Bytes that it stands for.
    pub length: u32,
    /// Counts the pieces that were told of this direction: one that is missing was lost.
    pub sequence: u32,
    /// Of an end: how much was told before. Else nothing.
    pub told: Told,
    /// Whose connection.
    pub process: u32,
    /// Its port.
    pub port: u16,
    /// What was done.
    pub what: What,
    /// The first of them, as many as were taken.
    pub bytes: &'a [u8],
}

/// What could not be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReaderStats {
    /// Requests whose answer was not seen, and neither that there was none.
    pub unanswered: u64,
    /// Answers whose request was not seen: somebody began to look in between.
    pub unasked: u64,
    /// Pieces of connections that did not begin like HTTP.
    pub unknown: u64,
}

/// What is spoken on a connection.
#[derive(Debug)]
enum Talk {
    Http1(Exchange),
    Http2(Box<http2::Connection>),
}

impl Talk {
    /// What a piece begins with, if that is anything.
    fn begun_by(event: &Event<'_>) -> Option<Self> {
        if event.bytes.starts_with(http2::PREFACE) || is_frame(event.bytes) {
            return Some(Self::Http2(Box::default()));
        }
        Exchange::side(event).map(|side| Self::Http1(Exchange::new(side)))
    }

    fn take(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        match self {
            Self::Http1(exchange) => exchange.take(event, calls, stats),
            Self::Http2(connection) => connection.take(event, calls, stats),
        }
    }

    fn end(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        match self {
            Self::Http1(exchange) => exchange.end(event, calls, stats),
            Self::Http2(connection) => connection.end(event, calls, stats),
        }
    }

    fn forget(&mut self, stats: &mut ReaderStats) {
        match self {
            Self::Http1(exchange) => exchange.forget_pending(stats),
            Self::Http2(connection) => connection.forget(stats),
        }
    }
}

/// Makes calls of events.
#[derive(Debug, Default)]
pub struct CallReader {
    /// Those that spoke of late. When they are as many as there may be, the others go.
    young: HashMap<u64, Talk>,
    old: HashMap<u64, Talk>,
    stats: ReaderStats,
}

impl CallReader {
    /// Takes an event; calls that it ends are added to `calls`.
    pub fn take(&mut self, event: &Event<'_>, calls: &mut Vec<Call>) {
        let known = self.old.remove(&event.connection);
        if let Some(talk) = known {
            self.keep(event.connection, talk);
        }
        match event.what {
            What::Received | What::Sent => self.speak(event, calls),
            What::WeEnded | What::TheyEnded | What::Gone => self.end(event, calls),
        }
    }

    /// What could not be told so far.
    pub fn stats(&self) -> ReaderStats {
        self.stats
    }

    /// Forgets all connections: nobody looked for a while.
    pub fn forget(&mut self) {
        for map in [&mut self.young, &mut self.old] {
            for (_, mut talk) in map.drain() {
                talk.forget(&mut self.stats);
            }
        }
    }

    fn speak(&mut self, event: &Event<'_>, calls: &mut Vec<Call>) {
        if let Some(talk) = self.young.get_mut(&event.connection) {
            return talk.take(event, calls, &mut self.stats);
        }
        let Some(mut talk) = Talk::begun_by(event) else {
            self.stats.unknown += 1;
            return;
        };
        talk.take(event, calls, &mut self.stats);
        self.keep(event.connection, talk);
    }

    fn end(&mut self, event: &Event<'_>, calls: &mut Vec<Call>) {
        let Some(talk) = self.young.get_mut(&event.connection) else { return };
        talk.end(event, calls, &mut self.stats);
        if event.what == What::Gone {
            self.young.remove(&event.connection);
        }
    }

    fn keep(&mut self, connection: u64, talk: Talk) {
        self.young.insert(connection, talk);
        if CONNECTIONS_MAX <= self.young.len() {
            let silent = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            for (_, mut talk) in silent {
                talk.forget(&mut self.stats);
            }
        }
    }
}

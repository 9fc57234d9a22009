//! All connections together: each piece goes to its own.

use std::collections::HashMap;

use crate::{Call, exchange::Exchange};

/// Connections that are followed; those that were silent longest go first. As many as the kernel's program knows; one is
/// some 300 bytes, and 10 KiB at most while its requests wait.
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

/// One thing that happened on a connection. Those of one direction come in order.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The connection's own number, which no other one ever has.
    pub connection: u64,
    /// When, on the monotonic clock, in nanoseconds.
    pub at_ns: u64,
    /// Where the message begins, in bytes that went this way since somebody looked.
    pub offset: u64,
    /// Bytes of the message.
    pub length: u32,
    /// Counts the pieces that were told of this direction: one that is missing is a gap.
    pub sequence: u32,
    /// Whose connection.
    pub process: u32,
    /// Its port.
    pub port: u16,
    /// What was done.
    pub what: What,
    /// The first bytes of the message, as many as were taken.
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

/// Makes calls of events.
#[derive(Debug, Default)]
pub struct CallReader {
    /// Those that spoke of late. When they are half of what there may be, the others go.
    young: HashMap<u64, Exchange>,
    old: HashMap<u64, Exchange>,
    stats: ReaderStats,
}

impl CallReader {
    /// Takes an event; calls that it ends are added to `calls`.
    pub fn take(&mut self, event: &Event<'_>, calls: &mut Vec<Call>) {
        let known = self.old.remove(&event.connection);
        if let Some(exchange) = known {
            self.keep(event.connection, exchange);
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
            for (_, mut exchange) in map.drain() {
                exchange.forget_pending(&mut self.stats);
            }
        }
    }

    fn speak(&mut self, event: &Event<'_>, calls: &mut Vec<Call>) {
        if let Some(exchange) = self.young.get_mut(&event.connection) {
            return exchange.take(event, calls, &mut self.stats);
        }
        let Some(side) = Exchange::side(event) else {
            self.stats.unknown += 1;
            return;
        };
        let mut exchange = Exchange::new(side);
        exchange.take(event, calls, &mut self.stats);
        self.keep(event.connection, exchange);
    }

    fn end(&mut self, event: &Event<'_>, calls: &mut Vec<Call>) {
        let Some(exchange) = self.young.get_mut(&event.connection) else { return };
        exchange.end(event, calls, &mut self.stats);
        if event.what == What::Gone {
            self.young.remove(&event.connection);
        }
    }

    fn keep(&mut self, connection: u64, exchange: Exchange) {
        self.young.insert(connection, exchange);
        if CONNECTIONS_MAX / 2 <= self.young.len() {
            let silent = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            for (_, mut exchange) in silent {
                exchange.forget_pending(&mut self.stats);
            }
        }
    }
}

//! Streams of one connection of HTTP/2: each is a request with its answer; gRPC says at the end how it went.
//!
//! Source: RFC 9113; gRPC over HTTP/2 (`PROTOCOL-HTTP2.md` of the gRPC project), status codes as that project documents them.

mod frames;
mod hpack;
mod huffman;

use std::collections::BTreeMap;

use homeostat_model::OutcomeClass;

pub(crate) use self::frames::{PREFACE, is_frame};
use self::{
    frames::{Frame, Frames},
    hpack::{Field, Name, Text},
};
use crate::{
    Call, Event, OTHER, Path, Protocol, ReaderStats, Side, What,
    call::{grpc_outcome_of, is_status, outcome_of},
    head::method_of,
};

/// Requests of one connection that wait for answers; servers allow 100 to 250.
const STREAMS_MAX: usize = 512;
/// The largest code of gRPC, `UNAUTHENTICATED`.
const GRPC_STATUS_MAX: u32 = 16;

/// A connection on which HTTP/2 is spoken.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Known once somebody asks or answers.
    side: Option<Side>,
    received: Frames,
    sent: Frames,
    streams: BTreeMap<u32, Stream>,
}

#[derive(Debug)]
struct Stream {
    method: &'static str,
    path: Path,
    /// Whether it is a call of gRPC; `None` while that was said before anybody looked.
    is_grpc: Option<bool>,
    began_ns: u64,
    answered_ns: Option<u64>,
    /// Of the answer, if it came and could be read.
    status: Option<u16>,
}

/// What fields say.
#[derive(Debug, Default)]
struct Said {
    method: Option<&'static str>,
    path: Option<Path>,
    status: Option<u16>,
    grpc_status: Option<u32>,
    /// Of the type of the content.
    is_grpc: Option<bool>,
    has_unseen: bool,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// As it should, with what was said last.
    Whole {
        grpc_status: Option<u32>,
        has_unseen: bool,
    },
    Broken(OutcomeClass),
}

impl Connection {
    /// Takes a piece of what was received or sent.
    pub(crate) fn take(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        let is_received = event.what == What::Received;
        let mut found = Vec::new();
        let way = if is_received { &mut self.received } else { &mut self.sent };
        if way.is_begun_by(event.bytes) {
            self.side = Some(if is_received { Side::Server } else { Side::Client });
        }
        if way.take(event, &mut found) {
            self.forget(stats);
        }
        for frame in found {
            self.frame(frame, event, calls, stats);
        }
    }

    /// The connection ends.
    pub(crate) fn end(&mut self, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        let side = self.side.unwrap_or(Side::Server);
        let answers = if side == Side::Server { &self.sent } else { &self.received };
        if answers.next_sequence() != event.told.of_answers(side) {
            // What waits may have been answered.
            return self.forget(stats);
        }
        let outcome = match (self.side, event.what) {
            (Some(Side::Client), What::WeEnded) => return,
            (Some(Side::Server), What::TheyEnded) | (Some(Side::Client), What::Gone) => OutcomeClass::ClientError,
            (Some(Side::Server), What::WeEnded) | (Some(Side::Client), What::TheyEnded) => OutcomeClass::Reset,
            _ => return self.forget(stats),
        };
        for (_, stream) in std::mem::take(&mut self.streams) {
            self.finish(stream, End::Broken(outcome), event, calls);
        }
    }

    /// Requests that wait are unknown.
    pub(crate) fn forget(&mut self, stats: &mut ReaderStats) {
        stats.unanswered += self.streams.len() as u64;
        self.streams.clear();
    }

    fn frame(&mut self, frame: Frame, event: &Event<'_>, calls: &mut Vec<Call>, stats: &mut ReaderStats) {
        let is_received = event.what == What::Received;
        let asks = self.side.map(|side| is_received == (side == Side::Server));
        match frame {
            Frame::Head { stream, fields, is_last } => {
                let said = Said::of(&fields);
                let asks = asks.unwrap_or(said.method.is_some());
                if self.side.is_none() && (said.method.is_some() || said.status.is_some()) {
                    self.side = Some(if asks == is_received { Side::Server } else { Side::Client });
                }
                if asks {
                    self.ask(stream, said, event, stats);
                } else {
                    self.answer(stream, &said, is_last, event, calls, stats);
                }
            }
            Frame::LastData { stream } if asks == Some(false) => match self.streams.remove(&stream) {
                Some(stream) => {
                    let end = End::Whole { grpc_status: None, has_unseen: false };
                    self.finish(stream, end, event, calls);
                }
                None => stats.unasked += 1,
            },
            Frame::Reset { stream } => {
                if let Some(stream) = self.streams.remove(&stream) {
                    let outcome = if asks == Some(true) { OutcomeClass::ClientError } else { OutcomeClass::Reset };
                    self.finish(stream, End::Broken(outcome), event, calls);
                }
            }
            Frame::LastData { .. } => {}
        }
    }

    fn ask(&mut self, number: u32, said: Said, event: &Event<'_>, stats: &mut ReaderStats) {
        // What comes behind a body says nothing that is asked for.
        if self.streams.contains_key(&number) || number.is_multiple_of(2) {
            return;
        }
        if STREAMS_MAX <= self.streams.len() && self.streams.pop_first().is_some() {
            stats.unanswered += 1;
        }
        let stream = Stream {
            method: said.method.unwrap_or(OTHER),
            is_grpc: said.kind(),
            path: said.path.unwrap_or_else(Path::unseen),
            began_ns: event.at_ns,
            answered_ns: None,
            status: None,
        };
        self.streams.insert(number, stream);
    }

    fn answer(
        &mut self,
        number: u32,
        said: &Said,
        is_last: bool,
        event: &Event<'_>,
        calls: &mut Vec<Call>,
        stats: &mut ReaderStats,
    ) {
        if said.status.is_some_and(|status| status < 200) {
            return;
        }
        let Some(stream) = self.streams.get_mut(&number) else {
            stats.unasked += u64::from(is_last);
            return;
        };
        stream.answered_ns.get_or_insert(event.at_ns);
        stream.status = stream.status.or(said.status);
        stream.is_grpc = said.grpc_status.map(|_| true).or(stream.is_grpc).or(said.kind());
        if let Some(stream) = is_last.then(|| self.streams.remove(&number)).flatten() {
            let end = End::Whole { grpc_status: said.grpc_status, has_unseen: said.has_unseen };
            self.finish(stream, end, event, calls);
        }
    }

    fn finish(&self, stream: Stream, end: End, event: &Event<'_>, calls: &mut Vec<Call>) {
        let (outcome, grpc_status) = match (end, stream.status) {
            // One that was broken off before its end is broken, whatever its head said.
            (End::Broken(outcome), _) => (Some(outcome), None),
            // How gRPC went was told, in words that were agreed on before anybody looked.
            (End::Whole { grpc_status: None, has_unseen: true }, status)
                if stream.is_grpc != Some(false) || status.is_none() =>
            {
                (None, None)
            }
            (End::Whole { grpc_status, .. }, Some(status)) if stream.is_grpc == Some(true) && status < 400 => {
                (Some(grpc_outcome_of(grpc_status)), grpc_status)
            }
            (End::Whole { grpc_status: Some(grpc), .. }, None) => (Some(grpc_outcome_of(Some(grpc))), Some(grpc)),
            (End::Whole { grpc_status, .. }, status) => (status.map(outcome_of), grpc_status),
        };
        let is_grpc = stream.is_grpc == Some(true);
        // How gRPC went is told at the end, so that is when it was answered.
        let end_ns = if is_grpc { event.at_ns } else { stream.answered_ns.unwrap_or(event.at_ns) };
        calls.push(Call {
            process: event.process,
            port: event.port,
            side: self.side.unwrap_or(Side::Server),
            protocol: if is_grpc { Protocol::Grpc } else { Protocol::Http2 },
            method: stream.method,
            path: stream.path,
            status: stream.status,
            grpc_status,
            outcome,
            began_ns: stream.began_ns,
            latency_ns: end_ns.saturating_sub(stream.began_ns),
        });
    }
}

impl Said {
    fn of(fields: &[Field]) -> Self {
        let mut said = Self::default();
        for (name, value) in fields {
            let Text::Known(value) = value else {
                said.has_unseen = true;
                continue;
            };
            let number = || str::from_utf8(value).ok()?.parse::<u32>().ok();
            match name {
                Name::Method => said.method = Some(method_of(value)),
                Name::Path => said.path = Some(Path::of_target(value)),
                Name::Status => {
                    said.status = number().and_then(|n| u16::try_from(n).ok()).filter(|n| is_status(*n));
                }
                // A value that is no code is 2 (unknown), as clients read it.
                Name::GrpcStatus => {
                    said.grpc_status = Some(number().filter(|code| *code <= GRPC_STATUS_MAX).unwrap_or(2));
                }
                Name::ContentType => {
                    let ends = matches!(value.get(16), None | Some(b'+' | b';' | b' '));
                    said.is_grpc = Some(value.starts_with(b"application/grpc") && ends);
                }
                Name::Other => {}
                Name::Unseen => said.has_unseen = true,
            }
        }
        said
    }

    /// Whether it is of a call of gRPC, which says its type on both ways; `None` when that may be what was not seen.
    fn kind(&self) -> Option<bool> {
        self.is_grpc.or(if self.has_unseen { None } else { Some(false) })
    }
}

//! One request with what became of it.

use homeostat_model::OutcomeClass;

use crate::Path;

/// Which end of the connection the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// It answers.
    Server,
    /// It asks.
    Client,
}

impl Side {
    /// As tables and JSON have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Server => "served",
            Self::Client => "asked",
        }
    }
}

/// What was spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.0 and 1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
}

impl Protocol {
    /// As tables and JSON have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http1 => "http/1",
            Self::Http2 => "http/2",
            Self::Grpc => "grpc",
        }
    }
}

/// A request and its answer, or its end without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The process that was looked at.
    pub process: u32,
    /// Its port.
    pub port: u16,
    /// Which end it is.
    pub side: Side,
    /// What was spoken.
    pub protocol: Protocol,
    /// A known method, else [`crate::OTHER`].
    pub method: &'static str,
    /// Which resource, without what is particular to one request.
    pub path: Path,
    /// Status of the answer; `None` when there was none, or when it cannot be read.
    pub status: Option<u16>,
    /// Status of gRPC, if it was told.
    pub grpc_status: Option<u32>,
    /// How it ended; `None` when nobody can know it who did not see how the connection began.
    pub outcome: Option<OutcomeClass>,
    /// When the request's first bytes were taken or given by the process, on the monotonic clock, in nanoseconds.
    pub began_ns: u64,
    /// From then to the answer's first bytes (of gRPC to its end), or to the end without one, in nanoseconds.
    pub latency_ns: u64,
}

/// Whether a number is a status: those that no document knows, such as 999, answer as well.
pub(crate) fn is_status(number: u16) -> bool {
    (100..1000).contains(&number)
}

/// How an answer with this status ends a request.
pub(crate) const fn outcome_of(status: u16) -> OutcomeClass {
    match status {
        ..400 => OutcomeClass::Ok,
        400..500 => OutcomeClass::ClientError,
        _ => OutcomeClass::ServerError,
    }
}

/// How an answer of gRPC with this status ends a call; without one it is an error, too.
pub(crate) const fn grpc_outcome_of(status: Option<u32>) -> OutcomeClass {
    match status {
        Some(0) => OutcomeClass::Ok,
        // Unknown, deadline exceeded, unimplemented, internal, unavailable, data loss.
        None | Some(2 | 4 | 12 | 13 | 14 | 15) => OutcomeClass::ServerError,
        Some(_) => OutcomeClass::ClientError,
    }
}

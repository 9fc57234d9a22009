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
}

impl Protocol {
    /// As tables and JSON have it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http1 => "http/1",
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
    /// Status of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: OutcomeClass,
    /// When the request's first bytes were taken or given by the process, on the monotonic clock, in nanoseconds.
    pub began_ns: u64,
    /// From then to the answer's first bytes, or to the end without one, in nanoseconds.
    pub latency_ns: u64,
}

/// How an answer with this status ends a request.
pub(crate) const fn outcome_of(status: u16) -> OutcomeClass {
    match status {
        ..400 => OutcomeClass::Ok,
        400..500 => OutcomeClass::ClientError,
        _ => OutcomeClass::ServerError,
    }
}

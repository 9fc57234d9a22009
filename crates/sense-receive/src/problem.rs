//! Why a request is not taken, before it is said in the words of a protocol.

use homeostat_model::error_chain::chain;
use http::StatusCode;

use crate::intake::NotTaken;

/// Whose fault it is, and whether sending again helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The sender's: what it sent makes no sense.
    Unreadable,
    /// The sender's: it says that it sends something else.
    Media,
    /// The sender's: more at once than is taken.
    TooLarge,
    /// The sender's or the network's: too slow. It is to keep the request: a 4xx would be the end of it.
    TooSlow,
    /// Ours: no room now. Later is better.
    Busy,
    /// The sender's: more of a kind than is kept, or ahead of our clock. Much later is better.
    Full,
    /// Ours: the disk. Later may be better.
    Broken,
    /// Ours: a mistake of this program.
    Bug,
}

/// A request that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    /// For people.
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// An error with all its causes.
    pub(crate) fn of(kind: Kind, error: &dyn std::error::Error) -> Self {
        Self::new(kind, chain(error))
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self.kind {
            Kind::Unreadable => StatusCode::BAD_REQUEST,
            Kind::Media => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Full => StatusCode::TOO_MANY_REQUESTS,
            Kind::TooSlow | Kind::Busy | Kind::Broken => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The number of `google.rpc.Code`. OTLP senders try again on `RESOURCE_EXHAUSTED` only when a delay is given.
    pub(crate) fn code(&self) -> u8 {
        match self.kind {
            Kind::Unreadable | Kind::TooLarge => 3, // INVALID_ARGUMENT
            Kind::Media => 12,                      // UNIMPLEMENTED
            Kind::TooSlow => 1,                     // CANCELLED
            Kind::Full | Kind::Busy => 8,           // RESOURCE_EXHAUSTED
            Kind::Broken => 14,                     // UNAVAILABLE
            Kind::Bug => 13,                        // INTERNAL
        }
    }

    /// Whether the sender should keep the request and try again.
    pub(crate) fn retry(&self) -> bool {
        matches!(self.kind, Kind::TooSlow | Kind::Full | Kind::Busy | Kind::Broken)
    }
}

impl From<NotTaken> for Problem {
    fn from(problem: NotTaken) -> Self {
        match problem {
            NotTaken::Busy(text) => Self::new(Kind::Busy, text),
            NotTaken::Broken(text) => Self::new(Kind::Broken, text),
        }
    }
}

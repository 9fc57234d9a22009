//! Who takes a request to its destination: the binary over HTTP, tests without.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;

/// Version of remote write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

/// What the destination said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Taken,
    /// It may take it later: no connection, 5xx, 429.
    Later {
        /// How long it wants to be left alone, where it says so.
        after: Option<Duration>,
        /// In its words.
        why: String,
        /// Whether it may have taken it all the same: the answer was lost, or came from somebody in between.
        perhaps: bool,
    },
    /// It will never take it.
    Refused {
        /// Status of the answer.
        status: u16,
        /// In its words.
        why: String,
    },
}

/// An answer to come.
pub type Carrying = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Takes requests to one destination.
pub trait Carrier: Send + Sync + 'static {
    /// Takes a packed request there. Ends by itself, within the destination's timeout.
    fn carry(&self, body: Bytes, version: Version) -> Carrying;
}

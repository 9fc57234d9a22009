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

/// What a destination of version 2.0 says that it has written of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Numbers.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
}

/// What the destination said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Taken {
        /// How much of it, where it says so.
        written: Option<Written>,
    },
    /// It may take it later: no connection, 5xx, 429.
    Later {
        /// How long it wants to be left alone, where it says so.
        after: Option<Duration>,
        /// In its words.
        why: String,
        /// Whether it may have taken it all the same: the answer was lost, or came from somebody in between.
        perhaps: bool,
    },
    /// It will never take it, or not all of it.
    Refused {
        /// How much it has taken all the same, where it says so.
        written: Option<Written>,
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

//! Who takes a window to the server: the binary over HTTP, tests without.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use homeostat_wire::profiles::WindowId;

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has it.
    Taken {
        /// It had it before.
        repeated: bool,
    },
    /// It may take it later: no connection, 5xx, 429, or something that a person mends, as 401 and 404.
    Later {
        /// What is in the way.
        hindrance: Hindrance,
        /// How long it wants to be left alone, where it says so.
        after: Option<Duration>,
        /// In its words.
        why: String,
    },
    /// It will never take it.
    Refused {
        /// In its words.
        why: String,
    },
}

/// What keeps a window from being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The server, or the way there: another window would fare no better.
    Server,
    /// Perhaps this very window: the server fails over it, or gives up before all of it has come.
    Window,
}

/// An answer to come.
pub type Carrying = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Takes windows to one server.
pub trait Carrier: Send + Sync + 'static {
    /// Takes a `push.v1.PushRequest` there. Ends by itself.
    fn carry(&self, window: WindowId, body: Bytes) -> Carrying;
}
